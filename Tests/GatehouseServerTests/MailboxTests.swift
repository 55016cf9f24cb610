import GatehousePolicy
import NIOCore
import NIOEmbedded
import SIPMessage
import SIPTransaction
import Testing

@testable import GatehouseServer

@Suite("Mailbox")
struct MailboxTests {
    /// The requests that were reported as failed, in that order.
    private final class Failures {
        var numbers: [Int] = []
    }

    private let fixture: WorkerFixture
    private let mailbox: Mailbox
    private let failures = Failures()

    init() throws {
        self.fixture = try WorkerFixture([])
        self.mailbox = Mailbox(
            NIOLoopBound(self.fixture.worker, eventLoop: self.fixture.loop), eventLoop: self.fixture.loop)
    }

    /// Says that a request of the worker's did not arrive.
    private func failure(_ number: Int) -> WorkerMessage {
        let worker = self.fixture.worker
        let branch = worker.nextBranch(loop: .none)
        let core = Endpoint(address: IPAddress(v4: 0x0A00_0005), port: 5060)
        worker.add(
            ClientTransaction(
                worker: worker, branch: branch, request: [], isInvite: false, leg: .datagram(socket: 0, core),
                remote: core, transport: .udp, target: nil, sentBy: SentBy(host: [], port: 0), parent: nil, number: nil
            ) { [failures] status in
                #expect(status == nil)
                failures.numbers.append(number)
            })
        return .failed(branch)
    }

    @Test("messages wait for the loop, and come in their order")
    func order() {
        for number in [5, 3, 4] { #expect(self.mailbox.post(self.failure(number))) }
        #expect(self.failures.numbers.isEmpty)
        self.fixture.loop.run()
        #expect(self.failures.numbers == [5, 3, 4])
    }

    @Test("the loop is woken again for what comes after it looked")
    func again() {
        for number in 1...3 {
            #expect(self.mailbox.post(self.failure(number)))
            self.fixture.loop.run()
            #expect(self.failures.numbers.last == number)
        }
    }

    @Test("a full mailbox refuses messages until it was emptied; what is to be run always is")
    func limit() {
        let taken = (0..<Mailbox.limit).count { _ in self.mailbox.post(.send([], flow: 9, for: nil)) }
        #expect(taken == Mailbox.limit)
        #expect(!self.mailbox.post(self.failure(1)))
        self.mailbox.perform { $0.timers = TimerValues(t1: .seconds(3)) }
        self.fixture.loop.run()
        #expect(self.fixture.worker.timers == TimerValues(t1: .seconds(3)))
        #expect(self.failures.numbers.isEmpty)
        #expect(self.mailbox.post(self.failure(2)))
        self.fixture.loop.run()
        #expect(self.failures.numbers == [2])
    }
}
