/// Writes responses to requests, also to those that were refused for their syntax (RFC 3261 §8.2.6).
public enum ResponseWriter {
    /// Makes a response out of whatever headers the request has.
    ///
    /// Via rows are copied in order, the first From, To, Call-ID and CSeq octet for octet, and Timestamp into a 100. A
    /// request that lacks some of these gets a response without them (RFC 4475 §3.3.1).
    ///
    /// - Parameters:
    ///   - status: 100 to 699.
    ///   - reason: nil: the standard phrase.
    ///   - source: where the request came from; goes into the top Via as `received` and `rport`.
    ///   - toTag: goes into To where that has no tag; nil: none is added, as in a 100 or a forwarded response.
    ///   - extra: rows to add.
    /// - Returns: nil where nothing may be answered: a response, an ACK, no Via, or CR, LF or NUL in what is to be added.
    public static func make(
        status: Int, reason: StaticString? = nil, to request: Message, source: Endpoint? = nil, toTag: [UInt8]? = nil,
        extra: [(StaticString, [UInt8])] = [], body: [UInt8] = []
    ) -> [UInt8]? {
        guard request.isAnswerable else { return nil }
        var writer = MessageWriter(capacity: min(request.headerSectionEnd, 1024) &+ body.count &+ 128)
        writer.statusLine(status, reason: reason)
        ResponseWriter.copyVias(of: request, source: source, to: &writer)
        if let from = request.first(.from) { writer.copy(from, of: request) }
        ResponseWriter.copyTo(of: request, tag: toTag, to: &writer)
        if let callID = request.first(.callID) { writer.copy(callID, of: request) }
        if let cseq = request.first(.cseq) { writer.copy(cseq, of: request) }
        if status == 100, let timestamp = request.first(.timestamp) { writer.copy(timestamp, of: request) }
        for (name, value) in extra { writer.header(name, value) }
        writer.endHeaders(body: body)
        return try? writer.finish()
    }

    /// Answers a fault of the gate; nil where its status is 0.
    public static func make(answering fault: SyntaxFault, source: Endpoint?, toTag: [UInt8]?) -> [UInt8]? {
        guard fault.status != 0, let request = fault.message else { return nil }
        return ResponseWriter.make(status: fault.status, to: request, source: source, toTag: toTag)
    }

    /// Answers a fault of validation, with Unsupported in a 420 (RFC 3261 §8.2.2.3); nil where its status is 0.
    public static func make(
        answering fault: ValidationFault, to request: Message, source: Endpoint?, toTag: [UInt8]?
    ) -> [UInt8]? {
        guard fault.status != 0 else { return nil }
        var extra: [(StaticString, [UInt8])] = []
        if !fault.unsupported.isEmpty {
            let tags = fault.unsupported.map { $0.bytes(in: request.bytes) }
            extra.append(("Unsupported", Array(tags.joined(separator: [.comma, .space]))))
        }
        return ResponseWriter.make(
            status: fault.status, to: request, source: source, toTag: toTag, extra: extra)
    }

    private static func copyVias(of request: Message, source: Endpoint?, to writer: inout MessageWriter) {
        var isTop = true
        for field in request.fields where field.name == .via {
            if isTop, let source, let via = request.topVia {
                let mark = ReceivedMark(via, in: request.bytes, source: source)
                writer.copy(field, of: request, splicing: mark.splices)
            } else {
                writer.copy(field, of: request)
            }
            isTop = false
        }
    }

    private static func copyTo(of request: Message, tag: [UInt8]?, to writer: inout MessageWriter) {
        guard let field = request.first(.to) else { return }
        guard let tag, let to = request.to, to.tag == nil else {
            writer.copy(field, of: request)
            return
        }
        let end = ByteRange(field.value.end, field.value.end)
        let text = Array(";tag=".utf8) + tag
        writer.copy(field, of: request, splicing: [ReceivedMark.Splice(range: end, text: text)])
    }
}
