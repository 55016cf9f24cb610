/// The response context of RFC 3261 §16.7: all branches of one request, and what their responses mean for the server
/// transaction, for the other branches, and for the targets not yet tried.
///
/// A branch is one attempt at one server: opened before anything is sent (also before a DNS look-up), it ends with a final
/// response, a time-out, a transport error, or withdrawn. When it ends, the owner says whether another server could take
/// its place (RFC 3263 §4.3); the context decides whether it shall. The owner keeps a final response that was not passed at
/// once for as long as the context lives. The whole is a few machine words, whatever the number of branches.
///
/// Non-INVITE requests follow RFC 4320: no provisional response but the server transaction's own 100, and no 408.
public struct ResponseContext: Sendable, Equatable {
    /// How many branches a request may have in its life, failed attempts included.
    public static let branchLimit = 64

    /// What the owner does now.
    public struct Verdict: Sendable, Equatable {
        public enum Upstream: Sendable, Equatable {
            case nothing
            /// Give the response that just came to the server transaction.
            case pass
            /// Give it the final response kept of `branch`, to which the WWW-Authenticate and Proxy-Authenticate fields of
            /// the responses kept of `challenges` are added (RFC 3261 §16.7 item 7).
            case best(branch: BranchNumber, challenges: BranchSet)
            /// Make a final response: 408, 487 or 500.
            case make(status: Int)
            /// End the non-INVITE server transaction without a response (RFC 4320 §4.2).
            case abandon
        }

        public enum Next: Sendable, Equatable {
            case nothing
            /// Open a branch to the next server for the target of the branch that just ended.
            case alternative
            /// Open branches to the next group of the target set, and set `hasUntriedTargets` anew.
            case targets
        }

        public var upstream = Upstream.nothing
        /// Send a CANCEL on each, and call `cancelTimedOut` for those that are silent for 64·T1 (RFC 3261 §9.1).
        public var cancel = BranchSet()
        public var next = Next.nothing
        /// Start the branch's timer C anew (RFC 3261 §16.7 item 2).
        public var restartsTimerC = false

        @inlinable
        public init(
            upstream: Upstream = .nothing, cancel: BranchSet = [], next: Next = .nothing, restartsTimerC: Bool = false
        ) {
            self.upstream = upstream
            self.cancel = cancel
            self.next = next
            self.restartsTimerC = restartsTimerC
        }
    }

    /// Whether the owner holds groups of the target set that it has not opened branches to (RFC 3261 §16.6, serial forking).
    public var hasUntriedTargets = false

    private let isInvite: Bool
    private var opened: UInt8 = 0
    /// Opened and not ended.
    private var pending = BranchSet()
    /// Those that had any provisional response.
    private var heard = BranchSet()
    /// Those that were sent a CANCEL.
    private var cancelled = BranchSet()
    /// No branch opens any more, and every one still pending gets its CANCEL as soon as it was heard.
    private var isCancelling = false
    /// The server transaction has its final response, or was abandoned.
    private var isDecided = false
    private var best = BestResponse()

    public init(isInvite: Bool) {
        self.isInvite = isInvite
    }

    /// Whether nothing is left to wait for: no branch is pending and a final response went up, or none ever will.
    public var isFinished: Bool { self.isDecided && self.pending.isEmpty }

    /// Whether the server transaction still waits for its final response.
    public var isUndecided: Bool { !self.isDecided }

    /// Whether the branch still waits for its final response.
    public func isPending(_ branch: BranchNumber) -> Bool { self.pending.contains(branch) }

    /// Whether the branch had a provisional response, so that a CANCEL may follow it.
    public func wasHeard(_ branch: BranchNumber) -> Bool { self.heard.contains(branch) }

    /// A new branch; nil if no more may be opened: after a 2xx, a 6xx or a CANCEL, or at `branchLimit`.
    public mutating func openBranch() -> BranchNumber? {
        guard self.mayOpen else { return nil }
        let branch = BranchNumber(rawValue: self.opened)
        self.opened &+= 1
        self.pending.insert(branch)
        return branch
    }

    /// A response that the branch's client transaction passes up.
    ///
    /// - Parameter hasAlternative: another server for the same target has not been tried.
    public mutating func received(status: Int, on branch: BranchNumber, hasAlternative: Bool = false) -> Verdict {
        if status < 200 { return self.receivedProvisional(status: status, on: branch) }
        if status < 300 { return self.receivedSuccess(on: branch) }
        guard self.end(branch) else { return Verdict() }
        if status == 503, hasAlternative, self.mayOpen { return Verdict(next: .alternative) }
        self.best.consider(status: status, of: branch)
        let cancel = status >= 600 ? self.cancelAll() : []  // §16.7 item 5
        return self.conclude(after: branch, cancel: cancel)
    }

    /// The branch's client transaction timed out: as a 408, and for a non-INVITE as nothing (RFC 4320 §4.2).
    public mutating func timedOut(_ branch: BranchNumber, hasAlternative: Bool = false) -> Verdict {
        guard self.end(branch) else { return Verdict() }
        if hasAlternative, self.mayOpen, !self.heard.contains(branch) { return Verdict(next: .alternative) }
        if self.isInvite { self.best.considerTimeout() }
        return self.conclude(after: nil)
    }

    /// The branch's request could not be sent, or its target has no server: as a 503 (RFC 3261 §16.9).
    public mutating func transportFailed(_ branch: BranchNumber, hasAlternative: Bool = false) -> Verdict {
        guard self.end(branch) else { return Verdict() }
        if hasAlternative, self.mayOpen { return Verdict(next: .alternative) }
        self.best.considerTransportError()
        return self.conclude(after: nil)
    }

