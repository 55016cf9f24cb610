public import SIPMessage

/// Which domain a host belongs to: asked for every request, so it reads the host eight bytes at a time and makes nothing.
///
/// Case does not matter, nor does a dot at the end (URI-01). An exact name beats a wildcard, and a wildcard stands for
/// exactly one label. The table is open addressing over names in lower case, at most half full.
public struct DomainTable: Sendable {
    private struct Slot: Sendable {
        var hash: UInt64
        /// Where the name stands in `names`.
        var start: UInt32
        /// 0: the slot is empty.
        var count: UInt16
        /// The name is that of all hosts one label below it.
        var isWildcard: Bool
        var domain: Int32

        static let empty = Slot(hash: 0, start: 0, count: 0, isWildcard: false, domain: -1)
    }

    /// RFC 1035 §2.3.4, without the dot at the end.
    private static let longestName = 253

    private var names: [UInt8] = []
    private var slots: [Slot]
    private let mask: Int
    /// Peers choose the hosts that are looked up, so what they hash to is not for them to know.
    private let seed = UInt64.random(in: .min ... .max)

    /// - Parameter domains: with names that differ, as a checked configuration has them; of equal ones the first counts.
    public init(_ domains: [DomainConfiguration]) {
        self.init(
            names: domains.enumerated().flatMap { index, domain in
                ([domain.name] + domain.aliases).map { ($0, index) }
            })
    }

    /// - Parameter names: each with the domain that it leads to; of equal ones the first counts.
    public init(names: [(String, Int)]) {
        var capacity = 8
        while capacity < names.count * 2 { capacity *= 2 }
        self.slots = Array(repeating: .empty, count: capacity)
        self.mask = capacity - 1
        for (name, domain) in names { self.insert(name, of: domain) }
    }

    /// The index of the domain that has the host as its name or alias, in the order given at the start; nil for none.
    ///
    /// - Parameter host: as a URI or an SNI has it: without brackets or port.
    public func domain(named host: ByteRange, in bytes: [UInt8]) -> Int? {
        guard host.end <= bytes.count else { return nil }
        return self.domain(named: host.range, in: bytes.span)
    }

    /// The same for text, off the message path.
    public func domain(named host: String) -> Int? {
        let bytes = Array(host.utf8)
        return self.domain(named: 0..<bytes.count, in: bytes.span)
    }

    private func domain(named host: Range<Int>, in bytes: borrowing Span<UInt8>) -> Int? {
        var end = host.upperBound
        if end > host.lowerBound, bytes[end &- 1] == DomainTable.dot { end &-= 1 }
        guard end > host.lowerBound, end &- host.lowerBound <= DomainTable.longestName else { return nil }
        let name = host.lowerBound..<end
        if let domain = self.find(name, in: bytes, isWildcard: false) { return domain }

        var first = name.lowerBound
        while first < end, bytes[first] != DomainTable.dot { first &+= 1 }
        guard first > name.lowerBound, first &+ 1 < end else { return nil }  // a wildcard's label is not empty
        return self.find(first &+ 1..<end, in: bytes, isWildcard: true)
    }

    private func find(_ name: Range<Int>, in bytes: borrowing Span<UInt8>, isWildcard: Bool) -> Int? {
        let hash = self.hash(name, in: bytes)
        var position = Int(truncatingIfNeeded: hash) & self.mask
        while true {
            let slot = self.slots[position]
            if slot.count == 0 { return nil }  // there is one, for the table is at most half full
            if slot.hash == hash, slot.isWildcard == isWildcard, self.isName(of: slot, name, in: bytes) {
                return Int(slot.domain)
            }
            position = (position &+ 1) & self.mask
        }
    }

    private func isName(of slot: Slot, _ name: Range<Int>, in bytes: borrowing Span<UInt8>) -> Bool {
        guard Int(slot.count) == name.count else { return false }
        let names = self.names.span
        let start = Int(slot.start)
        var offset = 0
        while offset < name.count {
            let count = min(8, name.count &- offset)
            let own = DomainTable.word(at: start &+ offset, count, in: names)
            guard own == DomainTable.lowercasedWord(at: name.lowerBound &+ offset, count, in: bytes) else {
                return false
            }
            offset &+= 8
        }
        return true
    }

    private mutating func insert(_ pattern: String, of domain: Int) {
        let isWildcard = pattern.hasPrefix("*.")
        var name = Array(pattern.lowercased().utf8.dropFirst(isWildcard ? 2 : 0))
        if name.last == DomainTable.dot { name.removeLast() }
        guard !name.isEmpty, name.count <= DomainTable.longestName else { return }
        guard self.find(0..<name.count, in: name.span, isWildcard: isWildcard) == nil else { return }
        let hash = self.hash(0..<name.count, in: name.span)
        var position = Int(truncatingIfNeeded: hash) & self.mask
        while self.slots[position].count != 0 { position = (position &+ 1) & self.mask }
        self.slots[position] = Slot(
            hash: hash, start: UInt32(self.names.count), count: UInt16(name.count), isWildcard: isWildcard,
            domain: Int32(domain))
        self.names += name
    }

    // MARK: Words of eight bytes

    private static let dot = UInt8(ascii: ".")

    /// Mixes the words and the length; names that differ in a padded zero byte have no such byte, being host names.
    private func hash(_ name: Range<Int>, in bytes: borrowing Span<UInt8>) -> UInt64 {
        var hash = self.seed &+ UInt64(truncatingIfNeeded: name.count) &* 0x9E37_79B9_7F4A_7C15
        var index = name.lowerBound
        while index < name.upperBound {
            hash ^= DomainTable.lowercasedWord(at: index, min(8, name.upperBound &- index), in: bytes)
            hash = hash &* 0xBF58_476D_1CE4_E5B9
            hash ^= hash >> 32
            index &+= 8
        }
        return hash
    }

    /// The letters A to Z of all eight bytes at once in lower case; bytes beyond ASCII stay.
    private static func lowercasedWord(at index: Int, _ count: Int, in bytes: borrowing Span<UInt8>) -> UInt64 {
        let word = word(at: index, count, in: bytes)
        let low = word & 0x7F7F_7F7F_7F7F_7F7F
        let fromA = low &+ 0x3F3F_3F3F_3F3F_3F3F  // the top bit: 0x41 or more
        let beyondZ = low &+ 0x2525_2525_2525_2525  // the top bit: 0x5B or more
        let isUpper = (fromA ^ beyondZ) & ~word & 0x8080_8080_8080_8080
        return word | isUpper >> 2
    }

    /// `count` bytes from `index` on, 1 to 8, the first lowest, with zeros above.
    private static func word(at index: Int, _ count: Int, in bytes: borrowing Span<UInt8>) -> UInt64 {
        if index &+ 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
            return word & (UInt64.max >> UInt64(64 &- 8 &* count))
        }
        var word: UInt64 = 0
        for offset in (0..<count).reversed() { word = word << 8 | UInt64(bytes[index &+ offset]) }
        return word
    }
}
