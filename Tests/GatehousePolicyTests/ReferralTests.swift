import GatehousePolicy
import SIPMessage
import Testing

/// A REFER with these Refer-To rows, and what becomes of it.
struct ReferRow: Sendable, CustomTestStringConvertible {
    var values: [String]
    var isSIPS: Bool
    var outcome: String

    init(_ values: [String], isSIPS: Bool, _ outcome: String) {
        self.values = values
        self.isSIPS = isSIPS
        self.outcome = outcome
    }

    init(_ value: String, isSIPS: Bool = true, _ outcome: String) { self.init([value], isSIPS: isSIPS, outcome) }

    var testDescription: String { "\(self.isSIPS ? "sips" : "sip") \(self.values)" }
}

private func request(_ method: String, _ uri: String, _ rows: [(String, String)]) throws -> Message {
    let head = [
        "\(method) \(uri) SIP/2.0", "Via: SIP/2.0/TLS h;branch=z9hG4bK1", "From: <sip:a@a.example>;tag=1",
        "To: <sip:b@a.example>", "Call-ID: 1", "CSeq: 1 \(method)",
    ]
    let text = (head + rows.map { "\($0.0): \($0.1)" }).joined(separator: "\r\n") + "\r\n\r\n"
    return try Message(Array(text.utf8))
}

@Suite("Referral")
struct ReferralTests {
    @Test(
        "REFER-02, REFER-03, REFER-04, REFER-05, PBX-12: where a REFER may lead",
        arguments: [
            ReferRow("<sip:x@far.example>", "403 insecure_referral"),
            ReferRow("sip:x@far.example;transport=tls", "403 insecure_referral"),
            ReferRow("<sip:x@far.example;transport=tls>", "403 insecure_referral"),
            ReferRow("<sip:x@far.example;transport=tls>", isSIPS: false, "other"),
            ReferRow("<mailto:x@old.legacy.example>", "403 insecure_referral"),
            ReferRow("<tel:+15551234>", "403 insecure_referral"),
            ReferRow("<mailto:x@far.example>", "403 insecure_referral"),
            ReferRow("<sip:x@far.example>", isSIPS: false, "other"),
            ReferRow("<tel:+15551234>", isSIPS: false, "other"),
            ReferRow("<SIPS:x@far.example?Replaces=1>", "sips"),
            ReferRow("<sips:x@far.example;transport=tcp>", "sips"),
            ReferRow("<sips:x@far.example;transport=tls>", "sips_transport_tls"),
            ReferRow("<sips:x@far.example>", isSIPS: false, "sips"),
            ReferRow("<sips:x@far.example;transport=udp>", "400 syntax"),
            ReferRow("<sips:x@far.example;transport=UDP>", isSIPS: false, "400 syntax"),
            ReferRow("<sip:x@Old.LEGACY.example.>", "override 0"),
            ReferRow("<sip:x@old.legacy.example>", isSIPS: false, "other"),
            ReferRow("<sip:x@a.old.legacy.example>", "403 insecure_referral"),
            ReferRow("<sip:x@tight.example>", "403 insecure_referral"),
            ReferRow("<sip:x@gone.example>", "403 insecure_referral"),
            ReferRow("<sip:x@198.51.100.255:5070>", "override 3"),
            ReferRow("<sip:x@198.51.101.0>", "403 insecure_referral"),
            ReferRow("<sip:x@[2001:db8::1]>", "403 insecure_referral"),
            ReferRow("<tel:+1;phone-context=old.legacy.example>", "403 insecure_referral"),
            ReferRow([], isSIPS: true, "400 syntax"), ReferRow([], isSIPS: false, "nothing"),
            ReferRow(["<sips:x@y>", "<sips:x@y>"], isSIPS: true, "400 syntax"),
            ReferRow(["<sips:x@y>", "<sips:x@y>"], isSIPS: false, "nothing"),
            ReferRow("<sips:x@y>, <sips:x@y>", "400 syntax"),
            ReferRow("<sips:x@y>, <sips:x@y>", isSIPS: false, "nothing"),
            ReferRow("<sips:x@y", "400 syntax"), ReferRow("<sips:x@y", isSIPS: false, "nothing"),
            ReferRow("<sip:core@edge>", "ours sip:c@10.0.0.1"),
            ReferRow("<sip:core@edge>", isSIPS: false, "ours sip:c@10.0.0.1"),
            ReferRow("<sip:secure@edge>", "ours sips:d@192.0.2.1"),
            ReferRow("<sip:insecure@edge>", "403 insecure_referral"),
            ReferRow("<sip:insecure@edge>", isSIPS: false, "ours sip:d@192.0.2.1"),
            ReferRow("<sip:eased@edge>", "override 0 sip:d@old.legacy.example"),
            ReferRow("<sip:udp@edge>", "400 syntax"), ReferRow("<sip:broken@edge>", isSIPS: false, "400 syntax"),
            ReferRow("<sips:foreign@edge>", isSIPS: false, "403 other_domain"),
        ])
    func judged(row: ReferRow) throws {
        let overrides = [
            override("*.legacy.example", .insecure), override("tight.example", .unverified),
            override("gone.example", .insecure, until: "2027-03-30"), override("198.51.100.0/24", .insecure),
            override("tight.example", .insecure),
        ]
        let message = try request("REFER", "sips:b@a.example", row.values.map { ("Refer-To", $0) })
        let today = day("2027-03-31")
        var outcome = "nothing"
        do throws(Refusal) {
            let referral = try Referral.judge(
                message, isSIPS: row.isSIPS, settings: SecuritySettings(overrides: overrides),
                today: today
            ) { uri throws(Refusal) in
                switch uri.user?.text(in: message.bytes) {
                case "core": return .core(Array("sip:c@10.0.0.1".utf8))
                case "secure": return .device(Array("sips:d@192.0.2.1".utf8))
                case "insecure": return .device(Array("sip:d@192.0.2.1".utf8))
                case "eased": return .device(Array("sip:d@old.legacy.example".utf8))
                case "udp": return .device(Array("sips:d@192.0.2.1;transport=udp".utf8))
                case "broken": return .device(Array("sip:".utf8))
                case "foreign": throw Refusal(403, .otherDomain)
                default: return .foreign
                }
            }
            if let referral {
                outcome = referral.target.label.description
                if let override = referral.override, let index = overrides.firstIndex(of: override) {
                    outcome += " \(index)"
                }
                if let replacement = referral.replacement {
                    outcome += " " + String(decoding: replacement, as: UTF8.self)
                }
            }
        } catch {
            outcome = "\(error.status) \(error.rule.label)"
        }
        #expect(outcome == row.outcome)
    }

