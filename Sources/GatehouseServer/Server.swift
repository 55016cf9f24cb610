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
            store = try BindingStore(directory: configuration.edge.stateDirectory) { error in
                log.error("bindings are not written to disk", metadata: ["cause": "\(error)"])
            }
        } catch {
            throw StartError(["\(error)"])
        }
        let shared = ServerShared(
            secret: secret, bindings: BindingTable(limit: configuration.edge.limits.bindings), metrics: metrics,
            log: log, tlsContext: tlsContext, tlsClientContext: tlsClientContext, dns: dns, store: store)
        do {
            let count = try shared.loadBindings(now: NIODeadline.now().uptimeNanoseconds)
            try store.start()
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
                    log: RateLimitedLog(output: output), snapshot: snapshot)
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

    private static func streamBinds(of domain: DomainConfiguration) -> [ListenerKey] {
        (domain.tls?.binds ?? []).map { ListenerKey(transport: .tls, isCore: false, endpoint: $0) }
            + domain.allTCPBinds.map { ListenerKey(transport: .tcp, isCore: false, endpoint: $0) }
    }

    // MARK: Sockets

    /// Opens core binds on every worker, and TCP beside each UDP one (VIA-15); all or none.
    func openCoreBinds(_ binds: [Bind], advertise: String?) async throws(StartError) {
        guard !binds.isEmpty else { return }
        let before = await self.coreBindCounts()
        let listenersBefore = self.state.withLock { $0.listeners.count }
        var problems: [String] = []
        for bind in binds {
            do throws(StartError) {
                switch bind.transport {
                case .udp:
                    let local = try await self.openDatagram(bind.endpoint, advertise: advertise)
                    if !binds.contains(where: { $0.transport == .tcp && $0.endpoint == bind.endpoint }) {
                        try await self.openCoreListener(local, advertise: advertise)
                    }
                case .tcp, .tls:
                    try await self.openCoreListener(bind.endpoint, advertise: advertise)
                }
            } catch {
                problems += error.problems
            }
        }
        guard problems.isEmpty else {
            await self.forgetCoreBinds(behind: before, listeners: listenersBefore)
            throw StartError(problems)
        }
        self.state.withLock { $0.coreBinds += binds }
    }

    /// How many core binds each worker has.
    func coreBindCounts() async -> [Int] {
        var counts: [Int] = []
        for mailbox in self.shared.mailboxes {
            counts.append((try? await mailbox.ask { $0.coreBinds.entries.count }) ?? 0)
        }
        return counts
    }

    /// Takes core binds back that a refused configuration opened.
    func forgetCoreBinds(behind counts: [Int], listeners count: Int) async {
        for (mailbox, count) in zip(self.shared.mailboxes, counts) {
            mailbox.perform { $0.coreBinds.truncate(to: count) }
        }
        let extra = self.state.withLock { state in
            let extra = Array(state.listeners.dropFirst(count))
            state.listeners = Array(state.listeners.prefix(count))
            return extra
        }
        for listener in extra { await self.close(listener) }
    }

    private func openDatagram(_ endpoint: Endpoint, advertise: String?) async throws(StartError) -> Endpoint {
        var local = endpoint
        var isShared = false
        for mailbox in self.shared.mailboxes {
            let wanted = local
            let shared = isShared
            do {
                local = try await mailbox.ask { worker -> Result<Endpoint, BindError> in
                    worker.openDatagram(wanted, isShared: shared, advertise: advertise)
                }.get()
            } catch {
                throw StartError(["core.bind: \(error)"])
            }
            isShared = true
        }
        return local
    }

    private func openCoreListener(_ endpoint: Endpoint, advertise: String?) async throws(StartError) {
        let opened = try await self.openListener(
            ListenerKey(transport: .tcp, isCore: true, endpoint: endpoint), role: .core, domains: [], previous: nil)
        let local = opened.listener.local
        for mailbox in self.shared.mailboxes {
            mailbox.perform { worker in
                worker.coreBinds.add(
                    .init(
                        transport: .tcp, endpoint: local,
                        host: advertise.map { hostText($0) } ?? hostText(local.address), socket: nil))
            }
        }
        self.state.withLock { $0.listeners.append(opened) }
    }

    /// Opens the outside listeners of a snapshot that are not among `existing`; all or none.
    func openListeners(_ snapshot: Snapshot, beside existing: [OpenListener]) async throws(StartError) -> [OpenListener]
    {
        var opened: [OpenListener] = self.state.withLock { $0.listeners.filter { $0.key.isCore } }
        var fresh: [OpenListener] = []
        var problems: [String] = []
        var domains: [ListenerKey: [DomainConfiguration]] = [:]
        var order: [ListenerKey] = []
        for domain in snapshot.configuration.domains {
            for key in Self.streamBinds(of: domain) {
                if domains[key] == nil { order.append(key) }
                domains[key, default: []].append(domain)
            }
        }
        for key in order {
            let served = domains[key] ?? []
            guard let first = served.first else { continue }
            let role: Entrance.Role = key.transport == .tls ? .tls(key.endpoint) : .outside(DomainKey(name: first.name))
            if var old = existing.first(where: { $0.key == key }) {
                old.entrance = Entrance(role: role, domains: served, previous: old.entrance)
                opened.append(old)
                continue
            }
            do throws(StartError) {
                let listener = try await self.openListener(key, role: role, domains: served, previous: nil)
                fresh.append(listener)
                opened.append(listener)
            } catch {
                problems += error.problems.map { "\(first.location.file): domain \(first.name): \($0)" }
            }
        }
        guard problems.isEmpty else {
            for listener in fresh { await self.close(listener) }
            throw StartError(problems)
        }
        return opened
    }

    /// Opens every worker's UDP sockets of a snapshot, and hears again on those that are open; none that is new stays open
    /// where one fails.
    func openOutsideDatagrams(_ snapshot: Snapshot) async throws(StartError) {
        var problems: [String] = []
        for domain in snapshot.domains {
            for bind in domain.configuration.udpBinds {
                do throws(BindError) {
                    try await self.openOutsideDatagram(bind, domain.key)
                } catch {
                    problems.append(
                        "\(domain.configuration.location(of: "udp.bind")): domain \(domain.configuration.name): \(error)"
                    )
                }
            }
        }
        guard problems.isEmpty else {
            for mailbox in self.shared.mailboxes { mailbox.perform { $0.retireOutsideSockets() } }
            throw StartError(problems)
        }
    }

    private func openOutsideDatagram(_ bind: Endpoint, _ domain: DomainKey) async throws(BindError) {
        var local = self.state.withLock { $0.outsideDatagrams[bind] } ?? bind
        var isShared = false
        for mailbox in self.shared.mailboxes {
            let (wanted, shared) = (local, isShared)
            let opened = try? await mailbox.ask { worker in
                worker.openOutsideDatagram(bind, local: wanted, isShared: shared, domain: domain)
            }
            guard let opened else { throw BindError(transport: .udp, endpoint: bind, errno: ECANCELED) }
            local = try opened.get()
            isShared = true
        }
        let known = local
        self.state.withLock { $0.outsideDatagrams[bind] = known }
    }

    private func openListener(
        _ key: ListenerKey, role: Entrance.Role, domains: [DomainConfiguration], previous: Entrance?
    ) async throws(StartError) -> OpenListener {
        let tag = self.state.withLock { state in
            state.nextTag += 1
            return state.nextTag
        }
        let entrance = Entrance(role: role, domains: domains, previous: previous)
        self.setEntrance(entrance, tag: tag)
        let log = self.log
        let address = key.endpoint
        do {
            let listener = try await Listener.open(
                key.endpoint, tag: ListenerTag(tag), group: self.group, workers: self.contexts
            ) { event in
                switch event {
                case .paused(let errno):
                    log.error(
                        "accepting pauses: the system is out of descriptors or memory; raise LimitNOFILE",
                        metadata: ["address": "\(address)", "errno": "\(errno)"])
                case .resumed:
                    log.notice("accepting again", metadata: ["address": "\(address)"])
                case .failed(let errno):
                    log.critical(
                        "listener lost: restart the process",
                        metadata: ["address": "\(address)", "errno": "\(errno)"])
                }
            }
            return OpenListener(key: key, listener: listener, entrance: entrance)
        } catch {
            self.setEntrance(nil, tag: tag)
            throw StartError(["\(error)"])
        }
    }

    /// Tells every worker what a listener's tag stands for.
    func setEntrance(_ entrance: Entrance?, tag: Int) {
        for mailbox in self.shared.mailboxes { mailbox.perform { $0.listeners[tag] = entrance } }
    }

    /// Stops accepting; connections live on, and their entrance with them.
    func close(_ listener: OpenListener) async {
        await listener.listener.close()
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

extension Worker {
    /// Opens this worker's socket on a core bind.
    func openDatagram(_ endpoint: Endpoint, isShared: Bool, advertise: String?) -> Result<Endpoint, BindError> {
        guard let context = self.context else {
            return .failure(BindError(transport: .udp, endpoint: endpoint, errno: EBADF))
        }
        do throws(BindError) {
            let socket = try DatagramEndpoint.bind(endpoint, in: context, owner: self, isShared: isShared)
            self.coreBinds.add(
                .init(
                    transport: .udp, endpoint: socket.local,
                    host: advertise.map { hostText($0) } ?? hostText(socket.local.address), socket: socket))
            return .success(socket.local)
        } catch {
            return .failure(error)
        }
    }
}
