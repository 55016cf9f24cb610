import SIPMessage
import TestSupport

/// Random damage to a message: bytes changed, cut, doubled, and pieces of the grammar put where they do not belong.
enum Mutation {
    private static let pieces: [[UInt8]] = [
        "\r\n", "\r", "\n", "\0", "\"", "\\", "<", ">", ",", ";", ":", "@", "%", "[", "]", "=", " ", "\t", "\r\n ",
        "\r\n\r\n",
        ";lr", ";branch=z9hG4bK", ";rport", ";tag=", "sip:", "SIP/2.0", "Content-Length: ", "Via: ", "4294967296", "::",
        "%00",
        "\u{e9}", "(", ")", "?a=b&", "*",
    ].map { Array($0.utf8) }

    static func mutate(_ bytes: [UInt8], using generator: inout SeededGenerator) -> [UInt8] {
        var result = bytes
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let position = Int.random(in: 0...result.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0 where position < result.count:
                result[position] = UInt8.random(in: 0...255, using: &generator)
            case 1 where position < result.count:
                result[position] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            case 2:
                let end = min(result.count, position + Int.random(in: 0...20, using: &generator))
                result.removeSubrange(position..<end)
            case 3:
                let end = min(result.count, position + Int.random(in: 0...60, using: &generator))
                result.insert(contentsOf: result[position..<end], at: position)
            case 4:
                result.removeSubrange(position...)
            default:
                result.insert(contentsOf: pieces[Int.random(in: 0..<pieces.count, using: &generator)], at: position)
            }
        }
        return result
    }
}

/// Calls what a gateway calls with a message from the wire; the results only have to be there.
func exercise(_ bytes: [UInt8]) {
    switch parse(bytes) {
    case .message(let message):
        walk(message)
        if let fault = message.checkSyntax() {
            _ = ResponseWriter.make(answering: fault, source: source, toTag: [0x31])
        }
        _ = proxyValidation(of: message)
        edit(message)
    case .refused(let fault):
        if let message = fault.message { walk(message) }
        _ = ResponseWriter.make(answering: fault, source: source, toTag: [0x31])
    case .keepAlive, .stunBinding:
        break
    }
    var framer = Framer()
    bytes.withUnsafeBytes { input in
        let middle = input.count / 2
        for part in [0..<middle, middle..<input.count] {
            framer.receive(UnsafeRawBufferPointer(rebasing: input[part])) { _ in true }
        }
    }
    _ = framer.endOfStream(clean: true)
}

private let source = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 5060)

private func walk(_ message: Message) {
    for name in HeaderName.allCases {
        for value in message.values(of: name) {
            if let address = try? NameAddr.parse(message.bytes, value) {
                _ = address.parameterList(in: message.bytes).reduce(0) { $0 + $1.whole.count }
                _ = address.uri.isLooseRoute(in: message.bytes)
                _ = address.uri.hostName(in: message.bytes)
                _ = address.whole.text(in: message.bytes)
                _ = address.uri.hostPort.bytes(in: message.bytes)
                _ = address.uri.userInfo.bytes(in: message.bytes)
            }
            if let via = try? Via.parse(message.bytes, value) { _ = via.sentByAddress(in: message.bytes) }
        }
        _ = message.count(of: name)
    }
}

private func edit(_ message: Message) {
    var editor = MessageEditor(message)
    editor.markReceived(from: source)
    editor.setContentLength()
    if let route = message.values(of: .route).first(where: { _ in true }) { editor.remove(value: route, of: .route) }
    editor.removeAll(.contact)
    editor.insertAtTop("Via", Array("SIP/2.0/UDP h;branch=z9hG4bK1".utf8))
    editor.replace(message.requestURI, with: Array("sip:a@b".utf8))
    _ = try? editor.finish()
    _ = try? RequestWriter.makeCANCEL(for: message, reasonsOf: message)
    _ = try? RequestWriter.makeACK(for: message, response: message)
}
