import GatehousePolicy
import SIPMessage
import TestSupport
import Testing

private let name = Array("a.example".utf8)
private let session = Session(id: SessionID(0x0012_3456_789A_BCDE), arrival: .tls, expires: 2_000_000_000)
private let facts = Array("transport=tls; domain=a.example; peer=192.0.2.1:5061".utf8)

/// Stands for the HMAC: sixteen bytes that follow from the text.
private func code(_ text: [UInt8]) -> [UInt8] {
    var code = [UInt8](repeating: 0, count: 16)
    for (index, byte) in text.enumerated() { code[index % 16] = code[index % 16] &* 31 &+ byte }
    return code
}

private func value(_ session: Session = session, facts: [UInt8] = facts, domain: [UInt8] = name) -> String {
    let signature = code(SessionTag.signedText(session: session, domain: domain))
    return String(decoding: SessionTag.value(session: session, facts: facts, code: signature), as: UTF8.self)
}

private func read(_ text: String, now: UInt32 = 1_000_000_000) -> Result<SessionTag, SessionTag.Fault> {
    // The value stands somewhere in a message.
    let bytes = Array("X: \(text)\r\n".utf8)
    do throws(SessionTag.Fault) {
        return .success(
            try SessionTag.read(bytes, ByteRange(3, bytes.count - 2), now: now) { $0 == code($1) })
    } catch {
        return .failure(error)
    }
}

extension String {
    fileprivate func replacing(_ old: String, by new: String) -> String {
        let parts = self.split(separator: old, omittingEmptySubsequences: false)
        return parts.joined(separator: new)
    }
}

@Suite("SessionTag")
struct SessionTagTests {
    @Test("a tag is read as it was written", arguments: Arrival.allCases)
    func roundTrip(arrival: Arrival) throws {
        var known = session
        known.arrival = arrival
        let tag = try read(value(known)).get()
        #expect(tag.session == known)
        #expect(tag.domain == DomainKey(name: "a.example"))
    }

    @Test("REFER-03: refer=sips asks for a SIPS leg, whatever the session; another word asks for nothing")
    func referral() throws {
        let signature = code(SessionTag.signedText(session: session, domain: name))
        let value = String(
            decoding: SessionTag.value(
                session: session, facts: facts, refer: SessionTag.referralToSIPS, code: signature), as: UTF8.self)
        #expect(value.contains("; refer=sips; expires="))
        let tag = try read(value).get()
        #expect(tag.session == session)
        #expect(tag.legSession.arrival == .sips && tag.legSession.id == session.id)
        for other in ["override", "sip", "", "SIPS"] {
            let tag = try read(value.replacing("refer=sips", by: "refer=\(other)")).get()
            #expect(tag.legSession == session)
        }
        #expect(read(value + "; refer=sips") == .failure(.malformed))
    }

    @Test("its written form")
    func written() {
        #expect(
            value().hasPrefix(
                "3456789abcde; arrived=tls; transport=tls; domain=a.example; peer=192.0.2.1:5061; expires=2000000000; sig="
            ))
        #expect(
            SessionTag.signedText(session: session, domain: name) == Array("3456789abcde;tls;a.example;2000000000".utf8)
        )
        // Twelve digits, leading zeros too.
        #expect(value(Session(id: SessionID(1), arrival: .plain, expires: 1)).hasPrefix("000000000001; arrived=plain;"))
    }

    @Test(
        "the signature covers id, arrived, domain and expires",
        arguments: [
            ("3456789abcde", "3456789abcdf"), ("3456789abcde", "3456789ABCDE"), ("3456789abcde", "03456789abcde"),
            ("arrived=tls", "arrived=sips"), ("arrived=tls", "arrived=TLS"), ("domain=a.example", "domain=b.example"),
            ("domain=a.example", "domain=A.example"), ("expires=2000000000", "expires=2000000001"),
            ("expires=2000000000", "expires=02000000000"),
        ])
    func forged(old: String, new: String) {
        #expect(read(value().replacing(old, by: new)) == .failure(.forged))
    }

    @Test(
        "a parameter for people to read decides nothing",
        arguments: [
            ("transport=tls", "transport=udp"), ("peer=192.0.2.1:5061", "peer=192.0.2.9:1"), ("transport=tls; ", ""),
            ("; sig", "; note; other=\"x\"; sig"), ("; ", ";"), ("; ", " \t; \r\n "), ("arrived=", "Arrived = "),
        ])
    func unsigned(old: String, new: String) throws {
        #expect(try read(value().replacing(old, by: new)).get().session == session)
    }

    @Test(
        "a part that is missing, doubled or no text of ours makes it malformed",
        arguments: [
            ("arrived=tls; ", ""), ("domain=a.example; ", ""), ("expires=2000000000; ", ""), ("sig=", "sag="),
            ("arrived=tls", "arrived=tls; arrived=tls"), ("arrived=tls", "arrived=tls; ARRIVED=sips"),
            ("domain=a.example", "domain=a.example; domain=b.example"),
            ("expires=2000000000", "expires=2000000000; expires=2100000000"), ("sig=", "sig=AAAA; sig="),
            ("sig=", "sig=+"), ("sig=", "sig=="), ("sig=", "sig=AAAA"), ("arrived=tls", "arrived"),
        ])
    func malformed(old: String, new: String) {
        #expect(read(value().replacing(old, by: new)) == .failure(.malformed))
    }

    @Test("nothing at all is malformed", arguments: ["", ";", ";;;;", "=;=;=", " ", "3456789abcde", "sig="])
    func empty(text: String) {
        #expect(read(text) == .failure(.malformed))
    }

    @Test(
        "what is signed all the same, but no session, is malformed",
        arguments: [
            ("xyz", "tls", "2000000000"), ("", "tls", "2000000000"), ("1234", "udp", "2000000000"),
            ("1234", "", "2000000000"), ("1234", "tls", "4294967296"), ("1234", "tls", "-1"), ("1234", "tls", ""),
            ("10000000000000000", "tls", "2000000000"),
        ])
    func signedNonsense(id: String, arrived: String, expires: String) {
        var signature: [UInt8] = []
        TokenText.append(base64url: code(Array("\(id);\(arrived);a.example;\(expires)".utf8)), to: &signature)
        let text = String(decoding: signature, as: UTF8.self)
        #expect(
            read("\(id); arrived=\(arrived); domain=a.example; expires=\(expires); sig=\(text)") == .failure(.malformed)
        )
    }

    @Test(
        "a tag is believed until it expires",
        arguments: [(1_999_999_999, true), (2_000_000_000, false), (.max, false)] as [(UInt32, Bool)])
    func expiry(now: UInt32, counts: Bool) {
        #expect(read(value(), now: now) == (counts ? read(value()) : .failure(.expired)))
    }

    @Test("a signature cut to fewer bytes is malformed, whatever the verifier says")
    func shortSignature() throws {
        let text = "1234; arrived=tls; domain=a.example; expires=2000000000; sig=AAAAAAAAAAAAAAAAAAAA"
        let bytes = Array(text.utf8)
        #expect(throws: SessionTag.Fault.malformed) {
            try SessionTag.read(bytes, ByteRange(0, bytes.count), now: 0) { _, _ in true }
        }
    }

    @Test("altered bytes are refused or mean the same", arguments: [4, 5] as [UInt64])
    func mutated(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let original = Array(value().utf8)
        for _ in 0..<3000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                bytes[Int.random(in: bytes.indices, using: &generator)] = .random(in: .min ... .max, using: &generator)
            }
            let tag = try? SessionTag.read(bytes, ByteRange(0, bytes.count), now: 0) { $0 == code($1) }
            if let tag { #expect(tag.session == session, "seed \(seed): \(bytes)") }
        }
    }
}

