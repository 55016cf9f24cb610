/// A host or service name of the DNS: in lower case, without the final dot.
///
/// Labels hold letters, digits, hyphens and underscores: what names of hosts and services are made of (RFC 1123 §2.1,
/// RFC 2782), and nothing that could be mistaken in a log or a configuration. Names in other scripts come as A-labels.
public struct DNSName: Sendable, Hashable, CustomStringConvertible {
    public let text: String

    /// - Parameter text: with or without a final dot, in any letter case.
    /// - Returns: nil for the root, for an empty label or one over 63 bytes, for a name over 253, and for other characters.
    public init?(_ text: some StringProtocol) {
        var utf8 = text.utf8.map { $0 &- 0x41 < 26 ? $0 | 0x20 : $0 }
        if utf8.last == UInt8(ascii: ".") { utf8.removeLast() }
        guard utf8.count <= 253 else { return nil }
        for label in utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
            guard 1...63 ~= label.count, label.allSatisfy(Self.isAllowed) else { return nil }
        }
        self.text = String(decoding: utf8, as: UTF8.self)
    }

    /// - Parameter text: what was the text of a name before.
    package init(kept text: String) {
        self.text = text
    }

    public var description: String { self.text }

    /// Whether this name is `ancestor` or lies below it.
    public func isWithin(_ ancestor: DNSName) -> Bool {
        self == ancestor || self.text.hasSuffix(".\(ancestor.text)")
    }

    /// Whether a label may hold the byte, a letter being in lower case.
    private static func isAllowed(_ byte: UInt8) -> Bool {
        byte &- 0x61 < 26 || byte &- 0x30 < 10 || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
    }
}

/// What is asked of the DNS: a name, and the type of record that the next hop depends on (RFC 3263 §4).
public struct DNSQuestion: Sendable, Hashable, CustomStringConvertible {
    /// With the numbers of RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 2782 and RFC 3403 §5.
    public enum RecordType: UInt16, Sendable, CaseIterable {
        case a = 1
        case aaaa = 28
        case srv = 33
        case naptr = 35
    }

    public var name: DNSName
    public var type: RecordType

    public init(_ name: DNSName, _ type: RecordType) {
        self.name = name
        self.type = type
    }

    public var description: String {
        switch self.type {
        case .a: "A \(self.name)"
        case .aaaa: "AAAA \(self.name)"
        case .srv: "SRV \(self.name)"
        case .naptr: "NAPTR \(self.name)"
        }
    }
}
