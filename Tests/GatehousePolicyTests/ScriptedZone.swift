import GatehousePolicy
import SIPMessage
import TestSupport
import Testing

/// Answers of the DNS, written like a zone file: `SRV _sip._tcp.far.example 10 20 5060 host.far.example`.
///
/// A line whose data is `nxdomain`, `nodata`, `servfail`, `timeout` or `refused` is an answer without records; a name of
/// which nothing is said has no record.
struct ScriptedZone {
    private var outcomes: [DNSQuestion: DNSAnswer.Outcome] = [:]

    init(_ lines: [String]) throws {
        for line in lines { try self.add(line) }
    }

    func answer(_ question: DNSQuestion) -> DNSAnswer {
        DNSAnswer(question: question, outcome: self.outcomes[question] ?? .noData, timeToLive: .seconds(300))
    }

    private mutating func add(_ line: String) throws {
        let words = line.split(separator: " ").map(String.init)
        let name = try #require(DNSName(words[1]))
        let data = Array(words.dropFirst(2))
        let type = try #require(DNSQuestion.RecordType.allCases.first { "\($0)".uppercased() == words[0] })
        let question = DNSQuestion(name, type)
        switch data[0] {
        case "nxdomain": self.outcomes[question] = .noSuchName
        case "nodata": self.outcomes[question] = .noData
        case "servfail": self.outcomes[question] = .failed(.serverFailed)
        case "timeout": self.outcomes[question] = .failed(.timedOut)
        case "refused": self.outcomes[question] = .failed(.refused)
        default: self.outcomes[question] = try self.merged(type, data, self.outcomes[question])
        }
    }

    private func merged(
        _ type: DNSQuestion.RecordType, _ data: [String], _ old: DNSAnswer.Outcome?
    ) throws -> DNSAnswer.Outcome {
        switch type {
        case .a, .aaaa:
            let address = try #require(IPAddress(data[0]))
            guard case .addresses(let addresses) = old else { return .addresses([address]) }
            return .addresses(addresses + [address])
        case .srv:
            let service = DNSService(
                priority: try #require(UInt16(data[0])), weight: try #require(UInt16(data[1])),
                port: try #require(UInt16(data[2])), target: DNSName(data[3]))
            guard case .services(let services) = old else { return .services([service]) }
            return .services(services + [service])
        case .naptr:
            // order, preference, flags, service, replacement, and perhaps an expression
            let pointer = DNSPointer(
                order: try #require(UInt16(data[0])), preference: try #require(UInt16(data[1])), flags: data[2],
                service: data[3], expression: data.count > 5 ? data[5] : "", replacement: DNSName(data[4]))
            guard case .pointers(let pointers) = old else { return .pointers([pointer]) }
            return .pointers(pointers + [pointer])
        }
    }
}

/// What a resolution came to, as text that a table can hold.
struct ResolutionOutcome {
    /// `tls:192.0.2.1:5061`; one after the other.
    var candidates: [Candidate] = []
    var failure: ResolutionFailure?
    /// `NAPTR far.example`, in the order asked.
    var questions: [String] = []
    var trace: [ResolutionStep] = []

    /// The candidates, or `failed: …`.
    var text: String {
        if let failure = self.failure { return "failed: \(failure)" }
        return self.candidates.map(\.description).joined(separator: " ")
    }
}

func hop(_ text: String, asSIPS: Bool = false) throws -> NextHop? {
    let bytes = Array(text.utf8)
    return NextHop(try URI.parse(bytes, ByteRange(0, bytes.count)), in: bytes, asSIPS: asSIPS)
}

func locate(
    _ uri: String, in zone: [String] = [], asSIPS: Bool = false, rules: ResolutionRules = ResolutionRules(),
    seed: UInt64 = 1
) throws -> ResolutionOutcome {
    let zone = try ScriptedZone(zone)
    var generator = SeededGenerator(seed: seed)
    var resolution = Resolution(try #require(try hop(uri, asSIPS: asSIPS)), rules: rules, isTraced: true)
    var outcome = ResolutionOutcome()
    var step = resolution.begin()
    var open: [DNSQuestion] = []
    while true {
        switch step {
        case .ask(let questions):
            #expect(!questions.isEmpty)
            outcome.questions += questions.map(\.description)
            open = questions.shuffled(using: &generator)
        case .wait:
            try #require(!open.isEmpty, "it waits, and no question is open")
        case .located(let candidates):
            #expect(open.isEmpty)
            outcome.candidates = candidates
            outcome.trace = resolution.trace
            return outcome
        case .failed(let failure):
            #expect(open.isEmpty)
            outcome.failure = failure
            outcome.trace = resolution.trace
            return outcome
        }
        step = resolution.receive(zone.answer(open.removeLast()), using: &generator)
    }
}
