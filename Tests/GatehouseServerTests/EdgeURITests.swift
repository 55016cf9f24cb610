import GatehousePolicy
import SIPMessage
import SIPTransaction
import Testing

@testable import GatehouseServer

private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

private func uri(_ text: String) throws -> (URI, [UInt8]) {
    let bytes = Array(text.utf8)
    return (try URI.parse(bytes, ByteRange(0, bytes.count)), bytes)
}

@Suite("EdgeURI")
struct EdgeURITests {
    private static let domains = [
        WorkerFixture.domain(), WorkerFixture.domain("b.example", advertise: nil, target: "10.0.0.6"),
    ]

    @Test(
        "RR-03: the outside sees sips of a SIPS session, else sip with the port, and transport where it has to be said",
        arguments: [
            (.sips, 5061, true, false, "sips:T@edge.example"), (.sips, 5071, true, false, "sips:T@edge.example:5071"),
            (.sips, 5061, true, true, "sips:T@edge.example"), (.tls, 5061, true, false, "sip:T@edge.example:5061"),
            (.tls, 5061, true, true, "sip:T@edge.example:5061;transport=tls"),
            (.tls, 5060, true, false, "sip:T@edge.example"),
            (.plain, 5060, false, false, "sip:T@edge.example;transport=tcp"),
            (.plain, 5080, false, true, "sip:T@edge.example:5080;transport=tcp"),
        ] as [(Arrival, UInt16, Bool, Bool, String)])
    func outsideURI(arrival: Arrival, port: UInt16, isSecure: Bool, mirrors: Bool, written: String) throws {
        let fixture = try WorkerFixture(Self.domains)
        let passage = try fixture.passage(arrival: arrival, port: port, isSecure: isSecure, mirrors: mirrors)
        #expect(text(fixture.worker.outsideURI([0x54], passage)) == written)
    }

    @Test(
        "the core sees the bind, and transport where it is not UDP",
        arguments: [
            (0, .udp, "sip:T@10.0.0.1:5070"), (1, .tcp, "sip:T@10.0.0.1:5070;transport=tcp"), (2, .udp, "sip:T"),
            (-1, .udp, "sip:T"),
        ] as [(Int, Transport, String)])
    func coreURI(bind: Int, transport: Transport, written: String) throws {
        let fixture = try WorkerFixture(Self.domains)
        #expect(text(fixture.worker.coreURI([0x54], bind: bind, transport: transport)) == written)
    }

    @Test("RR-02: two Record-Route values, one for each side, both with the dialog's token and lr")
    func recordRoutes() throws {
        let fixture = try WorkerFixture(Self.domains)
        let passage = try fixture.passage(arrival: .sips)
        let routes = try #require(fixture.worker.recordRoutes(passage))
        let expected = Token.route(
            .init(
                domain: passage.domain.key, session: passage.session, flow: passage.flow,
                edge: fixture.worker.coreBinds.forFellows))
        #expect(fixture.worker.coreBinds.forFellows != nil)
        for (route, start, end) in [
            (text(routes.core), "<sip:gh-", "@10.0.0.1:5070;lr>"),
            (text(routes.outside), "<sips:gh-", "@edge.example;lr>"),
        ] {
            #expect(route.hasPrefix(start) && route.hasSuffix(end), "\(route)")
            #expect(try fixture.token(in: String(route.dropFirst().dropLast())) == .token(expected))
        }
    }

