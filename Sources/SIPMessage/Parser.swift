/// What one datagram holds.
public enum ParsedDatagram: Sendable {
    case message(Message)
    /// Nothing but CRLF, NUL, or no byte at all: ignored (RFC 3261 §7.5).
    case keepAlive
    /// A STUN Binding Request (RFC 5626 §4.4.2, RFC 8489 §5).
    case stunBinding
    /// Answer if the fault has a status, else drop.
    case refused(SyntaxFault)
}

/// Takes messages out of datagrams. Streams have their ``Framer``.
public enum Parser {
    /// Parses one datagram; its bytes are copied once, and may go after the call.
    public static func parse(
        datagram: UnsafeRawBufferPointer, limits: MessageLimits = MessageLimits()
    ) -> ParsedDatagram {
        Parser.parse(datagram: RawSpan(_unsafeBytes: datagram), limits: limits)
    }

    /// As above.
    public static func parse(datagram whole: RawSpan, limits: MessageLimits = MessageLimits()) -> ParsedDatagram {
        var start = 0
        while start < whole.byteCount, whole.byte(start) == .cr || whole.byte(start) == .lf { start &+= 1 }
        guard start < whole.byteCount else { return .keepAlive }
        if whole.byte(start) <= 1 { return Parser.classify(whole) }
        let span = whole.extracting(start..<whole.byteCount)
        var head = Head()
        let outcome = head.parse(span, limits: limits)
        if outcome != .complete {
            // Only to find what an answer needs: the message is refused.
            head = Head()
            guard outcome == .incomplete || hasBareStartLine(span),
                head.parse(span, limits: limits, mode: .loose) == .complete
            else {
                return .refused(SyntaxFault(ParseError(.startLine, at: 0), status: 0, message: nil))
            }
            head.note(.headerSectionEnd, at: span.byteCount)
        }
        if span.byteCount > limits.messageSize { head.note(.messageSize, at: limits.messageSize) }
        var end = span.byteCount
        if let length = head.contentLength {
            if length > end &- head.end {
                head.note(.bodyShort, at: end)  // RFC 3261 §18.3
            } else {
                end = head.end &+ length
            }
        }
        let bytes = copy(span, 0, end)
        let problem = head.problem
        let message = Message(bytes, head)
        guard let problem else { return .message(message) }
        return .refused(SyntaxFault(problem, status: problem.problem.status, message: message))
    }

    /// A datagram that begins with 0 or 1: only NULs, or a STUN message.
    private static func classify(_ span: RawSpan) -> ParsedDatagram {
        if span.byteCount >= 20, span.byte(0) == 0, span.byte(1) == 1, span.byte(4) == 0x21, span.byte(5) == 0x12,
            span.byte(6) == 0xA4, span.byte(7) == 0x42, span.byte(3) & 3 == 0,
            Int(span.byte(2)) << 8 | Int(span.byte(3)) == span.byteCount - 20
        {
            return .stunBinding
        }
        for index in 0..<span.byteCount
        where span.byte(index) != 0 && span.byte(index) != .cr && span.byte(index) != .lf {
            return .refused(SyntaxFault(ParseError(.startLine, at: index), status: 0, message: nil))
        }
        return .keepAlive
    }
}

extension Message {
    /// Parses exactly one message out of bytes that stay as they are: what we wrote ourselves, or a test's.
    ///
    /// - Throws: the first problem of its lines; the body may have any length up to that of `bytes`.
    public init(_ bytes: [UInt8], limits: MessageLimits = MessageLimits()) throws(ParseError) {
        var head = Head()
        guard head.parse(bytes.span.bytes, limits: limits) == .complete else {
            throw ParseError(.headerSectionEnd, at: bytes.count)
        }
        if let length = head.contentLength, length > bytes.count &- head.end {
            head.note(.bodyShort, at: bytes.count)
        }
        if let problem = head.problem { throw problem }
        self.init(bytes, head)
    }
}