    @Test("REFER-03: the tag says what the target is, and only that of a leg to come")
    func tagWord() throws {
        let message = try request("REFER", "sips:b@a.example", [("Refer-To", "<sips:x@y>")])
        let field = try #require(message.first(.referTo))
        let address = try NameAddr.parse(message.bytes, field.value)
        let words = Referral.Target.allCases.map { Referral($0, address).tagWord?.description }
        #expect(words == [nil, "sips", "sips", "override", nil])
    }

    @Test("SIPS-22: whether a response names a sip Contact")
    func contactOfResponse() throws {
        for (rows, expected) in [
            (["<sip:a@h>"], true), (["<sips:a@h>"], false), (["<sips:a@h>", "<sip:b@h>"], true),
            (["<tel:+1>, <sip:b@h>"], true), (["<tel:+1>"], false), (["<broken"], false), ([], false),
        ] as [([String], Bool)] {
            let message = try request("INVITE", "sips:b@h", rows.map { ("Contact", $0) })
            #expect(SchemeRules.hasSIPContact(message) == expected, "\(rows)")
        }
    }

    @Test(
        "SIPS-11, REG-11: which schemes one request may mix",
        arguments: [
            ("INVITE", "sips:b@h", ["<sip:a@h>"], true), ("INVITE", "sips:b@h", ["<sips:a@h>"], false),
            ("INVITE", "sip:b@h", ["<sip:a@h>"], false), ("INVITE", "sip:b@h", ["<sips:a@h>"], false),
            ("INVITE", "SIPS:b@h", ["sip:a@h"], true), ("INVITE", "sips:b@h", [], false),
            ("SUBSCRIBE", "sips:b@h", ["<sip:a@h>"], true), ("REFER", "sips:b@h", ["<sip:a@h>"], true),
            ("UPDATE", "sips:b@h", ["<sip:a@h>"], true), ("NOTIFY", "sips:b@h", ["<sip:a@h>"], true),
            ("MESSAGE", "sips:b@h", ["<sip:a@h>"], false), ("OPTIONS", "sips:b@h", ["<sip:a@h>"], false),
            ("BYE", "sips:b@h", ["<sip:a@h>"], false),
            ("REGISTER", "sip:h", ["<sips:a@h>"], true), ("REGISTER", "sips:h", ["<sips:a@h>", "<sip:a@h>"], true),
            ("REGISTER", "sips:h", ["<sips:a@h>, <sip:a@h>"], true), ("REGISTER", "sips:h", ["<sips:a@h>"], false),
            ("REGISTER", "sips:h", ["<sips:a@h>", "<mailto:a@h>"], false), ("REGISTER", "sip:h", ["<sip:a@h>"], false),
            ("REGISTER", "sips:h", ["<sip:a@h>"], false), ("REGISTER", "sips:h", ["*"], false),
            ("REGISTER", "tel:+1", ["<sips:a@h>"], false),
        ] as [(String, String, [String], Bool)])
    func schemes(method: String, uri: String, contacts: [String], isRefused: Bool) throws {
        let message = try request(method, uri, contacts.map { ("Contact", $0) })
        let requestURI = try #require(message.uri)
        do throws(Refusal) {
            try SchemeRules.check(message, requestURI: requestURI)
            #expect(!isRefused)
        } catch {
            #expect(isRefused)
            #expect(error.status == 400 && error.rule == .mixedSchemes && error.warning?.code == 399)
        }
    }
}
