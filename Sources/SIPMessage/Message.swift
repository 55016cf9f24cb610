/// One SIP message: its bytes, and where everything stands in them.
///
/// A message is made by ``Parser``, ``Framer`` or ``init(_:limits:)``, which check its lines, not its values:
/// ``checkSyntax(_:)`` is the gate. The parts that routing needs are parsed once; where one is missing or malformed it is
/// nil, and the gate says so. A copy of a message is a reference to the same bytes.
public struct Message: Sendable {
    public enum StartLine: Hashable, Sendable {
        case request(Method)
        /// 100 to 699; 0 only in the message of a fault, where the status line is malformed.
        case response(status: Int)
    }

    @usableFromInline let storage: MessageStorage

    init(_ bytes: [UInt8], _ head: consuming Head) {
        self.storage = MessageStorage(bytes, head)
    }
}

extension Message {
    /// Exactly this message: what a datagram carried beyond Content-Length is cut.
    @inlinable public var bytes: [UInt8] { self.storage.bytes }
    @inlinable public var startLine: StartLine { self.storage.startLine }
    /// A request's method as written; empty for a response.
    @inlinable public var methodRange: ByteRange { self.storage.methodRange }
    /// Empty for a response.
    @inlinable public var requestURI: ByteRange { self.storage.requestURI }
    /// A response's reason phrase, perhaps empty; empty for a request.
    @inlinable public var reasonRange: ByteRange { self.storage.reasonRange }
    /// All rows in their order.
    @inlinable public var fields: ContiguousArray<HeaderField> { self.storage.fields }
    /// The first byte of the body.
    @inlinable public var headerSectionEnd: Int { self.storage.headerSectionEnd }

    /// The Request-URI in its parts; nil for a response, or where it is malformed.
    @inlinable public var uri: URI? { self.storage.uri }
    @inlinable public var topVia: Via? { self.storage.topVia }
    @inlinable public var from: NameAddr? { self.storage.from }
    @inlinable public var to: NameAddr? { self.storage.to }
    /// Case matters (RFC 3261 §20.8).
    @inlinable public var callID: ByteRange? { self.storage.callID.range }
    @inlinable public var cseq: CSeq? { self.storage.cseq }
    /// 0 to 255; nil where it is absent or malformed.
    @inlinable public var maxForwards: Int? { self.storage.maxForwards }
    /// As written; nil where it is absent.
    @inlinable public var contentLength: Int? { self.storage.contentLength }

    var index: HeaderIndex { self.storage.index }
    var startLineEnd: Int { self.storage.startLineEnd }
    var isRagged: Bool { self.storage.isRagged }
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
