import GatehousePolicy
import GatehouseTLS
import NIOCore
import NIOPosix
import SIPMessage

@testable import GatehouseNet

/// A loop of its own thread, with a context and an owner, and what the owner hears as a stream of events.
final class TestWorker: Sendable {
    let group: MultiThreadedEventLoopGroup
    let flows: BoundFlowContext
    let owner: NIOLoopBound<TestOwner>
    private let events: AsyncStream<Heard>

    init(
        timers: TimerSettings = TimerSettings(), limits: EdgeLimits = EdgeLimits(), handshakes: HandshakePool? = nil,
        setUp: @escaping @Sendable (TestOwner) -> Void = { _ in }
    ) async throws {
        self.group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let loop = self.group.next()
        let (events, continuation) = AsyncStream.makeStream(of: Heard.self)
        self.events = events
        (self.flows, self.owner) = try await loop.submit {
            let owner = TestOwner()
            owner.onHeard = { continuation.yield($0) }
            setUp(owner)
            let context = FlowContext(
                worker: 0, eventLoop: loop, owner: owner, timers: timers, limits: limits,
                messageLimits: MessageLimits(), handshakes: handshakes)
            return (context.bound, NIOLoopBound(owner, eventLoop: loop))
        }.get()
    }

    /// Runs `body` on the loop.
    func run<Result: Sendable>(_ body: @escaping @Sendable (FlowContext, TestOwner) throws -> Result) async throws
        -> Result
    {
        let (flows, owner) = (self.flows, self.owner)
        return try await flows.eventLoop.submit { try body(flows.value, owner.value) }.get()
    }

    /// The next thing that the owner hears; nil never comes before the worker's end.
    func next() async -> Heard? {
        var iterator = self.events.makeAsyncIterator()
        return await iterator.next()
    }

    /// The next `count` things.
    func next(_ count: Int) async -> [Heard] {
        var heard: [Heard] = []
        while heard.count < count, let next = await self.next() { heard.append(next) }
        return heard
    }

    func listen(_ address: String = "127.0.0.1", tag: Int = 1) async throws -> Listener {
        try await Listener.open(
            Endpoint(address: IPAddress(address)!, port: 0), tag: ListenerTag(tag), group: self.group,
            workers: [self.flows], onEvent: { _ in })
    }

    func stop() async throws {
        try await self.run { flows, _ in flows.close() }
        try await self.group.shutdownGracefully()
    }
}
