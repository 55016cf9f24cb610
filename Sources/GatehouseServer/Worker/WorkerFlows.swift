internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import Logging
internal import NIOCore
internal import SIPMessage
internal import SIPTransaction
import Synchronization

// What the worker's sockets tell it.

extension Worker: StreamFlowOwner {
    func admit(remote: Endpoint, local: Endpoint, listener: ListenerTag) -> Admission {
        guard let entrance = self.listeners[listener.number] else { return .refused }
        if self.shared.isDraining.load(ordering: .relaxed) {
            self.metrics.connectionRefused(self.shared.metrics.noDomain, .draining)
            return .refused
        }
        switch entrance.role {
        case .core:
            guard self.snapshot.trustedSources.contains(remote.address) else {
                self.metrics.datagramDropped(.untrusted)
                self.log.warning(
                    "connection to a core bind refused: its address is not trusted; add it to core.trusted if it is the PBX",
                    ["peer": "\(remote)", "bind": "\(local)"])
                return .refused
            }
            return .plain
        case .outside:
            return entrance.admit(remote, self) ? .plain : .refused
        case .tls(let bind):
            guard entrance.admit(remote, self) else { return .refused }
            do {
                return .tls(
                    try TLSEngine.server(
                        context: self.shared.tlsContext, store: self.snapshot.certificates, listener: bind,
                        admit: self.snapshot.admitHandshake))
            } catch {
                entrance.leave(remote)
                self.metrics.connectionRefused(self.shared.metrics.noDomain, .resources)
                self.log.log(.error, "connection refused: OpenSSL gives no memory for it", ["cause": "\(error)"])
                return .refused
            }
        }
    }

    func flowOpened(_ flow: StreamFlow) {
        if flow.isOutbound {
            // Known since it was asked for.
            if let state = flow.userData as? FlowState, state.side == .outside { self.outboundOpened(flow, state) }
            return
        }
        guard let listener = flow.listener, let entrance = self.listeners[listener.number] else {
            return flow.close(.refused(cause: "the listener is gone"))
        }
        let reference = FlowReference(boot: self.shared.boot, worker: self.index, number: flow.id.number)
        if case .core = entrance.role {
            flow.userData = FlowState(
                side: .core, transport: .tcp, remote: flow.remote, local: flow.local, reference: reference,
                domain: nil, generation: self.snapshot.generation, source: nil, facts: [])
            self.flows[flow.id.number] = flow
            return
        }
        let tls = flow.tls
        guard let domain = self.domain(of: entrance, tls) else {
            return flow.close(.refused(cause: "its domain is no longer configured"))
        }
        if let tls { self.metrics.handshakeCompleted(domain.metrics, isResumed: tls.isResumed, version: tls.version) }
        guard let source = self.enter(flow.remote, domain, refused: { flow.close(.refused(cause: $0)) }) else { return }
        let facts = ArrivalFacts(
            transport: flow.transport, domain: domain.configuration.name, tlsVersion: tls?.version,
            cipher: tls?.cipher, peer: flow.remote, verified: tls?.verified?.displayName)
        let state = FlowState(
            side: .outside, transport: flow.transport, remote: flow.remote, local: flow.local, reference: reference,
            domain: domain, generation: self.snapshot.generation, source: source, facts: facts.text)
        flow.userData = state
        state.provedNames = tls?.verified?.names
        self.flows[flow.id.number] = flow
        var limits = self.messageLimits
        limits.messageSize = domain.limits.messageSizeInBytes
        flow.limitMessages(to: limits)
        self.metrics.connectionOpened(domain.metrics, flow.transport)
    }

    private func domain(of entrance: Entrance, _ tls: TLSFacts?) -> DomainRuntime? {
        switch entrance.role {
        case .outside(let key): self.snapshot.domain(key)
        case .tls: tls.flatMap { self.snapshot.domain(DomainKey(name: $0.domain)) }
        case .core: nil
        }
    }

    /// Takes a peer's places in its domain; nil over a limit.
    func enter(_ remote: Endpoint, _ domain: DomainRuntime, refused: (String) -> Void = { _ in }) -> Source? {
        let counters = domain.counters
        let count = counters.connections.wrappingAdd(1, ordering: .relaxed).newValue
        guard count <= domain.limits.connections ?? .max else {
            counters.connections.wrappingSubtract(1, ordering: .relaxed)
            let cause = "limits.connections of its domain is reached"
            self.refuse(remote, domain, .connections, .connections, cause)
            refused(cause)
            return nil
        }
        guard
            let source = counters.sources.enter(
                remote.address, domain: domain.key.bits, limit: domain.limits.connectionsPerSource)
        else {
            counters.connections.wrappingSubtract(1, ordering: .relaxed)
            let cause = "limits.connections_per_source of its domain is reached"
            self.refuse(remote, domain, .connectionsPerSource, .connectionsPerSource, cause)
            refused(cause)
            return nil
        }
        self.shared.connections.wrappingAdd(1, ordering: .relaxed)
        return source
    }

