import SIPMessage
import Testing

/// What a framer hands out, as far as tests compare it.
enum Framed: Equatable {
    case message(String)
    case ping
    case fault(Int, closes: Bool)
    case close
}

/// A framer and what came out of it.
struct Stream {
    var framer: Framer
    var events: [Framed] = []

    init(limits: MessageLimits = MessageLimits()) {
        self.framer = Framer(limits: limits)
    }

    mutating func feed(_ bytes: [UInt8], chunk: Int = .max) {
        var events: [Framed] = []
        var start = 0
        while start < bytes.count {
            let end = start + min(chunk, bytes.count - start)
            bytes[start..<end].withUnsafeBytes { input in
                self.framer.receive(input) { event in
                    events.append(Stream.framed(event))
                    return true
                }
            }
            start = end
        }
        self.events += events
    }

    mutating func take(_ event: Framer.Event?) {
        if let event { self.events.append(Stream.framed(event)) }
    }

    private static func framed(_ event: Framer.Event) -> Framed {
        switch event {
        case .message(let message): .message(message.bytes.text)
        case .ping: .ping
        case .fault(let fault): .fault(fault.status, closes: fault.closesStream)
        case .close: .close
        }
    }
}

@Suite struct FramerTests {
    private let first = invite(changing: ["Content-Length": "4"], body: "body")
    private let second = invite(
        startLine: "OPTIONS sip:a.example SIP/2.0", changing: ["CSeq": "2 OPTIONS", "Call-ID": "second"])

    @Test(
        "FRAME-01: messages come out once and in order, however they are cut", arguments: [1, 2, 3, 7, 50, 500, .max])
    func cuts(chunk: Int) {
        var stream = Stream()
        stream.feed(first + second + first, chunk: chunk)
        #expect(stream.events == [.message(first.text), .message(second.text), .message(first.text)])
        #expect(!stream.framer.isInsideHeader && !stream.framer.isInsideBody)
    }

    @Test("FRAME-01: every cut into two gives the same messages")
    func everyCut() {
        let both = first + second
        for cut in 1..<both.count {
            var stream = Stream()
            stream.feed(Array(both[..<cut]))
            stream.feed(Array(both[cut...]))
            #expect(stream.events == [.message(first.text), .message(second.text)], "cut at \(cut)")
        }
    }

    @Test("The deadlines run inside a header section and inside a body, and nowhere else")
    func deadlines() throws {
        let headEnd = first.count - 4
        var stream = Stream()
        #expect(!stream.framer.isInsideHeader && !stream.framer.isInsideBody)
        for (index, byte) in first.enumerated() {
            stream.feed([byte])
            let count = index + 1
            #expect(stream.framer.isInsideHeader == (count < headEnd), "byte \(index)")
            #expect(stream.framer.isInsideBody == (count >= headEnd && count < first.count), "byte \(index)")
        }
        #expect(stream.events == [.message(first.text)])
        stream.feed(Array("\r\n\r".utf8))
        #expect(!stream.framer.isInsideHeader && !stream.framer.isInsideBody)
    }

    @Test("FRAME-02: a datagram shorter than its Content-Length is 400")
    func shortDatagram() {
        #expect(gateProblem(invite(changing: ["Content-Length": "5"], body: "body")) == .bodyShort)
        #expect(gateStatus(invite(changing: ["Content-Length": "5"], body: "body")) == 400)
        #expect(gateStatus(invite(changing: ["Content-Length": "99999999999999999999"])) == 400)
    }

    @Test("FRAME-03: a response shorter than its Content-Length is dropped")
    func shortResponse() {
        #expect(gateStatus(invite(startLine: "SIP/2.0 200 OK", changing: ["Content-Length": "5"], body: "body")) == 0)
    }

    @Test("FRAME-04, T4475-dblreq: what a datagram has beyond Content-Length is cut")
    func surplus() throws {
        let message = try message(first + second)
        #expect(message.bytes == first)
        #expect(message.text(message.body) == "body")
    }

    @Test("FRAME-05: without Content-Length the body runs to the datagram's end")
    func noContentLength() throws {
        let message = try message(invite(changing: ["Content-Length": nil], body: "whole body"))
        #expect(message.text(message.body) == "whole body")
        #expect(message.contentLength == nil)
        #expect(message.checkSyntax() == nil)
        var editor = MessageEditor(message)
        editor.setContentLength()
        #expect(try editor.finish().lines.contains("Content-Length: 10"))
    }

