import GatehousePolicy
import SIPMessage
import Testing

@testable import GatehouseServer

@Suite("Explainer")
struct ExplainerTests {
    private static let today = CalendarDate(secondsSince1970: 1_800_000_000)

    private static func domain(_ change: (inout DomainConfiguration) -> Void = { _ in }) -> DomainConfiguration {
        var domain = WorkerFixture.domain()
        domain.location = SourceLocation(file: "gatehouse.yaml", line: 5, column: 5)
        change(&domain)
        return domain
    }

    /// The DNS: one host with TLS alone, one with UDP alone, and nothing else.
    private static func answer(_ question: DNSQuestion) -> DNSAnswer {
        func service(_ port: UInt16) -> DNSAnswer.Outcome {
            .services([DNSService(priority: 1, weight: 1, port: port, target: DNSName("host.example"))])
        }
        let outcome: DNSAnswer.Outcome =
            switch "\(question)" {
            case "SRV _sips._tcp.far.example": service(5061)
            case "SRV _sip._udp.legacy.example": service(5060)
            case "A host.example": .addresses([IPAddress(v4: 0xC000_0201)])
            case "NAPTR dead.example": .noSuchName
            default: .noData
            }
        return DNSAnswer(question: question, outcome: outcome, timeToLive: .seconds(60))
    }

    private static func explain(
        _ uri: String, arrived: Arrival? = nil, inDialog: Bool = false, in domain: DomainConfiguration = domain(),
        connect: Explainer.Connect? = nil
    ) async -> Explanation {
        let edge = EdgeSettings(name: "edge-1", secretFile: "", stateDirectory: "")
        let configuration = Configuration(
            edge: edge, core: CoreBindSettings(binds: []), dns: DNSSettings(), domains: [domain])
        let explainer = Explainer(configuration, domain: domain, today: Self.today) { Self.answer($0) }
        return await explainer.explain(
            Explainer.Request(uri: uri, arrival: arrived, isInDialog: inDialog), connect: connect)
    }

    private static func ways(_ explanation: Explanation) -> [String] {
        explanation.candidates.map { "\($0.transport):\($0.address)\($0.verifies ? " verified" : "")" }
    }

    @Test("LOC-01: the outbound proxy comes before the Request-URI")
    func proxy() async {
        let proxied = Self.domain { $0.outbound.proxy = "sips:far.example" }
        let explanation = await Self.explain("sip:bob@legacy.example", in: proxied)
        #expect(explanation.nextHop?.uri == "sips:far.example")
        #expect(explanation.nextHop?.decision.key == "outbound.proxy")
        #expect(Self.ways(explanation) == ["tls:192.0.2.1:5061 verified"])
        #expect(explanation.candidates.map(\.serverName) == ["far.example"])
        let direct = await Self.explain("sip:bob@legacy.example")
        #expect(direct.nextHop?.uri == "sip:bob@legacy.example")
        #expect(Self.ways(direct) == ["udp:192.0.2.1:5060"])
        #expect(direct.verdict.goes)
    }

    @Test("LOC-02: in a dialog the outbound proxy counts only where it is forced", arguments: [false, true])
    func forcedProxy(isForced: Bool) async {
        let proxied = Self.domain {
            $0.outbound.proxy = "sip:far.example"
            $0.outbound.forceProxy = isForced
        }
        let explanation = await Self.explain("sip:bob@legacy.example", inDialog: true, in: proxied)
        #expect(explanation.nextHop?.uri == (isForced ? "sip:far.example" : "sip:bob@legacy.example"))
        #expect(explanation.nextHop?.decision.key == "outbound.force_proxy")
    }

    @Test("LOC-27: a proxy that asks for UDP refuses a SIPS session, and an override lets it through")
    func insecureProxy() async {
        var domain = Self.domain { $0.outbound.proxy = "sip:legacy.example;transport=udp" }
        let refused = await Self.explain("sips:bob@far.example", arrived: .sips, in: domain)
        #expect(!refused.verdict.goes)
        #expect(refused.verdict.status == 480)
        #expect(refused.verdict.warning == "380 \"SIPS Not Allowed\"")
        domain.security.overrides = [
            SecurityOverride(
                to: .host("legacy.example"), allow: .insecure, reason: "no TLS yet",
                location: SourceLocation(file: "gatehouse.yaml", line: 31, column: 9))
        ]
        let passed = await Self.explain("sips:bob@far.example", arrived: .sips, in: domain)
        #expect(passed.verdict.goes)
        #expect(Self.ways(passed) == ["udp:192.0.2.1:5060"])
        #expect(passed.verdict.decision.key == "security.overrides[0]")
        #expect(passed.verdict.decision.location == "gatehouse.yaml:31:9")
        #expect(passed.resolutions.map(\.isSecureOnly) == [true, false])
    }

    @Test("SIPS-09: a protected session with a sip target is refused with the cause, and the line that protects it")
    func protected() async {
        var sources = SourceMap()
        sources.record("security.protect", line: 14, column: 16)
        let domain = Self.domain {
            $0.security.protect = .tls
            $0.sources = sources
        }
        let refused = await Self.explain("sip:bob@192.0.2.7;transport=udp", arrived: .tls, in: domain)
        #expect(refused.verdict.status == 403)
        #expect(refused.verdict.warning == "399 \"insecure leg refused: the URI asks for udp\"")
        #expect(refused.verdict.decision.key == "security.protect")
        #expect(refused.verdict.decision.location == "gatehouse.yaml:14:16")
        let free = await Self.explain("sip:bob@192.0.2.7;transport=udp", arrived: .plain, in: domain)
        #expect(free.security?.mustBeSecure == false)
        #expect(Self.ways(free) == ["udp:192.0.2.7:5060"])
    }

