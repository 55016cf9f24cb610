/// Why a message is refused, and what its sender may be told.
public struct SyntaxFault: Error, Sendable {
    /// The final response to send to where the message came from; 0: none (a response, an ACK, no Via to answer by).
    public var status: Int
    /// What is wrong and where; for the log alone.
    public var cause: ParseError
    /// What could be indexed, so that ``ResponseWriter`` can answer; its values may be malformed.
    public var message: Message?
    /// Whether nobody knows where the next message on the stream starts: answer, then close.
    public var closesStream: Bool

    /// A fixed sentence for the log.
    public var reason: StaticString { self.cause.problem.reason }
    /// In bytes from the first byte of the start line.
    public var offset: Int { self.cause.offset }

    /// - Parameter status: what a request would be answered with; becomes 0 where `message` may not be answered.
    init(_ cause: ParseError, status: Int, message: Message?, closesStream: Bool = false) {
        self.cause = cause
        self.message = message
        self.status = message?.isAnswerable == true ? status : 0
        self.closesStream = closesStream
    }
}

extension Message {
    /// Whether a response to this may be sent at all: a request other than ACK (RFC 3261 §17) that has a Via.
    public var isAnswerable: Bool {
        guard case .request(let method) = self.startLine else { return false }
        return method != .ack && self.first(.via) != nil
    }
}
