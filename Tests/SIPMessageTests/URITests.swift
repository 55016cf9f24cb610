import SIPMessage
import Testing

@Suite struct URITests {
    private func parse(_ text: String) throws(ParseError) -> (uri: URI, bytes: [UInt8]) {
        let bytes = Array("«\(text)»".utf8)
        return (try URI.parse(bytes, ByteRange(2, bytes.count - 2)), bytes)
    }

    @Test("URI-01: a host compares in lower case and without a trailing dot; the user keeps its case")
    func hostName() throws {
        let (uri, bytes) = try parse("SIP:User@A.ExAmPlE.:5060;x")
        #expect(uri.scheme == .sip)
        #expect(uri.hostName(in: bytes) == Array("a.example".utf8))
        #expect(uri.user?.text(in: bytes) == "User")
        #expect(uri.port == 5060)
    }

    @Test("URI-02: the scheme has no case")
    func schemes() throws {
        #expect(try parse("SiPs:h").uri.scheme == .sips)
        #expect(try parse("SIP:h").uri.scheme == .sip)
        #expect(try parse("Tel:+1").uri.scheme == .tel)
        #expect(try parse("sipx:h").uri.scheme == .other)
        #expect(try parse("soap.beep://192.0.2.103:3002").uri.scheme == .other)
    }

    @Test("URI-05: all parts of a URI are found where they stand")
    func parts() throws {
        let (uri, bytes) = try parse(
            "sips:a%20b;c=d?/e,f:p+w,%00@[2001:DB8::9:01]:65535;transport=TCP;lr;maddr=192.0.2.1;x-%41=%42?Subject=a&X="
        )
        #expect(uri.user?.text(in: bytes) == "a%20b;c=d?/e,f")
        #expect(uri.password?.text(in: bytes) == "p+w,%00")
        #expect(uri.host.text(in: bytes) == "2001:DB8::9:01")
        #expect(uri.hostAddress(in: bytes) == IPAddress("2001:db8::9:1"))
        #expect(uri.isIPv6Reference)
        #expect(uri.hostPort.text(in: bytes) == "[2001:DB8::9:01]:65535")
        #expect(uri.userInfo.text(in: bytes) == "a%20b;c=d?/e,f:p+w,%00@")
        #expect(uri.parameters.text(in: bytes) == ";transport=TCP;lr;maddr=192.0.2.1;x-%41=%42")
        #expect(uri.headers.text(in: bytes) == "?Subject=a&X=")
        #expect(uri.transport(in: bytes) == .tcp)
        #expect(uri.isLooseRoute(in: bytes))
        #expect(uri.parameter("maddr", in: bytes)?.text(in: bytes) == "192.0.2.1")
        #expect(uri.parameter("lr", in: bytes)?.isEmpty == true)
        #expect(uri.parameter("ttl", in: bytes) == nil)
        let whole = uri.parameterList(in: bytes).map { $0.whole.text(in: bytes) }
        #expect(whole == [";transport=TCP", ";lr", ";maddr=192.0.2.1", ";x-%41=%42"])
    }

    @Test("T4475-semiuri: semicolons before the @ belong to the user")
    func semicolonInUser() throws {
        let (uri, bytes) = try parse("sip:user;par=u%40example.net@example.com")
        #expect(uri.user?.text(in: bytes) == "user;par=u%40example.net")
        #expect(uri.host.text(in: bytes) == "example.com")
        #expect(uri.parameters.isEmpty)
        #expect(uri.password == nil)
    }

    @Test("T5118-port-ambiguous, T5118-port-unambiguous: the brackets say what is the port")
    func ports() throws {
        let (ambiguous, bytes) = try parse("sip:[2001:db8::10:5070]")
        #expect(ambiguous.host.text(in: bytes) == "2001:db8::10:5070")
        #expect(ambiguous.port == nil)
        #expect(try parse("sip:[2001:db8::10]:5070").uri.port == 5070)
    }

