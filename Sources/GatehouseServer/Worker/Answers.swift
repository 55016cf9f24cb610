internal import GatehouseNet
internal import GatehousePolicy
internal import Logging
internal import SIPMessage
internal import SIPTransaction
import Synchronization

// Answers that the edge gives on its own, without a transaction (RFC 3261 §8.2.7): a copy of the request gets a copy of the
// answer, and the To tag tells the ACK of one from other ACKs.

extension Worker {
    /// Answers what is no acceptable message; a status of 0 means silence.
    func refuse(_ fault: SyntaxFault, origin: WorkerMessage.Origin, domain: DomainRuntime?) {
        let metrics = self.note(fault, from: origin.source, domain)
        guard let answer = self.answer(to: fault, origin: origin) else {
            if origin.transport == .udp { self.metrics.datagramDropped(.syntax) }
            return
        }
        self.send(answer, by: origin.leg)
        self.count(answer: fault.status, to: fault.message, origin, metrics)
    }

    /// Counts and logs what is no acceptable message. Returns the counters of its domain.
    func note(_ fault: SyntaxFault, from peer: Endpoint, _ domain: DomainRuntime?) -> DomainMetrics {
        let metrics = domain?.metrics ?? self.shared.metrics.noDomain
        self.metrics.refused(metrics, .syntax)
        if let limit = fault.limit { self.metrics.limitHit(metrics, limit) }
        self.log.info(
            "message refused: it breaks the rules of RFC 3261",
            [
                "peer": "\(peer)", "reason": "\(fault.reason)", "offset": "\(fault.offset)",
                "status": "\(fault.status)", "domain": "\(domain?.configuration.name ?? "-")",
            ])
        return metrics
    }

    func answer(to fault: SyntaxFault, origin: WorkerMessage.Origin) -> [UInt8]? {
        ResponseWriter.make(
            answering: fault, source: origin.source, toTag: fault.message.map { self.ownTags.tag(for: $0) })
    }

    func refuse(
        _ fault: ValidationFault, _ message: Message, origin: WorkerMessage.Origin, domain: DomainRuntime?
    ) {
        let rule: Refusal.Rule =
            switch fault.cause {
            case .unsupportedScheme: .scheme
            case .tooManyHops: .maxForwards
            case .badExtension: .proxyRequire
            }
        let metrics = domain?.metrics ?? self.shared.metrics.noDomain
        self.metrics.refused(metrics, rule)
        guard
            let answer = ResponseWriter.make(
                answering: fault, to: message, source: origin.source, toTag: self.ownTags.tag(for: message))
        else { return }
        self.send(answer, by: origin.leg)
        self.count(answer: fault.status, to: message, origin, metrics)
    }

    func refuse(_ refusal: Refusal, _ message: Message, origin: WorkerMessage.Origin, domain: DomainRuntime?) {
        let metrics = domain?.metrics ?? self.shared.metrics.noDomain
        self.metrics.refused(metrics, refusal.rule)
        self.log.log(
            refusal.rule.isAttack ? .warning : .info,
            refusal.rule.isAttack
                ? "request refused: its session tag is forged, altered or expired; find out who sends it"
                : "request refused",
            [
                "domain": "\(domain?.configuration.name ?? "-")", "peer": "\(origin.source)",
                "call-id": "\(message.callID?.text(in: message.bytes) ?? "-")",
                "method": "\(message.methodRange.text(in: message.bytes))", "status": "\(refusal.status)",
                "rule": "\(refusal.rule.label)",
            ])
        var extra: [(StaticString, [UInt8])] = []
        if let warning = refusal.warning { extra.append(("Warning", self.warning(domain, warning.text, warning.code))) }
        if refusal.rule == .pathUnsupported { extra.append(("Require", Array("path".utf8))) }
        if let seconds = refusal.retryAfter {
            var text: [UInt8] = []
            text.append(decimal: UInt64(max(seconds, 0)))
            extra.append(("Retry-After", text))
        }
        guard
            let answer = ResponseWriter.make(
                status: refusal.status, to: message, source: origin.source, toTag: self.ownTags.tag(for: message),
                extra: extra)
        else { return }
        self.send(answer, by: origin.leg)
        self.count(answer: refusal.status, to: message, origin, metrics)
        // The To tag is the dialog's here, so that it does not tell the ACK.
        if message.method == .invite, message.to?.tag != nil, let key = self.shared.matcher.key(of: message) {
            self.refusedInvites.add(key)
        }
    }

