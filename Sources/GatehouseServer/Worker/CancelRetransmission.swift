internal import GatehouseNet
internal import SIPMessage
internal import SIPTransaction

/// A CANCEL over UDP: its client transaction, of which nobody needs to know the outcome (RFC 3261 §9.1, §17.1.2).
final class CancelRetransmission: TimerTarget {
    private unowned let worker: Worker
    private let bytes: [UInt8]
    private let leg: Leg
    private let invite: UInt64
    private var machine: NonInviteClientTransaction
    private var retransmission = TimerID.none
    private var end = TimerID.none

    init(_ worker: Worker, _ bytes: [UInt8], _ invite: ClientTransaction) {
        self.worker = worker
        self.bytes = bytes
        self.leg = invite.leg
        self.invite = invite.branch.number
        self.machine = NonInviteClientTransaction(isReliable: false, timers: worker.timers)
        let start = self.machine.start()
        if let timerE = start.timerE {
            self.retransmission = worker.startTimer(timerE, self, kind: NonInviteClientTransaction.Timer.e.rawValue)
        }
        self.end = worker.startTimer(start.timerF, self, kind: NonInviteClientTransaction.Timer.f.rawValue)
    }

    /// A response to the CANCEL, or the end of its INVITE.
    func stop() {
        self.worker.cancelTimer(self.retransmission)
        self.worker.cancelTimer(self.end)
        self.worker.cancels[self.invite] = nil
    }

    func timerFired(_ kind: UInt8) {
        guard let timer = NonInviteClientTransaction.Timer(rawValue: kind) else { return }
        switch self.machine.timerFired(timer) {
        case .resend(let timerE):
            self.worker.send(self.bytes, by: self.leg)
            self.retransmission = self.worker.startTimer(
                timerE, self, kind: NonInviteClientTransaction.Timer.e.rawValue)
        case .timeout, .end:
            self.stop()
        case .ignore:
            break
        }
    }
}
