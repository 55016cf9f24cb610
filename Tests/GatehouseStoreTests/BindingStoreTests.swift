import GatehousePolicy
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import GatehouseStore

private func binding(_ number: UInt64, expires: Int64 = 2_000) -> StoredBinding {
    StoredBinding(
        key: BindingKey(high: .max - number, low: number), domain: DomainKey(name: "a.example"),
        aor: Array("user\(number)@a.example".utf8), contact: Array("sips:user\(number)@phone\(number).example".utf8),
        session: Session(id: SessionID(number), arrival: .sips, expires: .max), facts: Array("transport=tls".utf8),
        expires: expires)
}

extension TemporaryFolder {
    fileprivate convenience init() { self.init(for: "store") }

    fileprivate func store(_ report: @escaping @Sendable (BindingStore.Event) -> Void = { _ in }) throws -> BindingStore
    {
        try BindingStore(directory: self.path + "/state", report: report)
    }
}

/// What a store told, in words.
private final class Events: Sendable {
    private let words = Mutex<[String]>([])

    var all: [String] { self.words.withLock { $0 } }

    func add(_ event: BindingStore.Event) {
        let word =
            switch event {
            case .failing: "failing"
            case .writesAgain: "writes again"
            case .restored(let path): "restored \(path.split(separator: "/").last ?? "")"
            case .unreadable: "unreadable"
            }
        self.words.withLock { $0.append(word) }
    }
}

/// Lets the store's thread go on until something holds; it has half a minute for that.
private func waitUntil(_ location: Testing.SourceLocation = #_sourceLocation, _ condition: () -> Bool) {
    let deadline = ContinuousClock.now + .seconds(30)
    while !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record("it does not come about", sourceLocation: location)
            return
        }
        usleep(1000)
    }
}

private func load(_ store: BindingStore, now: Int64 = 1_000) throws -> [StoredBinding] {
    var all: [StoredBinding] = []
    let count = try store.load(now: now) { all.append($0) }
    #expect(count == all.count)
    return all.sorted { $0.key.low < $1.key.low }
}

@Suite("BindingStore")
struct BindingStoreTests {
    @Test("what was set is there after a restart, whole, and what was removed is not")
    func roundTrip() throws {
        let directory = TemporaryFolder()
        let first = try directory.store()
        try first.start(now: 1_000)
        for number in 1...3 as ClosedRange<UInt64> { first.set(binding(number)) }
        first.remove(binding(2).key)
        first.stop()
        let second = try directory.store()
        #expect(try load(second) == [binding(1), binding(3)])
        try second.start(now: 1_000)
        second.remove(binding(1).key)
        var later = binding(3)
        later.expires = 3_000
        second.set(later)
        second.stop()
        #expect(try load(try directory.store()) == [later])
    }

    @Test("the facts of a registration are found, on disk and on the way there")
    func facts() throws {
        let directory = TemporaryFolder()
        let store = try directory.store()
        store.set(binding(1))
        #expect(store.facts(of: [binding(1).key, binding(2).key]) == [binding(1).key: Array("transport=tls".utf8)])
        try store.start(now: 1_000)
        store.stop()
        let second = try directory.store()
        #expect(second.facts(of: [binding(2).key, binding(1).key]) == [binding(1).key: Array("transport=tls".utf8)])
    }

    @Test("what has expired meanwhile is forgotten")
    func expiry() throws {
        let directory = TemporaryFolder()
        let store = try directory.store()
        try store.start(now: 1_000)
        store.set(binding(1, expires: 1_500))
        store.set(binding(2, expires: 1_501))
        store.stop()
        let later = try directory.store()
        #expect(try load(later, now: 1_500) == [binding(2, expires: 1_501)])
        try later.start(now: 1_500)
        later.stop()
        #expect(try load(try directory.store(), now: 0) == [binding(2, expires: 1_501)])
    }

    @Test("who loads hears first how many rows there are")
    func expectation() throws {
        let directory = TemporaryFolder()
        let store = try directory.store()
        try store.start(now: 1_000)
        for number in 1...3 as ClosedRange<UInt64> { store.set(binding(number)) }
        store.stop()
        var heard: [Int] = []
        _ = try directory.store().load(now: 1_000, expect: { heard.append($0) }) { _ in heard.append(0) }
        #expect(heard == [3, 0, 0, 0])
    }

