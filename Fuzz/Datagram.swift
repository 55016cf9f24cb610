import SIPMessage

// A datagram from anybody: parsed, judged, answered, and relayed as a proxy would. What we write must read as what we meant.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let source = Endpoint("192.0.2.1:5060")!
    switch Parser.parse(datagram: UnsafeRawBufferPointer(start: start, count: count)) {
    case .keepAlive, .stunBinding:
        break
    case .refused(let fault):
        _ = ResponseWriter.make(answering: fault, source: source, toTag: Array("tag".utf8)).map(read)
    case .message(let message):
        if let fault = message.checkSyntax() {
            _ = ResponseWriter.make(answering: fault, source: source, toTag: Array("tag".utf8)).map(read)
        } else {
            relay(message, from: source)
        }
    }
    return 0
}

/// Reads what we wrote.
@discardableResult
func read(_ bytes: [UInt8]) -> Message? {
    bytes.withUnsafeBytes { buffer in
        if case .message(let message) = Parser.parse(datagram: buffer) { message } else { nil }
    }
}

func relay(_ message: Message, from source: Endpoint) {
    if message.isRequest {
        _ = ResponseWriter.make(status: 404, to: message, source: source, toTag: Array("tag".utf8)).map { bytes in
            guard let response = read(bytes) else { fatalError("our response does not parse") }
            require(response.status == 404, "our response has another status")
        }
    }
    var editor = MessageEditor(message)
    if message.isRequest {
        editor.markReceived(from: source)
        editor.insertAtTop("Via", Array("SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKfuzz".utf8))
        editor.insertAtTop("Record-Route", Array("<sip:192.0.2.9;lr>".utf8))
    } else if let via = message.topVia {
        editor.remove(value: via.value, of: .via)
    }
    editor.removeAll(.gatehouse)
    editor.setContentLength()
    guard let bytes = try? editor.finish() else { fatalError("a message that passed the gate cannot be written") }
    guard let copy = read(bytes) else {
        // A response whose last Via was ours has none left, and goes to nobody.
        require(!message.isRequest && message.count(of: .via) <= 1, "our copy does not parse")
        return
    }
    require(copy.isRequest == message.isRequest, "our copy is of another kind")
    require(copy.count(of: .gatehouse) == 0, "our copy kept a header of ours")
    require(copy.body.count == message.body.count, "our copy has another body")
    if message.isRequest {
        require(copy.checkSyntax() == nil, "our copy of a good request is not good")
    }
}

/// A precondition whose message shows in an optimised build.
func require(_ condition: Bool, _ message: String) {
    if !condition { fatalError(message) }
}
