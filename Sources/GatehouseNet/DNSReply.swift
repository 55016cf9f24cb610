internal import GatehousePolicy
internal import SIPMessage

/// A name server's reply to one question, read from its bytes (RFC 1035 §4.1).
///
/// Whatever the bytes are, reading them ends and traps nowhere: each name pointer must lead backwards, no more than
/// `recordLimit` records are kept, and no more than `readLimit` looked at.
struct DNSReply: Equatable {
    /// Of the question's type; and CNAMEs.
    static let recordLimit = 64
    /// Records of the answer section; what comes after them is not read.
    static let readLimit = 512
    /// CNAMEs one after the other.
    static let aliasLimit = 16
    /// A positive answer is asked again after this at the latest, a week, whatever its TTL says (RFC 8767 §4).
    static let longestTimeToLive: UInt32 = 604_800
    /// The longest time that a negative answer holds (RFC 2308 §5).
    static let longestNegativeTimeToLive: UInt32 = 10_800

    var outcome: DNSAnswer.Outcome
    /// In seconds; 0: the reply is not for keeping.
    var timeToLive: UInt32
}

extension DNSReply {
    /// - Throws: where the reply is malformed or truncated, or one to another question.
    init(_ bytes: [UInt8], to question: DNSQuestion) throws(DNSReplyFault) {
        var isTruncated = false
        do throws(DNSMalformed) {
            try self.init(bytes, to: question, isTruncated: &isTruncated)
        } catch {
            throw .malformed
        }
        // Only now is it known that the reply is one to the question.
        if isTruncated { throw .truncated }
    }

    private init(_ bytes: [UInt8], to question: DNSQuestion, isTruncated: inout Bool) throws(DNSMalformed) {
        var reader = DNSReader(bytes)
        try reader.skip(2)
        let flags = try reader.readUInt16()
        let counts = try (
            questions: reader.readUInt16(), answers: reader.readUInt16(), authorities: reader.readUInt16()
        )
        try reader.skip(2)
        let isResponse = flags & 0x8000 != 0
        guard isResponse, counts.questions == 1 else { throw DNSMalformed() }
        let name = try reader.readName()
        let (type, dnsClass) = try (reader.readUInt16(), reader.readUInt16())
        guard name.name == question.name, type == question.type.rawValue, dnsClass == DNSReader.internet else {
            throw DNSMalformed()
        }
        if flags & 0x0200 != 0 {
            // What was cut off may be anything, so nothing of it counts.
            (isTruncated, self.outcome, self.timeToLive) = (true, .noData, 0)
            return
        }
        let answers = try DNSAnswerSection(&reader, count: counts.answers, type: question.type)
        let chain = try answers.followAliases(from: question.name)
        let records = answers.records.filter { $0.owner == chain.name }
        switch flags & 0xF {
        case 0 where !records.isEmpty:
            self.outcome = question.type.outcome(of: records)
            self.timeToLive = records.reduce(min(chain.timeToLive, Self.longestTimeToLive)) { min($0, $1.timeToLive) }
            return
        case 0: self.outcome = .noData
        case 3: self.outcome = .noSuchName
        case 5: self.outcome = .failed(.refused)
        default: self.outcome = .failed(.serverFailed)
        }
        self.timeToLive = 0
        if self.outcome == .noData || self.outcome == .noSuchName, counts.answers <= Self.readLimit,
            let limit = try reader.readNegativeTimeToLive(count: counts.authorities, for: chain.name)
        {
            self.timeToLive = min(limit, chain.timeToLive, Self.longestNegativeTimeToLive)
        }
    }
}

/// Why a reply says nothing.
enum DNSReplyFault: Error, Equatable {
    case malformed
    /// The datagram could not hold it: to be asked again over TCP.
    case truncated
}

/// A reply's bytes do not mean anything.
struct DNSMalformed: Error, Equatable {}

/// The answers that matter for one type of question.
private struct DNSAnswerSection {
    struct Record {
        var owner: DNSName
        var timeToLive: UInt32
        var data: DNSRecordData
    }

    struct Alias {
        var target: DNSName
        var timeToLive: UInt32
    }

    private(set) var records: [Record] = []
    private(set) var aliases: [DNSName: Alias] = [:]

