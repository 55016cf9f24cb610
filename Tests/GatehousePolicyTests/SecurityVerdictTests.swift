import GatehousePolicy
import SIPMessage
import Testing

private let secureWays: [[Candidate]] = [
    [], [way(.tls, "192.0.2.1")], [way(.tls, "2001:db8::1"), way(.tls, "198.51.100.1", group: 1)],
    [way(.tcp, "192.0.2.1"), way(.tls, "192.0.2.1", group: 1), way(.udp, "192.0.2.1", group: 2)],  // the caller errs
]
private let anyWays: [[Candidate]] = [
    [], [way(.tls, "192.0.2.1")], [way(.tcp, "192.0.2.1")],
    [way(.udp, "198.51.100.1"), way(.tcp, "192.0.2.1", group: 1)],
    [way(.tls, "192.0.2.1"), way(.tcp, "2001:db8::1", group: 1), way(.udp, "203.0.113.1", group: 2)],
]
private let overrideLists: [[SecurityOverride]] =
    [[]]
    + [
        "a.legacy.example", "*.legacy.example", "*.example", "legacy.example", "b.legacy.example", "192.0.2.0/24",
        "192.0.2.1/32", "192.0.2.2/32", "2001:db8::/32", "0.0.0.0/0",
    ].flatMap { [[override($0, .insecure)], [override($0, .unverified)]] }
    + ["2027-03-30", "2027-03-31", "2028-01-01"].flatMap { until in
        ["*.legacy.example", "192.0.2.0/24"].flatMap { to in
            [[override(to, .insecure, until: until)], [override(to, .unverified, until: until)]]
        }
    } + [
        [override("192.0.2.0/24", .insecure), override("*.legacy.example", .unverified)],
        [override("*.legacy.example", .unverified), override("192.0.2.0/24", .insecure)],
        [override("a.legacy.example", .insecure, until: "2027-01-01"), override("0.0.0.0/0", .unverified)],
        [override("198.51.100.0/24", .unverified), override("0.0.0.0/0", .insecure)],
    ]

@Suite("SecurityVerdict")
struct SecurityVerdictTests {
    @Test(
        "SIPS-09: what protect covers: rows are arrivals, columns sips, tls, all",
        arguments: [
            (Arrival.sips, [true, true, true]), (.tls, [false, true, true]), (.plain, [false, false, true]),
        ])
    func protection(arrival: Arrival, isProtected: [Bool]) {
        #expect(SecuritySettings.Protect.allCases.map { SecurityDemand.isProtected(arrival, by: $0) } == isProtected)
    }

    @Test("SIPS-03: every combination of demand, candidates and overrides comes out as the product page says")
    func everyCombination() {
        var count = 0
        var differences: [String] = []
        for protect in SecuritySettings.Protect.allCases {
            for arrival in Arrival.allCases {
                for flags in 0..<8 {
                    for secure in secureWays {
                        for any in anyWays {
                            for overrides in overrideLists {
                                let leg = Leg(
                                    arrival: arrival, protect: protect, isSIPS: flags & 1 != 0,
                                    isRegisteredContact: flags & 2 != 0, secure: secure, any: any,
                                    overrides: overrides, verify: flags & 4 == 0)
                                count += 1
                                if leg.outcome != leg.expected, differences.count < 5 {
                                    differences.append("\(leg.outcome) is not \(leg.expected): \(leg)")
                                }
                            }
                        }
                    }
                }
            }
        }
        #expect(count == 3 * 3 * 8 * 4 * 5 * 37)
        #expect(differences == [])
    }

