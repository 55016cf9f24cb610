internal import GatehousePolicy

/// Reads the fields of a DNS message one after the other (RFC 1035 §4.1); every step checks its bounds.
struct DNSReader {
    /// A domain name as far as we have a use for it.
    enum Name: Equatable {
        case name(DNSName)
        case root
        /// One with bytes or a length that `DNSName` does not allow.
        case other

        var name: DNSName? {
            if case .name(let name) = self { name } else { nil }
        }

        /// Whether `name` is this name or lies below it.
        func covers(_ name: DNSName) -> Bool {
            switch self {
            case .name(let ancestor): name.isWithin(ancestor)
            case .root: true
            case .other: false
            }
        }
    }

    /// What stands before a record's data.
    struct RecordHeader {
        var owner: Name
        var type: UInt16
        var dnsClass: UInt16
        /// In seconds; 0 where the highest bit is set (RFC 2181 §8).
        var timeToLive: UInt32
        /// One past the record's data, within the message.
        var end: Int
    }

    private let bytes: [UInt8]
    /// The next byte to read.
    var offset = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func skip(_ count: Int) throws(DNSMalformed) {
        guard count <= self.bytes.count &- self.offset else { throw DNSMalformed() }
        self.offset &+= count
    }

    mutating func readUInt8() throws(DNSMalformed) -> UInt8 {
        guard self.offset < self.bytes.count else { throw DNSMalformed() }
        defer { self.offset &+= 1 }
        return self.bytes[self.offset]
    }

    mutating func readUInt16() throws(DNSMalformed) -> UInt16 {
        try UInt16(self.readUInt8()) << 8 | UInt16(self.readUInt8())
    }

    mutating func readUInt32() throws(DNSMalformed) -> UInt32 {
        try UInt32(self.readUInt16()) << 16 | UInt32(self.readUInt16())
    }

    mutating func readUInt64() throws(DNSMalformed) -> UInt64 {
        try UInt64(self.readUInt32()) << 32 | UInt64(self.readUInt32())
    }

    /// A length and as many bytes; what is not UTF-8 in them is replaced.
    mutating func readCharacterString(endingAt end: Int) throws(DNSMalformed) -> String {
        let count = Int(try self.readUInt8())
        let start = self.offset
        try self.skip(count)
        guard self.offset <= end else { throw DNSMalformed() }
        return String(decoding: self.bytes[start..<self.offset], as: UTF8.self)
    }

    mutating func readRecordHeader() throws(DNSMalformed) -> RecordHeader {
        let owner = try self.readName()
        let (type, dnsClass) = try (self.readUInt16(), self.readUInt16())
        let timeToLive = try self.readUInt32()
        let count = Int(try self.readUInt16())
        guard count <= self.bytes.count &- self.offset else { throw DNSMalformed() }
        return RecordHeader(
            owner: owner, type: type, dnsClass: dnsClass, timeToLive: timeToLive >> 31 == 0 ? timeToLive : 0,
            end: self.offset &+ count)
    }

    /// A name that ends a record's data.
    mutating func readName(endingAt end: Int) throws(DNSMalformed) -> Name {
        let name = try self.readName()
        guard self.offset == end else { throw DNSMalformed() }
        return name
    }

    /// A name, perhaps compressed (RFC 1035 §4.1.4). A pointer must lead to before the part that it ends, so that
    /// reading never goes in circles.
    mutating func readName() throws(DNSMalformed) -> Name {
        var text: [UInt8] = []
        var length = 0
        var isOther = false
        var position = self.offset
        var partStart = position
        var pointers = 0
        var end: Int?
        while true {
            guard position < self.bytes.count else { throw DNSMalformed() }
            let octet = Int(self.bytes[position])
            switch octet >> 6 {
            case 0:
                guard octet < self.bytes.count &- position else { throw DNSMalformed() }
                position &+= 1
                length &+= octet &+ 1
                guard length <= 255 else { throw DNSMalformed() }
                if octet == 0 {
                    self.offset = end ?? position
                    if text.isEmpty { return .root }
                    guard !isOther, let name = DNSName(String(decoding: text, as: UTF8.self)) else { return .other }
                    return .name(name)
                }
                let label = self.bytes[position..<position &+ octet]
                // A dot within a label would look like the end of one.
                if label.contains(UInt8(ascii: ".")) { isOther = true }
                text.append(contentsOf: label)
                text.append(UInt8(ascii: "."))
                position &+= octet
            case 3:
                guard position &+ 1 < self.bytes.count else { throw DNSMalformed() }
                let target = (octet & 0x3F) << 8 | Int(self.bytes[position &+ 1])
                pointers &+= 1
                guard target < partStart, pointers <= 127 else { throw DNSMalformed() }
                if end == nil { end = position &+ 2 }
                position = target
                partStart = target
            default:
                throw DNSMalformed()
            }
        }
    }
}
