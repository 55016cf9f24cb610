internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage
internal import SIPTransaction

/// A request that the edge forwards, from its arrival to the last copy of its answer: the server transaction (RFC 3261
/// §17.2), and the response context with its branches (§16.7). It does what the machines of `SIPTransaction` decide.
final class ServerTransaction: TimerTarget {
    enum Machine {
        case invite(InviteServerTransaction)
        case other(NonInviteServerTransaction)
    }

    private enum TimerKind: UInt8 {
        case g, h, i, l, trying, j
    }

    unowned let worker: Worker
    let key: TransactionKey
    let request: Message
    let origin: WorkerMessage.Origin
    private(set) var passage: Passage
    private(set) var machine: Machine
    var responses: ResponseContext
    /// By branch number.
    var branches: [ClientTransaction] = []
    /// Core servers not tried yet, in order.
    var hops: [CoreHop] = []
    /// How the request crosses towards the core; nil towards the outside.
    var outsideRoute: OutsideRoute?
    /// The search for a server of a next hop outside; nil where the way is a device's flow.
    var outbound: OutboundAttempt?
    /// Of the request as it came (RFC 5393 §4.2).
    var loop = LoopDigest.none
    /// The CANCEL that came for it.
    var cancel: Message?
    private var isEnded = false
    /// Whether its final answer went out, or will never.
    var isAnswered = false
    /// The latest response as sent, for copies of the request.
    private var latest: [UInt8]?
    private var retransmission = TimerID.none
    private var end = TimerID.none
    /// Of an INVITE that began a call.
    var call: UInt64?
    /// Of a REGISTER: the names under which its devices stand until it is answered.
    var proposals: [BindingKey] = []
    /// The connection of the request, where it has to be told that its answer went out.
    var flowState: FlowState?

    init(worker: Worker, key: TransactionKey, request: Message, origin: WorkerMessage.Origin, passage: Passage) {
        self.worker = worker
        self.key = key
        self.request = request
        self.origin = origin
        self.passage = passage
        let isInvite = request.method == .invite
        let isReliable = origin.transport.isReliable
        self.machine =
            isInvite
            ? .invite(InviteServerTransaction(isReliable: isReliable, timers: worker.timers))
            : .other(NonInviteServerTransaction(isReliable: isReliable, timers: worker.timers))
        self.responses = ResponseContext(isInvite: isInvite)
    }

    var isInvite: Bool { self.request.method == .invite }

    /// An override lets the dialog over a leg that is not secure.
    func relax() {
        self.passage.session.isRelaxed = true
    }

    /// Begins: an INVITE gets its 100 at once (TXN-03), any other request one when its client starts to repeat slowly.
    func start() {
        switch self.machine {
        case .invite:
            guard
                let trying = ResponseWriter.make(
                    status: 100, reason: nil, to: self.request, source: self.origin.source, toTag: nil)
            else { return }
            self.respond(trying, status: 100)
        case .other(let machine):
            self.retransmission = self.worker.startTimer(machine.start(), self, kind: TimerKind.trying.rawValue)
        }
    }

    func receivedRetransmission() {
        switch self.machine {
        case .invite(let machine):
            if machine.receivedRetransmission() == .resend { self.resend() }
        case .other(let machine):
            if machine.receivedRetransmission() == .resend { self.resend() }
        }
    }

    /// - Returns: false where the ACK is one to a 2xx and has to be forwarded.
    func receivedACK() -> Bool {
        guard case .invite(var machine) = self.machine else { return true }
        let action = machine.receivedACK()
        self.machine = .invite(machine)
        switch action {
        case .confirm(let timerI):
            self.cancelTimers()
            if let timerI {
                self.end = self.worker.startTimer(timerI, self, kind: TimerKind.i.rawValue)
            } else {
                self.worker.remove(self)
            }
            return true
        case .absorb:
            return true
        case .passUp:
            return false
        }
    }

