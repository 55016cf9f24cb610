import Glibc
import NIOCore
import SIPMessage
import Testing

@testable import GatehouseNet

@Suite(.timeLimit(.minutes(1))) struct DatagramTests {
    /// A worker with one endpoint.
    struct Fixture {
        let worker: TestWorker
        let endpoint: NIOLoopBound<DatagramEndpoint>
        let local: Endpoint

        init(_ address: String = "127.0.0.3", setUp: @escaping @Sendable (TestOwner) -> Void = { _ in }) async throws {
            self.worker = try await TestWorker(setUp: setUp)
            (self.endpoint, self.local) = try await self.worker.run { flows, owner in
                let endpoint = try DatagramEndpoint.bind(
                    Endpoint(address: IPAddress(address)!, port: 0), in: flows, owner: owner)
                return (NIOLoopBound(endpoint, eventLoop: flows.eventLoop), endpoint.local)
            }
        }

        func stop() async throws {
            let endpoint = self.endpoint
            try await self.worker.run { _, _ in endpoint.value.close() }
            try await self.worker.stop()
        }
    }

    @Test(
        "a datagram comes with its source, and one goes back from the address it came to",
        arguments: ["127.0.0.3", "::1"])
    func echo(address: String) async throws {
        let it = try await Fixture(address) { owner in
            owner.onDatagram = { $0.send(Array($1.reversed()), to: $2) }
        }
        let peer = try TestPeer(bound: address)
        try peer.send([1, 2, 3], to: it.local)
        #expect(await it.worker.next() == .datagram([1, 2, 3], from: peer.local))
        #expect(try peer.receive() == [3, 2, 1])
        try peer.send([], to: it.local)
        #expect(await it.worker.next() == .datagram([], from: peer.local))
        try await it.stop()
    }

    @Test("FRAME-11: datagrams of 65,507 octets are received whole and sent whole")
    func largest() async throws {
        let it = try await Fixture { owner in owner.onDatagram = { $0.send(Array($1), to: $2) } }
        let peer = try TestPeer(bound: "127.0.0.3")
        let bytes = (0..<65_507).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 8) }
        for _ in 0..<3 {
            try peer.send(bytes, to: it.local)
            #expect(await it.worker.next() == .datagram(bytes, from: peer.local))
            #expect(try peer.receive() == bytes)
        }
        try await it.stop()
    }

    @Test("what is sent in a tick arrives whole and in order, beyond one batch")
    func batches() async throws {
        let it = try await Fixture()
        let peer = try TestPeer(bound: "127.0.0.3")
        let (endpoint, destination) = (it.endpoint, peer.local)
        try await it.worker.run { _, _ in
            for index in 0..<100 {
                endpoint.value.send([UInt8(index)] + [UInt8](repeating: 0, count: index), to: destination)
            }
            #expect(endpoint.value.counters.sent == 0)  // not before the tick's end
        }
        for index in 0..<100 {
            #expect(try peer.receive() == [UInt8(index)] + [UInt8](repeating: 0, count: index))
        }
        #expect(try await it.worker.run { _, _ in endpoint.value.counters.sent } == 100)
        try await it.stop()
    }

    @Test("a burst larger than a batch is received whole")
    func burst() async throws {
        let it = try await Fixture()
        let peer = try TestPeer(bound: "127.0.0.3")
        // While the loop is held, all of them wait in the socket.
        let (local, port) = (it.local, peer)
        try await it.worker.run { _, _ in for index in 0..<150 { try port.send([UInt8(index)], to: local) } }
        let heard = await it.worker.next(150)
        #expect(heard == (0..<150).map { .datagram([UInt8($0)], from: peer.local) })
        try await it.stop()
    }

    @Test("TXN-31: ICMP port unreachable is reported with the destination and the datagram, and the socket lives on")
    func portUnreachable() async throws {
        let it = try await Fixture()
        let nobody: Endpoint
        do {
            let closed = try TestPeer(bound: "127.0.0.3")
            nobody = closed.local
        }
        let endpoint = it.endpoint
        let text = Array(request().utf8)
        for _ in 0..<3 {
            try await it.worker.run { _, _ in endpoint.value.send(text, to: nobody) }
            guard case .datagramFailed(let destination, let quoted, let error) = await it.worker.next() else {
                Issue.record("no failure was reported")
                return
            }
            #expect(destination == nobody)
            #expect(error == ECONNREFUSED)
            #expect(text.starts(with: quoted.prefix(100)) && quoted.count >= 8)
        }
        // Among the dead, the living get theirs.
        let peer = try TestPeer(bound: "127.0.0.3")
        let alive = peer.local
        try await it.worker.run { _, _ in
            for index in UInt8(0)..<40 {
                endpoint.value.send([index], to: nobody)
                endpoint.value.send([index], to: alive)
            }
        }
        for index in UInt8(0)..<40 { #expect(try peer.receive() == [index]) }
        try peer.send([9], to: it.local)
        while true {
            let heard = await it.worker.next()
            if heard == .datagram([9], from: alive) { break }
            guard case .datagramFailed(nobody, _, ECONNREFUSED) = heard else {
                Issue.record("\(String(describing: heard))")
                break
            }
        }
        try await it.stop()
    }

    @Test("what can't be sent is reported, and what is queued behind it leaves")
    func unsendable() async throws {
        let it = try await Fixture()
        let peer = try TestPeer(bound: "127.0.0.3")
        let (endpoint, alive) = (it.endpoint, peer.local)
        try await it.worker.run { _, _ in
            endpoint.value.send([1], to: alive)
            endpoint.value.send([UInt8](repeating: 0, count: 65_508), to: alive)
            endpoint.value.send([2], to: alive)
        }
        guard case .datagramFailed(alive, _, EMSGSIZE) = await it.worker.next() else {
            Issue.record("not reported")
            return
        }
        #expect(try peer.receive() == [1])
        #expect(try peer.receive() == [2])
        try await it.stop()
    }

    @Test("the queue of a socket that the kernel takes nothing from is bounded, and what it drops is counted")
    func boundedQueue() {
        var queue = DatagramQueue()
        let destination = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 5060)
        var taken = 0
        while queue.append([UInt8](repeating: 0, count: 10), to: destination) { taken += 1 }
        #expect(taken == 4096)
        queue.removeFirst(2000)
        #expect(queue.count == 2096)
        while queue.append([UInt8](repeating: 0, count: 60_000), to: destination) { taken += 1 }
        #expect(taken < 4096 + 2000)
        queue.removeFirst(queue.count)
        #expect(queue.isEmpty && queue.first == nil)
        let isTaken = queue.append([1], to: destination)
        #expect(isTaken)
    }

    @Test("an address that another socket has is refused with its cure, and shared only where that is asked for")
    func inUse() async throws {
        let it = try await Fixture()
        let local = it.local
        let error = try await it.worker.run { flows, owner -> BindError? in
            #expect(throws: Never.self) {
                try DatagramEndpoint.bind(local, in: flows, owner: owner, isShared: true).close()
            }
            do throws(BindError) {
                try DatagramEndpoint.bind(local, in: flows, owner: owner).close()
                return nil
            } catch {
                return error
            }
        }
        #expect(error?.errno == EADDRINUSE)
        #expect(error?.description.contains("udp:\(local)") == true)
        #expect(error?.description.contains("ss -lnp") == true)
        try await it.stop()
    }
}
