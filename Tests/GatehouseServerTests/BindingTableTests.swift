import Dispatch
import GatehousePolicy
import SIPMessage
import Testing

@testable import GatehouseServer

private func binding(_ domain: String = "a.example", worker: UInt16 = 0, deadline: UInt64) -> Binding {
    Binding(
        domain: DomainKey(name: domain), aor: Array("alice@\(domain)".utf8),
        flow: FlowReference(boot: 1, worker: worker, number: 1), contact: [],
        session: Session(id: SessionID(1), arrival: .tls, expires: .max), deadline: deadline)
}

private func key(_ low: UInt64) -> BindingKey { BindingKey(high: 0, low: low) }

extension BindingTable {
    /// Of all shards.
    fileprivate func removeExpired(now: UInt64) -> Int {
        (0..<Self.shardCount).reduce(0) { $0 + self.removeExpired(now: now, shard: $1).count }
    }
}

@Suite("BindingTable")
struct BindingTableTests {
    @Test("a binding is found until its deadline")
    func expiry() {
        let table = BindingTable(limit: 10)
        #expect(table.binding(key(1), now: 0) == nil)
        #expect(table.set(binding(deadline: 100), for: key(1)))
        #expect(table.binding(key(1), now: 99)?.deadline == 100)
        #expect(table.binding(key(1), now: 100) == nil)
        #expect(table.binding(key(2), now: 0) == nil)
    }

    @Test("a refresh takes the new flow and deadline, and counts once")
    func refresh() {
        let table = BindingTable(limit: 1)
        #expect(table.set(binding(worker: 0, deadline: 100), for: key(1)))
        #expect(table.set(binding(worker: 3, deadline: 200), for: key(1)))
        #expect(table.bindingCount == 1)
        #expect(table.binding(key(1), now: 150)?.flow.worker == 3)
    }

