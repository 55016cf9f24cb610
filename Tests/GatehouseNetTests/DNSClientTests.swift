import GatehouseNet
import GatehousePolicy
import NIOCore
import NIOPosix
import SIPMessage
import Synchronization
import Testing

private let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
private let host = DNSQuestion("pbx.example", .a)

/// An answer to whatever is asked: 192.0.2.1 for a minute, or as told.
private func reply(
    _ query: DNSScriptedServer.Query, timeToLive: UInt32 = 60, flags: UInt16 = 0x8180, authority: Bool = false,
    isEmpty: Bool = false
) -> [UInt8] {
    let question = DNSQuestion(query.name, DNSQuestion.RecordType(rawValue: query.type) ?? .a)
    let records = isEmpty ? [] : [DNSMessageBuilder.Record.a(query.name, timeToLive, [192, 0, 2, 1])]
    var builder = DNSMessageBuilder(question, records, flags: flags)
    if authority { builder.authorities = [.soa("example", 300, minimum: 60)] }
    builder.id = query.id
    return builder.bytes
}

private func makeClient(
    _ servers: [Endpoint], timeout: Duration = .seconds(10), limits: DNSClient.Limits? = nil
) throws -> DNSClient {
    try DNSClient(DNSSettings(servers: servers, timeout: timeout), limits: limits)
}

extension DNSClient {
    fileprivate func ask(_ question: DNSQuestion) async throws -> DNSAnswer {
        try await self.query(question, on: loop).get()
    }
}

@Test("LOC-21: an answer is asked for once within its TTL", .timeLimit(.minutes(1)))
func reusesAnswer() async throws {
    let server = try await DNSScriptedServer.start { [reply($0)] }
    let client = try makeClient([server.endpoint])
    let first = try await client.ask(host)
    #expect(first.outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    #expect(first.timeToLive == .seconds(60))
    #expect(client.cachedAnswer(to: host)?.outcome == first.outcome)
    let second = try await client.ask(host)
    #expect(second.outcome == first.outcome)
    #expect(second.timeToLive <= .seconds(60) && second.timeToLive > .zero)
    #expect(server.queries.count == 1)
    _ = try await client.ask(DNSQuestion("other.example", .a))
    #expect(server.queries.map(\.name) == ["pbx.example", "other.example"])
    #expect(client.count(of: .asked) == 2)
    #expect(client.count(of: .cached) == 2)  // once by `cachedAnswer`
    client.clearCache()
    #expect(client.cachedAnswer(to: host) == nil)
    try await server.stop()
}

@Test("LOC-21: an answer with TTL 0 serves those who asked, and is asked for again", .timeLimit(.minutes(1)))
func doesNotReuseZero() async throws {
    let server = try await DNSScriptedServer.start { [reply($0, timeToLive: 0)] }
    let client = try makeClient([server.endpoint])
    #expect(try await client.ask(host).outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    #expect(try await client.ask(host).timeToLive == .zero)
    #expect(server.queries.count == 2)
    try await server.stop()
}

