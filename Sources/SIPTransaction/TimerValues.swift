/// The timers of a transaction (RFC 3261 Table 4, RFC 6026 §7), all from four values.
///
/// Kept in whole milliseconds, so that a machine that holds them stays small. A value under 1 ms counts as 1 ms, one over
/// `longest` as `longest`; so no multiple of one overflows.
public struct TimerValues: Sendable, Equatable {
    /// 9 hours, so that 64·T1 in milliseconds fits 32 bits.
    public static let longest = Duration.seconds(32_400)

    @usableFromInline let t1Milliseconds: Int32
    @usableFromInline let t2Milliseconds: Int32
    @usableFromInline let t4Milliseconds: Int32
    @usableFromInline let timerCMilliseconds: Int32

    /// - Parameters:
    ///   - t1: the estimate of a round trip (RFC 3261 §17.1.1.1).
    ///   - t2: the longest interval between copies of a non-INVITE request or of an INVITE's response.
    ///   - t4: how long a message may stay in the network.
    ///   - timerC: how long a forwarded INVITE may ring without news; more than 3 minutes (RFC 3261 §16.6 item 11).
    public init(
        t1: Duration = .milliseconds(500), t2: Duration = .seconds(4), t4: Duration = .seconds(5),
        timerC: Duration = .seconds(185)
    ) {
        self.t1Milliseconds = Self.milliseconds(t1)
        self.t2Milliseconds = Self.milliseconds(t2)
        self.t4Milliseconds = Self.milliseconds(t4)
        self.timerCMilliseconds = Self.milliseconds(timerC)
    }

    /// The estimate of a round trip.
    @inlinable public var t1: Duration { .milliseconds(self.t1Milliseconds) }
    /// The longest interval between copies.
    @inlinable public var t2: Duration { .milliseconds(self.t2Milliseconds) }
    /// How long a message may stay in the network.
    @inlinable public var t4: Duration { .milliseconds(self.t4Milliseconds) }
    /// How long a forwarded INVITE may ring without news.
    @inlinable public var timerC: Duration { .milliseconds(self.timerCMilliseconds) }

    /// 64·T1: timers B, D, F, H, J, L and M, and how long a cancelled branch may stay silent (RFC 3261 §9.1).
    ///
    /// Timer D is "at least 32 s" on UDP, which is 64·T1 unless T1 was made shorter.
    @inlinable public var timeout: Duration { .milliseconds(self.timeoutMilliseconds) }

    @inlinable var timeoutMilliseconds: Int32 { self.t1Milliseconds &* 64 }

    /// When a non-INVITE request that still has no answer gets a 100: when the client's timer E reaches T2, 3.5 s by
    /// default (RFC 4320 §4.1).
    @inlinable public var trying: Duration {
        var interval = self.t1Milliseconds
        var elapsed = interval
        while interval &* 2 < self.t2Milliseconds {
            interval &*= 2
            elapsed &+= interval
        }
        return .milliseconds(elapsed)
    }

    /// The interval after `milliseconds` of timers E and G: twice as long, up to T2.
    @inlinable func doubled(_ milliseconds: Int32) -> Int32 {
        min(milliseconds &* 2, self.t2Milliseconds)
    }

    private static func milliseconds(_ duration: Duration) -> Int32 {
        let (seconds, attoseconds) = min(duration, Self.longest).components
        guard seconds >= 0, attoseconds >= 0 else { return 1 }
        return max(1, Int32(truncatingIfNeeded: seconds &* 1000 &+ attoseconds / 1_000_000_000_000_000))
    }
}
