/// Cuts a byte stream into messages by Content-Length (RFC 3261 §18.3), and answers to CRLF pings (RFC 5626 §4.4.1).
///
/// It is fed plaintext as it arrives and holds only the message that is not whole yet. A message that is whole in the
/// input is parsed where it lies and copied once; one that dribbles in is looked at once a byte, and parsed when its
/// header section is whole. What it holds is at most one message of ``MessageLimits/messageSize``.
///
/// The owner runs two deadlines: on ``isInsideHeader`` and on ``isInsideBody``.
public struct Framer: Sendable {
    public enum Event: Sendable {
        /// A message whose lines are in order; its values are judged by ``Message/checkSyntax(_:)``.
        case message(Message)
        /// A double CRLF between messages: answer one CRLF.
        case ping
        /// Answer if the fault has a status; then close if it ``SyntaxFault/closesStream``.
        case fault(SyntaxFault)
        /// Close without an answer: what came is no SIP, or nobody could be answered.
        case close(reason: StaticString)
    }

    private enum State {
        /// Between messages, this many bytes into CR LF CR LF.
        case between(matched: Int)
        /// `rest` holds a start line or header section that is not whole.
        case header(LineTail)
        /// As `header`, over the limit: `rest` keeps its beginning, and what follows is counted and dropped, so that the
        /// 513 comes when the section ends and not in its middle.
        case oversized(LineTail, dropped: Int)
        /// `rest` holds a whole header section and the beginning of the body.
        case body(Head, total: Int)
        case finished
    }

    public let limits: MessageLimits
    private var state = State.between(matched: 0)
    private var rest: [UInt8] = []
    private var hasStartLine = false
    /// CRLFs seen between messages, each counted; who sends pings finds the pong here. It may wrap.
    public private(set) var keepAliveCount: UInt64 = 0

    public init(limits: MessageLimits = MessageLimits()) {
        self.limits = limits
    }

    /// Whether a message has begun whose header section has not ended.
    public var isInsideHeader: Bool {
        switch self.state {
        case .header, .oversized: true
        case .between, .body, .finished: false
        }
    }

    /// Whether a header section has ended whose body has not.
    public var isInsideBody: Bool {
        if case .body = self.state { true } else { false }
    }

    /// Takes input and hands out what it completes, in order.
    ///
    /// - Parameters:
    ///   - input: read during the call alone.
    ///   - body: must not touch this framer; false ends the stream for it, and the rest of the input is dropped.
    public mutating func receive(_ input: UnsafeRawBufferPointer, _ body: (consuming Event) -> Bool) {
        let span = RawSpan(_unsafeBytes: input)
        var offset = 0
        while let event = self.next(span, &offset) {
            guard body(event) else {
                self.finish()
                return
            }
        }
    }

    /// The next event of the input; nil when all of it is used. Ask again with the same input until then.
    ///
    /// - Parameter offset: how much of the input is used; starts at 0.
    public mutating func next(_ input: RawSpan, _ offset: inout Int) -> Event? {
        while offset < input.byteCount {
            let event: Event?
            switch self.state {
            case .between(let matched): event = self.continueBetween(matched, input, &offset)
            case .header(let tail): event = self.continueHeader(tail, input, &offset)
            case .oversized(let tail, let dropped): event = self.continueOversized(tail, dropped, input, &offset)
            case .body(let head, let total): event = self.continueBody(head, total, input, &offset)
            case .finished:
                offset = input.byteCount
                return nil
            }
            if let event { return event }
        }
        return nil
    }

    /// The peer will send no more. Nothing comes of a message that is not whole, but a request whose header section is
    /// gets its 400 if the end was clean: a FIN on TCP, close_notify on TLS (a bare FIN there may be an attack).
    public mutating func endOfStream(clean: Bool) -> Event? {
        switch self.state {
        case .between, .finished:
            self.finish()
            return nil
        case .header, .oversized:
            self.finish()
            return .close(reason: "the stream ended inside a header section")
        case .body(let head, _):
            guard clean else {
                self.finish()
                return .close(reason: "the stream was cut inside a body")
            }
            return self.shortBody(head)
        }
    }

    /// The deadline of the body has passed: 400 for a request, silence for a response. nil where no body is awaited.
    public mutating func bodyTimedOut() -> Event? {
        guard case .body(let head, _) = self.state else { return nil }
        return self.shortBody(head)
    }

