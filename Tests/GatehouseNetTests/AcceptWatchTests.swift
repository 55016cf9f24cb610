import Glibc
import NIOCore
import NIOEmbedded
import SIPMessage
import Synchronization
import Testing

@testable import GatehouseNet

@Suite struct AcceptWatchTests {
    /// The accepting end, of a listener.
    final class Fixture: Sendable {
        let events = Mutex<[Listener.Event]>([])
        let end = ListenerEnd()

        func channel() throws -> EmbeddedChannel {
            let channel = EmbeddedChannel(loop: EmbeddedEventLoop())
            let watch = AcceptWatch(end: self.end) { event in self.events.withLock { $0.append(event) } }
            try channel.pipeline.syncOperations.addHandler(watch)
            try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
            return channel
        }
    }

    @Test("running out of descriptors is said once, and so is that accepting goes on")
    func saysOnce() throws {
        let it = Fixture()
        let channel = try it.channel()
        for _ in 0..<3 { channel.pipeline.fireErrorCaught(IOError(errnoCode: EMFILE, reason: "accept")) }
        #expect(it.events.withLock { $0 } == [.paused(errno: EMFILE)])
        try channel.writeInbound(EmbeddedChannel() as any Channel)
        try channel.writeInbound(EmbeddedChannel() as any Channel)
        #expect(it.events.withLock { $0 } == [.paused(errno: EMFILE), .resumed])
        channel.pipeline.fireErrorCaught(IOError(errnoCode: ENFILE, reason: "accept"))
        #expect(it.events.withLock { $0.last } == .paused(errno: ENFILE))
    }

    @Test("a peer that gives up in the backlog pauses nothing")
    func abortedPeer() throws {
        let it = Fixture()
        let channel = try it.channel()
        channel.pipeline.fireErrorCaught(IOError(errnoCode: ECONNABORTED, reason: "accept"))
        #expect(it.events.withLock { $0.isEmpty })
    }

    @Test("a listener that is lost is reported, one that is closed is not", arguments: [true, false])
    func lost(isWanted: Bool) throws {
        let it = Fixture()
        let channel = try it.channel()
        it.end.isWanted.store(isWanted, ordering: .relaxed)
        _ = try? channel.finish()
        #expect(it.events.withLock { $0 } == (isWanted ? [] : [.failed(errno: 0)]))
    }

    @Test("what comes while accepting pauses waits, and is accepted afterwards", .timeLimit(.minutes(1)))
    func pauses() async throws {
        let worker = try await TestWorker()
        let (events, continuation) = AsyncStream.makeStream(of: Listener.Event.self)
        let listener = try await Listener.open(
            Endpoint(address: IPAddress("127.0.0.1")!, port: 0), tag: ListenerTag(1), group: worker.group,
            workers: [worker.flows], onEvent: { continuation.yield($0) })
        let channel = listener.channel
        let start = try await worker.run { _, _ in
            defer { channel.pipeline.fireErrorCaught(IOError(errnoCode: EMFILE, reason: "accept")) }
            return NIODeadline.now()
        }
        let peer = try TestPeer(to: listener.local)
        #expect(await worker.next() == .opened)
        #expect(NIODeadline.now() - start > .milliseconds(900))
        var iterator = events.makeAsyncIterator()
        #expect(await iterator.next() == .paused(errno: EMFILE))
        #expect(await iterator.next() == .resumed)
        withExtendedLifetime(peer) {}
        await listener.close()
        try await worker.stop()
    }
}
