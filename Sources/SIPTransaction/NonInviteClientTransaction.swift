/// The non-INVITE client transaction of RFC 3261 §17.1.2: which copies of a request leave, and which of its responses are
/// news.
///
///     trying ──1xx──▶ proceeding ──2xx-6xx──▶ completed ──timer K──▶ terminated
///        ├──2xx-6xx───────┼──────────────────────▲                       ▲
///        └────────────────┴──timer F, transport error────────────────────┘
///
/// The owner keeps the request as sent, does what each event returns, and forgets the transaction once `isTerminated`.
public struct NonInviteClientTransaction: Sendable, Equatable {
    public enum Timer: UInt8, Sendable, CaseIterable {
        /// Another copy of the request is due.
        case e
        /// No final response came.
        case f
        /// No copy of the final response comes any more.
        case k
    }

    /// Send the request and start these timers.
    public struct Start: Sendable, Equatable {
        /// Nil on a reliable transport.
        public var timerE: Duration?
        public var timerF: Duration

        @inlinable
        public init(timerE: Duration?, timerF: Duration) {
            self.timerE = timerE
            self.timerF = timerF
        }
    }

    public enum ResponseAction: Sendable, Equatable {
        /// Tell the response context of a 1xx, which may not pass it on (RFC 4320 §4.1).
        case passProvisional
        /// Pass a final response up, stop timers E and F, start timer K; nil: the transaction has ended.
        case passFinal(timerK: Duration?)
        case drop
    }

    public enum TimerAction: Sendable, Equatable {
        /// Send the request again, start timer E.
        case resend(timerE: Duration)
        /// No final response came: tell the response context; the transaction has ended.
        case timeout
        case end
        case ignore
    }

    public enum TransportAction: Sendable, Equatable {
        /// The request cannot be sent: tell the response context; the transaction has ended.
        case fail
        case ignore
    }

    @usableFromInline
    enum State: Sendable, Equatable {
        case trying(interval: Int32)
        case proceeding
        case completed
        case terminated
    }

    @usableFromInline var state: State
    @usableFromInline let isReliable: Bool
    @usableFromInline let timers: TimerValues

    @inlinable
    public init(isReliable: Bool, timers: TimerValues) {
        self.state = .trying(interval: timers.t1Milliseconds)
        self.isReliable = isReliable
        self.timers = timers
    }

    @inlinable public var isTerminated: Bool { self.state == .terminated }

    /// What to do with a new transaction.
    @inlinable
    public func start() -> Start {
        Start(timerE: self.isReliable ? nil : self.timers.t1, timerF: self.timers.timeout)
    }

    @inlinable
    public mutating func received(status: Int) -> ResponseAction {
        switch self.state {
        case .trying, .proceeding:
            if status < 200 {
                self.state = .proceeding
                return .passProvisional
            }
            self.state = self.isReliable ? .terminated : .completed
            return .passFinal(timerK: self.isReliable ? nil : self.timers.t4)
        case .completed, .terminated:
            return .drop
        }
    }

    @inlinable
    public mutating func timerFired(_ timer: Timer) -> TimerAction {
        switch (self.state, timer) {
        case (.trying(let interval), .e):
            guard !self.isReliable else { return .ignore }
            let next = self.timers.doubled(interval)
            self.state = .trying(interval: next)
            return .resend(timerE: .milliseconds(next))
        case (.proceeding, .e):
            return self.isReliable ? .ignore : .resend(timerE: self.timers.t2)
        case (.trying, .f), (.proceeding, .f):
            self.state = .terminated
            return .timeout
        case (.completed, .k):
            self.state = .terminated
            return .end
        case (.trying, .k), (.proceeding, .k), (.completed, .e), (.completed, .f), (.terminated, _):
            return .ignore
        }
    }

    /// The transport could not send the request (RFC 3261 §17.1.4).
    @inlinable
    public mutating func transportFailed() -> TransportAction {
        switch self.state {
        case .trying, .proceeding:
            self.state = .terminated
            return .fail
        case .completed, .terminated:
            return .ignore
        }
    }
}
