import Synchronization

/// Counts events in whole seconds, from any thread and without a lock.
///
/// The window is fixed, not sliding: across the border of two seconds up to twice the limit passes, which a limit against
/// floods can afford and a sliding window would pay for on every message.
final class RateMeter: Sendable {
    /// The second in the high half, the events seen in it in the low half.
    private let state = Atomic<UInt64>(0)

    /// Counts one event at `now`; false where `limit` events of this second came before it.
    ///
    /// - Parameters:
    ///   - now: nanoseconds of a clock that does not go back.
    ///   - limit: events a second; nil: no limit.
    func allows(now: UInt64, limit: Int?) -> Bool {
        guard let limit else { return true }
        let second = now / 1_000_000_000 & 0xFFFF_FFFF
        var old = self.state.load(ordering: .relaxed)
        while true {
            let count = old >> 32 == second ? old & 0xFFFF_FFFF : 0
            guard count < UInt64(clamping: limit) else { return false }
            let (exchanged, current) = self.state.weakCompareExchange(
                expected: old, desired: second << 32 | (count &+ 1), ordering: .relaxed)
            if exchanged { return true }
            old = current
        }
    }
}
