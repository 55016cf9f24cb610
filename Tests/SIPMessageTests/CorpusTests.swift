import Foundation
import SIPMessage
import Testing

@Suite struct CorpusTests {
    /// Where the index and docs/conformance.md differ, by the row that decides. The index was written by a small set of
    /// rules, of which it says that a disagreement is a question.
    static let disagreements: [String: [String]] = [
        "URI-06: tel in the Request-URI has no route": ["pjproject-fuzz/sip_tel_uri_basic.sip"],
        "MSG-23: bare CR or LF": ["kamailio/sg.sip", "sofia-sip/test12.sip", "sofia-sip/test3.sip"],
        "MSG-13: no Via, so nowhere to answer": ["kamailio/bad_uri.sip", "resiprocate/RSP-2_data1.msg"],
        "TXN-12: an ACK is never answered": ["jsip-torture/t066.sip"],
        "T4475-badbranch": ["jsip-torture/t358.sip", "kamailio/invite6-badbranch-via.sip"],
        "T4475-mismatch02: 501": ["jsip-torture/t356.sip"],
        "T4475-escruri": ["sofia-sip/test25.sip"],
        "T4475-badaspec: space inside the angle brackets": ["jsip-torture/t015.sip", "jsip-torture/t204.sip"],
        "T4475-regbadct": ["resiprocate/raw-25.sip", "resiprocate/raw-26.sip", "sofia-sip/test33.sip"],
        "T4475-baddn": ["sofia-sip/test40.sip"],
        "FRAME-06: no Content-Length on a stream is 400": ["jsip-torture/t020.sip", "sofia-sip/test2.sip"],
    ]

    private static let disagreeing = Set(disagreements.values.joined())

    private func report(_ kind: String, _ outcomes: [(Corpus.Entry, outcome: String, agrees: Bool)]) {
        guard !outcomes.isEmpty else { return }
        let agreed = outcomes.count { $0.agrees }
        print("corpus, \(kind): \(agreed) of \(outcomes.count) as the index says")
        for (entry, outcome, agrees) in outcomes where !agrees {
            #expect(Self.disagreeing.contains(entry.file), "\(kind) \(entry.file): \(outcome), \(entry.note)")
        }
    }

    @Test("The corpus as datagrams ends as its index says, or as a row that differs says")
    func datagrams() {
        report(
            "datagrams",
            Corpus.entries.map { entry in
                let outcome = datagramOutcome(entry.bytes)
                return (entry, outcome, entry.expectedDatagram.contains(outcome))
            })
    }

    @Test("The corpus on a stream ends as its index says, or as a row that differs says, however it is cut")
    func streams() {
        report(
            "streams",
            Corpus.entries.map { entry in
                let outcome = streamOutcome(entry.bytes)
                for chunk in [1, 7, 100, 1000] {
                    #expect(streamOutcome(entry.bytes, chunk: chunk) == outcome, "\(entry.file), \(chunk) at a time")
                }
                // FRAME-06: a response without Content-Length is dropped by closing.
                let isDropped = entry.expectedStream.contains("drop") && outcome == ["close"]
                return (entry, "\(outcome)", isDropped || !entry.expectedStream.isDisjoint(with: outcome))
            })
    }

    @Test("Every row that explains a disagreement has one")
    func disagreementsExist() {
        guard !Corpus.entries.isEmpty else { return }
        let differing = Corpus.entries.filter { entry in
            !entry.expectedDatagram.contains(datagramOutcome(entry.bytes))
                || entry.expectedStream.isDisjoint(with: streamOutcome(entry.bytes))
        }
        #expect(Self.disagreeing.subtracting(differing.map(\.file)) == [])
    }

    @Test("SEC-09: random mutations of each message trap nothing (GATEHOUSE_MUTATIONS says how many, 50 of each)")
    func mutations() {
        let rounds = ProcessInfo.processInfo.environment["GATEHOUSE_MUTATIONS"].flatMap(Int.init) ?? 50
        for (number, entry) in Corpus.entries.enumerated() where entry.bytes.count < 16_384 {
            var generator = SeededGenerator(seed: UInt64(number))
            for _ in 0..<rounds {
                // To be found again: the seed is the number of the entry.
                exercise(Mutation.mutate(entry.bytes, using: &generator))
            }
        }
    }
}

/// RFC 4475 and RFC 5118, each message by its row. The others of their rows speak of forwarding.
@Suite struct TortureTests {
    private func entry(_ name: String) -> [UInt8]? {
        Corpus.entries.first { $0.file == name }?.bytes
    }

