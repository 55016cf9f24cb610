internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage
internal import SIPTransaction

/// One branch of a forwarded request: what was sent where, and its client transaction (RFC 3261 §17.1).
final class ClientTransaction: TimerTarget {
    enum Machine {
        case invite(InviteClientTransaction)
        case other(NonInviteClientTransaction)
    }

    private enum TimerKind: UInt8 {
        case a, b, d, m, e, f, k
        case timerC, cancel
    }

    unowned let worker: Worker
    let branch: Branch
    let leg: Leg
    let transport: Transport
    /// Where the request went.
    let remote: Endpoint
    /// The core server that it went to; nil for one towards a device.
    let target: TargetRuntime?
    /// What a response must carry in its top Via (VIA-11).
    let sentBy: SentBy
    /// What the request belongs to; nil for a request of our own.
    private(set) var parent: ServerTransaction?
    private(set) var number: BranchNumber?
    /// Hears the outcome of a request of our own: a status, or nil for a time-out or transport error.
    private let completion: ((Int?) -> Void)?
    private var machine: Machine
    /// The request as sent; let go once no copy, ACK or CANCEL of it can be needed.
    private(set) var request: [UInt8]
    /// The server outside that it went to; nil for a device's flow, and for a core server.
    var judged: JudgedCandidate?
    private var candidate: Candidate? { self.judged?.candidate }
    /// Whether it went over a connection that was there before.
    var isReused = false
    /// The server by UDP, where the request went over TCP because of its size.
    var fallback: CoreHop?
    /// A final response that was not passed up at once.
    var final: Message?
    /// The ACK of a 3xx to 6xx, for further copies of it.
    private var ack: [UInt8]?
    private var retransmission = TimerID.none
    /// When the next copy is due; the one after it counts from there, so that late timers do not add up.
    private var copyDue: UInt64 = 0
    private var end = TimerID.none
    private var timerC = TimerID.none

    init(
        worker: Worker, branch: Branch, request: [UInt8], isInvite: Bool, leg: Leg, remote: Endpoint,
        transport: Transport,
        target: TargetRuntime?, sentBy: SentBy, parent: ServerTransaction?, number: BranchNumber?,
        completion: ((Int?) -> Void)? = nil
    ) {
        self.worker = worker
        self.branch = branch
        self.request = request
        self.leg = leg
        self.remote = remote
        self.transport = transport
        self.target = target
        self.sentBy = sentBy
        self.parent = parent
        self.number = number
        self.completion = completion
        self.machine =
            isInvite
            ? .invite(InviteClientTransaction(isReliable: transport.isReliable, timers: worker.timers))
            : .other(NonInviteClientTransaction(isReliable: transport.isReliable, timers: worker.timers))
    }

    var isInvite: Bool {
        if case .invite = self.machine { return true }
        return false
    }

    /// Whether a response needs another Via below ours: the way back of a `proxy` core's request is in the message.
    var expectsLowerVia: Bool { self.parent.map { !$0.passage.domain.isPBX } ?? false }

    func start() {
        switch self.machine {
        case .invite(let machine):
            let start = machine.start()
            self.copyDue = self.worker.now
            if let timerA = start.timerA { self.startCopyTimer(timerA, .a) }
            self.end = self.startTimer(start.timerB, .b)
            if self.parent != nil { self.timerC = self.startTimer(self.worker.timers.timerC, .timerC) }
        case .other(let machine):
            let start = machine.start()
            self.copyDue = self.worker.now
            if let timerE = start.timerE { self.startCopyTimer(timerE, .e) }
            self.end = self.startTimer(start.timerF, .f)
        }
        // A connection that is gone fails the branch, though not from within this call: its owner is not ready yet.
        if !self.worker.send(self.request, by: self.leg, for: self.branch) {
            self.worker.afterwards { [self] in self.transportFailed() }
        }
    }

    // MARK: Events

