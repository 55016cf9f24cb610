internal import GatehouseNet
internal import GatehousePolicy
internal import Glibc
internal import Logging
internal import NIOCore
internal import SIPMessage
import Synchronization

// Datagrams from outside. A peer that speaks UDP has no connection; its address on one of our sockets is its flow.

extension Worker {
    /// Opens this worker's socket on an address of `udp.bind`, or hears on it again.
    func openOutsideDatagram(_ bind: Endpoint, local: Endpoint, isShared: Bool, domain: DomainKey) -> Result<
        Endpoint, BindError
    > {
        if let index = self.outsideSockets.index(ofBind: bind), let entry = self.outsideSockets[index] {
            self.outsideSockets.reopen(index, domain: domain)
            return .success(entry.socket.local)
        }
        guard let context = self.context else {
            return .failure(BindError(transport: .udp, endpoint: bind, errno: EBADF))
        }
        do throws(BindError) {
            let socket = try DatagramEndpoint.bind(local, in: context, owner: self, isShared: isShared)
            self.outsideSockets.add(.init(socket: socket, bind: bind, address: bind.address, domain: domain))
            return .success(socket.local)
        } catch {
            return .failure(error)
        }
    }

    /// The socket that a domain's datagrams to a peer leave from: that of its `udp.bind`, else one on a port of its own, at
    /// which the peer's later requests are heard as well, and which the domains of one address share.
    func outsideSocket(for domain: DomainRuntime, isIPv6: Bool) -> Int? {
        if let index = self.outsideSockets.index(for: domain.key, isIPv6: isIPv6) { return index }
        let address = domain.ownAddress(isIPv6: isIPv6) ?? IPAddress.unspecified(isIPv6: isIPv6)
        if let index = self.outsideSockets.index(at: address) { return index }
        guard let context = self.context,
            let socket = try? DatagramEndpoint.bind(
                Endpoint(address: address, port: 0), in: context, owner: self)
        else { return nil }
        return self.outsideSockets.add(.init(socket: socket, bind: nil, address: address, domain: nil))
    }

    func receiveOutside(_ bytes: UnsafeRawBufferPointer, socket index: Int, from source: Endpoint) {
        guard let entry = self.outsideSockets[index] else { return }
        let local = entry.socket.local
        var origin = WorkerMessage.Origin(
            leg: .outsideDatagram(socket: index, source), transport: .udp, source: source, local: local)
        switch Parser.parse(datagram: bytes, limits: self.messageLimits) {
        case .message(let message):
            guard message.isRequest else { return self.receiveResponse(message, from: origin) }
            guard let key = entry.domain ?? self.domain(inTokensOf: message) else {
                return self.metrics.datagramDropped(.untrusted)
            }
            guard let state = self.datagramFlow(from: source, socket: index, entry, key) else { return }
            origin.leg = .outsideDatagram(socket: index, outsideAnswerAddress(of: message, from: source))
            self.receiveRequest(message, fromOutside: state, origin: origin)
        case .refused(let fault):
            guard let key = entry.domain else { return self.metrics.datagramDropped(.syntax) }
            guard let state = self.datagramFlow(from: source, socket: index, entry, key) else { return }
            self.refuse(fault, origin: origin, domain: state.domain(in: self.snapshot))
        case .keepAlive:
            self.noteActivity(of: source, socket: index, entry)  // KEEP-05: silence
        case .stunBinding:
            self.noteActivity(of: source, socket: index, entry)
            guard let answer = STUNBinding.response(to: bytes, from: source) else { return }
            entry.socket.send(answer, to: source)
        }
    }

    private func noteActivity(of source: Endpoint, socket index: Int, _ entry: OutsideSockets.Entry) {
        guard let domain = entry.domain else { return }
        guard let state = self.datagramFlows.flow(socket: index, remote: source, domain: domain) else { return }
        self.datagramFlows.touch(state, now: self.now)
    }

    /// The domain of the dialog that a request belongs to, by the token of ours in its Request-URI or top Route.
    private func domain(inTokensOf message: Message) -> DomainKey? {
        if let uri = try? URI.parse(message.bytes, message.requestURI), uri.isSIP,
            case .token(let token) = self.token(of: uri, in: message.bytes)
        {
            return token.domain
        }
        guard message.first(.route) != nil else { return nil }
        for value in message.values(of: .route).prefix(1) {
            guard let uri = (try? NameAddr.parse(message.bytes, value))?.uri,
                case .token(let token) = self.token(of: uri, in: message.bytes)
            else { continue }
            return token.domain
        }
        return nil
    }

