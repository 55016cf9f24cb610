import GatehousePolicy
import SIPMessage
import Testing

@testable import GatehouseServer

private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

private func network(_ text: String) throws -> Network {
    let parts = text.split(separator: "/")
    return Network(address: try address(String(parts[0])), prefixLength: try #require(Int(parts[1])))
}

private func target(_ host: String) -> TargetRuntime {
    TargetRuntime(TargetRuntime.Key(CoreTarget(transport: .udp, host: host, port: 5060)))
}

@Suite("TrustedSources")
struct TrustedSourcesTests {
    @Test(
        "SEC-07: an address counts up to the last bit of a network's prefix",
        arguments: [
            ("10.0.0.0/8", "10.255.255.255", true), ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "9.255.255.255", false),
            ("192.0.2.128/25", "192.0.2.128", true), ("192.0.2.128/25", "192.0.2.127", false),
            ("192.0.2.4/31", "192.0.2.5", true), ("192.0.2.4/31", "192.0.2.6", false),
            ("192.0.2.4/32", "192.0.2.4", true), ("192.0.2.4/32", "192.0.2.5", false),
            ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "2001:db8::1", false),
            ("0.0.0.0/0", "::ffff:203.0.113.9", true), ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::ffff:11.1.2.3", false), ("10.0.0.0/8", "::10.1.2.3", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
            ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", true), ("2001:db8::/64", "2001:db8:0:1::", false),
            ("2001:db8:0:0:8000::/65", "2001:db8:0:0:8000::1", true), ("2001:db8:0:0:8000::/65", "2001:db8::1", false),
            ("2001:db8::1/128", "2001:db8::1", true), ("2001:db8::1/128", "2001:db8::2", false),
            ("::/0", "2001:db8::1", true), ("::/0", "203.0.113.9", false),
        ])
    func masks(block: String, source: String, isTrusted: Bool) throws {
        let trusted = TrustedSources(networks: [try network(block)], targets: [])
        #expect(try trusted.contains(address(source)) == isTrusted)
    }

    @Test("several networks: each counts, of whatever length")
    func several() throws {
        let blocks = try ["10.0.0.0/8", "192.0.2.4/32", "192.0.2.9/32", "2001:db8::/32"].map { try network($0) }
        let trusted = TrustedSources(networks: blocks, targets: [])
        for source in ["10.9.9.9", "192.0.2.4", "192.0.2.9", "2001:db8::7"] {
            #expect(try trusted.contains(address(source)))
        }
        for source in ["192.0.2.5", "2001:db9::7", "127.0.0.1"] { #expect(try !trusted.contains(address(source))) }
    }

    @Test("without a list the core targets count: addresses, and what names resolve to now")
    func targets() throws {
        let named = target("pbx.example")
        let fixed = [target("10.0.0.5"), target("2001:db8::5"), target("::ffff:10.0.0.6")]
        let trusted = TrustedSources(networks: [], targets: fixed + [named, named])
        for source in ["10.0.0.5", "::ffff:10.0.0.5", "2001:db8::5", "10.0.0.6"] {
            #expect(try trusted.contains(address(source)), "\(source)")
        }
        #expect(try !trusted.contains(address("10.0.0.9")))
        named.setAddresses([Endpoint(address: try address("10.0.0.9"), port: 5060)])
        #expect(try trusted.contains(address("10.0.0.9")))
        #expect(try trusted.contains(address("::ffff:10.0.0.9")))
        named.setAddresses([])
        #expect(try !trusted.contains(address("10.0.0.9")))
    }

    @Test("with a list the targets do not count")
    func listAlone() throws {
        let trusted = TrustedSources(networks: [try network("192.0.2.0/24")], targets: [target("10.0.0.5")])
        #expect(try !trusted.contains(address("10.0.0.5")))
    }

    @Test("nothing configured trusts nobody")
    func nobody() throws {
        #expect(try !TrustedSources(networks: [], targets: []).contains(address("127.0.0.1")))
    }
}
