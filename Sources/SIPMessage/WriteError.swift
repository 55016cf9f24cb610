/// Why a message was not written: what was to be put into it holds CR, LF or NUL, or the pieces do not fit.
///
/// It is our mistake or an attack on us, never to be sent anyway: whoever catches it answers 500 and counts it.
public struct WriteError: Error, Hashable, Sendable {
    public enum Problem: Hashable, Sendable {
        /// CR, LF or NUL in text that is not copied from a received message: it would make a header field of its own
        /// (RFC 3261 §19.1.2).
        case forbiddenByte
        /// A range outside the message.
        case outOfBounds
        /// The message that a copy is made from lacks what the copy needs.
        case missingPart
    }

    public var problem: Problem
    /// The header field or other part that it was for.
    public var part: String
}

/// Whether CR, LF or NUL is among the bytes.
func holdsForbiddenByte(_ bytes: [UInt8]) -> Bool {
    let count = bytes.span.bytes.countControls(0, bytes.count)
    return count.hasNull || count.carriageReturns > 0 || count.lineFeeds > 0
}
