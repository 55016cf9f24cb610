import SIPTransaction
import TestSupport
import Testing

private typealias Machine = InviteClientTransaction

/// Every state, with the events that lead there.
private enum Stage: CaseIterable {
    case calling, proceeding, completed, accepted, terminated

    func machine(isReliable: Bool = false) -> Machine {
        var machine = Machine(isReliable: isReliable, timers: TimerValues())
        switch self {
        case .calling: break
        case .proceeding: _ = machine.received(status: 100)
        case .completed: _ = machine.received(status: 486)
        case .accepted: _ = machine.received(status: 200)
        case .terminated: _ = machine.timerFired(.b)
        }
        return machine
    }
}

@Test("TXN-01: an INVITE over UDP is sent at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s")
func inviteCopies() {
    var machine = Machine(isReliable: false, timers: TimerValues())
    let start = machine.start()
    #expect(start == Machine.Start(timerA: .milliseconds(500), timerB: .seconds(32)))
    var sentAt: [Duration] = [.zero]
    var due = start.timerA ?? .zero
    while due < start.timerB {
        sentAt.append(due)
        guard case .resend(let timerA) = machine.timerFired(.a) else { break }
        due += timerA
    }
    #expect(sentAt == [0, 500, 1500, 3500, 7500, 15500, 31500].map { .milliseconds($0) })
}

@Test("TXN-01: an INVITE over a reliable transport is sent once")
func inviteOnce() {
    let machine = Machine(isReliable: true, timers: TimerValues())
    #expect(machine.start() == Machine.Start(timerA: nil, timerB: .seconds(32)))
}

@Test("TXN-01: no copy leaves after any 1xx", arguments: [100, 180, 199])
func inviteCopiesStop(status: Int) {
    var machine = Stage.calling.machine()
    #expect(machine.received(status: status) == .passProvisional(isFirst: true))
    #expect(machine.timerFired(.a) == .ignore)
    #expect(machine.timerFired(.b) == .ignore)
    #expect(machine.received(status: status) == .passProvisional(isFirst: false))
}

@Test("TXN-02: without any response the transaction times out and sends no ACK")
func inviteTimeout() {
    var machine = Stage.calling.machine()
    #expect(machine.timerFired(.b) == .timeout)
    #expect(machine.isTerminated)
}

@Test("TXN-06: a repeated 3xx-6xx gets its ACK again and is not passed up", arguments: [300, 486, 699])
func acknowledgesAgain(status: Int) {
    var machine = Stage.proceeding.machine()
    #expect(machine.received(status: status) == .passFailure(timerD: .seconds(32)))
    #expect(machine.received(status: status) == .acknowledge)
    #expect(machine.received(status: status) == .acknowledge)
    #expect(machine.timerFired(.d) == .end)
    #expect(machine.isTerminated)
}

@Test("TXN-06: on a stream the transaction ends with its 3xx-6xx")
func endsAtOnceOnStream() {
    var machine = Stage.proceeding.machine(isReliable: true)
    #expect(machine.received(status: 486) == .passFailure(timerD: nil))
    #expect(machine.isTerminated)
    #expect(machine.received(status: 486) == .drop)
}

@Test("TXN-10: each copy of a 2xx is passed up for 64*T1", arguments: [false, true])
func passesRepeatedSuccess(isReliable: Bool) {
    var machine = Stage.calling.machine(isReliable: isReliable)
    #expect(machine.received(status: 200) == .passSuccess(timerM: .seconds(32)))
    #expect(machine.received(status: 200) == .passRepeatedSuccess)
    #expect(machine.received(status: 299) == .passRepeatedSuccess)
    #expect(machine.timerFired(.m) == .end)
    #expect(machine.isTerminated)
    #expect(machine.received(status: 200) == .drop)
}

@Test(
    "RFC 3261 Figure 5, RFC 6026 §7.2: every state and response",
    arguments: [
        (
            .calling,
            [.passProvisional(isFirst: true), .passSuccess(timerM: .seconds(32)), .passFailure(timerD: .seconds(32))]
        ),
        (
            .proceeding,
            [.passProvisional(isFirst: false), .passSuccess(timerM: .seconds(32)), .passFailure(timerD: .seconds(32))]
        ),
        (.completed, [.drop, .drop, .acknowledge]),
        (.accepted, [.drop, .passRepeatedSuccess, .drop]),
        (.terminated, [.drop, .drop, .drop]),
    ] as [(Stage, [InviteClientTransaction.ResponseAction])])