    /// Gives a response, ready to be sent, to the machine.
    func respond(_ bytes: [UInt8], status: Int) {
        switch self.machine {
        case .invite(var machine):
            let action = machine.respond(status: status)
            self.machine = .invite(machine)
            switch action {
            case .send:
                self.latest = bytes
                self.worker.sendResponse(bytes, status: status, of: self)
            case .sendSuccess(let timerL):
                self.worker.sendResponse(bytes, status: status, of: self)
                self.latest = nil
                if let timerL { self.end = self.worker.startTimer(timerL, self, kind: TimerKind.l.rawValue) }
            case .sendFailure(let timerG, let timerH):
                self.latest = bytes
                self.worker.sendResponse(bytes, status: status, of: self)
                if let timerG { self.retransmission = self.worker.startTimer(timerG, self, kind: TimerKind.g.rawValue) }
                self.end = self.worker.startTimer(timerH, self, kind: TimerKind.h.rawValue)
            case .sendStatelessly:
                self.worker.sendResponse(bytes, status: status, of: self)
                return
            case .drop:
                return
            }
        case .other(var machine):
            let action = machine.respond(status: status)
            self.machine = .other(machine)
            switch action {
            case .sendFinal(let timerJ):
                self.latest = bytes
                self.worker.sendResponse(bytes, status: status, of: self)
                self.cancelTimers()
                if let timerJ {
                    self.end = self.worker.startTimer(timerJ, self, kind: TimerKind.j.rawValue)
                } else {
                    self.worker.remove(self)
                }
            case .drop:
                return
            }
        }
        self.worker.metrics.responseSent(
            self.passage.domain.metrics, self.passage.direction == .toCore ? .in : .out, self.request.method,
            status: status)
        if status >= 200 { self.worker.answered(self, status: status) }
    }

    /// Ends a non-INVITE request that nobody answered: silence is the answer (RFC 4320 §4.2).
    func abandon() {
        guard case .other(var machine) = self.machine else { return }
        machine.abandon()
        self.machine = .other(machine)
        self.worker.answered(self, status: 408)
        self.worker.remove(self)
    }

    /// The worker has forgotten the server transaction.
    func ended() {
        self.isEnded = true
        self.releaseIfDone()
    }

    /// Lets the branches go once nothing is awaited from them: they and this hold each other.
    func releaseIfDone() {
        guard self.isEnded, self.responses.isFinished else { return }
        for branch in self.branches { branch.detach() }
        self.branches = []
        self.outbound = nil
    }

    /// Forgets everything at once, for a worker that stops.
    func drop() {
        self.cancelTimers()
        for branch in self.branches {
            branch.cancelTimers()
            branch.detach()
        }
        self.branches = []
    }

    func timerFired(_ kind: UInt8) {
        guard let kind = TimerKind(rawValue: kind) else { return }
        switch self.machine {
        case .invite(var machine):
            let timer: InviteServerTransaction.Timer
            switch kind {
            case .g: timer = .g
            case .h: timer = .h
            case .i: timer = .i
            case .l: timer = .l
            case .trying, .j: return
            }
            let action = machine.timerFired(timer)
            self.machine = .invite(machine)
            switch action {
            case .resend(let timerG):
                self.resend()
                self.retransmission = self.worker.startTimer(timerG, self, kind: TimerKind.g.rawValue)
            case .timeout, .end:
                self.cancelTimers()
                self.worker.remove(self)
            case .ignore:
                break
            }
        case .other(var machine):
            let timer: NonInviteServerTransaction.Timer
            switch kind {
            case .trying: timer = .trying
            case .j: timer = .j
            case .g, .h, .i, .l: return
            }
            let action = machine.timerFired(timer)
            self.machine = .other(machine)
            switch action {
            case .sendTrying:
                guard
                    let trying = ResponseWriter.make(
                        status: 100, reason: nil, to: self.request, source: self.origin.source, toTag: nil)
                else { return }
                self.latest = trying
                self.worker.send(trying, by: self.origin.leg)
            case .end:
                self.worker.remove(self)
            case .ignore:
                break
            }
        }
    }

    private func resend() {
        guard let latest = self.latest else { return }
        self.worker.send(latest, by: self.origin.leg)
    }

    func cancelTimers() {
        self.worker.cancelTimer(self.retransmission)
        self.worker.cancelTimer(self.end)
        self.retransmission = .none
        self.end = .none
    }

    /// Whether a CANCEL still has something to cancel.
    var isPending: Bool {
        guard case .invite(let machine) = self.machine else { return false }
        return machine.isPending
    }
}
