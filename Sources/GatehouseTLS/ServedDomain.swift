internal import COpenSSL
internal import GatehousePolicy

/// A certificate chain with its key.
struct Credential: Sendable {
    var chain: CertificateChain
    var key: PrivateKey
    /// The chain's path, as configured.
    var file: String

    /// Gives the chain and key to one connection, beside those of other key types.
    func apply(to ssl: OpaquePointer) -> Bool {
        SSL_use_cert_and_key(ssl, self.chain.leaf.handle, self.key.handle, self.chain.intermediates.handle, 1) == 1
    }
}

/// What a domain demands of a TLS connection, and shows on it. Immutable; a connection holds it through its handshake.
final class ServedDomain: Sendable {
    let name: String
    /// At least one, each of its own key type.
    let credentials: [Credential]
    let minimumVersion: TLSSettings.Version
    /// A TLS 1.2 cipher list; nil: the context's.
    let ciphers: String?
    let clientCertificate: TLSSettings.ClientCertificate
    /// There where client certificates are asked for.
    let clientAuthorities: TrustAnchors?
    /// SHA-256 over what client certificates are judged by; empty where none is asked for.
    let clientTrust: [UInt8]
    /// Whether a revocation list still counts that is past its next update.
    let acceptsExpiredLists: Bool
    let unknownSNI: TLSSettings.UnknownSNI
    /// SHA-256 over all that a resumed session must have been made under: it stands in for the rules of this domain,
    /// which a resumption does not check again.
    private let sessionRules: [UInt8]

    init(name: String, settings: TLSSettings, credentials: [Credential], clientAuthorities: TrustAnchors?) {
        self.name = name
        self.credentials = credentials
        self.minimumVersion = settings.minimumVersion
        self.ciphers = settings.ciphers
        self.clientCertificate = settings.clientCertificate
        self.clientAuthorities = settings.clientCertificate == .none ? nil : clientAuthorities
        self.acceptsExpiredLists = settings.clientCRLExpired == .accept
        self.clientTrust =
            self.clientAuthorities?.trust(acceptingExpiredLists: settings.clientCRLExpired == .accept) ?? []
        self.unknownSNI = settings.unknownSNI
        let rules = [
            name, settings.minimumVersion.rawValue, settings.ciphers ?? "", settings.clientCertificate.rawValue,
            settings.clientCRLExpired.rawValue,
        ]
        self.sessionRules = sha256(
            Array(rules.joined(separator: "\0").utf8) + (self.clientAuthorities?.digest ?? []))
    }

    /// Puts the domain's rules on a connection that has read no more than the ClientHello.
    ///
    /// - Parameter serverName: what the client asked for, in lower case: a session resumes under that name alone (RFC 6066 §3).
    func apply(to ssl: OpaquePointer, serverName: String?) throws(OpenSSLError) {
        for credential in self.credentials {
            guard credential.apply(to: ssl) else { throw .last("use the certificate of \(self.name)") }
        }
        if self.minimumVersion == .tls13 {
            guard shim_SSL_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 else {
                throw .last("set the minimum version")
            }
        }
        if let ciphers = self.ciphers {
            guard SSL_set_cipher_list(ssl, ciphers) == 1 else { throw .last("set the ciphers of \(self.name)") }
        }
        let session = sha256(self.sessionRules + Array((serverName ?? "").utf8))
        guard SSL_set_session_id_context(ssl, session, UInt32(session.count)) == 1 else {
            throw .last("bind the session to \(self.name)")
        }
        guard self.clientCertificate != .none, let authorities = self.clientAuthorities else { return }
        let demand = self.clientCertificate == .require ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0
        SSL_set_verify(ssl, SSL_VERIFY_PEER | demand, verifyPeerCertificate)
        guard shim_SSL_set1_verify_cert_store(ssl, authorities.handle) == 1 else {
            throw .last("set the authorities of \(self.name)")
        }
        if let names = authorities.names { SSL_set_client_CA_list(ssl, SSL_dup_CA_list(names)) }
    }
}
