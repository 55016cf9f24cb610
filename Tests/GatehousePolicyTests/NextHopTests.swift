import GatehousePolicy
import SIPMessage
import Testing

@Suite("NextHop")
struct NextHopTests {
    @Test(
        "LOC-06: maddr takes the host's place as TARGET, and the host stays whom a TLS peer must prove to be",
        arguments: [
            ("sip:bob@far.example;maddr=192.0.2.7", "192.0.2.7", "far.example"),
            ("sip:bob@far.example;maddr=Other.Example.", "other.example", "far.example"),
            ("sip:bob@far.example;maddr=[2001:db8::7]", "2001:db8::7", "far.example"),
            ("sip:bob@192.0.2.1;maddr=other.example", "other.example", nil),
            ("sip:bob@Far.Example.", "far.example", "far.example"),
        ])
    func target(uri: String, target: String, serverName: String?) throws {
        let hop = try #require(try hop(uri))
        #expect(hop.target.description == target)
        #expect(hop.serverName == serverName)
        if let serverName {
            #expect(hop.identity == .domain(serverName))
        } else {
            #expect(hop.identity == .address(try #require(IPAddress("192.0.2.1"))))
        }
    }

    @Test(
        "URI-08: two spellings of one address are one next hop, and a mapped IPv4 address is that address",
        arguments: [
            ("sip:[2001:DB8:0::9:01]", "sip:[2001:db8::9:1]"),
            ("sip:[::ffff:192.0.2.7]", "sip:192.0.2.7"),
            ("sip:far.example;maddr=[2001:DB8:0::9:01]", "sip:FAR.example.;maddr=[2001:db8::9:1]"),
        ])
    func spelling(one: String, other: String) throws {
        #expect(try hop(one) == hop(other))
        #expect(try hop(one) != nil)
    }

    @Test(
        "LOC-25: a host that is no name of the DNS is no next hop",
        arguments: [
            "sip:bob@far.example;maddr=b%C3%BCcher.example", "sip:bob@far.example;maddr", "sip:far.example;maddr=[far]",
            "sip:bob@far.example;maddr=[2001:db8::1", "sip:bob@far.example;maddr=a..b", "tel:+15551234",
            "sip:bob@\(String(repeating: "a", count: 64)).example", "http://far.example/", "sip:far.example;maddr=.",
        ])
    func noHost(uri: String) throws {
        #expect(try hop(uri) == nil)
    }

    @Test("LOC-04: any URI can be read as if it were a sips URI")
    func asSIPS() throws {
        let route = try #require(try hop("sip:p.far.example:5070;transport=tcp;lr", asSIPS: true))
        #expect(route.isSIPS)
        #expect(route.port == 5070)
        #expect(route.transport == .tcp)
        #expect(try hop("sip:p.far.example")?.isSIPS == false)
        #expect(try hop("SIPS:p.far.example")?.isSIPS == true)
    }

    @Test(
        "SIPS-15, SIPS-22: an open connection whose peer proved the name is taken where the URI leaves it, or can't be followed securely",
        arguments: [
            // URI, demand, what was located, whether it is taken
            ("sip:far.example", false, [], true), ("sip:far.example", true, [], true),
            ("sip:far.example", false, ["tls:192.0.2.9:5061"], false),
            ("sip:far.example", false, ["tcp:192.0.2.9:5060"], true),
            ("sip:far.example:5060", false, [], false), ("sip:far.example:5060", true, ["tls:192.0.2.9:5060"], true),
            ("sip:192.0.2.7:5060", false, [], false), ("sip:192.0.2.7:5060", true, ["tls:192.0.2.7:5060"], true),
            ("sip:192.0.2.7:5061", true, ["tls:192.0.2.7:5061"], false),
            ("sip:192.0.2.8:5060", true, ["tls:192.0.2.8:5060"], false),
            ("sip:192.0.2.7:5060;transport=tcp", true, [], false), ("sip:192.0.2.7;transport=udp", true, [], false),
            ("sip:192.0.2.7:5060;transport=tls", true, ["tls:192.0.2.7:5060"], false),
            ("sips:far.example:5071", true, ["tls:192.0.2.7:5071"], false),
        ] as [(String, Bool, [String], Bool)])
    func openConnection(uri: String, mustBeSecure: Bool, located: [String], isTaken: Bool) throws {
        let hop = try #require(try hop(uri))
        let remote = try #require(Endpoint("192.0.2.7:5061"))
        let candidates = try located.map { text in
            let parts = text.split(separator: ":", maxSplits: 1)
            return Candidate(
                transport: parts[0] == "tls" ? .tls : .tcp, endpoint: try #require(Endpoint(String(parts[1]))),
                serverName: nil, identity: hop.identity, group: 0)
        }
        #expect(hop.mayTake(connectionTo: remote, mustBeSecure: mustBeSecure, beside: candidates) == isTaken)
    }
}
