import SIPMessage

// A datagram from anybody: parsed, judged, walked, answered, and relayed as a proxy would. What we write must read as what we
// meant, and what passed the gate passes it again.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let source = Endpoint("192.0.2.1:5060")!
    switch Parser.parse(datagram: UnsafeRawBufferPointer(start: start, count: count)) {
    case .keepAlive, .stunBinding:
        break
    case .refused(let fault):
        if let message = fault.message { walk(message) }
        answer(fault, to: source)
    case .message(let message):
        walk(message)
        if let fault = message.checkSyntax() {
            answer(fault, to: source)
        } else {
            relay(message, from: source)
            derive(message)
        }
    }
    return 0
}

/// Reads what we wrote.
func read(_ bytes: [UInt8]) -> Message? {
    bytes.withUnsafeBytes { buffer in
        if case .message(let message) = Parser.parse(datagram: buffer) { message } else { nil }
    }
}

/// Reads every value as everything it might be; no part may lie outside its value.
func walk(_ message: Message) {
    for name in HeaderName.allCases {
        for value in message.values(of: name) {
            if let address = try? NameAddr.parse(message.bytes, value) {
                for parameter in address.parameterList(in: message.bytes) {
                    require(value.contains(parameter.whole), "a parameter lies outside its value")
                }
                require(value.contains(address.whole), "an address lies outside its value")
                require(address.whole.contains(address.uri.hostPort), "a host lies outside its address")
                require(address.whole.contains(address.uri.userInfo), "a user lies outside its address")
                _ = address.uri.hostName(in: message.bytes)
            }
            if let via = try? Via.parse(message.bytes, value) {
                require(value.contains(via.value), "a Via lies outside its value")
            }
        }
        _ = message.count(of: name)
    }
}

func answer(_ fault: SyntaxFault, to source: Endpoint) {
    guard let bytes = ResponseWriter.make(answering: fault, source: source, toTag: Array("tag".utf8)) else { return }
    guard let response = read(bytes) else { fatalError("our response to a fault does not parse") }
    require(response.status == fault.status, "our response has another status")
}

func relay(_ message: Message, from source: Endpoint) {
    require((try? MessageEditor(message).finish()) == message.bytes, "an edit of nothing changes something")
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
        for route in message.values(of: .route).prefix(2) { editor.remove(value: route, of: .route) }
    } else if let via = message.topVia {
        editor.remove(value: via.value, of: .via)
    }
    editor.removeAll(.gatehouse)
    editor.setContentLength()
    guard let bytes = try? editor.finish() else { fatalError("a message that passed the gate cannot be written") }
    guard let copy = try? Message(bytes) else { fatalError("our copy does not parse") }
    require(copy.isRequest == message.isRequest, "our copy is of another kind")
    require(copy.count(of: .gatehouse) == 0, "our copy kept a header of ours")
    require(copy.body.bytes(in: bytes) == message.body.bytes(in: message.bytes), "our copy has another body")
    if message.isRequest {
        // With a Via more than came in.
        require(copy.checkSyntax(MessageLimits(vias: 71)) == nil, "our copy of a good request is not good")
    }
}

/// Makes the requests that a transaction makes of this one.
func derive(_ message: Message) {
    guard message.isRequest else { return }
    guard let cancel = try? RequestWriter.makeCANCEL(for: message, reasonsOf: message),
        let ack = try? RequestWriter.makeACK(for: message, response: message)
    else { fatalError("a request that passed the gate cannot be cancelled or acknowledged") }
    for bytes in [cancel, ack] {
        require((try? Message(bytes))?.checkSyntax() == nil, "our own request is not good")
    }
}

/// A precondition whose message shows in an optimised build.
func require(_ condition: Bool, _ message: String) {
    if !condition { fatalError(message) }
}
