internal import COpenSSL
internal import GatehousePolicy
internal import SIPMessage

// Why a connection failed, out of what OpenSSL and our own callbacks left behind.

extension TLSEngine {
    func outputFailure() -> TLSFailure {
        TLSFailure(
            cause: .outputLimit, domain: self.domainName,
            text: "the peer does not read what is sent to it: \(self.outputLimitInBytes) bytes wait")
    }

    /// Why SSL_do_handshake failed; empties the error queue.
    func handshakeFailure() -> TLSFailure {
        let code = takeErrorCode()
        guard let setup = self.setup else { return self.recordFailure() }
        if let refusal = setup.refusal { return refusal }
        if self.hasOverrunOutput { return self.outputFailure() }
        if let byte = setup.firstByte, byte != 0x16, byte != 0x15, byte & 0x80 == 0 {  // 0x80: an SSL 2 header
            return TLSFailure(
                cause: .notTLS,
                text: "the peer speaks no TLS on this port: have it use TLS (sips:, transport=tls), or a plain port")
        }
        if ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED || self.demandsProof && setup.presentedNames != nil {
            return self.certificateFailure(setup)
        }
        let (cause, text) = self.explain(code, setup)
        return TLSFailure(cause: cause, domain: self.domainName, serverName: setup.serverName, text: text)
    }

    /// What is wrong with the peer's certificate, after our callback found that it does not verify.
    func certificateFailure(_ setup: HandshakeSetup) -> TLSFailure {
        if let wanted = self.wantedIdentity, let names = setup.presentedNames {
            var failure = TLSFailure.certificateName(
                wanted: Self.text(wanted), presented: names.sipDomains(),
                commonName: names.prove(wanted, acceptingCommonName: true))
            failure.domain = self.domainName
            return failure
        }
        let domain = self.domainName ?? "this address"
        let fault = setup.verificationFault ?? (Int32(truncatingIfNeeded: SSL_get_verify_result(self.ssl)), nil)
        let (cause, text) =
            self.explainRevocation(fault.code, fault.subject ?? "unknown", domain)
            ?? (.certificateInvalid, self.explainInvalidity(fault.code, fault.subject, domain))
        return TLSFailure(cause: cause, domain: self.domainName, serverName: setup.serverName, text: text)
    }

    private func explainInvalidity(_ code: Int32, _ subject: String?, _ domain: String) -> String {
        let words = X509_verify_cert_error_string(Int(code)).map { String(cString: $0) } ?? "unknown"
        let whose = subject.map { " (\($0))" } ?? ""
        let cure =
            self.isServer
            ? "give the client a valid one, or add its authority to tls.client_ca of \(domain)"
            : "have the peer renew it, or add its authority to outbound.ca of \(domain)"
        return "the peer's certificate\(whose) does not verify: \(words): \(cure)"
    }

    private func explain(_ code: UInt, _ setup: HandshakeSetup) -> (TLSFailure.Cause, String) {
        let domain = self.domainName ?? "this address"
        let reason = ERR_GET_REASON(code)
        if let alert = Self.alert(reason) {
            let cure =
                self.isServer
                ? "see that it trusts the authority of \(domain)'s certificate, and speaks TLS 1.2 or newer"
                : "see what the peer demands: a certificate of ours (outbound.client_certificate of \(domain)), another version"
            return (.refusedByPeer, "the peer ended the handshake with the alert '\(alert)': \(cure)")
        }
        switch reason {
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
            return (
                .certificateMissing,
                "the client shows no certificate, and \(domain) has tls.client_certificate: require: give it one"
            )
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW, SSL_R_WRONG_SSL_VERSION, SSL_R_WRONG_VERSION_NUMBER,
            SSL_R_UNKNOWN_PROTOCOL:
            return (
                .protocolVersion,
                "the peer offers no TLS version that \(domain) takes: update it, or lower tls.min_version"
            )
        case SSL_R_NO_SHARED_CIPHER, SSL_R_NO_SUITABLE_KEY_SHARE, SSL_R_NO_SUITABLE_GROUPS,
            SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, SSL_R_NO_CIPHERS_AVAILABLE:
            return (
                .noSharedCipher,
                "the peer and \(domain) share no cipher, group or signature scheme: update it, or give \(domain) an RSA "
                    + "certificate beside the ECDSA one"
            )
        case SSL_R_NO_APPLICATION_PROTOCOL:
            return (
                .noApplicationProtocol, "the client wants another protocol than SIP (ALPN): it reached the wrong port"
            )
        default:
            let words = reasonText(code)
            return (
                .protocolError, words.isEmpty ? "the TLS handshake broke off" : "the TLS handshake failed: \(words)"
            )
        }
    }

