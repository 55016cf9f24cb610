import GatehousePolicy
import Glibc
import NIOCore
import NIOPosix
import SIPMessage
import Testing

@testable import GatehouseNet

@Suite(.timeLimit(.minutes(1))) struct StreamSocketTests {
    @Test(
        "FRAME-01: messages in one segment, one larger than a read, and one by octets come over a socket",
        arguments: ["127.0.0.1", "::1"])
    func messages(address: String) async throws {
        let worker = try await TestWorker { owner in owner.onMessage = { $0.send($1.bytes) } }
        let listener = try await worker.listen(address)
        let peer = try TestPeer(to: listener.local)
        let texts = [request(), request(body: String(repeating: "b", count: 60_000)), request("INVITE", body: "x")]
        try peer.send(texts.joined())
        #expect(await worker.next(4) == [.opened] + texts.map { .message($0) })
        for byte in request("BYE").utf8 { try peer.send([byte]) }
        #expect(await worker.next() == .message(request("BYE")))
        let expected = (texts + [request("BYE")]).joined()
        #expect(try peer.receive(exactly: expected.utf8.count) == Array(expected.utf8))
        peer.close()
        #expect(await worker.next(2) == [.inputEnded, .closed(.peerClosed)])
        await listener.close()
        try await worker.stop()
    }

    @Test("FRAME-07: FIN amid a body gets 400 before the close, also with octets unread")
    func shortBody() async throws {
        let worker = try await TestWorker()
        let listener = try await worker.listen()
        let peer = try TestPeer(to: listener.local)
        try peer.send(request(body: "short", length: 10))
        peer.sendFIN()
        #expect(try peer.receiveAll() == StreamFramingTests.ok400)
        #expect(await worker.next(3) == [.opened, .refused(status: 400), .closed(.truncated)])

        let other = try TestPeer(to: listener.local)
        // Content-Length twice: nobody knows where the body ends, and the answer must outlive what follows.
        try other.send(request(extra: "Content-Length: 0\r\n") + String(repeating: "x", count: 200_000))
        #expect(try other.receiveAll() == StreamFramingTests.ok400)
        #expect(await worker.next(2) == [.opened, .refused(status: 400)])
        await listener.close()
        try await worker.stop()
    }

    @Test("a peer that has sent FIN still gets the answers that are due")
    func halfClose() async throws {
        let worker = try await TestWorker { owner in owner.answersAreDue = true }
        let listener = try await worker.listen()
        let peer = try TestPeer(to: listener.local)
        try peer.send(request())
        peer.sendFIN()
        #expect(await worker.next(3) == [.opened, .message(request()), .inputEnded])
        try await worker.run { _, owner in
            #expect(!owner.flows[0].isUsable && owner.flows[0].isWritable)
            owner.flows[0].send(Array("answer".utf8))
            owner.flows[0].closeAfterFlush(.peerClosed)
        }
        #expect(try peer.receiveAll() == "answer")
        #expect(await worker.next() == .closed(.peerClosed))
        await listener.close()
        try await worker.stop()
    }

    @Test("a reset is reported as such, once")
    func reset() async throws {
        let worker = try await TestWorker()
        let listener = try await worker.listen()
        let peer = try TestPeer(to: listener.local)
        #expect(await worker.next() == .opened)
        peer.sendRST()
        #expect(await worker.next() == .closed(.peerReset))
        #expect(try await worker.run { _, owner in owner.flows[0].send([1]) } == false)
        await listener.close()
        try await worker.stop()
    }

    @Test(
        "a write that finds the connection reset ends the flow, whatever is queued behind it", arguments: [1, 2, 5, 40])
    func resetWhileSending(count: Int) async throws {
        let worker = try await TestWorker()
        let listener = try await worker.listen()
        let peer = try TestPeer(to: listener.local)
        #expect(await worker.next() == .opened)
        try await worker.run { _, owner in
            // The loop hears of the reset only after this tick's writes.
            peer.sendRST()
            for _ in 0..<count { owner.flows[0].send([UInt8](repeating: 1, count: 5000)) }
        }
        #expect(await worker.next() == .closed(.peerReset))
        try await worker.run { _, owner in #expect(owner.flows[0].queuedInBytes == 0) }
        await listener.close()
        try await worker.stop()
    }

    @Test(
        "SEC-08: all that is queued for a slow reader arrives in order once it reads; meanwhile nothing is read from it"
    )
    func slowReader() async throws {
        var limits = EdgeLimits()
        limits.writeQueueInBytes = 64 << 20
        let worker = try await TestWorker(limits: limits)
        let listener = try await worker.listen()
        let peer = try TestPeer(to: listener.local, receiveBuffer: 4096)
        #expect(await worker.next() == .opened)
        let piece = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try await worker.run { _, owner in for _ in 0..<400 { owner.flows[0].send(piece) } }
        try await worker.run { _, owner in
            #expect(owner.flows[0].isBlocked && owner.flows[0].isReadPaused)
        }
        try peer.send(request())
        for _ in 0..<400 { #expect(try peer.receive(exactly: piece.count) == piece) }
        #expect(await worker.next() == .message(request()))
        try await worker.run { _, owner in
            #expect(!owner.flows[0].isBlocked && owner.flows[0].queuedInBytes == 0)
            owner.flows[0].closeAfterFlush(.released)
        }
        #expect(try peer.receiveAll() == "")
        #expect(await worker.next() == .closed(.released))
        await listener.close()
        try await worker.stop()
    }

    @Test("SEC-08: a slow reader over the limit loses its flow")
    func slowReaderOverLimit() async throws {
        let worker = try await TestWorker()
        let listener = try await worker.listen()
        let peer = try TestPeer(to: listener.local, receiveBuffer: 4096)
        #expect(await worker.next() == .opened)
        try await worker.run { flows, owner in
            func fill() {
                while owner.flows[0].send([UInt8](repeating: 1, count: 50_000)) {
                    guard owner.flows[0].queuedInBytes > 500_000 else { continue }
                    // The kernel takes much: a tick for each half megabyte.
                    flows.eventLoop.assumeIsolated().execute { fill() }
                    return
                }
            }
            fill()
        }
        #expect(await worker.next() == .closed(.writeQueueFull))
        withExtendedLifetime(peer) {}
        await listener.close()
        try await worker.stop()
    }

    @Test("a connection that the owner does not admit is closed at once, and nothing more is said of it")
    func refused() async throws {
        let worker = try await TestWorker { owner in
            owner.admission = { _, tag in
                #expect(tag == ListenerTag(7))
                return .refused
            }
        }
        let listener = try await worker.listen(tag: 7)
        let peer = try TestPeer(to: listener.local)
        #expect((try? peer.receive()) ?? [] == [])
        try await worker.run { _, owner in
            #expect(owner.heard.isEmpty)
            owner.admission = { _, _ in .plain }
        }
        let other = try TestPeer(to: listener.local)
        #expect(await worker.next() == .opened)
        withExtendedLifetime(other) {}
        await listener.close()
        try await worker.stop()
    }

    @Test("a closed listener accepts no more, and its connections live on")
    func closedListener() async throws {
        let worker = try await TestWorker { owner in owner.onMessage = { $0.send($1.bytes) } }
        let listener = try await worker.listen("127.0.0.77")  // where no other test can take the port meanwhile
        let peer = try TestPeer(to: listener.local)
        #expect(await worker.next() == .opened)
        await listener.close()
        #expect(throws: TestPeer.Failure.self) { try TestPeer(to: listener.local) }
        try peer.send(request())
        #expect(await worker.next() == .message(request()))
        #expect(try peer.receive(exactly: request().utf8.count) == Array(request().utf8))
        // The address is free again.
        let again = try await Listener.open(
            listener.local, tag: ListenerTag(1), group: worker.group, workers: [worker.flows], onEvent: { _ in })
        await again.close()
        try await worker.stop()
    }

    @Test("a bind error names the address and the cure")
    func bindErrors() async throws {
        let worker = try await TestWorker()
        let listener = try await worker.listen()
        func failure(_ endpoint: Endpoint) async -> BindError? {
            do {
                await
                    (try Listener.open(
                        endpoint, tag: ListenerTag(1), group: worker.group, workers: [worker.flows], onEvent: { _ in }
                    )).close()
                return nil
            } catch {
                return error
            }
        }
        let inUse = await failure(listener.local)
        #expect(inUse?.errno == EADDRINUSE)
        #expect(inUse?.description.contains("tcp:\(listener.local)") == true)
        let elsewhere = await failure(Endpoint(address: IPAddress("192.0.2.77")!, port: 5061))
        #expect(elsewhere?.errno == EADDRNOTAVAIL)
        #expect(elsewhere?.cure.contains("ip address") == true)
        await listener.close()
        try await worker.stop()
    }

    @Test("connections go to the workers in turn")
    func roundRobin() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let (events, continuation) = AsyncStream.makeStream(of: FlowID.self)
        var workers: [BoundFlowContext] = []
        for (index, loop) in group.makeIterator().enumerated() {
            workers.append(
                try await loop.submit {
                    let owner = TestOwner()
                    owner.onOpened = { continuation.yield($0.id) }
                    return FlowContext(
                        worker: UInt16(index), eventLoop: loop, owner: owner, timers: TimerSettings(),
                        limits: EdgeLimits(), messageLimits: MessageLimits(), handshakes: nil
                    ).bound
                }.get())
        }
        let listener = try await Listener.open(
            Endpoint(address: IPAddress("127.0.0.1")!, port: 0), tag: ListenerTag(5), group: group, workers: workers,
            onEvent: { _ in })
        var peers: [TestPeer] = []
        var counts: [UInt16: Int] = [:]
        var seen: Set<FlowID> = []
        var iterator = events.makeAsyncIterator()
        for _ in 0..<10 {
            peers.append(try TestPeer(to: listener.local))
            guard let id = await iterator.next() else { break }
            counts[id.worker, default: 0] += 1
            seen.insert(id)
        }
        #expect(counts == [0: 5, 1: 5])
        #expect(seen.count == 10)
        await listener.close()
        for worker in workers { try await worker.eventLoop.submit { worker.value.close() }.get() }
        try await group.shutdownGracefully()
    }
}
