import SIPTransaction
import TestSupport
import Testing

private typealias Machine = InviteServerTransaction

/// Every state, with the events that lead there.
private enum Stage: CaseIterable {
    case new, proceeding, completed, confirmed, accepted, terminated

    func machine(isReliable: Bool = false) -> Machine {
        var machine = Machine(isReliable: isReliable, timers: TimerValues())
        switch self {
        case .new: break
        case .proceeding: _ = machine.respond(status: 100)
        case .completed: _ = machine.respond(status: 486)
        case .confirmed:
            _ = machine.respond(status: 486)
            _ = machine.receivedACK()
        case .accepted: _ = machine.respond(status: 200)
        case .terminated:
            _ = machine.respond(status: 486)
            _ = machine.timerFired(.h)
        }
        return machine
    }
}

@Test("TXN-04: a repeated INVITE gets the latest response again while pending, and none before the first")
func repeatsLatestProvisional() {
    var machine = Machine(isReliable: false, timers: TimerValues())
    #expect(machine.receivedRetransmission() == .absorb)
    #expect(machine.respond(status: 100) == .send)
    #expect(machine.receivedRetransmission() == .resend)
    #expect(machine.respond(status: 183) == .send)
    #expect(machine.receivedRetransmission() == .resend)
}

@Test("TXN-07: the ACK to a 3xx-6xx and its copies end here, until timer I")
func absorbsACK() {
    var machine = Stage.completed.machine()
    #expect(machine.receivedACK() == .confirm(timerI: .seconds(5)))
    #expect(machine.receivedACK() == .absorb)
    #expect(machine.receivedRetransmission() == .absorb)
    #expect(machine.timerFired(.g) == .ignore)
    #expect(machine.timerFired(.h) == .ignore)
    #expect(machine.timerFired(.i) == .end)
    #expect(machine.isTerminated)
}

@Test("TXN-07: on a stream the ACK ends the transaction")
func endsWithACKOnStream() {
    var machine = Stage.completed.machine(isReliable: true)
    #expect(machine.receivedACK() == .confirm(timerI: nil))
    #expect(machine.isTerminated)
}

@Test("TXN-08: a 3xx-6xx over UDP is sent again at T1 doubling to T2 until 64*T1")
func repeatsFailure() {
    var machine = Stage.proceeding.machine()
    guard case .sendFailure(let timerG?, let timerH) = machine.respond(status: 503) else {
        Issue.record("no failure is sent")
        return
    }
    #expect(timerH == .seconds(32))
    var sentAt: [Duration] = []
    var due = timerG
    while due < timerH {
        sentAt.append(due)
        guard case .resend(let next) = machine.timerFired(.g) else { break }
        due += next
    }
    #expect(
        sentAt == [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500].map { .milliseconds($0) })
    #expect(machine.receivedRetransmission() == .resend)
    #expect(machine.timerFired(.h) == .timeout)
    #expect(machine.isTerminated)
}

@Test("TXN-08: a 3xx-6xx over a stream is sent once, and timer H still runs")
func sendsFailureOnceOnStream() {
    var machine = Stage.proceeding.machine(isReliable: true)
    #expect(machine.respond(status: 503) == .sendFailure(timerG: nil, timerH: .seconds(32)))
    #expect(machine.timerFired(.g) == .ignore)
    #expect(machine.timerFired(.h) == .timeout)
}

@Test(
    "TXN-09: an INVITE repeated after its 2xx ends here for 64*T1, and nothing is sent again", arguments: [false, true])
func absorbsAcceptedInvite(isReliable: Bool) {
    var machine = Stage.proceeding.machine(isReliable: isReliable)
    #expect(machine.respond(status: 200) == .sendSuccess(timerL: .seconds(32)))
    #expect(machine.receivedRetransmission() == .absorb)
    #expect(!machine.isTerminated)
    #expect(machine.timerFired(.l) == .end)
    #expect(machine.isTerminated)
}

@Test("TXN-10: each further 2xx is sent while accepted")
func sendsFurtherSuccess() {
    var machine = Stage.accepted.machine()
    #expect(machine.respond(status: 200) == .sendSuccess(timerL: nil))
    #expect(machine.respond(status: 202) == .sendSuccess(timerL: nil))
}

@Test(
    "TXN-13: a 2xx goes out without state when the transaction can't send it any more",
    arguments: [Stage.completed, .confirmed, .terminated])
private func sendsSuccessStatelessly(stage: Stage) {
    var machine = stage.machine()
    #expect(machine.respond(status: 200) == .sendStatelessly)
}

@Test("TXN-23: only an INVITE without a final response can be cancelled", arguments: Stage.allCases)
private func cancellable(stage: Stage) {
    #expect(stage.machine().isPending == (stage == .new || stage == .proceeding))
}

@Test(
    "RFC 3261 Figure 7, RFC 6026 §7.1: every state and request",
    arguments: [
        (.new, .absorb, .absorb),
        (.proceeding, .resend, .absorb),
        (.completed, .resend, .confirm(timerI: .seconds(5))),
        (.confirmed, .absorb, .absorb),
        (.accepted, .absorb, .passUp),
        (.terminated, .absorb, .passUp),
    ] as [(Stage, InviteServerTransaction.RequestAction, InviteServerTransaction.ACKAction)])
