internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import Logging
internal import SIPMessage
internal import SIPTransaction

// A request of the core's to a peer that has to be located: look-ups, the verdict, then server after server (RFC 3263 §4.3).

/// A request's search for a server that takes it.
final class OutboundAttempt {
    let route: OutboundRoute
    /// The servers that are left; nil while they are being looked up.
    var walk: CandidateWalk?
    /// A branch that is open though nothing has been sent on it: the next hop is being located, or connected to.
    var waiting: BranchNumber?
    /// The answer for want of a server, and why.
    var refusal: Refusal?
    /// When no further server is tried, in nanoseconds of the worker's clock.
    let deadline: UInt64

    init(_ route: OutboundRoute, deadline: UInt64) {
        self.route = route
        self.deadline = deadline
    }

    private var hasTriedAgain = false

    /// Tries a server once more, over a new connection.
    ///
    /// - Returns: false where that was done before.
    func tryAgain(_ judged: JudgedCandidate) -> Bool {
        guard !self.hasTriedAgain, let walk = self.walk else { return false }
        self.hasTriedAgain = true
        walk.putBack(judged)
        return true
    }

    func hasAlternative(now: UInt64) -> Bool { self.walk.map { !$0.isExhausted } ?? false && now < self.deadline }
}

extension Worker {
    /// The worker whose connections lead to a next hop: the same for all requests to it, so that they share one.
    func owner(of outbound: OutboundRoute) -> UInt16 {
        let count = self.shared.workerCount
        guard count > 1 else { return 0 }
        var hash: UInt64 = outbound.domain.key.bits
        for byte in outbound.peer.isEmpty ? Array(outbound.host.utf8) : outbound.peer {
            hash = (hash ^ UInt64(byte | 0x20)) &* 0x0000_0100_0000_01b3
        }
        hash ^= hash >> 32
        return UInt16(truncatingIfNeeded: hash % UInt64(count))
    }

    func begin(
        _ message: Message, _ key: TransactionKey, _ route: CoreRoute, _ outbound: OutboundRoute,
        _ digest: LoopDigest, fromCore origin: WorkerMessage.Origin
    ) throws(Refusal) {
        let domain = outbound.domain
        try self.admit(message, domain, fromCore: origin.source.address)
        var passage = self.passage(of: message, outbound, origin)
        if message.method == .refer {
            passage.referral = try self.referral(of: message, passage, from: origin.source.address)
        }
        let call = try self.beginCall(message, domain)
        let transaction = ServerTransaction(
            worker: self, key: key, request: message, origin: origin, passage: passage)
        transaction.call = call
        transaction.loop = digest
        // Who waits for a non-INVITE gives up after 64*T1; an INVITE that got our 100 waits as long as it may ring.
        let patience = transaction.isInvite ? self.timers.timerC : self.timers.timeout
        let attempt = OutboundAttempt(outbound, deadline: self.now &+ nanoseconds(patience))
        transaction.outbound = attempt
        self.add(transaction)
        guard let number = transaction.responses.openBranch() else { return }
        attempt.waiting = number
        self.locate(outbound) { [weak transaction] found in
            guard let transaction, transaction.outbound?.waiting == number else { return }
            self.located(found, transaction, number)
        }
    }

    /// How the request crosses; transport and listener outside are those of the attempt.
    private func passage(
        of message: Message, _ outbound: OutboundRoute, _ origin: WorkerMessage.Origin
    ) -> Passage {
        let core = self.coreTarget(of: message, origin, outbound.domain)
        return Passage(
            direction: .toOutside, domain: outbound.domain, session: outbound.session, flow: nil, binding: nil,
            peer: outbound.peer, outside: outbound.domain.service(for: .tls), isOutsideSecure: true,
            mirrorsTransport: false,
            coreBind: self.bind(of: origin, core.transport), coreTransport: core.transport, coreTarget: core.endpoint,
            registration: nil)
    }

