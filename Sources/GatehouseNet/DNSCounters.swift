public import GatehousePolicy
internal import Synchronization

/// How a question of the edge's was taken.
public enum DNSLookup: Int, Sendable, CaseIterable {
    /// Answered from the cache.
    case cached
    /// Joined to the same question, which was being asked already.
    case joined
    /// Sent to a name server.
    case asked
    /// Turned away by a limit.
    case refused
}

/// How a question that went to a name server ended.
public enum DNSResult: Hashable, Sendable, CaseIterable {
    case answered
    case noData
    case noSuchName
    case failed(DNSFailure)

    public static var allCases: [DNSResult] {
        [.answered, .noData, .noSuchName] + DNSFailure.allCases.map { .failed($0) }
    }

    init(_ outcome: DNSAnswer.Outcome) {
        switch outcome {
        case .addresses, .services, .pointers: self = .answered
        case .noData: self = .noData
        case .noSuchName: self = .noSuchName
        case .failed(let failure): self = .failed(failure)
        }
    }

    fileprivate var index: Int {
        switch self {
        case .answered: 0
        case .noData: 1
        case .noSuchName: 2
        case .failed(let failure): 3 + (DNSFailure.allCases.firstIndex(of: failure) ?? 0)
        }
    }
}

/// The client's counters since its start, for all threads.
final class DNSCounters: Sendable {
    private final class Cell: Sendable {
        let value = Atomic<Int>(0)
    }

    private let lookups = DNSLookup.allCases.map { _ in Cell() }
    private let results = DNSQuestion.RecordType.allCases.map { _ in DNSResult.allCases.map { _ in Cell() } }

    func count(_ lookup: DNSLookup) {
        self.lookups[lookup.rawValue].value.wrappingAdd(1, ordering: .relaxed)
    }

    func count(_ answer: DNSAnswer) {
        let type = DNSQuestion.RecordType.allCases.firstIndex(of: answer.question.type) ?? 0
        self.results[type][DNSResult(answer.outcome).index].value.wrappingAdd(1, ordering: .relaxed)
    }

    func total(_ lookup: DNSLookup) -> Int { self.lookups[lookup.rawValue].value.load(ordering: .relaxed) }

    func total(_ type: DNSQuestion.RecordType, _ result: DNSResult) -> Int {
        let type = DNSQuestion.RecordType.allCases.firstIndex(of: type) ?? 0
        return self.results[type][result.index].value.load(ordering: .relaxed)
    }
}
