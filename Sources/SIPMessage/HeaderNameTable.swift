/// The names of ``HeaderName`` by their bytes: up to 24 in three words, ASCII letters in lower case.
///
/// To lower eight bytes at once, bit 0x40 is copied to bit 0x20: letters go to lower case, hyphens and digits stay, and no
/// other byte becomes one of these.
struct HeaderNameTable: Sendable {
    struct Key: Equatable, Sendable {
        var first: UInt64
        var second: UInt64
        var third: UInt64

        /// 0 to 255.
        @inline(__always) var slot: Int {
            let mixed = (self.first ^ self.second &<< 3 ^ self.third &<< 5) &* 0x9E37_79B9_7F4A_7C15
            return Int(truncatingIfNeeded: mixed &>> 56)
        }
    }

    private struct Entry {
        var key: Key
        var name: HeaderName
    }

    /// The one name longer than a key.
    private static var longName: HeaderName { .pChargingFunctionAddresses }

    /// Open addressing; an entry with an empty key is free.
    private var entries: ContiguousArray<Entry>

    static let shared = HeaderNameTable()

    private init() {
        let free = Entry(key: Key(first: 0, second: 0, third: 0), name: .other)
        self.entries = ContiguousArray(repeating: free, count: 256)
        for name in HeaderName.allCases where name != .other && name != .gatehouse && name != Self.longName {
            self.insert(name, name.text)
            if let compact = name.compactText { self.insert(name, compact) }
        }
    }

    private mutating func insert(_ name: HeaderName, _ text: StaticString) {
        var words = InlineArray<3, UInt64>(repeating: 0)
        for (index, byte) in text.utf8Bytes.enumerated() {
            words[index >> 3] |= UInt64(byte | (byte & 0x40) >> 1) << UInt64((index & 7) * 8)
        }
        let key = Key(first: words[0], second: words[1], third: words[2])
        var slot = key.slot
        while self.entries[slot].key.first != 0 { slot = (slot + 1) & 255 }
        self.entries[slot] = Entry(key: key, name: name)
    }

    @inline(__always)
    func name(_ key: Key) -> HeaderName? {
        var slot = key.slot
        while self.entries[slot].key.first != 0 {
            if self.entries[slot].key == key { return self.entries[slot].name }
            slot = (slot &+ 1) & 255
        }
        return nil
    }

    /// Finds a name of any length, byte by byte.
    @inline(never)
    func name(_ span: Span<UInt8>, _ range: ByteRange) -> HeaderName {
        if range.count <= 24 {
            var words = InlineArray<3, UInt64>(repeating: 0)
            for offset in 0..<range.count {
                let shift = UInt64((offset & 7) &* 8)
                let byte = span[range.start &+ offset]
                words[offset >> 3] |= UInt64(byte | (byte & 0x40) &>> 1) &<< shift
            }
            if let name = self.name(Key(first: words[0], second: words[1], third: words[2])) { return name }
        }
        if HeaderNameTable.matches(HeaderName.gatehouse.text, span, range, whole: false) { return .gatehouse }
        return HeaderNameTable.matches(Self.longName.text, span, range, whole: true) ? Self.longName : .other
    }

    private static func matches(_ text: StaticString, _ span: Span<UInt8>, _ range: ByteRange, whole: Bool) -> Bool {
        let count = text.utf8CodeUnitCount
        guard whole ? range.count == count : range.count >= count else { return false }
        var index = range.start
        for byte in text.utf8Bytes {
            guard lowercased(span[index]) == lowercased(byte) else { return false }
            index &+= 1
        }
        return true
    }
}

extension HeaderName {
    /// The name that the bytes are, long or compact, in any case.
    public init(_ bytes: [UInt8]) {
        self = HeaderNameTable.shared.name(bytes.span, ByteRange(0, bytes.count))
    }

    /// The name that `text` stands for, long or compact, in any case.
    public init(_ text: StaticString) {
        let bytes = Array(text.utf8Bytes)
        self = HeaderNameTable.shared.name(bytes.span, ByteRange(0, bytes.count))
    }
}
