import SIPTransaction
import TestSupport
import Testing

private typealias Client = NonInviteClientTransaction
private typealias Server = NonInviteServerTransaction

/// Every state of both machines, with the events that lead there.
private enum Stage: CaseIterable {
    case trying, proceeding, completed, terminated

    func client(isReliable: Bool = false) -> Client {
        var machine = Client(isReliable: isReliable, timers: TimerValues())
        switch self {
        case .trying: break
        case .proceeding: _ = machine.received(status: 100)
        case .completed: _ = machine.received(status: 200)
        case .terminated: _ = machine.timerFired(.f)
        }
        return machine
    }

    func server(isReliable: Bool = false) -> Server {
        var machine = Server(isReliable: isReliable, timers: TimerValues())
        switch self {
        case .trying: break
        case .proceeding: _ = machine.timerFired(.trying)
        case .completed: _ = machine.respond(status: 200)
        case .terminated: machine.abandon()
        }
        return machine
    }
}

@Test("TXN-14: a request over UDP is sent at 0, 0.5, 1.5, 3.5, 7.5 s and then every T2 until 64*T1")
func requestCopies() {
    var machine = Stage.trying.client()
    let start = machine.start()
    #expect(start == Client.Start(timerE: .milliseconds(500), timerF: .seconds(32)))
    var sentAt: [Duration] = [.zero]
    var due = start.timerE ?? .zero
    while due < start.timerF {
        sentAt.append(due)
        guard case .resend(let timerE) = machine.timerFired(.e) else { break }
        due += timerE
    }
    #expect(
        sentAt == [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500].map { .milliseconds($0) })
    #expect(machine.timerFired(.f) == .timeout)
    #expect(machine.isTerminated)
}

@Test("TXN-14: after a 1xx a request over UDP is sent every T2")
func requestCopiesInProceeding() {
    var machine = Stage.proceeding.client()
    #expect(machine.timerFired(.e) == .resend(timerE: .seconds(4)))
    #expect(machine.timerFired(.e) == .resend(timerE: .seconds(4)))
    #expect(machine.timerFired(.f) == .timeout)
}

@Test("TXN-14: a request over a stream is sent once", arguments: [Stage.trying, .proceeding])
private func requestOnce(stage: Stage) {
    var machine = stage.client(isReliable: true)
    #expect(machine.start() == Client.Start(timerE: nil, timerF: .seconds(32)))
    #expect(machine.timerFired(.e) == .ignore)
}

@Test("TXN-15: a server transaction without an answer ends without a response")
func abandonedServerTransaction() {
    var machine = Stage.proceeding.server()
    machine.abandon()
    #expect(machine.isTerminated)
    #expect(machine.respond(status: 408) == .drop)
}

@Test("TXN-16: a final response after the end of the server transaction is dropped", arguments: [200, 404, 603])
func dropsLateFinal(status: Int) {
    var machine = Stage.terminated.server()
    #expect(machine.respond(status: status) == .drop)
}

@Test("TXN-17: a 1xx is never sent to a non-INVITE", arguments: [100, 180, 183])
func dropsProvisional(status: Int) {
    for stage in Stage.allCases {
        var machine = stage.server()
        #expect(machine.respond(status: status) == .drop)
    }
}

@Test("TXN-18: a 100 is sent once, when no final response came for 3.5 s", arguments: [false, true])
func sendsTrying(isReliable: Bool) {
    var machine = Stage.trying.server(isReliable: isReliable)
    #expect(machine.start() == .milliseconds(3500))
    #expect(machine.receivedRetransmission() == .absorb)
    #expect(machine.timerFired(.trying) == .sendTrying)
    #expect(machine.receivedRetransmission() == .resend)
    #expect(machine.timerFired(.trying) == .ignore)
}

@Test("TXN-18: no 100 is sent after the final response")
func sendsNoTryingAfterFinal() {
    var machine = Stage.completed.server()
    #expect(machine.timerFired(.trying) == .ignore)
}

@Test("TXN-19: a request repeated after its final response gets it again for 64*T1 on UDP")
func repeatsFinal() {
    var machine = Stage.trying.server()
    #expect(machine.respond(status: 404) == .sendFinal(timerJ: .seconds(32)))
    #expect(machine.receivedRetransmission() == .resend)
    #expect(machine.receivedRetransmission() == .resend)
    #expect(machine.timerFired(.j) == .end)
    #expect(machine.isTerminated)
}

@Test("TXN-19: on a stream both transactions end with the final response")
func finalEndsOnStream() {
    var server = Stage.trying.server(isReliable: true)
    #expect(server.respond(status: 200) == .sendFinal(timerJ: nil))
    #expect(server.isTerminated)
    var client = Stage.trying.client(isReliable: true)
    #expect(client.received(status: 200) == .passFinal(timerK: nil))
    #expect(client.isTerminated)
}

@Test("TXN-19: a repeated final response ends at the client transaction until timer K")
func absorbsRepeatedFinal() {
    var machine = Stage.trying.client()
    #expect(machine.received(status: 200) == .passFinal(timerK: .seconds(5)))
    #expect(machine.received(status: 200) == .drop)
    #expect(machine.timerFired(.k) == .end)
    #expect(machine.isTerminated)
}

