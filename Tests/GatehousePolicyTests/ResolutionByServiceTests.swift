import GatehousePolicy
import SIPMessage
import Testing

private let hosts = [
    "A far.example 192.0.2.1", "A h1.far.example 192.0.2.11", "A h2.far.example 192.0.2.12",
    "A h3.far.example 192.0.2.13",
]
/// The longest name that there is.
private let longName = String(repeating: "a.", count: 123) + "example"
private let tls = "SRV _sips._tcp.far.example 1 1 5071 h1.far.example"
private let tcp = "SRV _sip._tcp.far.example 1 1 5070 h2.far.example"
private let udp = "SRV _sip._udp.far.example 1 1 5072 h3.far.example"
private let allQuestions = [
    "NAPTR far.example", "SRV _sips._tcp.far.example", "SRV _sip._tcp.far.example", "SRV _sip._udp.far.example",
]
private let targetQuestions = ["A far.example", "AAAA far.example"]

@Suite("Resolution by SRV and addresses")
struct ResolutionByServiceTests {
    @Test(
        "LOC-13: without NAPTR each transport's SRV is asked for; UDP is used only where nothing reliable is there",
        arguments: [
            LocateRow(
                "sip:far.example", hosts + [tcp, udp],
                asked: allQuestions + ["A h2.far.example", "AAAA h2.far.example"],
                "tcp:192.0.2.12:5070"),
            LocateRow("sip:far.example", hosts + [tls, tcp, udp], "tls:192.0.2.11:5071 tcp:192.0.2.12:5070"),
            LocateRow(
                "sip:far.example", hosts + [tls, tcp, udp], rules: .only(.tcp, .tls, .udp),
                "tcp:192.0.2.12:5070 tls:192.0.2.11:5071"),
            LocateRow(
                "sip:far.example", hosts + [udp], asked: allQuestions + ["A h3.far.example", "AAAA h3.far.example"],
                "udp:192.0.2.13:5072"),
            LocateRow(  // an operator who puts UDP first means it
                "sip:far.example", hosts + [tcp, udp], rules: .only(.udp, .tcp),
                "udp:192.0.2.13:5072 tcp:192.0.2.12:5070"),
            LocateRow(
                "sips:far.example", hosts + [tls, tcp, udp],
                asked: [
                    "NAPTR far.example", "SRV _sips._tcp.far.example", "A h1.far.example", "AAAA h1.far.example",
                ], "tls:192.0.2.11:5071"),
            LocateRow(
                "sip:far.example", hosts + [tls, tcp, udp],
                asked: [
                    "NAPTR far.example", "SRV _sips._tcp.far.example", "A h1.far.example", "AAAA h1.far.example",
                ], rules: .secure, "tls:192.0.2.11:5071"),
            LocateRow(
                "sip:far.example", hosts + [tcp, udp],
                asked: [
                    "NAPTR far.example", "SRV _sip._tcp.far.example", "A h2.far.example", "AAAA h2.far.example",
                ], rules: .only(.tcp), "tcp:192.0.2.12:5070"),
        ])
    func services(row: LocateRow) throws { try row.check() }

    @Test(
        "LOC-14: neither NAPTR nor SRV leads to the addresses of the name, over UDP as the last resort",
        arguments: [
            LocateRow("sip:far.example", hosts, asked: allQuestions + targetQuestions, "udp:192.0.2.1:5060"),
            LocateRow(
                "sips:far.example", hosts,
                asked: ["NAPTR far.example", "SRV _sips._tcp.far.example"] + targetQuestions, "tls:192.0.2.1:5061"),
            LocateRow("sip:far.example", hosts, rules: .secure, "tls:192.0.2.1:5061"),
            LocateRow("sip:far.example", hosts, rules: .only(.tls, .tcp), "tcp:192.0.2.1:5060"),
            LocateRow("sip:far.example", hosts, rules: .only(.tls), "tls:192.0.2.1:5061"),
            LocateRow(
                "sip:far.example",
                hosts + [
                    "SRV _sips._tcp.far.example nxdomain", "SRV _sip._tcp.far.example nxdomain",
                    "SRV _sip._udp.far.example nxdomain",
                ], "udp:192.0.2.1:5060"),
        ])
    func addresses(row: LocateRow) throws { try row.check() }

