public import SIPMessage

/// Whether a core target is in use, from the OPTIONS requests that probe it.
///
///     up ──downAfter failures in a row──▶ down ──upAfter successes in a row──▶ up
///
/// A target is up until it is known to be down. A probe without an answer does not count against a target that answered
/// something else meanwhile (RFC 4321 §1.3).
public struct HealthMachine: Sendable, Equatable {
    public enum Change: Sendable, Equatable {
        case wentUp
        case wentDown
    }

    private enum State: Equatable {
        case up(failures: Int)
        case down(successes: Int)
    }

    private var state = State.up(failures: 0)
    private var wasHeard = false
    private let downAfter: Int
    private let upAfter: Int

    public init(_ settings: DomainCoreSettings.Health) {
        self.downAfter = max(1, settings.downAfter)
        self.upAfter = max(1, settings.upAfter)
    }

    public var isUp: Bool {
        switch self.state {
        case .up: true
        case .down: false
        }
    }

    /// A probe leaves.
    public mutating func probeSent() {
        self.wasHeard = false
    }

    /// The target answered a request other than a probe, whatever it said.
    public mutating func heard() {
        self.wasHeard = true
    }

    /// A probe got a final response: any but 503 shows that the target serves.
    public mutating func probeAnswered(status: Int) -> Change? {
        status == 503 ? self.fail() : self.succeed()
    }

    /// A probe got no final response in time, or could not be sent.
    public mutating func probeFailed() -> Change? {
        self.wasHeard ? nil : self.fail()
    }

    private mutating func succeed() -> Change? {
        switch self.state {
        case .up:
            self.state = .up(failures: 0)
            return nil
        case .down(let successes):
            guard successes + 1 >= self.upAfter else {
                self.state = .down(successes: successes + 1)
                return nil
            }
            self.state = .up(failures: 0)
            return .wentUp
        }
    }

    private mutating func fail() -> Change? {
        switch self.state {
        case .up(let failures):
            guard failures + 1 >= self.downAfter else {
                self.state = .up(failures: failures + 1)
                return nil
            }
            self.state = .down(successes: 0)
            return .wentDown
        case .down:
            self.state = .down(successes: 0)
            return nil
        }
    }
}

extension Message {
    /// How long the sender of a response wants no request: the seconds in Retry-After (RFC 3261 §20.33); nil where there
    /// is none or it is malformed. What follows the number, a comment or parameters, is not looked at.
    public var retryAfter: Duration? {
        guard let value = self.first(.retryAfter)?.value else { return nil }
        let digits = self.bytes[value.range].prefix { $0 &- 0x30 < 10 }
        // Ten digits are more than the field's 2^32 - 1; the reader of the number has a limit of its own.
        guard 1...10 ~= digits.count else { return nil }
        return .seconds(digits.reduce(0) { $0 * 10 + Int64($1 &- 0x30) })
    }
}
