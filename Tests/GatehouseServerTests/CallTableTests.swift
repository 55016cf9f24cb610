import Dispatch
import Synchronization
import Testing

@testable import GatehouseServer

@Suite("CallTable")
struct CallTableTests {
    private let table = CallTable()
    private let counter = CallCounter()

    private var count: Int { self.counter.count.load(ordering: .relaxed) }

    private func begin(_ call: UInt64, limit: Int? = nil, now: UInt64 = 0) -> Bool {
        self.table.begin(call, counter: self.counter, limit: limit, now: now)
    }

    private func end(_ call: UInt64) {
        self.table.end(call)
    }

    @Test("a domain has no more calls than its limit, until one ends")
    func limit() {
        #expect(self.begin(1, limit: 2))
        #expect(self.begin(2, limit: 2))
        #expect(!self.begin(3, limit: 2))
        #expect(self.count == 2)
        self.end(1)
        #expect(self.begin(3, limit: 2))
        #expect(self.table.count == 2)
        #expect(!self.begin(4, limit: 0))
    }

    @Test("the same call counts once, and ends once")
    func sameCall() {
        #expect(self.begin(1, limit: 1))
        #expect(self.begin(1, limit: 1))
        #expect(self.count == 1)
        self.end(1)
        self.end(1)
        self.end(9)
        #expect(self.count == 0)
        #expect(self.table.count == 0)
    }

    @Test("a call that nobody ends is counted for its lifetime")
    func lifetime() {
        #expect(self.begin(1, now: 0))
        #expect(self.begin(2, now: 10))
        self.table.removeExpired(now: CallTable.lifetime - 1)
        #expect(self.count == 2)
        self.table.removeExpired(now: CallTable.lifetime)
        #expect(self.count == 1)
        #expect(self.table.count == 1)
        self.table.removeExpired(now: .max)
        #expect(self.table.count == 0)
    }

    @Test("a call is taken from the counter that it was counted in, though its domain has another by now")
    func replacedCounter() {
        let other = CallCounter()
        #expect(self.begin(1))
        #expect(self.table.begin(2, counter: other, limit: nil, now: 0))
        self.end(1)
        #expect(self.count == 0)
        #expect(other.count.load(ordering: .relaxed) == 1)
        self.table.removeExpired(now: .max)
        #expect(other.count.load(ordering: .relaxed) == 0)
    }

    @Test("threads together get no more calls than the limit, but for those that look at the same time")
    func concurrent() {
        let begun = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for step in 0..<500 {
                let call = UInt64(thread * 500 + step)
                if self.begin(call, limit: 100) { begun.wrappingAdd(1, ordering: .relaxed) }
            }
        }
        let passed = begun.load(ordering: .relaxed)
        #expect(100...108 ~= passed)
        #expect(self.count == passed)
        #expect(self.table.count == passed)
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for call in 0..<4000 as Range<UInt64> { self.end(call) }
        }
        #expect(self.count == 0)
        #expect(self.table.count == 0)
    }
}
