import SIPMessage
import Testing

@testable import GatehousePolicy

@Suite struct DomainTableTests {
    private let table = DomainTable(names: [
        ("a.example", 0), ("*.phones.a.example", 0), ("b.example", 1), ("desk.phones.a.example", 1),
    ])

    private func domain(_ host: String) -> Int? {
        let bytes = Array(("sip:" + host).utf8)
        return self.table.domain(named: ByteRange(4, bytes.count), in: bytes)
    }

    @Test(
        "URI-01: a host is a domain's by name or alias, whatever its case and trailing dot",
        arguments: [
            ("a.example", 0), ("A.ExAmPlE", 0), ("a.example.", 0), ("b.example", 1), ("x.phones.a.example", 0),
            ("desk.phones.a.example", 1), ("DESK.phones.a.example.", 1), ("x.y.phones.a.example", nil),
            ("phones.a.example", nil), (".phones.a.example", nil), ("c.example", nil), ("aa.example", nil),
            ("example", nil), ("a.example..", nil), ("", nil),
        ] as [(String, Int?)])
    func finds(host: String, expected: Int?) {
        #expect(self.domain(host) == expected)
    }

    @Test("a table of many names finds each of them and no other")
    func many() {
        let table = DomainTable(names: (0..<5000).map { ("d\($0).example", $0) })
        for index in 0..<5000 {
            let host = Array("d\(index).example".utf8)
            #expect(table.domain(named: ByteRange(0, host.count), in: host) == index)
        }
        let absent = Array("d5000.example".utf8)
        #expect(table.domain(named: ByteRange(0, absent.count), in: absent) == nil)
    }
}
