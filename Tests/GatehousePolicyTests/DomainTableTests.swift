import GatehousePolicy
import SIPMessage
import Testing

struct DomainTableTests {
    private static func domain(_ name: String, _ aliases: String...) -> DomainConfiguration {
        DomainConfiguration(name: name, aliases: aliases, core: DomainCoreSettings(targets: []))
    }

    private static let table = DomainTable([
        domain("alpha.example", "sip.alpha.example", "*.phones.alpha.example"),
        domain("beta.example", "*.alpha.example", "*.example", "a.phones.alpha.example"),
        domain("pbx", "xn--bcher-kva.example"),
    ])

    @Test(
        "URI-01: a host is served in any case and with a dot at its end",
        arguments: [
            ("alpha.example", 0), ("A.ExAmPlE", 1), ("ALPHA.Example", 0), ("alpha.example.", 0), ("PBX", 2),
            ("pbx.", 2),
            ("xn--BCHER-kva.example", 2), ("Beta.Example.", 1), ("alpha.example..", nil), (".alpha.example", nil),
            ("", nil),
            (".", nil), ("..", nil), ("alpha", nil), ("example", nil), ("alpha.example.org", nil), ("pbx.lan", nil),
            ("aalpha.example", 1), ("alpha-example", nil), ("alpha@example", nil), ("`lpha.example", 1),
            ("\u{212A}bx", nil),
        ] as [(String, Int?)])
    func names(host: String, expected: Int?) {
        expect(host, expected)
    }

    @Test(
        "DOMAIN: a wildcard stands for one label, and an exact name beats it",
        arguments: [
            ("7.phones.alpha.example", 0), ("7.PHONES.alpha.example.", 0), ("a.phones.alpha.example", 1),
            ("phones.alpha.example", 1), ("7.8.phones.alpha.example", nil), ("sip.alpha.example", 0),
            ("other.alpha.example", 1), ("gamma.example", 1), (".phones.alpha.example", nil), ("x.pbx", nil),
        ] as [(String, Int?)])
    func wildcards(host: String, expected: Int?) {
        expect(host, expected)
    }

    @Test("DOMAIN: each of ten thousand domains is found, and their neighbours are not")
    func manyDomains() {
        let table = DomainTable((0..<10_000).map { Self.domain("d\($0).example", "*.phones.d\($0).example") })
        for index in 0..<10_000 {
            #expect(table.domain(named: "D\(index).example") == index)
            #expect(table.domain(named: "x.phones.d\(index).example") == index)
            #expect(table.domain(named: "e\(index).example") == nil)
            #expect(table.domain(named: "phones.d\(index).example") == nil)
        }
    }

    @Test("DOMAIN: the longest name is found, and a longer one is not looked for")
    func longNames() {
        let label = String(repeating: "a", count: 49) + "."
        let name = String(repeating: label, count: 5) + "abc"
        #expect(name.utf8.count == 253)
        let table = DomainTable([Self.domain(name)])
        #expect(table.domain(named: name) == 0)
        #expect(table.domain(named: name + ".") == 0)
        #expect(table.domain(named: name + "d") == nil)
        #expect(table.domain(named: String(repeating: "a", count: 100_000)) == nil)
    }

    @Test("DOMAIN: a table of no domains has none, and of equal names the first counts")
    func edges() {
        #expect(DomainTable([]).domain(named: "alpha.example") == nil)
        #expect(DomainTable([Self.domain("a.example"), Self.domain("A.example.")]).domain(named: "a.example") == 0)
    }

    @Test(
        "DOMAIN: every letter has two cases, and every other byte is itself alone",
        arguments: ["abcdefghijklmnopqrstuvwxyz-0123456789.example", "aaaaaaaa", "zzzzzzzz"])
    func everyByte(text: String) {
        let name = Array(text.utf8)
        let table = DomainTable([Self.domain(String(decoding: name, as: UTF8.self))])
        for position in name.indices {
            for byte in UInt8.min...UInt8.max {
                var host = name
                host[position] = byte
                let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
                let isSame = byte == name[position] || letters.contains(name[position]) && byte | 0x20 == name[position]
                let found = table.domain(named: ByteRange(0, host.count), in: host)
                #expect((found == 0) == isSame, "byte \(byte) at \(position)")
            }
        }
    }

    @Test("DOMAIN: a range beyond the bytes names nothing")
    func foreignRange() {
        #expect(Self.table.domain(named: ByteRange(0, 4), in: Array("pbx".utf8)) == nil)
    }

    /// Looks the host up inside a message's bytes and by itself.
    private func expect(_ host: String, _ expected: Int?) {
        let bytes = Array("sip:bob@\(host);lr".utf8)
        #expect(Self.table.domain(named: ByteRange(8, bytes.count - 3), in: bytes) == expected)
        #expect(Self.table.domain(named: host) == expected)
    }
}
