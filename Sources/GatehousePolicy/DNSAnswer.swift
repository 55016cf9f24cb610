public import SIPMessage

/// What the DNS said to a question, or why it said nothing.
public struct DNSAnswer: Sendable, Equatable {
    public enum Outcome: Sendable, Equatable {
        /// To a question of type A or AAAA: at least one, in the order of the reply.
        case addresses([IPAddress])
        /// To a question of type SRV: at least one, in the order of the reply.
        case services([DNSService])
        /// To a question of type NAPTR: at least one, in the order of the reply.
        case pointers([DNSPointer])
        /// The name exists and has no record of this type.
        case noData
        /// The name does not exist, and neither does any below it.
        case noSuchName
        case failed(DNSFailure)
    }

    public var question: DNSQuestion
    public var outcome: Outcome
    /// How much longer the answer holds: the lowest TTL of its records and of the CNAMEs that led to them; of a negative
    /// answer what RFC 2308 §5 allows. Zero: it serves only those who had asked.
    public var timeToLive: Duration

    public init(question: DNSQuestion, outcome: Outcome, timeToLive: Duration) {
        self.question = question
        self.outcome = outcome
        self.timeToLive = timeToLive
    }
}

/// An SRV record (RFC 2782).
public struct DNSService: Sendable, Hashable {
    /// Lower comes first.
    public var priority: UInt16
    /// The share of requests among those of the same priority.
    public var weight: UInt16
    public var port: UInt16
    /// Nil where the record says that the service is not offered (target ".").
    public var target: DNSName?

    public init(priority: UInt16, weight: UInt16, port: UInt16, target: DNSName?) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }
}

/// A NAPTR record (RFC 3403 §4.1).
public struct DNSPointer: Sendable, Hashable {
    /// Lower comes first.
    public var order: UInt16
    /// Lower comes first among those of the same order.
    public var preference: UInt16
    /// In lower case: `s` leads to an SRV question, `a` to an address.
    public var flags: String
    /// In upper case, such as `SIPS+D2T` (RFC 3263 §4.1).
    public var service: String
    /// Empty in every record that RFC 3263 has a use for.
    public var expression: String
    /// Nil where it is the root, as beside an expression.
    public var replacement: DNSName?

    public init(
        order: UInt16, preference: UInt16, flags: String, service: String, expression: String, replacement: DNSName?
    ) {
        self.order = order
        self.preference = preference
        self.flags = flags
        self.service = service
        self.expression = expression
        self.replacement = replacement
    }
}

/// Why the DNS gave no answer.
public enum DNSFailure: Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// No server answered within `dns.timeout`.
    case timedOut
    /// No server can be reached; or of several some can, and those failed or refused.
    case unreachable
    /// The server could not find out (SERVFAIL), or does not know the kind of question.
    case serverFailed
    /// The server does not answer us (REFUSED).
    case refused
    /// The reply breaks the format of RFC 1035, or answers something else.
    case malformedReply
    /// Too many questions are waiting for an answer.
    case overloaded
    /// The client has been shut down.
    case shutDown

    public var description: String {
        switch self {
        case .timedOut: "no name server answered in time"
        case .unreachable: "no name server can be reached, or all fail"
        case .serverFailed: "the name server failed"
        case .refused: "the name server refused the question"
        case .malformedReply: "the name server's reply is malformed"
        case .overloaded: "too many questions wait for the name server"
        case .shutDown: "the edge is stopping"
        }
    }
}