    private func located(_ found: Located, _ transaction: ServerTransaction, _ number: BranchNumber) {
        guard let attempt = transaction.outbound else { return }
        switch found {
        case .candidates(let candidates):
            attempt.walk = self.walk(candidates, for: attempt.route)
            self.tryNextCandidate(of: transaction, on: number)
        case .refused(var refusal, let cause):
            // A device that has gone is away; it is not the edge that fails (PBX-11).
            if let away = attempt.route.refusalForDevice { refusal = away }
            attempt.refusal = refusal
            attempt.waiting = nil
            self.log.info(
                "no way to the next hop",
                [
                    "domain": "\(attempt.route.domain.configuration.name)", "next-hop": "\(attempt.route.host)",
                    "call-id": "\(transaction.request.callID?.text(in: transaction.request.bytes) ?? "-")",
                    "status": "\(refusal.status)", "rule": "\(refusal.rule.label)", "cause": "\(cause)",
                ])
            self.metrics.refused(attempt.route.domain.metrics, refusal.rule)
            self.end(number, of: transaction)
        }
    }

    /// Opens a branch to the next server that can be reached.
    func tryNextCandidate(of transaction: ServerTransaction) {
        guard let attempt = transaction.outbound, attempt.hasAlternative(now: self.now),
            let number = transaction.responses.openBranch()
        else {
            let verdict = transaction.responses.noMoreTargets()
            return self.carryOut(verdict, of: transaction, branch: nil, response: nil)
        }
        attempt.waiting = number
        self.tryNextCandidate(of: transaction, on: number)
    }

    private func tryNextCandidate(of transaction: ServerTransaction, on number: BranchNumber) {
        guard let attempt = transaction.outbound, let walk = attempt.walk else { return }
        let request = transaction.request
        walk.next(
            size: { [weak self] candidate in
                guard let self else { return 0 }
                let branch = Branch(worker: self.index, number: 0, loop: .none, using: &self.generator)
                return (try? self.write(request, attempt.route, transaction.passage, candidate, .udp, nil, branch))
                    .map(\.bytes.count) ?? 0
            },
            found: { [weak transaction] way in
                guard let transaction, attempt.waiting == number else { return }
                guard let way else {
                    attempt.waiting = nil
                    self.noteFailure(of: walk, transaction)
                    return self.end(number, of: transaction)
                }
                self.send(transaction, by: way, on: number)
            })
    }

    private func send(_ transaction: ServerTransaction, by way: OutboundWay, on number: BranchNumber) {
        guard let attempt = transaction.outbound else { return }
        attempt.waiting = nil
        if way.judged.override?.allow == .insecure { transaction.relax() }
        let branch = self.nextBranch(loop: transaction.loop)
        guard
            let written = try? self.write(
                transaction.request, attempt.route, transaction.passage, way.judged.candidate, way.transport,
                way.state, branch)
        else { return self.end(number, of: transaction) }
        self.noteOverride(way, attempt.route, transaction.request)
        let client = ClientTransaction(
            worker: self, branch: branch, request: written.bytes, isInvite: transaction.isInvite, leg: way.leg,
            remote: way.judged.candidate.endpoint, transport: way.transport, target: nil, sentBy: written.sentBy,
            parent: transaction, number: number)
        client.judged = way.judged
        client.isReused = way.isReused
        transaction.branches.append(client)
        self.add(client)
        client.start()
    }

    /// Ends a branch on which nothing was sent.
    private func end(_ number: BranchNumber, of transaction: ServerTransaction) {
        transaction.branches.append(
            .unsent(self, self.nextBranch(loop: transaction.loop), transaction, number))
        let verdict = transaction.responses.transportFailed(number, hasAlternative: self.hasAlternative(transaction))
        self.carryOut(verdict, of: transaction, branch: nil, response: nil)
    }

    /// A CANCEL came while the next hop was being located or connected to: nothing was sent, so nothing is to cancel.
    func withdraw(_ transaction: ServerTransaction) {
        guard let attempt = transaction.outbound, let number = attempt.waiting else { return }
        attempt.waiting = nil
        attempt.walk?.abandon()
        transaction.branches.append(
            .unsent(self, self.nextBranch(loop: transaction.loop), transaction, number))
        let verdict = transaction.responses.withdrawn(number)
        self.carryOut(verdict, of: transaction, branch: nil, response: nil)
    }

    /// A secure way, or any way, exists and failed (SIPS-20).
    private func noteFailure(of walk: CandidateWalk, _ transaction: ServerTransaction) {
        guard let attempt = transaction.outbound, let failure = walk.failure else { return }
        attempt.refusal =
            attempt.route.refusalForDevice
            ?? Refusal(
                500, .peerUnreachable, warning: Refusal.Warning(code: 399, text: "\(attempt.route.host): \(failure)"))
        self.log.info(
            "no server of the next hop can be reached",
            [
                "domain": "\(attempt.route.domain.configuration.name)", "next-hop": "\(attempt.route.host)",
                "call-id": "\(transaction.request.callID?.text(in: transaction.request.bytes) ?? "-")",
                "cause": "\(failure)",
            ])
    }

