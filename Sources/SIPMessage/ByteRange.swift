/// Where something stands in the bytes of a message: offsets in place of copies.
///
/// Both offsets count from the first byte of the start line. A range means nothing without the bytes it was made for; to
/// use it with others is a mistake that traps where it leaves their bounds.
public struct ByteRange: Hashable, Sendable {
    @usableFromInline var lower: UInt32
    @usableFromInline var upper: UInt32

    /// The first byte.
    @inlinable public var start: Int { Int(self.lower) }
    /// One past the last byte.
    @inlinable public var end: Int { Int(self.upper) }
    @inlinable public var count: Int { self.end &- self.start }
    @inlinable public var isEmpty: Bool { self.lower == self.upper }
    @inlinable public var range: Range<Int> { Range(uncheckedBounds: (self.start, self.end)) }

    /// - Parameter range: within 0 to 2^32 - 1, which every limit on a message is far below.
    @inlinable public init(_ range: Range<Int>) {
        self.init(range.lowerBound, range.upperBound)
    }

    /// The bytes from `start` up to `end`; empty at `start` where `end` lies before it.
    @inlinable public init(_ start: Int, _ end: Int) {
        self.lower = UInt32(truncatingIfNeeded: start)
        self.upper = UInt32(truncatingIfNeeded: end > start ? end : start)
    }

    /// Whether `other` lies wholly inside this range.
    @inlinable public func contains(_ other: ByteRange) -> Bool {
        other.lower >= self.lower && other.upper <= self.upper
    }

    /// The same bytes where `count` bytes were put before the first of them.
    @inlinable public func shifted(by count: Int) -> ByteRange {
        ByteRange(self.start &+ count, self.end &+ count)
    }
}

extension ByteRange {
    /// A copy of the bytes.
    @inlinable public func bytes(in bytes: [UInt8]) -> [UInt8] {
        Array(bytes[self.range])
    }

    /// The text, with what is not UTF-8 replaced by U+FFFD: for logs, not for the wire.
    public func text(in bytes: [UInt8]) -> String {
        String(decoding: bytes[self.range], as: UTF8.self)
    }

    /// Whether the bytes are exactly those of `text`.
    public func equals(_ text: StaticString, in bytes: [UInt8]) -> Bool {
        guard text.utf8CodeUnitCount == self.count else { return false }
        let span = bytes.span
        var index = self.start
        for byte in text.utf8Bytes {
            guard span[index] == byte else { return false }
            index &+= 1
        }
        return true
    }

    /// Whether the bytes are those of `text` without regard to ASCII case, as tokens compare (RFC 3261 §7.3.1).
    public func equalsIgnoringCase(_ text: StaticString, in bytes: [UInt8]) -> Bool {
        guard text.utf8CodeUnitCount == self.count else { return false }
        let span = bytes.span
        var index = self.start
        for byte in text.utf8Bytes {
            guard lowercased(span[index]) == lowercased(byte) else { return false }
            index &+= 1
        }
        return true
    }

    /// Whether the bytes equal those of another range, perhaps of another message.
    public func equals(_ other: ByteRange, in otherBytes: [UInt8], own bytes: [UInt8]) -> Bool {
        guard self.count == other.count else { return false }
        return bytes[self.range].elementsEqual(otherBytes[other.range])
    }

    /// Whether the bytes equal those of another range without regard to ASCII case.
    public func equalsIgnoringCase(_ other: ByteRange, in otherBytes: [UInt8], own bytes: [UInt8]) -> Bool {
        guard self.count == other.count else { return false }
        return bytes[self.range].elementsEqual(otherBytes[other.range]) { lowercased($0) == lowercased($1) }
    }

    /// The bytes with ASCII letters in lower case: hosts as keys of a table.
    public func lowercasedBytes(in bytes: [UInt8]) -> [UInt8] {
        bytes[self.range].map { lowercased($0) }
    }
}

extension StaticString {
    /// The UTF-8 bytes; a static string lives for ever, so the view may leave.
    @usableFromInline var utf8Bytes: UnsafeBufferPointer<UInt8> {
        guard self.hasPointerRepresentation else { return UnsafeBufferPointer(start: nil, count: 0) }
        return UnsafeBufferPointer(start: self.utf8Start, count: self.utf8CodeUnitCount)
    }
}