    func refuseFromCore(_ refusal: Refusal, _ message: Message, origin: WorkerMessage.Origin) {
        self.refuse(refusal, message, origin: origin, domain: nil)
    }

    /// OPTIONS to the edge itself (VAL-09).
    func answerOptions(_ message: Message, origin: WorkerMessage.Origin, domain: DomainRuntime?) {
        guard
            let answer = ResponseWriter.make(
                status: 200, to: message, source: origin.source, toTag: self.ownTags.tag(for: message),
                extra: [("Supported", Array("path, outbound".utf8))])
        else { return }
        self.send(answer, by: origin.leg)
        self.count(answer: 200, to: message, origin, domain?.metrics ?? self.shared.metrics.noDomain)
    }

    /// The value of a Warning; its agent is the edge's name on that side (RFC 3261 §20.43).
    func warning(_ domain: DomainRuntime?, _ text: String, _ code: Int = 399) -> [UInt8] {
        var value: [UInt8] = []
        value.append(decimal: UInt64(max(code, 0)))
        value.append(0x20)
        value.append(contentsOf: domain?.advertise ?? Array(self.snapshot.configuration.edge.name.utf8))
        value.append(" \"")
        for byte in text.utf8 where byte >= 0x20 && byte != 0x7F {
            if byte == 0x22 || byte == 0x5C { value.append(0x5C) }
            value.append(byte)
        }
        value.append(0x22)
        return value
    }

    private func count(
        answer status: Int, to message: Message?, _ origin: WorkerMessage.Origin, _ metrics: DomainMetrics
    ) {
        guard let message else { return }
        self.metrics.responseSent(metrics, self.isCore(origin) ? .out : .in, message.method, status: status)
    }

    private func isCore(_ origin: WorkerMessage.Origin) -> Bool {
        switch origin.leg {
        case .datagram: true
        case .outsideDatagram: false
        case .flow(let id):
            (self.flows[id.number]?.userData as? FlowState).map { $0.side == .core } ?? true
        }
    }

    // MARK: CANCEL

    /// A CANCEL is answered hop by hop (RFC 3261 §16.10); one that matches nothing goes on like any request, without state.
    ///
    /// - Returns: false where it matches nothing.
    func receiveCancel(_ message: Message, origin: WorkerMessage.Origin) -> Bool {
        guard let key = self.shared.matcher.keyOfInvite(cancelledBy: message),
            let invite = self.serverTransactions[key]
        else { return false }
        if let answer = ResponseWriter.make(
            status: 200, to: message, source: origin.source, toTag: self.ownTags.tag(for: message))
        {
            self.send(answer, by: origin.leg)
            self.count(answer: 200, to: message, origin, invite.passage.domain.metrics)
        }
        guard invite.isPending else { return true }
        invite.cancel = message
        let verdict = invite.responses.cancelReceived()
        self.carryOut(verdict, of: invite, branch: nil, response: nil)
        self.withdraw(invite)
        return true
    }

    // MARK: Limits

    /// A source over its rate gets a 503 and then silence; what ends a call always passes (SEC-05).
    func admitRate(
        _ message: Message, _ state: FlowState, _ domain: DomainRuntime, _ origin: WorkerMessage.Origin
    ) -> Bool {
        guard let limit = domain.limits.requestsPerSecondPerSource, let source = state.source else { return true }
        switch message.method {
        case .ack, .bye, .cancel: return true
        default: break
        }
        let now = self.now
        if source.requests.allows(now: now, limit: limit) { return true }
        self.metrics.limitHit(domain.metrics, .requestsPerSecondPerSource)
        if source.refusals.allows(now: now, limit: limit) {
            self.refuse(Refusal(503, .requestRate, retryAfter: 1), message, origin: origin, domain: domain)
        } else {
            self.metrics.refused(domain.metrics, .requestRate)
        }
        return false
    }

