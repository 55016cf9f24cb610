import GatehousePolicy
import SIPMessage
import Testing

/// A next hop, what the DNS says, and what has to come of it.
struct LocateRow: Sendable, CustomTestStringConvertible {
    var uri: String
    var zone: [String]
    /// All of them; nil: the row is not about them.
    var questions: [String]?
    var outcome: String
    var rules = ResolutionRules()
    var asSIPS = false

    init(
        _ uri: String, _ zone: [String] = [], asked questions: [String]? = nil, asSIPS: Bool = false,
        rules: ResolutionRules = ResolutionRules(), _ outcome: String
    ) {
        self.uri = uri
        self.zone = zone
        self.questions = questions
        self.asSIPS = asSIPS
        self.rules = rules
        self.outcome = outcome
    }

    var testDescription: String { "\(self.uri) → \(self.outcome)" }

    func check() throws {
        let outcome = try locate(self.uri, in: self.zone, asSIPS: self.asSIPS, rules: self.rules)
        #expect(outcome.text == self.outcome)
        if let questions = self.questions { #expect(outcome.questions.sorted() == questions.sorted()) }
    }
}

extension ResolutionRules {
    static let secure = ResolutionRules(isSecureOnly: true)

    static func only(_ transports: Transport..., secure: Bool = false) -> ResolutionRules {
        ResolutionRules(transports: transports, isSecureOnly: secure)
    }
}

/// Hosts with one address each.
private let hosts = [
    "A far.example 192.0.2.1", "A h1.far.example 192.0.2.11", "A h2.far.example 192.0.2.12",
    "A h3.far.example 192.0.2.13", "A host.isp.example 198.51.100.7",
]

/// All services of the domain in SRV records alone.
private let allServices = [
    "SRV _sips._tcp.far.example 1 1 5071 h1.far.example", "SRV _sip._tcp.far.example 1 1 5070 h2.far.example",
    "SRV _sip._udp.far.example 1 1 5072 h3.far.example",
]

@Suite("Resolution by the URI alone")
struct ResolutionOfURITests {
    @Test(
        "LOC-07: a numeric host is asked about nowhere",
        arguments: [
            LocateRow("sip:192.0.2.7", asked: [], "udp:192.0.2.7:5060"),
            LocateRow("sips:192.0.2.7", asked: [], "tls:192.0.2.7:5061"),
            LocateRow("sip:192.0.2.7:5070", asked: [], "udp:192.0.2.7:5070"),
            LocateRow("sips:192.0.2.7:5060", asked: [], "tls:192.0.2.7:5060"),
            LocateRow("sip:[2001:db8::7]", asked: [], "udp:[2001:db8::7]:5060"),
            LocateRow("sip:192.0.2.7;transport=tcp", asked: [], "tcp:192.0.2.7:5060"),
            LocateRow("sip:192.0.2.7;transport=tls", asked: [], "tls:192.0.2.7:5061"),
            LocateRow("sip:far.example;maddr=192.0.2.7", asked: [], "udp:192.0.2.7:5060"),
            LocateRow("sip:192.0.2.7", asked: [], rules: .secure, "tls:192.0.2.7:5061"),
            LocateRow("sip:192.0.2.7", asked: [], rules: .only(.tls, .tcp), "tcp:192.0.2.7:5060"),
            LocateRow("sip:192.0.2.7", asked: [], rules: .only(.tls), "tls:192.0.2.7:5061"),
            LocateRow(
                "sip:[2001:db8::7]", asked: [], rules: ResolutionRules(families: .ipv4),
                "failed: the addresses are of a family that this host has no way to"),
            LocateRow("sip:0.0.0.0", asked: [], "failed: the name has no usable address or service"),
            LocateRow("sip:[::ffff:0.0.0.0]", asked: [], "failed: the name has no usable address or service"),
            LocateRow("sip:224.0.1.75", asked: [], "failed: the name has no usable address or service"),
            LocateRow("sip:[ff02::1]", asked: [], "failed: the name has no usable address or service"),
        ])
    func numericHost(row: LocateRow) throws { try row.check() }

    @Test(
        "LOC-08: a name with a port is asked for its addresses alone",
        arguments: [
            LocateRow(
                "sip:far.example:5060", hosts + allServices, asked: ["A far.example", "AAAA far.example"],
                "udp:192.0.2.1:5060"),
            LocateRow(
                "sips:far.example:5060", hosts + allServices, asked: ["A far.example", "AAAA far.example"],
                "tls:192.0.2.1:5060"),
            LocateRow("sip:far.example:5070;transport=tcp", hosts, "tcp:192.0.2.1:5070"),
            LocateRow("sip:far.example:5070;transport=tls", hosts, "tls:192.0.2.1:5070"),
            LocateRow("sip:far.example:5070", hosts, rules: .secure, "tls:192.0.2.1:5070"),
            LocateRow("sip:far.example:5070", hosts, rules: .only(.tcp), "tcp:192.0.2.1:5070"),
        ])
    func explicitPort(row: LocateRow) throws { try row.check() }

