internal import COpenSSL
internal import GatehousePolicy

/// Whom a domain trusts, and what it shows of itself, on connections that it opens.
public final class OutboundCredentials: Sendable {
    /// The domain whose they are.
    public let domain: String
    let anchors: TrustAnchors
    let credentials: [Credential]
    /// Whether a peer that does not verify is refused.
    public let verifies: Bool
    /// Whether the subject's common name counts where a certificate has no subjectAltName.
    let acceptsCommonName: Bool
    /// SHA-256 over what a peer's certificate is judged by: a connection that was verified by something else is none for
    /// new requests.
    public let trust: [UInt8]
    /// Whether a revocation list still counts that is past its next update.
    let acceptsExpiredLists: Bool

    init(domain: String, anchors: TrustAnchors, credentials: [Credential], settings: OutboundSettings) {
        self.domain = domain
        self.anchors = anchors
        self.credentials = credentials
        self.verifies = settings.verify
        self.acceptsCommonName = settings.acceptsCommonName
        self.acceptsExpiredLists = settings.crlExpired == .accept
        self.trust = anchors.trust(
            acceptingExpiredLists: settings.crlExpired == .accept, acceptingCommonName: settings.acceptsCommonName)
    }

    func apply(to ssl: OpaquePointer, verifying: Bool) throws(OpenSSLError) {
        for credential in self.credentials {
            guard credential.apply(to: ssl) else { throw .last("use the client certificate of \(self.domain)") }
        }
        SSL_set_cert_cb(ssl, noteCertificateRequest, nil)
        SSL_set_verify(ssl, verifying ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, verifyPeerCertificate)
        guard shim_SSL_set1_verify_cert_store(ssl, self.anchors.handle) == 1 else {
            throw .last("set the authorities of \(self.domain)")
        }
    }
}

/// SSL_set_cert_cb, called where the peer asks for a certificate.
private func noteCertificateRequest(_ ssl: OpaquePointer?, _: UnsafeMutableRawPointer?) -> Int32 {
    if let ssl { TLSEngine.of(ssl)?.setup?.isAskedForCertificate = true }
    return 1
}
