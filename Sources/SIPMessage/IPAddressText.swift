// Addresses out of text: the IPv4address and IPv6address of RFC 3986 §3.2.2, which RFC 5954 §4.1 puts in place of the
// faulty rule of RFC 3261 §25.1.

extension IPAddress {
    /// Reads an address without brackets, zone or surrounding space; nil where it is none.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        self.init(bytes.span)
    }

    /// Reads an address out of a part of a message; nil where it is none.
    public init?(bytes: [UInt8], range: ByteRange) {
        guard range.end <= bytes.count else { return nil }
        self.init(bytes.span.extracting(range.range))
    }

    init?(_ text: borrowing Span<UInt8>) {
        guard !text.isEmpty, text.count <= 46 else { return nil }
        for index in text.indices where text[index] == .colon {
            guard let address = IPAddress.v6(text) else { return nil }
            self = address
            return
        }
        guard let value = IPAddress.v4(text, from: 0) else { return nil }
        self.init(v4: value)
    }

    /// Four decimal octets without leading zeros, from `start` to the end of `text`.
    private static func v4(_ text: borrowing Span<UInt8>, from start: Int) -> UInt32? {
        var address: UInt32 = 0
        var index = start
        for position in 0..<4 {
            if position > 0 {
                guard index < text.count, text[index] == .dot else { return nil }
                index += 1
            }
            let first = index
            var octet: UInt32 = 0
            while index < text.count, let digit = decimalDigit(text[index]) {
                guard index - first < 3 else { return nil }
                octet = octet * 10 + UInt32(digit)
                index += 1
            }
            guard index > first, octet <= 255, index - first == 1 || text[first] != .zero else { return nil }
            address = address << 8 | octet
        }
        return index == text.count ? address : nil
    }

    private static func v6(_ text: borrowing Span<UInt8>) -> IPAddress? {
        // The groups left of `::` fill from the top, those right of it are moved to the bottom at the end.
        var groups = InlineArray<8, UInt16>(repeating: 0)
        var count = 0
        var gap: Int?
        var index = 0
        if text.count >= 2 && text[0] == .colon && text[1] == .colon {
            gap = 0
            index = 2
        }
        parts: while index < text.count {
            if index >= 2 && text[index - 1] == .colon && text[index - 2] == .colon && text[index] == .colon {
                // `:::` before an IPv4 part, which the rule of RFC 3261 allowed by mistake (RFC 5118 §4.10).
                guard gap == count, IPAddress.v4(text, from: index + 1) != nil else { return nil }
                index += 1
            }
            if let v4 = IPAddress.v4(text, from: index) {
                guard count <= 6, index > 0 else { return nil }
                groups[count] = UInt16(truncatingIfNeeded: v4 >> 16)
                groups[count + 1] = UInt16(truncatingIfNeeded: v4)
                count += 2
                break parts
            }
            let first = index
            var group: UInt16 = 0
            while index < text.count, let digit = hexadecimalDigit(text[index]) {
                guard index - first < 4 else { return nil }
                group = group << 4 | UInt16(digit)
                index += 1
            }
            guard index > first, count < 8 else { return nil }
            groups[count] = group
            count += 1
            if index == text.count { break parts }
            guard text[index] == .colon else { return nil }
            index += 1
            guard index < text.count else { return nil }  // one colon at the end
            if text[index] == .colon {
                guard gap == nil else { return nil }
                gap = count
                index += 1
            }
        }
        if let gap {
            guard count < 8 else { return nil }
            let moved = count - gap
            for offset in 0..<moved {
                groups[7 - offset] = groups[count - 1 - offset]
            }
            for position in gap..<(8 - moved) { groups[position] = 0 }
        } else {
            guard count == 8 else { return nil }
        }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for position in 0..<4 {
            high = high << 16 | UInt64(groups[position])
            low = low << 16 | UInt64(groups[position + 4])
        }
        return IPAddress(v6High: high, v6Low: low)
    }
}

extension Endpoint: CustomStringConvertible {
    /// `192.0.2.1:5060`, `[2001:db8::1]:5061`.
    public var description: String {
        var text: [UInt8] = []
        self.appendText(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends ``description``.
    public func appendText(to text: inout [UInt8]) {
        if self.address.isIPv6 { text.append(.leftBracket) }
        self.address.appendText(to: &text)
        if self.address.isIPv6 { text.append(.rightBracket) }
        text.append(.colon)
        appendDecimal(UInt64(self.port), to: &text)
    }

    /// Reads an address with its port, which must be there; an IPv6 address stands in brackets.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard let colon = bytes.lastIndex(of: .colon) else { return nil }
        let digits = ByteRange(colon + 1, bytes.count)
        guard let port = decimalPort(bytes.span.extracting(digits.range)) else { return nil }
        var host = ByteRange(0, colon)
        let isBracketed = colon >= 2 && bytes[0] == .leftBracket && bytes[colon - 1] == .rightBracket
        if isBracketed { host = ByteRange(1, colon - 1) }
        guard let address = IPAddress(bytes: bytes, range: host), address.isIPv6 == isBracketed else { return nil }
        self.init(address: address, port: port)
    }
}

/// One to five decimal digits up to 65535; nil else. 0 is a port here: a bind may ask for it.
func decimalPort(_ text: borrowing Span<UInt8>) -> UInt16? {
    guard !text.isEmpty, text.count <= 5 else { return nil }
    var value = 0
    for index in text.indices {
        guard let digit = decimalDigit(text[index]) else { return nil }
        value = value * 10 + digit
    }
    return UInt16(exactly: value)
}