    @Test(
        "LOC-04: under a sips Request-URI a route with transport=tcp is TLS to its port",
        arguments: [
            LocateRow("sip:h1.far.example:5070;transport=tcp;lr", hosts, asSIPS: true, "tls:192.0.2.11:5070"),
            LocateRow("sip:192.0.2.7:5070;transport=tcp;lr", asSIPS: true, "tls:192.0.2.7:5070"),
            LocateRow("sip:192.0.2.7;lr", asSIPS: true, "tls:192.0.2.7:5061"),
            LocateRow(
                "sip:far.example;transport=tcp;lr", hosts + allServices,
                asked: ["SRV _sips._tcp.far.example", "A h1.far.example", "AAAA h1.far.example"], asSIPS: true,
                "tls:192.0.2.11:5071"),
        ])
    func asSIPS(row: LocateRow) throws { try row.check() }

    @Test(
        "LOC-15: a transport without a port skips NAPTR: SRV of that transport, else addresses at its port",
        arguments: [
            LocateRow(
                "sip:far.example;transport=tcp", hosts + allServices,
                asked: ["SRV _sip._tcp.far.example", "A h2.far.example", "AAAA h2.far.example"], "tcp:192.0.2.12:5070"),
            LocateRow(
                "sips:far.example;transport=tcp", hosts + allServices,
                asked: ["SRV _sips._tcp.far.example", "A h1.far.example", "AAAA h1.far.example"], "tls:192.0.2.11:5071"),
            LocateRow("sip:far.example;transport=udp", hosts + allServices, "udp:192.0.2.13:5072"),
            LocateRow(
                "sip:far.example;transport=tcp", hosts,
                asked: ["SRV _sip._tcp.far.example", "A far.example", "AAAA far.example"], "tcp:192.0.2.1:5060"),
            LocateRow("sips:far.example;transport=tcp", hosts, "tls:192.0.2.1:5061"),
            LocateRow("sip:far.example;transport=udp", hosts, "udp:192.0.2.1:5060"),
        ])
    func explicitTransport(row: LocateRow) throws { try row.check() }

    @Test(
        "SIPS-17: transport=tls is understood as TLS for that hop",
        arguments: [
            LocateRow(
                "sip:far.example;transport=tls", hosts + allServices,
                asked: ["SRV _sips._tcp.far.example", "A h1.far.example", "AAAA h1.far.example"], "tls:192.0.2.11:5071"),
            LocateRow("sip:far.example;transport=TLS", hosts, "tls:192.0.2.1:5061"),
            LocateRow("sips:far.example;transport=tls", hosts, "tls:192.0.2.1:5061"),
            LocateRow(
                "sip:far.example;transport=tls", hosts, asked: [], rules: .only(.tcp, .udp),
                "failed: outbound.transports leaves tls out"),
        ])
    func transportTLS(row: LocateRow) throws { try row.check() }

    @Test(
        "SIPS-16: a sips URI with transport=tcp is TLS over TCP, with transport=udp nothing",
        arguments: [
            LocateRow("sips:u@192.0.2.7;transport=tcp", asked: [], "tls:192.0.2.7:5061"),
            LocateRow("sips:u@192.0.2.7;transport=udp", asked: [], "failed: the URI asks for udp"),
            LocateRow(
                "sips:u@far.example;transport=udp", hosts + allServices, asked: [], "failed: the URI asks for udp"),
        ])
    func sipsOverTCP(row: LocateRow) throws { try row.check() }

    @Test(
        "SIPS-14: a sips route leads to TLS whatever the Request-URI is",
        arguments: [
            LocateRow("sips:far.example;lr", hosts + allServices, "tls:192.0.2.11:5071"),
            LocateRow("sips:far.example;lr", hosts, "tls:192.0.2.1:5061"),
        ])
    func sipsRoute(row: LocateRow) throws { try row.check() }

    @Test(
        "LOC-27: where TLS is demanded, a sip URI that asks for UDP or TCP leads nowhere",
        arguments: [
            LocateRow("sip:192.0.2.7;transport=udp", asked: [], rules: .secure, "failed: the URI asks for udp"),
            LocateRow("sip:192.0.2.7;transport=tcp", asked: [], rules: .secure, "failed: the URI asks for tcp"),
            LocateRow(
                "sip:far.example;transport=tcp", hosts + allServices, asked: [], rules: .secure,
                "failed: the URI asks for tcp"),
            LocateRow(
                "sip:far.example", hosts, asked: [], rules: .only(.tcp, .udp, secure: true),
                "failed: outbound.transports leaves tls out"),
            LocateRow(
                "sips:far.example", hosts, asked: [], rules: .only(.tcp, .udp),
                "failed: outbound.transports leaves tls out"),
        ])
    func insecureProxy(row: LocateRow) throws {
        try row.check()
        let failure = try locate(row.uri, in: row.zone, rules: row.rules).failure
        #expect(failure?.isForWantOfSecurity == true)
    }