@Test(
    "RFC 3261 Figure 6: every state and event",
    arguments: [
        (
            .trying, [.passProvisional, .passFinal(timerK: .seconds(5)), .passFinal(timerK: .seconds(5))],
            [.resend(timerE: .seconds(1)), .timeout, .ignore], .fail
        ),
        (
            .proceeding, [.passProvisional, .passFinal(timerK: .seconds(5)), .passFinal(timerK: .seconds(5))],
            [.resend(timerE: .seconds(4)), .timeout, .ignore], .fail
        ),
        (.completed, [.drop, .drop, .drop], [.ignore, .ignore, .end], .ignore),
        (.terminated, [.drop, .drop, .drop], [.ignore, .ignore, .ignore], .ignore),
    ]
        as [(
            Stage, [NonInviteClientTransaction.ResponseAction], [NonInviteClientTransaction.TimerAction],
            NonInviteClientTransaction.TransportAction
        )])
private func nonInviteClient(
    stage: Stage, responses: [NonInviteClientTransaction.ResponseAction],
    timers: [NonInviteClientTransaction.TimerAction], transport: NonInviteClientTransaction.TransportAction
) {
    let answers = [180, 200, 404].map { status in
        var machine = stage.client()
        return machine.received(status: status)
    }
    #expect(answers == responses)
    let actions = Client.Timer.allCases.map { timer in
        var machine = stage.client()
        let action = machine.timerFired(timer)
        #expect(machine.isTerminated == (stage == .terminated || action == .timeout || action == .end))
        return action
    }
    #expect(actions == timers)
    var machine = stage.client()
    #expect(machine.transportFailed() == transport)
    #expect(machine.isTerminated == (transport == .fail || stage == .terminated))
}

@Test(
    "RFC 3261 Figure 8, RFC 4320: every state and event",
    arguments: [
        (.trying, .absorb, .sendFinal(timerJ: .seconds(32)), [.sendTrying, .ignore], false),
        (.proceeding, .resend, .sendFinal(timerJ: .seconds(32)), [.ignore, .ignore], true),
        (.completed, .resend, .drop, [.ignore, .end], true),
        (.terminated, .absorb, .drop, [.ignore, .ignore], false),
    ]
        as [(
            Stage, NonInviteServerTransaction.RequestAction, NonInviteServerTransaction.ResponseAction,
            [NonInviteServerTransaction.TimerAction], Bool
        )])
private func nonInviteServer(
    stage: Stage, request: NonInviteServerTransaction.RequestAction, final: NonInviteServerTransaction.ResponseAction,
    timers: [NonInviteServerTransaction.TimerAction], transportFails: Bool
) {
    #expect(stage.server().receivedRetransmission() == request)
    for status in [200, 503] {
        var machine = stage.server()
        #expect(machine.respond(status: status) == final)
    }
    let actions = Server.Timer.allCases.map { timer in
        var machine = stage.server()
        return machine.timerFired(timer)
    }
    #expect(actions == timers)
    var machine = stage.server()
    #expect(machine.transportFailed() == transportFails)
    #expect(machine.isTerminated == (transportFails || stage == .terminated))
}

@Test("Non-INVITE transactions keep their promises in any order of events", arguments: 1...200 as ClosedRange<UInt64>)
func nonInviteWalk(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let isReliable = Bool.random(using: &generator)
    var client = Client(isReliable: isReliable, timers: TimerValues())
    var server = Server(isReliable: isReliable, timers: TimerValues())
    var clientFinals = 0
    var serverFinals = 0
    var hundreds = 0
    for step in 0..<60 {
        let place: Comment = "seed \(seed) step \(step)"
        let clientWasTerminated = client.isTerminated
        let serverWasTerminated = server.isTerminated
        switch Int.random(in: 0..<12, using: &generator) {
        case 0, 1:
            let status = Int.random(in: 0..<3, using: &generator) == 0 ? 486 : 100
            switch client.received(status: status) {
            case .passProvisional: #expect(status < 200 && clientFinals == 0 && !clientWasTerminated, place)
            case .passFinal(let timerK):
                #expect(status >= 200 && clientFinals == 0 && (timerK == nil) == isReliable, place)
                #expect(client.isTerminated == isReliable, place)
                clientFinals += 1
            case .drop: #expect(clientFinals == 1 || clientWasTerminated, place)
            }
        case 2:
            #expect((client.transportFailed() == .fail) == (clientFinals == 0 && !clientWasTerminated), place)
        case 3, 4, 5, 6:
            switch client.timerFired(Client.Timer.allCases.randomElement(using: &generator) ?? .e) {
            case .resend(let timerE): #expect(clientFinals == 0 && !isReliable && timerE <= .seconds(4), place)
            case .timeout: #expect(clientFinals == 0 && client.isTerminated && !clientWasTerminated, place)
            case .end: #expect(clientFinals == 1 && client.isTerminated && !clientWasTerminated, place)
            case .ignore: #expect(client.isTerminated == clientWasTerminated, place)
            }
        case 7:
            let status = Int.random(in: 100..<700, using: &generator)
            if case .sendFinal(let timerJ) = server.respond(status: status) {
                #expect(status >= 200 && serverFinals == 0 && (timerJ == nil) == isReliable, place)
                #expect(!serverWasTerminated, place)
                serverFinals += 1
            }
        case 8:
            if server.receivedRetransmission() == .resend {
                #expect(hundreds + serverFinals > 0 && !serverWasTerminated, place)
            }
        case 9:
            if server.transportFailed() { #expect(hundreds + serverFinals > 0 && !serverWasTerminated, place) }
        default:
            switch server.timerFired(Server.Timer.allCases.randomElement(using: &generator) ?? .j) {
            case .sendTrying:
                #expect(hundreds == 0 && serverFinals == 0 && !serverWasTerminated, place)
                hundreds += 1
            case .end: #expect(serverFinals == 1 && server.isTerminated && !serverWasTerminated, place)
            case .ignore: #expect(server.isTerminated == serverWasTerminated, place)
            }
        }
    }
}
