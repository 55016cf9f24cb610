internal import COpenSSL

/// The certificate revocation lists of one PEM file (RFC 5280 §5): the owner of OpenSSL's objects.
///
/// `@unchecked Sendable`: nothing writes to them after `init`; their reference counts are atomic.
final class RevocationLists: @unchecked Sendable {
    /// X509_CRL; at least one.
    let handles: [OpaquePointer]
    /// SHA-256 over the lists.
    let digest: [UInt8]
    /// The one whose next update comes first, in seconds since 1970; nil where none says when that is.
    let earliestExpiry: (issuer: String, nextUpdate: Int64)?

    /// Takes over a reference to each.
    private init(owning handles: [OpaquePointer], digest: [UInt8]) {
        self.handles = handles
        self.digest = digest
        self.earliestExpiry = handles.compactMap { handle in
            X509Certificate.seconds(X509_CRL_get0_nextUpdate(handle)).map {
                (X509Certificate.oneLine(X509_CRL_get_issuer(handle)), $0)
            }
        }.min { $0.1 < $1.1 }
    }

    deinit {
        for handle in self.handles { X509_CRL_free(handle) }
    }

    /// Whether a list of the certificate's issuer has it.
    func revoke(_ certificate: X509Certificate) -> Bool {
        self.handles.contains { X509_CRL_get0_by_cert($0, nil, certificate.handle) == 1 }
    }

    /// Reads every list of a file; blocks of other kinds are passed over.
    static func load(_ path: String) -> ParsedFile<RevocationLists> {
        ParsedFile.load(path, limitInBytes: 64 << 20) { text, _ throws(CertificateFileError) in
            try Self.read(text)
        }
    }

    private static func read(_ text: [UInt8]) throws(CertificateFileError) -> RevocationLists {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let reader = PEMReader(text) else { throw .unreadable(reason: "no memory") }
        var handles: [OpaquePointer] = []
        var digests: [UInt8] = []
        var fault: CertificateFileError?
        do throws(CertificateFileError) {
            while let block = try reader.next() {
                guard block.kind == "X509 CRL" else { continue }
                var position = block.content.baseAddress
                guard let handle = d2i_X509_CRL(nil, &position, block.content.count) else {
                    throw .malformed(block: reader.blocks, reason: reasonText(ERR_peek_error()))
                }
                handles.append(handle)
                digests += sha256(Array(block.content))
            }
        } catch {
            fault = error
        }
        let lists = RevocationLists(owning: handles, digest: sha256(digests))
        if let fault { throw fault }
        guard !handles.isEmpty else { throw .empty }
        return lists
    }
}
