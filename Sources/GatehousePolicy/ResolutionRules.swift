public import SIPMessage

/// The families of addresses that the edge has a way to.
public struct AddressFamilies: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let ipv4 = AddressFamilies(rawValue: 1)
    public static let ipv6 = AddressFamilies(rawValue: 2)
    public static let both: AddressFamilies = [.ipv4, .ipv6]

    public func contains(_ address: IPAddress) -> Bool {
        self.contains(address.isIPv6 ? .ipv6 : .ipv4)
    }
}

/// What locating a next hop may lead to, and how much may be asked for it.
public struct ResolutionRules: Hashable, Sendable {
    /// `outbound.transports`: in order of preference; one that is not here is never used.
    public var transports: [Transport]
    /// Only TLS may be found, also where the URI is `sip`: NAPTR `SIPS+D2T`, SRV `_sips._tcp`, port 5061.
    ///
    /// A `sip` URI that itself asks for UDP or TCP then leads nowhere. To have `transport=tcp` read as TLS over TCP, as a
    /// `sips` Request-URI demands of the routes before it (RFC 3261 §16.6 item 7), make the hop with `asSIPS`.
    public var isSecureOnly: Bool
    public var families: AddressFamilies
    /// How many candidates are kept, the first ones.
    public var candidateLimit: Int
    /// How many questions one resolution asks at most.
    public var questionLimit: Int

    public init(
        transports: [Transport] = [.tls, .tcp, .udp], isSecureOnly: Bool = false, families: AddressFamilies = .both,
        candidateLimit: Int = 32, questionLimit: Int = 24
    ) {
        self.transports = transports
        self.isSecureOnly = isSecureOnly
        self.families = families
        self.candidateLimit = candidateLimit
        self.questionLimit = questionLimit
    }
}
