internal import COpenSSL
public import GatehousePolicy
internal import Glibc
internal import TestSupport

/// Certificates made as a test runs: good ones, and every kind of bad one. They lie in a directory that goes with this object.
public final class TestPKI {
    public struct Failure: Error, CustomStringConvertible {
        public var description: String
    }

    public enum KeyType: Sendable {
        case p256
        case rsa(bits: Int)
    }

    public enum Digest: Sendable { case sha256, sha1 }

    /// What to put into a certificate.
    public struct Request: Sendable {
        public var commonName: String?
        public var dnsNames: [String] = []
        public var uris: [String] = []
        /// Textual, as OpenSSL's configuration writes it.
        public var addresses: [String] = []
        public var key: KeyType = .p256
        public var digest: Digest = .sha256
        /// Seconds from now.
        public var notBefore = -3600
        /// Seconds from now.
        public var notAfter = 90 * 86_400
        /// As OpenSSL's configuration writes it: "serverAuth,clientAuth", an OID; nil: no such extension.
        public var extendedKeyUsage: String?
        /// "digitalSignature,keyEncipherment"; nil: no such extension.
        public var keyUsage: String?
        public var isAuthority = false
        /// "permitted;DNS:example"
        public var nameConstraints: String?

        /// - Parameter names: DNS names.
        public init(_ names: String..., commonName: String? = nil) {
            self.dnsNames = names
            self.commonName = commonName
        }
    }

    /// A certificate with its key, and with what issued it.
    public final class Holder {
        fileprivate let certificate: OpaquePointer
        fileprivate let key: OpaquePointer
        fileprivate let issuer: Holder?

        fileprivate init(certificate: OpaquePointer, key: OpaquePointer, issuer: Holder?) {
            self.certificate = certificate
            self.key = key
            self.issuer = issuer
        }

        deinit {
            X509_free(self.certificate)
            EVP_PKEY_free(self.key)
        }
    }

    private let folder = TemporaryFolder(for: "pki")
    /// Without a trailing slash.
    public var directory: String { self.folder.path }
    /// A root that signs everything that names no other issuer.
    public let root: Holder

    public init() throws {
        self.root = try Self.make(Self.authorityRequest("Test Root"), issuer: nil)
    }

    /// A self-signed root.
    public func authority(_ name: String) throws -> Holder {
        try Self.make(Self.authorityRequest(name), issuer: nil)
    }

    /// - Parameter issuer: nil: the root.
    public func intermediate(_ name: String, issuer: Holder? = nil) throws -> Holder {
        try Self.make(Self.authorityRequest(name), issuer: issuer ?? self.root)
    }

    /// - Parameter issuer: nil: the root.
    public func issue(_ request: Request, issuer: Holder? = nil) throws -> Holder {
        try Self.make(request, issuer: issuer ?? self.root)
    }

    public func selfSigned(_ request: Request) throws -> Holder {
        try Self.make(request, issuer: nil)
    }

    /// Issues a certificate and writes it with its key; a chain goes up to, and not including, the root.
    public func pair(_ file: String, _ request: Request, issuer: Holder? = nil) throws -> CertificatePair {
        try self.write(file, self.issue(request, issuer: issuer))
    }

    /// Writes `FILE.pem` (the chain, leaf first) and `FILE.key`.
    public func write(_ file: String, _ holder: Holder) throws -> CertificatePair {
        var chain: [Holder] = [holder]
        while let issuer = chain.last?.issuer, issuer.issuer != nil { chain.append(issuer) }
        return CertificatePair(
            certificate: try self.write("\(file).pem", certificates: chain),
            privateKey: try self.write("\(file).key", key: holder))
    }

    /// Writes a PEM file of certificates in that order.
    /// - Returns: its path.
    @discardableResult
    public func write(_ file: String, certificates: [Holder]) throws -> String {
        try self.write(file) { bio in certificates.allSatisfy { PEM_write_bio_X509(bio, $0.certificate) == 1 } }
    }

    /// Writes an authority's revocation list, valid from `lastUpdate` to `nextUpdate`, in seconds from now; several make one
    /// file of them.
    /// - Parameter namesKey: whether each names its issuer's key (RFC 5280 §5.2.1), as those of authorities do.
    /// - Returns: its path.
    @discardableResult
    public func write(
        _ file: String, revoking revoked: [Holder], issuers: [Holder]? = nil, lastUpdate: Int = -3600,
        nextUpdate: Int = 86_400, namesKey: Bool = false
    ) throws -> String {
        try self.write(
            file,
            lists: (issuers ?? [self.root]).map {
                RevocationList(
                    $0, revoking: revoked, lastUpdate: lastUpdate, nextUpdate: nextUpdate, namesKey: namesKey)
            })
    }

