import SIPMessage
import Testing

@Suite struct ResponseWriterTests {
    private let source = Endpoint(address: IPAddress(v4: 0xC000_0209), port: 49_152)

    private func response(
        _ bytes: [UInt8], status: Int = 400, source: Endpoint? = nil, toTag: String? = "t"
    ) throws -> [String] {
        let message: Message? =
            switch parse(bytes) {
            case .message(let message): message
            case .refused(let fault): fault.message
            case .keepAlive, .stunBinding: nil
            }
        let request = try #require(message)
        let answer = ResponseWriter.make(
            status: status, to: request, source: source, toTag: toTag.map { Array($0.utf8) })
        return try #require(answer).lines
    }

    @Test("A response has the request's Vias, From, To, Call-ID and CSeq as they were")
    func copies() throws {
        let lines = try response(invite(adding: ["v: SIP/2.0/UDP\r\n two.example", "Timestamp: 54"]))
        #expect(
            lines == [
                "SIP/2.0 400 Bad Request", "Via: SIP/2.0/TLS client.example:5061;branch=z9hG4bK74bf9", "v: SIP/2.0/UDP",
                " two.example",
                "From: \"Alice\" <sip:alice@far.example>;tag=9fxced76sl", "To: Bob <sip:bob@a.example>;tag=t",
                "Call-ID: 3848276298220188511@far.example", "CSeq: 1 INVITE", "Content-Length: 0", "", "",
            ])
    }

    @Test("TXN-03: a 100 has the Timestamp and no To tag")
    func trying() throws {
        let lines = try response(invite(adding: ["Timestamp: 54"]), status: 100, toTag: nil)
        #expect(lines.first == "SIP/2.0 100 Trying")
        #expect(lines.contains("Timestamp: 54"))
        #expect(lines.contains("To: Bob <sip:bob@a.example>"))
    }

    @Test("RESP-08: a To that has a tag keeps it")
    func keepsTag() throws {
        let lines = try response(invite(changing: ["To": "<sip:bob@a.example>;tag=old"]))
        #expect(lines.contains("To: <sip:bob@a.example>;tag=old"))
    }

    @Test(
        "VIA-01, VIA-02, VIA-03, T5118-via-received-param-with-delim: the top Via tells the true source",
        arguments: [
            ("h.example;branch=z9hG4bK1", "h.example;branch=z9hG4bK1;received=192.0.2.9"),
            ("192.0.2.9;branch=z9hG4bK1", "192.0.2.9;branch=z9hG4bK1"),
            ("192.0.2.8", "192.0.2.8;received=192.0.2.9"), ("[::ffff:192.0.2.9]", "[::ffff:192.0.2.9]"),
            ("192.0.2.9;rport;branch=z9hG4bK1", "192.0.2.9;rport=49152;branch=z9hG4bK1;received=192.0.2.9"),
            ("192.0.2.9;rport", "192.0.2.9;rport=49152;received=192.0.2.9"),
            ("192.0.2.9;rport=9", "192.0.2.9;rport=49152;received=192.0.2.9"),
            ("192.0.2.9 ; rport = 9 ; x", "192.0.2.9 ; rport = 49152 ; x;received=192.0.2.9"),
            ("192.0.2.9;received=198.51.100.9", "192.0.2.9;received=192.0.2.9"),
            ("h;received=[2001:db8::1];rport=1", "h;received=192.0.2.9;rport=49152"),
            ("h;RPORT;Received=1.2.3.4;x=y, SIP/2.0/UDP i", "h;RPORT=49152;Received=192.0.2.9;x=y, SIP/2.0/UDP i"),
        ])
    func received(sentBy: String, expected: String) throws {
        let bytes = invite(
            changing: ["Via": "SIP/2.0/TLS \(sentBy)"], adding: ["Via: SIP/2.0/UDP j;rport;received=9.9.9.9"])
        let lines = try response(bytes, source: source)
        #expect(Array(lines[1...2]) == ["Via: SIP/2.0/TLS \(expected)", "Via: SIP/2.0/UDP j;rport;received=9.9.9.9"])
        let message = try message(bytes)
        var editor = MessageEditor(message)
        editor.markReceived(from: source)
        #expect(
            try editor.finish().lines
                == inviteLines(
                    changing: ["Via": "SIP/2.0/TLS \(expected)"],
                    adding: ["Via: SIP/2.0/UDP j;rport;received=9.9.9.9", "", ""]))
    }

    @Test("T5118-via-received-param-no-delim: an IPv6 source is written without brackets")
    func receivedIPv6() throws {
        let source = Endpoint(address: IPAddress(v6High: 0x2001_0DB8_0000_0000, v6Low: 1), port: 5)
        let lines = try response(invite(changing: ["Via": "SIP/2.0/TLS [2001:db8::2];rport"]), source: source)
        #expect(lines[1] == "Via: SIP/2.0/TLS [2001:db8::2];rport=5;received=2001:db8::1")
        let same = try response(invite(changing: ["Via": "SIP/2.0/TLS [2001:DB8:0::1]"]), source: source)
        #expect(same[1] == "Via: SIP/2.0/TLS [2001:DB8:0::1]")
    }

    @Test("T4475-insuf: a request that lacks headers is answered with those it has")
    func insufficient() throws {
        let lines = try response(
            bytes(["INVITE sip:b@a.example SIP/2.0", "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "CSeq: 1 INVITE"]))
        #expect(
            lines == [
                "SIP/2.0 400 Bad Request", "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "CSeq: 1 INVITE", "Content-Length: 0",
                "", "",
            ])
    }

    @Test("T4475-badinv01, T4475-multi01: malformed rows are copied, of several the first")
    func malformed() throws {
        let lines = try response(
            invite(changing: ["Via": "SIP/2.0/UDP h;;,;", "To": "\"x <sip:y>"], adding: ["To: <sip:second@h>"]),
            source: source)
        #expect(lines.contains("Via: SIP/2.0/UDP h;;,;"))
        #expect(lines.filter { $0.hasPrefix("To:") } == ["To: \"x <sip:y>"])
    }

    @Test("MSG-23: an answer repeats no byte that could part it")
    func ragged() throws {
        let lines = try response(invite(changing: ["To": "<sip:a@b>\rEvil: 1", "From": "x\0y", "Call-ID": "a\nb"]))
        #expect(lines.contains("To: <sip:a@b> Evil: 1"))
        #expect(lines.contains("From: x y"))
        let allFeeds = try response(Array(inviteLines().joined(separator: "\n").utf8) + [10, 10], source: source)
        #expect(allFeeds.contains("CSeq: 1 INVITE"))
        #expect(!allFeeds.joined().utf8.contains { $0 == 10 || $0 == 13 })
    }

    @Test("No answer to a response, an ACK, or a request without Via")
    func noAnswer() throws {
        for bytes in [
            invite(startLine: "SIP/2.0 200 OK"), invite(startLine: "ACK sip:a SIP/2.0", changing: ["CSeq": "1 ACK"]),
            invite(changing: ["Via": nil]),
        ] {
            #expect(ResponseWriter.make(status: 400, to: try message(bytes)) == nil)
        }
    }

    @Test("T4475-bext01, VAL-03: a 420 lists the unknown tags of Proxy-Require alone")
    func badExtension() throws {
        let request = try message(
            invite(adding: ["Proxy-Require: foo, Known", "Require: bar", "proxy-require: third"]))
        let fault = try #require(proxyValidation(of: request, supportedExtensions: ["known"]))
        #expect(fault.cause == .badExtension)
        let lines = try #require(ResponseWriter.make(answering: fault, to: request, source: nil, toTag: [0x31])).lines
        #expect(lines.first == "SIP/2.0 420 Bad Extension")
        #expect(lines.contains("Unsupported: foo, third"))
        #expect(proxyValidation(of: request, supportedExtensions: ["FOO", "known", "third"]) == nil)
    }

    @Test("A fault of the gate is answered with its status")
    func answersFault() throws {
        guard case .refused(let fault) = parse(invite(startLine: "INVITE sip:a SIP/3.0")) else {
            Issue.record("not refused")
            return
        }
        let lines = try #require(ResponseWriter.make(answering: fault, source: source, toTag: [0x31])).lines
        #expect(lines.first == "SIP/2.0 505 Version Not Supported")
        #expect(lines.contains("Via: SIP/2.0/TLS client.example:5061;branch=z9hG4bK74bf9;received=192.0.2.9"))
    }
}

@Suite struct ProxyValidationTests {
    private func status(_ bytes: [UInt8], tel: Bool = false) throws -> Int? {
        let message = try message(bytes)
        #expect(message.checkSyntax() == nil)
        return proxyValidation(of: message, acceptsTel: tel)?.status
    }

    @Test("URI-06, T4475-unkscm, T4475-novelsc: a scheme that leads nowhere is 416")
    func schemes() throws {
        #expect(try status(invite(startLine: "INVITE nobodyKnowsThisScheme:x SIP/2.0")) == 416)
        #expect(try status(invite(startLine: "INVITE soap.beep://192.0.2.103:3002 SIP/2.0")) == 416)
        #expect(try status(invite(startLine: "INVITE tel:+1 SIP/2.0")) == 416)
        #expect(try status(invite(startLine: "INVITE tel:+1 SIP/2.0"), tel: true) == nil)
        #expect(
            try status(
                invite(
                    startLine: "INVITE sips:a SIP/2.0", changing: ["To": "<tel:+1>", "From": "<isbn:2983792873>;tag=1"])
            ) == nil)
    }

    @Test("VAL-01, T4475-zeromf: Max-Forwards 0 is 483, for OPTIONS too")
    func maxForwards() throws {
        #expect(try status(invite(changing: ["Max-Forwards": "0"])) == 483)
        #expect(
            try status(
                invite(startLine: "OPTIONS sip:a SIP/2.0", changing: ["Max-Forwards": "0", "CSeq": "1 OPTIONS"])) == 483
        )
        #expect(try status(invite(changing: ["Max-Forwards": "1"])) == nil)
        #expect(try status(invite(changing: ["Max-Forwards": nil])) == nil)
    }

    @Test("TXN-12, TXN-25: ACK is never answered, and Proxy-Require of ACK and CANCEL not looked at")
    func ackAndCancel() throws {
        for method in ["ACK", "CANCEL"] {
            #expect(
                try status(
                    invite(
                        startLine: "\(method) sip:a SIP/2.0", changing: ["CSeq": "1 \(method)"],
                        adding: ["Proxy-Require: foo"])) == nil)
        }
        #expect(
            try status(invite(startLine: "ACK sip:a SIP/2.0", changing: ["CSeq": "1 ACK", "Max-Forwards": "0"])) == 0)
    }

    @Test("VAL-03: option tags are tokens in a list")
    func optionTags() {
        #expect(gateStatus(invite(adding: ["Proxy-Require: a, b"])) == nil)
        for value in ["", "a,", ",a", "a b", "a;b", "\"a\""] {
            #expect(gateProblem(invite(adding: ["Proxy-Require: \(value)"])) == .optionTag, "\(value)")
        }
        #expect(gateStatus(invite(adding: ["Require: a;b"])) == nil)
    }
}