    init(_ reader: inout DNSReader, count: UInt16, type: DNSQuestion.RecordType) throws(DNSMalformed) {
        for index in 0..<count {
            guard index < DNSReply.readLimit else { return }
            let header = try reader.readRecordHeader()
            defer { reader.offset = header.end }
            guard header.dnsClass == DNSReader.internet, let owner = header.owner.name,
                self.records.count + self.aliases.count < DNSReply.recordLimit
            else { continue }
            if header.type == DNSReader.alias {
                guard let target = try reader.readName(endingAt: header.end).name else { continue }
                self.aliases[owner] = Alias(target: target, timeToLive: header.timeToLive)
            } else if header.type == type.rawValue, let data = try reader.readData(of: type, endingAt: header.end) {
                self.records.append(Record(owner: owner, timeToLive: header.timeToLive, data: data))
            }
        }
    }

    /// The name at the end of the CNAMEs that start at `name`, and the lowest of their TTLs.
    ///
    /// - Throws: where they lead in a circle, or there are more than `aliasLimit`.
    func followAliases(from name: DNSName) throws(DNSMalformed) -> (name: DNSName, timeToLive: UInt32) {
        var result = (name: name, timeToLive: UInt32.max)
        for _ in 0...DNSReply.aliasLimit {
            guard let alias = self.aliases[result.name] else { return result }
            result = (alias.target, min(result.timeToLive, alias.timeToLive))
        }
        throw DNSMalformed()
    }
}

private enum DNSRecordData {
    case address(IPAddress)
    case service(DNSService)
    case pointer(DNSPointer)
}

extension DNSQuestion.RecordType {
    fileprivate func outcome(of records: [DNSAnswerSection.Record]) -> DNSAnswer.Outcome {
        switch self {
        case .a, .aaaa:
            .addresses(records.compactMap { if case .address(let address) = $0.data { address } else { nil } })
        case .srv:
            .services(records.compactMap { if case .service(let service) = $0.data { service } else { nil } })
        case .naptr:
            .pointers(records.compactMap { if case .pointer(let pointer) = $0.data { pointer } else { nil } })
        }
    }
}

extension DNSReader {
    static let internet: UInt16 = 1
    static let alias: UInt16 = 5
    static let startOfAuthority: UInt16 = 6

    /// Nil where a name in it is none that `DNSName` allows.
    fileprivate mutating func readData(
        of type: DNSQuestion.RecordType, endingAt end: Int
    ) throws(DNSMalformed) -> DNSRecordData? {
        switch type {
        case .a:
            guard end &- self.offset == 4 else { throw DNSMalformed() }
            return .address(IPAddress(v4: try self.readUInt32()))
        case .aaaa:
            guard end &- self.offset == 16 else { throw DNSMalformed() }
            return .address(IPAddress(v6High: try self.readUInt64(), v6Low: try self.readUInt64()))
        case .srv:
            let (priority, weight, port) = try (self.readUInt16(), self.readUInt16(), self.readUInt16())
            let target = try self.readName(endingAt: end)
            guard target != .other else { return nil }
            return .service(DNSService(priority: priority, weight: weight, port: port, target: target.name))
        case .naptr:
            let (order, preference) = try (self.readUInt16(), self.readUInt16())
            let flags = try self.readCharacterString(endingAt: end).lowercased()
            let service = try self.readCharacterString(endingAt: end).uppercased()
            let expression = try self.readCharacterString(endingAt: end)
            let replacement = try self.readName(endingAt: end)
            guard replacement != .other else { return nil }
            return .pointer(
                DNSPointer(
                    order: order, preference: preference, flags: flags, service: service, expression: expression,
                    replacement: replacement.name))
        }
    }

    /// How long the SOA in the authority section lets a negative answer hold (RFC 2308 §5); nil without one that covers
    /// `name`.
    fileprivate mutating func readNegativeTimeToLive(
        count: UInt16, for name: DNSName
    ) throws(DNSMalformed) -> UInt32? {
        for _ in 0..<min(count, UInt16(DNSReply.recordLimit)) {
            let header = try self.readRecordHeader()
            defer { self.offset = header.end }
            guard header.type == Self.startOfAuthority, header.dnsClass == Self.internet, header.owner.covers(name)
            else { continue }
            _ = try self.readName()
            _ = try self.readName()
            try self.skip(16)
            let minimum = try self.readUInt32()
            guard self.offset == header.end else { throw DNSMalformed() }
            return min(header.timeToLive, minimum)
        }
        return nil
    }
}