    /// What is known of a peer, made where it is new; nil where it is not to be heard.
    private func datagramFlow(
        from source: Endpoint, socket index: Int, _ entry: OutsideSockets.Entry, _ key: DomainKey
    ) -> FlowState? {
        if let known = self.datagramFlows.flow(socket: index, remote: source, domain: key) {
            self.datagramFlows.touch(known, now: self.now)
            return known
        }
        guard entry.isOpen, let context = self.context, let domain = self.snapshot.domain(key) else {
            self.metrics.datagramDropped(.untrusted)
            return nil
        }
        if self.shared.isDraining.load(ordering: .relaxed) {
            self.metrics.connectionRefused(domain.metrics, .draining)
            return nil
        }
        guard let holder = self.enterDatagrams(source, domain) else {
            self.metrics.datagramDropped(.queueFull)
            return nil
        }
        let facts = ArrivalFacts(
            transport: .udp, domain: domain.configuration.name, tlsVersion: nil, cipher: nil, peer: source,
            verified: nil)
        let state = FlowState(
            side: .outside, transport: .udp, remote: source, local: entry.socket.local,
            reference: FlowReference(
                boot: self.shared.boot, worker: self.index, number: context.makeFlowNumber()),
            domain: domain, generation: self.snapshot.generation, source: holder, facts: facts.text,
            leg: .outsideDatagram(socket: index, source), service: entry.service)
        state.lastActivity = self.now
        self.datagramFlows.add(state, socket: index, domain: key)
        self.outsideSockets[index]?.flows += 1
        self.metrics.connectionOpened(domain.metrics, .udp)
        return state
    }

    // MARK: Room

    /// Takes a UDP peer's place in its domain and the process, that of a stranger where there is no other; nil where there is none.
    private func enterDatagrams(_ source: Endpoint, _ domain: DomainRuntime) -> Source? {
        let counters = domain.counters
        let count = counters.datagramPeers.wrappingAdd(1, ordering: .relaxed).newValue
        let total = self.shared.datagramPeers.wrappingAdd(1, ordering: .relaxed).newValue
        self.shared.connections.wrappingAdd(1, ordering: .relaxed)
        let limit: LimitKind? =
            if count > domain.limits.udpPeers ?? .max {
                .udpPeers
            } else if total > self.snapshot.configuration.edge.limits.datagramFlows {
                .datagramFlows
            } else {
                nil
            }
        if let limit, !self.displaceStranger(for: source, domain, limit) {
            self.leaveDatagrams(counters)
            return nil
        }
        return counters.sources.enterDatagrams(source.address, domain: domain.key.bits)
    }

    /// Forgets the stranger that has been silent longest, of the domain whose limit is reached or of all.
    ///
    /// - Returns: false where this worker knows none.
    private func displaceStranger(for source: Endpoint, _ domain: DomainRuntime, _ limit: LimitKind) -> Bool {
        self.metrics.limitHit(domain.metrics, limit)
        let key = limit == .udpPeers ? "limits.udp_peers" : "edge.limits.datagram_flows"
        let own = limit == .udpPeers ? domain.key : nil
        if let stranger = self.datagramFlows.quietest(of: own, now: self.now) {
            self.log.info(
                "a UDP peer is forgotten to make room for another: a limit is reached",
                ["domain": "\(domain.configuration.name)", "peer": "\(stranger.remote)", "limit": "\(key)"])
            self.forget(stranger, .displaced)
            return true
        }
        self.metrics.connectionRefused(domain.metrics, limit == .udpPeers ? .udpPeers : .datagramFlows)
        self.log.warning(
            "message from a UDP peer dropped: a limit is reached, and all peers that are known are registered or in dialogs",
            ["domain": "\(domain.configuration.name)", "peer": "\(source)", "limit": "\(key)"])
        return false
    }

    private func leaveDatagrams(_ counters: DomainCounters) {
        self.shared.connections.wrappingSubtract(1, ordering: .relaxed)
        self.shared.datagramPeers.wrappingSubtract(1, ordering: .relaxed)
        counters.datagramPeers.wrappingSubtract(1, ordering: .relaxed)
    }

    private func forget(_ state: FlowState, _ end: ConnectionEnd) {
        self.datagramFlows.remove(state)
        if case .outsideDatagram(let index, _) = state.leg { self.outsideSockets[index]?.flows -= 1 }
        guard let domain = state.domain else { return }
        if let counters = state.counters {
            self.leaveDatagrams(counters)
            counters.sources.leaveDatagrams(state.remote.address, domain: domain.key.bits)
        }
        self.metrics.connectionClosed(domain.metrics, .udp, end)
    }