    @Test(
        "FRAME-06: a stream request with no, bad or two Content-Lengths is 400, then close; a response is closed on",
        arguments: [
            [], ["Content-Length: five"], ["Content-Length: -1"], ["l: 0", "Content-Length: 0"],
            ["Content-Length: 1", "Content-Length: 0"], ["Content-Length:"], ["Content-Length: 1 0"],
            ["Content-Length: 0x10"], ["Content-Length: +1"],
        ])
    func badContentLength(rows: [String]) {
        for chunk in [Int.max, 10] {
            var stream = Stream()
            stream.feed(invite(changing: ["Content-Length": nil], adding: rows) + second, chunk: chunk)
            #expect(stream.events == [.fault(400, closes: true)], "\(rows)")
            var responses = Stream()
            let response = invite(startLine: "SIP/2.0 200 OK", changing: ["Content-Length": nil], adding: rows)
            responses.feed(response + second, chunk: chunk)
            #expect(responses.events == [.fault(0, closes: true)], "\(rows)")
        }
    }

    @Test("FRAME-06: what else is wrong with a request without Content-Length is told before the close")
    func badContentLengthAndMore() {
        for (line, status) in [
            ("INVITE unknown:x SIP/2.0", 416), ("INVITE sip:b@a.example SIP/3.0", 505),
            ("ACK sip:b@a.example SIP/2.0", 0),
        ] {
            var stream = Stream()
            let method = String(line.prefix { $0 != " " })
            stream.feed(invite(startLine: line, changing: ["Content-Length": nil, "CSeq": "1 \(method)"]))
            #expect(stream.events == [.fault(status, closes: true)], "\(line)")
        }
        var stream = Stream()
        stream.feed(invite(changing: ["Content-Length": nil, "Max-Forwards": "0"]))
        #expect(stream.events == [.fault(483, closes: true)])
    }

