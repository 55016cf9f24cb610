internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage
internal import SIPTransaction

// A request from outside, on its way to the core (RFC 3261 §16), a line a step.

extension Worker {
    func receiveRequest(_ message: Message, fromOutside state: FlowState, origin: WorkerMessage.Origin) {
        guard let domain = state.domain(in: self.snapshot) else { return }
        self.metrics.requestReceived(domain.metrics, .in, message.method)
        let limits = self.messageLimits
        if let fault = message.checkSyntax(limits) {
            return self.refuse(fault, origin: origin, domain: domain)
        }
        guard message.bytes.count <= domain.limits.messageSizeInBytes else {
            self.metrics.limitHit(domain.metrics, .messageSize)
            return self.refuse(Refusal(413, .tooLarge), message, origin: origin, domain: domain)
        }
        guard self.admitRate(message, state, domain, origin) else { return }
        guard let key = self.shared.matcher.key(of: message) else {
            return self.refuse(Refusal(400, .syntax), message, origin: origin, domain: domain)
        }
        switch message.method {
        case .ack:
            if let transaction = self.serverTransactions[key], transaction.receivedACK() { return }
            if self.ownTags.isOwn(message) || self.refusedInvites.take(key) { return }
            self.forwardStatelessly(message, fromOutside: state, domain, origin: origin)
        case .cancel:
            if !self.receiveCancel(message, origin: origin) {
                self.forwardStatelessly(message, fromOutside: state, domain, origin: origin)
            }
        case .invite, .bye, .register, .options, .subscribe, .notify, .publish, .info, .refer, .message, .update,
            .prack, .other:
            if let transaction = self.serverTransactions[key] { return transaction.receivedRetransmission() }
            self.begin(message, key, fromOutside: state, domain, origin: origin)
        }
    }

    private func begin(
        _ message: Message, _ key: TransactionKey, fromOutside state: FlowState, _ domain: DomainRuntime,
        origin: WorkerMessage.Origin
    ) {
        if state.hasInputEnded { return }  // TLS-08: no new transaction on a connection that its peer has closed
        do throws(Refusal) {
            if let fault = proxyValidation(of: message) {
                return self.refuse(fault, message, origin: origin, domain: domain)
            }
            let digest = self.shared.matcher.loopDigest(of: message)
            if self.shared.matcher.isLooped(message, digest: digest) { throw Refusal(482, .loop) }
            self.noteAlias(message, state, domain)
            let route = try RouteProcessing.fromOutside(
                message, domain: domain.key, isSecure: state.transport == .tls,
                knowledge: OutsideKnowledge(
                    worker: self, domain: domain, local: state.local, transport: state.transport))
            if route.destination == .edge { return self.answerOptions(message, origin: origin, domain: domain) }
            try SchemeRules.check(message, requestURI: route.requestURI)
            if message.method == .register, !domain.isPBX, domain.configuration.core.path == .supported,
                !message.lists("path", in: .supported)
            {
                throw Refusal(421, .pathUnsupported)
            }
            try self.admit(message, domain)
            let passage = try self.passage(of: message, route, state, domain)
            let targets = try self.coreHops(for: route, message, domain)
            let call = try self.beginCall(message, domain)
            if message.to?.tag == nil { self.metrics.sessionBegun(domain.metrics, passage.session.arrival) }
            let transaction = ServerTransaction(
                worker: self, key: key, request: message, origin: origin, passage: passage)
            transaction.call = call
            transaction.flowState = state
            transaction.outsideRoute = route
            transaction.hops = targets
            transaction.loop = digest
            state.unanswered += 1
            self.add(transaction)
            self.propose(transaction)
            self.tryNextHop(of: transaction)
        } catch {
            self.refuse(error, message, origin: origin, domain: domain)
        }
    }

    /// How the request crosses; the core bind and target are those of the attempt.
    private func passage(
        of message: Message, _ route: OutsideRoute, _ state: FlowState, _ domain: DomainRuntime
    ) throws(Refusal) -> Passage {
        let arrival = Arrival(isSIPS: route.requestURI.scheme == .sips, isSecure: state.transport == .tls)
        var passage = Passage(
            direction: .toCore, domain: domain, session: route.session ?? self.newSession(arrival),
            flow: state.isOutbound ? nil : state.reference, binding: nil, outside: state.service,
            isOutsideSecure: state.transport == .tls, mirrorsTransport: false, coreBind: 0, coreTransport: .udp,
            coreTarget: state.remote, registration: nil)
        passage.peer = state.peerName
        try domain.configuration.security.admit(passage.session, isSecure: state.transport == .tls)
        if state.transport == .tls, !passage.isSIPS,
            domain.configuration.tls?.transportParameter ?? .mirror == .mirror
        {
            passage.mirrorsTransport = message.writesTransportTLS
        }
        if message.method == .refer {
            passage.referral = try self.referral(of: message, passage, from: state.remote.address)
        }
        if message.method == .register, domain.isPBX {
            passage.registration = try self.registration(of: message, domain)
            if let first = passage.registration?.contacts.first {
                passage.session = Session(
                    id: SessionID(first.key.low), arrival: passage.session.arrival,
                    expires: passage.session.expires)
            }
        }
        return passage
    }