    @Test("a full table takes no new binding until one goes, though it refreshes those that it has")
    func limit() {
        let table = BindingTable(limit: 2)
        for low in 1...2 as ClosedRange<UInt64> { #expect(table.set(binding(deadline: 100), for: key(low))) }
        #expect(!table.set(binding(deadline: 100), for: key(3)))
        #expect(table.binding(key(3), now: 0) == nil)
        #expect(table.set(binding(deadline: 300), for: key(2)))
        #expect(table.remove(key(1)))
        #expect(!table.remove(key(1)))
        #expect(table.bindingCount == 1)
        #expect(table.set(binding(deadline: 100), for: key(3)))
        #expect(!table.set(binding(deadline: 100), for: key(4)))
        table.setLimit(3)
        #expect(table.set(binding(deadline: 100), for: key(4)))
    }

    @Test("PBX-14: a device stands under a name that no binding has until each REGISTER for it is settled")
    func proposals() {
        let table = BindingTable(limit: 10)
        #expect(table.propose(binding(worker: 1, deadline: .max), for: key(1), now: 0))
        #expect(table.propose(binding(worker: 1, deadline: .max), for: key(1), now: 0))
        #expect(table.device(key(1), now: 0, for: .options)?.flow.worker == 1)
        #expect(table.bindingCount == 0)
        #expect(table.device(key(1), now: 0, for: .invite) == nil)
        #expect(table.binding(key(1), now: 0) == nil)
        table.settle(key(1))
        #expect(table.device(key(1), now: 0, for: .options) != nil)
        table.settle(key(1))
        #expect(table.device(key(1), now: 0, for: .options) == nil)
        table.settle(key(1))
        #expect(table.propose(binding(worker: 2, deadline: .max), for: key(1), now: 0))
        #expect(table.device(key(1), now: 0, for: .options)?.flow.worker == 2)
    }

    @Test("PBX-14: no other connection stands under a name that is bound, and neither of two that want it at once")
    func contested() {
        let table = BindingTable(limit: 10)
        #expect(table.set(binding(worker: 0, deadline: 100), for: key(1)))
        #expect(!table.propose(binding(worker: 1, deadline: .max), for: key(1), now: 99))
        #expect(table.binding(key(1), now: 99)?.flow.worker == 0)
        #expect(table.propose(binding(worker: 1, deadline: .max), for: key(1), now: 100))
        #expect(table.device(key(1), now: 100, for: .notify)?.flow.worker == 1)
        #expect(table.propose(binding(worker: 2, deadline: .max), for: key(1), now: 100))
        #expect(table.device(key(1), now: 100, for: .notify) == nil)
        table.settle(key(1))
        #expect(table.device(key(1), now: 100, for: .notify) == nil)
        table.settle(key(1))
        #expect(table.set(binding(worker: 2, deadline: 200), for: key(1)))
        #expect(table.device(key(1), now: 100, for: .notify)?.flow.worker == 2)
    }

    @Test("what has expired goes, from every shard, and makes room")
    func removeExpired() {
        let table = BindingTable(limit: 200)
        for low in 0..<200 as Range<UInt64> {
            #expect(table.set(binding(deadline: low % 2 == 0 ? 100 : 200), for: key(low)))
        }
        #expect(table.removeExpired(now: 99) == 0)
        #expect(table.removeExpired(now: 100) == 100)
        #expect(table.bindingCount == 100)
        #expect(table.binding(key(0), now: 0) == nil)
        #expect(table.binding(key(1), now: 0) != nil)
        #expect(table.set(binding(deadline: 300), for: key(1000)))
    }

    @Test("SIPS-05: an address of record leads to the binding that lasts longest, whichever of its others go")
    func newest() {
        let table = BindingTable(limit: 100)
        let domain = DomainKey(name: "a.example")
        let aor = Array("alice@a.example".utf8)
        func deadline() -> UInt64? { table.newest(of: aor, domain: domain, now: 0)?.deadline }
        #expect(deadline() == nil)
        for low in [1, 2, 3, 4] as [UInt64] { #expect(table.set(binding(deadline: low * 100), for: key(low))) }
        #expect(table.set(binding("b.example", deadline: 900), for: key(5)))
        #expect(deadline() == 400)
        #expect(table.newest(of: aor, domain: domain, now: 400) == nil)
        table.remove(key(2))  // from the middle
        #expect(deadline() == 400)
        table.remove(key(4))  // the first
        #expect(deadline() == 300)
        #expect(table.set(binding(deadline: 1000), for: key(1)))  // a refresh of the last
        #expect(deadline() == 1000)
        table.remove(key(1))
        #expect(deadline() == 300)
        #expect(table.removeExpired(now: 300) == 1)
        #expect(deadline() == nil)
        #expect(table.count(of: domain) == 0)
        #expect(table.bindingCount == 1)
    }

    @Test("lists and counts look at one domain, or at all, up to a limit")
    func lists() {
        let table = BindingTable(limit: 100)
        for low in 0..<10 as Range<UInt64> {
            #expect(table.set(binding(low < 3 ? "a.example" : "b.example", deadline: 100), for: key(low)))
        }
        let a = DomainKey(name: "a.example")
        #expect(table.count(of: a) == 3)
        #expect(table.list(domain: a, limit: 100).map(\.binding.domain) == [a, a, a])
        #expect(table.list(domain: nil, limit: 100).count == 10)
        #expect(table.list(domain: nil, limit: 4).count == 4)
        #expect(table.list(domain: nil, limit: 0).isEmpty)
    }

    @Test("threads that set, find and remove leave a right count behind")
    func concurrent() {
        let table = BindingTable(limit: 10_000)
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for step in 0..<500 {
                let own = key(UInt64(thread * 1000 + step))
                _ = table.set(binding(deadline: 100), for: own)
                _ = table.set(binding(deadline: 100), for: key(UInt64(step % 16)))
                _ = table.binding(own, now: 0)
                if step % 2 == 0 { table.remove(own) }
                if step % 50 == 0 { _ = table.removeExpired(now: 50) }
            }
        }
        #expect(table.bindingCount == table.list(domain: nil, limit: .max).count)
        #expect(table.bindingCount > 1900)
        #expect(table.removeExpired(now: 100) > 0)
        #expect(table.bindingCount == 0)
    }
}
