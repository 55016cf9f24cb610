/// An IPv4 or IPv6 address as a value.
///
/// Two spellings of one address are equal (RFC 5954 §4.2); an IPv4 address and its IPv4-mapped IPv6 form are not, see
/// ``asIPv4``. There is no zone.
public struct IPAddress: Hashable, Sendable {
    /// The upper 64 bits of an IPv6 address, its first byte highest; 0 for IPv4.
    public let high: UInt64
    /// The lower 64 bits of an IPv6 address, or the 32 bits of an IPv4 one.
    public let low: UInt64
    public let isIPv6: Bool

    /// - Parameter v4: in host order: 127.0.0.1 is 0x7F000001.
    @inlinable public init(v4: UInt32) {
        self.high = 0
        self.low = UInt64(v4)
        self.isIPv6 = false
    }

    @inlinable public init(v6High: UInt64, v6Low: UInt64) {
        self.high = v6High
        self.low = v6Low
        self.isIPv6 = true
    }

    /// The IPv4 address in host order; nil for IPv6.
    @inlinable public var v4: UInt32? { self.isIPv6 ? nil : UInt32(truncatingIfNeeded: self.low) }

    /// 127.0.0.0/8, or ::1, or the mapped form of the former.
    public var isLoopback: Bool {
        guard self.isIPv6 else { return self.low >> 24 == 127 }
        if self.isIPv4Mapped { return (self.low & 0xFFFF_FFFF) >> 24 == 127 }
        return self.high == 0 && self.low == 1
    }

    /// 224.0.0.0/4 or ff00::/8.
    public var isMulticast: Bool {
        self.isIPv6 ? self.high >> 56 == 0xFF : self.low >> 28 == 0xE
    }

    /// 0.0.0.0 or ::.
    public static func unspecified(isIPv6: Bool) -> IPAddress {
        isIPv6 ? IPAddress(v6High: 0, v6Low: 0) : IPAddress(v4: 0)
    }

    /// 0.0.0.0 or ::, which bind to every address of the host.
    public var isUnspecified: Bool { self.high == 0 && self.low == 0 }

    /// 169.254.0.0/16 or fe80::/10, which mean nothing without an interface.
    public var isLinkLocal: Bool {
        self.isIPv6 ? self.high >> 54 == 0xFE80 >> 6 : self.low >> 16 == 0xA9FE
    }

    /// ::ffff:0:0/96, the form in which a dual-stack socket reports an IPv4 peer.
    @inlinable public var isIPv4Mapped: Bool { self.isIPv6 && self.high == 0 && self.low >> 32 == 0xFFFF }

    /// The IPv4 address where this is one or maps one; nil else.
    @inlinable public var asIPv4: IPAddress? {
        if !self.isIPv6 { return self }
        return self.isIPv4Mapped ? IPAddress(v4: UInt32(truncatingIfNeeded: self.low)) : nil
    }

    /// Whether the first `prefixLength` bits are those of `other`, an address of the same family.
    public func matches(_ other: IPAddress, prefixLength: Int) -> Bool {
        guard self.isIPv6 == other.isIPv6, prefixLength >= 0 else { return false }
        guard self.isIPv6 else {
            guard prefixLength <= 32 else { return false }
            return (self.low ^ other.low) >> (32 - prefixLength) == 0  // a shift by 32 of a 32-bit value in 64 is 0
        }
        guard prefixLength <= 128 else { return false }
        if prefixLength <= 64 { return (self.high ^ other.high) >> (64 - prefixLength) == 0 }
        return self.high == other.high && (self.low ^ other.low) >> (128 - prefixLength) == 0
    }
}

extension IPAddress: CustomStringConvertible {
    /// Dotted decimal, or RFC 5952 without brackets.
    public var description: String {
        var text: [UInt8] = []
        self.appendText(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends ``description``: at most 45 bytes.
    public func appendText(to text: inout [UInt8]) {
        guard self.isIPv6 else {
            IPAddress.append(v4: UInt32(truncatingIfNeeded: self.low), to: &text)
            return
        }
        if self.isIPv4Mapped {
            text.append(contentsOf: "::ffff:".utf8)
            IPAddress.append(v4: UInt32(truncatingIfNeeded: self.low), to: &text)
            return
        }
        let run = self.longestZeroRun()
        var index = 0
        while index < 8 {
            if index == run.lowerBound && !run.isEmpty {
                text.append(.colon)
                text.append(.colon)
                index = run.upperBound
                continue
            }
            if index > 0 && (run.isEmpty || index != run.upperBound) { text.append(.colon) }
            IPAddress.append(group: self.group(index), to: &text)
            index += 1
        }
    }

    /// One of the eight 16-bit groups.
    private func group(_ index: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: index < 4 ? self.high >> (48 - 16 * index) : self.low >> (112 - 16 * index))
    }

    /// The first longest run of two or more zero groups (RFC 5952 §4.2); empty where there is none.
    private func longestZeroRun() -> Range<Int> {
        var best = 0..<0
        var index = 0
        while index < 8 {
            let start = index
            while index < 8 && self.group(index) == 0 { index += 1 }
            if index - start >= 2 && index - start > best.count { best = start..<index }
            index += 1
        }
        return best
    }

    private static func append(v4 value: UInt32, to text: inout [UInt8]) {
        for shift: UInt32 in [24, 16, 8, 0] {
            appendDecimal(UInt64((value >> shift) & 0xFF), to: &text)
            if shift > 0 { text.append(.dot) }
        }
    }

    private static func append(group: UInt16, to text: inout [UInt8]) {
        var started = false
        for shift: UInt16 in [12, 8, 4, 0] {
            let digit = UInt8(truncatingIfNeeded: (group >> shift) & 0xF)
            started = started || digit != 0 || shift == 0
            if started { text.append(digit < 10 ? .zero &+ digit : 0x61 &+ digit &- 10) }
        }
    }
}

/// Appends a number in decimal.
func appendDecimal(_ value: UInt64, to text: inout [UInt8]) {
    var divisor: UInt64 = 1
    while value / divisor >= 10 { divisor *= 10 }
    var rest = value
    while divisor > 0 {
        text.append(.zero &+ UInt8(truncatingIfNeeded: rest / divisor))
        rest %= divisor
        divisor /= 10
    }
}
