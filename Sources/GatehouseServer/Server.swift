internal import GatehouseConfig
internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseStore
internal import GatehouseTLS
internal import Glibc
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import SIPMessage
import Synchronization

/// Why the edge did not start: every reason at once.
public struct StartError: Error, CustomStringConvertible, Sendable {
    public var problems: [String]

    public init(_ problems: [String]) {
        self.problems = problems
    }

    public var description: String { self.problems.joined(separator: "\n") }
}

/// The edge as a whole: its workers and listeners, and the configuration in force.
public final class Server: RunnableEdge {
    let configurationPath: String
    let shared: ServerShared
    let metrics: Metrics
    let log: Logger
    let output: LogOutput
    let group: MultiThreadedEventLoopGroup
    let handshakes: HandshakePool
    let contexts: [BoundFlowContext]
    let startedAt = secondsSince1970()
    /// What a reload changes, one at a time.
    let state: Mutex<State>
    let reloading = ReloadGate()

    struct State {
        var snapshot: Snapshot
        var listeners: [OpenListener]
        var coreBinds: [Bind]
        /// The UDP sockets of domains: the address of `udp.bind`, and what it became where it has port 0.
        var outsideDatagrams: [Endpoint: Endpoint] = [:]
        var targets: [TargetRuntime.Key: TargetRuntime]
        var counters: [DomainKey: DomainCounters]
        var nextTag: Int
        var admin: AdminServer?
        var resolver: TargetResolver?
    }

    /// A TCP socket that is accepted from.
    struct OpenListener: Sendable {
        var key: ListenerKey
        var listener: Listener
        var entrance: Entrance
    }

    struct ListenerKey: Hashable, Sendable {
        var transport: Transport
        var isCore: Bool
        /// As the configuration has it.
        var endpoint: Endpoint
    }

    private init(
        configurationPath: String, shared: ServerShared, output: LogOutput, group: MultiThreadedEventLoopGroup,
        handshakes: HandshakePool, contexts: [BoundFlowContext], state: State
    ) {
        self.configurationPath = configurationPath
        self.shared = shared
        self.metrics = shared.metrics
        self.log = shared.log
        self.output = output
        self.group = group
        self.handshakes = handshakes
        self.contexts = contexts
        self.state = Mutex(state)
    }