@Test("LOC-21: NXDOMAIN and no data are reused with a SOA, and asked again without", .timeLimit(.minutes(1)))
func reusesNegativeAnswers() async throws {
    for (flags, outcome) in [(0x8183, .noSuchName), (0x8180, .noData)] as [(UInt16, DNSAnswer.Outcome)] {
        for hasAuthority in [true, false] {
            let server = try await DNSScriptedServer.start {
                [reply($0, flags: flags, authority: hasAuthority, isEmpty: true)]
            }
            let client = try makeClient([server.endpoint])
            for _ in 0..<2 { #expect(try await client.ask(host).outcome == outcome) }
            #expect(server.queries.count == (hasAuthority ? 1 : 2))
            try await server.stop()
        }
    }
}

@Test(
    "LOC-21: a server's failure is not asked again at once, nor kept over 5 minutes", .timeLimit(.minutes(1)),
    arguments: [(0x8182, .serverFailed), (0x8185, .refused)] as [(UInt16, DNSFailure)])
func reusesFailuresShortly(flags: UInt16, failure: DNSFailure) async throws {
    let server = try await DNSScriptedServer.start { [reply($0, flags: flags, isEmpty: true)] }
    var limits = DNSClient.Limits(DNSSettings())
    #expect(limits.failureTimeToLive == .seconds(5))
    limits.failureTimeToLive = .seconds(300)  // more than a busy machine takes between two questions
    let client = try makeClient([server.endpoint], timeout: .seconds(2), limits: limits)
    let answer = try await client.ask(host)
    #expect(answer.outcome == .failed(failure))
    #expect(answer.timeToLive > .zero && answer.timeToLive <= .seconds(300))
    let count = server.queries.count
    #expect(try await client.ask(host).outcome == .failed(failure))
    #expect(server.queries.count == count)
    #expect(client.count(of: .a, .failed(failure)) == 1)
    #expect(client.count(of: .cached) == 1)
    try await server.stop()
}

@Test("A silent server is given up within the time limit", .timeLimit(.minutes(1)))
func timesOut() async throws {
    let server = try await DNSScriptedServer.start { _ in [] }
    let client = try makeClient([server.endpoint], timeout: .milliseconds(300))
    let clock = ContinuousClock()
    let start = clock.now
    #expect(try await client.ask(host).outcome == .failed(.timedOut))
    #expect(clock.now - start >= .milliseconds(250))
    #expect(server.queries.count == 2)
    try await server.stop()
}

/// Where nobody listens. A port that a server has just given up would be some other test's in the next moment.
private let nobody = Endpoint(address: IPAddress(v4: 0x7F4D_4D4D), port: 5399)

@Test("The next server is asked when the first is silent or gone", .timeLimit(.minutes(1)))
func asksNextServer() async throws {
    let silent = try await DNSScriptedServer.start { _ in [] }
    let server = try await DNSScriptedServer.start { [reply($0)] }
    let client = try makeClient([silent.endpoint, nobody, server.endpoint], timeout: .seconds(1))
    #expect(try await client.ask(host).outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    #expect(silent.queries.count == 1)
    try await silent.stop()
    try await server.stop()
}

@Test("Without any server that can be reached a question fails at once", .timeLimit(.minutes(1)))
func unreachable() async throws {
    let client = try makeClient([nobody], timeout: .seconds(30))
    #expect(try await client.ask(host).outcome == .failed(.unreachable))
}

@Test("Questions that are being asked are not asked again, and one reply serves all", .timeLimit(.minutes(1)))
func joinsQuestions() async throws {
    let gate = Gate()
    let server = try await DNSScriptedServer.start { gate.hold($0) }
    let client = try makeClient([server.endpoint])
    let futures = (0..<100).map { _ in client.query(host, on: MultiThreadedEventLoopGroup.singleton.next()) }
    #expect(client.count(of: .joined) == 99)
    #expect(client.count(of: .asked) == 1)
    gate.open()
    // What the server holds comes with its next question.
    _ = try await client.ask(DNSQuestion("other.example", .a))
    for future in futures { #expect(try await future.get().outcome == .addresses([IPAddress(v4: 0xC000_0201)])) }
    #expect(server.queries.filter { $0.name == "pbx.example" }.count == 1)
    try await server.stop()
}

@Test("Each future completes on the loop that asked", .timeLimit(.minutes(1)))
func completesOnLoop() async throws {
    let server = try await DNSScriptedServer.start { [reply($0)] }
    let client = try makeClient([server.endpoint])
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    for loop in group.makeIterator() {
        for _ in 0..<2 {
            let isInLoop = try await client.query(host, on: loop).map { _ in loop.inEventLoop }.get()
            #expect(isInLoop)
        }
    }
    try await server.stop()
    try await group.shutdownGracefully()
}

@Test("More questions than the limit, and more askers, fail at once and are counted", .timeLimit(.minutes(1)))
func limitsQuestions() async throws {
    let server = try await DNSScriptedServer.start { _ in [] }
    var limits = DNSClient.Limits(DNSSettings(questions: 2))
    limits.askersPerQuestion = 2
    let client = try makeClient([server.endpoint], limits: limits)
    var waiting = [
        client.query(DNSQuestion("a.example", .a), on: loop), client.query(DNSQuestion("b.example", .a), on: loop),
    ]
    #expect(try await client.ask(DNSQuestion("c.example", .a)).outcome == .failed(.overloaded))
    waiting.append(client.query(DNSQuestion("a.example", .a), on: loop))
    #expect(try await client.ask(DNSQuestion("a.example", .a)).outcome == .failed(.overloaded))
    #expect([.joined, .asked, .refused].map { client.count(of: $0) } == [1, 2, 2])
    #expect(client.waitingCount == 2)
    client.shutDown()
    for future in waiting { #expect(try await future.get().outcome == .failed(.shutDown)) }
    try await server.stop()
}

@Test("After the shut-down, and when the client goes, every asker is answered", .timeLimit(.minutes(1)))
func answersAtShutDown() async throws {
    let server = try await DNSScriptedServer.start { _ in [] }
    var client: DNSClient? = try makeClient([server.endpoint])
    let future = client?.query(host, on: loop)
    client = nil
    #expect(try await future?.get().outcome == .failed(.shutDown))
    let other = try makeClient([server.endpoint])
    other.shutDown()
    other.shutDown()
    #expect(try await other.ask(host) == DNSAnswer(question: host, outcome: .failed(.shutDown), timeToLive: .zero))
    try await server.stop()
}

@Test(
    "Replies that answer something else are not believed, and a proper one behind them is", .timeLimit(.minutes(1)),
    arguments: ["wrong id", "wrong name", "nothing", "one byte", "noise"])
func ignoresForgeries(kind: String) async throws {
    let server = try await DNSScriptedServer.start { query in
        var forged = reply(query)
        switch kind {
        case "wrong id": forged[0] ^= 0xFF
        case "wrong name": forged[13] ^= 0x01
        case "nothing": forged = []
        case "one byte": forged = [0]
        default: forged = (0..<40).map { UInt8($0) &* 37 }
        }
        if kind != "nothing", forged.count > 1 { forged[forged.count - 1] = 99 }  // another address
        return [forged, reply(query)]
    }
    let client = try makeClient([server.endpoint], timeout: .seconds(5))
    #expect(try await client.ask(host).outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    try await server.stop()
}

@Test(
    "A reply with a broken body, or one that is a query, fails as malformed", .timeLimit(.minutes(1)),
    arguments: [true, false])
func reportsMalformedReply(isCut: Bool) async throws {
    let server = try await DNSScriptedServer.start { query in
        [isCut ? Array(reply(query).dropLast(2)) : reply(query, flags: 0x0180)]
    }
    let client = try makeClient([server.endpoint], timeout: .seconds(2))
    #expect(try await client.ask(host).outcome == .failed(.malformedReply))
    try await server.stop()
}

@Test(
    "A server that fails is passed over for the next", .timeLimit(.minutes(1)), arguments: [0x8182, 0x8185] as [UInt16])
func passesFailingServer(flags: UInt16) async throws {
    let failing = try await DNSScriptedServer.start { [reply($0, flags: flags, isEmpty: true)] }
    let server = try await DNSScriptedServer.start { [reply($0)] }
    let client = try makeClient([failing.endpoint, server.endpoint], timeout: .seconds(30))
    #expect(try await client.ask(host).outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    #expect(failing.queries.count == 1)
    try await failing.stop()
    try await server.stop()
}

@Test("A client starts with IPv6 servers, and with the system's where none is configured")
func startsWithAnyServers() async throws {
    let ipv6 = Endpoint(address: IPAddress(v6High: 0, v6Low: 1), port: 5353)
    for servers in [[], [ipv6], [ipv6, Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 53)]] {
        let client = try makeClient(servers)
        client.shutDown()
        #expect(try await client.ask(host).outcome == .failed(.shutDown))
    }
}

/// Holds a server's replies back until it is opened.
private final class Gate: Sendable {
    private let state = Mutex<(isOpen: Bool, held: [[UInt8]])>((false, []))

    func hold(_ query: DNSScriptedServer.Query) -> [[UInt8]] {
        self.state.withLock { state in
            state.held.append(reply(query))
            guard state.isOpen else { return [] }
            defer { state.held = [] }
            return state.held
        }
    }

    func open() {
        self.state.withLock { $0.isOpen = true }
    }
}

// MARK: Several servers

@Test("A first server that is dead costs the first few questions time, and no later ones", .timeLimit(.minutes(1)))
func remembersDeadServer() async throws {
    let silent = try await DNSScriptedServer.start { _ in [] }
    let server = try await DNSScriptedServer.start { [reply($0)] }
    let changes = Mutex<[String]>([])
    let settings = DNSSettings(servers: [silent.endpoint, server.endpoint], timeout: .milliseconds(600))
    let client = try DNSClient(settings) { server, isUp in changes.withLock { $0.append("\(server) \(isUp)") } }
    for index in 0..<20 {
        let answer = try await client.ask(DNSQuestion("n\(index).example", .a))
        #expect(answer.outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    }
    // Three paid for it; what else came there were copies, one a second at most.
    #expect((3...12).contains(silent.queries.count))
    #expect(changes.withLock { $0 } == ["\(silent.endpoint) false"])
    try await silent.stop()
    try await server.stop()
}

@Test("Of a server and one that is gone, the names are resolved without a pause", .timeLimit(.minutes(1)))
func passesServerThatIsGone() async throws {
    let server = try await DNSScriptedServer.start { [reply($0)] }
    let client = try makeClient([nobody, server.endpoint], timeout: .seconds(30))
    for index in 0..<20 {
        let answer = try await client.ask(DNSQuestion("n\(index).example", .a))
        #expect(answer.outcome == .addresses([IPAddress(v4: 0xC000_0201)]))
    }
    try await server.stop()
}

@Test("An answer that comes after its question was given up serves the next", .timeLimit(.minutes(1)))
func keepsLateAnswer() async throws {
    // On a busy machine the answer may come too late even for this: then once more.
    for _ in 0..<5 {
        let gate = Gate()
        let server = try await DNSScriptedServer.start { gate.hold($0) }
        let client = try makeClient([server.endpoint], timeout: .seconds(3))
        #expect(try await client.ask(host).outcome == .failed(.timedOut))
        gate.open()
        // What the server holds comes with its next question, ahead of that one's answer.
        _ = try await client.ask(DNSQuestion("other.example", .a))
        let late = client.cachedAnswer(to: host)?.outcome
        try await server.stop()
        if late == .addresses([IPAddress(v4: 0xC000_0201)]) { return }
    }
    Issue.record("no late answer was kept")
}

@Test("Four hundred names at once are all answered, and hold no cached answer up", .timeLimit(.minutes(1)))
func answersBurst() async throws {
    let server = try await DNSScriptedServer.start { [reply($0)] }
    let client = try makeClient([server.endpoint], timeout: .seconds(6))
    _ = try await client.ask(host)
    let futures = (0..<400).map { client.query(DNSQuestion("n\($0).example", .a), on: loop) }
    #expect(client.cachedAnswer(to: host) != nil)
    var outcomes: [String: Int] = [:]
    for future in futures { outcomes["\(try await future.get().outcome)", default: 0] += 1 }
    #expect(outcomes == ["addresses([192.0.2.1])": 400])
    #expect(client.waitingCount == 0)
    #expect(client.cacheCount == 401)
    try await server.stop()
}
