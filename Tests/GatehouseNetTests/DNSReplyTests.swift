import GatehousePolicy
import SIPMessage
import Testing

@testable import GatehouseNet

private typealias Builder = DNSMessageBuilder

private func reply(_ builder: DNSMessageBuilder) throws -> DNSReply {
    try DNSReply(builder.bytes, to: builder.question)
}

private let v4 = IPAddress(v4: 0xC000_0201)
private let v6 = IPAddress(v6High: 0x2001_0db8_0000_0000, v6Low: 1)
private let v6Bytes: [UInt8] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
private let host = DNSQuestion("pbx.example", .a)

@Test("LOC-21: addresses come with the lowest TTL of their records")
func readsAddresses() throws {
    let answer = try reply(
        Builder(host, [.a("pbx.example", 300, [192, 0, 2, 1]), .a("pbx.example", 60, [192, 0, 2, 2])]))
    #expect(answer.outcome == .addresses([v4, IPAddress(v4: 0xC000_0202)]))
    #expect(answer.timeToLive == 60)
    let answer6 = try reply(Builder(DNSQuestion("pbx.example", .aaaa), [.aaaa("pbx.example", 5, v6Bytes)]))
    #expect(answer6.outcome == .addresses([v6]))
}

@Test("LOC-21: a chain of CNAMEs is followed in any order, and its TTLs count")
func followsAliases() throws {
    let answer = try reply(
        Builder(
            host,
            [
                .cname("B.example", 30, "c.example"), .a("c.example", 300, [192, 0, 2, 1]),
                .cname("pbx.example", 90, "b.example"), .a("d.example", 1, [192, 0, 2, 9]),
            ]))
    #expect(answer.outcome == .addresses([v4]))
    #expect(answer.timeToLive == 30)
}

@Test("CNAMEs that lead in a circle, and more than 16 in a row, are refused", arguments: [1, 2, 3, 16, 17, 40])
func boundsAliases(count: Int) throws {
    let names = ["pbx.example"] + (1...count).map { "n\($0).example" }
    let chain = (0..<count).map { Builder.Record.cname(names[$0], 90, names[$0 + 1]) }
    let answer = Builder(host, chain + [.a(names[count], 60, [192, 0, 2, 1])])
    if count <= DNSReply.aliasLimit {
        #expect(try reply(answer) == DNSReply(outcome: .addresses([v4]), timeToLive: 60))
    } else {
        #expect(throws: DNSReplyFault.malformed) { try reply(answer) }
    }
    let circle = Builder(host, chain + [.cname(names[count], 90, "pbx.example")])
    #expect(throws: DNSReplyFault.malformed) { try reply(circle) }
}

@Test("LOC-21: a TTL holds for a week at most, and the highest bit makes it none")
func capsTimeToLive() throws {
    for (written, kept) in [(604_801, 604_800), (0x7FFF_FFFF, 604_800), (0x8000_0000, 0)] as [(UInt32, UInt32)] {
        #expect(try reply(Builder(host, [.a("pbx.example", written, [192, 0, 2, 1])])).timeToLive == kept)
    }
}

@Test("Records past the limit are not looked at")
func limitsReading() throws {
    let others = Array(repeating: Builder.Record.aaaa("pbx.example", 60, v6Bytes), count: DNSReply.readLimit)
    let last = Builder.Record.a("pbx.example", 60, [192, 0, 2, 1])
    #expect(try reply(Builder(host, others.dropLast() + [last])).outcome == .addresses([v4]))
    let soa = Builder.Record.soa("example", 300, minimum: 60)
    #expect(
        try reply(Builder(host, others + [last], authorities: [soa])) == DNSReply(outcome: .noData, timeToLive: 0))
}

@Test("LOC-16: SRV records come in full, with no target where it is the root")
func readsServices() throws {
    let question = DNSQuestion("_sip._tcp.far.example", .srv)
    let answer = try reply(
        Builder(
            question,
            [
                .srv(question.name.text, 60, 10, 20, 5070, "P.far.example"),
                .srv(question.name.text, 60, 20, 0, 0, "."),
                .srv(question.name.text, 60, 30, 0, 5060, "bad name.example"),
            ]))
    #expect(
        answer.outcome
            == .services([
                DNSService(priority: 10, weight: 20, port: 5070, target: DNSName("p.far.example")),
                DNSService(priority: 20, weight: 0, port: 0, target: nil),
            ]))
}

@Test("LOC-09: NAPTR records come in full, flags in lower case and services in upper")
func readsPointers() throws {
    let question = DNSQuestion("far.example", .naptr)
    let answer = try reply(
        Builder(
            question,
            [
                .naptr("far.example", 60, 10, 50, ["S", "sips+d2t", ""], "_sips._tcp.far.example"),
                .naptr("far.example", 60, 20, 50, ["u", "E2U+sip", "!^.*$!sip:x@far.example!"], "."),
            ]))
    #expect(
        answer.outcome
            == .pointers([
                DNSPointer(
                    order: 10, preference: 50, flags: "s", service: "SIPS+D2T", expression: "",
                    replacement: DNSName("_sips._tcp.far.example")),
                DNSPointer(
                    order: 20, preference: 50, flags: "u", service: "E2U+SIP", expression: "!^.*$!sip:x@far.example!",
                    replacement: nil),
            ]))
}

