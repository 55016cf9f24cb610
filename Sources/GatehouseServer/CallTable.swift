import Synchronization

/// The calls of all domains that are set up or being set up: what `limits.calls` bounds and draining waits for.
///
/// A call is known by a hash of its Call-ID. It enters with its INVITE and leaves with a final answer other than 2xx, with
/// a BYE, or after `lifetime` without either (a phone that lost its network says no BYE).
final class CallTable: Sendable {
    private struct Call {
        /// Its domain's; the domain may be gone when the call ends.
        var counter: CallCounter
        var deadline: UInt64
    }

    private struct Shard {
        var calls: [UInt64: Call] = [:]
    }

    private final class ShardBox: Sendable {
        let shard = Mutex(Shard())
    }

    /// How long a call is counted that nobody ends: 12 hours, in nanoseconds.
    static let lifetime: UInt64 = 12 * 3600 * 1_000_000_000

    private let shards: [ShardBox] = (0..<32).map { _ in ShardBox() }
    private let total = Atomic<Int>(0)

    var count: Int { self.total.load(ordering: .relaxed) }

    private func box(_ call: UInt64) -> ShardBox { self.shards[Int(truncatingIfNeeded: call & 31)] }

    /// Counts a new call into `counter`; false where the domain has `limit` of them. The same call again changes nothing.
    func begin(_ call: UInt64, counter: CallCounter, limit: Int?, now: UInt64) -> Bool {
        self.box(call).shard.withLock { shard in
            if shard.calls[call] != nil { return true }
            guard counter.count.load(ordering: .relaxed) < limit ?? .max else { return false }
            counter.count.wrappingAdd(1, ordering: .relaxed)
            self.total.wrappingAdd(1, ordering: .relaxed)
            shard.calls[call] = Call(counter: counter, deadline: now &+ Self.lifetime)
            return true
        }
    }

    /// Ends a call; nothing happens where it is not known.
    func end(_ call: UInt64) {
        let ended = self.box(call).shard.withLock { shard in shard.calls.removeValue(forKey: call) }
        guard let ended else { return }
        self.total.wrappingSubtract(1, ordering: .relaxed)
        ended.counter.count.wrappingSubtract(1, ordering: .relaxed)
    }

    /// Ends the calls whose lifetime is over.
    func removeExpired(now: UInt64) {
        for box in self.shards {
            let expired = box.shard.withLock { shard in
                let expired = shard.calls.filter { $0.value.deadline <= now }
                for call in expired.keys { shard.calls[call] = nil }
                return expired
            }
            for call in expired.values {
                self.total.wrappingSubtract(1, ordering: .relaxed)
                call.counter.count.wrappingSubtract(1, ordering: .relaxed)
            }
        }
    }
}

/// The calls of one domain now. It outlives a reload, as the calls do.
final class CallCounter: Sendable {
    let count = Atomic<Int>(0)
}
