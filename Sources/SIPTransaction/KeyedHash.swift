/// SipHash-1-3 with 128 bits of output, over parts of messages as they lie in their bytes.
///
/// Peers choose what is hashed, so the key is secret and made anew by each process: nobody can aim for a collision.
/// Each part is followed by its length, so that what moves from one part to the next changes the hash.
@usableFromInline
struct KeyedHash {
    /// 128 secret bits.
    @usableFromInline
    struct Key: Sendable {
        let k0: UInt64
        let k1: UInt64
    }

    private var v0: UInt64
    private var v1: UInt64
    private var v2: UInt64
    private var v3: UInt64
    /// The bytes after the last whole word, the first in the low bits.
    private var tail: UInt64 = 0
    private var total: UInt64 = 0

    init(_ key: Key) {
        self.v0 = key.k0 ^ 0x736f_6d65_7073_6575
        self.v1 = key.k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee
        self.v2 = key.k0 ^ 0x6c79_6765_6e65_7261
        self.v3 = key.k1 ^ 0x7465_6462_7974_6573
    }

    /// A part that compares octet by octet.
    mutating func combine(_ range: Range<Int>, of bytes: [UInt8]) {
        self.combine(range, of: bytes, foldingCase: false)
    }

    /// A part that compares without regard to ASCII case.
    mutating func combineIgnoringCase(_ range: Range<Int>, of bytes: [UInt8]) {
        self.combine(range, of: bytes, foldingCase: true)
    }

    /// A part that is a number.
    mutating func combine(_ number: UInt64) {
        self.append(number, count: 8)
    }

    /// The hash of all parts so far.
    consuming func finish() -> (UInt64, UInt64) {
        self.compress(self.tail | self.total << 56)
        self.v2 ^= 0xee
        for _ in 0..<3 { self.round() }
        let first = self.v0 ^ self.v1 ^ self.v2 ^ self.v3
        self.v1 ^= 0xdd
        for _ in 0..<3 { self.round() }
        return (first, self.v0 ^ self.v1 ^ self.v2 ^ self.v3)
    }

    /// Nothing but the bytes: for the test against the algorithm's reference.
    mutating func appendBytes(_ range: Range<Int>, of bytes: [UInt8], foldingCase: Bool) {
        let span = bytes.span.bytes
        var offset = range.lowerBound
        while range.upperBound &- offset >= 8 {
            let word = span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self).littleEndian
            self.append(foldingCase ? Self.lowercased(word) : word, count: 8)
            offset &+= 8
        }
        let count = range.upperBound &- offset
        guard count > 0 else { return }
        let word: UInt64
        if offset <= bytes.count &- 8 {
            let whole = span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self).littleEndian
            word = whole & (1 &<< UInt64(8 &* count) &- 1)
        } else {
            word = (0..<count).reduce(0) { word, index in
                word | UInt64(bytes[offset &+ index]) &<< UInt64(8 &* index)
            }
        }
        self.append(foldingCase ? Self.lowercased(word) : word, count: UInt64(count))
    }

    private mutating func combine(_ range: Range<Int>, of bytes: [UInt8], foldingCase: Bool) {
        self.appendBytes(range, of: bytes, foldingCase: foldingCase)
        self.append(UInt64(UInt32(truncatingIfNeeded: range.count)), count: 4)
    }

    /// - Parameter word: `count` bytes, the first in the low bits, and zeros.
    private mutating func append(_ word: UInt64, count: UInt64) {
        let held = self.total & 7
        self.tail |= word &<< (held &* 8)
        self.total &+= count
        guard held &+ count >= 8 else { return }
        self.compress(self.tail)
        self.tail = held == 0 ? 0 : word &>> (64 &- held &* 8)
    }

    private mutating func compress(_ word: UInt64) {
        self.v3 ^= word
        self.round()
        self.v0 ^= word
    }

    private mutating func round() {
        self.v0 &+= self.v1
        self.v1 = self.v1 &<< 13 | self.v1 &>> 51
        self.v1 ^= self.v0
        self.v0 = self.v0 &<< 32 | self.v0 &>> 32
        self.v2 &+= self.v3
        self.v3 = self.v3 &<< 16 | self.v3 &>> 48
        self.v3 ^= self.v2
        self.v0 &+= self.v3
        self.v3 = self.v3 &<< 21 | self.v3 &>> 43
        self.v3 ^= self.v0
        self.v2 &+= self.v1
        self.v1 = self.v1 &<< 17 | self.v1 &>> 47
        self.v1 ^= self.v2
        self.v2 = self.v2 &<< 32 | self.v2 &>> 32
    }

    /// Eight bytes at once: 0x20 is added to each that is A to Z.
    static func lowercased(_ word: UInt64) -> UInt64 {
        let low7 = word & 0x7F7F_7F7F_7F7F_7F7F
        let fromA = low7 &+ 0x3F3F_3F3F_3F3F_3F3F  // the high bit is set from 0x41 on
        let pastZ = low7 &+ 0x2525_2525_2525_2525  // the high bit is set from 0x5B on
        let isUpper = fromA & ~pastZ & ~word & 0x8080_8080_8080_8080
        return word | isUpper &>> 2
    }
}

extension KeyedHash.Key {
    init(using generator: inout some RandomNumberGenerator) {
        self.init(k0: generator.next(), k1: generator.next())
    }
}
