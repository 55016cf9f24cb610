import SIPMessage
import Testing

/// Section 1.1 of the conformance checklist, as far as syntax goes.
@Suite struct HeaderTests {
    @Test("MSG-01: compact and long names are one header")
    func compactNames() throws {
        let message = try message(
            bytes([
                "INVITE sip:bob@a.example SIP/2.0", "v: SIP/2.0/TCP one.example;branch=z9hG4bKa",
                "Via: SIP/2.0/TCP two.example;branch=z9hG4bKb", "f: <sip:a@far.example>;tag=1", "t: <sip:b@a.example>",
                "i: x@y", "m: <sip:a@one.example>", "CSeq: 1 INVITE", "c: application/sdp", "e: gzip", "k: path",
                "Supported: outbound", "s: hello", "l: 0",
            ]))
        #expect(message.checkSyntax() == nil)
        #expect(message.count(of: .via) == 2)
        #expect(message.text(message.topVia?.sentByHost) == "one.example")
        #expect(message.text(.via).count == 2)
        #expect(message.text(.supported) == ["path", "outbound"])
        #expect(message.contentLength == 0)
        #expect(message.first(.contentType) != nil)
        #expect(message.count(of: .other) == 2)
    }

    @Test("MSG-01, MSG-02: every name is found in long and compact form and in any case")
    func allNames() {
        for name in HeaderName.allCases where name != .other && name != .gatehouse {
            let text = name.text.description
            let value = name == .contentLength ? "0" : "<sip:v@h>"
            for written in [text, text.uppercased(), text.lowercased(), name.compactText?.description ?? text] {
                for colon in [":", " \t:"] {
                    let bytes = invite(changing: ["Content-Length": nil], adding: ["\(written)\(colon) \(value)"])
                    let parsed = try? message(bytes)
                    #expect(parsed?.fields.last?.name == name, "\(written)\(colon)")
                    #expect(parsed?.text(parsed?.fields.last?.nameRange) == written)
                }
            }
            #expect(HeaderName(name.text) == name)
        }
    }

    @Test(
        "MSG-01: a name that only resembles a known one is another",
        arguments: [
            "Vi", "Viaa", "Call_ID", "CallID", "Max-Forward", "Max-Forwardss", "C%6Fntact",
            "P-Charging-Function-Addresse",
            "P-Charging-Function-Addressess", "X-Gatehous-Session", "XX-Gatehouse-Session", "q", "Record-Routes",
            "Fro`",
        ])
    func unknownNames(name: String) throws {
        let message = try message(invite(adding: ["\(name): 1"]))
        #expect(message.fields.last?.name == .other)
    }

    @Test(
        "TRUST-06: the gateway's own names are found in any spelling",
        arguments: ["X-Gatehouse-Session", "x-gatehouse-session", "X-GATEHOUSE-", "X-gAtEhOuSe-Whatever-Else-There-Is"])
    func gatehouseNames(name: String) throws {
        for row in ["\(name): 1", "\(name)  : 1", "\(name):\r\n 1"] {
            let message = try message(invite(adding: [row]))
            #expect(message.fields.last?.name == .gatehouse, "\(row)")
        }
    }

    @Test("MSG-02: names, parameter names and tokens compare without case")
    func anyCase() throws {
        let message = try message(
            invite(
                changing: ["Via": "sip/2.0/tls client.example;BRANCH=Z9HG4BKabc;RPORT", "Max-Forwards": nil],
                adding: ["MaX-fOrWaRdS: 5"]))
        #expect(message.maxForwards == 5)
        #expect(message.topVia?.hasMagicCookie == true)
        #expect(message.topVia?.rport?.isEmpty == true)
        #expect(message.text(message.topVia?.branch) == "Z9HG4BKabc")
        #expect(message.checkSyntax() == nil)
    }

