internal import COpenSSL
internal import GatehousePolicy

/// SSL_set_verify's callback, called for each certificate of the peer's chain, from the authority's down to the leaf, and for
/// each fault that OpenSSL finds. It adds the checks that are ours: permitted use (CERT-07) and, on a connection that we
/// opened, the peer's name (CERT-01).
///
/// - Returns: 0: end the handshake with the alert that suits the error set in `context`.
func verifyPeerCertificate(_ isGood: Int32, _ context: OpaquePointer?) -> Int32 {
    guard let context,
        let ssl = X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()).map({ OpaquePointer($0) }),
        let engine = TLSEngine.of(ssl)
    else { return 0 }
    if !engine.isServer { engine.notePeerCertificate(X509_STORE_CTX_get0_cert(context)) }
    let certificate = X509_STORE_CTX_get_current_cert(context).map { X509Certificate(sharing: $0) }
    guard isGood == 1 else {
        let fault = X509_STORE_CTX_get_error(context)
        if engine.passesOver(fault, context) {
            X509_STORE_CTX_set_error(context, X509_V_OK)
            return 1
        }
        engine.noteVerificationFault(fault, certificate?.subject)
        ERR_clear_error()  // what a wrong signature left there would hide the reason that follows
        return 0
    }
    guard let certificate else { return 0 }
    guard let fault = engine.fault(of: certificate, depth: Int(X509_STORE_CTX_get_error_depth(context))) else {
        return 1
    }
    engine.noteVerificationFault(fault, certificate.subject)
    X509_STORE_CTX_set_error(context, fault)
    return 0
}

extension TLSEngine {
    /// Whether a fault that OpenSSL found is none for us.
    fileprivate func passesOver(_ fault: Int32, _ context: OpaquePointer) -> Bool {
        guard Self.isAboutList(fault, context) else { return false }
        // What the operator trusts is no part of the path (RFC 5280 §6.1): neither its issuer's list nor its own judges it.
        let length = shim_sk_X509_num(X509_STORE_CTX_get0_chain(context))
        if X509_STORE_CTX_get_error_depth(context) == length - 1 { return true }
        return fault == X509_V_ERR_CRL_HAS_EXPIRED && self.acceptsExpiredLists  // OpenSSL goes on to look into the list
    }

    /// Whether a fault was found where a certificate is looked up in a list, which is done once the chain has led to an authority
    /// that is trusted.
    private static func isAboutList(_ fault: Int32, _ context: OpaquePointer) -> Bool {
        switch fault {
        case X509_V_ERR_CERT_REVOKED, X509_V_ERR_UNABLE_TO_GET_CRL, X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER,
            X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID, X509_V_ERR_CRL_SIGNATURE_FAILURE,
            X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE, X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD,
            X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD, X509_V_ERR_KEYUSAGE_NO_CRL_SIGN,
            X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION, X509_V_ERR_DIFFERENT_CRL_SCOPE,
            X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
            true
        default:
            // Of a code that certificates share, as for a wrong extension.
            X509_STORE_CTX_get0_current_crl(context) != nil
        }
    }

    /// What is wrong with a certificate that OpenSSL found good, as an X509_V_ERR.
    fileprivate func fault(of certificate: X509Certificate, depth: Int) -> Int32? {
        let role: PermittedUse.Role = self.isServer ? .client : .server
        guard depth == 0 else {
            // A root's own extensions bind nobody (RFC 5280 §6.1); one that an operator trusts may be of any use.
            let isPermitted = certificate.isSelfIssued || certificate.permittedUse.purposesPermit(role)
            return isPermitted ? nil : X509_V_ERR_INVALID_PURPOSE
        }
        guard certificate.permittedUse.permits(role) else { return X509_V_ERR_INVALID_PURPOSE }
        guard let identity = self.wantedIdentity,
            !certificate.names.prove(identity, acceptingCommonName: self.acceptsCommonName)
        else { return nil }
        self.notePresentedNames(certificate.names)
        return X509_V_ERR_HOSTNAME_MISMATCH
    }
}
