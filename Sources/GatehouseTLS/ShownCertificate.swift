internal import COpenSSL
public import GatehousePolicy

/// A certificate that a peer showed, for people to read: nothing of it is proved.
public struct ShownCertificate: Hashable, Sendable {
    /// As OpenSSL writes names on one line: `/CN=far.example`.
    public var subject: String
    public var issuer: String
    public var names: PresentedNames
    /// Seconds since 1970.
    public var notBefore: Int64
    public var notAfter: Int64
    /// SHA-256 in hexadecimal.
    public var fingerprint: String

    init(_ certificate: X509Certificate) {
        self.subject = certificate.subject
        self.issuer = certificate.issuer
        self.names = certificate.names
        self.notBefore = certificate.notBefore
        self.notAfter = certificate.notAfter
        self.fingerprint = certificate.fingerprint
    }
}

extension TLSEngine {
    /// The certificate that the peer showed, also where the handshake failed because of it; nil where it showed none.
    public var shownCertificate: ShownCertificate? {
        if let handle = SSL_get0_peer_certificate(self.ssl) {
            return ShownCertificate(X509Certificate(sharing: handle))
        }
        return self.setup?.peerCertificate.map { ShownCertificate($0) }
    }
}