    @Test("MSG-03: folds and spaces before the colon are white space")
    func folds() throws {
        let message = try message(
            invite(
                changing: ["Via": "SIP /\r\n 2.0\r\n\t/ TLS \r\n client.example \r\n ; branch\r\n =\r\n z9hG4bK1"],
                adding: [
                    "Route  : <sip:one.example;lr> ,\r\n <sip:two.example;lr>", "X-Unknown\t:\r\n a\r\n  b\r\n\tc",
                ]))
        #expect(message.checkSyntax() == nil)
        #expect(message.text(message.topVia?.branch) == "z9hG4bK1")
        #expect(message.text(message.topVia?.sentByHost) == "client.example")
        #expect(message.text(.route) == ["<sip:one.example;lr>", "<sip:two.example;lr>"])
        let unknown = try #require(message.first(named: "x-unknown"))
        #expect(message.unfolded(unknown.value).text == "a b c")
        #expect(unknown.line.text(in: message.bytes) == "X-Unknown\t:\r\n a\r\n  b\r\n\tc\r\n")
    }

    @Test("MSG-04: rows, a list and both mixed are the same values")
    func listsAndRows() throws {
        let values = ["<sip:one.example;lr>", "<sip:two.example;lr>", "\"x, y\" <sip:c,d@three.example;lr>;q=\",\""]
        let layouts = [values, [values.joined(separator: ",")], [values[0] + " , " + values[1], values[2]]]
        for layout in layouts {
            let message = try message(invite(adding: layout.map { "Route: \($0)" }))
            #expect(message.text(.route) == values)
            #expect(message.checkSyntax() == nil)
        }
    }

    @Test("MSG-05: separators in quotes and brackets do not separate")
    func quotedSeparators() throws {
        let contact = #""a, b; <c> \" \\" <sip:alice,x@client.example;p=1>;q=0.5"#
        let message = try message(invite(changing: ["Contact": contact + ", <sip:b@c.example>"]))
        #expect(message.text(.contact) == [contact, "<sip:b@c.example>"])
        let address = try NameAddr.parse(message.bytes, try #require(message.values(of: .contact).first { _ in true }))
        #expect(message.text(address.displayName) == #""a, b; <c> \" \\""#)
        #expect(message.text(address.uri.user) == "alice,x")
        #expect(message.text(address.parameter("q", in: message.bytes)) == "0.5")
        #expect(address.parameter("p", in: message.bytes) == nil)
    }

    @Test("MSG-06: credentials and challenges are never cut at commas")
    func credentials() throws {
        for name in ["Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate"] {
            let row = #"Digest realm="a.example", nonce="1", response="2""#
            let message = try message(invite(adding: ["\(name): \(row)", "\(name): \(row)"]))
            #expect(message.values(of: try #require(message.fields.last?.name)).map { message.text($0) } == [row, row])
        }
    }

    @Test(
        "MSG-08: the same parameter twice is refused",
        arguments: [
            ["Via": "SIP/2.0/TLS h.example;branch=z9hG4bK1;rport;rport"],
            ["Via": "SIP/2.0/TLS h.example;branch=z9hG4bK1;a=1;BRANCH=z9hG4bK1"],
            ["Via": "SIP/2.0/TLS h.example;branch=z9hG4bK1, SIP/2.0/TLS i.example;x;y=\"x;z\" ; X = 2"],
            ["To": "<sip:bob@a.example>;tag=1;tag=2"], ["Contact": "<sip:a@b.example;transport=tcp;Transport=tls>"],
        ])
    func repeatedParameters(changes: [String: String]) {
        #expect(gateProblem(invite(changing: changes)) == .repeatedParameter)
        #expect(gateStatus(invite(changing: changes)) == 400)
    }

    @Test("MSG-08: the same parameter twice in a Route is refused, in its URI or behind it")
    func repeatedRouteParameters() {
        #expect(gateProblem(invite(adding: ["Route: <sip:h.example;lr;lr>"])) == .repeatedParameter)
        #expect(gateProblem(invite(adding: ["Route: <sip:h.example;lr>;a=1;b;A"])) == .repeatedParameter)
        #expect(gateProblem(invite(adding: ["Route: <sip:h.example;lr>;lr"])) == nil)
    }

    @Test("MSG-08: more parameters than anyone sends are refused, as many as the limit pass")
    func manyParameters() {
        func via(_ count: Int) -> [UInt8] {
            invite(changing: ["Via": "SIP/2.0/TLS h.example" + (0..<count).map { ";p\($0)=\($0)" }.joined()])
        }
        #expect(gateProblem(via(64)) == nil)
        #expect(gateProblem(via(65)) == .tooManyParameters)
    }

    @Test("MSG-09: unknown methods, unknown and empty headers pass")
    func unknownParts() throws {
        let message = try message(
            invite(
                startLine: "FROBNICATE sip:b@a.example SIP/2.0", changing: ["CSeq": "1 FROBNICATE"], adding: ["X-Foo:"])
        )
        #expect(message.checkSyntax() == nil)
        #expect(message.method == .other)
        #expect(message.text(message.methodRange) == "FROBNICATE")
        #expect(message.fields.last?.value.isEmpty == true)
    }

    @Test("MSG-10: methods compare with case")
    func methodCase() throws {
        let lower = try message(invite(startLine: "invite sip:b@a.example SIP/2.0", changing: ["CSeq": "1 invite"]))
        #expect(lower.method == .other)
        #expect(lower.checkSyntax() == nil)
        for method in Method.allCases where method != .other {
            let text = method.text.description
            let message = try message(
                invite(startLine: "\(text) sip:b@a.example SIP/2.0", changing: ["CSeq": "1 \(text)"]))
            #expect(message.method == method)
            #expect(message.cseq?.method == method)
            #expect(message.checkSyntax() == nil)
            let longer = try self.methodOf("X" + text)
            #expect(longer == .other)
        }
        #expect(try self.methodOf("XUBSCRIBE") == .other)
        #expect(try self.methodOf("UBSCRIBE") == .other)
    }

    private func methodOf(_ text: String) throws -> SIPMessage.Method {
        try message(invite(startLine: "\(text) sip:b@a.example SIP/2.0", changing: ["CSeq": "1 \(text)"])).method
    }

    @Test("MSG-11: the version's letters have no case")
    func versionCase() {
        #expect(
            gateStatus(
                invite(startLine: "INVITE sip:b@a.example sip/2.0", changing: ["Via": "sip/2.0/tls h;branch=z9hG4bK1"]))
                == nil)
        #expect(gateStatus(bytes(["sIp/2.0 200 OK"] + inviteLines().dropFirst())) == nil)
    }