private func inviteClientResponses(stage: Stage, expected: [InviteClientTransaction.ResponseAction]) {
    let actions = [180, 200, 404].map { status in
        var machine = stage.machine()
        return machine.received(status: status)
    }
    #expect(actions == expected)
}

@Test(
    "RFC 3261 Figure 5, RFC 6026 §7.2: every state and timer",
    arguments: [
        (.calling, [.resend(timerA: .seconds(1)), .timeout, .ignore, .ignore]),
        (.proceeding, [.ignore, .ignore, .ignore, .ignore]),
        (.completed, [.ignore, .ignore, .end, .ignore]),
        (.accepted, [.ignore, .ignore, .ignore, .end]),
        (.terminated, [.ignore, .ignore, .ignore, .ignore]),
    ] as [(Stage, [InviteClientTransaction.TimerAction])])
private func inviteClientTimers(stage: Stage, expected: [InviteClientTransaction.TimerAction]) {
    let actions = Machine.Timer.allCases.map { timer in
        var machine = stage.machine()
        let action = machine.timerFired(timer)
        #expect(machine.isTerminated == (stage == .terminated || action == .timeout || action == .end))
        return action
    }
    #expect(actions == expected)
}

@Test(
    "TXN-31: a transport error ends an INVITE that is being sent, and no other state but Completed",
    arguments: [
        (.calling, .fail), (.proceeding, .ignore), (.completed, .end), (.accepted, .ignore), (.terminated, .ignore),
    ] as [(Stage, InviteClientTransaction.TransportAction)])
private func inviteClientTransportErrors(stage: Stage, expected: InviteClientTransaction.TransportAction) {
    var machine = stage.machine()
    #expect(machine.transportFailed() == expected)
    #expect(machine.isTerminated == (expected != .ignore || stage == .terminated))
}

@Test(
    "An INVITE client transaction keeps its promises in any order of events", arguments: 1...200 as ClosedRange<UInt64>)
func inviteClientWalk(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let isReliable = Bool.random(using: &generator)
    var machine = Machine(isReliable: isReliable, timers: TimerValues())
    var successes = 0
    var failures = 0
    var heard = false
    var ended = 0
    for step in 0..<60 {
        let wasTerminated = machine.isTerminated
        let place: Comment = "seed \(seed) step \(step)"
        switch Int.random(in: 0..<6, using: &generator) {
        case 0:
            let status = Int.random(in: 100..<700, using: &generator)
            switch machine.received(status: status) {
            case .passProvisional(let isFirst):
                #expect(status < 200 && successes + failures == 0, place)
                #expect(isFirst == !heard, place)
                heard = true
            case .passSuccess(let timerM):
                #expect(200..<300 ~= status && successes == 0 && failures == 0 && timerM == .seconds(32), place)
                successes += 1
            case .passRepeatedSuccess:
                #expect(200..<300 ~= status && successes > 0, place)
            case .passFailure(let timerD):
                #expect(status >= 300 && successes + failures == 0 && (timerD == nil) == isReliable, place)
                failures += 1
                ended += timerD == nil ? 1 : 0
            case .acknowledge:
                #expect(status >= 300 && failures == 1 && !isReliable, place)
            case .drop:
                #expect(successes + failures > 0 || wasTerminated, place)
            }
        case 1:
            switch machine.transportFailed() {
            case .fail:
                #expect(!heard && successes + failures == 0, place)
                ended += 1
            case .end:
                #expect(failures == 1, place)
                ended += 1
            case .ignore: break
            }
        default:
            // Timer A comes more often than the others, as it would.
            let timer =
                Bool.random(using: &generator) ? .a : Machine.Timer.allCases.randomElement(using: &generator) ?? .a
            switch machine.timerFired(timer) {
            case .resend(let timerA):
                #expect(!heard && successes + failures == 0 && timerA <= .seconds(32), place)
            case .timeout:
                #expect(!heard && successes + failures == 0, place)
                ended += 1
            case .end:
                #expect(successes + failures == 1, place)
                ended += 1
            case .ignore: break
            }
        }
        #expect(ended == (machine.isTerminated ? 1 : 0), place)
        #expect(!wasTerminated || machine.isTerminated, place)
    }
}