@Suite struct RequestWriterTests {
    private let sent = invite(
        changing: ["Via": "SIP/2.0/UDP edge;branch=z9hG4bKours;rport, SIP/2.0/TLS other", "CSeq": "4711 INVITE"],
        adding: [
            "Route: <sip:one;lr>,\r\n <sip:two;lr>", "Route: <sip:three;lr>", "Require: x", "Proxy-Require: y",
            "Authorization: z",
        ])

    @Test("TXN-05: ACK has the INVITE's Request-URI, top Via, Route, From, Call-ID and number, and the response's To")
    func ack() throws {
        let response = try message(
            invite(
                startLine: "SIP/2.0 486 Busy", changing: ["To": "<sip:bob@a.example>;tag=77", "CSeq": "4711 INVITE"]))
        let lines = try RequestWriter.makeACK(for: Message(sent), response: response).lines
        #expect(
            lines == [
                "ACK sip:bob@a.example SIP/2.0", "Via: SIP/2.0/UDP edge;branch=z9hG4bKours;rport", "Max-Forwards: 70",
                "Route: <sip:one;lr>,", " <sip:two;lr>", "Route: <sip:three;lr>",
                "From: \"Alice\" <sip:alice@far.example>;tag=9fxced76sl",
                "To: <sip:bob@a.example>;tag=77", "Call-ID: 3848276298220188511@far.example", "CSeq: 4711 ACK",
                "Content-Length: 0", "", "",
            ])
        #expect(try message(Array(lines.joined(separator: "\r\n").utf8)).checkSyntax() == nil)
    }

    @Test("TXN-22, TXN-26: CANCEL has one Via, no Require or Proxy-Require, and the Reason that came")
    func cancel() throws {
        let received = try message(
            invite(
                startLine: "CANCEL sip:bob@a.example SIP/2.0", changing: ["CSeq": "1 CANCEL"],
                adding: ["Reason: SIP;cause=200", "Reason: Q.850;cause=16"]))
        let lines = try RequestWriter.makeCANCEL(for: Message(sent), reasonsOf: received).lines
        #expect(
            lines == [
                "CANCEL sip:bob@a.example SIP/2.0", "Via: SIP/2.0/UDP edge;branch=z9hG4bKours;rport",
                "Max-Forwards: 70",
                "Route: <sip:one;lr>,", " <sip:two;lr>", "Route: <sip:three;lr>",
                "From: \"Alice\" <sip:alice@far.example>;tag=9fxced76sl",
                "To: Bob <sip:bob@a.example>", "Reason: SIP;cause=200", "Reason: Q.850;cause=16",
                "Call-ID: 3848276298220188511@far.example",
                "CSeq: 4711 CANCEL", "Content-Length: 0", "", "",
            ])
        #expect(try message(Array(lines.joined(separator: "\r\n").utf8)).checkSyntax() == nil)
    }

    @Test("What an ACK or CANCEL is made from must have its parts")
    func missingParts() throws {
        let response = try Message(invite(startLine: "SIP/2.0 486 Busy", changing: ["To": nil]))
        #expect(throws: WriteError.self) { try RequestWriter.makeACK(for: Message(sent), response: response) }
        for name in ["Via", "From", "Call-ID", "CSeq", "To"] {
            let request = try Message(invite(changing: [name: nil]))
            #expect(throws: WriteError.self) { try RequestWriter.makeCANCEL(for: request) }
        }
    }
}