    @Test(
        "MSG-12: another version is 505 for a request, silence for a response",
        arguments: [
            ("INVITE sip:b@a.example SIP/3.0", 505), ("INVITE sip:b@a.example SIP/02.0", 505),
            ("INVITE sip:b@a.example SIP/2.00", 505), ("INVITE sip:b@a.example sip/10.12", 505),
            ("INVITE sip:b@a.example SIP/2", 400), ("INVITE sip:b@a.example SIP/2.", 400),
            ("INVITE sip:b@a.example SIP/2.0.0", 400), ("INVITE sip:b@a.example SIP/2.0/UDP", 400),
            ("SIP/3.0 200 OK", 0), ("SIP/2.00 200 OK", 0), ("ACK sip:b@a.example SIP/3.0", 0),
        ] as [(String, Int)])
    func version(startLine: String, status: Int) {
        #expect(gateStatus(invite(startLine: startLine)) == status)
    }

    @Test("MSG-13: a request without From, To, Call-ID or CSeq is 400, without Via it is dropped")
    func missingHeaders() {
        for name in ["From", "To", "Call-ID", "CSeq"] {
            #expect(gateStatus(invite(changing: [name: nil])) == 400, "\(name)")
        }
        #expect(gateStatus(invite(changing: ["Via": nil])) == 0)
        #expect(gateStatus(invite(changing: ["Max-Forwards": nil])) == nil)
    }