    /// Reads the configuration, opens every listener and serves.
    ///
    /// - Parameters:
    ///   - configurationPath: read again at each reload.
    ///   - output: takes its level and format from the configuration.
    /// - Throws: `StartError` with all that is wrong; nothing is left open.
    public static func start(configurationPath: String, output: LogOutput) async throws(StartError) -> Server {
        let loaded = ConfigurationLoader.load(path: configurationPath)
        guard let configuration = loaded.configuration else { throw StartError(loaded.errors.map(\.description)) }
        output.apply(configuration.edge)
        let log = output.logger()
        for warning in loaded.warnings { log.warning("configuration: \(warning)") }
        let certificates: CertificateStore
        do throws(CertificateErrors) {
            certificates = try CertificateStore.load(configuration.domains, reusing: nil)
        } catch {
            throw StartError(error.problems.map(\.description))
        }
        for warning in certificates.warnings { log.warning("certificate: \(warning)") }

        let workerCount = configuration.edge.workers ?? System.coreCount
        let metrics = Metrics(workers: workerCount)
        let secret: EdgeSecret
        let tlsContext: TLSServerContext
        let tlsClientContext: TLSClientContext
        do {
            secret = try EdgeSecret.load(path: configuration.edge.secretFile, create: true)
            tlsContext = try TLSServerContext()
            tlsClientContext = try TLSClientContext()
        } catch {
            throw StartError(["\(error)"])
        }
        let dns: DNSClient
        do throws(DNSClientError) {
            dns = try DNSClient(configuration.dns) { server, isUp in
                if isUp {
                    log.notice("name server answers again", metadata: ["server": "\(server)"])
                } else {
                    log.warning(
                        "name server is silent: it is asked after the others until it answers; see dns.servers",
                        metadata: ["server": "\(server)"])
                }
            }
        } catch {
            throw StartError(["dns: \(error)"])
        }
        let store: BindingStore
        do throws(StoreError) {
            store = try BindingStore(directory: configuration.edge.stateDirectory) { log.tell($0) }
        } catch {
            throw StartError(["\(error)"])
        }
        let shared = ServerShared(
            secret: secret, bindings: BindingTable(limit: configuration.edge.limits.bindings), metrics: metrics,
            log: log, tlsContext: tlsContext, tlsClientContext: tlsClientContext, dns: dns, store: store)
        do {
            let count = try shared.loadBindings(now: NIODeadline.now().uptimeNanoseconds)
            try store.start(now: Int64(secondsSince1970()))
            if count > 0 { log.notice("bindings of an earlier run taken over", metadata: ["count": "\(count)"]) }
        } catch {
            throw StartError(["\(error)"])
        }
        var targets: [TargetRuntime.Key: TargetRuntime] = [:]
        var counters: [DomainKey: DomainCounters] = [:]
        let snapshot = Snapshot(
            generation: 1, configuration, certificates, metrics: metrics, targets: &targets, counters: &counters)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: workerCount)
        let handshakes = HandshakePool(threads: workerCount, queueLimit: configuration.edge.limits.handshakeQueue)
        do {
            let contexts = try await Self.startWorkers(
                group, shared: shared, output: output, snapshot: snapshot, handshakes: handshakes)
            let server = Server(
                configurationPath: configurationPath, shared: shared, output: output, group: group,
                handshakes: handshakes, contexts: contexts,
                state: State(
                    snapshot: snapshot, listeners: [], coreBinds: [], targets: targets, counters: counters, nextTag: 0,
                    admin: nil))
            do {
                try await server.open(snapshot)
            } catch {
                await server.stop()
                throw error
            }
            return server
        } catch let error as StartError {
            throw error
        } catch {
            handshakes.shutdown()
            try? await group.shutdownGracefully()
            store.stop()
            throw StartError(["\(error)"])
        }
    }

    private static func startWorkers(
        _ group: MultiThreadedEventLoopGroup, shared: ServerShared, output: LogOutput, snapshot: Snapshot,
        handshakes: HandshakePool
    ) async throws -> [BoundFlowContext] {
        var mailboxes: [Mailbox] = []
        for (index, eventLoop) in group.makeIterator().enumerated() {
            let mailbox = try await eventLoop.submit {
                let worker = try Worker(
                    index: UInt16(clamping: index), eventLoop: eventLoop, shared: shared,
                    log: RateLimitedLog(
                        output: output, perSecond: snapshot.configuration.edge.logLinesPerSecond), snapshot: snapshot)
                return Mailbox(NIOLoopBound(worker, eventLoop: eventLoop), eventLoop: eventLoop)
            }.get()
            mailboxes.append(mailbox)
        }
        shared.setMailboxes(mailboxes)
        var contexts: [BoundFlowContext] = []
        for mailbox in mailboxes {
            contexts.append(try await mailbox.ask { $0.start(handshakes: handshakes) })
        }
        return contexts
    }

    /// Opens what the first configuration asks for.
    private func open(_ snapshot: Snapshot) async throws(StartError) {
        await self.startResolving()
        let core = snapshot.configuration.core
        try await self.openCoreBinds(core.binds, advertise: core.advertise)
        let opened = try await self.openListeners(snapshot, beside: [])
        self.state.withLock { $0.listeners = opened }
        try await self.openOutsideDatagrams(snapshot)
        if let bind = snapshot.configuration.edge.admin {
            do {
                let admin = try await AdminServer.start(
                    bind: bind, source: self.adminSource, metrics: self.metrics, log: self.log)
                self.state.withLock { $0.admin = admin }
                self.log.notice("admin endpoint open", metadata: ["address": "\(admin.endpoint)"])
            } catch {
                throw StartError(["\(error)"])
            }
        }
        self.observe()
        self.metrics.configurationApplied(generation: 1)
        self.announce(snapshot)
        self.shared.mailboxes.first?.perform { $0.startUpkeep() }
    }

    /// Looks the names of core servers up before the first call needs them.
    private func startResolving() async {
        let resolver = TargetResolver(self.shared.dns, eventLoop: self.group.any(), log: self.log)
        self.state.withLock { $0.resolver = resolver }
        await resolver.start { [weak self] in
            guard let self else { return [] }
            return self.state.withLock { Array($0.targets.values) }
        }
    }

    /// One line a listener and domain.
    private func announce(_ snapshot: Snapshot) {
        let open = self.state.withLock { ($0.listeners, $0.coreBinds) }
        for bind in open.1 {
            self.log.notice(
                "core bind open", metadata: ["transport": "\(bind.transport)", "address": "\(bind.endpoint)"])
        }
        for domain in snapshot.configuration.domains {
            for bind in domain.udpBinds {
                self.log.notice(
                    "listener open",
                    metadata: [
                        "domain": "\(domain.name)", "transport": "udp",
                        "address": "\(self.state.withLock { $0.outsideDatagrams[bind] } ?? bind)",
                        "core": "\(domain.core.kind)",
                    ])
            }
            for listener in open.0 where Self.binds(of: domain).contains(listener.key) {
                self.log.notice(
                    "listener open",
                    metadata: [
                        "domain": "\(domain.name)", "transport": "\(listener.key.transport)",
                        "address": "\(listener.listener.local)", "core": "\(domain.core.kind)",
                    ])
            }
        }
    }

    /// What a domain listens on towards the outside.
    static func binds(of domain: DomainConfiguration) -> [ListenerKey] {
        self.streamBinds(of: domain)
            + domain.udpBinds.map { ListenerKey(transport: .udp, isCore: false, endpoint: $0) }
    }

    static func streamBinds(of domain: DomainConfiguration) -> [ListenerKey] {
        (domain.tls?.binds ?? []).map { ListenerKey(transport: .tls, isCore: false, endpoint: $0) }
            + domain.allTCPBinds.map { ListenerKey(transport: .tcp, isCore: false, endpoint: $0) }
    }

    // MARK: The end

    /// Takes no new connection or session, and waits until the last call has ended or `edge.drain` has passed.
    public func drain() async {
        self.shared.isDraining.store(true, ordering: .relaxed)
        let (listeners, limit) = self.state.withLock { ($0.listeners, $0.snapshot.configuration.edge.drain) }
        for listener in listeners where !listener.key.isCore { await self.close(listener) }
        self.log.notice(
            "draining: no new sessions",
            metadata: ["calls": "\(self.shared.calls.count)", "connections": "\(self.connectionCount)"])
        let clock = ContinuousClock()
        let deadline = clock.now.advanced(by: limit)
        while self.shared.calls.count > 0 || self.shared.unanswered.load(ordering: .relaxed) > 0,
            clock.now < deadline
        {
            do { try await Task.sleep(for: .milliseconds(50)) } catch { break }
        }
        self.log.notice("drained", metadata: ["calls-left": "\(self.shared.calls.count)"])
    }

    /// Closes all that is open.
    public func stop() async {
        let (listeners, admin, resolver) = self.state.withLock { ($0.listeners, $0.admin, $0.resolver) }
        resolver?.stop()
        for listener in listeners { await self.close(listener) }
        for mailbox in self.shared.mailboxes {
            _ = try? await mailbox.ask { worker -> Bool in
                worker.stop()
                return true
            }
        }
        await admin?.stop()
        self.shared.dns.shutDown()
        self.handshakes.shutdown()
        try? await self.group.shutdownGracefully()
        self.shared.store?.stop()
        self.output.flush()
    }

    var connectionCount: Int { self.shared.connections.load(ordering: .relaxed) }
}
