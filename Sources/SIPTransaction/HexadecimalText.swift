/// Numbers as hexadecimal digits of fixed length, eight digits at a time.
enum HexadecimalText {
    /// Appends 16 digits in lower case.
    static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        self.append(digits: self.digits(of: UInt32(truncatingIfNeeded: value &>> 32)), to: &bytes)
        self.append(digits: self.digits(of: UInt32(truncatingIfNeeded: value)), to: &bytes)
    }

    /// Appends 4 digits in lower case.
    static func append(lowHalf value: UInt16, to bytes: inout [UInt8]) {
        let digits = self.digits(of: UInt32(value))
        withUnsafeBytes(of: digits.bigEndian) { bytes.append(contentsOf: $0[4...]) }
    }

    /// The number that 16 digits from `offset` on stand for; nil if one is no digit or lies outside `bytes`.
    static func value(of bytes: [UInt8], at offset: Int) -> UInt64? {
        guard let high = self.half(of: bytes, at: offset), let low = self.half(of: bytes, at: offset &+ 8) else {
            return nil
        }
        return UInt64(high) &<< 32 | UInt64(low)
    }

    /// The number that the last 4 of the 8 bytes from `offset` on stand for.
    static func lowHalf(of bytes: [UInt8], at offset: Int) -> UInt16? {
        guard let text = self.load(bytes, at: offset) else { return nil }
        return self.value(ofDigits: text & 0xFFFF_FFFF | 0x3030_3030_0000_0000).map { UInt16(truncatingIfNeeded: $0) }
    }

    private static func half(of bytes: [UInt8], at offset: Int) -> UInt32? {
        self.load(bytes, at: offset).flatMap { self.value(ofDigits: $0) }
    }

    /// Eight bytes, the first in the high bits.
    private static func load(_ bytes: [UInt8], at offset: Int) -> UInt64? {
        guard offset >= 0, offset <= bytes.count &- 8 else { return nil }
        return bytes.span.bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self).bigEndian
    }

    private static func append(digits: UInt64, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: digits.bigEndian) { bytes.append(contentsOf: $0) }
    }

    /// One digit a byte, the first in the high bits.
    private static func digits(of value: UInt32) -> UInt64 {
        var nibbles = UInt64(value)
        nibbles = (nibbles | nibbles &<< 16) & 0x0000_FFFF_0000_FFFF
        nibbles = (nibbles | nibbles &<< 8) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles | nibbles &<< 4) & 0x0F0F_0F0F_0F0F_0F0F
        let isLetter = (nibbles &+ 0x0606_0606_0606_0606) &>> 4 & 0x0101_0101_0101_0101
        return nibbles &+ 0x3030_3030_3030_3030 &+ isLetter &* 0x27  // "a" is 0x27 past where the digits would go on
    }

    /// Decodes eight digits; whatever is no digit shows when the value is written again.
    private static func value(ofDigits text: UInt64) -> UInt32? {
        var nibbles = (text & 0x0F0F_0F0F_0F0F_0F0F) &+ (text &>> 6 & 0x0101_0101_0101_0101) &* 9
        nibbles &= 0x0F0F_0F0F_0F0F_0F0F
        nibbles = (nibbles | nibbles &>> 4) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles | nibbles &>> 8) & 0x0000_FFFF_0000_FFFF
        nibbles |= nibbles &>> 16
        let value = UInt32(truncatingIfNeeded: nibbles)
        let lowercased = text | (text & 0x4040_4040_4040_4040) &>> 1
        return self.digits(of: value) == lowercased ? value : nil
    }
}
