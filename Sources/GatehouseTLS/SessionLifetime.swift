internal import COpenSSL

// How long a session whose client showed a certificate may be resumed. A resumption verifies nothing, and a ticket holds the
// client's own certificate alone, so that it can't be verified again: the ticket says when that would be due.

/// SSL_CTX_set_session_ticket_cb's first: called as a ticket is made, also in a resumed session, whose ticket has the time already.
func noteVerifiedUntil(_ ssl: OpaquePointer?, _: UnsafeMutableRawPointer?) -> Int32 {
    guard let ssl, let chain = SSL_get0_verified_chain(ssl), let session = SSL_get_session(ssl) else { return 1 }
    guard let server = TLSEngine.of(ssl)?.serverRole, let authorities = server.domain?.clientAuthorities else {
        return 0
    }
    let certificates = (0..<max(0, shim_sk_X509_num(chain))).compactMap { index in
        shim_sk_X509_value(chain, index).map { X509Certificate(sharing: $0) }
    }
    let deadline = authorities.verdictHolds(for: certificates, from: server.context.now())
    return withUnsafeBytes(of: deadline.bigEndian) {
        SSL_SESSION_set1_ticket_appdata(session, $0.baseAddress, $0.count)
    }
}

/// SSL_CTX_set_session_ticket_cb's second: called as a ticket has been read.
func acceptTicket(
    _ ssl: OpaquePointer?, _ session: OpaquePointer?, _: UnsafePointer<UInt8>?, _: Int, _ status: SSL_TICKET_STATUS,
    _: UnsafeMutableRawPointer?
) -> SSL_TICKET_RETURN {
    guard status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW, let ssl, let session,
        let now = TLSEngine.of(ssl)?.serverRole?.context.now(), mayResume(session, now: now)
    else { return SSL_TICKET_RETURN_IGNORE_RENEW }
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW
}

/// Whether what was found of the client's certificate, if it showed one, still holds; if not, a full handshake finds anew.
func mayResume(_ session: OpaquePointer, now: Int64) -> Bool {
    guard SSL_SESSION_get0_peer(session) != nil else { return true }
    var bytes: UnsafeMutableRawPointer?
    var length = 0
    guard SSL_SESSION_get0_ticket_appdata(session, &bytes, &length) == 1, let bytes,
        length == MemoryLayout<Int64>.size
    else { return false }
    return now < Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
}

extension TrustAnchors {
    /// Until when a chain that has verified would verify again, in seconds since 1970: until the first of its certificates
    /// expires, or a list that speaks of it gives way to another.
    ///
    /// - Parameter chain: the peer's certificate first, the authority that is trusted last.
    func verdictHolds(for chain: [X509Certificate], from now: Int64) -> Int64 {
        let expiry = chain.map(\.notAfter).min() ?? now
        guard let change = self.lists?.nextChange(for: chain.dropLast(), after: now) else { return expiry }
        return min(expiry, change)
    }
}

extension RevocationLists {
    /// When the first list of an issuer of the certificates begins or ends to count; nil where that is never.
    fileprivate func nextChange(for certificates: some Sequence<X509Certificate>, after now: Int64) -> Int64? {
        let issuers = certificates.map { X509_get_issuer_name($0.handle) }
        return self.handles.lazy.filter { list in
            issuers.contains { X509_NAME_cmp($0, X509_CRL_get_issuer(list)) == 0 }
        }.flatMap { list in
            [X509_CRL_get0_lastUpdate(list), X509_CRL_get0_nextUpdate(list)].compactMap { X509Certificate.seconds($0) }
        }.filter { $0 > now }.min()
    }
}
