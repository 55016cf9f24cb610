import GatehousePolicy
import SIPMessage
import TestSupport
import Testing

private let domain = DomainKey(name: "a.example")
private let session = Session(id: SessionID(0xFEDC_BA98_7654_3210), arrival: .sips, expires: .max)
private let relaxed = Session(id: SessionID(.max), arrival: .sips, expires: 1, isRelaxed: true)
private let flow = FlowReference(boot: .max, worker: 513, number: 0x0102_0304_0506_0708)
private let key = BindingKey(high: 1 << 63 | 5, low: 1 << 63 | 9)
private let contact = Array("sips:alice@192.0.2.4:5061;transport=tls".utf8)

/// Each case, with and without all that may be absent.
private let tokens: [Token] = [
    .device(.init(domain: domain, session: session, flow: flow, binding: key, contact: contact, routes: [])),
    .device(
        .init(
            domain: domain, session: session, flow: nil, binding: nil, contact: [],
            routes: [Array("sip:proxy.example;lr".utf8), [], Array("sip:other.example;lr".utf8)])),
    .binding(domain: domain, key: key),
    .core(core(IPAddress(v4: 0x0A00_00FF), .udp)),
    .core(core(IPAddress(v6High: 0x2001_0DB8_0000_0000, v6Low: .max), .tcp)),
    .core(core(IPAddress(v4: .max), .tls)),
    .route(.init(domain: domain, session: session, flow: flow)),
    .route(.init(domain: domain, session: session, flow: nil)),
    .route(.init(domain: domain, session: relaxed, flow: nil, peer: Array("far.example".utf8))),
    .device(
        .init(
            domain: domain, session: relaxed, flow: nil, binding: nil, contact: contact, routes: [],
            peer: Array(repeating: 0x63, count: Token.nameLimitInBytes))),
    .path(.init(domain: domain, session: session, flow: flow)),
    .path(.init(domain: domain, session: session, flow: nil)),
    .path(.init(domain: domain, session: session, flow: flow, edge: Endpoint(address: IPAddress(v4: 1), port: 5060))),
    .route(.init(domain: domain, session: session, flow: flow, edge: sixth, peer: [0x61])),
    .device(
        .init(domain: domain, session: session, flow: flow, edge: sixth, binding: key, contact: contact, routes: [])),
    .relay(.init(domain: domain, transport: .udp, target: sixth)),
    .relay(.init(domain: domain, transport: .tcp, target: Endpoint(address: IPAddress(v4: .max), port: 1))),
]

private let sixth = Endpoint(address: IPAddress(v6High: 0x2001_0DB8_0000_0000, v6Low: 7), port: 65_535)

private func core(_ address: IPAddress, _ transport: Transport) -> Token.Core {
    Token.Core(
        domain: domain, session: session, transport: transport, target: Endpoint(address: address, port: 65_535),
        contact: contact)
}

private func device(contact: Int, routes: [Int]) -> Token {
    .device(
        .init(
            domain: domain, session: session, flow: nil, binding: nil, contact: Array(repeating: 0x61, count: contact),
            routes: routes.map { Array(repeating: 0x62, count: $0) }))
}

@Suite("Token")
struct TokenTests {
    @Test("what is written is read again, whole", arguments: tokens)
    func roundTrip(token: Token) throws {
        let bytes = try #require(token.encoded())
        #expect(Token(decoding: bytes) == token)
        #expect(token.domain == domain)
    }

    @Test("each way of arrival survives", arguments: Arrival.allCases)
    func arrivals(arrival: Arrival) throws {
        var known = session
        known.arrival = arrival
        let token = Token.route(.init(domain: domain, session: known, flow: nil))
        #expect(Token(decoding: try #require(token.encoded())) == token)
    }

    @Test("a peer's name over what the DNS allows makes no token")
    func longName() {
        let name = [UInt8](repeating: 0x63, count: Token.nameLimitInBytes + 1)
        #expect(Token.route(.init(domain: domain, session: session, flow: nil, peer: name)).encoded() == nil)
    }

    @Test("an edge's address without a flow means nothing, and is not kept")
    func addressWithoutFlow() throws {
        let token = Token.route(.init(domain: domain, session: session, flow: nil, edge: sixth))
        let bytes = try #require(token.encoded())
        #expect(Token(decoding: bytes) == .route(.init(domain: domain, session: session, flow: nil)))
    }

