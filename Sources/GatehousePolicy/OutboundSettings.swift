public import SIPMessage

/// `outbound:` of a domain: legs from the core to the outside.
public struct OutboundSettings: Sendable, Equatable {
    public enum Authorities: Hashable, Sendable {
        case system
        /// A PEM file.
        case file(String)
    }
    public enum ClientCertificate: Hashable, Sendable {
        /// The domain's own certificates.
        case domain
        case none
        case pair(CertificatePair)
    }

    /// A `sip:` or `sips:` URI.
    public var proxy: String?
    /// Also for in-dialog requests; only where there is a proxy.
    public var forceProxy: Bool
    /// In order of preference; one that is not here is never used. At least one.
    public var transports: [Transport]
    public var authorities: Authorities
    /// PEM file of the authorities' revocation lists; nil: none is consulted.
    public var crl: String?
    public var crlExpired: ExpiredCRL
    /// RFC 5922 against the name before DNS.
    public var verify: Bool
    /// Whether the subject's common name counts where a certificate has no subjectAltName (RFC 5922 §7.1 advises not).
    public var acceptsCommonName: Bool
    public var clientCertificate: ClientCertificate
    /// Whether connections are reused for requests the other way (RFC 5923).
    public var reuse: Bool
    /// Bytes that a packet to the outside may have, for the choice between UDP and TCP (RFC 3261 §18.1.1); nil: unknown.
    public var pathMTU: Int?

    public init(
        proxy: String? = nil, forceProxy: Bool = false, transports: [Transport] = [.tls, .tcp, .udp],
        authorities: Authorities = .system, crl: String? = nil, crlExpired: ExpiredCRL = .refuse, verify: Bool = true,
        acceptsCommonName: Bool = false, clientCertificate: ClientCertificate = .domain, reuse: Bool = true,
        pathMTU: Int? = nil
    ) {
        self.proxy = proxy
        self.forceProxy = forceProxy
        self.transports = transports
        self.authorities = authorities
        self.crl = crl
        self.crlExpired = crlExpired
        self.verify = verify
        self.acceptsCommonName = acceptsCommonName
        self.clientCertificate = clientCertificate
        self.reuse = reuse
        self.pathMTU = pathMTU
    }
}

/// `security:` of a domain: which sessions are protected, and what may be excepted.
public struct SecuritySettings: Sendable, Equatable {
    public enum Protect: String, Sendable, CaseIterable { case sips, tls, all }
    public enum AssertedIdentity: String, Sendable, CaseIterable { case keep, strip }
    public enum Permission: String, Sendable, CaseIterable { case allow, refuse }

    public var protect: Protect
    public var untagged: Permission
    public var sipsToCore: Permission
    /// A `sip:` request to an address of record whose contact is `sips:` (RFC 5630 §5.3).
    public var sipToSIPS: Permission
    /// P-Asserted-Identity on its way out, where the request says nothing of Privacy (RFC 3325 §7).
    public var assertedIdentity = AssertedIdentity.keep
    /// Header fields that a request from outside loses.
    public var removedHeaders = Self.defaultRemovedHeaders
    /// The first that matches counts.
    public var overrides: [SecurityOverride]

    public static let defaultRemovedHeaders = [
        "Remote-Party-ID", "P-Charging-Vector", "P-Charging-Function-Addresses", "Diversion",
    ]

    public init(
        protect: Protect = .sips, untagged: Permission = .allow, sipsToCore: Permission = .allow,
        sipToSIPS: Permission = .allow, overrides: [SecurityOverride] = []
    ) {
        self.protect = protect
        self.untagged = untagged
        self.sipsToCore = sipsToCore
        self.sipToSIPS = sipToSIPS
        self.overrides = overrides
    }
}

/// An entry of `security.overrides`: next hops that a protected session may reach over a leg that is not secure.
public struct SecurityOverride: Hashable, Sendable {
    public enum Destination: Hashable, Sendable {
        /// A host name in lower case, whose first label may be `*`.
        case host(String)
        case network(Network)
    }
    public enum Allowance: String, Sendable, CaseIterable {
        /// Without TLS.
        case insecure
        /// Over TLS with a certificate that does not verify.
        case unverified
    }

    public var to: Destination
    public var allow: Allowance
    /// Why, for the log and the trace.
    public var reason: String
    /// The last day on which the entry matches, in UTC; nil: no end.
    public var until: CalendarDate?
    @NotCompared public var location: SourceLocation

    public init(
        to: Destination, allow: Allowance, reason: String, until: CalendarDate? = nil,
        location: SourceLocation = SourceLocation(file: "", line: 0, column: 0)
    ) {
        self.to = to
        self.allow = allow
        self.reason = reason
        self.until = until
        self.location = location
    }
}
