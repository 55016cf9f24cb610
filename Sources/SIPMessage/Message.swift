/// One SIP message: its bytes, and where everything stands in them.
///
/// A message is made by ``Parser``, ``Framer`` or ``init(_:limits:)``, which check its lines, not its values:
/// ``checkSyntax(_:)`` is the gate. The parts that routing needs are parsed once; where one is missing or malformed it is
/// nil, and the gate says so.
public struct Message: Sendable {
    public enum StartLine: Hashable, Sendable {
        case request(Method)
        /// 100 to 699; 0 only in the message of a fault, where the status line is malformed.
        case response(status: Int)
    }

    /// Exactly this message: what a datagram carried beyond Content-Length is cut.
    public let bytes: [UInt8]
    public let startLine: StartLine
    /// A request's method as written; empty for a response.
    public let methodRange: ByteRange
    /// Empty for a response.
    public let requestURI: ByteRange
    /// A response's reason phrase, perhaps empty; empty for a request.
    public let reasonRange: ByteRange
    /// In their order.
    public let fields: ContiguousArray<HeaderField>
    /// The first byte of the body.
    public let headerSectionEnd: Int

    /// The Request-URI in its parts; nil for a response, or where it is malformed.
    public let uri: URI?
    public let topVia: Via?
    public let from: NameAddr?
    public let to: NameAddr?
    /// Case matters (RFC 3261 §20.8).
    public let callID: ByteRange?
    public let cseq: CSeq?
    /// 0 to 255; nil where it is absent or malformed.
    public let maxForwards: Int?
    /// As written; nil where it is absent.
    public let contentLength: Int?

    let index: HeaderIndex
    let startLineEnd: Int
    /// See ``Head/isRagged``: true only in the message of a fault.
    let isRagged: Bool

    init(_ bytes: [UInt8], _ head: consuming Head) {
        let isRequest = if case .request = head.startLine { true } else { false }
        let none = ByteRange(0, 0)
        self.startLine = head.startLine
        self.methodRange = isRequest ? head.firstPart : none
        self.requestURI = isRequest ? head.secondPart : none
        self.reasonRange = isRequest ? none : head.thirdPart
        self.headerSectionEnd = head.end
        self.startLineEnd = head.startLineEnd
        self.contentLength = head.contentLength
        self.isRagged = head.isRagged
        self.index = head.index
        self.fields = head.fields
        self.bytes = bytes

        let span = bytes.span
        let fields = self.fields
        let index = self.index
        func value(_ name: HeaderName) -> ByteRange? {
            index.first(name, in: fields)?.value
        }
        self.uri = isRequest ? try? URI.parse(span, head.secondPart.start, head.secondPart.end) : nil
        if let via = value(.via) {
            var position = via.start
            self.topVia = try? Via.parse(span, &position, via.end)
        } else {
            self.topVia = nil
        }
        self.from = value(.from).flatMap { wholeNameAddr(span, $0) }
        self.to = value(.to).flatMap { wholeNameAddr(span, $0) }
        self.callID = value(.callID).flatMap { isCallID(span, $0) ? $0 : nil }
        self.cseq = value(.cseq).flatMap { try? CSeq.parse(span, $0) }
        self.maxForwards = value(.maxForwards).flatMap { decimalNumber(span, $0, limit: 255) }
    }
}

/// The one address that fills `range`; nil where it is malformed or another follows it.
@inline(__always)
private func wholeNameAddr(_ span: Span<UInt8>, _ range: ByteRange) -> NameAddr? {
    var position = range.start
    guard let value = try? NameAddr.parse(span, &position, range.end), position == range.end else { return nil }
    return value
}

extension Message {
    @inlinable public var isRequest: Bool {
        if case .request = self.startLine { true } else { false }
    }

    /// Of a request its method; of a response that of CSeq, ``Method/other`` where CSeq is malformed.
    @inlinable public var method: Method {
        switch self.startLine {
        case .request(let method): method
        case .response: self.cseq?.method ?? .other
        }
    }

    /// A response's status code; 0 for a request.
    @inlinable public var status: Int {
        if case .response(let status) = self.startLine { status } else { 0 }
    }

    /// From the empty line to the end; perhaps empty.
    @inlinable public var body: ByteRange { ByteRange(self.headerSectionEnd, self.bytes.count) }

    /// The first row of this name.
    public func first(_ name: HeaderName) -> HeaderField? {
        self.index.first(name, in: self.fields)
    }

    /// How many rows of this name there are.
    public func count(of name: HeaderName) -> Int {
        guard self.index.isPresent(name) else { return 0 }
        guard self.index.isRepeated(name) else { return 1 }
        return self.fields.reduce(0) { $1.name == name ? $0 &+ 1 : $0 }
    }

    /// The first row whose name is not in ``HeaderName``, compared without case.
    public func first(named name: StaticString) -> HeaderField? {
        self.fields.first { $0.name == .other && $0.nameRange.equalsIgnoringCase(name, in: self.bytes) }
    }

    /// A part of a value with each fold as one space (RFC 3261 §7.3.1): what may go into a row that is written anew.
    public func unfolded(_ range: ByteRange) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(range.count)
        var isFold = false
        for byte in self.bytes[range.range] {
            if byte == .cr || byte == .lf {
                isFold = true
            } else if isFold, byte == .space || byte == .htab {
                continue
            } else {
                if isFold { result.append(.space) }
                isFold = false
                result.append(byte)
            }
        }
        return result
    }
}
