import GatehousePolicy
import Glibc
import Logging
import NIOCore
import NIOEmbedded
import SIPMessage
import Testing

@testable import GatehouseNet
@testable import GatehouseServer
@testable import GatehouseTLS

/// A worker without sockets on a loop whose time stands still, with a UDP and a TCP core bind at 10.0.0.1:5070.
struct WorkerFixture {
    let loop = EmbeddedEventLoop()
    let worker: Worker

    private static let output = LogOutput(descriptor: open("/dev/null", O_WRONLY))

    /// - Parameter secret: the byte that the edge's secret is made of.
    init(_ domains: [DomainConfiguration], core: CoreBindSettings = CoreBindSettings(binds: []), secret: UInt8 = 1)
        throws
    {
        let metrics = Metrics(workers: 1)
        let shared = ServerShared(
            secret: EdgeSecret(current: Array(repeating: secret, count: EdgeSecret.lengthInBytes), previous: nil),
            bindings: BindingTable(limit: 100), metrics: metrics, log: Self.output.logger(),
            tlsContext: try TLSServerContext(), tlsClientContext: try TLSClientContext(),
            dns: try DNSClient(DNSSettings()))
        self.worker = try Worker(
            index: 0, eventLoop: self.loop, shared: shared, log: RateLimitedLog(output: Self.output),
            snapshot: try Self.snapshot(domains, core: core, generation: 1, metrics: metrics))
        let endpoint = Endpoint(address: IPAddress(v4: 0x0A00_0001), port: 5070)
        for transport in [Transport.udp, .tcp] {
            self.worker.coreBinds.add(
                .init(transport: transport, endpoint: endpoint, host: Array("10.0.0.1".utf8), socket: nil))
        }
    }

    static func snapshot(
        _ domains: [DomainConfiguration], core: CoreBindSettings = CoreBindSettings(binds: []), generation: Int,
        metrics: Metrics
    ) throws -> Snapshot {
        let edge = EdgeSettings(name: "edge-1", secretFile: "", stateDirectory: "")
        var targets: [TargetRuntime.Key: TargetRuntime] = [:]
        var counters: [DomainKey: DomainCounters] = [:]
        return Snapshot(
            generation: generation, Configuration(edge: edge, core: core, dns: DNSSettings(), domains: domains),
            try CertificateStore.load([], reusing: nil), metrics: metrics, targets: &targets, counters: &counters)
    }

    /// A domain that advertises `edge.example`, with the core server 10.0.0.5.
    static func domain(
        _ name: String = "a.example", kind: DomainCoreSettings.Kind = .pbx, advertise: String? = "edge.example",
        target: String = "10.0.0.5", health: Duration? = nil
    ) -> DomainConfiguration {
        DomainConfiguration(
            name: name, tls: TLSSettings(binds: [], advertise: advertise, certificates: []),
            core: DomainCoreSettings(
                kind: kind, targets: [CoreTarget(transport: .udp, host: target, port: 5060)],
                health: .init(interval: health)))
    }

    func domain(named name: String = "a.example") throws -> DomainRuntime {
        try #require(self.worker.snapshot.domain(DomainKey(name: name)))
    }

    /// A passage of a session that came by TLS on port 5061.
    func passage(
        _ direction: Passage.Direction = .toCore, arrival: Arrival = .tls, port: UInt16 = 5061, isSecure: Bool = true,
        mirrors: Bool = false
    ) throws -> Passage {
        Passage(
            direction: direction, domain: try self.domain(),
            session: Session(id: SessionID(0xABC), arrival: arrival, expires: .max),
            flow: FlowReference(boot: self.worker.shared.boot, worker: 0, number: 1), binding: nil,
            outside: OutsideService(transport: isSecure ? .tls : .tcp, port: port),
            isOutsideSecure: isSecure, mirrorsTransport: mirrors, coreBind: 0, coreTransport: .udp,
            coreTarget: Endpoint(address: IPAddress(v4: 0x0A00_0005), port: 5060), registration: nil)
    }

    /// What is known of a device's TLS connection from 192.0.2.7.
    func flow() throws -> FlowState {
        let remote = Endpoint(address: IPAddress(v4: 0xC000_0207), port: 40_000)
        let domain = try self.domain()
        let facts = ArrivalFacts(
            transport: .tls, domain: domain.configuration.name, tlsVersion: "TLSv1.3", cipher: nil, peer: remote,
            verified: nil)
        return FlowState(
            side: .outside, transport: .tls, remote: remote,
            local: Endpoint(address: IPAddress(v4: 0xC000_0201), port: 5061),
            reference: FlowReference(boot: self.worker.shared.boot, worker: 0, number: 1), domain: domain,
            generation: 1, source: nil, facts: facts.text)
    }

    /// A device's open TCP connection from 192.0.2.7 to the first domain, and what the worker knows of it.
    func device() throws -> (channel: EmbeddedChannel, state: FlowState) {
        let worker = self.worker
        _ = worker.start(handshakes: HandshakePool(threads: 1, queueLimit: 1))
        let configuration = try #require(worker.snapshot.domains.first).configuration
        worker.listeners[1] = Entrance(
            role: .outside(DomainKey(name: configuration.name)), domains: [configuration], previous: nil)
        let channel = EmbeddedChannel(loop: self.loop)
        let remote = try SocketAddress(ipAddress: "192.0.2.7", port: 40_000)
        channel.localAddress = try SocketAddress(ipAddress: "192.0.2.1", port: 5060)
        channel.remoteAddress = remote
        try StreamFlow.accept(channel, in: try #require(worker.context), listener: ListenerTag(1))
        try channel.connect(to: remote).wait()
        self.loop.run()
        return (channel, try #require(worker.flows.values.first?.userData as? FlowState))
    }

    /// The token in a URI that the worker wrote.
    func token(in uri: String) throws -> UserToken {
        let bytes = Array(uri.utf8)
        return self.worker.token(of: try URI.parse(bytes, ByteRange(0, bytes.count)), in: bytes)
    }
}

/// A message from its lines, which need no Content-Length; whatever a proxy does not look at may be missing.
func sipMessage(_ lines: [String], body: String = "") throws -> Message {
    let text = (lines + ["Content-Length: \(body.utf8.count)", "", body]).joined(separator: "\r\n")
    let parsed = Array(text.utf8).withUnsafeBytes { Parser.parse(datagram: $0, limits: MessageLimits()) }
    guard case .message(let message) = parsed else { throw NoMessage() }
    return message
}

private struct NoMessage: Error {}

/// The rows of a message that was written.
func rows(_ bytes: [UInt8]) -> [String] {
    String(decoding: bytes, as: UTF8.self).split(separator: "\r\n", omittingEmptySubsequences: false).map(String.init)
}

extension [String] {
    /// The values of the rows of this name.
    func values(_ name: String) -> [String] {
        self.filter { $0.lowercased().hasPrefix(name.lowercased() + ":") }.map {
            String($0.dropFirst(name.count + 1).drop { $0 == " " })
        }
    }
}