    func received(_ response: Message) {
        let status = response.status
        switch self.machine {
        case .invite(var machine):
            let action = machine.received(status: status)
            self.machine = .invite(machine)
            switch action {
            case .passProvisional(let isFirst):
                if isFirst { self.stopRetransmission() }
                self.passUp(response, status: status)
            case .passSuccess(let timerM):
                self.stopRetransmission()
                self.stopTimerC()
                self.end = self.startTimer(timerM, .m)
                self.request = []
                self.passUp(response, status: status)
            case .passRepeatedSuccess:
                if let parent = self.parent { self.worker.passRepeatedSuccess(response, of: self, to: parent) }
            case .passFailure(let timerD):
                self.stopRetransmission()
                self.stopTimerC()
                self.acknowledge(response)
                if let timerD {
                    self.end = self.startTimer(timerD, .d)
                } else {
                    self.worker.remove(self)
                }
                self.passUp(response, status: status)
            case .acknowledge:
                if let ack = self.ack { self.worker.sendFollowUp(ack, of: self) }
            case .drop:
                break
            }
        case .other(var machine):
            let action = machine.received(status: status)
            self.machine = .other(machine)
            switch action {
            case .passProvisional:
                self.passUp(response, status: status)
            case .passFinal(let timerK):
                self.stopRetransmission()
                self.request = []
                if let timerK {
                    self.end = self.startTimer(timerK, .k)
                } else {
                    self.worker.remove(self)
                }
                self.passUp(response, status: status)
            case .drop:
                break
            }
        }
    }

    private func passUp(_ response: Message, status: Int) {
        if let parent = self.parent, let number = self.number {
            if status >= 200 { self.final = response }
            if status == 503, let rest = response.retryAfter {
                self.worker.putAside(self.target, for: rest)
                if let candidate = self.candidate { self.worker.putAside(candidate, for: rest) }
            }
            let verdict = parent.responses.received(
                status: status, on: number, hasAlternative: self.worker.hasAlternative(parent))
            self.worker.carryOut(verdict, of: parent, branch: self, response: response)
        } else if status >= 200 {
            self.completion?(status)
        }
    }

    func timerFired(_ kind: UInt8) {
        guard let kind = TimerKind(rawValue: kind) else { return }
        switch kind {
        case .timerC:
            guard let parent = self.parent, let number = self.number else { return }
            let verdict = parent.responses.timerCFired(number)
            if !parent.responses.isPending(number) { self.finish() }
            self.worker.carryOut(verdict, of: parent, branch: self, response: nil)
            return
        case .cancel:
            guard let parent = self.parent, let number = self.number, parent.responses.isPending(number) else { return }
            let verdict = parent.responses.cancelTimedOut(number)
            self.finish()
            self.worker.carryOut(verdict, of: parent, branch: self, response: nil)
            return
        case .a, .b, .d, .m, .e, .f, .k:
            break
        }
        switch self.machine {
        case .invite(var machine):
            let timer: InviteClientTransaction.Timer
            switch kind {
            case .a: timer = .a
            case .b: timer = .b
            case .d: timer = .d
            case .m: timer = .m
            case .e, .f, .k, .timerC, .cancel: return
            }
            let action = machine.timerFired(timer)
            self.machine = .invite(machine)
            switch action {
            case .resend(let timerA):
                self.worker.send(self.request, by: self.leg)
                self.startCopyTimer(timerA, .a)
            case .timeout:
                self.timedOut()
            case .end:
                self.finish()
            case .ignore:
                break
            }
        case .other(var machine):
            let timer: NonInviteClientTransaction.Timer
            switch kind {
            case .e: timer = .e
            case .f: timer = .f
            case .k: timer = .k
            case .a, .b, .d, .m, .timerC, .cancel: return
            }
            let action = machine.timerFired(timer)
            self.machine = .other(machine)
            switch action {
            case .resend(let timerE):
                self.worker.send(self.request, by: self.leg)
                self.startCopyTimer(timerE, .e)
            case .timeout:
                self.timedOut()
            case .end:
                self.finish()
            case .ignore:
                break
            }
        }
    }

