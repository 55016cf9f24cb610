internal import COpenSSL
internal import GatehousePolicy
internal import SIPMessage

/// What an engine needs in its handshake alone.
final class HandshakeSetup {
    enum Role {
        case server(TLSServerContext, CertificateStore, listener: Endpoint, admit: (@Sendable (String) -> Bool)?)
        case client(OutboundCredentials, PeerIdentity?)
    }

    let role: Role
    let context: TLSContext
    var serverName: String?
    var domain: ServedDomain?
    var firstByte: UInt8?
    /// Why we refused the ClientHello.
    var refusal: TLSFailure?
    /// The alert to refuse with once the version is chosen: before, OpenSSL can't send those that are new in TLS 1.3.
    var lateAlert: Int32?
    /// X509_V_ERR and the subject of the certificate meant.
    var verificationFault: (code: Int32, subject: String?)?
    var presentedNames: PresentedNames?
    /// What the peer showed, whether it verified or not.
    var peerCertificate: X509Certificate?
    /// Of the connecting end: whether the peer wants to know who we are.
    var isAskedForCertificate = false

    init(role: Role, context: TLSContext, serverName: String? = nil) {
        self.role = role
        self.context = context
        self.serverName = serverName
    }
}

extension TLSEngine {
    var ticketKeys: TicketKeys? { self.serverRole?.context.tickets }

    /// What an accepting end negotiates by; its domain is nil until the ClientHello has named one.
    var serverRole: (context: TLSServerContext, domain: ServedDomain?)? {
        guard let setup = self.setup, case .server(let context, _, _, _) = setup.role else { return nil }
        return (context, setup.domain)
    }

    /// What the peer's certificate has to prove.
    var wantedIdentity: PeerIdentity? {
        guard case .client(_, let identity) = self.setup?.role else { return nil }
        return identity
    }

    /// Whether a certificate of the peer's that does not verify ends the handshake.
    var demandsProof: Bool { SSL_get_verify_mode(self.ssl) & SSL_VERIFY_PEER != 0 }

    /// Whether the common name counts where the peer's certificate has no subjectAltName.
    var acceptsCommonName: Bool {
        guard case .client(let credentials, _) = self.setup?.role else { return false }
        return credentials.acceptsCommonName
    }

    /// Whether a revocation list still counts that is past its next update.
    var acceptsExpiredLists: Bool {
        switch self.setup?.role {
        case .server: self.setup?.domain?.acceptsExpiredLists ?? false
        case .client(let credentials, _): credentials.acceptsExpiredLists
        case nil: false
        }
    }

    /// SHA-256 over what the peer's certificate is judged by.
    var trust: [UInt8] {
        switch self.setup?.role {
        case .server: self.setup?.domain?.clientTrust ?? []
        case .client(let credentials, _): credentials.trust
        case nil: []
        }
    }

    /// Whether the peer asked for our certificate, and we have one to show.
    var hasShownCertificate: Bool {
        guard case .client(let credentials, _) = self.setup?.role else { return true }
        return self.setup?.isAskedForCertificate == true && !credentials.credentials.isEmpty
    }

    var domainName: String? {
        switch self.setup?.role {
        case .server: self.setup?.domain?.name
        case .client(let credentials, _): credentials.domain
        case nil: self.facts?.domain
        }
    }

    func noteVerificationFault(_ code: Int32, _ subject: String?) {
        if self.setup?.verificationFault == nil { self.setup?.verificationFault = (code, subject) }
    }

    /// - Parameter handle: the peer's own certificate, of the chain that is being verified.
    func notePeerCertificate(_ handle: OpaquePointer?) {
        guard let setup = self.setup, setup.peerCertificate == nil, let handle else { return }
        setup.peerCertificate = X509Certificate(sharing: handle)
    }

    func notePresentedNames(_ names: PresentedNames) {
        self.setup?.presentedNames = names
    }

    /// Finds the domain and puts its rules on the connection.
    ///
    /// - Returns: the alert to refuse the ClientHello with; nil: go on.
    func receiveClientHello(_ hello: ClientHello) -> Int32? {
        guard case .server(_, let store, let listener, let admit) = self.setup?.role else {
            return SSL_AD_INTERNAL_ERROR
        }
        let newestVersion = hello.newestVersion
        guard newestVersion >= 0x0303 else {
            self.setup?.refusal = TLSFailure(
                cause: .protocolVersion,
                text:
                    "the client offers nothing newer than \(Self.name(ofVersion: newestVersion)), and 1.2 is the least "
                    + "that is safe (RFC 8996): update it")
            return SSL_AD_PROTOCOL_VERSION
        }
        guard let name = hello.serverName else {
            self.setup?.refusal = TLSFailure(
                cause: .protocolError, text: "the client's server_name extension is malformed")
            return SSL_AD_DECODE_ERROR
        }
        let serverName = name.text
        if self.setup?.domain != nil || self.setup?.lateAlert != nil {
            // The ClientHello after a HelloRetryRequest says the same (RFC 8446 §4.1.2).
            return self.setup?.serverName == serverName ? nil : SSL_AD_ILLEGAL_PARAMETER
        }
        self.setup?.serverName = serverName
        switch store.answer(on: listener, to: name) {
        case .domain(let domain):
            self.setup?.domain = domain
            if let admit, !admit(domain.name) {
                self.setup?.refusal = TLSFailure(
                    cause: .overloaded, domain: domain.name, serverName: serverName,
                    text: "limits.handshakes_per_second of the domain is reached")
                return SSL_AD_INTERNAL_ERROR
            }
            do throws(OpenSSLError) {
                try domain.apply(to: self.ssl, serverName: serverName)
                return nil
            } catch {
                self.setup?.refusal = TLSFailure(
                    cause: .internal, domain: domain.name, serverName: serverName, text: "\(error)")
                return SSL_AD_INTERNAL_ERROR
            }
        case .unknownName:
            self.setup?.refusal = .unknownName(
                serverName ?? "", on: listener, servedElsewhere: store.serves(name))
            return SSL_AD_UNRECOGNIZED_NAME
        case .missingName:
            self.setup?.refusal = .missingName(on: listener)
            guard newestVersion >= 0x0304 else { return SSL_AD_HANDSHAKE_FAILURE }
            self.setup?.lateAlert = SSL_AD_MISSING_EXTENSION
            return nil
        }
    }

    private static func name(ofVersion version: UInt16) -> String {
        switch version {
        case 0x0302: "TLS 1.1"
        case 0x0301: "TLS 1.0"
        default: "SSL 3"
        }
    }
}
