import GatehousePolicy
import SIPMessage
import Testing

@testable import GatehouseConfig

struct AddressValuesTests {
    @Test(
        "CONFIG: a bind is an address with a port",
        arguments: [
            ("203.0.113.10:5061", "203.0.113.10:5061"), ("[2001:DB8::10]:5061", "[2001:db8::10]:5061"),
            ("0.0.0.0:0", "0.0.0.0:0"), ("[::]:65535", "[::]:65535"), ("127.0.0.1:65536", nil), ("127.0.0.1:", nil),
            ("127.0.0.1", nil), (":5061", nil), ("", nil), ("2001:db8::10:5061", nil), ("example:5061", nil),
            ("224.0.0.1:5060", nil), ("[ff02::1]:5060", nil), ("[fe80::1]:5060", nil), ("[::ffff:10.0.0.1]:5060", nil),
            ("010.0.0.1:5060", nil), ("tcp:10.0.0.1:5060", nil),
        ] as [(String, String?)])
    func endpoint(text: String, expected: String?) {
        #expect(value { () throws(ValueFault) in try parseEndpoint(text) }?.description == expected)
    }

    @Test(
        "TRUST-09: a header field that requests need is none to remove",
        arguments: [
            ("Diversion", true), ("user-agent", true), ("X-Vendor.Id", true), ("Via", false), ("v", false),
            ("CONTACT", false),
            ("r", false), ("X-Gatehouse-Session", false), ("Max-Forwards", false), ("", false), ("X Y", false),
            ("X:", false),
            ("Ünder", false), ("a\r\nb", false),
        ] as [(String, Bool)])
    func removedHeader(text: String, isTaken: Bool) {
        #expect((value { () throws(ValueFault) in try parseRemovedHeader(text) } != nil) == isTaken)
    }

    @Test(
        "CONFIG: a core bind names UDP or TCP",
        arguments: [
            ("udp:10.0.0.2:5060", "udp 10.0.0.2:5060"), ("TCP:[::1]:5060", "tcp [::1]:5060"),
            ("tls:10.0.0.2:5061", nil),
            ("10.0.0.2:5060", nil), ("udp:", nil), ("udp:10.0.0.2", nil), ("udp:pbx.lan:5060", nil),
            ("sctp:10.0.0.2:5060", nil),
        ] as [(String, String?)])
    func coreBind(text: String, expected: String?) {
        let bind = value { () throws(ValueFault) in try parseCoreBind(text) }
        #expect(bind.map { "\($0.transport) \($0.endpoint)" } == expected)
    }