    @Test(
        "T4475: each message of RFC 4475 ends at the gate as its row says",
        arguments: [
            ("wsinv", "forward"), ("intmeth", "forward"), ("esc01", "forward"), ("escnull", "forward"),
            ("esc02", "forward"), ("lwsdisp", "forward"), ("longreq", "forward"), ("dblreq", "forward-first"),
            ("semiuri", "forward"), ("transports", "forward"), ("mpart01", "forward"), ("unreason", "drop"),
            ("noreason", "drop"), ("badinv01", "400"), ("clerr", "400"), ("ncl", "400"), ("scalar02", "400"),
            ("scalarlg", "drop"), ("quotbal", "400"), ("ltgtruri", "400"), ("lwsruri", "400"), ("lwsstart", "400"),
            ("trws", "400"), ("escruri", "400"), ("baddate", "forward"), ("regbadct", "400"), ("badaspec", "400"),
            ("baddn", "400"), ("badvers", "505"), ("mismatch01", "400"), ("mismatch02", "501"), ("bigcode", "drop"),
            ("badbranch", "400"), ("insuf", "400"), ("unkscm", "416"), ("novelsc", "416"), ("unksm2", "forward"),
            ("bext01", "420"), ("invut", "forward"), ("regaut01", "forward"), ("multi01", "400"), ("mcl01", "400"),
            ("bcast", "drop"), ("zeromf", "483"), ("cparam01", "forward"), ("cparam02", "forward"),
            ("regescrt", "forward"), ("sdp01", "forward"), ("inv2543", "forward"),
        ])
    func rfc4475(name: String, expected: String) {
        guard let bytes = entry("rfc4475/\(name).dat") else { return }
        let outcome = datagramOutcome(bytes)
        #expect(outcome == expected || expected == "forward" && outcome == "forward-first", "T4475-\(name)")
    }

    @Test(
        "T4475: responses that pass the gate, and those that are discarded even if they match",
        arguments: [("unreason", true), ("noreason", true), ("bcast", true), ("scalarlg", false), ("bigcode", false)])
    func responses(name: String, passes: Bool) {
        guard let bytes = entry("rfc4475/\(name).dat") else { return }
        #expect((gateStatus(bytes) == nil) == passes, "T4475-\(name)")
    }

    @Test(
        "T5118: each message of RFC 5118 ends at the gate as its row says",
        arguments: [
            ("ipv6-good", "forward"), ("ipv6-bad", "400"), ("port-ambiguous", "forward"),
            ("port-unambiguous", "forward"), ("via-received-param-with-delim", "forward"),
            ("via-received-param-no-delim", "forward"), ("ipv6-in-sdp", "forward"), ("mult-ip-in-header", "forward"),
            ("mult-ip-in-sdp", "forward"), ("ipv4-mapped-ipv6", "forward"), ("ipv6-bug-abnf-3-colons", "forward"),
            ("ipv6-correct-abnf-2-colons", "forward"),
        ])
    func rfc5118(name: String, expected: String) {
        guard let bytes = entry("rfc5118/\(name).dat") else { return }
        let outcome = datagramOutcome(bytes)
        #expect(outcome == expected || expected == "forward" && outcome == "forward-first", "T5118-\(name)")
    }

    @Test("T4475-wsinv: every part is found among its folds and spaces")
    func wsinv() throws {
        guard let bytes = entry("rfc4475/wsinv.dat") else { return }
        let message = try message(bytes)
        #expect(message.maxForwards == 68)
        #expect(message.text(message.to?.tag) == "1918181833n")
        #expect(message.text(message.to?.uri.host) == "chair-dnrc.example.com")
        #expect(message.text(message.from?.displayName) == #""J Rosenberg \\\"""#)
        #expect(message.cseq?.number == 9)
        let vias = try message.values(of: .via).map { try Via.parse(message.bytes, $0) }
        #expect(vias.map { message.text($0.transport) } == ["UDP", "TCP", "UDP"])
        #expect(vias.map { message.text($0.branch) } == ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"])
        #expect(message.text(.route) == ["<sip:services.example.com;lr;unknownwith=value;unknown-no-value>"])
        let odd = try #require(message.first(named: "UnknownHeaderWithUnusualValue"))
        #expect(message.text(odd.value) == ";;,,;;,;")
        #expect(message.body.count == 150)
    }

    @Test("T4475-intmeth: the whole range of bytes is found where it stands")
    func intmeth() throws {
        guard let bytes = entry("rfc4475/intmeth.dat") else { return }
        let message = try message(bytes)
        #expect(message.method == .other)
        #expect(message.text(message.methodRange) == "!interesting-Method0123456789_*+`.%indeed'~")
        #expect(message.text(message.uri?.password) == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
        #expect(message.text(message.uri?.host) == "example.com")
        #expect(message.maxForwards == 255)
        #expect(message.text(message.from?.tag) == "_token~1'+`*%!-.")
        let extension1 = try #require(message.first(named: "extensionHeader-!.%*+_`'~"))
        #expect(extension1.value.count > 0)
    }

    @Test("T5118-ipv6-bug-abnf-3-colons: the address is read with two colons")
    func threeColons() throws {
        guard let bytes = entry("rfc5118/ipv6-bug-abnf-3-colons.dat") else { return }
        let message = try message(bytes)
        #expect(message.uri?.hostAddress(in: message.bytes) == IPAddress("2001:db8::192.0.2.1"))
        #expect(message.to?.uri.hostAddress(in: message.bytes)?.description == "2001:db8::c000:201")
    }
}
