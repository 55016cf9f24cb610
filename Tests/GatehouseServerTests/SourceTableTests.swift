import Dispatch
import SIPMessage
import Synchronization
import Testing

@testable import GatehouseServer

private let address = IPAddress(v4: 0xC000_0201)

@Suite("SourceTable")
struct SourceTableTests {
    @Test("an address has no more connections to a domain than the limit")
    func limit() {
        let table = SourceTable()
        #expect(table.enter(address, domain: 1, limit: 2) != nil)
        #expect(table.enter(address, domain: 1, limit: 2) != nil)
        #expect(table.enter(address, domain: 1, limit: 2) == nil)
        #expect(table.enter(address, domain: 2, limit: 2) != nil)
        #expect(table.enter(IPAddress(v4: 1), domain: 1, limit: 2) != nil)
        table.leave(address, domain: 1)
        #expect(table.enter(address, domain: 1, limit: 2) != nil)
        #expect(table.enter(address, domain: 1, limit: nil) != nil)
    }

    @Test("the connections of an address share one entry, which goes with the last")
    func entries() {
        let table = SourceTable()
        let first = table.enter(address, domain: 1, limit: nil)
        #expect(table.enter(address, domain: 1, limit: nil) === first)
        #expect(table.count == 1)
        table.leave(address, domain: 1)
        #expect(table.count == 1)
        table.leave(address, domain: 1)
        #expect(table.count == 0)
        table.leave(address, domain: 1)
        #expect(table.enter(address, domain: 1, limit: nil) !== first)
    }

    @Test("UDP peers of an address share its entry, and take no place of its connections")
    func datagrams() {
        let table = SourceTable()
        let peer = table.enterDatagrams(address, domain: 1)
        for _ in 0..<10 { #expect(table.enterDatagrams(address, domain: 1) === peer) }
        #expect(table.enter(address, domain: 1, limit: 1) === peer)
        #expect(table.enter(address, domain: 1, limit: 1) == nil)
        for _ in 0..<11 { table.leaveDatagrams(address, domain: 1) }
        #expect(table.count == 1)
        table.leave(address, domain: 1)
        #expect(table.count == 0)
    }

    @Test("a refused address leaves nothing behind")
    func refused() {
        let table = SourceTable()
        #expect(table.enter(address, domain: 1, limit: 0) == nil)
        #expect(table.count == 0)
    }

    @Test("threads that come and go get no more places than there are, and leave an empty table")
    func concurrent() {
        let table = SourceTable()
        let inside = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for _ in 0..<1000 where table.enter(address, domain: 1, limit: 3) != nil {
                let now = inside.wrappingAdd(1, ordering: .relaxed).newValue
                most.max(now, ordering: .relaxed)
                inside.wrappingSubtract(1, ordering: .relaxed)
                table.leave(address, domain: 1)
            }
        }
        #expect(1...3 ~= most.load(ordering: .relaxed))
        #expect(table.count == 0)
    }
}
