import GatehousePolicy
import SIPMessage
import TestSupport
import Testing

@Suite("Resolution under whatever the DNS says")
struct ResolutionFuzzTests {
    private static let names = [
        "far.example", "h1.far.example", "_sip._tcp.far.example", "_sips._tcp.far.example", "_sip._udp.far.example",
        "isp.example", "a", String(repeating: "abcdefgh.", count: 28),
    ].compactMap { DNSName($0) }

    private static let uris = [
        "sip:far.example", "sips:far.example", "sip:far.example;transport=tcp", "sips:far.example;transport=tcp",
        "sip:far.example:5070", "sip:far.example;transport=tls", "sip:far.example;transport=udp", "sip:192.0.2.1",
        "sip:far.example;transport=sctp", "sip:far.example;maddr=isp.example", "sip:[2001:db8::1]",
        "sip:\(String(repeating: "abcdefgh.", count: 26))far.example",
    ]

    /// An outcome that may be no answer to a question of its type at all.
    private static func outcome(using generator: inout SeededGenerator) -> DNSAnswer.Outcome {
        func number() -> UInt16 { [0, 1, 2, 5060, .max].randomElement(using: &generator) ?? 0 }
        func name() -> DNSName? {
            Int.random(in: 0..<6, using: &generator) == 0 ? nil : names.randomElement(using: &generator)
        }
        let count = [1, 1, 2, 3, 8, 90].randomElement(using: &generator) ?? 1
        switch Int.random(in: 0..<8, using: &generator) {
        case 0: return .noData
        case 1: return .noSuchName
        case 2: return .failed(DNSFailure.allCases.randomElement(using: &generator) ?? .timedOut)
        case 3: return .addresses([])
        case 4:
            return .addresses(
                (0..<count).map { _ in
                    Bool.random(using: &generator)
                        ? IPAddress(v4: [0, 1, 0xC000_0201, .max, 0xE000_0001].randomElement(using: &generator) ?? 0)
                        : IPAddress(
                            v6High: [0, 0xFE80 << 48, 0x2001_0DB8 << 32, .max].randomElement(using: &generator) ?? 0,
                            v6Low: [0, 1, 0xFFFF_C000_0201, .max].randomElement(using: &generator) ?? 0)
                })
        case 5, 6:
            return .services(
                (0..<count).map { _ in DNSService(priority: number(), weight: number(), port: number(), target: name())
                })
        default:
            return .pointers(
                (0..<count).map { _ in
                    DNSPointer(
                        order: number(), preference: number(),
                        flags: ["s", "a", "u", ""].randomElement(using: &generator) ?? "s",
                        service: ["SIP+D2T", "SIP+D2U", "SIPS+D2T", "SIPS+D2U", "SIP+D2W", "E2U+SIP", "", "SIP+"]
                            .randomElement(using: &generator) ?? "",
                        expression: Int.random(in: 0..<5, using: &generator) == 0 ? "!x!y!" : "", replacement: name())
                })
        }
    }

    /// Mostly records of the type asked for, so that it gets somewhere.
    private static func answer(_ question: DNSQuestion, using generator: inout SeededGenerator) -> DNSAnswer {
        var outcome = Self.outcome(using: &generator)
        for _ in 0..<6 {
            switch (question.type, outcome) {
            case (.a, .addresses), (.aaaa, .addresses), (.srv, .services), (.naptr, .pointers): break
            default: outcome = Self.outcome(using: &generator)
            }
        }
        return DNSAnswer(question: question, outcome: outcome, timeToLive: .zero)
    }

    @Test("a random walk ends within the limits, keeps to the rules, and finds only TLS where only TLS may be found")
    func walk() throws {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        var located = 0
        for round in 0..<3000 {
            let uri = Self.uris[round % Self.uris.count]
            let hop = try #require(try hop(uri, asSIPS: Int.random(in: 0..<4, using: &generator) == 0))
            let rules = ResolutionRules(
                transports: Array(
                    [Transport.tls, .tcp, .udp].shuffled(using: &generator).prefix(
                        Int.random(in: 0...3, using: &generator) | Int.random(in: 0...3, using: &generator))),
                isSecureOnly: Bool.random(using: &generator),
                families: AddressFamilies(rawValue: UInt8.random(in: 1...3, using: &generator)),
                candidateLimit: [0, 1, 32].randomElement(using: &generator) ?? 32,
                questionLimit: [0, 3, 24, 24].randomElement(using: &generator) ?? 24)
            var resolution = Resolution(hop, rules: rules, isTraced: Bool.random(using: &generator))
            var step = resolution.begin()
            var open: [DNSQuestion] = []
            var asked: [DNSQuestion] = []
            ended: while true {
                switch step {
                case .ask(let questions):
                    #expect(open.isEmpty && !questions.isEmpty, "seed \(seed)")
                    asked += questions
                    open = questions.shuffled(using: &generator)
                case .wait:
                    try #require(!open.isEmpty, "seed \(seed): it waits for nothing")
                case .located(let candidates):
                    located += 1
                    #expect(!candidates.isEmpty, "seed \(seed)")
                    #expect(candidates.count <= max(rules.candidateLimit, asked.isEmpty ? 1 : 0), "seed \(seed)")
                    let isSecure = rules.isSecureOnly || hop.isSIPS
                    #expect(candidates.allSatisfy { rules.transports.contains($0.transport) }, "seed \(seed)")
                    #expect(candidates.allSatisfy { !isSecure || $0.transport == .tls }, "seed \(seed)")
                    #expect(candidates.allSatisfy { rules.families.contains($0.endpoint.address) }, "seed \(seed)")
                    #expect(candidates.allSatisfy { $0.identity == hop.identity }, "seed \(seed)")
                    #expect(Set(candidates.map(\.description)).count == candidates.count, "seed \(seed)")
                    #expect(candidates.map(\.group) == candidates.map(\.group).sorted(), "seed \(seed)")
                    break ended
                case .failed:
                    break ended
                }
                #expect(asked.count <= rules.questionLimit && Set(asked).count == asked.count, "seed \(seed)")
                if Int.random(in: 0..<4, using: &generator) == 0 {  // an answer that nobody asked for
                    let stray = DNSQuestion(Self.names[0], .aaaa)
                    if !open.contains(stray) {
                        let answer = Self.answer(stray, using: &generator)
                        #expect(resolution.receive(answer, using: &generator) == .wait, "seed \(seed)")
                    }
                }
                step = resolution.receive(Self.answer(open.removeLast(), using: &generator), using: &generator)
            }
            let late = Self.answer(DNSQuestion(Self.names[0], .a), using: &generator)
            #expect(resolution.receive(late, using: &generator) == .wait, "seed \(seed)")
            #expect(resolution.begin() == .wait, "seed \(seed)")
        }
        #expect(located > 300, "the walk shall get somewhere; seed \(seed)")
    }
}
