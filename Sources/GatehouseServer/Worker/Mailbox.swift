internal import GatehouseNet
internal import NIOCore
internal import SIPMessage
internal import SIPTransaction
import Synchronization

/// What one worker asks of another.
enum WorkerMessage: Sendable {
    /// A response to a branch of the receiver.
    case response(Message, Origin)
    /// A request from the core for a device or peer whose connection is the receiver's; how many workers had it before.
    case request(Message, Origin, handOvers: Int)
    /// Bytes for a connection of the receiver, and whose request they are.
    case send([UInt8], flow: UInt64, for: Branch?)
    /// A request of the receiver's did not arrive.
    case failed(Branch)

    /// How a message reached the edge.
    struct Origin: Sendable {
        var leg: Leg
        var transport: Transport
        /// Where it came from.
        var source: Endpoint
        /// Where it arrived.
        var local: Endpoint
    }
}

/// A way to a peer: where a message came from and where its answer goes.
enum Leg: Sendable, Hashable {
    case flow(FlowID)
    /// The core socket of this index, which every worker has, and the peer's address.
    case datagram(socket: Int, Endpoint)
    /// The outside UDP socket of this index, which is the worker's own, and the peer's address.
    case outsideDatagram(socket: Int, Endpoint)
}

/// What other workers have put before a worker. Posting takes a lock for an append; the receiver is woken once for all that
/// comes before it looks.
final class Mailbox: Sendable {
    /// Messages that may wait; past it a message is dropped and counted, as a full socket buffer would do.
    static let limit = 65_536

    private let eventLoop: any EventLoop
    private let worker: NIOLoopBound<Worker>
    private let pending = Mutex<[WorkerMessage]>([])

    init(_ worker: NIOLoopBound<Worker>, eventLoop: any EventLoop) {
        self.worker = worker
        self.eventLoop = eventLoop
    }

    /// False where the mailbox is full.
    @discardableResult
    func post(_ message: WorkerMessage) -> Bool {
        let (isFirst, isFull) = self.pending.withLock { pending in
            guard pending.count < Self.limit else { return (false, true) }
            pending.append(message)
            return (pending.count == 1, false)
        }
        if isFirst { self.eventLoop.execute { self.deliver() } }
        return !isFull
    }

    /// Runs something on the worker, however full the mailbox is.
    func perform(_ body: @escaping @Sendable (Worker) -> Void) {
        self.eventLoop.execute { body(self.worker.value) }
    }

    func ask<Answer: Sendable>(_ body: @escaping @Sendable (Worker) -> Answer) async throws -> Answer {
        try await self.eventLoop.submit { body(self.worker.value) }.get()
    }

    private func deliver() {
        let messages = self.pending.withLock { pending in
            let messages = pending
            pending = []
            return messages
        }
        let worker = self.worker.value
        for message in messages { worker.receive(message) }
    }
}