    // MARK: How long a peer is remembered

    /// A response passes to the peer; one that makes a registration or a dialog has it remembered longer.
    ///
    /// - Parameter seconds: of the registration; nil: the response makes none.
    func noteStanding(of state: FlowState, registeredFor seconds: UInt32? = nil, beginsDialog: Bool = false) {
        guard case .outsideDatagram = state.leg, self.datagramFlows.flow(state.reference.number) === state else {
            return
        }
        if let seconds {
            let end = self.now &+ UInt64(seconds) &* 1_000_000_000
            state.registeredUntil = state.isRegistered ? max(state.registeredUntil, end) : 0
        }
        if beginsDialog { state.hasDialog = true }
        self.datagramFlows.setKept(state, state.isRegistered || state.hasDialog)
    }

    /// Forgets strangers that were silent for `edge.timers.udp_idle`.
    func sweepStrangers() {
        let now = self.now
        let idle = nanoseconds(self.snapshot.configuration.edge.timers.udpIdle)
        guard now > idle else { return }
        while let stranger = self.datagramFlows.quietest(silentSince: now - idle, now: now) {
            self.forget(stranger, .idle)
        }
    }

    /// Forgets peers that are kept no longer: their registration is over or their Flow-Timer missed, and since their dialog
    /// began they were silent for `edge.timers.idle`.
    func sweepDatagramFlows() {
        let now = self.now
        let idle = nanoseconds(self.snapshot.configuration.edge.timers.idle)
        for state in Array(self.datagramFlows.all) where state.strangerPlace == nil && state.unanswered <= 0 {
            let silence = now &- state.lastActivity
            if let limit = state.silenceLimit, silence > nanoseconds(limit) {
                self.forget(state, .idle)
                continue
            }
            if state.isRegistered, state.registeredUntil <= now {
                state.isRegistered = false
                state.silenceLimit = nil
            }
            if state.hasDialog, silence > idle { state.hasDialog = false }
            self.datagramFlows.setKept(state, state.isRegistered || state.hasDialog)
        }
        self.retireOutsideSockets()
    }

    func retireOutsideSockets() {
        self.outsideSockets.retire(allBut: Set(self.snapshot.configuration.domains.flatMap(\.udpBinds)))
    }
}

/// Where the answer to a datagram from outside goes (RFC 3261 §18.2.2, RFC 3581 §4): the source, at its port with `rport`
/// and at that of the Via without. `maddr` is not believed (VIA-09).
private func outsideAnswerAddress(of request: Message, from source: Endpoint) -> Endpoint {
    guard let via = request.topVia, via.rport == nil else { return source }
    return Endpoint(address: source.address, port: via.sentByPort ?? Transport.udp.defaultPort)
}

/// The answer to a keep-alive of a device behind a NAT (RFC 5626 §4.4.2; RFC 5389 §7.3).
enum STUNBinding {
    private static let cookie: [UInt8] = [0x21, 0x12, 0xA4, 0x42]

    /// A Binding Response with XOR-MAPPED-ADDRESS; nil for what is no whole Binding Request.
    static func response(to request: UnsafeRawBufferPointer, from source: Endpoint) -> [UInt8]? {
        guard request.count >= 20, request[0] == 0, request[1] == 1, request[4..<8].elementsEqual(self.cookie) else {
            return nil
        }
        let key = Array(request[4..<20])
        let address = source.address.asIPv4 ?? source.address
        var value: [UInt8] = [0, address.isIPv6 ? 2 : 1]
        value.append(UInt8(truncatingIfNeeded: source.port >> 8) ^ key[0])
        value.append(UInt8(truncatingIfNeeded: source.port) ^ key[1])
        let words: [(UInt64, Int)] = address.isIPv6 ? [(address.high, 8), (address.low, 8)] : [(address.low, 4)]
        var index = 0
        for (word, count) in words {
            for shift in stride(from: (count - 1) * 8, through: 0, by: -8) {
                value.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)) ^ key[index])
                index += 1
            }
        }
        var response: [UInt8] = [1, 1, 0, UInt8(truncatingIfNeeded: value.count + 4)]
        response += key
        response += [0x00, 0x20, 0x00, UInt8(truncatingIfNeeded: value.count)]
        return response + value
    }
}
