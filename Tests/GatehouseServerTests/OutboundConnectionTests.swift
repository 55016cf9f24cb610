import GatehousePolicy
import GatehouseTLS
import NIOEmbedded
import SIPMessage
import Synchronization
import Testing

@testable import GatehouseNet
@testable import GatehouseServer

/// Who waits for a connection, and what it heard.
private final class Waiter: ConnectionWaiter {
    var failures = 0

    func connectionOpened(_ key: OutboundKey, _ state: FlowState) {}
    func connectionFailed(_ key: OutboundKey, _ failure: OutboundFailure) { self.failures += 1 }
}

@Suite("OutboundConnections")
struct OutboundConnectionTests {
    private let fixture: WorkerFixture
    private let key: OutboundKey

    /// Connections never come about: the loop has no sockets.
    init() throws {
        self.fixture = try WorkerFixture([WorkerFixture.domain()])
        _ = self.fixture.worker.start(handshakes: HandshakePool(threads: 1, queueLimit: 1))
        let address = IPAddress(v4: 0xC000_0209)
        let candidate = Candidate(
            transport: .tcp, endpoint: Endpoint(address: address, port: 5060), serverName: nil,
            identity: .address(address), group: 0)
        self.key = OutboundKey(
            JudgedCandidate(candidate: candidate, verifies: false), try self.fixture.domain(), trust: [])
    }

    private func connect(_ waiter: Waiter) throws -> StreamFlow {
        guard case .awaited = self.fixture.worker.connection(self.key, try self.fixture.domain(), for: waiter) else {
            throw NotAwaited()
        }
        return try #require(self.fixture.worker.outbound.connections[self.key]).flow
    }

    private struct NotAwaited: Error {}

    private var count: Int { self.fixture.worker.shared.outboundConnections.load(ordering: .relaxed) }

    @Test("CONN-02: who asks while a connection comes about shares it, and all hear of its end")
    func shared() throws {
        let (one, other) = (Waiter(), Waiter())
        #expect(try self.connect(one) === self.connect(other))
        #expect(self.count == 1)
        self.fixture.loop.run()
        #expect([one.failures, other.failures] == [1, 1])
        #expect(self.count == 0)
        #expect(self.fixture.worker.outbound.connections.isEmpty)
    }

    @Test("a connection that is replaced while it closes is counted out, and tells those who wait for it")
    func replaced() throws {
        let (old, new) = (Waiter(), Waiter())
        let closing = try self.connect(old)
        closing.close(.released)
        #expect(try self.connect(new) !== closing)
        #expect(self.count == 2)
        self.fixture.loop.run()
        #expect([old.failures, new.failures] == [1, 1])
        #expect(self.count == 0)
        #expect(self.fixture.worker.outbound.connections.isEmpty)
    }
}
