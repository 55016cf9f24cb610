internal import GatehouseNet
public import GatehousePolicy
internal import GatehouseTLS
internal import Glibc
internal import NIOCore
internal import NIOPosix
public import SIPMessage

extension Explainer {
    /// Why nothing could be explained: a sentence each.
    public struct Failure: Error {
        public var problems: [String]
    }

    /// Explains a request with name servers, certificates and sockets of this host.
    ///
    /// - Parameters:
    ///   - domain: one of the configuration's.
    ///   - nameServer: asked in place of those of `dns.servers`.
    ///   - connects: whether the candidates are tried, until one answers. Then the domain's certificates are read.
    public static func run(
        _ request: Request, in configuration: Configuration, domain: DomainConfiguration, nameServer: Endpoint? = nil,
        connects: Bool = false
    ) async throws(Failure) -> Explanation {
        let group = MultiThreadedEventLoopGroup.singleton
        var connect: Connect?
        if connects {
            let probe = try Self.probe(for: domain, configuration.edge.timers, group)
            connect = { await probe.connect(to: $0) }
        }
        var settings = configuration.dns
        if let nameServer { settings.servers = [nameServer] }
        let client: DNSClient
        let forbid: Forbid
        do {
            client = try DNSClient(settings)
            forbid = try Self.forbid(in: configuration, for: domain)
        } catch {
            throw Failure(problems: ["\(error)"])
        }
        defer { client.shutDown() }
        let explainer = Explainer(
            configuration, domain: domain, today: CalendarDate(secondsSince1970: UInt32(clamping: time(nil))),
            forbid: forbid,
            hasRoute: { GatehouseNet.hasRoute(to: $0) }
        ) { question in
            let failed = DNSAnswer(question: question, outcome: .failed(.shutDown), timeToLive: .zero)
            return (try? await client.query(question, on: group.any()).get()) ?? failed
        }
        return await explainer.explain(request, connect: connect)
    }

    /// What the running edge would not send to. Core servers given by name count only where it runs.
    private static func forbid(
        in configuration: Configuration, for domain: DomainConfiguration
    ) throws -> Forbid {
        var targets: [TargetRuntime.Key: TargetRuntime] = [:]
        var counters: [DomainKey: DomainCounters] = [:]
        let snapshot = Snapshot(
            generation: 1, configuration, try CertificateStore.load([], reusing: nil), metrics: Metrics(workers: 1),
            targets: &targets, counters: &counters)
        guard let runtime = snapshot.domain(DomainKey(name: domain.name)) else { return { _ in nil } }
        return { snapshot.forbids($0, runtime) }
    }

    private static func probe(
        for domain: DomainConfiguration, _ timers: TimerSettings, _ group: MultiThreadedEventLoopGroup
    ) throws(Failure) -> Probe {
        do {
            let store = try CertificateStore.load([domain], reusing: nil)
            guard let credentials = store.outboundCredentials(of: domain.name) else {
                throw Failure(problems: ["\(domain.name) has no authorities to verify peers with: set outbound.ca"])
            }
            return Probe(credentials: credentials, context: try TLSClientContext(), timers: timers, group: group)
        } catch let failure as Failure {
            throw failure
        } catch let errors as CertificateErrors {
            throw Failure(problems: errors.problems.map(\.description))
        } catch {
            throw Failure(problems: ["\(error)"])
        }
    }
}