    /// The deadline of the header section has passed. nil where none is awaited.
    public mutating func headerTimedOut() -> Event? {
        guard self.isInsideHeader else { return nil }
        self.finish()
        return .close(reason: "the header section did not end in time")
    }

    private mutating func finish() {
        self.state = .finished
        self.rest = []
    }

    /// Ends the stream with a fault; `bytes` is what the message had so far.
    private mutating func fail(_ head: consuming Head, _ problem: ParseError, _ bytes: [UInt8]) -> Event {
        self.finish()
        let message = Message(bytes, head)
        var status = problem.problem.status
        if problem.problem == .contentLengthMissing, message.isRequest {
            // The message is whole but for this, so what else is wrong with it may be told.
            if let fault = message.checkSyntax(self.limits) {
                status = fault.status
            } else if message.uri?.isSIP != true {
                status = 416
            } else if message.maxForwards == 0 {
                status = 483
            }
        }
        return .fault(SyntaxFault(problem, status: status, message: message, closesStream: true))
    }

    private mutating func shortBody(_ head: Head) -> Event {
        let bytes = self.rest
        return self.fail(head, ParseError(.bodyShort, at: bytes.count), bytes)
    }
}

extension Framer {
    /// Walks line ends up to the first byte of a message.
    @inline(__always)
    private mutating func continueBetween(_ matched: Int, _ input: RawSpan, _ offset: inout Int) -> Event? {
        var matched = matched
        while offset < input.byteCount {
            let byte = input.byte(offset)
            guard byte == .cr || byte == .lf else { break }
            guard (byte == .cr) == (matched & 1 == 0) else { return self.refuse() }
            offset &+= 1
            matched &+= 1
            if byte == .lf { self.keepAliveCount &+= 1 }
            if matched == 4 {
                self.state = .between(matched: 0)
                return .ping
            }
        }
        self.state = .between(matched: matched)
        guard offset < input.byteCount else { return nil }
        guard matched & 1 == 0, ByteSet.token.contains(input.byte(offset)) else { return self.refuse() }
        self.state = .between(matched: 0)
        return self.beginMessage(input, &offset)
    }

    private mutating func refuse() -> Event {
        self.finish()
        return .close(reason: "what came between messages begins no SIP message")
    }

    /// Tries to parse the message that begins at `offset` where it lies.
    @inline(__always)
    private mutating func beginMessage(_ input: RawSpan, _ offset: inout Int) -> Event? {
        let span = input.extracting(offset..<input.byteCount)
        var head = Head()
        switch head.parse(span, limits: self.limits) {
        case .notSIP:
            return self.parseLoosely(span)
        case .incomplete:
            offset = input.byteCount
            if span.byteCount > self.headerCapacity || hasBareStartLine(span) {
                return self.beginOversized(span)
            }
            self.rest = copy(span, 0, span.byteCount)
            self.hasStartLine = span.firstIndex(of: .lf, 0, span.byteCount) >= 0
            self.state = .header(LineTail(endOf: span))
            return nil
        case .complete:
            guard let total = self.total(&head) else {
                let problem = head.problem ?? ParseError(.contentLengthMissing, at: head.end)
                return self.fail(head, problem, copy(span, 0, min(span.byteCount, head.end)))
            }
            guard span.byteCount >= total else {
                self.rest = []
                self.rest.reserveCapacity(total)
                append(span, 0, span.byteCount, to: &self.rest)
                offset = input.byteCount
                self.state = .body(head, total: total)
                return nil
            }
            offset &+= total
            return Framer.event(copy(span, 0, total), head)
        }
    }

    /// How long the message is; nil where its head says that nobody knows, or too much.
    @inline(__always)
    private func total(_ head: inout Head) -> Int? {
        if head.losesFraming { return nil }
        guard head.end <= self.headerCapacity else {
            head.note(.headerSectionSize, at: 0)
            return nil
        }
        guard let length = head.contentLength else {
            head.note(.contentLengthMissing, at: head.end)
            return nil
        }
        guard length <= self.limits.messageSize &- head.end else {
            head.note(.messageSize, at: head.end)
            return nil
        }
        return head.end &+ length
    }

