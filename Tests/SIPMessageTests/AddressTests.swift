import SIPMessage
import Testing

@Suite struct AddressTests {
    private func parse(_ text: String) throws(ParseError) -> (address: NameAddr, bytes: [UInt8]) {
        let bytes = Array(text.utf8)
        return (try NameAddr.parse(bytes, ByteRange(0, bytes.count)), bytes)
    }

    @Test(
        "T4475-lwsdisp: an address parses into name, URI and tag",
        arguments: [
            ("<sip:a@b>", "", "sip:a@b", nil), ("Bob <sip:a@b>;tag=1", "Bob", "sip:a@b", "1"),
            ("A. Bell  <sip:a@b>", "A. Bell", "sip:a@b", nil), ("caller<sip:a@b>;tag=x", "caller", "sip:a@b", "x"),
            (#""a \" <x>" <sip:a@b> ; TAG = y"#, #""a \" <x>""#, "sip:a@b", "y"),
            (#""" <sip:a@b>"#, #""""#, "sip:a@b", nil),
            ("sip:a@b", "", "sip:a@b", nil), ("sip:a@b;tag=1", "", "sip:a@b", "1"),
            ("sip:a@b ;\r\n tag = 1", "", "sip:a@b", "1"),
            ("<sip:a@b;tag=no>", "", "sip:a@b;tag=no", nil), (" <sip:a,b@c> ", "", "sip:a,b@c", nil),
            ("<tel:+1;phone-context=x>;tag=1", "", "tel:+1;phone-context=x", "1"),
            ("urn:a:b;tag=1", "", "urn:a:b", "1"),
            ("\"J\u{fc}rgen\" <sip:a@b>", "\"J\u{fc}rgen\"", "sip:a@b", nil),
            ("<sip:a@b>;x=\"a;tag=2\";tag=3", "", "sip:a@b", "3"), ("<sip:a@b>;h=[::1]:5", "", "sip:a@b", nil),
        ] as [(String, String, String, String?)])
    func legal(text: String, name: String, uri: String, tag: String?) throws {
        let (address, bytes) = try parse(text)
        #expect(address.displayName.text(in: bytes) == name)
        #expect(address.addrSpec.text(in: bytes) == uri)
        #expect(address.tag?.text(in: bytes) == tag)
        #expect(address.whole.text(in: bytes) == text.drop { $0 == " " }.description.trimmingSuffix(" "))
    }

    @Test(
        "T4475-quotbal, T4475-badaspec, T4475-baddn: a malformed address is refused",
        arguments: [
            "", " ", "<", "<>", "<sip:a@b", "sip:a@b>", "\"Mr. J. User <sip:j@b>", "\"Watson, Thomas\" < sip:t@b >",
            "Bell, Alexander <sip:a@b>", "<sip:a@b>;", "<sip:a@b>;;a", "<sip:a@b>;=a", "<sip:a@b>;a=", "<sip:a@b>;tag",
            "<sip:a@b>;a=b c", "<sip:a@b> x", "<sip:a@b>;a b", "sip:a@b,sip:c@d", "<sip:a@b>,<sip:c@d>", "sip:a@b?c=d",
            "sip:a,b@c", "\"a\" sip:a@b", "\"a\"", "Bob", "Bob sip:a@b", "<<sip:a@b>>", "<sip:a@b>;tag=1;Tag=2",
            "poo <b@c>",
            "<sip:a@b>;a=\"b", "<sip:a@b>;a=\"\u{1}\"", "\"\u{7f}\" <sip:a@b>", "J\u{fc}rgen <sip:a@b>",
            "<sip:a@b>;a=<b>",
            "@ <sip:a@b>", "<sip:a@b>;a=\"\\\"",
        ])
    func illegal(text: String) {
        #expect(throws: ParseError.self) { try parse(text) }
    }

    @Test("T4475-cparam01, T4475-cparam02: a parameter is the URI's inside the brackets, the header's outside")
    func parameterPlace() throws {
        let (outside, outsideBytes) = try parse("<sip:u@h>;unknownparam")
        #expect(outside.parameter("unknownparam", in: outsideBytes)?.isEmpty == true)
        #expect(outside.uri.parameter("unknownparam", in: outsideBytes) == nil)
        let (inside, insideBytes) = try parse("<sip:u@h;unknownparam>")
        #expect(inside.parameter("unknownparam", in: insideBytes) == nil)
        #expect(inside.uri.parameter("unknownparam", in: insideBytes)?.isEmpty == true)
    }
}

extension String {
    func trimmingSuffix(_ character: Character) -> String {
        var text = self
        while text.last == character { text.removeLast() }
        return text
    }
}

@Suite struct ViaTests {
    private func parse(_ text: String) throws(ParseError) -> (via: Via, bytes: [UInt8]) {
        let bytes = Array(text.utf8)
        return (try Via.parse(bytes, ByteRange(0, bytes.count)), bytes)
    }

    @Test("T4475-wsinv: a Via parses with white space wherever it may stand")
    func whiteSpace() throws {
        let (via, bytes) = try parse(
            " SIP  / 2.0\r\n / UDP  [2001:db8::1] : 5070 ; branch = z9hG4bK1 ;\r\n rport;received=2001:db8::2;maddr=h ")
        #expect(via.transport.text(in: bytes) == "UDP")
        #expect(via.sentByHost.text(in: bytes) == "2001:db8::1")
        #expect(via.isIPv6Reference)
        #expect(via.sentByPort == 5070)
        #expect(via.branch?.text(in: bytes) == "z9hG4bK1")
        #expect(via.hasMagicCookie)
        #expect(via.rport?.isEmpty == true)
        #expect(via.received?.text(in: bytes) == "2001:db8::2")
        #expect(via.maddr?.text(in: bytes) == "h")
        #expect(via.value.text(in: bytes) == bytes.text.dropFirst().dropLast())
    }

    @Test(
        "T4475-transports, T5118-via-received-param-with-delim: legal values parse",
        arguments: [
            "SIP/2.0/UNKNOWN t1.example", "SIP/2.0/TLS-SCTP h;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.1:5060;rport=9",
            "SIP/2.0/UDP [::1];received=[2001:db8::9:255];branch=z9hG4bKas3", "SIP/2.0/UDP h;received=2001:db8::9:255",
            "SIP/2.0/UDP h;ttl=1;extension=\"a;b\"", "SIP/7.0/UDP h", "X/1/Y h.example.",
            "SIP/2.0/UDP h;branch=a=b".dropLast(2).description,
        ])
    func legal(text: String) throws {
        let (via, bytes) = try parse(text)
        #expect(via.value.text(in: bytes) == text)
    }

    @Test(
        "T4475-badinv01: a malformed Via is refused",
        arguments: [
            "", "SIP/2.0/UDP", "SIP/2.0 h", "SIP/UDP h", "SIP/2.0/UDPh", "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/2.0/UDP ;branch=1",
            "SIP/2.0/UDP h;", "SIP/2.0/UDP h;branch", "SIP/2.0/UDP h;branch=", "SIP/2.0/UDP h;received",
            "SIP/2.0/UDP h;maddr",
            "SIP/2.0/UDP h:0", "SIP/2.0/UDP h:", "SIP/2.0/UDP h:65536", "SIP/2.0/UDP 2001:db8::1", "SIP/2.0/UDP a_b",
            "SIP/2.0/UDP h h",
            "SIP/2.0/UDP h;a b", "SIP/2.0/UDP h;branch=1;branch=1", "SIP/2.0/UDP h,SIP/2.0/UDP i", "SIP/2.0/UDP <h>",
            "/2.0/UDP h",
            "SIP//UDP h", "SIP/2.0/ h",
        ])
    func illegal(text: String) {
        #expect(throws: ParseError.self) { try parse(text) }
    }

    @Test("T4475-badbranch: a branch that is the magic cookie alone is 400")
    func emptyBranch() {
        #expect(gateProblem(invite(changing: ["Via": "SIP/2.0/TLS h;branch=z9hG4bK"])) == .viaBranch)
        #expect(gateProblem(invite(changing: ["Via": "SIP/2.0/TLS h;branch=Z9hG4Bk"])) == .viaBranch)
        #expect(gateProblem(invite(changing: ["Via": "SIP/2.0/TLS h;branch=z9hG4bK1"])) == nil)
        #expect(gateProblem(invite(changing: ["Via": "SIP/2.0/TLS h"])) == nil)
    }

    @Test("MSG-01: a malformed Via is 400 wherever it stands in the stack")
    func lowerVias() {
        #expect(gateStatus(invite(adding: ["Via: SIP/2.0/UDP"])) == 400)
        #expect(gateStatus(invite(changing: ["Via": "SIP/2.0/TLS h;branch=z9hG4bK1, SIP/2.0/UDP"])) == 400)
        #expect(gateStatus(invite(changing: ["Via": "SIP/2.0/TLS h;branch=z9hG4bK1,"])) == 400)
        #expect(gateStatus(invite(adding: ["v: SIP/2.0/UDP h , SIP/2.0/UDP i"])) == nil)
    }
}
