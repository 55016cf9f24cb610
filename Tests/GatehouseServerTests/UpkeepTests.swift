import GatehousePolicy
import NIOCore
import NIOEmbedded
import SIPMessage
import Testing

@testable import GatehouseServer

@Suite("Upkeep")
struct UpkeepTests {
    /// The ping cannot be sent, which its transaction tells in the next tick: until then it is under way.
    private static func fixture() throws -> WorkerFixture {
        try WorkerFixture([WorkerFixture.domain(health: .seconds(10))])
    }

    @Test("each core server is asked at once, and an attempt that fails ends its transaction")
    func firstPing() throws {
        let fixture = try Self.fixture()
        fixture.worker.startUpkeep()
        #expect(fixture.worker.clientTransactions.count == 1)
        fixture.loop.run()
        #expect(fixture.worker.clientTransactions.isEmpty)
    }

    @Test(
        "a reload that ends the health checks of a server forgets the ping that is under way",
        arguments: [
            WorkerFixture.domain(health: nil), WorkerFixture.domain(target: "10.0.0.6", health: nil),
        ])
    func reload(domain: DomainConfiguration) throws {
        let fixture = try Self.fixture()
        fixture.worker.startUpkeep()
        fixture.worker.apply(
            try WorkerFixture.snapshot([domain], generation: 2, metrics: fixture.worker.shared.metrics))
        try #require(fixture.worker.upkeep).timerFired(0)
        #expect(fixture.worker.clientTransactions.isEmpty)
        // The outcome of the ping comes when nobody waits for it.
        fixture.loop.run()
        #expect(fixture.worker.clientTransactions.isEmpty)
    }

    @Test("a server that a reload took away and gave back is asked anew")
    func replaced() throws {
        let fixture = try Self.fixture()
        fixture.worker.startUpkeep()
        let before = fixture.worker.clientTransactions.keys.sorted()
        fixture.worker.apply(
            try WorkerFixture.snapshot(
                [WorkerFixture.domain(health: .seconds(10))], generation: 2, metrics: fixture.worker.shared.metrics))
        try #require(fixture.worker.upkeep).timerFired(0)
        #expect(fixture.worker.clientTransactions.count == 1)
        #expect(fixture.worker.clientTransactions.keys.sorted() != before)
        fixture.loop.run()
        #expect(fixture.worker.clientTransactions.isEmpty)
    }
}
