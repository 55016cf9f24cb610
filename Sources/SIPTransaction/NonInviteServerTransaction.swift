/// The non-INVITE server transaction of RFC 3261 §17.2.2 as RFC 4320 restricts it: which responses leave, and which copies
/// of the request end here.
///
///     trying ──100──▶ proceeding ──2xx-6xx──▶ completed ──timer J──▶ terminated
///        ├──2xx-6xx───────┼──────────────────────▲                       ▲
///        └────────────────┴──transport error, abandon────────────────────┘
///
/// The only provisional response is the 100 of `timerFired(.trying)`; its owner makes it, keeps the latest response as
/// sent, does what each event returns, and forgets the transaction once `isTerminated`.
public struct NonInviteServerTransaction: Sendable, Equatable {
    public enum Timer: UInt8, Sendable, CaseIterable {
        /// The client's timer E has reached T2: a 100 is due (RFC 4320 §4.1).
        case trying
        /// No copy of the answered request comes any more.
        case j
    }

    public enum RequestAction: Sendable, Equatable {
        /// Send the latest response again.
        case resend
        case absorb
    }

    public enum ResponseAction: Sendable, Equatable {
        /// Send the final response, keep it as the latest, stop the timer `trying`, start timer J; nil: the transaction
        /// has ended.
        case sendFinal(timerJ: Duration?)
        case drop
    }

    public enum TimerAction: Sendable, Equatable {
        /// Send a 100 and keep it as the latest response.
        case sendTrying
        case end
        case ignore
    }

    @usableFromInline
    enum State: Sendable, Equatable {
        case trying
        case proceeding
        case completed
        case terminated
    }

    @usableFromInline var state = State.trying
    @usableFromInline let isReliable: Bool
    @usableFromInline let timers: TimerValues

    /// A transaction for a request that matched none.
    @inlinable
    public init(isReliable: Bool, timers: TimerValues) {
        self.isReliable = isReliable
        self.timers = timers
    }

    @inlinable public var isTerminated: Bool { self.state == .terminated }

    /// When the timer `trying` of a new transaction fires: the owner starts it at once.
    @inlinable public func start() -> Duration { self.timers.trying }

    @inlinable
    public func receivedRetransmission() -> RequestAction {
        switch self.state {
        case .proceeding, .completed: .resend
        case .trying, .terminated: .absorb
        }
    }

    /// A 1xx is never sent (RFC 4320 §4.1), nor a final response once there was one or the transaction has ended (§4.2).
    @inlinable
    public mutating func respond(status: Int) -> ResponseAction {
        switch self.state {
        case .trying, .proceeding:
            guard status >= 200 else { return .drop }
            self.state = self.isReliable ? .terminated : .completed
            return .sendFinal(timerJ: self.isReliable ? nil : self.timers.timeout)
        case .completed, .terminated:
            return .drop
        }
    }

    @inlinable
    public mutating func timerFired(_ timer: Timer) -> TimerAction {
        switch (self.state, timer) {
        case (.trying, .trying):
            self.state = .proceeding
            return .sendTrying
        case (.completed, .j):
            self.state = .terminated
            return .end
        case (.trying, .j), (.proceeding, _), (.completed, .trying), (.terminated, _):
            return .ignore
        }
    }

    /// A response could not be sent (RFC 3261 §17.2.4).
    /// - Returns: whether that ended the transaction.
    @inlinable
    public mutating func transportFailed() -> Bool {
        switch self.state {
        case .proceeding, .completed:
            self.state = .terminated
            return true
        case .trying, .terminated:
            return false
        }
    }

    /// Ends the transaction without a response: every branch timed out, and a 408 may not be sent (RFC 4320 §4.2).
    @inlinable
    public mutating func abandon() {
        self.state = .terminated
    }
}
