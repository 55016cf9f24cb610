import GatehouseNet
import GatehousePolicy
import SIPMessage
import TestSupport
import Testing

@testable import GatehouseServer

@Suite("DatagramFlows")
struct DatagramFlowsTests {
    private let fixture: WorkerFixture
    private var flows = DatagramFlows()

    init() throws {
        self.fixture = try WorkerFixture([WorkerFixture.domain("a.example"), WorkerFixture.domain("b.example")])
    }

    /// A peer that was heard of at `now`.
    private mutating func add(_ number: UInt64, _ domain: String = "a.example", now: UInt64) throws -> FlowState {
        let runtime = try self.fixture.domain(named: domain)
        let remote = Endpoint(address: IPAddress(v4: 0xC000_0207), port: UInt16(20_000 + number))
        let state = FlowState(
            side: .outside, transport: .udp, remote: remote,
            local: Endpoint(address: IPAddress(v4: 0xC000_0201), port: 5060),
            reference: FlowReference(boot: 1, worker: 0, number: number), domain: runtime, generation: 1, source: nil,
            facts: [], leg: .outsideDatagram(socket: 0, remote))
        self.flows.add(state, socket: 0, domain: runtime.key)
        self.flows.touch(state, now: now)
        return state
    }

    private mutating func quietest(of domain: String? = nil, silentSince limit: UInt64? = nil) -> UInt64? {
        self.flows.quietest(of: domain.map { DomainKey(name: $0) }, silentSince: limit, now: 1000)?.reference.number
    }

    @Test("the stranger that was silent longest makes way first, of its domain or of all")
    mutating func order() throws {
        let first = try self.add(1, now: 1)
        _ = try self.add(2, "b.example", now: 2)
        let third = try self.add(3, now: 3)
        #expect(self.quietest() == 1)
        #expect(self.quietest(of: "b.example") == 2)
        self.flows.touch(first, now: 4)
        #expect(self.quietest() == 2)
        #expect(self.quietest(of: "a.example") == 3)
        self.flows.remove(third)
        #expect(self.quietest(of: "a.example") == 1)
        #expect(self.flows.flow(3) == nil)
        #expect(self.flows.count == 2)
    }

    @Test("a peer that is kept makes way for nobody, and is a stranger again when it is kept no longer")
    mutating func kept() throws {
        let registered = try self.add(1, now: 1)
        self.flows.setKept(registered, true)
        self.flows.setKept(registered, true)
        #expect(self.quietest() == nil)
        #expect(self.quietest(of: "a.example") == nil)
        #expect(self.flows.flow(1) === registered)
        _ = try self.add(2, now: 2)
        self.flows.touch(registered, now: 3)
        #expect(self.quietest() == 2)
        self.flows.setKept(registered, false)
        self.flows.setKept(registered, false)
        #expect(self.quietest(of: "a.example") == 2)
        self.flows.remove(try #require(self.flows.flow(2)))
        #expect(self.quietest() == 1)
        self.flows.remove(registered)
        #expect(self.quietest() == nil)
    }

    @Test("one whose request waits for an answer keeps its place, and silence counts from its limit on")
    mutating func waiting() throws {
        let waiting = try self.add(1, now: 1)
        waiting.unanswered = 1
        _ = try self.add(2, now: 5)
        #expect(self.quietest(silentSince: 5) == nil)
        #expect(waiting.lastActivity == 1000)
        #expect(self.quietest(silentSince: 6) == 2)
        self.flows.remove(try #require(self.flows.flow(2)))
        #expect(self.quietest() == nil)
        waiting.unanswered = 0
        #expect(self.quietest() == 1)
    }

    @Test("the order of silence is that of a plain list, whatever comes and goes")
    func walk() {
        let seed = UInt64.random(in: 0 ... .max)
        var generator = SeededGenerator(seed: seed)
        var order = SilenceOrder()
        var expected: [(flow: UInt64, place: Int)] = []
        for flow in 0..<20_000 as Range<UInt64> {
            let index = expected.indices.randomElement(using: &generator)
            switch (UInt8.random(in: 0..<5, using: &generator), index) {
            case (0, let index?):
                order.remove(expected.remove(at: index).place)
            case (1...2, let index?):
                let entry = expected.remove(at: index)
                order.renew(entry.place)
                expected.append(entry)
            case (3, _) where !expected.isEmpty:
                order.remove(expected.removeFirst().place)
            default:
                expected.append((flow, order.append(flow)))
            }
            guard order.oldest == expected.first?.flow, order.isEmpty == expected.isEmpty else {
                Issue.record("seed \(seed), step \(flow)")
                return
            }
        }
        #expect(Set(expected.map(\.place)).count == expected.count)
    }
}
