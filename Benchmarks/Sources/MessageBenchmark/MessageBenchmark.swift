import SIPMessage

/// Prints what one message costs at each step, in nanoseconds: the best of many rounds, so that neighbours on the machine
/// count little.
///
/// `MessageBenchmark NAME` runs one step alone, for a profiler.
@main
struct MessageBenchmark {
    static func main() {
        let only = CommandLine.arguments.dropFirst().first
        let datagram = invite()
        let parsed = parse(datagram)
        print(
            "INVITE of \(datagram.count) bytes, \(parsed.fields.count) header fields; Message takes \(MemoryLayout<Message>.size) bytes"
        )
        func step(_ name: String, _ body: () -> Int) {
            if let only, only != name { return }
            measure(name, body)
        }
        step("parse") { parse(datagram).fields.count }
        step("checkSyntax") { parsed.checkSyntax() == nil ? 1 : 0 }
        step("parse-and-check") { parse(datagram).checkSyntax() == nil ? 1 : 0 }
        step("edit-8") { edit(parsed).count }
        step("frame") { frame(datagram) }
        step("frame-split") { frameSplit(datagram) }
        let source = Endpoint(address: IPAddress(v4: 0xC000_0201), port: 49_152)
        step("response") {
            ResponseWriter.make(status: 100, to: parsed, source: source)?.count ?? 0
        }
        step("proxyValidation") { proxyValidation(of: parsed) == nil ? 1 : 0 }
    }

    @inline(never)
    static func parse(_ bytes: [UInt8]) -> Message {
        let result = bytes.withUnsafeBytes { Parser.parse(datagram: $0) }
        guard case .message(let message) = result else { fatalError("the benchmark's message does not parse") }
        return message
    }

    @inline(never)
    static func edit(_ message: Message) -> [UInt8] {
        var editor = MessageEditor(message)
        let via = message.topVia!
        editor.replace(message.requestURI, with: targetURI)
        editor.replace(message.first(.maxForwards)!.value, with: sixtyNine)
        editor.replace(via.rport!, with: rport)
        editor.insert(received, at: via.value.end)
        editor.remove(message.first(.route)!)
        editor.insertAtTop("Record-Route", recordRoute)
        editor.insertAtTop("Via", ownVia)
        editor.append("X-Gatehouse-Session", session)
        guard let bytes = try? editor.finish() else { fatalError("the benchmark's edit fails") }
        return bytes
    }

    @inline(never)
    static func frame(_ bytes: [UInt8]) -> Int {
        var framer = Framer()
        var count = 0
        bytes.withUnsafeBytes { input in
            framer.receive(input) { event in
                if case .message = event { count += 1 }
                return true
            }
        }
        return count
    }

    @inline(never)
    static func frameSplit(_ bytes: [UInt8]) -> Int {
        var framer = Framer()
        var count = 0
        bytes.withUnsafeBytes { input in
            for part in [0..<500, 500..<bytes.count] {
                framer.receive(UnsafeRawBufferPointer(rebasing: input[part])) { event in
                    if case .message = event { count += 1 }
                    return true
                }
            }
        }
        return count
    }

    static func measure(_ name: String, _ body: () -> Int) {
        let clock = ContinuousClock()
        let count = 2_000
        var best = Duration.seconds(1)
        var sum = 0
        for _ in 0..<200 {
            let time = clock.measure {
                for _ in 0..<count { sum &+= body() }
            }
            best = min(best, time)
        }
        let nanoseconds = Double(best.components.attoseconds) / 1e9 / Double(count)
        print("\(name): \((nanoseconds * 10).rounded() / 10) ns\(sum == 0 ? " (nothing done)" : "")")
    }

    static let targetURI = Array("sip:bob@10.0.0.10:5060;transport=udp".utf8)
    static let sixtyNine = Array("69".utf8)
    static let rport = Array("=49152".utf8)
    static let received = Array(";received=192.0.2.1".utf8)
    static let recordRoute = Array("<sip:vYkK2l0TnQ@10.0.0.2:5060;lr>".utf8)
    static let ownVia = Array("SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1a2b3c4d5e6f708192a3b4c5d6e7f809;rport".utf8)
    static let session = Array("7f3c9e1ab2d4; arrived=sips; transport=tls; domain=alpha.example; sig=abcdefghijk".utf8)

    static func invite() -> [UInt8] {
        let head = [
            "INVITE sips:bob@alpha.example SIP/2.0",
            "Via: SIP/2.0/TLS 192.168.1.20:49152;branch=z9hG4bK-524287-1---3f9d7c2be8a14f60;rport",
            "Max-Forwards: 70", "Route: <sips:sip.alpha.example:5061;lr>",
            "Contact: <sips:alice@192.168.1.20:49152;ob>;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"",
            "To: \"Bob Builder\" <sips:bob@alpha.example>",
            "From: \"Alice Example\" <sips:alice@alpha.example>;tag=8f2a4c6e",
            "Call-ID: 84712NzA5ZTk4YWJjZGVmZ2hpamtsbW5v",
            "CSeq: 1 INVITE",
            "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE",
            "Content-Type: application/sdp", "Supported: replaces, norefersub, extended-refer, timer, outbound, path",
            "User-Agent: Example Phone 5.2.11 (build 41327)", "Session-Expires: 1800;refresher=uac",
            "P-Preferred-Identity: <sips:alice@alpha.example>",
        ]
        var body = "v=0\r\no=- 1795300000 1 IN IP4 192.168.1.20\r\ns=-\r\nc=IN IP4 192.168.1.20\r\nt=0 0\r\n"
        body +=
            "m=audio 49170 RTP/SAVP 9 0 8 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        body += "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n"
        let count = body.utf8.count
        return Array((head.joined(separator: "\r\n") + "\r\nContent-Length: \(count)\r\n\r\n" + body).utf8)
    }
}
