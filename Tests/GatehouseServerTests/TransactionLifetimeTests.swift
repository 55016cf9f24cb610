import GatehousePolicy
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import GatehouseNet
@testable import GatehouseServer

@Suite("Transactions, lifetime")
struct TransactionLifetimeTests {
    /// A server transaction and its branches hold each other until nothing is awaited of either.
    private struct Held {
        weak var server: ServerTransaction?
        weak var client: ClientTransaction?
    }

    private let fixture: WorkerFixture
    private let channel: EmbeddedChannel

    /// A device's connection over TCP, to an edge whose core cannot be reached.
    init() throws {
        self.fixture = try WorkerFixture([WorkerFixture.domain()])
        self.channel = try self.fixture.device().channel
    }

    private func send(_ method: String, toTag: String = "", rows: [String] = []) throws {
        try self.channel.writeInbound(ByteBuffer(bytes: Self.request(method, toTag: toTag, rows: rows)))
    }

    private static func request(_ method: String, toTag: String = "", rows: [String] = []) -> [UInt8] {
        let lines =
            [
                "\(method) sip:bob@a.example SIP/2.0", "Via: SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK1", "Max-Forwards: 70",
                "From: <sip:alice@a.example>;tag=1", "To: <sip:bob@a.example>\(toTag)", "Call-ID: 1",
                "CSeq: 1 \(method)", "Content-Length: 0",
            ] + rows + ["", ""]
        return Array(lines.joined(separator: "\r\n").utf8)
    }

    private func answers() throws -> String {
        var text = ""
        while let buffer = try self.channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: buffer) }
        return text
    }

    private func held() throws -> Held {
        let server = try #require(self.fixture.worker.serverTransactions.values.first)
        return Held(server: server, client: server.branches.first)
    }

    @Test("a request that is answered leaves nothing in memory")
    func nonInvite() throws {
        try self.send("MESSAGE")
        let held = try self.held()
        #expect(held.client != nil)
        self.fixture.loop.run()
        #expect(try self.answers().hasPrefix("SIP/2.0 500 "))
        #expect(self.fixture.worker.serverTransactions.isEmpty && self.fixture.worker.clientTransactions.isEmpty)
        #expect(held.server == nil && held.client == nil)
        #expect(self.fixture.worker.shared.transactions.load(ordering: .relaxed) == 0)
        #expect(self.fixture.worker.shared.unanswered.load(ordering: .relaxed) == 0)
    }

    @Test("VAL-10: a domain without a core server is away for now")
    func coreless() throws {
        var configuration = WorkerFixture.domain()
        configuration.core.targets = []
        let fixture = try WorkerFixture([configuration])
        let channel = try fixture.device().channel
        try channel.writeInbound(ByteBuffer(bytes: Self.request("MESSAGE")))
        fixture.loop.run()
        var buffer = try #require(try channel.readOutbound(as: ByteBuffer.self))
        #expect(buffer.readString(length: buffer.readableBytes)?.hasPrefix("SIP/2.0 480 ") == true)
    }

    @Test("an INVITE stays until its ACK, and then leaves nothing in memory, nor a call")
    func invite() throws {
        try self.send("INVITE", rows: ["Contact: <sip:alice@192.0.2.7>"])
        let held = try self.held()
        #expect(held.client != nil)
        #expect(self.fixture.worker.shared.calls.count == 1)
        self.fixture.loop.run()
        let answers = try self.answers()
        #expect(answers.hasPrefix("SIP/2.0 100 ") && answers.contains("SIP/2.0 500 "))
        #expect(held.server != nil)
        #expect(self.fixture.worker.shared.calls.count == 0)
        let tag = try #require(
            answers.split(separator: "\r\n").last { $0.hasPrefix("To:") }?.split(separator: ";").last)
        try self.send("ACK", toTag: ";\(tag)")
        self.fixture.loop.run()
        #expect(self.fixture.worker.serverTransactions.isEmpty && self.fixture.worker.clientTransactions.isEmpty)
        #expect(held.server == nil && held.client == nil)
    }

    @Test("a worker that stops lets go of what is under way")
    func stop() throws {
        try self.send("INVITE", rows: ["Contact: <sip:alice@192.0.2.7>"])
        let held = try self.held()
        #expect(held.client != nil)
        self.fixture.worker.stop()
        self.fixture.loop.run()
        #expect(held.server == nil && held.client == nil)
    }

    @Test("a connection is taken from the counters that it was counted in, though its domain has others by now")
    func counters() throws {
        let worker = self.fixture.worker
        let before = try self.fixture.domain().counters
        #expect(before.connections.load(ordering: .relaxed) == 1)
        worker.apply(
            try WorkerFixture.snapshot([WorkerFixture.domain()], generation: 2, metrics: worker.shared.metrics))
        try self.send("OPTIONS")
        let after = try self.fixture.domain().counters
        worker.flows.values.first?.close(.peerClosed)
        self.fixture.loop.run()
        #expect(worker.flows.isEmpty)
        #expect(before.connections.load(ordering: .relaxed) == 0 && before.sources.count == 0)
        #expect(after.connections.load(ordering: .relaxed) == 0)
    }
}
