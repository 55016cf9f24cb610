internal import GatehousePolicy
internal import SIPMessage

/// Answers packed one behind the other in one block of memory, with a hash table of where each begins.
///
/// No answer is an object of its own: a usual one takes some 60 bytes, and a page is forgotten as fast as it is freed. What
/// is replaced stays in the block until then; its owner looks at `byteCount`.
struct DNSCachePage {
    /// Where a record begins in `bytes`.
    struct Record: Equatable {
        fileprivate var offset: Int
    }

    // A record: expiry (8 bytes, nanoseconds; 0: removed), hash (4), type, kind, length of the name, count of what follows;
    // the name; the records.
    private static let headerSize = 16
    /// The size of the table is a power of two, and at least a quarter of it empty.
    private static let smallestTable = 16

    private var bytes: [UInt8] = []
    /// Offsets plus 1; 0: empty.
    private var slots: [UInt32] = []
    private var usedSlots = 0
    /// Records that have not been removed.
    private(set) var count = 0

    var byteCount: Int { self.bytes.count }

    func find(_ question: DNSQuestion, hash: UInt64) -> Record? {
        guard let slot = self.slot(of: question, hash: hash), self.slots[slot] != 0 else { return nil }
        let record = Record(offset: Int(self.slots[slot]) - 1)
        return self.expiry(record) == 0 ? nil : record
    }

    /// What a record says, with the rest of its time to live; nil where that is over.
    func answer(_ record: Record, _ question: DNSQuestion, now: UInt64) -> DNSAnswer? {
        let expiry = self.expiry(record)
        guard expiry > now else { return nil }
        var reader = DNSCacheReader(bytes: self.bytes, offset: record.offset + Self.headerSize)
        reader.offset += Int(self.bytes[record.offset + 14])
        let outcome = reader.outcome(
            kind: self.bytes[record.offset + 13], count: Int(self.bytes[record.offset + 15]), type: question.type)
        return DNSAnswer(
            question: question, outcome: outcome, timeToLive: .nanoseconds(Int64(clamping: expiry - now)))
    }

    mutating func remove(_ question: DNSQuestion, hash: UInt64) {
        guard let record = self.find(question, hash: hash) else { return }
        self.bytes.withUnsafeMutableBytes { $0.storeBytes(of: UInt64(0), toByteOffset: record.offset, as: UInt64.self) }
        self.count -= 1
    }

    /// Takes the place of an earlier answer to the same question.
    mutating func insert(_ answer: DNSAnswer, hash: UInt64, now: UInt64) {
        if (self.usedSlots + 1) * 4 > self.slots.count * 3 { self.grow() }
        guard self.bytes.count < Int(UInt32.max) - 1, let slot = self.slot(of: answer.question, hash: hash) else {
            return
        }
        if self.slots[slot] == 0 {
            self.usedSlots += 1
            self.count += 1
        } else if self.expiry(Record(offset: Int(self.slots[slot]) - 1)) == 0 {
            self.count += 1
        }
        self.slots[slot] = UInt32(self.bytes.count + 1)
        let timeToLive = answer.timeToLive.components
        let (whole, isTooLong) = UInt64(clamping: timeToLive.seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let (expiry, isPastEnd) = now.addingReportingOverflow(
            isTooLong ? .max : whole &+ UInt64(clamping: timeToLive.attoseconds / 1_000_000_000))
        let name = answer.question.name.text.utf8
        self.bytes.append(isPastEnd ? UInt64.max : max(1, expiry))
        self.bytes.append(UInt32(truncatingIfNeeded: hash))
        self.bytes.append(UInt8(truncatingIfNeeded: answer.question.type.rawValue))
        self.bytes.append(answer.outcome.kind)
        self.bytes.append(UInt8(clamping: name.count))
        self.bytes.append(UInt8(clamping: answer.outcome.count))
        self.bytes.append(contentsOf: name)
        answer.outcome.write(to: &self.bytes)
    }

    // MARK: The table

    /// The slot that holds the question, or the empty one where it would be put; nil where there is no table yet.
    private func slot(of question: DNSQuestion, hash: UInt64) -> Int? {
        guard !self.slots.isEmpty else { return nil }
        let mask = self.slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while self.slots[slot] != 0 {
            if self.isRecord(at: Int(self.slots[slot]) - 1, to: question, hash: UInt32(truncatingIfNeeded: hash)) {
                return slot
            }
            slot = (slot + 1) & mask
        }
        return slot
    }

    private func isRecord(at offset: Int, to question: DNSQuestion, hash: UInt32) -> Bool {
        let name = question.name.text.utf8
        guard self.hash(at: offset) == hash,
            self.bytes[offset + 12] == UInt8(truncatingIfNeeded: question.type.rawValue),
            Int(self.bytes[offset + 14]) == name.count
        else { return false }
        let start = offset + Self.headerSize
        return self.bytes.withUnsafeBytes { bytes in
            name.withContiguousStorageIfAvailable { name in
                UnsafeRawBufferPointer(rebasing: bytes[start..<start + name.count])
                    .elementsEqual(UnsafeRawBufferPointer(name))
            } ?? bytes[start..<start + name.count].elementsEqual(name)
        }
    }

    private mutating func grow() {
        let size = max(Self.smallestTable, self.slots.count * 2)
        var slots = [UInt32](repeating: 0, count: size)
        self.usedSlots = 0
        for entry in self.slots where entry != 0 && self.expiry(Record(offset: Int(entry) - 1)) != 0 {
            var slot = Int(self.hash(at: Int(entry) - 1)) & (size - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (size - 1) }
            slots[slot] = entry
            self.usedSlots += 1
        }
        self.slots = slots
    }

    // MARK: Numbers

    private func expiry(_ record: Record) -> UInt64 {
        UInt64(
            bigEndian: self.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: record.offset, as: UInt64.self) })
    }

    private func hash(at offset: Int) -> UInt32 {
        UInt32(bigEndian: self.bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset + 8, as: UInt32.self) })
    }
}

