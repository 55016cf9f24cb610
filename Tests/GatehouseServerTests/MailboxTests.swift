import NIOCore
import NIOEmbedded
import Testing

@testable import GatehouseServer

@Suite("Mailbox")
struct MailboxTests {
    private let fixture: WorkerFixture
    private let mailbox: Mailbox

    init() throws {
        self.fixture = try WorkerFixture([])
        self.mailbox = Mailbox(
            NIOLoopBound(self.fixture.worker, eventLoop: self.fixture.loop), eventLoop: self.fixture.loop)
    }

    private func snapshot(_ generation: Int) throws -> WorkerMessage {
        .snapshot(
            try WorkerFixture.snapshot([], generation: generation, metrics: self.fixture.worker.shared.metrics))
    }

    @Test("messages wait for the loop, and come in their order")
    func order() throws {
        for generation in [5, 3, 4] { #expect(self.mailbox.post(try self.snapshot(generation))) }
        #expect(self.fixture.worker.snapshot.generation == 1)
        self.fixture.loop.run()
        #expect(self.fixture.worker.snapshot.generation == 4)
    }

    @Test("the loop is woken again for what comes after it looked")
    func again() throws {
        for generation in 2...4 {
            #expect(self.mailbox.post(try self.snapshot(generation)))
            self.fixture.loop.run()
            #expect(self.fixture.worker.snapshot.generation == generation)
        }
    }

    @Test("a full mailbox refuses, and takes again once it was emptied")
    func limit() throws {
        let taken = (0..<Mailbox.limit).count { _ in self.mailbox.post(.send([], flow: 9)) }
        #expect(taken == Mailbox.limit)
        #expect(!self.mailbox.post(try self.snapshot(2)))
        self.fixture.loop.run()
        #expect(self.fixture.worker.snapshot.generation == 1)
        #expect(self.mailbox.post(try self.snapshot(3)))
        self.fixture.loop.run()
        #expect(self.fixture.worker.snapshot.generation == 3)
    }
}