    @Test("MSG-14: two rows of a single-value header are 400, equal or not")
    func repeatedHeaders() {
        for (name, value) in [
            ("From", "<sip:alice@far.example>;tag=9fxced76sl"), ("To", "<sip:x@a.example>"), ("Call-ID", "other"),
            ("CSeq", "1 INVITE"), ("Max-Forwards", "70"),
        ] {
            #expect(gateProblem(invite(adding: ["\(name): \(value)"])) == .repeatedHeader, "\(name)")
            #expect(gateStatus(invite(adding: ["\(name): \(value)"])) == 400, "\(name)")
        }
        #expect(gateStatus(invite(changing: ["From": "<sip:a@b>;tag=1, <sip:c@d>;tag=2"])) == 400)
    }

    @Test(
        "MSG-15, T4475-mismatch01: CSeq is a word of 32 bits and the start line's method",
        arguments: [
            ("4294967295 INVITE", nil), ("4294967296 INVITE", 400), ("99999999999999999999999 INVITE", 400),
            ("0009\r\n  INVITE", nil), ("-1 INVITE", 400), ("1", 400), ("INVITE", 400), ("1INVITE", 400), ("", 400),
            ("1 OPTIONS", 400), ("1 invite", 400), ("1 INVITE x", 400), ("1 INV@TE", 400),
        ] as [(String, Int?)])
    func cseq(value: String, status: Int?) {
        #expect(gateStatus(invite(changing: ["CSeq": value])) == status)
    }

    @Test("MSG-15: an unknown method with another CSeq method is 501")
    func cseqOfUnknownMethod() {
        #expect(gateStatus(invite(startLine: "NEWMETHOD sip:b@a.example SIP/2.0")) == 501)
    }

    @Test(
        "MSG-16: Max-Forwards is a number from 0 to 255",
        arguments: [
            ("0", nil), ("255", nil), ("070", nil), ("256", 400), ("300", 400), ("abc", 400), ("-1", 400), ("", 400),
            ("7 0", 400), ("99999999999999999999999999", 400),
        ] as [(String, Int?)])
    func maxForwards(value: String, status: Int?) {
        #expect(gateStatus(invite(changing: ["Max-Forwards": value])) == status)
    }

    @Test("MSG-19: a body has any octets")
    func binaryBody() throws {
        let body: [UInt8] = [0, 0xFF, 0x0D, 0x0A, 0x0D, 0x0A, 0, 0x80]
        let message = try message(invite(changing: ["Content-Length": "8"]) + body)
        #expect(message.checkSyntax() == nil)
        #expect(message.body.bytes(in: message.bytes) == body)
    }

    @Test(
        "MSG-20: status codes of a known class pass, others are dropped",
        arguments: [
            ("SIP/2.0 100 ", nil), ("SIP/2.0 299 x", nil), ("SIP/2.0 499 x", nil), ("SIP/2.0 699 x", nil),
            ("SIP/2.0 099 x", 0), ("SIP/2.0 700 x", 0), ("SIP/2.0 20 x", 0), ("SIP/2.0 2000 x", 0), ("SIP/2.0 200", 0),
            ("SIP/2.0  200 x", 0), ("SIP/2.0 2x0 x", 0), ("SIP/2.0", 0), ("SIP/2.0 ", 0),
        ] as [(String, Int?)])
    func statusCodes(startLine: String, status: Int?) {
        #expect(gateStatus(invite(startLine: startLine)) == status)
    }

