/// The INVITE client transaction of RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2: which copies of an INVITE
/// leave, and which of its responses are news.
///
///     calling ──1xx──▶ proceeding ──2xx──▶ accepted ──timer M──▶ terminated
///        ├──2xx──────────────┼────────────────▲                      ▲
///        ├──3xx-6xx──────────┴──3xx-6xx──▶ completed ──timer D───────┤
///        └──timer B, transport error─────────────────────────────────┘
///
/// The owner keeps the INVITE as sent, does what each event returns, and forgets the transaction once `isTerminated`. A
/// timer that fires late is ignored; which timers run is for the owner to remember.
public struct InviteClientTransaction: Sendable, Equatable {
    public enum Timer: UInt8, Sendable, CaseIterable {
        /// Another copy of the INVITE is due.
        case a
        /// No response came.
        case b
        /// No copy of a 3xx-6xx comes any more.
        case d
        /// No copy of a 2xx comes any more.
        case m
    }

    /// Send the INVITE and start these timers.
    public struct Start: Sendable, Equatable {
        /// Nil on a reliable transport.
        public var timerA: Duration?
        public var timerB: Duration

        @inlinable
        public init(timerA: Duration?, timerB: Duration) {
            self.timerA = timerA
            self.timerB = timerB
        }
    }

    public enum ResponseAction: Sendable, Equatable {
        /// Pass a 1xx up. With the first one stop timers A and B; from now on a CANCEL may be sent (RFC 3261 §9.1).
        case passProvisional(isFirst: Bool)
        /// Pass a 2xx up, stop timers A and B, start timer M.
        case passSuccess(timerM: Duration)
        /// Pass one more 2xx up: a copy, or another dialog of the same INVITE.
        case passRepeatedSuccess
        /// Send an ACK, pass a 3xx-6xx up, stop timers A and B, start timer D; nil: the transaction has ended.
        case passFailure(timerD: Duration?)
        /// Send the ACK again: the 3xx-6xx came again.
        case acknowledge
        case drop
    }

    public enum TimerAction: Sendable, Equatable {
        /// Send the INVITE again, start timer A.
        case resend(timerA: Duration)
        /// Nothing was heard: tell the response context; the transaction has ended.
        case timeout
        case end
        case ignore
    }

    public enum TransportAction: Sendable, Equatable {
        /// The INVITE cannot be sent: tell the response context; the transaction has ended.
        case fail
        /// An ACK cannot be sent; the transaction has ended, its response went up before.
        case end
        /// Nothing was being sent: a response may come by another connection.
        case ignore
    }

    @usableFromInline
    enum State: Sendable, Equatable {
        case calling(interval: Int32)
        case proceeding
        case completed
        case accepted
        case terminated
    }

    @usableFromInline var state: State
    @usableFromInline let isReliable: Bool
    @usableFromInline let timers: TimerValues

    @inlinable
    public init(isReliable: Bool, timers: TimerValues) {
        self.state = .calling(interval: timers.t1Milliseconds)
        self.isReliable = isReliable
        self.timers = timers
    }

    @inlinable public var isTerminated: Bool { self.state == .terminated }

    /// What to do with a new transaction.
    @inlinable
    public func start() -> Start {
        Start(timerA: self.isReliable ? nil : self.timers.t1, timerB: self.timers.timeout)
    }

    @inlinable
    public mutating func received(status: Int) -> ResponseAction {
        switch self.state {
        case .calling, .proceeding:
            if status < 200 {
                let isFirst = self.state != .proceeding
                self.state = .proceeding
                return .passProvisional(isFirst: isFirst)
            }
            if status < 300 {
                self.state = .accepted
                return .passSuccess(timerM: self.timers.timeout)
            }
            self.state = self.isReliable ? .terminated : .completed
            return .passFailure(timerD: self.isReliable ? nil : self.timers.timeout)
        case .completed:
            return status >= 300 ? .acknowledge : .drop
        case .accepted:
            return status >= 200 && status < 300 ? .passRepeatedSuccess : .drop
        case .terminated:
            return .drop
        }
    }

    @inlinable
    public mutating func timerFired(_ timer: Timer) -> TimerAction {
        switch (self.state, timer) {
        case (.calling(let interval), .a):
            // Timer A doubles without a cap (§17.1.1.2); timer B ends it after seven copies.
            let next = min(interval &* 2, self.timers.timeoutMilliseconds)
            self.state = .calling(interval: next)
            return .resend(timerA: .milliseconds(next))
        case (.calling, .b):
            self.state = .terminated
            return .timeout
        case (.completed, .d), (.accepted, .m):
            self.state = .terminated
            return .end
        case (.calling, .d), (.calling, .m), (.proceeding, _), (.completed, .a), (.completed, .b), (.completed, .m),
            (.accepted, .a), (.accepted, .b), (.accepted, .d), (.terminated, _):
            return .ignore
        }
    }

    /// The transport could not send the INVITE or the ACK (RFC 3261 §17.1.4).
    @inlinable
    public mutating func transportFailed() -> TransportAction {
        switch self.state {
        case .calling:
            self.state = .terminated
            return .fail
        case .completed:
            self.state = .terminated
            return .end
        case .proceeding, .accepted, .terminated:
            return .ignore
        }
    }
}
