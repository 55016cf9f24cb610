/// The written form of a sealed token: `gh-` and base64url without padding (RFC 4648 §5), all of them characters that a
/// URI's user part takes unescaped (RFC 3261 §25.1).
public enum TokenText {
    /// What tells a token from a user's name.
    public static let prefix: [UInt8] = [0x67, 0x68, 0x2D]

    private static let alphabet: [UInt8] = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    /// Value of each byte in the alphabet; 255 where it is none.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, byte) in alphabet.enumerated() { values[Int(byte)] = UInt8(value) }
        return values
    }()

    /// Appends the written form of `sealed`.
    public static func append(_ sealed: [UInt8], to text: inout [UInt8]) {
        text.append(contentsOf: self.prefix)
        self.append(base64url: sealed, to: &text)
    }

    /// Appends base64url without padding and without the prefix.
    public static func append(base64url bytes: [UInt8], to text: inout [UInt8]) {
        text.reserveCapacity(text.count + bytes.count * 4 / 3 + 4)
        self.alphabet.withUnsafeBufferPointer { alphabet in
            var index = 0
            while index + 3 <= bytes.count {
                let word = UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8 | UInt32(bytes[index + 2])
                text.append(alphabet[Int(word >> 18 & 63)])
                text.append(alphabet[Int(word >> 12 & 63)])
                text.append(alphabet[Int(word >> 6 & 63)])
                text.append(alphabet[Int(word & 63)])
                index += 3
            }
            switch bytes.count - index {
            case 1:
                let word = UInt32(bytes[index]) << 16
                text.append(alphabet[Int(word >> 18 & 63)])
                text.append(alphabet[Int(word >> 12 & 63)])
            case 2:
                let word = UInt32(bytes[index]) << 16 | UInt32(bytes[index + 1]) << 8
                text.append(alphabet[Int(word >> 18 & 63)])
                text.append(alphabet[Int(word >> 12 & 63)])
                text.append(alphabet[Int(word >> 6 & 63)])
            default:
                break
            }
        }
    }

    /// Whether a user part has the form of a token. A name that merely begins like one is too short to be taken for it.
    public static func isToken(_ bytes: [UInt8], _ range: Range<Int>) -> Bool {
        guard range.count >= self.prefix.count + 24, range.lowerBound >= 0, range.upperBound <= bytes.count else {
            return false
        }
        return bytes[range.lowerBound..<range.lowerBound + self.prefix.count].elementsEqual(self.prefix)
    }

    /// The sealed bytes behind the prefix, or nil where the text is no token.
    public static func sealed(_ bytes: [UInt8], _ range: Range<Int>) -> [UInt8]? {
        guard self.isToken(bytes, range) else { return nil }
        return self.decode(base64url: bytes, range.lowerBound + self.prefix.count..<range.upperBound)
    }

    /// Decodes base64url without padding; nil for any other character, or a length that no encoder writes.
    public static func decode(base64url bytes: [UInt8], _ range: Range<Int>) -> [UInt8]? {
        guard range.lowerBound >= 0, range.upperBound <= bytes.count, range.count % 4 != 1 else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(range.count * 3 / 4)
        var word: UInt32 = 0
        var bits = 0
        let isWhole = self.values.withUnsafeBufferPointer { values in
            for index in range {
                let value = values[Int(bytes[index])]
                guard value != 255 else { return false }
                word = word << 6 | UInt32(value)
                bits += 6
                if bits >= 8 {
                    bits -= 8
                    result.append(UInt8(truncatingIfNeeded: word >> UInt32(bits)))
                }
            }
            // Left-over bits that are not zero are a second spelling of the same bytes.
            return word & (1 << UInt32(bits) &- 1) == 0
        }
        return isWhole ? result : nil
    }
}