    @Test("MSG-21: without angle brackets all parameters are the header's")
    func bareContact() throws {
        let message = try message(invite(changing: ["Contact": "sip:u@h.example;transport=tcp ; expires=5"]))
        let contact = try NameAddr.parse(message.bytes, try #require(message.first(.contact)).value)
        #expect(!contact.hasAngles)
        #expect(contact.uri.transport(in: message.bytes) == nil)
        #expect(message.text(contact.parameter("transport", in: message.bytes)) == "tcp")
        #expect(message.text(contact.parameter("EXPIRES", in: message.bytes)) == "5")
        #expect(message.text(contact.addrSpec) == "sip:u@h.example")
    }

    @Test("MSG-22: a Route without angle brackets is 400")
    func bareRoute() {
        #expect(gateProblem(invite(adding: ["Route: sip:gw.a.example;lr"])) == .route)
        #expect(gateStatus(invite(adding: ["Route: <sip:one.example;lr>, sip:gw.a.example;lr"])) == 400)
    }

    @Test("MSG-23: bare CR or LF as line end, and CR, LF or NUL in a value, are 400")
    func bareControls() {
        let rows = inviteLines(adding: ["Subject: x"])
        for position in rows.indices {
            for end in ["\r", "\n"] {
                var text = ""
                for (index, row) in rows.enumerated() { text += row + (index == position ? end : "\r\n") }
                #expect(gateStatus(Array((text + "\r\n").utf8)) == 400, "\(end.debugDescription) after row \(position)")
            }
        }
        for end in ["\r", "\n"] {
            #expect(gateStatus(Array((rows.joined(separator: end) + end + end).utf8)) == 400, "\(end.debugDescription)")
        }
        for control in ["\r", "\n", "\0"] {
            #expect(gateStatus(invite(adding: ["Subject: a\(control)b"])) == 400, "\(control.debugDescription)")
            #expect(gateStatus(invite(adding: ["Subject: \"a\(control)b\""])) == 400, "\(control.debugDescription)")
            #expect(gateStatus(invite(adding: ["Subject:\(control)"])) == 400, "\(control.debugDescription)")
        }
        #expect(gateStatus(invite(adding: ["Subject: a\\\0b"])) == 400)
        #expect(gateStatus(invite(adding: ["Subject: \"a\\\\\0b\""])) == 400)
        #expect(gateStatus(invite(adding: ["Subject: \"a", "X-Y: \\\0b\""])) == 400)
    }

    @Test("MSG-23, T4475-intmeth: a NUL in a quoted pair is legal")
    func quotedNull() {
        #expect(gateStatus(invite(changing: ["From": "\"a\\\0b\" <sip:alice@far.example>;tag=1"])) == nil)
        #expect(gateStatus(invite(adding: ["Subject: \"a\r\n \\\0b\""])) == nil)
        #expect(gateStatus(invite(changing: ["From": "\"a\\\rb\" <sip:alice@far.example>;tag=1"])) == 400)
    }

    @Test(
        "MSG-23: a line of the header section has a name and a colon",
        arguments: ["no colon", ": no name", "a b: c", "a(b: c", "", " fold of the start line: x"])
    func badLines(line: String) {
        let lines = inviteLines()
        #expect(gateStatus(bytes([lines[0], line] + lines.dropFirst())) == (line.isEmpty ? 0 : 400), "\(line)")
    }

    @Test("MSG-24: a response's header in a request is no matter")
    func responseHeader() {
        #expect(gateStatus(invite(adding: ["Unsupported: x", "Server: y"])) == nil)
    }

    @Test("MSG-25: at the limits a message passes, past them it is 414 or 513")
    func limits() throws {
        func status(uri: Int) -> Int? {
            let user = String(repeating: "u", count: uri - "sip:@a.example".utf8.count)
            return gateStatus(invite(startLine: "INVITE sip:\(user)@a.example SIP/2.0"))
        }
        #expect(status(uri: 4096) == nil)
        #expect(status(uri: 4097) == 414)

        let plain = try message(invite(adding: ["X: "]))
        let padding = 32_768 - (plain.headerSectionEnd - plain.bytes.prefix { $0 != 10 }.count - 1)
        #expect(gateStatus(invite(adding: ["X: " + String(repeating: "x", count: padding)])) == nil)
        #expect(gateStatus(invite(adding: ["X: " + String(repeating: "x", count: padding + 1)])) == 513)

        #expect(gateStatus(invite(adding: Array(repeating: "X: y", count: 248))) == nil)
        #expect(gateStatus(invite(adding: Array(repeating: "X: y", count: 249))) == 513)

        let via = "Via: SIP/2.0/TLS h.example;branch=z9hG4bK1"
        #expect(gateStatus(invite(adding: Array(repeating: via, count: 69))) == nil)
        #expect(gateStatus(invite(adding: Array(repeating: via, count: 70))) == 513)
        #expect(
            gateStatus(invite(adding: ["Via: " + Array(repeating: "SIP/2.0/TLS h", count: 70).joined(separator: ",")]))
                == 513)

        let large = invite(changing: ["Content-Length": nil], body: String(repeating: "b", count: 65_536 - 300))
        #expect(gateStatus(large, limits: MessageLimits(messageSize: large.count)) == nil)
        #expect(gateStatus(large, limits: MessageLimits(messageSize: large.count - 1)) == 413)
    }