    // MARK: Without a transaction

    /// An ACK to a 2xx, and a CANCEL that matches nothing, by the first server that can be reached.
    func forwardStatelessly(_ message: Message, _ outbound: OutboundRoute, fromCore origin: WorkerMessage.Origin) {
        guard self.snapshot.mayReach(outbound.domain, from: origin.source.address) else { return }
        let passage = self.passage(of: message, outbound, origin)
        self.locate(outbound) { found in
            guard case .candidates(let candidates) = found else { return }
            let walk = self.walk(candidates, for: outbound)
            walk.next(size: { _ in message.bytes.count + 200 }) { way in
                guard let way else { return }
                let branch = self.nextBranch(loop: self.shared.matcher.loopDigest(of: message))
                guard
                    let written = try? self.write(
                        message, outbound, passage, way.judged.candidate, way.transport, way.state, branch)
                else { return }
                self.send(written.bytes, by: way.leg)
            }
        }
    }

    // MARK: Writing

    /// A request as it leaves for one server.
    private struct Written {
        var bytes: [UInt8]
        var sentBy: SentBy
    }

    private func write(
        _ message: Message, _ outbound: OutboundRoute, _ passage: Passage, _ candidate: Candidate,
        _ transport: Transport, _ state: FlowState?, _ branch: Branch
    ) throws(ForwardFault) -> Written {
        let domain = outbound.domain
        var service = domain.service(for: transport)
        if transport == .udp, let socket = self.outsideSocket(for: domain, isIPv6: candidate.endpoint.address.isIPv6),
            let own = self.outsideSockets[socket]?.service
        {
            service = own
        }
        var passage = passage
        passage.outside = service
        passage.isOutsideSecure = transport == .tls
        var form = outbound.form
        if let state, state.isKnownToPeer, domain.configuration.outbound.reuse {
            form.viaParameters = ";alias"  // RFC 5923 §5: what comes back on this connection is welcome
        }
        let sentBy = domain.sentBy(service)
        let bytes = try self.deviceRequest(
            message, passage, form, source: passage.coreTarget, transport: transport, sentBy: sentBy, branch: branch)
        return Written(bytes: bytes, sentBy: sentBy)
    }

    /// Each use of an override is seen: once a session in the log, always in the metrics (SIPS-09).
    private func noteOverride(_ way: OutboundWay, _ route: OutboundRoute, _ message: Message) {
        guard let override = way.judged.override else { return }
        self.metrics.overrideUsed(route.domain.metrics, override.allow)
        guard self.notedOverrides.insert(route.session.id).inserted else { return }
        if self.notedOverrides.count > 10_000 { self.notedOverrides = [route.session.id] }
        self.log.warning(
            "override used: a protected session leaves over a leg that is not secure",
            [
                "domain": "\(route.domain.configuration.name)", "session": "\(route.session.id)",
                "next-hop": "\(route.host)", "candidate": "\(way.judged.candidate)", "allow": "\(override.allow)",
                "reason": "\(override.reason)", "line": "\(override.location)",
                "call-id": "\(message.callID?.text(in: message.bytes) ?? "-")",
                "cause": "\(way.whyOverridden)",
            ])
    }
}

extension OutboundWay {
    /// What would have kept a protected session off it.
    fileprivate var whyOverridden: String {
        guard self.transport == .tls else { return "it is not TLS" }
        return self.state?.unproved?.text ?? "nothing: the peer's certificate verifies, so that the entry is not needed"
    }
}

extension OutboundRoute {
    /// The answer where a registered device is away: by the scheme that was asked for (PBX-11, SIPS-06).
    fileprivate var refusalForDevice: Refusal? {
        guard self.demand.isRegisteredContact else { return nil }
        return self.form.requestURI.map(Worker.isSIPS) == false ? .sipsRequired : .sipsNotAllowed
    }
}

extension Refusal {
    /// The way to a peer broke while a request was on it.
    static func peerUnreachable(_ candidate: Candidate, _ cause: String?) -> Refusal {
        let text = cause.map { "\(candidate): \($0)" } ?? "\(candidate) does not take the request"
        return Refusal(500, .peerUnreachable, warning: Refusal.Warning(code: 399, text: text))
    }
}
