internal import COpenSSL
internal import Glibc

/// Makes certificates for a demonstration on one machine: an authority that lives for the call alone, and what it signs.
///
/// The authority's key is never written, so nobody can sign with it afterwards.
public enum DevelopmentCertificates {
    private static let lifetimeInDays = 90

    /// Writes `ca.pem`, and for each domain `DOMAIN/fullchain.pem` and `DOMAIN/privkey.pem`, as `certs/make-certs.sh` does.
    ///
    /// - Parameter folder: exists; keys in it are readable by their owner alone.
    public static func make(in folder: String, domains: [String]) throws(OpenSSLError) {
        let authority = try Pair(
            subject: "Gatehouse demo CA", issuer: nil,
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"), (NID_key_usage, "critical,keyCertSign,cRLSign"),
                (NID_subject_key_identifier, "hash"),
            ])
        try write(authority.certificateText(), to: "\(folder)/ca.pem")
        for domain in domains {
            let pair = try Pair(
                subject: domain, issuer: authority,
                extensions: [
                    (NID_basic_constraints, "critical,CA:FALSE"), (NID_key_usage, "critical,digitalSignature"),
                    (NID_ext_key_usage, "serverAuth,clientAuth"), (NID_subject_key_identifier, "hash"),
                    (NID_authority_key_identifier, "keyid"),
                    (NID_subject_alt_name, "DNS:\(domain),DNS:localhost,IP:127.0.0.1,IP:::1"),
                ])
            guard mkdir("\(folder)/\(domain)", 0o700) == 0 || errno == EEXIST else {
                throw OpenSSLError(task: "make the folder \(folder)/\(domain)", reason: errorText(errno))
            }
            try write(pair.certificateText(), to: "\(folder)/\(domain)/fullchain.pem")
            try write(pair.keyText(), to: "\(folder)/\(domain)/privkey.pem")
        }
    }

    /// A key on P-256 and its certificate.
    private final class Pair {
        private let key: OpaquePointer
        private let certificate: OpaquePointer

        /// - Parameter issuer: nil: the certificate signs itself.
        init(subject: String, issuer: Pair?, extensions: [(Int32, String)]) throws(OpenSSLError) {
            self.key = try Self.makeKey()
            guard let certificate = X509_new() else {
                EVP_PKEY_free(self.key)
                throw .last("make a certificate")
            }
            self.certificate = certificate
            let name = X509_get_subject_name(certificate)
            let now = time(nil)
            let end = now + DevelopmentCertificates.lifetimeInDays * 86_400
            guard X509_set_version(certificate, 2) == 1,  // which is version 3
                Self.setSerialNumber(of: certificate),
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, subject, -1, -1, 0) == 1,
                // An hour early, for a peer whose clock is late.
                ASN1_TIME_set(X509_getm_notBefore(certificate), now - 3600) != nil,
                ASN1_TIME_set(X509_getm_notAfter(certificate), end) != nil,
                X509_set_pubkey(certificate, self.key) == 1
            else { throw .last("fill in the certificate of \(subject)") }
            try Self.sign(
                certificate, extensions, issuer: issuer?.certificate ?? certificate, key: issuer?.key ?? self.key)
        }

        deinit {
            X509_free(self.certificate)
            EVP_PKEY_free(self.key)
        }

        private static func makeKey() throws(OpenSSLError) -> OpaquePointer {
            let context = EVP_PKEY_CTX_new_from_name(nil, "EC", nil)
            defer { EVP_PKEY_CTX_free(context) }
            var key: OpaquePointer?
            guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_CTX_set_group_name(context, "P-256") == 1,
                EVP_PKEY_generate(context, &key) == 1, let key
            else { throw .last("make a key") }
            return key
        }

        /// 64 random bits, the first one zero (RFC 5280 §4.1.2.2).
        private static func setSerialNumber(of certificate: OpaquePointer) -> Bool {
            ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), .random(in: 1...(.max >> 1))) == 1
        }

        private static func sign(
            _ certificate: OpaquePointer, _ extensions: [(Int32, String)], issuer: OpaquePointer, key: OpaquePointer
        ) throws(OpenSSLError) {
            guard X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 else {
                throw .last("name the issuer of a certificate")
            }
            var context = X509V3_CTX()
            X509V3_set_ctx(&context, issuer, certificate, nil, nil, 0)
            for (kind, value) in extensions {
                guard let made = X509V3_EXT_nconf_nid(nil, &context, kind, value) else {
                    throw .last("write \(value) into a certificate")
                }
                defer { X509_EXTENSION_free(made) }
                guard X509_add_ext(certificate, made, -1) == 1 else { throw .last("extend a certificate") }
            }
            guard X509_sign(certificate, key, EVP_sha256()) > 0 else { throw .last("sign a certificate") }
        }

        func certificateText() throws(OpenSSLError) -> [UInt8] {
            try DevelopmentCertificates.text("write a certificate") { PEM_write_bio_X509($0, self.certificate) }
        }

        func keyText() throws(OpenSSLError) -> [UInt8] {
            try DevelopmentCertificates.text("write a key") {
                PEM_write_bio_PrivateKey($0, self.key, nil, nil, 0, nil, nil)
            }
        }
    }

    /// What `body` writes into a BIO.
    private static func text(_ task: String, _ body: (OpaquePointer) -> Int32) throws(OpenSSLError) -> [UInt8] {
        guard let bio = BIO_new(BIO_s_mem()) else { throw .last(task) }
        defer { BIO_free(bio) }
        guard body(bio) == 1 else { throw .last(task) }
        var text = [UInt8](repeating: 0, count: 64 << 10)
        let count = BIO_read(bio, &text, Int32(text.count))
        guard count > 0 else { throw .last(task) }
        return Array(text[..<Int(count)])
    }

    private static func write(_ text: [UInt8], to path: String) throws(OpenSSLError) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        let written = file >= 0 ? Glibc.write(file, text, text.count) : -1
        let isClosed = file >= 0 && close(file) == 0
        guard written == text.count, isClosed else {
            throw OpenSSLError(task: "write \(path)", reason: errorText(errno))
        }
    }
}