    @Test(
        "LOC-16: the target . says that the service is not offered, and no address is guessed at",
        arguments: [
            LocateRow(
                "sips:far.example", hosts + ["SRV _sips._tcp.far.example 0 0 0 ."],
                asked: ["NAPTR far.example", "SRV _sips._tcp.far.example"],
                "failed: the domain does not offer the service (SRV _sips._tcp.far.example)"),
            LocateRow(
                "sip:far.example;transport=tcp", hosts + ["SRV _sip._tcp.far.example 0 0 0 ."],
                asked: ["SRV _sip._tcp.far.example"],
                "failed: the domain does not offer the service (SRV _sip._tcp.far.example)"),
            LocateRow(
                "sip:far.example", hosts + ["SRV _sip._tcp.far.example 0 0 0 .", udp], "udp:192.0.2.13:5072"),
            LocateRow(
                "sip:far.example", hosts + ["SRV _sip._udp.far.example 0 0 0 ."], asked: allQuestions,
                "failed: the domain does not offer the service (SRV _sip._udp.far.example)"),
            LocateRow(  // among others it means nothing
                "sip:far.example;transport=tcp", hosts + ["SRV _sip._tcp.far.example 0 0 0 .", tcp],
                "tcp:192.0.2.12:5070"),
            LocateRow(
                "sip:far.example;transport=tcp", hosts + ["SRV _sip._tcp.far.example 0 0 0 h1.far.example"],
                "failed: the name has no usable address or service (SRV _sip._tcp.far.example)"),
        ])
    func absentService(row: LocateRow) throws { try row.check() }

    @Test("LOC-17: the first of two with weights 300 and 100 is first in 70 to 80 % of 4000 look-ups")
    func weights() throws {
        let zone =
            hosts + [
                "SRV _sip._tcp.far.example 1 300 5060 h1.far.example",
                "SRV _sip._tcp.far.example 1 100 5060 h2.far.example",
                "SRV _sip._tcp.far.example 2 65535 5060 h3.far.example",
            ]
        var firsts: [String: Int] = [:]
        for seed in 0..<4000 {
            let outcome = try locate("sip:far.example;transport=tcp", in: zone, seed: UInt64(seed))
            let ways = outcome.candidates.map(\.description)
            #expect(ways.count == 3)
            #expect(ways.last == "tcp:192.0.2.13:5060", "the lower priority comes after all of the higher")
            firsts[ways.first ?? "", default: 0] += 1
        }
        #expect(2800...3200 ~= firsts["tcp:192.0.2.11:5060"] ?? 0)
    }

    @Test("LOC-17: weight 0 beside weight 10 comes first rarely, not never; several of weight 0 share alike")
    func weightOfZero() throws {
        func countOfFirst(_ weights: (Int, Int)) throws -> Int {
            let zone =
                hosts + [
                    "SRV _sip._tcp.far.example 1 \(weights.0) 5060 h1.far.example",
                    "SRV _sip._tcp.far.example 1 \(weights.1) 5060 h2.far.example",
                ]
            return try (0..<2000).count { seed in
                let outcome = try locate("sip:far.example;transport=tcp", in: zone, seed: UInt64(seed))
                return outcome.candidates.first?.description == "tcp:192.0.2.11:5060"
            }
        }
        #expect(try 100...280 ~= countOfFirst((0, 10)))  // 1 in 11
        #expect(try 900...1100 ~= countOfFirst((0, 0)))
    }

