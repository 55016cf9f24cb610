/// How a session reached the edge: what the core sees as `arrived` and what its protection follows from.
public enum Arrival: UInt8, Sendable, CaseIterable {
    /// TCP or UDP, or a leg from the core without a tag.
    case plain
    /// A `sip:` session over TLS.
    case tls
    /// A `sips:` session, over TLS.
    case sips

    /// The word in the tag and in metrics.
    @inlinable public var word: StaticString {
        switch self {
        case .plain: "plain"
        case .tls: "tls"
        case .sips: "sips"
        }
    }
}

/// The name of a session: 48 random bits, written as twelve hexadecimal digits.
public struct SessionID: Hashable, Sendable, CustomStringConvertible {
    /// The low 48 bits alone are used.
    public let bits: UInt64

    @inlinable public init(_ bits: UInt64) {
        self.bits = bits & 0xFFFF_FFFF_FFFF
    }

    public func append(to text: inout [UInt8]) {
        for shift in stride(from: 44, through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: (self.bits >> UInt64(shift)) & 0xF)
            text.append(digit < 10 ? 0x30 &+ digit : 0x57 &+ digit)
        }
    }

    public var description: String {
        var text: [UInt8] = []
        self.append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }
}

/// What a dialog or a registration remembers of its arrival; it lies in the tokens of our own URIs and so survives a restart.
public struct Session: Hashable, Sendable {
    public var id: SessionID
    public var arrival: Arrival
    /// Seconds since 1970; past it a copied tag no longer counts.
    public var expires: UInt32
    /// Whether an override let this dialog over a leg that is not secure; in the tokens of that leg alone, so that what
    /// follows in the dialog may take it in both directions.
    public var isRelaxed: Bool

    @inlinable public init(id: SessionID, arrival: Arrival, expires: UInt32, isRelaxed: Bool = false) {
        self.id = id
        self.arrival = arrival
        self.expires = expires
        self.isRelaxed = isRelaxed
    }

    /// How long a tag that the core copies to another leg is believed, in seconds: a day.
    public static let lifetime: UInt32 = 86_400
}