    @Test("Rows past the 255th are found too")
    func manyRows() throws {
        let limits = MessageLimits(headerFields: 1000)
        let lines = inviteLines()
        let rows =
            [lines[0]] + Array(repeating: "X: y", count: 300) + lines.dropFirst() + ["Supported: a", "Supported: b"]
        guard case .message(let message) = parse(bytes(rows), limits: limits) else {
            Issue.record("no message")
            return
        }
        #expect(message.checkSyntax(limits) == nil)
        #expect(message.text(message.topVia?.sentByHost) == "client.example")
        #expect(message.contentLength == 0)
        #expect(message.count(of: .supported) == 2)
        #expect(message.text(.supported) == ["a", "b"])
        #expect(message.first(.route) == nil)
    }

    @Test(
        "A Call-ID is a word, or two around an @",
        arguments: [
            ("a", nil), ("a@b", nil), (#"{[<(:"/?\>)]}%~'`+_*!.-"#, nil), ("", 400), ("a@", 400), ("@a", 400),
            ("a@b@c", 400),
            ("a b", 400), ("a,b", 400), ("a;b", 400), ("é", 400),
        ] as [(String, Int?)])
    func callID(value: String, status: Int?) {
        #expect(gateStatus(invite(changing: ["Call-ID": value])) == status)
    }

    @Test("VAL-07: malformed headers that a proxy does not need pass")
    func otherHeaders() {
        #expect(gateStatus(invite(adding: ["Date: Sat, 99 Foo", "Expires: never", "Record-Route: ;;;"])) == nil)
        #expect(
            gateStatus(
                invite(
                    startLine: "OPTIONS sip:b@a.example SIP/2.0", changing: ["CSeq": "1 OPTIONS", "Contact": ";q=x"]))
                == nil)
    }

    @Test(
        "T4475-regbadct: a Contact that is a binding or remote target must parse",
        arguments: [
            ("REGISTER", "*", nil), ("REGISTER", "*, <sip:a@b.example>", 400), ("INVITE", "*", 400),
            ("REGISTER", "", 400),
            ("REGISTER", "sip:u@h.example?Route=%3Csip:x%3E", 400),
            ("REGISTER", "<sip:u@h.example?Route=%3Csip:x%3E>", nil),
            ("INVITE", ";q=x", 400), ("REFER", "<sip:a@b.example", 400), ("SUBSCRIBE", "<sip:a@b.example>,", 400),
            ("INVITE", "<name:John_Smith>", nil), ("INFO", "<<<", nil), ("BYE", "<<<", nil),
        ] as [(String, String, Int?)])
    func contact(method: String, value: String, status: Int?) {
        let bytes = invite(
            startLine: "\(method) sip:a.example SIP/2.0", changing: ["CSeq": "1 \(method)", "Contact": value])
        #expect(gateStatus(bytes) == status)
    }

    @Test("A malformed ACK or response is dropped, never answered")
    func neverAnswered() {
        for changes in [["CSeq": "x"], ["Max-Forwards": "300"], ["To": "<"], ["Via": "x"]] {
            let ack = invite(
                startLine: "ACK sip:b@a.example SIP/2.0", changing: ["CSeq": "1 ACK"].merging(changes) { $1 })
            #expect(gateStatus(ack) == 0, "\(changes)")
        }
        for changes in [["CSeq": "x"], ["CSeq": "4294967296 INVITE"], ["To": "<"], ["Via": "x"], ["Call-ID": "a b"]] {
            #expect(gateStatus(invite(startLine: "SIP/2.0 200 OK", changing: changes)) == 0, "\(changes)")
        }
        #expect(gateStatus(invite(startLine: "SIP/2.0 200 OK")) == nil)
    }
}