    private mutating func continueHeader(_ tail: LineTail, _ input: RawSpan, _ offset: inout Int) -> Event? {
        let start = offset
        var tail = tail
        let isWhole = tail.skipToEmptyLine(input, &offset)
        append(input, start, offset, to: &self.rest)
        if !self.hasStartLine, let event = self.checkStartLine() { return event }
        guard isWhole else {
            self.state = .header(tail)
            let surplus = self.rest.count &- self.headerCapacity
            guard surplus > 0 else { return nil }
            self.rest.removeLast(surplus)
            return self.goOnOversized(tail, dropped: surplus)
        }
        var head = Head()
        let bytes = self.rest
        guard head.parse(bytes.span.bytes, limits: self.limits) == .complete else {
            return self.parseLoosely(bytes.span.bytes)
        }
        guard let total = self.total(&head) else {
            return self.fail(head, head.problem ?? ParseError(.contentLengthMissing, at: head.end), bytes)
        }
        guard total > bytes.count else {
            self.rest = []
            self.state = .between(matched: 0)
            return Framer.event(bytes, head)
        }
        self.state = .body(head, total: total)
        return nil
    }

    private mutating func continueBody(
        _ head: Head, _ total: Int, _ input: RawSpan, _ offset: inout Int
    ) -> Event? {
        let end = min(input.byteCount, offset &+ total &- self.rest.count)
        if self.rest.capacity < total { self.rest.reserveCapacity(total) }
        append(input, offset, end, to: &self.rest)
        offset = end
        guard self.rest.count >= total else { return nil }
        let bytes = self.rest
        self.rest = []
        self.state = .between(matched: 0)
        return Framer.event(bytes, head)
    }

    /// A start line and a header section at their limits, and their line ends.
    private var headerCapacity: Int { self.limits.headerSection &+ self.limits.requestURI &+ 64 }

    private mutating func beginOversized(_ span: RawSpan) -> Event? {
        if hasBareStartLine(span) { return self.parseLoosely(span) }
        self.rest = copy(span, 0, self.headerCapacity)
        return self.goOnOversized(LineTail(endOf: span), dropped: span.byteCount &- self.headerCapacity)
    }

    private mutating func continueOversized(
        _ tail: LineTail, _ dropped: Int, _ input: RawSpan, _ offset: inout Int
    ) -> Event? {
        let start = offset
        var tail = tail
        guard tail.skipToEmptyLine(input, &offset) else {
            return self.goOnOversized(tail, dropped: dropped &+ (offset &- start))
        }
        let bytes = self.rest
        return self.parseLoosely(bytes.span.bytes, isOversized: true)
    }

    private mutating func goOnOversized(_ tail: LineTail, dropped: Int) -> Event? {
        let rest = self.rest
        guard dropped <= 8 &* self.headerCapacity, rest.span.bytes.firstIndex(of: .lf, 0, rest.count) >= 0 else {
            self.finish()
            return .close(reason: "the start line or header section goes on far past its limit")
        }
        self.state = .oversized(tail, dropped: dropped)
        return nil
    }

    /// Finds in a section that is refused what an answer needs.
    ///
    /// - Parameter isOversized: whether `span` is only the beginning of a section that is over the limit.
    private mutating func parseLoosely(_ span: RawSpan, isOversized: Bool = false) -> Event {
        var head = Head()
        guard head.parse(span, limits: self.limits, mode: .loose) == .complete, var problem = head.problem else {
            self.finish()
            return .close(reason: "the first line is no SIP start line")
        }
        if isOversized, problem.problem != .requestURISize { problem = ParseError(.headerSectionSize, at: 0) }
        return self.fail(head, problem, copy(span, 0, head.end))
    }

    /// Looks at the first line as soon as it is whole, so that what is no SIP goes at once.
    private mutating func checkStartLine() -> Event? {
        let bytes = self.rest
        let span = bytes.span.bytes
        if hasBareStartLine(span) { return self.parseLoosely(span) }
        guard span.firstIndex(of: .lf, 0, span.byteCount) >= 0 else { return nil }
        self.hasStartLine = true
        var head = Head()
        return head.parse(span, limits: self.limits) == .notSIP ? self.parseLoosely(span) : nil
    }

    private static func event(_ bytes: [UInt8], _ head: consuming Head) -> Event {
        let problem = head.problem
        let message = Message(bytes, head)
        guard let problem else { return .message(message) }
        return .fault(SyntaxFault(problem, status: problem.problem.status, message: message))
    }
}
