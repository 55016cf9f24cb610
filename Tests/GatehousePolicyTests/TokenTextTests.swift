import GatehousePolicy
import TestSupport
import Testing

private func encode(_ text: String) -> String {
    var result: [UInt8] = []
    TokenText.append(base64url: Array(text.utf8), to: &result)
    return String(decoding: result, as: UTF8.self)
}

private func decode(_ text: String) -> [UInt8]? {
    let bytes = Array(text.utf8)
    return TokenText.decode(base64url: bytes, bytes.indices)
}

@Suite("TokenText")
struct TokenTextTests {
    @Test(
        "base64url as RFC 4648 §10 has it, without padding",
        arguments: [
            ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"), ("\u{7F}?>", "fz8-"), ("???", "Pz8_"),
        ])
    func vectors(plain: String, coded: String) {
        #expect(encode(plain) == coded)
        #expect(decode(coded) == Array(plain.utf8))
    }

    @Test(
        "another spelling, another alphabet and a length that none is written in are refused",
        arguments: [
            "Zh", "Zn", "Zm9", "Zm-", "Z", "Zm9vY", "Zg=", "Zg==", "Pz8/", "fz8+", "Zm 9", "Zm9v\r\n", "Zm%39", "é",
            "Zm9v\0",
        ])
    func refused(text: String) {
        #expect(decode(text) == nil)
    }

    @Test("any bytes come back, and no other text stands for them")
    func roundTrip() throws {
        var generator = SeededGenerator(seed: 7)
        for count in 0..<100 {
            let bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            var text: [UInt8] = []
            TokenText.append(base64url: bytes, to: &text)
            #expect(TokenText.decode(base64url: text, text.indices) == bytes)
            guard let last = text.last else { continue }
            for other in UInt8.min ... .max where other != last {
                text[text.count - 1] = other
                if let decoded = TokenText.decode(base64url: text, text.indices) { #expect(decoded != bytes) }
            }
        }
    }

    @Test("a range beyond the bytes is refused", arguments: [-1..<3, 0..<5, 4..<9])
    func ranges(range: Range<Int>) {
        let bytes = Array("Zm9v".utf8)
        #expect(TokenText.decode(base64url: bytes, range) == nil)
        #expect(!TokenText.isToken(bytes, range))
        #expect(TokenText.sealed(bytes, range) == nil)
    }

    @Test(
        "a token has the prefix in lower case and at least 24 characters",
        arguments: [
            ("gh-" + String(repeating: "A", count: 24), true), ("gh-" + String(repeating: "A", count: 23), false),
            ("GH-" + String(repeating: "A", count: 24), false), ("gh_" + String(repeating: "A", count: 24), false),
            ("hg-" + String(repeating: "A", count: 24), false), ("gh-alice", false), ("gh-", false), ("gh", false),
            ("", false),
            (String(repeating: "A", count: 40), false),
        ])
    func prefix(text: String, isToken: Bool) {
        // In the middle of other bytes, as in a URI.
        let bytes = Array("sip:\(text)@h".utf8)
        let range = 4..<4 + text.utf8.count
        #expect(TokenText.isToken(bytes, range) == isToken)
        #expect((TokenText.sealed(bytes, range) != nil) == isToken)
    }

    @Test("the sealed bytes stand behind the prefix, in characters that a user part takes unescaped")
    func sealed() {
        let bytes = (0..<48).map { UInt8($0 &* 5 &+ 3) }
        var text: [UInt8] = Array("<sip:".utf8)
        TokenText.append(bytes, to: &text)
        #expect(text.dropFirst(5).starts(with: TokenText.prefix))
        #expect(TokenText.sealed(text, 5..<text.count) == bytes)
        // `alphanum`, `-` and `_` (RFC 3261 §25.1).
        #expect(
            text.dropFirst(5).allSatisfy {
                $0 == 0x2D || $0 == 0x5F || Character(UnicodeScalar($0)).isLetter
                    || Character(UnicodeScalar($0)).isNumber
            })
        text.append(0x21)
        #expect(TokenText.isToken(text, 5..<text.count))
        #expect(TokenText.sealed(text, 5..<text.count) == nil)
    }
}