    @Test("FRAME-07, TLS-09: a body that stays short is 400 after a clean end or the deadline, and nothing after a cut")
    func shortBody() {
        let short = Array(first.dropLast())
        func after(_ bytes: [UInt8], _ end: (inout Framer) -> Framer.Event?) -> [Framed] {
            var stream = Stream()
            stream.feed(bytes)
            stream.take(end(&stream.framer))
            stream.feed(second)
            return stream.events
        }
        #expect(after(short) { $0.endOfStream(clean: true) } == [.fault(400, closes: true)])
        #expect(after(short) { $0.bodyTimedOut() } == [.fault(400, closes: true)])
        #expect(after(short) { $0.endOfStream(clean: false) } == [.close])
        let response = invite(startLine: "SIP/2.0 200 OK", changing: ["Content-Length": "4"], body: "bod")
        #expect(after(response) { $0.endOfStream(clean: true) } == [.fault(0, closes: true)])
        #expect(after(response) { $0.bodyTimedOut() } == [.fault(0, closes: true)])
        #expect(after(Array(first.prefix(100))) { $0.endOfStream(clean: true) } == [.close])
        #expect(after(Array(first.prefix(100))) { $0.headerTimedOut() } == [.close])
        #expect(after(first) { $0.endOfStream(clean: true) } == [.message(first.text)])
        #expect(
            after(first) { $0.bodyTimedOut() ?? $0.headerTimedOut() } == [.message(first.text), .message(second.text)])
    }

    @Test("FRAME-09, KEEP-02: single CRLFs before a start line are ignored", arguments: [1, 2, .max])
    func leadingLineEnds(chunk: Int) {
        var stream = Stream()
        stream.feed(Array("\r\n".utf8) + first + Array("\r\n".utf8) + second + Array("\r\n".utf8), chunk: chunk)
        #expect(stream.events == [.message(first.text), .message(second.text)])
        #expect(stream.framer.keepAliveCount == 3)
    }

    @Test(
        "KEEP-01: a double CRLF between messages is one ping, also before the first and in two parts",
        arguments: [1, 2, 3, .max])
    func pings(chunk: Int) {
        let ping = Array("\r\n\r\n".utf8)
        var stream = Stream()
        stream.feed(ping + first + ping + ping + second + ping, chunk: chunk)
        #expect(stream.events == [.ping, .message(first.text), .ping, .ping, .message(second.text), .ping])
    }

    @Test("KEEP-03: a body that begins with a double CRLF is no ping")
    func pingInBody() {
        let bytes = invite(changing: ["Content-Length": "6"], body: "\r\n\r\nxx")
        for chunk in [1, 4, Int.max] {
            var stream = Stream()
            stream.feed(bytes, chunk: chunk)
            #expect(stream.events == [.message(bytes.text)])
        }
    }

    @Test("KEEP-04: a STUN Binding Request is told from SIP on UDP, and ends a stream")
    func stun() {
        var request: [UInt8] = [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42] + Array(repeating: 7, count: 12)
        guard case .stunBinding = parse(request) else {
            Issue.record("no STUN request")
            return
        }
        var stream = Stream()
        stream.feed(request)
        #expect(stream.events == [.close])
        request[3] = 4
        #expect(gateStatus(request) == 0)
        if case .stunBinding = parse(request) { Issue.record("a STUN request with a wrong length") }
    }

    @Test("KEEP-05: a datagram of CRLF, NUL or nothing is a keep-alive")
    func emptyDatagrams() {
        for bytes in ["", "\r\n", "\r\n\r\n", "\0", "\0\0\0\0", "\0\r\n"] {
            guard case .keepAlive = parse(Array(bytes.utf8)) else {
                Issue.record("\(bytes.debugDescription) is no keep-alive")
                continue
            }
        }
    }

    @Test("FRAME-10: Content-Length counts octets, with spaces and zeros before it")
    func octets() throws {
        let message = try message(invite(changing: ["Content-Length": nil], adding: ["l:  0005"], body: "äöü"))
        #expect(message.body.bytes(in: message.bytes) == Array("äöü".utf8.prefix(5)))
    }

    @Test("FRAME-11: the largest datagram passes")
    func largestDatagram() {
        let empty = invite(changing: ["Content-Length": nil])
        let bytes = empty + Array(repeating: 0x62, count: 65_507 - empty.count)
        #expect(gateStatus(bytes) == nil)
    }

    @Test(
        "FRAME-12: what is no SIP is closed on at once, without an answer",
        arguments: [
            "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\u{16}\u{3}\u{1}", " INVITE", "\r\r", "\n",
            "\r\nx\ny\n", "\0",
            "SSH-2.0-x\r\n", "INVITE sip:b@a.example\r\n", "\u{e9}",
        ])
    func otherProtocols(text: String) {
        for chunk in [1, Int.max] {
            var stream = Stream()
            stream.feed(Array(text.utf8), chunk: chunk)
            stream.feed(first)
            #expect(stream.events == [.close], "\(text.debugDescription), \(chunk) at a time")
        }
    }

    @Test("FRAME-12, MSG-25: a header section past its limit is 513 when it ends, and closed on when it does not")
    func oversizedHeader() {
        let limits = MessageLimits(headerSection: 1000, requestURI: 100)
        let large = invite(adding: ["X: " + String(repeating: "x", count: 2000)])
        for chunk in [1, 100, Int.max] {
            var stream = Stream(limits: limits)
            stream.feed(large + second, chunk: chunk)
            #expect(stream.events == [.fault(513, closes: true)], "\(chunk) at a time")
            var endless = Stream(limits: limits)
            let beginning = Array(large.prefix(300)) + Array(repeating: 0x78, count: 2000)
            endless.feed(beginning, chunk: chunk)
            #expect(endless.events == [])
            #expect(endless.framer.isInsideHeader)
            endless.feed(Array(repeating: 0x78, count: 20_000), chunk: chunk == 1 ? 7 : chunk)
            #expect(endless.events == [.close])
        }
        var many = Stream()
        many.feed(invite(adding: Array(repeating: "X: y", count: 300)) + second)
        #expect(many.events == [.fault(513, closes: true)])
    }

    @Test("A body past the message limit is 413, then close; at the limit it passes")
    func oversizedBody() {
        let message = invite(changing: ["Content-Length": "500"], body: String(repeating: "b", count: 500))
        for chunk in [1, Int.max] {
            var fits = Stream(limits: MessageLimits(messageSize: message.count))
            fits.feed(message, chunk: chunk)
            #expect(fits.events == [.message(message.text)])
            var small = Stream(limits: MessageLimits(messageSize: message.count - 1))
            small.feed(message + second, chunk: chunk)
            #expect(small.events == [.fault(413, closes: true)])
        }
    }

    @Test("FRAME-13: a request inside a body is never parsed")
    func innerRequest() {
        let outer = invite(changing: ["Content-Length": "\(second.count)"]) + second
        for chunk in [1, 100, Int.max] {
            var stream = Stream()
            stream.feed(outer, chunk: chunk)
            #expect(stream.events == [.message(outer.text)])
        }
    }

    @Test("MSG-23: bare CR or LF and NUL on a stream are 400, then close")
    func bareControls() {
        let lines = inviteLines(adding: ["Subject: x"])
        for chunk in [1, 30, Int.max] {
            for (end, everywhere) in [("\n", false), ("\n", true), ("\r", false), ("\r", true)] {
                var text = ""
                for (index, line) in lines.enumerated() { text += line + (everywhere || index == 3 ? end : "\r\n") }
                var stream = Stream()
                stream.feed(Array((text + (everywhere ? end : "\r\n")).utf8) + second, chunk: chunk)
                // Where no line has an end of its own, the answer has what came with the first.
                let isPartial = everywhere && end == "\r" && chunk < .max
                let expected: [[Framed]] =
                    isPartial
                    ? [[.fault(0, closes: true)], [.fault(400, closes: true)]] : [[.fault(400, closes: true)]]
                #expect(
                    expected.contains(stream.events),
                    "\(end.debugDescription) everywhere: \(everywhere), \(chunk) at a time")
            }
            var stream = Stream()
            stream.feed(invite(adding: ["Subject: a\0b"]) + second, chunk: chunk)
            #expect(stream.events == [.fault(400, closes: true)])
        }
    }

    @Test("A request that is refused for its start line or size of its Request-URI leaves the stream in step")
    func faultsInStep() {
        for (line, status) in [
            ("INVITE  sip:b@a.example SIP/2.0", nil), ("INVITE sip:b@a.example SIP/2.0 ", 400),
            ("INVITE sip:b@a.example SIP/3.0", 505),
            ("SIP/3.0 200 OK", 0), ("SIP/2.0 4294967301 OK", 0),
            ("INVITE sip:\(String(repeating: "u", count: 4100)) SIP/2.0", 414),
        ] as [(String, Int?)] {
            for chunk in [1, Int.max] {
                let bytes = invite(startLine: line, changing: ["Content-Length": "4"], body: "body")
                var stream = Stream()
                stream.feed(bytes + second, chunk: chunk)
                let expected = status.map { Framed.fault($0, closes: false) } ?? .message(bytes.text)
                #expect(stream.events == [expected, .message(second.text)], "\(line.prefix(40))")
            }
        }
    }

    @Test(
        "What loses the framing ends the stream, also behind another fault of the same message",
        arguments: [["Content-Length: 9", "l: 0"], ["Subject: a\0b"], ["Subject: a\rb"], ["Content-Length: x"]])
    func secondProblem(rows: [String]) {
        let bytes = invite(changing: ["Content-Length": nil], adding: ["no colon"] + rows)
        for chunk in [1, Int.max] {
            var stream = Stream()
            stream.feed(bytes + second, chunk: chunk)
            #expect(stream.events == [.fault(400, closes: true)], "\(rows)")
        }
    }

    @Test("MSG-25: a Request-URI past its limit is 414 and the stream goes on; far past it the stream ends")
    func oversizedRequestURI() {
        let limits = MessageLimits(headerSection: 1000, requestURI: 100)
        func bytes(_ count: Int) -> [UInt8] {
            invite(startLine: "INVITE sip:\(String(repeating: "u", count: count))@a.example SIP/2.0")
        }
        for chunk in [1, 100, Int.max] {
            var stream = Stream(limits: limits)
            stream.feed(bytes(600) + second, chunk: chunk)
            #expect(stream.events == [.fault(414, closes: false), .message(second.text)])
            var ended = Stream(limits: limits)
            ended.feed(bytes(2000) + second, chunk: chunk)
            #expect(ended.events == [chunk == .max ? .fault(414, closes: true) : .close])
        }
    }

    @Test("Who says stop gets no more")
    func stop() {
        var framer = Framer()
        var count = 0
        (first + second).withUnsafeBytes { input in
            framer.receive(input) { _ in
                count += 1
                return false
            }
            framer.receive(input) { _ in
                count += 1
                return true
            }
        }
        #expect(count == 1)
    }
}
