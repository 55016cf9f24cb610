import GatehousePolicy

/// Writes DNS messages as a name server would, and as none should.
struct DNSMessageBuilder {
    struct Record {
        var owner: String
        var type: UInt16
        var dnsClass: UInt16 = 1
        var timeToLive: UInt32
        var data: [UInt8]

        static func a(_ owner: String, _ timeToLive: UInt32, _ address: [UInt8]) -> Record {
            Record(owner: owner, type: 1, timeToLive: timeToLive, data: address)
        }

        static func aaaa(_ owner: String, _ timeToLive: UInt32, _ address: [UInt8]) -> Record {
            Record(owner: owner, type: 28, timeToLive: timeToLive, data: address)
        }

        static func cname(_ owner: String, _ timeToLive: UInt32, _ target: String) -> Record {
            Record(owner: owner, type: 5, timeToLive: timeToLive, data: name(target))
        }

        static func srv(
            _ owner: String, _ timeToLive: UInt32, _ priority: UInt16, _ weight: UInt16, _ port: UInt16,
            _ target: String
        ) -> Record {
            let data = word(priority) + word(weight) + word(port) + name(target)
            return Record(owner: owner, type: 33, timeToLive: timeToLive, data: data)
        }

        static func naptr(
            _ owner: String, _ timeToLive: UInt32, _ order: UInt16, _ preference: UInt16, _ texts: [String],
            _ replacement: String
        ) -> Record {
            let strings = texts.flatMap { [UInt8(truncatingIfNeeded: $0.utf8.count)] + Array($0.utf8) }
            let data = word(order) + word(preference) + strings + name(replacement)
            return Record(owner: owner, type: 35, timeToLive: timeToLive, data: data)
        }

        static func soa(_ owner: String, _ timeToLive: UInt32, minimum: UInt32) -> Record {
            let numbers = [1, 7200, 3600, 86400, minimum].flatMap { word(UInt16($0 >> 16)) + word(UInt16($0 & 0xFFFF)) }
            let data = name("ns.\(owner)") + name("root.\(owner)") + numbers
            return Record(owner: owner, type: 6, timeToLive: timeToLive, data: data)
        }
    }

    var id: UInt16 = 0x1234
    var flags: UInt16 = 0x8180
    var question: DNSQuestion
    /// In place of the question's name.
    var questionName: String?
    var answers: [Record] = []
    var authorities: [Record] = []
    var additional: [Record] = []

    init(_ question: DNSQuestion, _ answers: [Record] = [], authorities: [Record] = [], flags: UInt16 = 0x8180) {
        self.question = question
        self.answers = answers
        self.authorities = authorities
        self.flags = flags
    }

    var bytes: [UInt8] {
        var bytes = word(self.id) + word(self.flags) + word(1)
        for section in [self.answers, self.authorities, self.additional] { bytes += word(UInt16(section.count)) }
        bytes += name(self.questionName ?? self.question.name.text) + word(self.question.type.rawValue) + word(1)
        for record in self.answers + self.authorities + self.additional {
            // The question's name is written once, as every name server does.
            bytes += record.owner == self.question.name.text ? [0xC0, 12] : name(record.owner)
            bytes += word(record.type) + word(record.dnsClass)
            bytes += word(UInt16(record.timeToLive >> 16)) + word(UInt16(record.timeToLive & 0xFFFF))
            bytes += word(UInt16(record.data.count)) + record.data
        }
        return bytes
    }
}

private func word(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }

/// A name in labels; "" and "." are the root.
private func name(_ text: String) -> [UInt8] {
    text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
}

extension DNSQuestion {
    /// For names that are written in a test.
    init(_ name: String, _ type: RecordType) {
        guard let name = DNSName(name) else { preconditionFailure("\(name) is no DNS name") }
        self.init(name, type)
    }
}
