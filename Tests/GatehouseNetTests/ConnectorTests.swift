import Glibc
import NIOCore
import SIPMessage
import Testing

@testable import GatehouseNet

@Suite(.timeLimit(.minutes(1))) struct ConnectorTests {
    @Test("CONN-02: what is queued while a connection comes about leaves on it, in order, and answers come back")
    func queuedWhileConnecting() async throws {
        let worker = try await TestWorker()
        let server = try TestPeer(bound: "127.0.0.1", listening: true)
        let destination = server.local
        try await worker.run { flows, owner in
            let flow = Connector.connect(to: destination, from: IPAddress("127.0.0.1"), in: flows)
            #expect(flow.send(Array("one".utf8)) && flow.send(Array("two".utf8)))
            #expect(owner.heard.isEmpty)
        }
        let accepted = try server.accept()
        #expect(try accepted.receive(exactly: 6) == Array("onetwo".utf8))
        try accepted.send(response())
        #expect(await worker.next(2) == [.opened, .message(response())])
        let local = try await worker.run { _, owner in
            #expect(owner.flows[0].isOutbound && owner.flows[0].listener == nil)
            let local = owner.flows[0].local
            owner.flows[0].close(.released)
            return local
        }
        #expect(local.port != 0 && local.address.isLoopback)
        #expect(try accepted.receiveAll() == "")
        #expect(await worker.next() == .closed(.released))
        try await worker.stop()
    }

    @Test("a refused connection is reported with its cause")
    func refused() async throws {
        let worker = try await TestWorker()
        let nobody = try TestPeer(bound: "127.0.0.1", listening: true).local
        try await worker.run { flows, _ in
            _ = Connector.connect(to: nobody, in: flows).send([1])
        }
        #expect(await worker.next() == .connectFailed(.refused))
        try await worker.stop()
    }

    @Test("an address without a way there, or not ours, is reported as unreachable")
    func unreachable() async throws {
        let worker = try await TestWorker()
        let nobody = try TestPeer(bound: "127.0.0.1", listening: true).local
        try await worker.run { flows, _ in
            _ = Connector.connect(to: nobody, from: IPAddress("192.0.2.77"), in: flows)
        }
        #expect(await worker.next() == .connectFailed(.unreachable(errno: EADDRNOTAVAIL)))
        try await worker.stop()
    }

    @Test("a connection that nobody completes is given up at its deadline")
    func timesOut() async throws {
        let worker = try await TestWorker()
        // A full backlog: the kernel ignores further SYNs.
        let server = try TestPeer(bound: "127.0.0.1", listening: true)
        listen(server.descriptor, 0)
        let first = try TestPeer(to: server.local)
        let destination = server.local
        try await worker.run { flows, _ in
            _ = Connector.connect(to: destination, timeout: .milliseconds(50), in: flows)
        }
        #expect(await worker.next() == .connectFailed(.timedOut))
        withExtendedLifetime(first) {}
        try await worker.stop()
    }

    @Test("a flow closed before it is connected is reported once, and its connection goes")
    func cancelled() async throws {
        let worker = try await TestWorker()
        let server = try TestPeer(bound: "127.0.0.1", listening: true)
        let destination = server.local
        try await worker.run { flows, _ in Connector.connect(to: destination, in: flows).close(.released) }
        #expect(await worker.next() == .connectFailed(.cancelled))
        try await worker.run { flows, owner in
            #expect(owner.heard == [.connectFailed(.cancelled)])
        }
        // What got through to the server ends at once.
        if let accepted = try? server.accept() { #expect(((try? accepted.receive()) ?? []).isEmpty) }
        try await worker.stop()
    }
}