@Test(
    "LOC-21: a negative answer holds as long as its SOA says, 3 hours at most, and not at all without one",
    arguments: [
        (3600, 300, 300), (120, 300, 120), (100_000, 50_000, 10_800), (0, 300, 0), (0x8000_0001, 300, 0),
    ] as [(UInt32, UInt32, UInt32)])
func negativeTimeToLive(soa: UInt32, minimum: UInt32, expected: UInt32) throws {
    for (flags, outcome) in [(0x8180, .noData), (0x8183, .noSuchName)] as [(UInt16, DNSAnswer.Outcome)] {
        let authority = Builder.Record.soa("example", soa, minimum: minimum)
        #expect(
            try reply(Builder(host, authorities: [authority], flags: flags))
                == DNSReply(outcome: outcome, timeToLive: expected))
        #expect(try reply(Builder(host, flags: flags)) == DNSReply(outcome: outcome, timeToLive: 0))
        let foreign = Builder.Record.soa("other.example", soa, minimum: minimum)
        #expect(
            try reply(Builder(host, authorities: [foreign], flags: flags)) == DNSReply(outcome: outcome, timeToLive: 0))
    }
}

@Test("LOC-21: a negative answer about a CNAME's target holds no longer than the CNAME")
func negativeBehindAlias() throws {
    let builder = Builder(
        host, [.cname("pbx.example", 20, "b.example")],
        authorities: [.soa("example", 3600, minimum: 300)], flags: 0x8183)
    #expect(try reply(builder) == DNSReply(outcome: .noSuchName, timeToLive: 20))
}

@Test(
    "A server's failure is told as what it is",
    arguments: [(0x8182, .serverFailed), (0x8184, .serverFailed), (0x8185, .refused)] as [(UInt16, DNSFailure)])
func serverFailures(flags: UInt16, failure: DNSFailure) throws {
    #expect(try reply(Builder(host, flags: flags)) == DNSReply(outcome: .failed(failure), timeToLive: 0))
}

@Test("Records of another owner, class or type are no answer")
func ignoresOtherRecords() throws {
    var foreignClass = Builder.Record.a("pbx.example", 60, [192, 0, 2, 1])
    foreignClass.dnsClass = 3
    let others = [
        foreignClass, .a("other.example", 60, [192, 0, 2, 1]), .aaaa("pbx.example", 60, v6Bytes),
        Builder.Record(owner: "pbx.example", type: 16, timeToLive: 60, data: [1, 2]),
    ]
    #expect(try reply(Builder(host, others)) == DNSReply(outcome: .noData, timeToLive: 0))
    #expect(try reply(Builder(host, others + [.a("pbx.example", 60, [192, 0, 2, 1])])).outcome == .addresses([v4]))
}

@Test("No more records are kept than the limit")
func limitsRecords() throws {
    let records = Array(repeating: Builder.Record.a("pbx.example", 60, [192, 0, 2, 1]), count: 1000)
    #expect(try reply(Builder(host, records)).outcome == .addresses(Array(repeating: v4, count: DNSReply.recordLimit)))
}

@Test("A reply to another question, a query, and a truncated reply are refused")
func refusesOtherReplies() {
    var other = Builder(host)
    other.questionName = "other.example"
    #expect(throws: DNSReplyFault.malformed) { try reply(other) }
    let answer = [Builder.Record.a("pbx.example", 60, [192, 0, 2, 1])]
    #expect(throws: DNSReplyFault.malformed) {
        try DNSReply(Builder(host, answer).bytes, to: DNSQuestion("pbx.example", .srv))
    }
    #expect(throws: DNSReplyFault.malformed) { try reply(Builder(host, answer, flags: 0x0180)) }
    #expect(throws: DNSReplyFault.truncated) { try reply(Builder(host, answer, flags: 0x8380)) }
    other.flags = 0x8380
    #expect(throws: DNSReplyFault.malformed) { try reply(other) }
}

@Test(
    "A record whose data does not fit its type is refused",
    arguments: [
        (.a, [192, 0, 2]), (.a, [192, 0, 2, 1, 9]), (.aaaa, [192, 0, 2, 1]), (.srv, [0, 1, 0, 1, 0]),
        (.srv, [0, 1, 0, 1, 0, 1, 0, 9]), (.srv, [0, 1, 0, 1, 0, 1, 3, 97]), (.naptr, [0, 1, 0, 1, 9, 97]),
        (.naptr, [0, 1, 0, 1, 1, 115, 0, 0]),
    ] as [(DNSQuestion.RecordType, [UInt8])])
func refusesBadData(type: DNSQuestion.RecordType, data: [UInt8]) {
    let question = DNSQuestion("pbx.example", type)
    let record = Builder.Record(owner: "pbx.example", type: type.rawValue, timeToLive: 60, data: data)
    #expect(throws: DNSReplyFault.malformed) { try reply(Builder(question, [record])) }
}

