internal import COpenSSL

/// The authorities that a peer's certificate must lead to, and their revocation lists if those count: the owner of an
/// X509_STORE and of their names.
///
/// `@unchecked Sendable`: nothing writes to either after `init`, except that OpenSSL caches in the store, under its lock,
/// what it looks up in the system's directory.
final class TrustAnchors: @unchecked Sendable {
    let handle: OpaquePointer
    /// STACK_OF(X509_NAME), sent to a client so that it can choose its certificate; nil for the system's.
    let names: OpaquePointer?
    /// SHA-256 over the authorities' certificates and lists; empty for the system's without lists.
    let digest: [UInt8]
    /// The one that expires first; nil for the system's.
    let earliestExpiry: (subject: String, notAfter: Int64)?

    /// Those that count; nil where none does.
    let lists: RevocationLists?

    /// Empty for the system's.
    private let certificates: [X509Certificate]

    private init(
        owning handle: OpaquePointer, _ certificates: [X509Certificate], names: OpaquePointer?, digest: [UInt8],
        lists: RevocationLists?, earliest: (String, Int64)?
    ) {
        self.handle = handle
        self.lists = lists
        self.certificates = certificates
        self.names = names
        self.digest = digest
        self.earliestExpiry = earliest
    }

    deinit {
        X509_STORE_free(self.handle)
        if let names = self.names { shim_sk_X509_NAME_pop_free(names) }
    }

    static func load(_ path: String) -> ParsedFile<TrustAnchors> {
        ParsedFile.load(path, limitInBytes: 16 << 20) { text, _ throws(CertificateFileError) in
            try Self.make(try readCertificates(text, CertificatePool()))
        }
    }

    private static func make(
        _ certificates: [X509Certificate], consulting lists: RevocationLists? = nil
    ) throws(CertificateFileError) -> TrustAnchors {
        guard !certificates.isEmpty else { throw .empty }
        guard let store = X509_STORE_new() else { throw .unreadable(reason: "no memory") }
        let names = shim_sk_X509_NAME_new_null()
        let anchors = TrustAnchors(
            owning: store, certificates, names: names,
            digest: sha256(certificates.flatMap(\.digest) + (lists?.digest ?? [])), lists: lists,
            earliest: certificates.map { ($0.subject, $0.notAfter) }.min { $0.1 < $1.1 })
        // An intermediate authority in the file is trusted as it stands, without its root.
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
        for (index, certificate) in certificates.enumerated() {
            guard X509_STORE_add_cert(store, certificate.handle) == 1,
                let name = X509_NAME_dup(X509_get_subject_name(certificate.handle))
            else { throw .malformed(block: index + 1, reason: reasonText(takeErrorCode())) }
            guard shim_sk_X509_NAME_push(names, name) > 0 else {
                X509_NAME_free(name)
                throw .unreadable(reason: "no memory")
            }
        }
        try anchors.addLists()
        return anchors
    }

    /// The authorities that the system trusts.
    ///
    /// `X509_STORE_set_default_paths` would also add OpenSSL 3's store of URIs, which reads the whole directory for each
    /// certificate of an unknown authority; a look-up by hash asks for one file.
    static func system(
        consulting lists: RevocationLists? = nil
    ) -> Result<TrustAnchors, CertificateFileError> {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let store = X509_STORE_new() else { return .failure(.unreadable(reason: "no memory")) }
        let anchors = TrustAnchors(
            owning: store, [], names: nil, digest: lists?.digest ?? [], lists: lists, earliest: nil)
        guard let directory = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir()),
            X509_LOOKUP_ctrl(directory, X509_L_ADD_DIR, nil, Int(X509_FILETYPE_DEFAULT), nil) == 1,
            let file = X509_STORE_add_lookup(store, X509_LOOKUP_file())
        else { return .failure(.unreadable(reason: reasonText(ERR_peek_error()))) }
        // Some systems have one file beside the directory, some have not.
        _ = X509_LOOKUP_ctrl(file, X509_L_FILE_LOAD, nil, Int(X509_FILETYPE_DEFAULT), nil)
        do throws(CertificateFileError) {
            try anchors.addLists()
            return .success(anchors)
        } catch {
            return .failure(error)
        }
    }

    /// The same authorities, but a certificate that one of the lists has, or that none speaks of, is refused (RFC 5280 §6.3).
    ///
    /// They have a store of their own, whose flags hold for all that verify with it.
    func consulting(_ lists: RevocationLists) -> Result<TrustAnchors, CertificateFileError> {
        guard self.names != nil else { return Self.system(consulting: lists) }
        do throws(CertificateFileError) {
            return .success(try Self.make(self.certificates, consulting: lists))
        } catch {
            return .failure(error)
        }
    }

    /// The subjects of those that a list of their issuer's has; none of the system's.
    func revoked(by lists: RevocationLists) -> [String] {
        self.certificates.filter { !$0.isSelfIssued && lists.revoke($0) }.map(\.subject)
    }

    /// SHA-256 over all that a peer's certificate is judged by: after a reload that changed it, what was verified before counts
    /// no more for new requests.
    func trust(acceptingExpiredLists: Bool, acceptingCommonName: Bool = false) -> [UInt8] {
        sha256(self.digest + [acceptingExpiredLists ? 1 : 0, acceptingCommonName ? 1 : 0])
    }

    private func addLists() throws(CertificateFileError) {
        guard let lists = self.lists else { return }
        for (index, list) in lists.handles.enumerated() where X509_STORE_add_crl(self.handle, list) != 1 {
            throw .malformed(block: index + 1, reason: reasonText(takeErrorCode()))
        }
        X509_STORE_set_flags(self.handle, UInt(X509_V_FLAG_CRL_CHECK) | UInt(X509_V_FLAG_CRL_CHECK_ALL))
    }
}

/// SHA-256 of bytes.
func sha256(_ bytes: [UInt8]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Int(SHA256_DIGEST_LENGTH)) { digest, count in
        guard SHA256(bytes, bytes.count, digest.baseAddress) != nil else { return }
        count = Int(SHA256_DIGEST_LENGTH)
    }
}