    @Test("two different tokens have different bytes")
    func distinct() {
        #expect(Set(tokens.map { $0.encoded() }).count == tokens.count)
    }

    @Test(
        "URIs and routes are taken up to their limits",
        arguments: [
            (device(contact: 1024, routes: []), true), (device(contact: 1025, routes: []), false),
            (device(contact: 1000, routes: [12, 12]), true), (device(contact: 1000, routes: [12, 13]), false),
            (device(contact: 0, routes: Array(repeating: 128, count: 8)), true),
            (device(contact: 0, routes: Array(repeating: 0, count: 9)), false),
        ])
    func limits(token: Token, fits: Bool) {
        let bytes = token.encoded()
        #expect((bytes != nil) == fits)
        if let bytes { #expect(Token(decoding: bytes) == token) }
    }

    @Test("a core's Contact is taken up to its limit", arguments: [(1024, true), (1025, false)])
    func coreLimit(count: Int, fits: Bool) {
        var long = core(IPAddress(v4: 1), .udp)
        long.contact = Array(repeating: 0x61, count: count)
        #expect((Token.core(long).encoded() != nil) == fits)
    }

    @Test("a token cut short anywhere, or with a byte too many, is none", arguments: tokens)
    func truncated(token: Token) throws {
        let bytes = try #require(token.encoded())
        for count in bytes.indices { #expect(Token(decoding: Array(bytes[..<count])) == nil, "\(count) bytes") }
        #expect(Token(decoding: bytes + [0]) == nil)
    }

    @Test(
        "what no edge writes is no token",
        arguments: [
            [], [0], [6], Array(repeating: 0xFF, count: 40),
            // A fourth kind of arrival.
            [4] + Array(repeating: 0, count: 8) + [0xC0] + Array(repeating: 0, count: 12),
            // Nine routes.
            [1] + Array(repeating: 0, count: 20) + [0, 0, 0, 0, 9] + Array(repeating: 0, count: 18),
            // A core server of address family 5, and one of transport 3.
            [3] + Array(repeating: 0, count: 20) + [1, 5] + Array(repeating: 0, count: 8),
            [3] + Array(repeating: 0, count: 20) + [3, 4] + Array(repeating: 0, count: 8),
        ] as [[UInt8]])
    func refused(bytes: [UInt8]) {
        #expect(Token(decoding: bytes) == nil)
    }

    @Test(
        "altered bytes are no token, or one that is written and read like any other", arguments: [1, 2, 3] as [UInt64])
    func mutated(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<5000 {
            var bytes = try #require(tokens[Int.random(in: tokens.indices, using: &generator)].encoded())
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: bytes.indices, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[index] = .random(in: .min ... .max, using: &generator)
                case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                case 2: bytes.insert(.random(in: .min ... .max, using: &generator), at: index)
                default: if bytes.count > 1 { bytes.remove(at: index) }
                }
            }
            guard let token = Token(decoding: bytes) else { continue }
            let again = try #require(token.encoded(), "seed \(seed): \(bytes)")
            #expect(Token(decoding: again) == token, "seed \(seed): \(bytes)")
        }
    }

    @Test("a domain has one key, whatever its spelling")
    func domainKeys() {
        let key = DomainKey(name: "a.example")
        #expect(DomainKey(name: "A.EXAMPLE") == key)
        #expect(DomainKey(name: "a.example.") == key)
        #expect(DomainKey(name: "b.example") != key)
        #expect(DomainKey(name: "a.example..") != key)
        // Tokens outlive a release, so the key of a name must, too: 64-bit FNV-1a.
        #expect(DomainKey(name: "").bits == 0xcbf2_9ce4_8422_2325)
        #expect(DomainKey(name: "A").bits == 0xaf63_dc4c_8601_ec8c)
    }

    @Test("a binding's key is the first sixteen bytes of its code")
    func bindingKeys() {
        let code = (0..<32).map { UInt8($0) }
        #expect(BindingKey(code: code) == BindingKey(high: 0x0001_0203_0405_0607, low: 0x0809_0A0B_0C0D_0E0F))
        #expect(BindingKey(code: [1]) == BindingKey(high: 1, low: 0))
        #expect(BindingKey(code: []) == BindingKey(high: 0, low: 0))
    }
}