@Test("A name pointer that leads forwards, to itself, or nowhere is refused", arguments: [12, 33, 34, 200, 0x3FFF])
func refusesPointers(target: UInt16) throws {
    // The owner of the only record stands at 29: behind the header of 12 bytes and a question of 17.
    var bytes = Builder(host, [.a("x", 60, [192, 0, 2, 1])]).bytes
    #expect(bytes[29...31] == [1, 0x78, 0])
    bytes.replaceSubrange(29...31, with: [0xC0 | UInt8(target >> 8), UInt8(target & 0xFF)])
    if target == 12 {
        #expect(try DNSReply(bytes, to: host).outcome == .addresses([v4]))
    } else {
        #expect(throws: DNSReplyFault.malformed) { try DNSReply(bytes, to: host) }
    }
}

@Test("A chain of more name pointers than a name can have labels is refused")
func refusesPointerChain() {
    func bytes(pointers: Int) -> [UInt8] {
        var chain: [UInt8] = [0]
        // Where the data of the first record starts: the header, the question, and ten bytes behind the pointer of the owner.
        let start = 29 + 12
        for index in 0..<pointers {
            let target = index == 0 ? start : start + 1 + 2 * (index - 1)
            chain += [0xC0 | UInt8(target >> 8), UInt8(target & 0xFF)]
        }
        let filler = Builder.Record(owner: "pbx.example", type: 16, timeToLive: 60, data: chain)
        let last = start + chain.count - 2
        let alias = Builder.Record(
            owner: "pbx.example", type: 5, timeToLive: 60, data: [0xC0 | UInt8(last >> 8), UInt8(last & 0xFF)])
        return Builder(host, [filler, alias]).bytes
    }
    #expect(throws: Never.self) { try DNSReply(bytes(pointers: 126), to: host) }
    #expect(throws: DNSReplyFault.malformed) { try DNSReply(bytes(pointers: 127), to: host) }
    #expect(throws: DNSReplyFault.malformed) { try DNSReply(bytes(pointers: 4000), to: host) }
}

@Test("Whatever a reply's bytes are, reading them traps nowhere", arguments: 1...40 as ClosedRange<UInt64>)
func mutatedReplies(seed: UInt64) {
    var generator = SeededDNSGenerator(state: seed)
    let srv = DNSQuestion("_sip._tcp.far.example", .srv)
    let naptr = DNSQuestion("far.example", .naptr)
    let replies = [
        Builder(host, [.cname("pbx.example", 9, "b.example"), .a("b.example", 60, [192, 0, 2, 1])]),
        Builder(DNSQuestion("pbx.example", .aaaa), [.aaaa("pbx.example", 60, v6Bytes)]),
        Builder(srv, [.srv(srv.name.text, 60, 10, 20, 5070, "p.far.example")]),
        Builder(naptr, [.naptr("far.example", 60, 10, 50, ["s", "SIPS+D2T", ""], "_sips._tcp.far.example")]),
        Builder(host, authorities: [.soa("example", 3600, minimum: 300)], flags: 0x8183),
    ]
    var readable = 0
    for builder in replies {
        let original = builder.bytes
        for _ in 0..<200 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &generator)))
                case 1: bytes.append(UInt8.random(in: 0...255, using: &generator))
                case 2 where !bytes.isEmpty:
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] =
                        [0, 0xC0, 0xFF, 0x3F].randomElement(using: &generator) ?? 0
                default:
                    guard !bytes.isEmpty else { continue }
                    let index = Int.random(in: 0..<bytes.count, using: &generator)
                    bytes[index] = UInt8.random(in: 0...255, using: &generator)
                }
            }
            if let reply = try? DNSReply(bytes, to: builder.question) {
                readable += 1
                #expect(reply.timeToLive <= DNSReply.longestTimeToLive, "seed \(seed)")
            }
        }
    }
    // Some mutations leave a reply that can be read: else the rest of the reader would not be tried at all.
    #expect(readable > 0, "seed \(seed)")
}

@Test(
    "DNS names are those of hosts and services, in lower case and without the final dot",
    arguments: [
        ("PBX.Example.", "pbx.example"), ("_sip._tcp.far.example", "_sip._tcp.far.example"), ("x", "x"),
        ("", nil), (".", nil), ("a..b", nil), (".a", nil), ("a b", nil), ("a\u{0}b", nil), ("büro.example", nil),
        ("\u{212A}.example", nil), (String(repeating: "a", count: 64), nil),
        (String(repeating: "a", count: 63), String(repeating: "a", count: 63)),
        (String(repeating: "a.", count: 127) + "a", nil),
        (String(repeating: "a.", count: 126) + "a", String(repeating: "a.", count: 126) + "a"),
    ] as [(String, String?)])
func dnsNames(text: String, name: String?) {
    #expect(DNSName(text)?.text == name)
}

/// A generator whose sequence a printed seed brings back (SplitMix64).
private struct SeededDNSGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var z = self.state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
