import COpenSSL
import GatehousePolicy
import NIOCore
import SIPMessage
import Testing

@testable import GatehouseNet
@testable import GatehouseTLS

@Suite(.timeLimit(.minutes(1))) struct StreamTLSTests {
    /// A worker that serves a.example over TLS.
    struct Fixture {
        let worker: TestWorker
        let listener: Listener
        let pool: HandshakePool

        init(
            timers: TimerSettings = TimerSettings(), queueLimit: Int = 100,
            setUp: @escaping @Sendable (TestOwner) -> Void = { _ in }
        ) async throws {
            self.pool = HandshakePool(threads: 1, queueLimit: queueLimit)
            self.worker = try await TestWorker(timers: timers, handshakes: self.pool) { owner in
                owner.admission = { _, _ in .tls(TestCertificate.serverEngine()) }
                setUp(owner)
            }
            self.listener = try await self.worker.listen()
        }

        func stop() async throws {
            await self.listener.close()
            try await self.worker.stop()
            self.pool.shutdown()
        }
    }

    static let versions = [TLS1_2_VERSION, TLS1_3_VERSION]

    @Test("FRAME-01: over TLS, two messages in a record, then one octet a record, count once each", arguments: versions)
    func records(version: Int32) async throws {
        let it = try await Fixture()
        let peer = try TLSPeer(to: it.listener.local, version: version)
        try peer.send(request(body: "one") + request("INVITE", body: "two"))
        for byte in request("BYE").utf8 { try peer.send(String(decoding: [byte], as: UTF8.self)) }
        let expected = [request(body: "one"), request("INVITE", body: "two"), request("BYE")]
        #expect(await it.worker.next(4) == [.opened] + expected.map { .message($0) })
        try await it.worker.run { _, owner in
            let flow = owner.flows[0]
            #expect(flow.transport == .tls && flow.tls?.domain == "a.example" && flow.tls?.serverName == "a.example")
        }
        try await it.stop()
    }

    @Test("FRAME-01: what a tick makes leave over TLS leaves as one record", arguments: versions)
    func oneRecordATick(version: Int32) async throws {
        let it = try await Fixture { owner in
            owner.onMessage = { flow, _ in
                for text in ["one ", "two ", "three"] { flow.send(Array(text.utf8)) }
            }
        }
        let peer = try TLSPeer(to: it.listener.local, version: version)
        try peer.send(request())
        var text = try #require(try peer.receive())
        #expect(text == "one two three")
        _ = peer.takeRecordLengths()
        try peer.send(request() + request())
        text = try #require(try peer.receive())
        #expect(text == "one two threeone two three")
        #expect(peer.takeRecordLengths().count == 1)
        // The engine's buffer is the loop's: an idle connection has none.
        try await it.worker.run { _, owner in
            #expect(owner.flows[0].engine?.output.storageCapacity == 0)
            #expect(owner.flows[0].engine?.input.storageCapacity == 0)
        }
        try await it.stop()
    }

    @Test("SEC-08: megabytes over TLS to a slow reader arrive in order", arguments: versions)
    func slowReader(version: Int32) async throws {
        let it = try await Fixture()
        let peer = try TLSPeer(TestPeer(to: it.listener.local, receiveBuffer: 4096), version: version)
        #expect(await it.worker.next() == .opened)
        try await it.worker.run { flows, owner in
            flows.limits.writeQueueInBytes = 1 << 30
            for index in 0..<300 {
                owner.flows[0].send([UInt8](repeating: UInt8(ascii: "a") + UInt8(index % 26), count: 30_000 + index))
            }
            owner.flows[0].closeAfterFlush(.released)
        }
        let text = try peer.receiveAll()
        var expected = ""
        for index in 0..<300 {
            expected += String(repeating: Character(Unicode.Scalar(UInt8(97 + index % 26))), count: 30_000 + index)
        }
        #expect(text == expected)
        #expect(await it.worker.next() == .closed(.released))
        try await it.stop()
    }

    @Test("TLS-08: what G closes it closes with close_notify, after what was queued", arguments: versions)
    func closesWithNotify(version: Int32) async throws {
        let it = try await Fixture { owner in
            owner.onMessage = { flow, _ in
                flow.send(Array("answer".utf8))
                flow.closeAfterFlush(.released)
            }
        }
        let peer = try TLSPeer(to: it.listener.local, version: version)
        try peer.send(request())
        #expect(try peer.receiveAll() == "answer")  // throws without close_notify
        #expect(try peer.socket.receive().isEmpty)
        #expect(await it.worker.next(3) == [.opened, .message(request()), .closed(.released)])
        try await it.stop()
    }

    @Test("TLS-08: after the peer's close_notify complete requests are answered under TLS 1.3")
    func answersAfterNotify() async throws {
        let it = try await Fixture { owner in owner.answersAreDue = true }
        let peer = try TLSPeer(to: it.listener.local)
        try peer.send(request())
        peer.sendCloseNotify()
        #expect(await it.worker.next(3) == [.opened, .message(request()), .inputEnded])
        try await it.worker.run { _, owner in
            #expect(!owner.flows[0].isUsable)
            owner.flows[0].send(Array("answer".utf8))
            owner.flows[0].closeAfterFlush(.peerClosed)
        }
        #expect(try peer.receiveAll() == "answer")
        #expect(await it.worker.next() == .closed(.peerClosed))
        try await it.stop()
    }

    @Test("TLS-08: under TLS 1.2 the peer's close_notify ends the flow, after complete requests")
    func endsAfterNotify() async throws {
        let it = try await Fixture { owner in owner.answersAreDue = true }
        let peer = try TLSPeer(to: it.listener.local, version: TLS1_2_VERSION)
        try peer.send(request())
        peer.sendCloseNotify()
        #expect(await it.worker.next(3) == [.opened, .message(request()), .closed(.peerClosed)])
        #expect(try peer.receiveAll() == "")
        try await it.stop()
    }

    @Test("FRAME-07: close_notify amid a body gets 400 under TLS 1.3, and nothing under TLS 1.2", arguments: versions)
    func notifyWithinBody(version: Int32) async throws {
        let it = try await Fixture()
        let peer = try TLSPeer(to: it.listener.local, version: version)
        try peer.send(request(body: "short", length: 10))
        peer.sendCloseNotify()
        if version == TLS1_3_VERSION {
            #expect(try peer.receiveAll() == StreamFramingTests.ok400)
            #expect(await it.worker.next(3) == [.opened, .refused(status: 400), .closed(.truncated)])
        } else {
            #expect(try peer.receiveAll() == "")
            #expect(await it.worker.next(2) == [.opened, .closed(.truncated)])
        }
        try await it.stop()
    }

    @Test("TLS-09: FIN without close_notify amid a message discards it, without an answer", arguments: versions)
    func truncation(version: Int32) async throws {
        let it = try await Fixture()
        let peer = try TLSPeer(to: it.listener.local, version: version)
        try peer.send(request() + request(body: "short", length: 10))
        #expect(await it.worker.next(2) == [.opened, .message(request())])
        peer.socket.sendFIN()
        #expect(await it.worker.next() == .closed(.truncated))
        #expect(try peer.receiveAll() == "")
        try await it.stop()
    }

    @Test("TLS-14: plain SIP on a TLS port is closed, and said to be that")
    func plainSIP() async throws {
        let it = try await Fixture()
        let peer = try TestPeer(to: it.listener.local)
        try peer.send(request())
        let answer = try peer.receiveAll()
        #expect(!answer.contains("SIP/2.0"))
        #expect(await it.worker.next() == .handshakeFailed(.notTLS))
        try await it.stop()
    }

    @Test("TLS-14: a handshake unfinished at its timeout is closed", arguments: [0, 1, 5, 40])
    func handshakeTimeout(octets: Int) async throws {
        var timers = TimerSettings()
        timers.handshake = .milliseconds(100)
        let it = try await Fixture(timers: timers)
        let peer = try TestPeer(to: it.listener.local)
        // The beginning of a ClientHello.
        try peer.send(Array(([22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3] + [UInt8](repeating: 7, count: 40)).prefix(octets)))
        #expect(try peer.receiveAll() == "")
        #expect(await it.worker.next() == .handshakeFailed(.timeout))
        try await it.stop()
    }

    @Test("TLS-14: a peer that leaves amid its handshake is reported once, also while a thread has the engine")
    func leavesWithinHandshake() async throws {
        let it = try await Fixture()
        for octets in [0, 3, 51] {
            let peer = try TestPeer(to: it.listener.local)
            let hello: [UInt8] = [22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3] + [UInt8](repeating: 7, count: 40)
            try peer.send(Array(hello.prefix(octets)))
            peer.sendFIN()
            #expect(await it.worker.next() == .handshakeFailed(.closed))
        }
        try await it.stop()
    }

    @Test("a handshake that finds the pool's queue full is refused, and later ones are not")
    func overloaded() async throws {
        let it = try await Fixture(queueLimit: 0)
        #expect(throws: TLSPeer.Failure.self) { try TLSPeer(to: it.listener.local) }
        #expect(await it.worker.next() == .handshakeFailed(.overloaded))
        try await it.stop()
    }

    @Test("a message that comes with the client's Finished is not lost")
    func earlyMessage() async throws {
        let it = try await Fixture()
        for _ in 0..<20 {
            let peer = try TLSPeer(to: it.listener.local)
            try peer.send(request())  // the server has yet to read Finished
            #expect(await it.worker.next(2) == [.opened, .message(request())])
            peer.sendCloseNotify()
            #expect(await it.worker.next(2) == [.inputEnded, .closed(.peerClosed)])
        }
        try await it.stop()
    }

    @Test("both ends may be ours: what is queued on a connecting flow leaves over TLS, and answers come back")
    func connector() async throws {
        let server = try await Fixture { owner in owner.onMessage = { $0.send($1.bytes) } }
        let client = try await TestWorker(handshakes: server.pool)
        let destination = server.listener.local
        try await client.run { flows, _ in
            let flow = Connector.connect(to: destination, tls: TestCertificate.clientEngine(), in: flows)
            flow.send(Array(request(body: String(repeating: "x", count: 50_000)).utf8))
        }
        let text = request(body: String(repeating: "x", count: 50_000))
        #expect(await client.next(2) == [.opened, .message(text)])
        #expect(await server.worker.next(2) == [.opened, .message(text)])
        try await client.run { _, owner in owner.flows[0].close(.released) }
        #expect(await client.next() == .closed(.released))
        #expect(await server.worker.next(2) == [.inputEnded, .closed(.peerClosed)])
        try await client.stop()
        try await server.stop()
    }

    @Test("a TLS connection to a port that speaks none is a failed handshake, and to a closed one a failed connection")
    func connectorFailures() async throws {
        let plain = try await TestWorker()
        let listener = try await plain.listen()
        let pool = HandshakePool(threads: 1, queueLimit: 10)
        let client = try await TestWorker(handshakes: pool)
        let destination = listener.local
        try await client.run { flows, _ in
            _ = Connector.connect(to: destination, tls: TestCertificate.clientEngine(), in: flows)
        }
        #expect(await client.next() == .handshakeFailed(.closed))
        await listener.close()
        try await client.run { flows, _ in
            _ = Connector.connect(to: destination, tls: TestCertificate.clientEngine(), in: flows)
        }
        #expect(await client.next() == .connectFailed(.refused))
        try await client.stop()
        try await plain.stop()
        pool.shutdown()
    }
}
