internal import GatehouseNet
internal import GatehousePolicy
internal import Glibc
internal import Logging
internal import NIOCore
internal import SIPMessage
internal import Synchronization

// The sockets that a configuration asks for: all of them are opened, or none.

extension Server {
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
