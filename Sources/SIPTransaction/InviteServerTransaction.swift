/// The INVITE server transaction of RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1: which responses leave, and
/// which copies of the INVITE and which ACKs end here.
///
///     proceeding ──3xx-6xx──▶ completed ──ACK──▶ confirmed ──timer I──▶ terminated
///        │                        └──timer H────────────────────────────────▲
///        └──2xx──▶ accepted ──timer L───────────────────────────────────────┘
///
/// The owner keeps the latest response as sent, does what each event returns, and forgets the transaction once
/// `isTerminated`. Its first act is `respond(status: 100)`, which stops the client's copies (within 200 ms).
///
/// A transport error is no event: the state is kept, so that copies of the INVITE still end here (RFC 6026 §6, §8.8).
public struct InviteServerTransaction: Sendable, Equatable {
    public enum Timer: UInt8, Sendable, CaseIterable {
        /// Another copy of the 3xx-6xx is due.
        case g
        /// No ACK came.
        case h
        /// No copy of the ACK comes any more.
        case i
        /// No copy of the accepted INVITE comes any more.
        case l
    }

    public enum RequestAction: Sendable, Equatable {
        /// Send the latest response again.
        case resend
        case absorb
    }

    public enum ACKAction: Sendable, Equatable {
        /// Stop timers G and H, start timer I; nil: the transaction has ended.
        case confirm(timerI: Duration?)
        case absorb
        /// The ACK is not of this transaction though it has its branch: treat it as the ACK to a 2xx (RFC 6026 §7.1).
        case passUp
    }

    public enum ResponseAction: Sendable, Equatable {
        /// Send a 1xx, and keep it as the latest response.
        case send
        /// Send a 2xx. Start timer L with the first one; nil with further ones. It is not kept: nothing resends it.
        case sendSuccess(timerL: Duration?)
        /// Send a 3xx-6xx, keep it as the latest response, start timer H, and G unless it is nil (reliable transport).
        case sendFailure(timerG: Duration?, timerH: Duration)
        /// A 2xx after the transaction's end: send it by the same transport, without state (RFC 3261 §16.7 item 9).
        case sendStatelessly
        case drop
    }

    public enum TimerAction: Sendable, Equatable {
        /// Send the latest response again, start timer G.
        case resend(timerG: Duration)
        /// The ACK never came; the transaction has ended.
        case timeout
        case end
        case ignore
    }

    @usableFromInline
    enum State: Sendable, Equatable {
        case proceeding(hasResponse: Bool)
        case completed(interval: Int32)
        case confirmed
        case accepted
        case terminated
    }

    @usableFromInline var state: State
    @usableFromInline let isReliable: Bool
    @usableFromInline let timers: TimerValues

    /// A transaction for an INVITE that matched none.
    @inlinable
    public init(isReliable: Bool, timers: TimerValues) {
        self.state = .proceeding(hasResponse: false)
        self.isReliable = isReliable
        self.timers = timers
    }

    @inlinable public var isTerminated: Bool { self.state == .terminated }

    /// Whether a CANCEL still has something to cancel here (RFC 3261 §9.2).
    @inlinable public var isPending: Bool {
        switch self.state {
        case .proceeding: true
        case .completed, .confirmed, .accepted, .terminated: false
        }
    }

    @inlinable
    public func receivedRetransmission() -> RequestAction {
        switch self.state {
        case .proceeding(let hasResponse): hasResponse ? .resend : .absorb
        case .completed: .resend
        case .confirmed, .accepted, .terminated: .absorb
        }
    }

    @inlinable
    public mutating func receivedACK() -> ACKAction {
        switch self.state {
        case .completed:
            self.state = self.isReliable ? .terminated : .confirmed
            return .confirm(timerI: self.isReliable ? nil : self.timers.t4)
        case .proceeding, .confirmed:
            return .absorb
        case .accepted, .terminated:
            return .passUp
        }
    }

    @inlinable
    public mutating func respond(status: Int) -> ResponseAction {
        let isSuccess = status >= 200 && status < 300
        switch self.state {
        case .proceeding:
            if status < 200 {
                self.state = .proceeding(hasResponse: true)
                return .send
            }
            if isSuccess {
                self.state = .accepted
                return .sendSuccess(timerL: self.timers.timeout)
            }
            self.state = .completed(interval: self.timers.t1Milliseconds)
            return .sendFailure(timerG: self.isReliable ? nil : self.timers.t1, timerH: self.timers.timeout)
        case .accepted:
            return isSuccess ? .sendSuccess(timerL: nil) : .drop
        case .completed, .confirmed, .terminated:
            return isSuccess ? .sendStatelessly : .drop
        }
    }

    @inlinable
    public mutating func timerFired(_ timer: Timer) -> TimerAction {
        switch (self.state, timer) {
        case (.completed(let interval), .g):
            guard !self.isReliable else { return .ignore }
            let next = self.timers.doubled(interval)
            self.state = .completed(interval: next)
            return .resend(timerG: .milliseconds(next))
        case (.completed, .h):
            self.state = .terminated
            return .timeout
        case (.confirmed, .i), (.accepted, .l):
            self.state = .terminated
            return .end
        case (.proceeding, _), (.completed, .i), (.completed, .l), (.confirmed, .g), (.confirmed, .h), (.confirmed, .l),
            (.accepted, .g), (.accepted, .h), (.accepted, .i), (.terminated, _):
            return .ignore
        }
    }
}
