import Dispatch
import Synchronization
import Testing

@testable import GatehouseServer

private let second: UInt64 = 1_000_000_000

@Suite("RateMeter")
struct RateMeterTests {
    @Test("a second has room for the limit, and the next one again")
    func border() {
        let meter = RateMeter()
        let start = 5 * second
        #expect((0..<4).map { _ in meter.allows(now: start, limit: 3) } == [true, true, true, false])
        #expect(!meter.allows(now: start + second - 1, limit: 3))
        #expect((0..<4).map { _ in meter.allows(now: start + second, limit: 3) } == [true, true, true, false])
        #expect(meter.allows(now: start + 100 * second, limit: 3))
    }

    @Test("a limit that a reload raises counts at once")
    func raised() {
        let meter = RateMeter()
        #expect(meter.allows(now: 0, limit: 1))
        #expect(!meter.allows(now: 0, limit: 1))
        #expect(meter.allows(now: 0, limit: 2))
    }

    @Test(
        "no limit, none at all, and one below zero",
        arguments: [(nil, true), (0, false), (-1, false)] as [(Int?, Bool)])
    func special(limit: Int?, passes: Bool) {
        let meter = RateMeter()
        for _ in 0..<3 { #expect(meter.allows(now: 7 * second, limit: limit) == passes) }
    }

    @Test("the largest clock there is does no harm")
    func largest() {
        let meter = RateMeter()
        #expect(meter.allows(now: .max, limit: 1))
        #expect(!meter.allows(now: .max, limit: 1))
    }

    @Test("threads together pass exactly as many as the limit")
    func concurrent() {
        let meter = RateMeter()
        let passed = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for _ in 0..<1000 where meter.allows(now: second, limit: 5000) { passed.wrappingAdd(1, ordering: .relaxed) }
        }
        #expect(passed.load(ordering: .relaxed) == 5000)
    }
}
