/// Writes the requests that a transaction makes of another: ACK and CANCEL of an INVITE.
public enum RequestWriter {
    /// The ACK to a final response other than 2xx (RFC 3261 §17.1.1.3): the INVITE's Request-URI, top Via, Route, From,
    /// Call-ID and CSeq number, and the response's To.
    ///
    /// - Parameter invite: the request as we sent it.
    /// - Throws: `missingPart` where one of the two lacks what an ACK needs.
    public static func makeACK(for invite: Message, response: Message) throws(WriteError) -> [UInt8] {
        guard let to = response.first(.to) else { throw WriteError(problem: .missingPart, part: "To") }
        var writer = try RequestWriter.begin("ACK", from: invite)
        writer.copy(to, of: response)
        try RequestWriter.end("ACK", from: invite, to: &writer)
        return try writer.finish()
    }

    /// The CANCEL of a pending INVITE (RFC 3261 §9.1): as it, with its top Via alone, and without Require and
    /// Proxy-Require.
    ///
    /// - Parameters:
    ///   - invite: the request as we sent it.
    ///   - cancel: the CANCEL that came to us; its Reason rows are copied (RFC 3326 §2).
    /// - Throws: `missingPart` where the INVITE lacks what a CANCEL needs.
    public static func makeCANCEL(
        for invite: Message, reasonsOf cancel: Message? = nil, extra: [(StaticString, [UInt8])] = []
    ) throws(WriteError) -> [UInt8] {
        guard let to = invite.first(.to) else { throw WriteError(problem: .missingPart, part: "To") }
        var writer = try RequestWriter.begin("CANCEL", from: invite)
        writer.copy(to, of: invite)
        if let cancel { writer.copyAll(.reason, of: cancel) }
        for (name, value) in extra { writer.header(name, value) }
        try RequestWriter.end("CANCEL", from: invite, to: &writer)
        return try writer.finish()
    }

    private static func begin(_ method: StaticString, from invite: Message) throws(WriteError) -> MessageWriter {
        guard invite.isRequest, let via = invite.topVia else { throw WriteError(problem: .missingPart, part: "Via") }
        guard let from = invite.first(.from) else { throw WriteError(problem: .missingPart, part: "From") }
        var writer = MessageWriter()
        writer.requestLine(method: method, uri: invite.requestURI.bytes(in: invite.bytes))
        writer.header("Via", copying: via.value, of: invite)
        writer.header("Max-Forwards", 70)
        writer.copyAll(.route, of: invite)
        writer.copy(from, of: invite)
        return writer
    }

    private static func end(
        _ method: StaticString, from invite: Message, to writer: inout MessageWriter
    ) throws(WriteError) {
        guard let callID = invite.first(.callID) else { throw WriteError(problem: .missingPart, part: "Call-ID") }
        guard let cseq = invite.cseq else { throw WriteError(problem: .missingPart, part: "CSeq") }
        writer.copy(callID, of: invite)
        writer.header("CSeq", decimal(Int(cseq.number)) + [.space] + Array(method.utf8Bytes))
        writer.endHeaders()
    }
}
