import SIPMessage
import Testing

/// A message from its lines, without the CRLFs.
func bytes(_ lines: [String], body: String = "") -> [UInt8] {
    Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8)
}

/// An INVITE in good order; `changing` replaces rows by name, with nil to leave one out, and `adding` rows follow.
func inviteLines(
    startLine: String = "INVITE sip:bob@a.example SIP/2.0", changing: [String: String?] = [:], adding: [String] = []
) -> [String] {
    let rows: [(String, String)] = [
        ("Via", "SIP/2.0/TLS client.example:5061;branch=z9hG4bK74bf9"),
        ("Max-Forwards", "70"),
        ("From", "\"Alice\" <sip:alice@far.example>;tag=9fxced76sl"),
        ("To", "Bob <sip:bob@a.example>"),
        ("Call-ID", "3848276298220188511@far.example"),
        ("CSeq", "1 INVITE"),
        ("Contact", "<sip:alice@client.example>"),
        ("Content-Length", "0"),
    ]
    let kept = rows.compactMap { name, value -> String? in
        guard let change = changing[name] else { return "\(name): \(value)" }
        return change.map { "\(name): \($0)" }
    }
    return [startLine] + kept + adding
}

func invite(
    startLine: String = "INVITE sip:bob@a.example SIP/2.0", changing: [String: String?] = [:], adding: [String] = [],
    body: String = ""
) -> [UInt8] {
    bytes(inviteLines(startLine: startLine, changing: changing, adding: adding), body: body)
}

func parse(_ bytes: [UInt8], limits: MessageLimits = MessageLimits()) -> ParsedDatagram {
    bytes.withUnsafeBytes { Parser.parse(datagram: $0, limits: limits) }
}

/// The message of a datagram that is one.
func message(_ bytes: [UInt8], _ location: SourceLocation = #_sourceLocation) throws -> Message {
    guard case .message(let message) = parse(bytes) else {
        Issue.record("no message: \(parse(bytes))", sourceLocation: location)
        throw ParseError(.startLine, at: 0)
    }
    return message
}

/// The status that the gate gives a datagram: nil where it passes, 0 where it is dropped.
func gateStatus(_ bytes: [UInt8], limits: MessageLimits = MessageLimits()) -> Int? {
    switch parse(bytes, limits: limits) {
    case .message(let message): message.checkSyntax(limits)?.status
    case .refused(let fault): fault.status
    case .keepAlive, .stunBinding: 0
    }
}

/// What the gate finds wrong with a datagram.
func gateProblem(_ bytes: [UInt8], limits: MessageLimits = MessageLimits()) -> ParseError.Problem? {
    switch parse(bytes, limits: limits) {
    case .message(let message): message.checkSyntax(limits)?.cause.problem
    case .refused(let fault): fault.cause.problem
    case .keepAlive, .stunBinding: nil
    }
}

extension Message {
    func text(_ range: ByteRange?) -> String? { range?.text(in: self.bytes) }
    func text(_ name: HeaderName) -> [String] { self.values(of: name).map { $0.text(in: self.bytes) } }
}

extension [UInt8] {
    var text: String { String(decoding: self, as: UTF8.self) }
    var lines: [String] { self.text.split(separator: "\r\n", omittingEmptySubsequences: false).map(String.init) }
}