    @Test(
        "LOC-25: an unsupported transport is a failure, and so is one that is left out",
        arguments: [
            LocateRow(
                "sip:far.example;transport=sctp", hosts, asked: [],
                "failed: the URI asks for a transport that is not supported"),
            LocateRow("sip:192.0.2.7;transport=ws", [], "failed: the URI asks for a transport that is not supported"),
            LocateRow("sip:192.0.2.7;transport", [], "failed: the URI asks for a transport that is not supported"),
            LocateRow(
                "sip:192.0.2.7;transport=udp", rules: .only(.tls, .tcp), "failed: outbound.transports leaves udp out"),
            LocateRow("sip:192.0.2.7", rules: .only(), "failed: outbound.transports leaves udp out"),
            LocateRow(
                "sip:far.example:5060", hosts, asked: [], rules: ResolutionRules(families: []),
                "failed: the addresses are of a family that this host has no way to"),
        ])
    func unsupported(row: LocateRow) throws { try row.check() }
}

@Suite("Resolution by NAPTR")
struct ResolutionByPointersTests {
    @Test(
        "LOC-09: NAPTR first; the lowest order with a supported service wins, then its SRV and that SRV's port",
        arguments: [
            LocateRow(
                "sip:far.example",
                hosts + allServices + [
                    "NAPTR far.example 20 10 s SIP+D2U _sip._udp.far.example",
                    "NAPTR far.example 10 10 s SIP+D2T _sip._tcp.far.example",
                ],
                asked: ["NAPTR far.example", "SRV _sip._tcp.far.example", "A h2.far.example", "AAAA h2.far.example"],
                "tcp:192.0.2.12:5070"),
            LocateRow(  // an order that holds nothing of ours does not count
                "sip:far.example",
                hosts + allServices + [
                    "NAPTR far.example 5 10 s SIP+D2S _sip._sctp.far.example",
                    "NAPTR far.example 10 10 s SIP+D2U _sip._udp.far.example",
                ], "udp:192.0.2.13:5072"),
            LocateRow(  // within an order, by preference; the others are there for failover
                "sip:far.example",
                hosts + allServices + [
                    "NAPTR far.example 10 20 s SIP+D2U _sip._udp.far.example",
                    "NAPTR far.example 10 10 s SIP+D2T _sip._tcp.far.example",
                ], "tcp:192.0.2.12:5070 udp:192.0.2.13:5072"),
            LocateRow(  // of equal preference, by ours
                "sip:far.example",
                hosts + allServices + [
                    "NAPTR far.example 10 10 s SIP+D2T _sip._tcp.far.example",
                    "NAPTR far.example 10 10 s SIPS+D2T _sips._tcp.far.example",
                ], "tls:192.0.2.11:5071 tcp:192.0.2.12:5070"),
            LocateRow(  // a transport that is left out is not supported
                "sip:far.example",
                hosts + allServices + [
                    "NAPTR far.example 10 10 s SIPS+D2T _sips._tcp.far.example",
                    "NAPTR far.example 20 10 s SIP+D2T _sip._tcp.far.example",
                ], rules: .only(.tcp, .udp), "tcp:192.0.2.12:5070"),
            LocateRow(  // flag a: addresses at the service's own port
                "sip:far.example", hosts + ["NAPTR far.example 10 10 a SIPS+D2T h1.far.example"],
                asked: ["NAPTR far.example", "A h1.far.example", "AAAA h1.far.example"], "tls:192.0.2.11:5061"),
            LocateRow(
                "sip:far.example",
                hosts + allServices + [
                    "NAPTR far.example 10 10 a SIPS+D2T h1.far.example",
                    "NAPTR far.example 10 20 s SIP+D2T _sip._tcp.far.example",
                ], "tls:192.0.2.11:5061 tcp:192.0.2.12:5070"),
            LocateRow(  // its SRV does not exist: the name itself, over that transport (RFC 3263 §4.2)
                "sip:far.example", hosts + ["NAPTR far.example 10 10 s SIPS+D2T _sips._tcp.gone.example"],
                asked: ["NAPTR far.example", "SRV _sips._tcp.gone.example", "A far.example", "AAAA far.example"],
                "tls:192.0.2.1:5061"),
        ])
    func order(row: LocateRow) throws { try row.check() }