    @Test("LOC-22: a host's addresses stand together in the order of RFC 6724, and targets are never mixed")
    func addressOrder() throws {
        let zone = [
            "SRV _sip._tcp.far.example 1 1 5060 h1.far.example", "SRV _sip._tcp.far.example 2 1 5060 h2.far.example",
            "A h1.far.example 192.0.2.11", "A h1.far.example 192.0.2.10", "AAAA h1.far.example fd00::1",
            "AAAA h1.far.example 2001:db8::12", "AAAA h1.far.example 2001:db8::11", "AAAA h1.far.example 2002::1",
            "A h2.far.example 192.0.2.20", "AAAA h2.far.example 2001:db8::20",
        ]
        let outcome = try locate("sip:far.example;transport=tcp", in: zone)
        #expect(
            outcome.questions.dropFirst().sorted() == [
                "A h1.far.example", "A h2.far.example", "AAAA h1.far.example", "AAAA h2.far.example",
            ])
        #expect(
            outcome.candidates.map { "\($0.endpoint.address) \($0.group)" } == [
                "2001:db8::12 0", "2001:db8::11 0", "192.0.2.11 0", "192.0.2.10 0", "2002::1 0", "fd00::1 0",
                "2001:db8::20 1", "192.0.2.20 1",
            ])
    }

    @Test("LOC-22: a family that the edge has no way to is not asked for")
    func families() throws {
        let zone = ["A far.example 192.0.2.1", "AAAA far.example 2001:db8::1", "AAAA far.example ::ffff:192.0.2.9"]
        let v4 = try locate("sip:far.example:5060", in: zone, rules: ResolutionRules(families: .ipv4))
        #expect(v4.text == "udp:192.0.2.1:5060")
        #expect(v4.questions == ["A far.example"])
        let v6 = try locate("sip:far.example:5060", in: zone, rules: ResolutionRules(families: .ipv6))
        #expect(v6.text == "udp:[2001:db8::1]:5060", "a mapped IPv4 address is an IPv4 address")
        #expect(v6.questions == ["AAAA far.example"])
    }

    @Test("LOC-22: only addresses of one host, port and transport share a group")
    func groups() throws {
        let zone = [
            "SRV _sips._tcp.far.example 1 1 5061 h1.far.example", "SRV _sip._tcp.far.example 1 1 5060 h1.far.example",
            "SRV _sip._tcp.far.example 2 1 5070 h1.far.example", "SRV _sip._tcp.far.example 3 1 5070 h1.far.example",
            "SRV _sip._tcp.far.example 4 1 5060 empty.far.example", "SRV _sip._tcp.far.example 5 1 5060 h2.far.example",
            "A h1.far.example 192.0.2.1", "AAAA h1.far.example 2001:db8::1", "A h2.far.example 192.0.2.2",
        ]
        let outcome = try locate("sip:far.example", in: zone)
        #expect(
            outcome.candidates.map { "\($0) \($0.group)" } == [
                "tls:[2001:db8::1]:5061 0", "tls:192.0.2.1:5061 0", "tcp:[2001:db8::1]:5060 1", "tcp:192.0.2.1:5060 1",
                "tcp:[2001:db8::1]:5070 2", "tcp:192.0.2.1:5070 2", "tcp:192.0.2.2:5060 3",
            ])
        #expect(outcome.questions.count == Set(outcome.questions).count, "no question is asked twice")
    }

    @Test(
        "LOC-25: a name that does not exist or has nothing of use fails, and says at which question",
        arguments: [
            LocateRow(
                "sip:far.example", hosts + ["NAPTR far.example nxdomain"], asked: ["NAPTR far.example"],
                "failed: the name does not exist (NAPTR far.example)"),
            LocateRow(
                "sip:far.example:5060", ["A far.example nxdomain", "AAAA far.example nxdomain"],
                "failed: the name does not exist (A far.example)"),
            LocateRow(
                "sip:far.example", asked: allQuestions + targetQuestions,
                "failed: the name has no usable address or service (A far.example)"),
            LocateRow(
                "sip:far.example;transport=tcp", [tcp],
                "failed: the name has no usable address or service (A h2.far.example)"),
            LocateRow(
                "sip:far.example;transport=tcp", [tcp, "A h2.far.example nxdomain"],
                "failed: the name does not exist (A h2.far.example)"),
            LocateRow(
                "sip:far.example:5060",
                ["A far.example 0.0.0.0", "AAAA far.example fe80::1", "A far.example 224.0.0.1"],
                "failed: the name has no usable address or service (A far.example)"),
            LocateRow(  // no room for _sip._tcp before it
                "sip:\(longName)", ["A \(longName) 192.0.2.1"],
                asked: ["NAPTR \(longName)", "A \(longName)", "AAAA \(longName)"], "udp:192.0.2.1:5060"),
        ])
    func nothing(row: LocateRow) throws { try row.check() }

    @Test(
        "LOC-25: a name server that fails gives one defined answer",
        arguments: [
            LocateRow(  // it may not know NAPTR
                "sip:far.example", hosts + ["NAPTR far.example servfail", tcp], "tcp:192.0.2.12:5070"),
            LocateRow("sip:far.example", hosts + ["NAPTR far.example refused"], "udp:192.0.2.1:5060"),
            LocateRow("sip:far.example", hosts + ["NAPTR far.example timeout"], "udp:192.0.2.1:5060"),
            LocateRow(  // dead: after two time-outs it is given up
                "sip:far.example",
                [
                    "NAPTR far.example timeout", "SRV _sips._tcp.far.example timeout",
                    "SRV _sip._tcp.far.example timeout", "SRV _sip._udp.far.example timeout",
                ], asked: allQuestions, "failed: no name server answered in time (SRV _sips._tcp.far.example)"),
            LocateRow(
                "sips:far.example", hosts + ["SRV _sips._tcp.far.example servfail"],
                "failed: the name server failed (SRV _sips._tcp.far.example)"),
            LocateRow(  // what did answer counts
                "sip:far.example", hosts + ["SRV _sips._tcp.far.example servfail", tcp], "tcp:192.0.2.12:5070"),
            LocateRow(
                "sip:far.example:5060", ["A far.example timeout", "AAAA far.example 2001:db8::1"],
                "udp:[2001:db8::1]:5060"),
            LocateRow(
                "sip:far.example:5060", ["AAAA far.example timeout"],
                "failed: no name server answered in time (AAAA far.example)"),
        ])
    func failingServer(row: LocateRow) throws { try row.check() }

    @Test("the limits hold, and what is over them is in the trace")
    func limits() throws {
        let services = (0..<40).map { "SRV _sip._tcp.far.example \($0) 1 5060 t\($0).far.example" }
        let addresses = (0..<40).map { "A t\($0).far.example 192.0.2.\($0 + 1)" }
        let outcome = try locate("sip:far.example;transport=tcp", in: services + addresses)
        #expect(outcome.questions.count == 23, "1 SRV question and two for each of 11 hosts")
        #expect(outcome.candidates.map(\.endpoint.address.description) == (1...11).map { "192.0.2.\($0)" })
        #expect(outcome.trace.count { if case .discarded(_, because: .overLimit) = $0 { true } else { false } } == 29)

        let many = (1...200).map { "A far.example 192.0.2.\($0)" }
        #expect(try locate("sip:far.example:5060", in: many).candidates.count == 32)
        let narrow = ResolutionRules(candidateLimit: 2)
        #expect(try locate("sip:far.example:5060", in: many, rules: narrow).candidates.count == 2)
        let none = ResolutionRules(questionLimit: 1)
        #expect(
            try locate("sip:far.example:5060", in: many, rules: none).text
                == "failed: it would take too many DNS questions")
    }

    @Test("the trace names rule, answers with TTL, and what was discarded and why")
    func trace() throws {
        let zone =
            hosts + [
                tls, "NAPTR far.example 10 50 s SIPS+D2T _sips._tcp.far.example",
                "NAPTR far.example 5 50 s SIP+D2U _sip._udp.far.example",
            ]
        let outcome = try locate("sips:far.example", in: zone)
        let texts = outcome.trace.map(\.description)
        #expect(
            texts.prefix(5) == [
                "neither port nor transport: NAPTR first (RFC 3263 §4.1)",
                "NAPTR far.example → 10 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.far.example, "
                    + "5 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.far.example (300 s)",
                "discarded NAPTR 5 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.far.example: only TLS may be used",
                "NAPTR order 10 is the lowest with a supported service (RFC 3403 §4.1)",
                "SRV _sips._tcp.far.example → 1 1 5071 h1.far.example (300 s)",
            ])
        #expect(
            Set(texts.dropFirst(5)) == [
                "A h1.far.example → 192.0.2.11 (300 s)", "AAAA h1.far.example → no record (300 s)",
            ])
        var untraced = Resolution(try #require(try hop("sip:192.0.2.1")), rules: ResolutionRules())
        _ = untraced.begin()
        #expect(untraced.trace.isEmpty)
    }
}