    /// The branch ended before anything was sent on it, for want of a reason to: its context is being cancelled.
    public mutating func withdrawn(_ branch: BranchNumber) -> Verdict {
        guard self.end(branch) else { return Verdict() }
        return self.conclude(after: nil)
    }

    /// The branch's 3xx was followed instead of kept (RFC 3261 §16.7 item 4): its targets are in `hasUntriedTargets`.
    public mutating func redirected(_ branch: BranchNumber) -> Verdict {
        guard self.end(branch) else { return Verdict() }
        return self.conclude(after: nil)
    }

    /// The branch of an INVITE has been pending without news for too long (RFC 3261 §16.8).
    ///
    /// - Returns: a CANCEL for it; or, if it was never heard, what follows from its end: the owner then ends its client
    ///   transaction, as `isPending` tells.
    public mutating func timerCFired(_ branch: BranchNumber) -> Verdict {
        guard self.isInvite, self.pending.contains(branch) else { return Verdict() }
        guard self.heard.contains(branch) else { return self.timedOut(branch) }
        guard !self.cancelled.contains(branch) else { return Verdict() }
        self.cancelled.insert(branch)
        return Verdict(cancel: [branch])
    }

    /// No final response came within 64·T1 of the CANCEL (RFC 3261 §9.1): the owner ends the client transaction.
    public mutating func cancelTimedOut(_ branch: BranchNumber) -> Verdict {
        guard self.cancelled.contains(branch), self.end(branch) else { return Verdict() }
        self.best.considerTimeout()
        return self.conclude(after: nil)
    }

    /// A CANCEL for the request came (RFC 3261 §16.10). Branches that were not heard yet get theirs with their first
    /// provisional response (§9.1); the owner withdraws those on which nothing was sent.
    public mutating func cancelReceived() -> Verdict {
        guard self.isInvite, !self.isDecided else { return Verdict() }
        return self.conclude(after: nil, cancel: self.cancelAll())
    }

    /// The owner has no target left to open a branch to, though it had thought so or was told to.
    public mutating func noMoreTargets() -> Verdict {
        self.hasUntriedTargets = false
        return self.conclude(after: nil)
    }

    private var mayOpen: Bool {
        !self.isCancelling && !self.isDecided && self.opened < Self.branchLimit
    }

    private mutating func receivedProvisional(status: Int, on branch: BranchNumber) -> Verdict {
        guard self.pending.contains(branch) else { return Verdict() }
        self.heard.insert(branch)
        guard self.isInvite else { return Verdict() }
        var verdict = Verdict()
        if self.isCancelling, !self.cancelled.contains(branch) {
            self.cancelled.insert(branch)
            verdict.cancel = [branch]
        }
        guard status > 100 else { return verdict }
        verdict.upstream = self.isDecided ? .nothing : .pass
        verdict.restartsTimerC = !self.cancelled.contains(branch)
        return verdict
    }

    private mutating func receivedSuccess(on branch: BranchNumber) -> Verdict {
        let wasPending = self.end(branch)
        guard self.isInvite else {
            guard wasPending, !self.isDecided else { return Verdict() }
            self.isDecided = true
            return Verdict(upstream: .pass)
        }
        self.isDecided = true
        return Verdict(upstream: .pass, cancel: self.cancelAll())  // §16.7 items 5 and 10
    }

    /// - Returns: false if the branch had ended before.
    private mutating func end(_ branch: BranchNumber) -> Bool {
        guard self.pending.contains(branch) else { return false }
        self.pending.remove(branch)
        return true
    }

    /// - Returns: the branches that get their CANCEL now; none for a non-INVITE, which is not cancelled (RFC 3261 §9.1).
    private mutating func cancelAll() -> BranchSet {
        self.isCancelling = true
        guard self.isInvite else { return [] }
        let now = BranchSet(bits: self.pending.bits & self.heard.bits & ~self.cancelled.bits)
        self.cancelled.bits |= now.bits
        return now
    }

    /// Decides once no branch is pending (RFC 3261 §16.7 item 6).
    private mutating func conclude(after branch: BranchNumber?, cancel: BranchSet = []) -> Verdict {
        guard self.pending.isEmpty, !self.isDecided else { return Verdict(cancel: cancel) }
        if self.hasUntriedTargets, self.mayOpen { return Verdict(cancel: cancel, next: .targets) }
        self.isDecided = true
        return Verdict(upstream: self.finalResponse(after: branch), cancel: cancel)
    }

    private func finalResponse(after branch: BranchNumber?) -> Verdict.Upstream {
        switch self.best.choice {
        case .none where !self.isInvite:
            return .abandon
        case .none:
            return .make(status: self.isCancelling ? 487 : 408)
        case .timeout:
            return self.isInvite ? .make(status: 408) : .abandon
        case .transportError:
            return .make(status: 500)
        case .received(_, status: 503):
            // A 503 says that its sender is overloaded, which we are not (RFC 3261 §16.7 item 6).
            return .make(status: 500)
        case .received(let chosen, let status):
            let isChallenge = status == 401 || status == 407
            let others = isChallenge ? BranchSet(bits: self.best.challenged.bits & ~BranchSet.bit(chosen)) : []
            return chosen == branch && others.isEmpty ? .pass : .best(branch: chosen, challenges: others)
        }
    }
}
