internal import GatehousePolicy
internal import SIPMessage
import Synchronization

/// A registered contact (RFC 3261 §10) and the flow over which its device is reached (RFC 5626).
struct Binding: Sendable {
    var domain: DomainKey
    /// `user@host` of the address of record.
    var aor: [UInt8]
    var flow: FlowReference
    /// The device's own Contact URI.
    var contact: [UInt8]
    /// The tag of the registration: the arrival facts stay with the binding.
    var session: Session
    /// Nanoseconds of the worker's clock.
    var deadline: UInt64
}

/// The bindings of all domains, shared by the workers: one of the few shared things (docs/architecture.md).
///
/// A shard's lock is held for one look-up and never across a call. The number of bindings is bounded (`edge.limits.bindings`).
final class BindingTable: Sendable {
    private typealias Shard = [BindingKey: Binding]

    private let shards: [ShardBox]
    private let count = Atomic<Int>(0)
    private let limit: Atomic<Int>

    private final class ShardBox: Sendable {
        let shard = Mutex([BindingKey: Binding]())
    }

    init(limit: Int) {
        self.limit = Atomic(limit)
        self.shards = (0..<64).map { _ in ShardBox() }
    }

    private struct AddressOfRecord: Hashable {
        var domain: DomainKey
        var aor: [UInt8]
    }

    /// The bindings of each address of record.
    private let addresses: [AddressBox] = (0..<64).map { _ in AddressBox() }

    private final class AddressBox: Sendable {
        let keys = Mutex<[AddressOfRecord: [BindingKey]]>([:])
    }

    private func box(of address: AddressOfRecord) -> AddressBox { self.addresses[Int(truncatingIfNeeded: address.hashValue & 63)] }

    private func index(_ binding: Binding, _ key: BindingKey) {
        let address = AddressOfRecord(domain: binding.domain, aor: binding.aor)
        self.box(of: address).keys.withLock { $0[address, default: []].append(key) }
    }

    private func unindex(_ binding: Binding, _ key: BindingKey) {
        let address = AddressOfRecord(domain: binding.domain, aor: binding.aor)
        self.box(of: address).keys.withLock { keys in
            guard var left = keys[address] else { return }
            left.removeAll { $0 == key }
            keys[address] = left.isEmpty ? nil : left
        }
    }

    func setLimit(_ limit: Int) {
        self.limit.store(limit, ordering: .relaxed)
    }

    var bindingCount: Int { self.count.load(ordering: .relaxed) }

    private func shard(of key: BindingKey) -> ShardBox {
        self.shards[Int(truncatingIfNeeded: key.low & 63)]
    }

    /// The binding of this name that has not expired.
    func binding(_ key: BindingKey, now: UInt64) -> Binding? {
        self.shard(of: key).shard.withLock { shard in
            guard let binding = shard[key], binding.deadline > now else { return nil }
            return binding
        }
    }

    /// Makes or refreshes a binding. False where the table is full and the binding is new.
    func set(_ binding: Binding, for key: BindingKey) -> Bool {
        let (isKept, old) = self.shard(of: key).shard.withLock { shard -> (Bool, Binding?) in
            if shard[key] == nil {
                guard self.count.load(ordering: .relaxed) < self.limit.load(ordering: .relaxed) else {
                    return (false, nil)
                }
                self.count.wrappingAdd(1, ordering: .relaxed)
            }
            return (true, shard.updateValue(binding, forKey: key))
        }
        guard isKept else { return false }
        if let old {
            guard old.aor != binding.aor || old.domain != binding.domain else { return true }
            self.unindex(old, key)
        }
        self.index(binding, key)
        return true
    }

    /// The binding of an address of record that lasts longest, by the index of addresses.
    func newest(of aor: [UInt8], domain: DomainKey, now: UInt64) -> Binding? {
        let address = AddressOfRecord(domain: domain, aor: aor)
        let keys = self.box(of: address).keys.withLock { $0[address] ?? [] }
        return keys.compactMap { self.binding($0, now: now) }.max { $0.deadline < $1.deadline }
    }

    /// Ends a binding. True if there was one.
    @discardableResult
    func remove(_ key: BindingKey) -> Bool {
        guard let old = self.shard(of: key).shard.withLock({ $0.removeValue(forKey: key) }) else { return false }
        self.count.wrappingSubtract(1, ordering: .relaxed)
        self.unindex(old, key)
        return true
    }

    /// Ends every binding whose time is over; returns how many. Called from a slow timer, a shard at a time.
    func removeExpired(now: UInt64) -> Int {
        var removed = 0
        for box in self.shards {
            let expired = box.shard.withLock { shard in
                let expired = shard.filter { $0.value.deadline <= now }
                for key in expired.keys { shard[key] = nil }
                return expired
            }
            removed += expired.count
            for (key, binding) in expired { self.unindex(binding, key) }
        }
        self.count.wrappingSubtract(removed, ordering: .relaxed)
        return removed
    }

    /// A copy of the bindings of a domain, or of all, for the admin endpoint; at most `limit` of them.
    func list(domain: DomainKey?, limit: Int) -> [Binding] {
        var list: [Binding] = []
        for box in self.shards where list.count < limit {
            box.shard.withLock { shard in
                for binding in shard.values where domain == nil || binding.domain == domain {
                    guard list.count < limit else { break }
                    list.append(binding)
                }
            }
        }
        return list
    }

    /// How many bindings a domain has, by looking at all.
    func count(of domain: DomainKey) -> Int {
        self.shards.reduce(0) { sum, box in
            sum + box.shard.withLock { shard in shard.values.count(where: { $0.domain == domain }) }
        }
    }
}