    @Test("SIPS-20: 480 with Warning 380 and 403 say that no secure way exists, 5xx that one could not be found")
    func refusals() {
        let question = DNSName("far.example").map { DNSQuestion($0, .naptr) }
        let sips = Leg(isSIPS: true)
        let sip = Leg()
        func outcome(_ leg: Leg, _ cause: ResolutionFailure.Cause, any: [Candidate] = []) -> String {
            var leg = leg
            leg.failure = ResolutionFailure(cause, question)
            leg.any = any
            return leg.outcome
        }
        for cause in [
            .noSecureWay, .insecureTransport(.udp), .forbiddenTransport(.tls), .serviceAbsent, .noUsableRecord,
        ]
            as [ResolutionFailure.Cause]
        {
            #expect(outcome(sips, cause) == "480 380 SIPS Not Allowed")
            #expect(outcome(sip, cause).hasPrefix("403 399 insecure leg refused: "))
        }
        #expect(
            outcome(sip, .noSecureWay)
                == "403 399 insecure leg refused: the domain offers no TLS (NAPTR far.example)")
        #expect(
            outcome(sip, .noUsableRecord)
                == "403 399 insecure leg refused: the name has no address or service for TLS (NAPTR far.example)")
        for (cause, status) in [
            (.noSuchName, 500), (.dnsTimedOut, 504), (.dnsFailed(.serverFailed), 500), (.dnsFailed(.overloaded), 503),
            (.unsupportedTransport, 500), (.unreachableFamily, 500), (.tooMany, 500),
        ] as [(ResolutionFailure.Cause, Int)] {
            let text = "\(status) 399 \(ResolutionFailure(cause, question))"
            #expect(outcome(sips, cause) == text)
            #expect(outcome(sip, cause) == text)
            #expect(outcome(Leg(arrival: .plain), cause) == text)
            var leg = sip
            leg.failure = ResolutionFailure(cause, question)
            guard case .refuse(let refusal) = leg.verdict else { continue }
            #expect(refusal.retryAfter == (status == 503 ? 1 : nil))
            // Where there is an insecure way, it is the want of a secure one that refuses.
            #expect(outcome(sips, cause, any: [way(.udp, "192.0.2.1")]) == "480 380 SIPS Not Allowed")
        }
    }

    @Test(
        "LOC-27: a hop without TLS refuses a SIPS session, and lets it pass where an override matches",
        arguments: [
            ([], "480 380 SIPS Not Allowed"),
            ([override("*.legacy.example", .insecure)], "udp:192.0.2.1:5060 by 0"),
            ([override("*.legacy.example", .insecure, until: "2027-03-31")], "udp:192.0.2.1:5060 by 0"),
            ([override("*.legacy.example", .insecure, until: "2027-03-30")], "480 380 SIPS Not Allowed"),
            ([override("*.legacy.example", .unverified)], "480 380 SIPS Not Allowed"),
            ([override("192.0.2.0/24", .insecure)], "udp:192.0.2.1:5060 by 0"),
        ] as [([SecurityOverride], String)])
    func insecureHop(overrides: [SecurityOverride], outcome: String) {
        let leg = Leg(
            isSIPS: true, any: [way(.udp, "192.0.2.1")], overrides: overrides,
            failure: ResolutionFailure(.insecureTransport(.udp)))
        #expect(leg.outcome == outcome)
    }

    @Test("REG-10: no override reaches a registered sips contact")
    func registeredContact() {
        let leg = Leg(
            isSIPS: true, isRegisteredContact: true, secure: [way(.tls, "192.0.2.1")],
            any: [way(.udp, "192.0.2.1")], overrides: [override("0.0.0.0/0", .insecure)])
        #expect(leg.outcome == "tls:192.0.2.1:5061 verified")
        var unverified = leg
        unverified.overrides = [override("0.0.0.0/0", .unverified)]
        #expect(unverified.outcome == "tls:192.0.2.1:5061 verified")
        unverified.secure = []
        #expect(unverified.outcome == "480 380 SIPS Not Allowed")
    }

    @Test("CERT-09: outbound.verify: false alone lets no protected session onto an unverified leg")
    func verification() {
        var leg = Leg(secure: [way(.tls, "192.0.2.1")], verify: false)
        #expect(leg.outcome == "tls:192.0.2.1:5061 verified")
        leg.overrides = [override("a.legacy.example", .unverified)]
        #expect(leg.outcome == "tls:192.0.2.1:5061 by 0")
        leg.overrides = [override("a.legacy.example", .insecure)]
        #expect(leg.outcome == "tls:192.0.2.1:5061 verified")
        leg = Leg(arrival: .plain, any: [way(.tls, "192.0.2.1"), way(.udp, "192.0.2.1", group: 1)])
        #expect(leg.outcome == "tls:192.0.2.1:5061 verified; udp:192.0.2.1:5060")
        leg.verify = false
        #expect(leg.outcome == "tls:192.0.2.1:5061; udp:192.0.2.1:5060")
    }

    @Test("groups of secure and insecure candidates stay apart")
    func groups() {
        func groups(_ secure: [Candidate]) -> [Int] {
            let leg = Leg(
                secure: secure, any: [way(.tcp, "192.0.2.1"), way(.udp, "192.0.2.1", group: 1)],
                overrides: [override("a.legacy.example", .insecure)])
            guard case .send(let judged) = leg.verdict else { return [] }
            return judged.map(\.candidate.group)
        }
        #expect(groups([]) == [0, 1])
        #expect(groups([way(.tls, "2001:db8::1"), way(.tls, "192.0.2.1")]) == [0, 0, 1, 2])
        #expect(groups([way(.tls, "2001:db8::1"), way(.tls, "192.0.2.1", group: 1)]) == [0, 1, 2, 3])
    }

    @Test(
        "SIPS-09: an override by host stands for one name, or for one label before it",
        arguments: [
            (
                "far.example", ["far.example", "FAR.Example", "far.example."],
                ["a.far.example", "example", "afar.example"]
            ),
            ("Far.Example.", ["far.example", "far.example."], ["a.far.example", "farxexample"]),
            (
                "*.far.example", ["a.far.example", "B.FAR.example.", "*.far.example"],
                [
                    "far.example", ".far.example", "a.b.far.example", "a.near.example", "afar.example", "example", "",
                    ".",
                ]
            ),
            ("*.Example.", ["far.example"], ["example", "a.far.example"]),
            ("*far.example", ["*far.example"], ["a.far.example", "afar.example", "far.example"]),
            ("192.0.2.1", ["192.0.2.1"], ["192.0.2.10", "192.0.2", "2.0.2.1"]),
        ] as [(String, [String], [String])])
    func hostPatterns(pattern: String, matching: [String], others: [String]) {
        let entry = override(pattern, .insecure)
        for host in matching { #expect(entry.matches(host: host), "\(host)") }
        for host in others { #expect(!entry.matches(host: host), "\(host)") }
        #expect(
            !entry.matches(ipAddress("192.0.2.1")) && !override("192.0.2.0/24", .insecure).matches(host: "192.0.2.1"))
    }

    @Test(
        "SIPS-09: an override by address stands for its block, and for the IPv4 addresses that IPv6 maps",
        arguments: [
            (
                "192.0.2.0/25", ["192.0.2.0", "192.0.2.127", "::ffff:192.0.2.5"],
                ["192.0.2.128", "192.0.1.255", "::ffff:192.0.2.200"]
            ),
            ("192.0.2.7/32", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "192.0.2.8", "::c000:207"]),
            ("0.0.0.0/0", ["192.0.2.7", "::ffff:192.0.2.7"], ["2001:db8::1", "::"]),
            ("2001:db8::/33", ["2001:db8::1", "2001:db8:7fff::"], ["2001:db8:8000::", "2001:db9::", "192.0.2.7"]),
            ("2001:db8::8/126", ["2001:db8::8", "2001:db8::b"], ["2001:db8::7", "2001:db8::c", "2001:db7::8"]),
            ("::/0", ["::", "2001:db8::1", "::ffff:192.0.2.7"], ["192.0.2.7"]),
            ("::ffff:192.0.2.0/120", ["::ffff:192.0.2.7"], ["192.0.2.7", "::ffff:192.0.3.7"]),
        ] as [(String, [String], [String])])
    func networks(block: String, inside: [String], outside: [String]) {
        let entry = override(block, .insecure)
        for address in inside { #expect(entry.matches(ipAddress(address)), "\(address)") }
        for address in outside { #expect(!entry.matches(ipAddress(address)), "\(address)") }
    }

    @Test("SIPS-09: an override holds on its last day, and without one for ever")
    func lastDay() {
        for (until, holds) in [
            (nil, true), ("2027-03-31", true), ("2027-04-01", true), ("2028-01-01", true), ("2027-03-30", false),
            ("2027-02-28", false), ("2026-12-31", false), ("2026-04-01", false),
        ] as [(String?, Bool)] {
            #expect(
                override("far.example", .insecure, until: until).holds(on: day("2027-03-31")) == holds, "\(until ?? "")"
            )
        }
    }

    @Test(
        "an insecure override is worth a second resolution only where it could match",
        arguments: [
            ([], false), ([override("a.legacy.example", .insecure)], true),
            ([override("A.LEGACY.example", .insecure)], true), ([override("a.legacy.example", .unverified)], false),
            ([override("*.legacy.example", .insecure)], true), ([override("*.example", .insecure)], false),
            ([override("a.legacy.example", .insecure, until: "2027-03-30")], false),
            ([override("192.0.2.0/24", .insecure)], true), ([override("192.0.2.0/24", .unverified)], false),
            ([override("*.legacy.example", .unverified), override("0.0.0.0/0", .insecure)], false),
            ([override("192.0.2.0/24", .unverified), override("a.legacy.example", .insecure)], true),
        ] as [([SecurityOverride], Bool)])
    func mayOverride(overrides: [SecurityOverride], expected: Bool) {
        let settings = SecuritySettings(overrides: overrides)
        let today = day("2027-03-31")
        for (demand, isCovered) in [
            (SecurityDemand(isSIPS: true, isProtected: false), true),
            (SecurityDemand(isSIPS: false, isProtected: true), true),
            (SecurityDemand(isSIPS: false, isProtected: false), false),
            (SecurityDemand(isSIPS: true, isProtected: true, isRegisteredContact: true), false),
        ] {
            for host in ["a.legacy.example", "A.Legacy.Example."] {
                let may = SecurityVerdict.mayOverride(demand, host: host, settings: settings, today: today)
                #expect(may == (expected && isCovered))
            }
        }
    }
}
