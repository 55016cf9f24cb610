public import GatehousePolicy

/// What a finished handshake settled; nothing of it changes while the connection lives.
public final class TLSFacts: Sendable {
    /// "TLSv1.2" or "TLSv1.3".
    public let version: String
    /// The cipher suite as IANA names it: "TLS_AES_128_GCM_SHA256".
    public let cipher: String
    /// The name that the client asked for, in lower case; nil where it asked for none.
    public let serverName: String?
    /// The name of the domain whose rules hold on the connection: of the one that was reached, or of the one that opened it.
    public let domain: String
    public let isResumed: Bool
    /// nil: the peer showed no certificate, or none was verified.
    public let verified: VerifiedPeer?
    /// On a connection that we opened to a peer that need not verify: what is wrong with its certificate; nil where nothing is.
    public let unproved: TLSFailure?
    /// Whether the peer got to see a certificate of ours: always at the accepting end, and at the connecting one where the
    /// peer asked and we have one.
    public let hasShownCertificate: Bool
    /// The ALPN protocol agreed on; nil where the client offered none.
    public let applicationProtocol: String?

    init(
        version: String, cipher: String, serverName: String?, domain: String, isResumed: Bool, verified: VerifiedPeer?,
        unproved: TLSFailure? = nil, hasShownCertificate: Bool, applicationProtocol: String?
    ) {
        self.version = version
        self.cipher = cipher
        self.serverName = serverName
        self.domain = domain
        self.isResumed = isResumed
        self.verified = verified
        self.unproved = unproved
        self.hasShownCertificate = hasShownCertificate
        self.applicationProtocol = applicationProtocol
    }
}

/// A peer whose certificate led to an authority that the domain trusts. A TLSEngine alone makes one.
public final class VerifiedPeer: Sendable {
    public let names: PresentedNames
    public let permittedUse: PermittedUse
    /// SHA-256 in hexadecimal.
    public let fingerprint: String
    /// Seconds since 1970.
    public let notAfter: Int64
    /// SHA-256 over what it was judged by; compare `OutboundCredentials.trust` and `CertificateStore.clientTrust(of:)`.
    public let trust: [UInt8]

    init(_ certificate: X509Certificate, trust: [UInt8]) {
        self.trust = trust
        self.names = certificate.names
        self.permittedUse = certificate.permittedUse
        self.fingerprint = certificate.fingerprint
        self.notAfter = certificate.notAfter
    }

    /// The name for a log or a tag: `CN=phone7`, else the first alternative name, else the fingerprint.
    public var displayName: String {
        if let name = self.names.commonNames.last { return "CN=\(name)" }
        return self.names.uris.first ?? self.names.dnsNames.first ?? "SHA256=\(self.fingerprint)"
    }
}