private func inviteServerRequests(
    stage: Stage, invite: InviteServerTransaction.RequestAction, ack: InviteServerTransaction.ACKAction
) {
    var machine = stage.machine()
    #expect(machine.receivedRetransmission() == invite)
    #expect(machine.receivedACK() == ack)
}

@Test(
    "RFC 3261 Figure 7, RFC 6026 §7.1: every state and response",
    arguments: [
        (
            .new,
            [.send, .sendSuccess(timerL: .seconds(32)), .sendFailure(timerG: .milliseconds(500), timerH: .seconds(32))]
        ),
        (
            .proceeding,
            [.send, .sendSuccess(timerL: .seconds(32)), .sendFailure(timerG: .milliseconds(500), timerH: .seconds(32))]
        ),
        (.completed, [.drop, .sendStatelessly, .drop]),
        (.confirmed, [.drop, .sendStatelessly, .drop]),
        (.accepted, [.drop, .sendSuccess(timerL: nil), .drop]),
        (.terminated, [.drop, .sendStatelessly, .drop]),
    ] as [(Stage, [InviteServerTransaction.ResponseAction])])
private func inviteServerResponses(stage: Stage, expected: [InviteServerTransaction.ResponseAction]) {
    let actions = [180, 200, 404].map { status in
        var machine = stage.machine()
        return machine.respond(status: status)
    }
    #expect(actions == expected)
}

@Test(
    "RFC 3261 Figure 7, RFC 6026 §7.1: every state and timer",
    arguments: [
        (.new, [.ignore, .ignore, .ignore, .ignore]),
        (.proceeding, [.ignore, .ignore, .ignore, .ignore]),
        (.completed, [.resend(timerG: .seconds(1)), .timeout, .ignore, .ignore]),
        (.confirmed, [.ignore, .ignore, .end, .ignore]),
        (.accepted, [.ignore, .ignore, .ignore, .end]),
        (.terminated, [.ignore, .ignore, .ignore, .ignore]),
    ] as [(Stage, [InviteServerTransaction.TimerAction])])
private func inviteServerTimers(stage: Stage, expected: [InviteServerTransaction.TimerAction]) {
    let actions = Machine.Timer.allCases.map { timer in
        var machine = stage.machine()
        let action = machine.timerFired(timer)
        #expect(machine.isTerminated == (stage == .terminated || action == .timeout || action == .end))
        return action
    }
    #expect(actions == expected)
}

@Test(
    "An INVITE server transaction keeps its promises in any order of events", arguments: 1...200 as ClosedRange<UInt64>)
func inviteServerWalk(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let isReliable = Bool.random(using: &generator)
    var machine = Machine(isReliable: isReliable, timers: TimerValues())
    var final: Int?
    var sentProvisional = false
    var isAcknowledged = false
    var ended = 0
    for step in 0..<60 {
        let wasTerminated = machine.isTerminated
        let place: Comment = "seed \(seed) step \(step)"
        switch Int.random(in: 0..<8, using: &generator) {
        case 0, 1:
            let status =
                Int.random(in: 0..<5, using: &generator) == 0 ? Int.random(in: 200..<700, using: &generator) : 180
            switch machine.respond(status: status) {
            case .send:
                #expect(status < 200 && final == nil, place)
                sentProvisional = true
            case .sendSuccess(let timerL):
                #expect(200..<300 ~= status && (timerL == nil) == (final != nil), place)
                #expect(final.map { 200..<300 ~= $0 } ?? true, place)
                final = status
            case .sendFailure(let timerG, let timerH):
                #expect(status >= 300 && final == nil && (timerG == nil) == isReliable && timerH == .seconds(32), place)
                final = status
            case .sendStatelessly:
                #expect(200..<300 ~= status && final != nil, place)
            case .drop:
                #expect(final != nil, place)
            }
        case 2:
            switch machine.receivedACK() {
            case .confirm(let timerI):
                #expect(final ?? 0 >= 300 && !isAcknowledged && (timerI == nil) == isReliable, place)
                isAcknowledged = true
                ended += timerI == nil ? 1 : 0
            case .absorb:
                #expect(final == nil || isAcknowledged, place)
            case .passUp:
                #expect(200..<300 ~= final ?? 0 || wasTerminated, place)
            }
        case 3:
            if machine.receivedRetransmission() == .resend {
                #expect(final == nil ? sentProvisional : final ?? 0 >= 300 && !isAcknowledged, place)
            }
        default:
            let timer = Machine.Timer.allCases.randomElement(using: &generator) ?? .g
            switch machine.timerFired(timer) {
            case .resend(let timerG):
                #expect(final ?? 0 >= 300 && !isAcknowledged && !isReliable && timerG <= .seconds(4), place)
            case .timeout:
                #expect(final ?? 0 >= 300 && !isAcknowledged, place)
                ended += 1
            case .end:
                #expect(final != nil, place)
                ended += 1
            case .ignore: break
            }
        }
        #expect(ended == (machine.isTerminated ? 1 : 0), place)
        #expect(!wasTerminated || machine.isTerminated, place)
    }
}