    @Test("a leg without a tag is refused where the domain says so; in a dialog it is none")
    func untagged() async {
        let domain = Self.domain { $0.security.untagged = .refuse }
        let refused = await Self.explain("sip:bob@legacy.example", in: domain)
        #expect(refused.verdict.status == 403)
        #expect(refused.verdict.decision.key == "security.untagged")
        #expect(await Self.explain("sip:bob@legacy.example", arrived: .tls, in: domain).verdict.goes)
        #expect(await Self.explain("sip:bob@legacy.example", inDialog: true, in: domain).verdict.goes)
    }

    @Test("the trace has the rules, the answers with TTL, and the failure")
    func trace() async throws {
        let explanation = await Self.explain("sips:bob@far.example")
        let resolution = try #require(explanation.resolutions.first)
        #expect(resolution.steps.map(\.kind) == [.rule, .answer, .rule, .answer, .answer, .answer])
        let services = try #require(resolution.steps.first { $0.question == "SRV _sips._tcp.far.example" })
        #expect(services.records == ["1 1 5061 host.example"])
        #expect(services.timeToLive == 60)
        let dead = await Self.explain("sip:bob@dead.example")
        #expect(dead.resolutions.first?.failure == "the name does not exist (NAPTR dead.example)")
        #expect(dead.verdict.status == 500)
        let foreign = await Self.explain("sip:bob@a.b..c", arrived: .tls)
        #expect(!foreign.verdict.goes)
    }

    @Test("a host that is served here is a device's, so that nothing is looked up")
    func ownDomain() async {
        let explanation = await Self.explain("sip:alice@A.example")
        #expect(explanation.verdict.status == 480)
        #expect(explanation.resolutions.isEmpty)
        // Through a proxy it is one host among others.
        let proxied = Self.domain { $0.outbound.proxy = "sip:far.example" }
        #expect(await Self.explain("sip:alice@a.example", in: proxied).verdict.goes)
    }

    @Test("connections are tried in order until one comes about; if none does, the verdict says so")
    func connections() async {
        let uri = "sip:bob@far.example"
        let failing: Explainer.Connect = { judged in
            Explanation.Attempt(
                transport: "\(judged.candidate.transport)", address: "\(judged.candidate.endpoint)", isConnected: false,
                problem: "Connection refused")
        }
        let refused = await Self.explain(uri, connect: failing)
        #expect(refused.attempts?.map(\.address) == ["192.0.2.1:5061"])
        #expect(!refused.verdict.goes)
        #expect(refused.verdict.warning == "399 \"Connection refused\"")
        let answered = await Self.explain(uri) { judged in
            Explanation.Attempt(
                transport: "\(judged.candidate.transport)", address: "\(judged.candidate.endpoint)", isConnected: true)
        }
        #expect(answered.verdict.goes)
        #expect(await Self.explain(uri).attempts == nil)
        // Whether UDP is answered shows only with a request.
        #expect(await Self.explain("sip:bob@legacy.example", connect: failing).verdict.goes)
    }

    @Test("LOC-26: what the edge would not send to is passed over, and said")
    func passedOver() async {
        let edge = EdgeSettings(name: "edge-1", secretFile: "", stateDirectory: "")
        let domain = Self.domain()
        let configuration = Configuration(
            edge: edge, core: CoreBindSettings(binds: []), dns: DNSSettings(), domains: [domain])
        func explain(_ forbidden: IPAddress) async -> Explanation {
            let explainer = Explainer(
                configuration, domain: domain, today: Self.today,
                forbid: { $0.address == forbidden ? "a core server" : nil }, hasRoute: { !$0.isIPv6 }
            ) { question in
                let outcome: DNSAnswer.Outcome =
                    switch question.type {
                    case .a: .addresses([IPAddress(v4: 0xC000_0201), IPAddress(v4: 0xC000_0202)])
                    case .aaaa: .addresses([IPAddress(v6High: 0x2001_0DB8 << 32, v6Low: 1)])
                    case .srv, .naptr: .noData
                    }
                return DNSAnswer(question: question, outcome: outcome, timeToLive: .zero)
            }
            let request = Explainer.Request(uri: "sip:bob@far.example:5060")
            return await explainer.explain(request) { judged in
                Explanation.Attempt(
                    transport: "tcp", address: "\(judged.candidate.endpoint)", isConnected: false, problem: "refused")
            }
        }
        let explanation = await explain(IPAddress(v4: 0xC000_0201))
        #expect(
            explanation.candidates.map { "\($0.address) \($0.passedOver ?? "")" } == [
                "[2001:db8::1]:5060 this host has no route to it", "192.0.2.1:5060 a core server", "192.0.2.2:5060 ",
            ])
        #expect(explanation.attempts?.map(\.address) == ["192.0.2.2:5060"])
    }

    @Test("the JSON is what the value says, and comes back as it")
    func json() async throws {
        let explanation = await Self.explain("sips:bob@far.example", arrived: .sips)
        let bytes = try AdminJSON.encode(explanation)
        #expect(try AdminJSON.decode(Explanation.self, from: bytes) == explanation)
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.contains("\"server_name\" : \"far.example\"") && text.contains("\"must_be_secure\" : true"))
    }
}
