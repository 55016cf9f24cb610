/// Writes a message from nothing: requests of our own, responses, ACK and CANCEL.
///
/// Whatever is not copied from a received message may hold neither CR nor LF nor NUL; what does is not sent
/// (``finish()`` throws).
public struct MessageWriter: ~Copyable {
    private var bytes: [UInt8] = []
    private var error: WriteError?
    private var hasEnded = false

    /// - Parameter capacity: about how long the message will be, in bytes.
    public init(capacity: Int = 640) {
        self.bytes.reserveCapacity(capacity)
    }

    public mutating func requestLine(method: StaticString, uri: [UInt8]) {
        self.check(uri, part: "Request-URI")
        self.bytes.append(contentsOf: method.utf8Bytes)
        self.bytes.append(.space)
        appendAll(uri, to: &self.bytes)
        self.write(" SIP/2.0\r\n")
    }

    /// - Parameters:
    ///   - status: 100 to 699.
    ///   - reason: nil: the phrase of RFC 3261 §21 or of its extensions.
    public mutating func statusLine(_ status: Int, reason: StaticString? = nil) {
        self.write("SIP/2.0 ")
        appendDecimal(UInt64(max(0, status)), to: &self.bytes)
        self.bytes.append(.space)
        self.write(reason ?? reasonPhrase(status))
        self.write("\r\n")
    }

    public mutating func header(_ name: StaticString, _ value: [UInt8]) {
        self.check(value, part: name)
        self.write(name)
        self.write(": ")
        appendAll(value, to: &self.bytes)
        self.write("\r\n")
    }

    public mutating func header(_ name: StaticString, _ value: StaticString) {
        self.header(name, Array(value.utf8Bytes))
    }

    public mutating func header(_ name: StaticString, _ value: Int) {
        self.header(name, decimal(value))
    }

    /// Copies a row of a received message octet for octet.
    public mutating func copy(_ field: HeaderField, of message: Message) {
        copyRow(field, of: message, to: &self.bytes)
    }

    /// Copies every row of a name, in order.
    public mutating func copyAll(_ name: HeaderName, of message: Message) {
        guard message.first(name) != nil else { return }
        for field in message.fields where field.name == name { self.copy(field, of: message) }
    }

    /// Copies one value of a received message under a name of ours, folds and all.
    public mutating func header(_ name: StaticString, copying value: ByteRange, of message: Message) {
        guard !message.isRagged else {
            self.header(name, message.unfolded(value))
            return
        }
        self.write(name)
        self.write(": ")
        append(message.bytes.span.bytes, value.start, value.end, to: &self.bytes)
        self.write("\r\n")
    }

    /// Writes Content-Length, the empty line and the body.
    public mutating func endHeaders(body: [UInt8] = []) {
        self.write("Content-Length: ")
        appendDecimal(UInt64(body.count), to: &self.bytes)
        self.write("\r\n\r\n")
        appendAll(body, to: &self.bytes)
        self.hasEnded = true
    }

    /// The message; an empty body is added where ``endHeaders(body:)`` was not called.
    public consuming func finish() throws(WriteError) -> [UInt8] {
        if !self.hasEnded { self.endHeaders() }
        if let error = self.error { throw error }
        return self.bytes
    }

    private mutating func write(_ text: StaticString) {
        self.bytes.append(contentsOf: text.utf8Bytes)
    }

    private mutating func check(_ bytes: [UInt8], part: StaticString) {
        if self.error == nil, holdsForbiddenByte(bytes) {
            self.error = WriteError(problem: .forbiddenByte, part: part.description)
        }
    }
}

extension MessageWriter {
    /// Copies a row with some of its bytes replaced; `splices` stand in the row's value and in order.
    mutating func copy(_ field: HeaderField, of message: Message, splicing splices: [ReceivedMark.Splice]) {
        guard !message.isRagged else {
            self.copy(field, of: message)
            return
        }
        let span = message.bytes.span.bytes
        var position = field.line.start
        for splice in splices {
            append(span, position, splice.range.start, to: &self.bytes)
            self.check(splice.text, part: "Via")
            self.bytes.append(contentsOf: splice.text)
            position = splice.range.end
        }
        append(span, position, field.line.end, to: &self.bytes)
    }
}