    /// What a revocation list has to do with it; nil where it has nothing.
    private func explainRevocation(_ code: Int32, _ subject: String, _ domain: String) -> (TLSFailure.Cause, String)? {
        let setting = self.isServer ? "tls.client_crl" : "outbound.crl"
        switch code {
        case X509_V_ERR_CERT_REVOKED:
            return (
                .certificateInvalid,
                "the peer's certificate (\(subject)) is revoked, as \(setting) of \(domain) says: have the peer get a new one"
            )
        case X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, X509_V_ERR_DIFFERENT_CRL_SCOPE:
            return (
                .revocationList,
                "\(setting) of \(domain) has no list of whoever issued the peer's certificate (\(subject)): add it"
            )
        case X509_V_ERR_CRL_HAS_EXPIRED:
            return (
                .revocationList,
                "the list in \(setting) of \(domain) that covers the peer's certificate (\(subject)) is past its next update: "
                    + "fetch a new one, or set \(setting)_expired: accept"
            )
        case X509_V_ERR_CRL_NOT_YET_VALID, X509_V_ERR_CRL_SIGNATURE_FAILURE, X509_V_ERR_KEYUSAGE_NO_CRL_SIGN,
            X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD, X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD,
            X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION, X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
            let words = X509_verify_cert_error_string(Int(code)).map { String(cString: $0) } ?? "unknown"
            return (
                .revocationList,
                "the list in \(setting) of \(domain) that covers the peer's certificate (\(subject)) can't be used: \(words): "
                    + "fetch a new one"
            )
        default:
            return nil
        }
    }

    /// Why SSL_read or SSL_write failed; empties the error queue.
    func recordFailure() -> TLSFailure {
        let code = takeErrorCode()
        if self.hasOverrunOutput { return self.outputFailure() }
        if let alert = Self.alert(ERR_GET_REASON(code)) {
            // Under TLS 1.3 a server judges our certificate when the handshake is over for us.
            let cure =
                self.isServer
                ? ""
                : ": see whether it demands a certificate (outbound.client_certificate of \(self.domainName ?? "its domain"))"
            return TLSFailure(
                cause: .refusedByPeer, domain: self.domainName,
                text: "the peer ended the connection with the alert '\(alert)'\(cure)")
        }
        let words = reasonText(code)
        return TLSFailure(
            cause: .protocolError, domain: self.domainName,
            text: "the TLS connection broke\(words.isEmpty ? "" : ": \(words)")")
    }

    /// The alert that the peer sent, where that is what OpenSSL reports.
    private static func alert(_ reason: Int32) -> String? {
        guard reason >= SSL_AD_REASON_OFFSET, reason < SSL_AD_REASON_OFFSET + 256 else { return nil }
        let code = reason - SSL_AD_REASON_OFFSET
        switch code {
        // Those of TLS 1.3, whose names OpenSSL does not have.
        case SSL_AD_MISSING_EXTENSION: return "missing extension"
        case SSL_AD_CERTIFICATE_REQUIRED: return "certificate required"
        case SSL_AD_NO_APPLICATION_PROTOCOL: return "no application protocol"
        default: return SSL_alert_desc_string_long(code).map { String(cString: $0) }
        }
    }

    private static func text(_ identity: PeerIdentity) -> String {
        switch identity {
        case .domain(let name): name
        case .address(let address): address.description
        }
    }
}