    @Test(
        "URI-05: legal URIs parse",
        arguments: [
            "sip:h", "sip:1.2.3.4", "sip:a-b.c-d.e", "sip:1a.b", "sip:h.", "sip:h:1", "sip:h:65535", "sip:h:005060",
            "sip:*21#@h", "sip:+1-(212)!~*'_.@h", "sip:u:@h", "sip:u@h;a;b=c", "sip:h?a=b", "sip:h;lr?a=", "sips:[::1]",
            "sip:[2001:db8:::192.0.2.1]", "sip:u@h;x=[a]/:&+$", "sip:h?a=b&c=[d]/?:+$", "tel:+358-555;phone-context=+1",
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "http://x.example/a?b=c#d", "name:John_Smith", "a:b",
            "sip:xn--bcher-kva.example",
        ])
    func legal(text: String) throws {
        let (uri, bytes) = try parse(text)
        #expect(uri.whole.text(in: bytes) == text)
    }

    @Test(
        "URI-07, URI-09, T5118-ipv6-bad: illegal URIs do not parse",
        arguments: [
            "", "sip", "sip:", ":", "1sip:h", "sip:@h", "sip:u@", "sip::p@h", "sip:h:", "sip:h:0", "sip:h:65536",
            "sip:h:abc", "sip:h:1x", "sip:h:99999999999999999999", "sip:2001:db8::10", "sip:[fe80::1%25eth0]",
            "sip:[fe80::1%eth0]", "sip:[::1", "sip:::1]", "sip:[]", "sip:[1.2.3.4]", "sip:[::1]x", "sip:1.2.3",
            "sip:1.2.3.256",
            "sip:1.2.3.4.", "sip:256", "sip:a..b", "sip:.a", "sip:-a", "sip:a-", "sip:a-.b", "sip:a.1", "sip:a_b",
            "sip:é",
            "sip:h h", "sip:u u@h", "sip:<u>@h", "sip:u\"@h", "sip:u@h@i", "sip:u%@h", "sip:u%4@h", "sip:u%4g@h",
            "sip:h;", "sip:h;;a", "sip:h;=b", "sip:h;a=", "sip:h;a=b=c", "sip:h;a b", "sip:h; a",
            "sip:h;a=%",
            "sip:h?", "sip:h?a", "sip:h?=b", "sip:h?a=b&", "sip:h?a=b&c", "sip:h?a=b;c", "sip:h?a=@", "sip:h;a;A",
            "tel:", "a:", "a:b c", "a:<b>", "a:é", "a:%", " sip:h", "sip:h ", "sip :h", "sip:u@h\u{0}", "sip:\r\n h",
        ])
    func illegal(text: String) {
        #expect(throws: ParseError.self) { try parse(text) }
    }

    @Test("T4475-escruri: a Request-URI with headers is 400")
    func requestURIHeaders() {
        #expect(
            gateProblem(invite(startLine: "INVITE sip:b@a.example?Route=%3Csip:x.example%3E SIP/2.0"))
                == .uriHeadersInRequestURI)
    }

    @Test(
        "T4475-ltgtruri, T4475-lwsruri, T4475-lwsstart, T4475-trws, T4475-escruri: a request line has its three parts and two spaces",
        arguments: [
            "INVITE <sip:b@a.example> SIP/2.0", "INVITE sip:b@a.example; lr SIP/2.0", "INVITE  sip:b@a.example SIP/2.0",
            "INVITE sip:b@a.example  SIP/2.0", "INVITE sip:b@a.example SIP/2.0 ", "INVITE\tsip:b@a.example SIP/2.0",
            "INVITE sip:b@a.example\tSIP/2.0", " INVITE sip:b@a.example SIP/2.0", "INVITE SIP/2.0", "INVITE  SIP/2.0",
            "INV@TE sip:b@a.example SIP/2.0", "INVITE sip:b@a.example SIP/2.0\t",
        ])
    func requestLines(line: String) {
        #expect(gateStatus(invite(startLine: line)) == 400)
    }

    @Test("Hosts and users may not hide a header: escapes stay escapes", arguments: ["%0d%0aRoute", "%0A", "%00"])
    func escapes(user: String) throws {
        let (uri, bytes) = try parse("sip:\(user)@h;p=\(user)")
        #expect(uri.user?.text(in: bytes) == user)
    }
}