    /// Gives the places back.
    func leave(_ state: FlowState, _ domain: DomainRuntime) {
        self.shared.connections.wrappingSubtract(1, ordering: .relaxed)
        state.counters?.connections.wrappingSubtract(1, ordering: .relaxed)
        state.counters?.sources.leave(state.remote.address, domain: domain.key.bits)
    }

    private func refuse(
        _ remote: Endpoint, _ domain: DomainRuntime, _ reason: ConnectionRefusal, _ limit: LimitKind, _ cause: String
    ) {
        self.metrics.connectionRefused(domain.metrics, reason)
        self.metrics.limitHit(domain.metrics, limit)
        self.log.warning(
            "connection refused: a limit of its domain is reached",
            ["domain": "\(domain.configuration.name)", "peer": "\(remote)", "limit": "\(cause)"])
    }

    func flow(_ flow: StreamFlow, received message: consuming Message) {
        guard let state = flow.userData as? FlowState else { return }
        let origin = WorkerMessage.Origin(
            leg: .flow(flow.id), transport: flow.transport, source: flow.remote, local: flow.local)
        if !message.isRequest {
            self.receiveResponse(message, from: origin)
            return
        }
        switch state.side {
        case .outside: self.receiveRequest(message, fromOutside: state, origin: origin)
        case .core: self.receiveRequest(message, fromCore: origin, handOvers: 0)
        }
    }

    func flow(_ flow: StreamFlow, refused fault: SyntaxFault) -> [UInt8]? {
        let origin = WorkerMessage.Origin(
            leg: .flow(flow.id), transport: flow.transport, source: flow.remote, local: flow.local)
        let domain = (flow.userData as? FlowState)?.domain(in: self.snapshot)
        let metrics = self.note(fault, from: flow.remote, domain)
        guard let answer = self.answer(to: fault, origin: origin) else { return nil }
        self.metrics.responseSent(
            metrics, domain == nil ? .out : .in, fault.message?.method ?? .other, status: fault.status)
        return answer
    }

    func flowInputEnded(_ flow: StreamFlow) -> Bool {
        guard let state = flow.userData as? FlowState, state.side == .outside else { return false }
        state.hasInputEnded = true
        return state.unanswered > 0
    }

    func flowClosed(_ flow: StreamFlow, reason: FlowCloseReason) {
        if let listener = flow.listener { self.listeners[listener.number]?.leave(flow.remote) }
        guard let state = flow.userData as? FlowState else { return }
        self.flows[flow.id.number] = nil
        switch state.side {
        case .core:
            if self.coreConnections[flow.remote] === flow { self.coreConnections[flow.remote] = nil }
        case .outside where state.isOutbound:
            if !state.clients.isEmpty { self.noteUnanswered(flow, state, reason) }
            self.outboundEnded(flow, state, nil)
        case .outside:
            self.shared.aliases.remove(state)
            guard let domain = state.domain else { break }
            self.leave(state, domain)
            self.metrics.connectionClosed(domain.metrics, flow.transport, ConnectionEnd(reason))
            if case .writeQueueFull = reason { self.metrics.limitHit(domain.metrics, .writeQueue) }
        }
        var cause: String?
        if case .tls(let failure) = reason { cause = failure.text }
        self.failTransactions(of: state, cause: cause)
    }

    func handshakeFailed(_ flow: StreamFlow, failure: TLSFailure) {
        if let listener = flow.listener { self.listeners[listener.number]?.leave(flow.remote) }
        if flow.isOutbound, let state = flow.userData as? FlowState {
            self.flows[flow.id.number] = nil
            self.outboundEnded(flow, state, OutboundFailure(flow, failure))
            return self.failTransactions(of: state)
        }
        let domain = failure.domain.flatMap { self.snapshot.domain(DomainKey(name: $0)) }
        self.metrics.handshakeFailed(domain?.metrics ?? self.shared.metrics.noDomain, failure.cause)
        if failure.cause == .overloaded {
            self.metrics.limitHit(
                domain?.metrics ?? self.shared.metrics.noDomain, domain == nil ? .handshakeQueue : .handshakesPerSecond)
        }
        let level: Logger.Level = failure.isForOperator ? .warning : .info
        self.log.log(
            level, failure.cause.sentence,
            [
                "cause": "\(failure.text)", "peer": "\(flow.remote)", "bind": "\(flow.local)",
                "domain": "\(failure.domain ?? "-")",
            ])
    }