    @Test("a directory that cannot be written is an error that names the file and the key")
    func unwritable() throws {
        do throws(StoreError) {
            _ = try BindingStore(directory: "/proc/nonexistent") { _ in }
            Issue.record("it was opened")
        } catch {
            #expect(error.description.contains("/proc/nonexistent/bindings.sqlite"))
            #expect(error.description.contains("edge.state_dir"))
        }
    }

    @Test("a file of a newer version is left alone")
    func newer() throws {
        let directory = TemporaryFolder()
        _ = try directory.store()
        let database = try Database(path: directory.path + "/state/bindings.sqlite")
        try database.run("PRAGMA user_version = 99")
        #expect(throws: StoreError.self) { _ = try directory.store() }
    }

    @Test("while the file cannot be written the changes wait, and then get there")
    func failure() throws {
        let directory = TemporaryFolder()
        let events = Events()
        let store = try directory.store { events.add($0) }
        // Another process in the middle of a long write.
        let other = try Database(path: directory.path + "/state/bindings.sqlite")
        try other.run("BEGIN IMMEDIATE")
        try store.start(now: 1_000)
        store.set(binding(1))
        store.set(binding(2))
        waitUntil { store.statistics.failures >= 2 }
        #expect(store.statistics.waiting == 2)
        store.remove(binding(2).key)
        try other.run("ROLLBACK")
        waitUntil { store.statistics.written == 2 }
        store.stop()
        #expect(events.all == ["failing", "writes again"])
        #expect(store.statistics.waiting == 0 && store.statistics.dropped == 0)
        #expect(try load(try directory.store()) == [binding(1)])
    }

    @Test("a file that is deleted or replaced is put back with all that it held", arguments: [false, true])
    func restored(isReplaced: Bool) throws {
        let directory = TemporaryFolder()
        let events = Events()
        let store = try directory.store { events.add($0) }
        let path = directory.path + "/state/bindings.sqlite"
        try store.start(now: 1_000)
        store.set(binding(1))
        store.set(binding(2))
        waitUntil { store.statistics.written == 2 }
        if isReplaced {
            let other = try Database(path: path + ".other")
            try other.run("CREATE TABLE other (number INTEGER)")
            #expect(rename(path + ".other", path) == 0)
        } else {
            #expect(unlink(path) == 0)
        }
        store.set(binding(3))
        store.remove(binding(2).key)
        waitUntil { store.statistics.written == 4 }
        #expect(store.facts(of: [binding(1).key]) == [binding(1).key: Array("transport=tls".utf8)])
        // And what comes after the copy gets into the new file's own journal.
        store.set(binding(4))
        waitUntil { store.statistics.written == 5 }
        #expect(events.all == ["restored bindings.sqlite"])
        let reader = try Database(path: path, isReader: true)
        let rows = try reader.prepare("SELECT count(*) FROM bindings")
        #expect(try rows.next() && rows.number(0) == 3)
        store.stop()
        #expect(try load(try directory.store()) == [binding(1), binding(3), binding(4)])
    }

    @Test("a folder that is deleted is made again, and a file in its place is waited out")
    func folder() throws {
        let directory = TemporaryFolder()
        let events = Events()
        let store = try directory.store { events.add($0) }
        let folder = directory.path + "/state"
        try store.start(now: 1_000)
        store.set(binding(1))
        waitUntil { store.statistics.written == 1 }
        #expect(rename(folder, folder + ".away") == 0)
        close(open(folder, O_CREAT | O_WRONLY, 0o600))
        store.set(binding(2))
        waitUntil { store.statistics.failures >= 2 }
        #expect(store.facts(of: [binding(1).key]).isEmpty, "it is on disk, but nobody knows where")
        #expect(unlink(folder) == 0)
        waitUntil { store.statistics.written == 2 }
        store.stop()
        #expect(events.all == ["failing", "unreadable", "restored bindings.sqlite", "writes again"])
        #expect(try load(try directory.store()) == [binding(1), binding(2)])
    }
}
