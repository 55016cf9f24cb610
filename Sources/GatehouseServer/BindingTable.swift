internal import GatehousePolicy
internal import SIPMessage
import Synchronization

/// A registered contact (RFC 3261 §10) and the flow over which its device is reached (RFC 5626).
struct Binding: Sendable {
    var domain: DomainKey
    var flow: FlowReference
    /// The tag of the registration: the arrival facts stay with the binding.
    var session: Session
    /// Nanoseconds of the worker's clock.
    var deadline: UInt64
    /// Another binding of the same address of record, or of one that shares its place in the index.
    fileprivate var next: BindingKey?
    /// Address of record and contact in one piece: a million bindings are counted in bytes.
    private let text: [UInt8]
    private let aorCount: UInt32

    init(
        domain: DomainKey, aor: [UInt8], flow: FlowReference, contact: [UInt8], session: Session, deadline: UInt64
    ) {
        self.domain = domain
        self.flow = flow
        self.session = session
        self.deadline = deadline
        self.text = aor + contact
        self.aorCount = UInt32(clamping: aor.count)
    }

    /// `user@host` of the address of record.
    var aor: [UInt8] { Array(self.text.prefix(Int(self.aorCount))) }
    /// The device's own Contact URI.
    var contact: [UInt8] { Array(self.text.dropFirst(Int(self.aorCount))) }

    func isBinding(of aor: [UInt8], domain: DomainKey) -> Bool {
        self.domain == domain && Int(self.aorCount) == aor.count && self.text.starts(with: aor)
    }

    /// Where the address of record stands in the index.
    fileprivate static func place(of aor: ArraySlice<UInt8>, domain: DomainKey) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(domain)
        aor.withUnsafeBytes { hasher.combine(bytes: $0) }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    fileprivate var place: UInt64 { Self.place(of: self.text.prefix(Int(self.aorCount)), domain: self.domain) }
}

/// A device whose REGISTER the core has not answered yet.
private struct Proposal {
    var binding: Binding
    /// The REGISTERs under way.
    var count = 1
    /// Whether two connections want the name.
    var isContested = false
}

/// The bindings of all domains, shared by the workers: one of the few shared things (docs/architecture.md).
///
/// A shard's lock is held for one look-up and never across a call. The number of bindings is bounded (`edge.limits.bindings`).
final class BindingTable: Sendable {
    private typealias Shard = [BindingKey: Binding]

    private final class ShardBox: Sendable {
        let shard = Mutex([BindingKey: Binding]())
        /// Each is settled when the REGISTER that made it ends, so transactions bound their number.
        let proposals = Mutex([BindingKey: Proposal]())
    }

    /// The first binding of each address of record; the others follow by `next`.
    private final class IndexBox: Sendable {
        let first = Mutex([UInt64: BindingKey]())
    }

    private let shards: [ShardBox]
    private let index: [IndexBox]
    private let count = Atomic<Int>(0)
    private let limit: Atomic<Int>
    private let domainCounts = Mutex<[DomainKey: Int]>([:])

    static let shardCount = 64

    init(limit: Int) {
        self.limit = Atomic(limit)
        self.shards = (0..<Self.shardCount).map { _ in ShardBox() }
        self.index = (0..<Self.shardCount).map { _ in IndexBox() }
    }

    func setLimit(_ limit: Int) {
        self.limit.store(limit, ordering: .relaxed)
    }

    var bindingCount: Int { self.count.load(ordering: .relaxed) }

    private func shard(of key: BindingKey) -> ShardBox {
        self.shards[Int(truncatingIfNeeded: key.low & 63)]
    }

    private func index(of place: UInt64) -> IndexBox {
        self.index[Int(truncatingIfNeeded: place & 63)]
    }

    /// Makes room for so many bindings, as far as the limit allows.
    func reserve(_ count: Int) {
        let count = min(max(count, 0), self.limit.load(ordering: .relaxed))
        for box in self.shards { box.shard.withLock { $0.reserveCapacity(count / Self.shardCount) } }
        for box in self.index { box.first.withLock { $0.reserveCapacity(count / Self.shardCount) } }
    }

    /// Where a request of the core's for this name goes: the binding, else, for the OPTIONS and NOTIFY with which a core greets
    /// a contact, the device that proposes itself. No call and no message goes to one that has not shown who it is.
    func device(_ key: BindingKey, now: UInt64, for method: Method) -> Binding? {
        if let binding = self.binding(key, now: now) { return binding }
        guard method == .options || method == .notify else { return nil }
        return self.shard(of: key).proposals.withLock { proposals in
            guard let proposal = proposals[key], !proposal.isContested, proposal.binding.deadline > now else {
                return nil
            }
            return proposal.binding
        }
    }

    /// The binding of this name that has not expired.
    func binding(_ key: BindingKey, now: UInt64) -> Binding? {
        self.shard(of: key).shard.withLock { shard in
            guard let binding = shard[key], binding.deadline > now else { return nil }
            return binding
        }
    }