    /// Room for one more transaction; none for a new call while the process drains.
    func admit(_ message: Message, _ domain: DomainRuntime) throws(Refusal) {
        guard self.shared.transactions.load(ordering: .relaxed) < self.snapshot.configuration.edge.limits.transactions
        else {
            self.metrics.limitHit(domain.metrics, .transactions)
            throw Refusal(503, .transactionLimit, retryAfter: 5)
        }
        if self.shared.isDraining.load(ordering: .relaxed), message.to?.tag == nil {
            throw Refusal(503, .draining, retryAfter: 10)
        }
    }

    /// Counts the call that an INVITE begins, against `limits.calls` and `calls_per_second`.
    ///
    /// - Returns: the call's name in the table; nil for a request that begins none.
    func beginCall(_ message: Message, _ domain: DomainRuntime) throws(Refusal) -> UInt64? {
        guard message.method == .invite, message.to?.tag == nil, let callID = message.callID else { return nil }
        let now = self.now
        guard domain.counters.callStarts.allows(now: now, limit: domain.limits.callsPerSecond) else {
            self.metrics.limitHit(domain.metrics, .callsPerSecond)
            throw Refusal(503, .callRate, retryAfter: 1)
        }
        let call = self.callName(message, callID, domain)
        guard
            self.shared.calls.begin(
                call, counter: domain.counters.calls, limit: domain.limits.calls, now: now)
        else {
            self.metrics.limitHit(domain.metrics, .calls)
            throw Refusal(503, .callLimit, retryAfter: 10)
        }
        return call
    }

    /// Ends the call when its INVITE failed or its BYE was answered.
    func answered(_ transaction: ServerTransaction, status: Int) {
        guard !transaction.isAnswered else { return }
        transaction.isAnswered = true
        self.shared.unanswered.wrappingSubtract(1, ordering: .relaxed)
        for key in transaction.proposals { self.shared.bindings.settle(key) }
        if let call = transaction.call, status >= 300 { self.endCall(call) }
        if transaction.request.method == .bye, let callID = transaction.request.callID {
            self.endCall(self.callName(transaction.request, callID, transaction.passage.domain))
        }
        guard let state = transaction.flowState else { return }
        state.unanswered -= 1
        if state.hasInputEnded, state.unanswered <= 0 {
            self.flows[state.reference.number]?.closeAfterFlush(.peerClosed)
        }
    }

    private func endCall(_ call: UInt64) {
        self.shared.calls.end(call)
    }

    /// A call's name in the table: its domain and Call-ID under the process's hash seed, so that nobody can aim at another
    /// call's.
    private func callName(_ message: Message, _ callID: ByteRange, _ domain: DomainRuntime) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(domain.key)
        message.bytes.withUnsafeBytes { bytes in
            guard callID.end <= bytes.count else { return }
            hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: bytes[callID.range]))
        }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }
}

/// The INVITEs whose ACK ends here though no transaction waits for it (RFC 3261 §8.2.7, §17.1.1.3): the last thousand.
struct RefusedInvites {
    private var keys: Set<TransactionKey> = []
    /// In the order in which they came; an ACK leaves its place empty.
    private var order: [TransactionKey] = []
    private var oldest = 0

    private static let limit = 1000

    mutating func add(_ key: TransactionKey) {
        guard self.keys.insert(key).inserted else { return }
        guard self.order.count >= Self.limit else { return self.order.append(key) }
        self.keys.remove(self.order[self.oldest])
        self.order[self.oldest] = key
        self.oldest = (self.oldest + 1) % Self.limit
    }

    /// Whether an ACK is to one of them.
    mutating func take(_ key: TransactionKey) -> Bool {
        !self.keys.isEmpty && self.keys.remove(key) != nil
    }
}

extension SyntaxFault {
    /// The limit that the message is over, if that is what is wrong with it.
    var limit: LimitKind? {
        switch self.cause.problem {
        case .messageSize: .messageSize
        case .headerSectionSize: .headerSection
        case .headerFieldCount: .headerFields
        case .requestURISize: .requestURI
        case .viaCount: .vias
        default: nil
        }
    }
}
