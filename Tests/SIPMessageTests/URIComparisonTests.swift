import SIPMessage
import Testing

@Suite("URI comparison")
struct URIComparisonTests {
    @Test(
        "URI-03: what RFC 3261 §19.1.4 calls equal, and what it does not",
        arguments: [
            ("sip:alice@h", "sip:%61lice@h", true), ("sip:alice@h", "SIP:alice@H", true),
            ("sip:alice@h", "sips:alice@h", false),
            ("sip:Alice@h", "sip:alice@h", false), ("sip:a@h;x=1;lr", "sip:a@h;LR;X=1", true),
            ("sip:a@h;x=A", "sip:a@h;x=a", true),
            ("sip:a@h;x=%41", "sip:a@h;x=a", true), ("sip:a@h", "sip:a@h:5060", false),
            ("sip:a@h", "sip:a@h;transport=udp", false),
            ("sip:a%3Bb@h", "sip:a%3bb@h", true), ("sip:a%3Bb@h", "sip:a;b@h", false), ("sip:a%2@h", "sip:a%2@h", true),
            ("sip:a%25b@h", "sip:a%25B@h", false), ("sip:a:p@h", "sip:a:P@h", false),
            ("sip:[2001:DB8::1]", "sip:[2001:db8::1]", true),
            ("sip:a@h?X=1", "sip:a@h", false), ("sip:h", "sip:h@h", false), ("tel:+1", "tel:+1", true),
        ] as [(String, String, Bool)])
    func comparable(one: String, other: String, isEqual: Bool) {
        func text(_ uri: String) -> [UInt8] {
            let bytes = Array("<\(uri)>".utf8)
            guard let parsed = try? URI.parse(bytes, ByteRange(1, bytes.count - 1)) else { return Array(uri.utf8) }
            return parsed.comparableText(in: bytes)
        }
        #expect((text(one) == text(other)) == isEqual)
    }
}