    /// Lets a device be reached under a name that no binding has, as long as the core has not answered its REGISTER: a core
    /// that has taken the contact may ask for the device first (PBX-14). Where two connections want the name, neither has it.
    ///
    /// - Returns: whether there is a proposal, which `settle` has to end.
    func propose(_ binding: Binding, for key: BindingKey, now: UInt64) -> Bool {
        guard self.binding(key, now: now) == nil else { return false }
        self.shard(of: key).proposals.withLock { proposals in
            guard var proposal = proposals[key] else { return proposals[key] = Proposal(binding: binding) }
            proposal.count &+= 1
            if proposal.binding.flow == binding.flow {
                proposal.binding = binding
            } else {
                proposal.isContested = true
            }
            proposals[key] = proposal
        }
        return true
    }

    /// Ends a proposal, once the core has answered or never will.
    func settle(_ key: BindingKey) {
        self.shard(of: key).proposals.withLock { proposals in
            guard var proposal = proposals[key] else { return }
            proposal.count &-= 1
            proposals[key] = proposal.count > 0 ? proposal : nil
        }
    }

    /// The binding of an address of record that lasts longest.
    func newest(of aor: [UInt8], domain: DomainKey, now: UInt64) -> Binding? {
        let place = Binding.place(of: aor[...], domain: domain)
        return self.index(of: place).first.withLock { first in
            var newest: Binding?
            var key = first[place]
            while let current = key {
                guard let binding = self.shard(of: current).shard.withLock({ $0[current] }) else { break }
                if binding.deadline > now, binding.isBinding(of: aor, domain: domain),
                    binding.deadline > newest?.deadline ?? 0
                {
                    newest = binding
                }
                key = binding.next
            }
            return newest
        }
    }

    /// Makes or refreshes a binding. False where the table is full and the binding is new.
    func set(_ binding: Binding, for key: BindingKey) -> Bool {
        let place = binding.place
        return self.index(of: place).first.withLock { first in
            let isNew: Bool? = self.shard(of: key).shard.withLock { shard in
                var binding = binding
                if let old = shard[key] {
                    // A key is made of its address of record, so it never moves to another.
                    binding.next = old.next
                    shard[key] = binding
                    return false
                }
                guard self.count.load(ordering: .relaxed) < self.limit.load(ordering: .relaxed) else { return nil }
                self.count.wrappingAdd(1, ordering: .relaxed)
                binding.next = first[place]
                shard[key] = binding
                return true
            }
            guard let isNew else { return false }
            if isNew {
                first[place] = key
                self.domainCounts.withLock { $0[binding.domain, default: 0] += 1 }
            }
            return true
        }
    }

    /// Ends a binding. True if there was one.
    @discardableResult
    func remove(_ key: BindingKey) -> Bool {
        guard let place = self.shard(of: key).shard.withLock({ $0[key]?.place }) else { return false }
        return self.index(of: place).first.withLock { first in
            guard let old = self.shard(of: key).shard.withLock({ $0.removeValue(forKey: key) }) else { return false }
            self.unlink(key, old, place, &first)
            self.count.wrappingSubtract(1, ordering: .relaxed)
            self.domainCounts.withLock { counts in
                counts[old.domain, default: 1] -= 1
                if counts[old.domain] == 0 { counts[old.domain] = nil }
            }
            return true
        }
    }

    private func unlink(_ key: BindingKey, _ old: Binding, _ place: UInt64, _ first: inout [UInt64: BindingKey]) {
        guard first[place] != key else {
            first[place] = old.next
            return
        }
        var before = first[place]
        while let current = before {
            before = self.shard(of: current).shard.withLock { shard -> BindingKey? in
                guard shard[current]?.next == key else { return shard[current]?.next }
                shard[current]?.next = old.next
                return nil
            }
        }
    }

    /// Ends every binding of one shard whose time is over; returns how many. Called from a slow timer, a shard at a time, so
    /// that a million bindings hold no call up.
    ///
    /// - Parameter shard: 0 to `shardCount` - 1.
    func removeExpired(now: UInt64, shard: Int) -> [BindingKey] {
        let expired = self.shards[shard & 63].shard.withLock { shard in
            shard.compactMap { $0.value.deadline <= now ? $0.key : nil }
        }
        for key in expired { self.remove(key) }
        return expired
    }

    /// A copy of the bindings of a domain, or of all, for the admin endpoint; at most `limit` of them.
    func list(domain: DomainKey?, limit: Int) -> [(key: BindingKey, binding: Binding)] {
        var list: [(key: BindingKey, binding: Binding)] = []
        for box in self.shards where list.count < limit {
            box.shard.withLock { shard in
                for (key, binding) in shard where domain == nil || binding.domain == domain {
                    guard list.count < limit else { break }
                    list.append((key, binding))
                }
            }
        }
        return list
    }

    /// How many bindings a domain has.
    func count(of domain: DomainKey) -> Int {
        self.domainCounts.withLock { $0[domain] ?? 0 }
    }
}