extension [UInt8] {
    /// In network order.
    fileprivate mutating func append(_ number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.bigEndian) { self.append(contentsOf: $0) }
    }

    /// With its length before it.
    fileprivate mutating func append(text: String) {
        let utf8 = text.utf8
        self.append(UInt16(clamping: utf8.count))
        self.append(contentsOf: utf8.prefix(Int(UInt16.max)))
    }

    /// With its length before it; 0 stands for the root.
    fileprivate mutating func append(name: DNSName?) {
        let utf8 = (name?.text ?? "").utf8
        self.append(UInt8(clamping: utf8.count))
        self.append(contentsOf: utf8)
    }
}

extension DNSAnswer.Outcome {
    fileprivate var kind: UInt8 {
        switch self {
        case .addresses: 0
        case .services: 1
        case .pointers: 2
        case .noData: 3
        case .noSuchName: 4
        case .failed(let failure): 5 + UInt8(clamping: DNSFailure.allCases.firstIndex(of: failure) ?? 0)
        }
    }

    /// Records that are kept; a reply has no more.
    fileprivate var count: Int {
        switch self {
        case .addresses(let addresses): addresses.count
        case .services(let services): services.count
        case .pointers(let pointers): pointers.count
        case .noData, .noSuchName, .failed: 0
        }
    }

    fileprivate func write(to bytes: inout [UInt8]) {
        switch self {
        case .addresses(let addresses):
            for address in addresses.prefix(Int(UInt8.max)) {
                guard address.isIPv6 else {
                    bytes.append(UInt32(truncatingIfNeeded: address.low))
                    continue
                }
                bytes.append(address.high)
                bytes.append(address.low)
            }
        case .services(let services):
            for service in services.prefix(Int(UInt8.max)) {
                for number in [service.priority, service.weight, service.port] { bytes.append(number) }
                bytes.append(name: service.target)
            }
        case .pointers(let pointers):
            for pointer in pointers.prefix(Int(UInt8.max)) {
                for number in [pointer.order, pointer.preference] { bytes.append(number) }
                for text in [pointer.flags, pointer.service, pointer.expression] { bytes.append(text: text) }
                bytes.append(name: pointer.replacement)
            }
        case .noData, .noSuchName, .failed:
            break
        }
    }
}

/// Reads what `DNSAnswer.Outcome.write` wrote.
private struct DNSCacheReader {
    let bytes: [UInt8]
    var offset: Int

    mutating func outcome(kind: UInt8, count: Int, type: DNSQuestion.RecordType) -> DNSAnswer.Outcome {
        switch kind {
        case 0: .addresses((0..<count).map { _ in self.address(isIPv6: type == .aaaa) })
        case 1:
            .services(
                (0..<count).map { _ in
                    DNSService(
                        priority: self.number(), weight: self.number(), port: self.number(), target: self.name())
                })
        case 2:
            .pointers(
                (0..<count).map { _ in
                    DNSPointer(
                        order: self.number(), preference: self.number(), flags: self.text(), service: self.text(),
                        expression: self.text(), replacement: self.name())
                })
        case 3: .noData
        case 4: .noSuchName
        default: .failed(DNSFailure.allCases[min(Int(kind) - 5, DNSFailure.allCases.count - 1)])
        }
    }

    private mutating func number<Number: FixedWidthInteger>() -> Number {
        var number: Number = 0
        for _ in 0..<Number.bitWidth / 8 {
            number = number << 8 | Number(truncatingIfNeeded: self.bytes[self.offset])
            self.offset += 1
        }
        return number
    }

    private mutating func address(isIPv6: Bool) -> IPAddress {
        guard isIPv6 else { return IPAddress(v4: self.number()) }
        let high: UInt64 = self.number()
        return IPAddress(v6High: high, v6Low: self.number())
    }

    private mutating func text() -> String {
        let count: UInt16 = self.number()
        return self.take(Int(count))
    }

    private mutating func name() -> DNSName? {
        let count: UInt8 = self.number()
        return count == 0 ? nil : DNSName(kept: self.take(Int(count)))
    }

    private mutating func take(_ count: Int) -> String {
        defer { self.offset += count }
        return String(decoding: self.bytes[self.offset..<self.offset + count], as: UTF8.self)
    }
}