    private func timedOut() {
        self.finish()
        guard let parent = self.parent, let number = self.number else {
            self.completion?(nil)
            return
        }
        if let candidate = self.candidate, !parent.responses.wasHeard(number) { self.worker.putAside(candidate) }
        let verdict = parent.responses.timedOut(number, hasAlternative: self.worker.hasAlternative(parent))
        self.worker.carryOut(verdict, of: parent, branch: self, response: nil)
    }

    /// The request could not be sent, or the peer is known not to be there (RFC 3261 §17.1.4, §18.4).
    ///
    /// - Parameter cause: what the peer or its TLS said; nil where it said nothing.
    func transportFailed(_ cause: String? = nil) {
        let fails: Bool
        switch self.machine {
        case .invite(var machine):
            fails = machine.transportFailed() == .fail
            self.machine = .invite(machine)
        case .other(var machine):
            fails = machine.transportFailed() == .fail
            self.machine = .other(machine)
        }
        guard fails else { return }
        self.finish()
        guard let parent = self.parent, let number = self.number else {
            self.completion?(nil)
            return
        }
        if self.isReused, let again = self.judged, !parent.responses.wasHeard(number),
            parent.outbound?.tryAgain(again) == true
        {
            // Not the server's fault: it closed a connection that it had no more use for while the request was on its way.
        } else if let candidate = self.candidate {
            self.worker.putAside(candidate)
            parent.outbound?.refusal = .peerUnreachable(candidate, cause)
        }
        let verdict = parent.responses.transportFailed(number, hasAlternative: self.worker.hasAlternative(parent))
        self.worker.carryOut(verdict, of: parent, branch: self, response: nil)
    }

    // MARK: ACK and CANCEL

    private func acknowledge(_ response: Message) {
        guard let invite = try? Message(self.request),
            let ack = try? RequestWriter.makeACK(for: invite, response: response)
        else { return }
        self.ack = ack
        self.request = []
        self.worker.sendFollowUp(ack, of: self)
    }

    /// Sends a CANCEL (RFC 3261 §9.1), whose own transaction has the INVITE's branch and needs no one to hear its end.
    ///
    /// - Parameter reasons: the CANCEL that came to us, whose Reason is repeated.
    func cancel(reasons: Message?) {
        guard let invite = try? Message(self.request),
            let cancel = try? RequestWriter.makeCANCEL(for: invite, reasonsOf: reasons)
        else { return }
        self.worker.sendCancel(cancel, for: self)
        self.end = self.restart(self.end, self.worker.timers.timeout, .cancel)
    }

    func restartTimerC() {
        guard case .invite = self.machine, self.parent != nil else { return }
        self.timerC = self.restart(self.timerC, self.worker.timers.timerC, .timerC)
    }

    // MARK: Timers

    private func startTimer(_ duration: Duration, _ kind: TimerKind) -> TimerID {
        self.worker.startTimer(duration, self, kind: kind.rawValue)
    }

    private func startCopyTimer(_ interval: Duration, _ kind: TimerKind) {
        self.copyDue &+= nanoseconds(interval)
        let left = Int64(bitPattern: self.copyDue &- self.worker.now)
        self.retransmission = self.startTimer(.nanoseconds(max(left, 0)), kind)
    }

    private func restart(_ id: TimerID, _ duration: Duration, _ kind: TimerKind) -> TimerID {
        self.worker.cancelTimer(id)
        return self.startTimer(duration, kind)
    }

    private func stopRetransmission() {
        self.worker.cancelTimer(self.retransmission)
        self.worker.cancelTimer(self.end)
        self.retransmission = .none
        self.end = .none
    }

    private func stopTimerC() {
        self.worker.cancelTimer(self.timerC)
        self.timerC = .none
    }

    func cancelTimers() {
        self.stopRetransmission()
        self.stopTimerC()
    }

    /// Ends the client transaction, whatever state it is in.
    func finish() {
        self.cancelTimers()
        self.worker.remove(self)
        self.parent?.releaseIfDone()
    }

    /// Takes the client transaction out of its server transaction's reach, so that neither keeps the other alive.
    func detach() {
        self.parent = nil
        self.final = nil
    }
}
