import Foundation
import SIPMessage
import TestSupport
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

/// The messages of RFC 4475 and RFC 5118 that the corpus has, each by its row, as datagrams.
@Suite struct TortureTests {
    /// A message of the corpus; nil where there is no corpus at all.
    private func entry(_ file: String) throws -> [UInt8]? {
        guard !Corpus.entries.isEmpty else { return nil }
        return try #require(Corpus.entries.first { $0.file == file }, "\(file)").bytes
    }

    private func expect(_ expected: String, _ files: String...) throws {
        for file in files {
            guard let bytes = try entry(file) else { return }
            let outcome = datagramOutcome(bytes)
            // Some of RFC 5118 have a line end behind their body.
            #expect(outcome == expected || expected == "forward" && outcome == "forward-first", "\(file)")
        }
    }

    @Test("T4475-wsinv, T4475-intmeth, T4475-esc01, T4475-esc02, T4475-longreq, T4475-transports: pass")
    func rows1() throws {
        try expect(
            "forward", "rfc4475/wsinv.dat", "rfc4475/intmeth.dat", "rfc4475/esc01.dat", "rfc4475/esc02.dat",
            "rfc4475/longreq.dat", "rfc4475/transports.dat")
    }

    @Test("T4475-mpart01, T4475-baddate, T4475-invut, T4475-cparam01, T4475-sdp01, T4475-inv2543: pass")
    func rows2() throws {
        try expect(
            "forward", "rfc4475/mpart01.dat", "rfc4475/baddate.dat", "rfc4475/invut.dat", "rfc4475/cparam01.dat",
            "rfc4475/sdp01.dat", "rfc4475/inv2543.dat")
    }

    @Test("T4475-dblreq: pass without surplus")
    func rows3() throws {
        try expect("forward-first", "rfc4475/dblreq.dat")
    }

    @Test("T4475-unreason, T4475-noreason, T4475-bcast, T4475-scalarlg, T4475-bigcode: dropped, no transaction")
    func rows4() throws {
        try expect(
            "drop", "rfc4475/unreason.dat", "rfc4475/noreason.dat", "rfc4475/bcast.dat", "rfc4475/scalarlg.dat",
            "rfc4475/bigcode.dat")
    }

    @Test("T4475-clerr, T4475-ncl, T4475-scalar02, T4475-ltgtruri, T4475-lwsstart, T4475-escruri: 400")
    func rows5() throws {
        try expect(
            "400", "rfc4475/clerr.dat", "rfc4475/ncl.dat", "rfc4475/scalar02.dat", "rfc4475/ltgtruri.dat",
            "rfc4475/lwsstart.dat", "rfc4475/escruri.dat")
    }

    @Test("T4475-regbadct, T4475-badbranch, T4475-insuf, T4475-multi01, T4475-mcl01: 400")
    func rows6() throws {
        try expect(
            "400", "rfc4475/regbadct.dat", "rfc4475/badbranch.dat", "rfc4475/insuf.dat", "rfc4475/multi01.dat",
            "rfc4475/mcl01.dat")
    }

    @Test("T4475-unkscm: 416")
    func rows7() throws {
        try expect("416", "rfc4475/unkscm.dat")
    }

    @Test("T4475-bext01: 420")
    func rows8() throws {
        try expect("420", "rfc4475/bext01.dat")
    }

    @Test("T4475-mismatch02: 501")
    func rows9() throws {
        try expect("501", "rfc4475/mismatch02.dat")
    }

    @Test("T4475-badvers: 505")
    func rows10() throws {
        try expect("505", "rfc4475/badvers.dat")
    }

    @Test("T5118-ipv6-good, T5118-port-ambiguous, T5118-port-unambiguous: pass")
    func rows11() throws {
        try expect("forward", "rfc5118/ipv6-good.dat", "rfc5118/port-ambiguous.dat", "rfc5118/port-unambiguous.dat")
    }

    @Test("T5118-via-received-param-with-delim, T5118-via-received-param-no-delim, T5118-ipv6-in-sdp: pass")
    func rows12() throws {
        try expect(
            "forward", "rfc5118/via-received-param-with-delim.dat", "rfc5118/via-received-param-no-delim.dat",
            "rfc5118/ipv6-in-sdp.dat")
    }

    @Test("T5118-mult-ip-in-sdp, T5118-ipv4-mapped-ipv6, T5118-ipv6-bug-abnf-3-colons: pass")
    func rows13() throws {
        try expect(
            "forward", "rfc5118/mult-ip-in-sdp.dat", "rfc5118/ipv4-mapped-ipv6.dat",
            "rfc5118/ipv6-bug-abnf-3-colons.dat")
    }

    @Test("T5118-ipv6-correct-abnf-2-colons: pass")
    func rows14() throws {
        try expect("forward", "rfc5118/ipv6-correct-abnf-2-colons.dat")
    }

    @Test("T5118-ipv6-bad: 400")
    func rows15() throws {
        try expect("400", "rfc5118/ipv6-bad.dat")
    }

    @Test("T4475-unreason, T4475-noreason, T4475-bcast: pass if they match a transaction")
    func matchingResponses() throws {
        for name in ["unreason", "noreason", "bcast"] {
            guard let bytes = try entry("rfc4475/\(name).dat") else { return }
            #expect(gateStatus(bytes) == nil, "\(name)")
        }
    }

    @Test("T4475-scalarlg, T4475-bigcode: discarded even if they match")
    func badResponses() throws {
        for name in ["scalarlg", "bigcode"] {
            guard let bytes = try entry("rfc4475/\(name).dat") else { return }
            #expect(gateStatus(bytes) == 0, "\(name)")
        }
    }

    @Test("T4475-wsinv: every part is found among its folds and spaces")
    func wsinv() throws {
        guard let bytes = try entry("rfc4475/wsinv.dat") else { return }
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
        guard let bytes = try entry("rfc4475/intmeth.dat") else { return }
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
        guard let bytes = try entry("rfc5118/ipv6-bug-abnf-3-colons.dat") else { return }
        let message = try message(bytes)
        #expect(message.uri?.hostAddress(in: message.bytes) == IPAddress("2001:db8::192.0.2.1"))
        #expect(message.to?.uri.hostAddress(in: message.bytes)?.description == "2001:db8::c000:201")
    }
}