    /// An ACK to a 2xx is a request of its own without a transaction or an answer (RFC 3261 §16.11, RFC 6026 §7.1); a CANCEL
    /// that matches nothing goes the same way (§16.10), under the same rules.
    private func forwardStatelessly(
        _ message: Message, fromOutside state: FlowState, _ domain: DomainRuntime, origin: WorkerMessage.Origin
    ) {
        do throws(Refusal) {
            guard message.maxForwards != 0 else { throw Refusal(483, .maxForwards) }
            let route = try RouteProcessing.fromOutside(
                message, domain: domain.key, isSecure: state.transport == .tls,
                knowledge: OutsideKnowledge(
                    worker: self, domain: domain, local: state.local, transport: state.transport))
            if route.destination == .edge { return }
            let passage = try self.passage(of: message, route, state, domain)
            guard let hop = try self.coreHops(for: route, message, domain).first else { return }
            let branch = self.nextBranch(loop: self.shared.matcher.loopDigest(of: message))
            guard let attempt = try? self.write(message, route, passage, state, hop, branch: branch) else { return }
            self.send(attempt.bytes, by: attempt.leg)
        } catch {
            guard message.method == .ack else {
                return self.refuse(error, message, origin: origin, domain: domain)
            }
            self.metrics.refused(domain.metrics, error.rule)
        }
    }

    // MARK: Attempts

    /// Opens a branch to the transaction's next core server (RFC 3261 §16.6, RFC 3263 §4.3), or says that there is none.
    func tryNextHop(of transaction: ServerTransaction) {
        if transaction.outbound != nil { return self.tryNextCandidate(of: transaction) }
        guard let route = transaction.outsideRoute, let state = transaction.flowState, !transaction.hops.isEmpty,
            let number = transaction.responses.openBranch()
        else {
            let verdict = transaction.responses.noMoreTargets()
            return self.carryOut(verdict, of: transaction, branch: nil, response: nil)
        }
        let hop = transaction.hops.removeFirst()
        let branch = self.nextBranch(loop: transaction.loop)
        guard
            let attempt = try? self.write(
                transaction.request, route, transaction.passage, state, hop, branch: branch)
        else {
            transaction.branches.append(.unsent(self, branch, transaction, number))
            let verdict = transaction.responses.transportFailed(number, hasAlternative: !transaction.hops.isEmpty)
            return self.carryOut(verdict, of: transaction, branch: nil, response: nil)
        }
        let client = ClientTransaction(
            worker: self, branch: branch, request: attempt.bytes, isInvite: transaction.isInvite, leg: attempt.leg,
            remote: attempt.remote, transport: attempt.transport, target: hop.target,
            sentBy: self.coreBinds.entries[attempt.bind].sentBy,
            parent: transaction, number: number)
        client.fallback = attempt.fallback
        transaction.branches.append(client)
        self.add(client)
        client.start()
    }

    /// Writes the request for one core server and finds the way to it. A request over 1,300 bytes, as it would leave, takes
    /// the server's TCP where it has that (RFC 3261 §18.1.1).
    private func write(
        _ message: Message, _ route: OutsideRoute, _ passage: Passage, _ state: FlowState, _ hop: CoreHop,
        branch: Branch
    ) throws(ForwardFault) -> Attempt {
        var transport = hop.transport
        var endpoint = hop.endpoint
        guard var bind = self.coreBinds.index(for: transport, isIPv6: endpoint.address.isIPv6) else {
            throw .unwritable
        }
        var passage = passage
        passage.coreTransport = hop.dialogTransport
        var fallback: CoreHop?
        var bytes = try self.coreRequest(
            message, route, passage, from: state, transport: transport, bind: bind, branch: branch)
        if transport == .udp, bytes.count > Self.datagramLimit(pathMTU: passage.domain.configuration.core.pathMTU),
            let twin = hop.streamTwin,
            let streamBind = self.coreBinds.index(for: .tcp, isIPv6: twin.address.isIPv6)
        {
            fallback = hop
            fallback?.streamTwin = nil
            transport = .tcp
            endpoint = twin
            bind = streamBind
            bytes = try self.coreRequest(
                message, route, passage, from: state, transport: transport, bind: bind, branch: branch)
        }
        guard transport == .tcp else {
            return Attempt(
                bytes: bytes, leg: .datagram(socket: bind, endpoint), remote: endpoint, transport: .udp, bind: bind,
                fallback: nil)
        }
        guard let flow = self.coreConnection(to: endpoint) else { throw .unwritable }
        return Attempt(
            bytes: bytes, leg: .flow(flow.id), remote: endpoint, transport: .tcp, bind: bind, fallback: fallback)
    }

    /// A request as it leaves for one core server.
    private struct Attempt {
        var bytes: [UInt8]
        var leg: Leg
        var remote: Endpoint
        var transport: Transport
        var bind: Int
        var fallback: CoreHop?
    }

    /// The most bytes of a request over UDP: within 200 of the path's MTU, 1,300 where that is unknown (RFC 3261 §18.1.1).
    static func datagramLimit(pathMTU: Int?) -> Int { pathMTU.map { max(0, $0 - 200) } ?? 1300 }
}

extension Message {
    /// Whether the device itself wrote `transport=tls` into its Contact or top Route (RR-03).
    var writesTransportTLS: Bool {
        for name in [HeaderName.contact, .route] where self.first(name) != nil {
            for value in self.values(of: name).prefix(1) {
                guard let uri = (try? NameAddr.parse(self.bytes, value))?.uri else { continue }
                if uri.transport(in: self.bytes) == .tls { return true }
            }
        }
        return false
    }
}