    func connectFailed(_ flow: StreamFlow, error: ConnectError) {
        guard let state = flow.userData as? FlowState else { return }
        self.flows[flow.id.number] = nil
        if state.side == .outside {
            self.outboundEnded(flow, state, OutboundFailure(flow, error))
            return self.failTransactions(of: state)
        }
        if self.coreConnections[flow.remote] === flow { self.coreConnections[flow.remote] = nil }
        self.log.warning(
            "connection to the core failed: see that the PBX listens there",
            ["peer": "\(flow.remote)", "cause": "\(error)"])
        if case .refused = error {
            // RFC 3261 §18.1.1: who takes no TCP gets by UDP what is too large for it, rather than nothing.
            for number in state.clients { self.clientTransactions[number]?.fallBackToDatagram() }
        }
        self.failTransactions(of: state)
    }

    /// The requests that were sent on a connection and not answered cannot be any more.
    ///
    /// - Parameter cause: what the peer or its TLS said; nil where it said nothing.
    private func failTransactions(of state: FlowState, cause: String? = nil) {
        let numbers = state.clients
        state.clients = []
        for number in numbers { self.clientTransactions[number]?.transportFailed(cause) }
    }
}

extension Worker: DatagramOwner {
    func datagram(_ endpoint: DatagramEndpoint, received bytes: UnsafeRawBufferPointer, from source: Endpoint) {
        if let index = self.outsideSockets.index(of: endpoint) {
            return self.receiveOutside(bytes, socket: index, from: source)
        }
        guard self.snapshot.trustedSources.contains(source.address) else {
            self.metrics.datagramDropped(.untrusted)  // SEC-07: silence
            self.log.warning(
                "datagram to a core bind dropped: its address is not trusted; add it to core.trusted if it is the PBX",
                ["peer": "\(source)", "bind": "\(endpoint.local)"])
            return
        }
        guard let socket = self.coreBinds.index(of: endpoint) else { return }
        let origin = WorkerMessage.Origin(
            leg: .datagram(socket: socket, source), transport: .udp, source: source, local: endpoint.local)
        switch Parser.parse(datagram: bytes, limits: self.messageLimits) {
        case .message(let message):
            if message.isRequest {
                var origin = origin
                origin.leg = .datagram(socket: socket, self.answerAddress(of: message, from: source))
                self.receiveRequest(message, fromCore: origin, handOvers: 0)
            } else {
                self.receiveResponse(message, from: origin)
            }
        case .refused(let fault):
            self.refuse(fault, origin: origin, domain: nil)
        case .keepAlive, .stunBinding:
            break  // KEEP-05; STUN is for ports that face devices
        }
    }

    /// Where the answer to a datagram goes (RFC 3261 §18.2.2, RFC 3581 §4): `maddr` inside the core networks, else the
    /// source, at its port with `rport` and at that of the Via without.
    private func answerAddress(of request: Message, from source: Endpoint) -> Endpoint {
        guard let via = request.topVia else { return source }
        if let maddr = via.maddr, let address = IPAddress(bytes: request.bytes, range: maddr),
            self.snapshot.trustedSources.contains(address)
        {
            return Endpoint(address: address, port: via.sentByPort ?? Transport.udp.defaultPort)
        }
        if via.rport != nil { return source }
        return Endpoint(address: source.address, port: via.sentByPort ?? Transport.udp.defaultPort)
    }

    func datagramFailed(
        _ endpoint: DatagramEndpoint, to destination: Endpoint, quoted: UnsafeRawBufferPointer, errno: Int32
    ) {
        if self.outsideSockets.index(of: endpoint) == nil {
            self.log.warning(
                "the core does not take datagrams: see that the PBX listens there",
                ["peer": "\(destination)", "errno": "\(errno)"])
        } else {
            self.log.info("a peer does not take datagrams", ["peer": "\(destination)", "errno": "\(errno)"])
        }
        // The quoted branch tells whose request it was, if ICMP quotes that far (TXN-31).
        guard let range = branchRange(in: quoted) else { return }
        let bytes = Array(quoted)
        guard let branch = Branch(bytes, range) else { return }
        if branch.worker == self.index {
            self.failTransaction(branch)
        } else {
            self.mailbox(of: branch.worker)?.post(.failed(branch))
        }
    }

    func failTransaction(_ branch: Branch) {
        guard let client = self.clientTransactions[branch.number], client.branch == branch else { return }
        client.transportFailed()
    }
}

/// Where the first branch of ours stands.
private func branchRange(in bytes: UnsafeRawBufferPointer) -> Range<Int>? {
    let cookie = Array("branch=z9hG4bK".utf8)
    guard bytes.count >= cookie.count else { return nil }
    for start in 0...(bytes.count - cookie.count)
    where bytes[start..<start + cookie.count].elementsEqual(cookie) {
        let first = start + 7
        guard first + Branch.length <= bytes.count else { return nil }
        return first..<first + Branch.length
    }
    return nil
}
