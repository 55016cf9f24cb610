public import SIPMessage

/// The names in a certificate, as they are written there.
public struct PresentedNames: Hashable, Sendable {
    /// Whether there is a subjectAltName extension at all, whatever it holds.
    public var hasSubjectAltName: Bool
    /// Its uniformResourceIdentifier values.
    public var uris: [String]
    /// Its dNSName values.
    public var dnsNames: [String]
    /// Its iPAddress values.
    public var addresses: [IPAddress]
    /// The common names of the subject, the most specific last.
    public var commonNames: [String]

    public init(
        hasSubjectAltName: Bool, uris: [String] = [], dnsNames: [String] = [], addresses: [IPAddress] = [],
        commonNames: [String] = []
    ) {
        self.hasSubjectAltName = hasSubjectAltName
        self.uris = uris
        self.dnsNames = dnsNames
        self.addresses = addresses
        self.commonNames = commonNames
    }
}

/// Whom a connection is meant to reach: the host before any DNS look-up (RFC 5922 §4).
public enum PeerIdentity: Hashable, Sendable {
    /// A domain name in lower case, without a final dot; internationalised labels in their ASCII form.
    case domain(String)
    case address(IPAddress)

    /// Reads a host as a URI has it, IPv6 without brackets.
    public init(host: String) {
        if let address = IPAddress(host) {
            self = .address(address)
        } else {
            self = .domain(DNSName(host)?.text ?? host)  // what is no name of the DNS no certificate proves
        }
    }
}

extension PresentedNames {
    /// The SIP domain identities of RFC 5922 §7.1, in lower case.
    ///
    /// The hosts of `sip:` URIs without a user part; where there is none, the DNS names. A `sips:` URI and one with a user
    /// part name no domain, and a wildcard never counts (§7.2).
    ///
    /// - Parameter acceptingCommonName: whether the subject's common name counts where there is no subjectAltName.
    public func sipDomains(acceptingCommonName: Bool = false) -> [String] {
        let hosts = self.uris.compactMap(Self.host(ofSIPURI:))
        if !hosts.isEmpty { return hosts }
        if self.hasSubjectAltName { return self.dnsNames.compactMap(Self.domain) }
        return acceptingCommonName ? self.commonNames.compactMap(Self.domain) : []
    }

    /// Whether the certificate proves the identity: an exact match, letter case aside (RFC 5922 §7.2).
    ///
    /// An address is proved by an iPAddress value or a `sip:` URI with that address.
    public func prove(_ identity: PeerIdentity, acceptingCommonName: Bool = false) -> Bool {
        switch identity {
        case .domain(let name):
            guard let wanted = Self.domain(name) else { return false }
            return self.sipDomains(acceptingCommonName: acceptingCommonName).contains {
                $0.utf8.elementsEqual(wanted.utf8)
            }
        case .address(let address):
            return self.addresses.contains(address)
                || self.uris.contains { Self.host(ofSIPURI: $0).flatMap { IPAddress($0) } == address }
        }
    }

    /// How a certificate that we present names a host that clients ask for.
    public enum Coverage: Sendable {
        case exact
        /// By a wildcard for the first label, which SIP peers that follow RFC 5922 §7.2 do not accept.
        case wildcard
        /// By the subject's common name alone, which clients no longer accept.
        case commonName
        case none
    }

    /// - Parameter name: a name or alias of a domain, in lower case; an alias may itself begin with `*.`.
    public func coverage(of name: String) -> Coverage {
        let names = self.dnsNames.map { $0.lowercased() }
        if names.contains(name) || self.uris.contains(where: { Self.host(ofSIPURI: $0) == name }) { return .exact }
        if let dot = name.firstIndex(of: "."), names.contains("*" + name[dot...]) { return .wildcard }
        if !self.hasSubjectAltName, self.commonNames.contains(where: { $0.lowercased() == name }) { return .commonName }
        return .none
    }

    /// The host of a `sip:` URI that names a domain, in lower case; nil for any other URI.
    private static func host(ofSIPURI uri: String) -> String? {
        let bytes = Array(uri.utf8)
        guard bytes.count > 4, String(decoding: bytes[..<4], as: UTF8.self).lowercased() == "sip:" else { return nil }
        let rest = bytes[4...]
        guard !rest.contains(UInt8(ascii: "@")) else { return nil }
        if rest.first == UInt8(ascii: "[") {
            guard let end = rest.firstIndex(of: UInt8(ascii: "]")) else { return nil }
            return IPAddress(String(decoding: rest[5..<end], as: UTF8.self))?.description
        }
        let host = rest.prefix { $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: "?") }
        return Self.domain(String(decoding: host, as: UTF8.self))
    }

    /// A name of letters, digits, hyphens, underscores and dots in lower case, without a final dot; nil for any other.
    private static func domain(_ name: String) -> String? {
        var bytes: [UInt8] = []
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "_"), UInt8(ascii: "."):
                bytes.append(byte)
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): bytes.append(byte | 0x20)
            default: return nil
            }
        }
        if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }
}

/// What a certificate's key may be used for.
public struct PermittedUse: Hashable, Sendable {
    /// The purposes of the extended key usage extension that matter here (RFC 5280 §4.2.1.12, RFC 5924 §4).
    public struct Purposes: OptionSet, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        public static let serverAuthentication = Purposes(rawValue: 1)
        public static let clientAuthentication = Purposes(rawValue: 2)
        public static let any = Purposes(rawValue: 4)
        public static let sipDomain = Purposes(rawValue: 8)
    }

    public enum Role: Sendable { case server, client }

    /// nil: the certificate has no such extension; empty: it has one that names other purposes alone.
    public var purposes: Purposes?
    /// Whether the key usage extension, if there is one, lets the key sign (digitalSignature, RFC 5280 §4.2.1.3).
    public var maySign: Bool

    public init(purposes: Purposes?, maySign: Bool) {
        self.purposes = purposes
        self.maySign = maySign
    }

    /// Whether the holder may stand at this end of a TLS connection.
    public func permits(_ role: Role) -> Bool {
        self.maySign && self.purposesPermit(role)
    }

    /// Whether the extended key usage alone lets it; for the certificates of intermediate authorities.
    public func purposesPermit(_ role: Role) -> Bool {
        guard let purposes = self.purposes else { return true }
        let own: Purposes = role == .server ? .serverAuthentication : .clientAuthentication
        return !purposes.isDisjoint(with: [own, .any, .sipDomain])
    }
}