    @Test(
        "CONFIG: a target is a host with a transport and a port",
        arguments: [
            ("udp:10.0.0.10:5060", "udp:10.0.0.10:5060"), ("tcp:PBX.lan.:5070", "tcp:pbx.lan:5070"),
            ("udp:[2001:DB8::5]:5060", "udp:[2001:db8::5]:5060"), ("udp:pbx:1", "udp:pbx:1"), ("udp:pbx", nil),
            ("udp:pbx:0", nil), ("udp:pbx:65536", nil), ("udp:pbx:+1", nil), ("udp:[2001:db8::5]", nil),
            ("udp:2001:db8::5", nil), ("udp:0.0.0.0:5060", nil), ("udp:224.0.0.1:5060", nil), ("udp:p_x:5060", nil),
            ("udp:*.lan:5060", nil), ("udp:[x]:5060", nil), ("udp::5060", nil), ("", nil),
        ] as [(String, String?)])
    func target(text: String, expected: String?) {
        let target = value { () throws(ValueFault) in try parseCoreTarget(text) }
        #expect(
            target.map { CoreTarget(transport: $0.transport, host: $0.host, port: $0.port).description } == expected)
    }

    @Test(
        "CONFIG: a block has no bits beyond its prefix",
        arguments: [
            ("10.0.0.0/24", "10.0.0.0/24"), ("10.0.0.5", "10.0.0.5/32"), ("0.0.0.0/0", "0.0.0.0/0"),
            ("128.0.0.0/1", "128.0.0.0/1"), ("10.0.0.1/32", "10.0.0.1/32"), ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"), ("2001:db8:0:1::/64", "2001:db8:0:1::/64"),
            ("2001:db8:0:0:8000::/65", "2001:db8:0:0:8000::/65"), ("::1/128", "::1/128"), ("::1", "::1/128"),
            ("10.0.0.1/31", nil), ("10.0.0.0/33", nil), ("10.0.0.0/-1", nil), ("10.0.0.0/", nil), ("10.0.0.0/08", nil),
            ("::1/127", nil), ("2001:db8::1/64", nil), ("2001:db8:0:1::/63", nil), ("::/129", nil), ("/8", nil),
            ("", nil), ("10.0.0.0/8/8", nil), ("a.example", nil),
        ] as [(String, String?)])
    func network(text: String, expected: String?) {
        #expect(value { () throws(ValueFault) in try parseNetwork(text) }?.description == expected)
    }

    @Test(
        "CONFIG: a host name is made of labels, in lower case and without its last dot",
        arguments: [
            ("alpha.example", "alpha.example"), ("ALPHA.Example.", "alpha.example"), ("pbx", "pbx"),
            ("1and1.example", "1and1.example"), ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            (String(repeating: "a", count: 63) + ".example", String(repeating: "a", count: 63) + ".example"),
            (String(repeating: "a", count: 64) + ".example", nil), (String(repeating: "a.", count: 128), nil),
            ("", nil),
            (".", nil), ("a..b", nil), (".a", nil), ("a-.example", nil), ("-a.example", nil), ("a_b.example", nil),
            ("a b", nil), ("bücher.example", nil), ("\u{212A}.example", nil), ("10.0.0.1", nil), ("[::1]", nil),
            ("::1", nil), ("a.1", nil), ("5", nil), ("*.a.example", nil), ("a.example:5060", nil),
        ] as [(String, String?)])
    func hostName(text: String, expected: String?) {
        #expect(value { () throws(ValueFault) in try parseHostName(text) } == expected)
    }

    @Test(
        "CONFIG: a wildcard is the whole first label of a pattern",
        arguments: [
            ("a.example", "a.example"), ("*.A.example.", "*.a.example"), ("*.example", "*.example"), ("*", nil),
            ("*.", nil), ("a.*.example", nil), ("*a.example", nil), ("*.*.example", nil), ("**.example", nil),
            ("*.10.0.0.1", nil),
        ] as [(String, String?)])
    func hostPattern(text: String, expected: String?) {
        #expect(value { () throws(ValueFault) in try parseHostPattern(text) } == expected)
    }

    @Test(
        "CONFIG: an advertised host stands in a URI as it is",
        arguments: [
            ("sip.Alpha.example", "sip.alpha.example"), ("10.0.0.2", "10.0.0.2"), ("2001:DB8::1", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"), ("10.0.0.2:5060", nil), ("[2001:db8::1]:5060", nil),
            ("a.example:5060", nil), ("0.0.0.0", nil), ("::", nil), ("*.a.example", nil), ("sip:a.example", nil),
            ("", nil), ("[]", nil),
        ] as [(String, String?)])
    func advertisedHost(text: String, expected: String?) {
        #expect(value { () throws(ValueFault) in try parseAdvertisedHost(text) } == expected)
    }

    @Test(
        "CONFIG: a name server is an address, with a port where it is not 53",
        arguments: [
            ("10.0.0.53", "10.0.0.53:53"), ("10.0.0.53:5353", "10.0.0.53:5353"), ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"), ("[::1]", nil), ("ns.example", nil), ("10.0.0.53:0", nil), ("0.0.0.0", nil),
            ("", nil),
        ] as [(String, String?)])
    func nameServer(text: String, expected: String?) {
        #expect(value { () throws(ValueFault) in try parseNameServer(text) }?.description == expected)
    }

    @Test(
        "CONFIG: a proxy is a SIP URI without a user",
        arguments: [
            ("sips:proxy.example", true), ("SIP:192.0.2.9:5070;transport=tcp;lr", true), ("sip:[2001:db8::1]", true),
            ("sip:[2001:db8::1]:5060", true), ("proxy.example", false), ("tel:+1", false), ("sip:", false),
            ("sip:u@h", false), ("sip:h;maddr=x", false), ("sip:h?X=y", false), ("sip:h:70000", false), ("", false),
        ])
    func proxyURI(text: String, isValid: Bool) {
        #expect((value { () throws(ValueFault) in try parseProxyURI(text) } != nil) == isValid)
    }
}
