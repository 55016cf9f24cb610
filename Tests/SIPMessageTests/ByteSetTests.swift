import Testing

@testable import SIPMessage

@Suite struct ByteSetTests {
    private static let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    private static let alphanum = letters + "0123456789"
    private static let unreserved = alphanum + "-_.!~*'()"
    private static let token = alphanum + "-.!%*_+`'~"

    @Test(
        "The byte classes are those of RFC 3261 §25.1",
        arguments: [
            (ByteSet.token, token), (.parameterValue, token + "[]:"), (.user, unreserved + "&=+$,;?/#"),
            (.password, unreserved + "&=+$,"), (.uriParameter, unreserved + "[]/:&+$"),
            (.uriHeader, unreserved + "[]/?:+$"),
            (.absoluteURI, unreserved + ";/?:@&=+$,#[]"), (.scheme, alphanum + "+-."),
            (.word, token + #"()<>:\/"[]?{}"#),
            (.alphanum, alphanum), (.whiteSpace, " \t\r\n"),
        ] as [(ByteSet, String)])
    func classes(set: ByteSet, members: String) {
        let members = Set(members.utf8)
        for byte in UInt8.min...UInt8.max { #expect(set.contains(byte) == members.contains(byte), "byte \(byte)") }
    }

    @Test("Quoted text is all but controls, the quote and the backslash")
    func quotedText() {
        for byte in UInt8.min...UInt8.max {
            let isControl = byte < 0x20 && ![0x09, 0x0A, 0x0D].contains(byte) || byte == 0x7F
            #expect(ByteSet.quotedText.contains(byte) == (!isControl && byte != 0x22 && byte != 0x5C), "byte \(byte)")
        }
    }

    @Test("Packed names are what they stand for")
    func packedNames() {
        for (name, packed) in [
            ("branch", PackedToken.branch), ("received", .received), ("rport", .rport), ("maddr", .maddr),
            ("tag", .tag),
        ] {
            for text in [name, name.uppercased()] {
                let bytes = Array(text.utf8)
                var index = 0
                #expect(packToken(.token, bytes.span, &index, bytes.count) == packed)
                #expect(index == bytes.count)
            }
        }
    }

    @Test("Control bytes are counted over block borders")
    func controlCounts() {
        for length in [0, 1, 15, 16, 17, 300, 5000] {
            for period in 1...20 {
                let bytes = (0..<length).map { $0 % period == 0 ? UInt8.cr : $0 % period == 1 ? .lf : 0x41 }
                let count = bytes.span.bytes.countControls(0, length)
                #expect(count.carriageReturns == bytes.count { $0 == .cr })
                #expect(count.lineFeeds == bytes.count { $0 == .lf })
                #expect(!count.hasNull)
                for position in Set([0, length / 2, length - 1]) where position >= 0 && position < length {
                    var changed = bytes
                    changed[position] = 0
                    #expect(changed.span.bytes.countControls(0, length).hasNull)
                    #expect(!changed.span.bytes.countControls(position + 1, length).hasNull)
                }
            }
        }
    }
}