    /// What to put into a revocation list; times are seconds from now.
    public struct RevocationList {
        public var issuer: Holder
        public var revoked: [Holder]
        public var lastUpdate: Int
        public var nextUpdate: Int
        public var namesKey: Bool

        public init(
            _ issuer: Holder, revoking revoked: [Holder] = [], lastUpdate: Int = -3600, nextUpdate: Int = 86_400,
            namesKey: Bool = true
        ) {
            self.issuer = issuer
            self.revoked = revoked
            self.lastUpdate = lastUpdate
            self.nextUpdate = nextUpdate
            self.namesKey = namesKey
        }
    }

    /// Writes a PEM file of revocation lists in that order.
    /// - Returns: its path.
    @discardableResult
    public func write(_ file: String, lists: [RevocationList]) throws -> String {
        let made = try lists.map(Self.make)
        defer { for list in made { X509_CRL_free(list) } }
        return try self.write(file) { bio in made.allSatisfy { PEM_write_bio_X509_CRL(bio, $0) == 1 } }
    }

    private static func make(_ request: RevocationList) throws -> OpaquePointer {
        let issuer = request.issuer
        guard let list = X509_CRL_new() else { throw Failure(description: "X509_CRL_new failed") }
        X509_CRL_set_version(list, 1)
        X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer.certificate))
        let time = X509_gmtime_adj(nil, request.lastUpdate)
        defer { ASN1_STRING_free(time) }
        X509_CRL_set1_lastUpdate(list, time)
        for holder in request.revoked {
            let entry = X509_REVOKED_new()
            X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(holder.certificate))
            X509_REVOKED_set_revocationDate(entry, time)
            try self.check(X509_CRL_add0_revoked(list, entry) == 1, "X509_CRL_add0_revoked")
        }
        X509_gmtime_adj(time, request.nextUpdate)
        X509_CRL_set1_nextUpdate(list, time)
        if request.namesKey {
            var context = X509V3_CTX()
            X509V3_set_ctx(&context, issuer.certificate, nil, nil, list, 0)
            let identifier = X509V3_EXT_conf_nid(nil, &context, NID_authority_key_identifier, "keyid:always")
            defer { X509_EXTENSION_free(identifier) }
            try self.check(X509_CRL_add_ext(list, identifier, -1) == 1, "X509_CRL_add_ext")
        }
        X509_CRL_sort(list)
        try self.check(X509_CRL_sign(list, issuer.key, EVP_sha256()) > 0, "X509_CRL_sign")
        return list
    }

    public enum KeyFormat: Sendable { case pkcs8, traditional, encrypted }

    /// Writes a private key, readable by its owner alone.
    /// - Returns: its path.
    @discardableResult
    public func write(_ file: String, key holder: Holder, as format: KeyFormat = .pkcs8) throws -> String {
        let path = try self.write(file) { bio in
            switch format {
            case .pkcs8: PEM_write_bio_PKCS8PrivateKey(bio, holder.key, nil, nil, 0, nil, nil) == 1
            case .traditional: PEM_write_bio_PrivateKey_traditional(bio, holder.key, nil, nil, 0, nil, nil) == 1
            case .encrypted:
                PEM_write_bio_PKCS8PrivateKey(bio, holder.key, EVP_aes_128_cbc(), "secret", 6, nil, nil) == 1
            }
        }
        chmod(path, 0o600)
        return path
    }

    /// Writes any text.
    /// - Returns: its path.
    @discardableResult
    public func write(_ file: String, text: String) throws -> String {
        try self.write(file) { bio in BIO_write(bio, text, Int32(text.utf8.count)) == Int32(text.utf8.count) }
    }

    /// The file is written aside and renamed, as tools that renew certificates do.
    private func write(_ file: String, _ body: (OpaquePointer) -> Bool) throws -> String {
        let path = "\(self.directory)/\(file)"
        guard let bio = BIO_new_file("\(path).new", "w") else { throw Failure(description: "can't write \(path)") }
        let isWritten = body(bio)
        BIO_free(bio)
        guard isWritten, rename("\(path).new", path) == 0 else { throw Failure(description: "can't write \(path)") }
        return path
    }

    // MARK: Making certificates

    private static func authorityRequest(_ name: String) -> Request {
        var request = Request(commonName: name)
        request.isAuthority = true
        request.keyUsage = "keyCertSign,cRLSign"
        request.notAfter = 3650 * 86_400
        return request
    }

    private static func check(_ isDone: Bool, _ what: String) throws {
        guard !isDone else { return }
        let reason = ERR_reason_error_string(ERR_get_error()).map { String(cString: $0) } ?? ""
        throw Failure(description: "\(what) failed: \(reason)")
    }

    private static func makeKey(_ type: KeyType) throws -> OpaquePointer {
        let context: OpaquePointer?
        switch type {
        case .p256:
            context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil)
            try self.check(EVP_PKEY_keygen_init(context) == 1, "EVP_PKEY_keygen_init")
            try self.check(EVP_PKEY_CTX_set_group_name(context, "P-256") == 1, "EVP_PKEY_CTX_set_group_name")
        case .rsa(let bits):
            context = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, nil)
            try self.check(EVP_PKEY_keygen_init(context) == 1, "EVP_PKEY_keygen_init")
            try self.check(EVP_PKEY_CTX_set_rsa_keygen_bits(context, Int32(bits)) == 1, "set_rsa_keygen_bits")
        }
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        try self.check(EVP_PKEY_generate(context, &key) == 1, "EVP_PKEY_generate")
        guard let key else { throw Failure(description: "EVP_PKEY_generate gave no key") }
        return key
    }

    private static func make(_ request: Request, issuer: Holder?) throws -> Holder {
        guard let certificate = X509_new() else { throw Failure(description: "X509_new failed") }
        let key = try self.makeKey(request.key)
        let holder = Holder(certificate: certificate, key: key, issuer: issuer)
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate), Int64.random(in: 1...Int64.max))
        X509_gmtime_adj(X509_getm_notBefore(certificate), request.notBefore)
        X509_gmtime_adj(X509_getm_notAfter(certificate), request.notAfter)
        try self.check(X509_set_pubkey(certificate, key) == 1, "X509_set_pubkey")
        let subject = X509_get_subject_name(certificate)
        if let name = request.commonName {
            let isAdded = X509_NAME_add_entry_by_txt(subject, "CN", 0x1000, name, -1, -1, 0)  // MBSTRING_UTF8
            try self.check(isAdded == 1, "X509_NAME_add_entry_by_txt")
        }
        let signer = issuer ?? holder
        X509_set_issuer_name(certificate, X509_get_subject_name(signer.certificate))
        let alternatives =
            request.dnsNames.map { "DNS:\($0)" } + request.uris.map { "URI:\($0)" }
            + request.addresses.map { "IP:\($0)" }
        if !alternatives.isEmpty {
            try self.add(NID_subject_alt_name, alternatives.joined(separator: ","), to: holder, signer)
        }
        if request.isAuthority { try self.add(NID_basic_constraints, "critical,CA:TRUE", to: holder, signer) }
        if let usage = request.keyUsage { try self.add(NID_key_usage, "critical,\(usage)", to: holder, signer) }
        if let usage = request.extendedKeyUsage { try self.add(NID_ext_key_usage, usage, to: holder, signer) }
        if let names = request.nameConstraints { try self.add(NID_name_constraints, names, to: holder, signer) }
        try self.add(NID_subject_key_identifier, "hash", to: holder, signer)
        if issuer != nil { try self.add(NID_authority_key_identifier, "keyid", to: holder, signer) }
        let digest = request.digest == .sha1 ? EVP_sha1() : EVP_sha256()
        try self.check(X509_sign(certificate, signer.key, digest) > 0, "X509_sign")
        return holder
    }

    private static func add(_ extensionID: Int32, _ value: String, to holder: Holder, _ signer: Holder) throws {
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, signer.certificate, holder.certificate, nil, nil, 0)
        guard let made = X509V3_EXT_conf_nid(nil, &context, extensionID, value) else {
            return try self.check(false, "extension \(value)")
        }
        defer { X509_EXTENSION_free(made) }
        try self.check(X509_add_ext(holder.certificate, made, -1) == 1, "X509_add_ext")
    }
}
