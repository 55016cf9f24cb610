public import SIPMessage

/// Finds the domain that a host stands for: by exact name or alias, else by an alias with `*` for the first label.
///
/// A look-up makes no String and costs two probes at most, however many domains there are. Case makes no difference, nor a
/// trailing dot (RFC 3261 §19.1.4).
public struct DomainTable: Sendable {
    private struct Slot: Sendable {
        /// Lower case; a wildcard without its `*`, from the dot on.
        var name: [UInt8]
        var domain: Int
        var isWildcard: Bool
    }

    /// At most half full; a power of two.
    private var slots: [Slot?]
    /// Peers choose the hosts that are looked up, so what they hash to is not for them to know.
    private let seed: UInt64
    private var hasWildcards = false

    public init(_ domains: [DomainConfiguration]) {
        self.init(names: domains.enumerated().flatMap { index, domain in
            ([domain.name] + domain.aliases).map { ($0, index) }
        })
    }

    /// - Parameter names: where one occurs twice, the first counts.
    public init(names: [(String, Int)]) {
        var size = 16
        while size < names.count * 2 { size *= 2 }
        self.slots = Array(repeating: nil, count: size)
        self.seed = UInt64.random(in: .min ... .max)
        for (name, domain) in names {
            let isWildcard = name.hasPrefix("*.")
            var bytes = (isWildcard ? Array(name.utf8.dropFirst()) : Array(name.utf8)).map(Self.lower)
            if bytes.last == 0x2E { bytes.removeLast() }
            self.insert(Slot(name: bytes, domain: domain, isWildcard: isWildcard))
            if isWildcard { self.hasWildcards = true }
        }
    }

    /// The domain's index, or nil where no name or alias matches.
    public func domain(named host: ByteRange, in bytes: [UInt8]) -> Int? {
        guard host.start >= 0, host.end <= bytes.count, !host.isEmpty else { return nil }
        var end = host.end
        if bytes[end - 1] == 0x2E { end -= 1 }
        if let domain = self.find(bytes, host.start, end, isWildcard: false) { return domain }
        guard self.hasWildcards, let dot = bytes[host.start..<end].firstIndex(of: 0x2E), dot > host.start else {
            return nil
        }
        return self.find(bytes, dot, end, isWildcard: true)
    }

    private mutating func insert(_ slot: Slot) {
        var index = self.start(slot.name, 0, slot.name.count, slot.isWildcard)
        while let taken = self.slots[index] {
            if taken.isWildcard == slot.isWildcard, taken.name == slot.name { return }
            index = (index + 1) & (self.slots.count - 1)
        }
        self.slots[index] = slot
    }

    private func find(_ bytes: [UInt8], _ start: Int, _ end: Int, isWildcard: Bool) -> Int? {
        var index = self.start(bytes, start, end, isWildcard)
        while let slot = self.slots[index] {
            if slot.isWildcard == isWildcard, slot.name.count == end - start,
                slot.name.elementsEqual(bytes[start..<end], by: { $0 == Self.lower($1) })
            {
                return slot.domain
            }
            index = (index + 1) & (self.slots.count - 1)
        }
        return nil
    }

    private func start(_ bytes: [UInt8], _ start: Int, _ end: Int, _ isWildcard: Bool) -> Int {
        var hash = self.seed ^ (isWildcard ? 0x9E37_79B9_7F4A_7C15 : 0)
        for index in start..<end {
            hash = (hash ^ UInt64(Self.lower(bytes[index]))) &* 0x9E37_79B9_7F4A_7C15
            hash ^= hash >> 29
        }
        return Int(truncatingIfNeeded: (hash ^ hash >> 32) & UInt64(self.slots.count - 1))
    }

    private static func lower(_ byte: UInt8) -> UInt8 {
        byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
    }
}
