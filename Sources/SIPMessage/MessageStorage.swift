/// What a ``Message`` refers to: never changed, so that messages may be kept and passed on at the cost of a count.
@usableFromInline
final class MessageStorage: Sendable {
    @usableFromInline let bytes: [UInt8]
    @usableFromInline let fields: ContiguousArray<HeaderField>
    @usableFromInline let startLine: Message.StartLine
    @usableFromInline let methodRange: ByteRange
    @usableFromInline let requestURI: ByteRange
    @usableFromInline let reasonRange: ByteRange
    @usableFromInline let headerSectionEnd: Int
    @usableFromInline let uri: URI?
    @usableFromInline let topVia: Via?
    @usableFromInline let from: NameAddr?
    @usableFromInline let to: NameAddr?
    @usableFromInline let callID: OptionalRange
    @usableFromInline let cseq: CSeq?
    @usableFromInline let maxForwards: Int?
    @usableFromInline let contentLength: Int?
    let index: HeaderIndex
    let startLineEnd: Int
    /// See ``Head/isRagged``: true only in the message of a fault.
    let isRagged: Bool

    init(_ bytes: [UInt8], _ head: consuming Head) {
        let span = bytes.span
        let index = head.index
        let fields = head.fields
        let isRequest = if case .request = head.startLine { true } else { false }
        self.uri = isRequest ? try? URI.parse(span, head.secondPart.start, head.secondPart.end) : nil
        if let via = index.first(.via, in: fields)?.value {
            var position = via.start
            self.topVia = try? Via.parse(span, &position, via.end)
        } else {
            self.topVia = nil
        }
        self.from = wholeNameAddr(span, index.first(.from, in: fields)?.value)
        self.to = wholeNameAddr(span, index.first(.to, in: fields)?.value)
        let callID = index.first(.callID, in: fields)?.value
        self.callID = OptionalRange(callID.flatMap { isCallID(span, $0) ? $0 : nil })
        if let cseq = index.first(.cseq, in: fields)?.value {
            self.cseq = try? CSeq.parse(span, cseq)
        } else {
            self.cseq = nil
        }
        let maxForwards = index.first(.maxForwards, in: fields)?.value
        self.maxForwards = maxForwards.flatMap { decimalNumber(span, $0, limit: 255) }
        let none = ByteRange(0, 0)
        self.startLine = head.startLine
        self.methodRange = isRequest ? head.firstPart : none
        self.requestURI = isRequest ? head.secondPart : none
        self.reasonRange = isRequest ? none : head.thirdPart
        self.headerSectionEnd = head.end
        self.startLineEnd = head.startLineEnd
        self.contentLength = head.contentLength
        self.isRagged = head.isRagged
        self.index = index
        self.fields = fields
        self.bytes = bytes
    }
}

/// The one address that fills `range`; nil where it is malformed or another follows it.
@inline(__always)
private func wholeNameAddr(_ span: Span<UInt8>, _ range: ByteRange?) -> NameAddr? {
    guard let range else { return nil }
    var position = range.start
    guard let value = try? NameAddr.parse(span, &position, range.end), position == range.end else { return nil }
    return value
}