@Suite("ArrivalFacts")
struct ArrivalFactsTests {
    private static func text(
        _ transport: Transport = .tls, tls: String? = nil, cipher: String? = nil, peer: String = "192.0.2.1",
        verified: String? = nil
    ) throws -> String {
        let address = try #require(IPAddress(peer))
        let facts = ArrivalFacts(
            transport: transport, domain: "a.example", tlsVersion: tls, cipher: cipher,
            peer: Endpoint(address: address, port: 40_000), verified: verified)
        return String(decoding: facts.text, as: UTF8.self)
    }

    @Test(
        "what is kept beside a registration names server name and listener, and stays one line of parameters",
        arguments: [
            (nil, "transport=udp; listener=203.0.113.10:5061"),
            ("a.example", "transport=udp; sni=\"a.example\"; listener=203.0.113.10:5061"),
            ("a\"; x\r\n\\", "transport=udp; sni=\"a x\"; listener=203.0.113.10:5061"),
        ] as [(String?, String)])
    func record(serverName: String?, expected: String) throws {
        let listener = try #require(Endpoint("203.0.113.10:5061"))
        let record = ArrivalFacts.record(Array("transport=udp".utf8), serverName: serverName, listener: listener)
        #expect(String(decoding: record, as: UTF8.self) == expected)
    }

    @Test("TLS says its version, cipher, peer and the verified name")
    func whole() throws {
        #expect(
            try Self.text(tls: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", verified: "far.example")
                == "transport=tls; domain=a.example; tls=TLSv1.3; cipher=TLS_AES_128_GCM_SHA256; peer=192.0.2.1:40000; verified=\"far.example\""
        )
    }

    @Test("what a connection lacks is not written", arguments: [(.udp, "udp"), (.tcp, "tcp")] as [(Transport, String)])
    func plain(transport: Transport, word: String) throws {
        #expect(try Self.text(transport) == "transport=\(word); domain=a.example; peer=192.0.2.1:40000")
        #expect(try Self.text(transport, peer: "2001:db8::1").hasSuffix("; peer=[2001:db8::1]:40000"))
    }

    @Test(
        "a certificate's name can neither add a parameter nor end its string or line",
        arguments: [
            ("a; expires=9999999999", "a expires=9999999999"), ("a\"; arrived=sips; x=\"", "a arrived=sips x="),
            ("a\\", "a"), ("a\r\nContact: <sip:x>", "aContact: <sip:x>"), ("a\0b\u{7F}", "ab"), ("", ""),
            ("bücher.example", "bücher.example"),
        ])
    func hostileName(name: String, written: String) throws {
        let text = try Self.text(verified: name)
        #expect(text.hasSuffix("; verified=\"\(written)\""))
        // The tag as a whole still says what was signed.
        #expect(try read(value(facts: Array(text.utf8))).get().session == session)
    }
}
