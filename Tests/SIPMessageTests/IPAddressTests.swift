import SIPMessage
import TestSupport
import Testing

@Suite struct IPAddressTests {
    @Test(
        "URI-08: an IPv6 address reads in any spelling and writes as RFC 5952 says",
        arguments: [
            ("2001:DB8:0::9:01", "2001:db8::9:1"), ("::", "::"), ("::1", "::1"), ("1::", "1::"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("::ffff:192.0.2.10", "::ffff:192.0.2.10"),
            ("::FFFF:c000:20a", "::ffff:192.0.2.10"), ("2001:db8::10:5070", "2001:db8::10:5070"),
            ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"), ("2001:db8::192.0.2.1", "2001:db8::c000:201"),
            ("0:0:0:0:0:0:0:1", "::1"), ("fe80:0:0:0:0:0:0:0", "fe80::"),
        ])
    func readsAndWrites(text: String, expected: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.isIPv6)
        #expect(address.description == expected)
        #expect(IPAddress(expected) == address)
    }

    @Test("T5118-ipv6-bug-abnf-3-colons: the extra colon before an IPv4 part is read as two")
    func threeColons() {
        #expect(IPAddress("2001:db8:::192.0.2.1") == IPAddress("2001:db8::192.0.2.1"))
        #expect(IPAddress(":::192.0.2.1") == IPAddress("::192.0.2.1"))
        #expect(IPAddress("2001:db8:::1") == nil)
        #expect(IPAddress("2001:db8::::192.0.2.1") == nil)
    }

    @Test(
        "URI-09: what is no RFC 3986 address is none",
        arguments: [
            "", ":", ":::", "1", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1::2", "12345::",
            "fe80::1%eth0", "fe80::1%25eth0", "[::1]", "::1 ", "g::", ":1::", "1:", "::1:", "1:2:3:4:5:6:7:1.2.3.4",
            "192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.1.", "1.2.3.4.5", ".1.2.3", "1..2.3", "1.2.3.4:",
            "0x1.2.3.4",
            "::1.2.3", "::1.2.3.4.5", "1.2.3.4::", "::1.2.3.4:1", "2001:db8:::", "::00001", "1.2.3.4%1", "example.com",
        ])
    func refuses(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("An IPv4 address reads, writes and tells its kind")
    func v4() throws {
        let address = try #require(IPAddress("192.0.2.10"))
        #expect(address.v4 == 0xC000_020A)
        #expect(address.description == "192.0.2.10")
        #expect(IPAddress("127.1.2.3")?.isLoopback == true)
        #expect(IPAddress("128.0.0.1")?.isLoopback == false)
        #expect(IPAddress("::1")?.isLoopback == true)
        #expect(IPAddress("::ffff:127.0.0.1")?.isLoopback == true)
        #expect(IPAddress("224.0.0.1")?.isMulticast == true)
        #expect(IPAddress("240.0.0.1")?.isMulticast == false)
        #expect(IPAddress("ff02::1")?.isMulticast == true)
        #expect(IPAddress("0.0.0.0")?.isUnspecified == true)
        #expect(IPAddress("::")?.isUnspecified == true)
        #expect(IPAddress("169.254.1.1")?.isLinkLocal == true)
        #expect(IPAddress("fe80::1")?.isLinkLocal == true)
        #expect(IPAddress("febf::1")?.isLinkLocal == true)
        #expect(IPAddress("fec0::1")?.isLinkLocal == false)
        #expect(IPAddress("::ffff:192.0.2.10")?.asIPv4 == address)
        #expect(IPAddress("::192.0.2.10")?.asIPv4 == nil)
        #expect(IPAddress("::192.0.2.10") != address)
    }

    @Test(
        "A prefix matches the addresses in it and no other",
        arguments: [
            ("10.1.2.3", "10.0.0.0", 8, true), ("11.1.2.3", "10.0.0.0", 8, false), ("11.1.2.3", "10.0.0.0", 0, true),
            ("10.0.0.1", "10.0.0.1", 32, true), ("10.0.0.1", "10.0.0.0", 32, false),
            ("10.0.0.1", "10.0.0.0", 33, false),
            ("2001:db8::1", "2001:db8::", 32, true), ("2001:db9::1", "2001:db8::", 32, false),
            ("2001:db8::1:0:0:1", "2001:db8::1:0:0:0", 64, true), ("2001:db8:0:0:8000::", "2001:db8::", 65, false),
            ("2001:db8::1", "2001:db8::1", 128, true), ("2001:db8::1", "2001:db8::2", 128, false),
            ("::1", "::1", 129, false), ("10.0.0.1", "::", 0, false), ("10.0.0.1", "10.0.0.1", -1, false),
        ])
    func prefix(address: String, network: String, length: Int, expected: Bool) throws {
        let network = try #require(IPAddress(network))
        #expect(try #require(IPAddress(address)).matches(network, prefixLength: length) == expected)
    }

    @Test(
        "An endpoint reads and writes with its port",
        arguments: ["192.0.2.1:5060", "[2001:db8::1]:5061", "0.0.0.0:0", "[::]:65535"])
    func endpoint(text: String) throws {
        #expect(try #require(Endpoint(text)).description == text)
    }

    @Test(
        "What lacks a port, brackets or an address is no endpoint",
        arguments: [
            "", ":5060", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:+1",
            "2001:db8::1:5061",
            "[2001:db8::1]", "[192.0.2.1]:5060", "[]:5060", "[2001:db8::1:5061", "example.com:5060", "192.0.2.1:5060 ",
            "[::1]x:1", "192.0.2.1:000001",
        ])
    func noEndpoint(text: String) {
        #expect(Endpoint(text) == nil)
    }

    @Test("Random addresses survive writing and reading")
    func roundTrip() {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<20_000 {
            // Masks make runs of zero groups.
            let mask = UInt64.random(in: 0...UInt64.max, using: &generator)
            let high = UInt64.random(in: 0...UInt64.max, using: &generator) & spread(mask)
            let low = UInt64.random(in: 0...UInt64.max, using: &generator) & spread(mask >> 4)
            let address = IPAddress(v6High: high, v6Low: low)
            #expect(IPAddress(address.description) == address)
            let v4 = IPAddress(v4: UInt32(truncatingIfNeeded: low))
            #expect(IPAddress(v4.description) == v4)
        }
    }

    private func spread(_ bits: UInt64) -> UInt64 {
        (0..<4).reduce(0) { $0 | (bits >> UInt64($1) & 1 == 1 ? 0xFFFF << UInt64($1 * 16) : 0) }
    }
}