    @Test(
        "LOC-10: for sips every service that is not SIPS is discarded, and none of its targets asked about",
        arguments: [
            LocateRow(
                "sips:far.example",
                hosts + allServices + [
                    "NAPTR far.example 10 10 s SIP+D2T _sip._tcp.far.example",
                    "NAPTR far.example 20 10 s SIPS+D2T _sips._tcp.far.example",
                ],
                asked: ["NAPTR far.example", "SRV _sips._tcp.far.example", "A h1.far.example", "AAAA h1.far.example"],
                "tls:192.0.2.11:5071"),
            LocateRow(
                "sips:far.example",
                hosts + [
                    "NAPTR far.example 10 10 s SIP+D2T _sip._tcp.far.example",
                    "NAPTR far.example 20 10 s SIP+D2U _sip._udp.far.example",
                ],
                asked: ["NAPTR far.example", "SRV _sips._tcp.far.example"],
                "failed: the domain offers no TLS (NAPTR far.example)"),
            LocateRow(
                "sip:far.example", hosts + ["NAPTR far.example 10 10 s SIP+D2T _sip._tcp.far.example"],
                asked: ["NAPTR far.example", "SRV _sips._tcp.far.example"], rules: .secure,
                "failed: the domain offers no TLS (NAPTR far.example)"),
            LocateRow(  // many zones list fewer services than they have
                "sips:far.example", hosts + allServices + ["NAPTR far.example 10 10 s SIP+D2U _sip._udp.far.example"],
                "tls:192.0.2.11:5071"),
        ])
    func onlySIPS(row: LocateRow) throws { try row.check() }

    @Test("LOC-11: a sip URI ends on TLS where SIPS+D2T is most preferred")
    func sipOverTLS() throws {
        try LocateRow(
            "sip:far.example",
            hosts + allServices + [
                "NAPTR far.example 10 10 s SIPS+D2T _sips._tcp.far.example",
                "NAPTR far.example 20 10 s SIP+D2T _sip._tcp.far.example",
            ], "tls:192.0.2.11:5071"
        ).check()
    }

    @Test(
        "LOC-12: what is no service of ours, or has an expression, is discarded",
        arguments: [
            ["SIP+D2S _sip._sctp.far.example"], ["SIP+D2W _sip._ws.far.example"], ["SIPS+D2W _sips._wss.far.example"],
            ["SIPS+D2U _sips._udp.far.example"], ["SIP+D2T . !^.*$!sip:x@evil.example!"],
            ["SIP+D2T _sip._tcp.evil.example !^.*$!sip:x@evil.example!"], ["SIP+D2T ."],
        ])
    func unusable(records: [String]) throws {
        let zone = records.map { "NAPTR far.example 10 10 s \($0)" }
        let outcome = try locate("sip:far.example", in: hosts + allServices + zone)
        #expect(outcome.text == "tls:192.0.2.11:5071 tcp:192.0.2.12:5070")
        #expect(!outcome.questions.contains { $0.contains("evil") || $0.contains("._ws") || $0.contains("_sctp") })
        // With nothing but them, no address is guessed at.
        let alone = try locate("sip:far.example", in: hosts + zone)
        #expect(alone.text == "failed: the name has no usable address or service (NAPTR far.example)")
    }

    @Test("LOC-12: NAPTR records about other things than SIP say nothing")
    func unrelated() throws {
        let zone = [
            "NAPTR far.example 10 10 u E2U+EMAIL . !^.*$!mailto:x@far.example!", "NAPTR far.example 5 5 s X+Y a.b",
        ]
        #expect(try locate("sip:far.example", in: hosts + zone).text == "udp:192.0.2.1:5060")
        #expect(try locate("sips:far.example", in: hosts + zone).text == "tls:192.0.2.1:5061")
    }

    @Test(
        "LOC-24: a replacement or target in another domain is followed, and the identity stays the first one's",
        arguments: ["sip:far.example", "sips:far.example"])
    func otherDomain(uri: String) throws {
        let outcome = try locate(
            uri,
            in: hosts + [
                "NAPTR far.example 10 10 s SIPS+D2T _sips._tcp.isp.example",
                "SRV _sips._tcp.isp.example 1 1 5061 host.isp.example",
            ])
        #expect(outcome.text == "tls:198.51.100.7:5061")
        #expect(outcome.candidates.map(\.identity) == [.domain("far.example")])
        #expect(outcome.candidates.map(\.serverName) == ["far.example"])
    }

    @Test(
        "SIPS-15: a sip URI whose DNS offers TLS ends on TLS, with NAPTR and without",
        arguments: [[], ["NAPTR far.example 10 10 s SIPS+D2T _sips._tcp.far.example"]])
    func offeredTLS(pointers: [String]) throws {
        let outcome = try locate("sip:far.example", in: hosts + allServices + pointers)
        #expect(outcome.candidates.first?.transport == .tls)
    }
}