    @Test("RT-08: a token is known whole, on every edge with the secret, and on no other")
    func tokens() throws {
        let fixture = try WorkerFixture(Self.domains)
        let token = Token.binding(domain: DomainKey(name: "a.example"), key: BindingKey(high: 1, low: 2))
        let user = text(try #require(fixture.worker.text(of: token)))
        #expect(try fixture.token(in: "sip:\(user)@x") == .token(token))
        #expect(try fixture.token(in: "sips:\(user)@10.0.0.1;lr") == .token(token))
        #expect(try WorkerFixture(Self.domains).token(in: "sip:\(user)@x") == .token(token))
        #expect(try WorkerFixture(Self.domains, secret: 2).token(in: "sip:\(user)@x") == .altered)
        for index in user.indices.dropFirst(3) {
            var altered = user
            altered.replaceSubrange(index...index, with: user[index] == "A" ? "B" : "A")
            #expect(try fixture.token(in: "sip:\(altered)@x") == .altered)
        }
        for name in ["alice", "gh-alice", "gh-", ""] {
            #expect(try fixture.token(in: name.isEmpty ? "sip:x" : "sip:\(name)@x") == UserToken.none)
        }
    }

    @Test("a Contact over the limit has no token")
    func tooLong() throws {
        let fixture = try WorkerFixture(Self.domains)
        let passage = try fixture.passage()
        func token(_ count: Int) -> Token {
            .core(
                .init(
                    domain: passage.domain.key, session: passage.session, transport: .udp, target: passage.coreTarget,
                    contact: Array(repeating: 0x61, count: count)))
        }
        #expect(fixture.worker.text(of: token(Token.uriLimitInBytes)) != nil)
        #expect(fixture.worker.text(of: token(Token.uriLimitInBytes + 1)) == nil)
    }

    @Test(
        "RT-01: whose host it is, for a connection of a domain and for the core",
        arguments: [
            ("sip:a.example", .domain, .domain), ("sip:u@A.EXAMPLE:5070", .domain, .domain),
            ("sip:a.example.", .domain, .domain), ("sip:b.example", .otherDomain, .domain),
            ("sip:edge.example", .edge, .edge), ("sip:EDGE.example:1", .edge, .edge), ("sip:10.0.0.1", .edge, .edge),
            ("sip:gate.example", .edge, .edge), ("sip:10.0.0.5", .foreign, .foreign),
            ("sip:sub.a.example", .foreign, .foreign), ("sip:far.example", .foreign, .foreign),
        ] as [(String, HostStanding, HostStanding)])
    func standing(text: String, outside: HostStanding, core: HostStanding) throws {
        let bind = Bind(transport: .udp, endpoint: Endpoint(address: IPAddress(v4: 0x0A00_0001), port: 5070))
        let fixture = try WorkerFixture(
            Self.domains, core: CoreBindSettings(binds: [bind], advertise: "gate.example"))
        let (uri, bytes) = try uri(text)
        let knowledge = OutsideKnowledge(
            worker: fixture.worker, domain: try fixture.domain(), local: try fixture.flow().local, transport: .tls)
        #expect(knowledge.standing(of: uri, in: bytes) == outside)
        #expect(fixture.worker.standing(of: uri, in: bytes) == core)
        #expect(!fixture.worker.isArrivalAddress(of: uri, in: bytes))
    }

    @Test(
        "RT-05: maddr, port and transport have to be those of the arrival, all three",
        arguments: [
            ("sip:u@a;maddr=192.0.2.1;transport=tls", 5061, .tls, true), ("sips:u@a;maddr=192.0.2.1", 5061, .tls, true),
            ("sips:u@a:5071;maddr=192.0.2.1;transport=tcp", 5071, .tls, true),
            ("sip:u@a;maddr=192.0.2.1;transport=tcp", 5060, .tcp, true),
            ("sip:u@a:5080;maddr=192.0.2.1;transport=tcp", 5080, .tcp, true),
            ("sip:u@a;maddr=192.0.2.2;transport=tls", 5061, .tls, false),
            ("sip:u@a;maddr=host.example;transport=tls", 5061, .tls, false),
            ("sip:u@a;transport=tls", 5061, .tls, false), ("sip:u@a;maddr=192.0.2.1", 5061, .tls, false),
            ("sip:u@a;maddr=192.0.2.1;transport=tls", 5071, .tls, false),
            ("sip:u@a;maddr=192.0.2.1;transport=sctp", 5061, .tls, false),
            ("sip:u@a;maddr=192.0.2.1;transport=udp", 5060, .tcp, false),
        ] as [(String, UInt16, Transport, Bool)])
    func arrivalAddress(text: String, port: UInt16, transport: Transport, isArrival: Bool) throws {
        let fixture = try WorkerFixture(Self.domains)
        let (uri, bytes) = try uri(text)
        let knowledge = OutsideKnowledge(
            worker: fixture.worker, domain: try fixture.domain(),
            local: Endpoint(address: IPAddress(v4: 0xC000_0201), port: port), transport: transport)
        #expect(knowledge.isArrivalAddress(of: uri, in: bytes) == isArrival)
    }

    @Test("VIA-01: our Via says the transport, and asks for rport over UDP alone", arguments: Transport.allCases)
    func via(transport: Transport) throws {
        let fixture = try WorkerFixture(Self.domains)
        let branch = fixture.worker.nextBranch(loop: .none)
        let via = text(fixture.worker.viaValue(transport, sentBy: Array("h:1".utf8), branch: branch))
        let name = ["UDP", "TCP", "TLS"][Int(transport.rawValue)]
        #expect(via.hasPrefix("SIP/2.0/\(name) h:1;branch=z9hG4bK"))
        #expect(via.hasSuffix(";rport") == (transport == .udp))
    }
}
