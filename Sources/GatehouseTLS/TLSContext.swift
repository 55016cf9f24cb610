internal import COpenSSL

/// An SSL_CTX with what holds for every connection of ours, at either end: the owner of OpenSSL's object.
///
/// `@unchecked Sendable`: it is set up before it is shared; OpenSSL counts its references atomically and locks what it
/// writes to later.
final class TLSContext: @unchecked Sendable {
    let handle: OpaquePointer
    /// Suites by their two-byte number, so that connections share one string.
    private let cipherNames: [UInt16: String]

    /// TLS 1.2: ephemeral key exchange alone (RFC 9325 §4.1), authenticated encryption first, the cheapest on top.
    private static let ciphers = [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA",
    ].joined(separator: ":")
    private static let cipherSuites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

    init(method: OpaquePointer?) throws(OpenSSLError) {
        ERR_clear_error()
        guard let handle = SSL_CTX_new(method) else { throw .last("make a context") }
        self.handle = handle
        var names: [UInt16: String] = [:]
        let isSet =
            shim_SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION) == 1
            && shim_SSL_CTX_set_max_proto_version(handle, TLS1_3_VERSION) == 1
            && SSL_CTX_set_ciphersuites(handle, Self.cipherSuites) == 1
            && SSL_CTX_set_cipher_list(handle, Self.ciphers) == 1
            // X448 and P-521 would let a peer choose the dearest key exchange.
            && shim_SSL_CTX_set1_groups_list(handle, "X25519:P-256:P-384") == 1
            // The purpose is ours to judge (CERT-07): OpenSSL knows no id-kp-sipDomain.
            && SSL_CTX_set_purpose(handle, X509_PURPOSE_ANY) == 1
        let all = SSL_CTX_get_ciphers(handle)
        for index in 0..<max(0, shim_sk_SSL_CIPHER_num(all)) {
            guard let cipher = shim_sk_SSL_CIPHER_value(all, index), let name = SSL_CIPHER_standard_name(cipher) else {
                continue
            }
            names[SSL_CIPHER_get_protocol_id(cipher)] = String(cString: name)
        }
        self.cipherNames = names
        guard isSet else { throw .last("set up a context") }
        SSL_CTX_set_security_level(handle, 2)
        SSL_CTX_set_options(
            handle,
            shim_SSL_OP_NO_COMPRESSION | shim_SSL_OP_NO_RENEGOTIATION | shim_SSL_OP_CIPHER_SERVER_PREFERENCE
                | shim_SSL_OP_PRIORITIZE_CHACHA)
        // An idle connection gives its record buffers back; writes are ours to repeat from elsewhere.
        _ = shim_SSL_CTX_set_mode(
            handle,
            Int(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
                | Int(SSL_MODE_NO_AUTO_CHAIN))
        shim_SSL_CTX_set_read_ahead(handle, 1)
        _ = shim_SSL_CTX_set_session_cache_mode(handle, Int(SSL_SESS_CACHE_OFF))
        shim_SSL_CTX_set_max_cert_list(handle, 32 << 10)
        SSL_CTX_set_verify_depth(handle, 8)
    }

    deinit {
        SSL_CTX_free(self.handle)
    }

    func name(of cipher: OpaquePointer?) -> String {
        guard let cipher else { return "none" }
        if let name = self.cipherNames[SSL_CIPHER_get_protocol_id(cipher)] { return name }
        return SSL_CIPHER_standard_name(cipher).map { String(cString: $0) } ?? "unknown"
    }
}

/// A connection that leads nowhere, on which settings are tried before a client comes.
final class ProbeConnection {
    /// A cipher of TLS 1.2 or older.
    struct Cipher {
        var name: String
        /// Whether anyone can read or forge what it protects.
        var isUnsafe: Bool
        /// Whether a session stays secret when the domain's key becomes known later.
        var isForwardSecret: Bool
    }

    private static let context = try? TLSContext(method: TLS_server_method())

    let handle: OpaquePointer

    /// nil where OpenSSL has no memory.
    init?() {
        ERR_clear_error()
        guard let context = Self.context, let handle = SSL_new(context.handle) else { return nil }
        self.handle = handle
    }

    deinit {
        SSL_free(self.handle)
    }

    /// What a list in OpenSSL's notation chooses; empty where it chooses nothing.
    func ciphers(of list: String) -> [Cipher] {
        ERR_clear_error()
        guard SSL_set_cipher_list(self.handle, list) == 1 else { return [] }
        let all = SSL_get_ciphers(self.handle)
        return (0..<max(0, shim_sk_SSL_CIPHER_num(all))).compactMap { index in
            guard let cipher = shim_sk_SSL_CIPHER_value(all, index), let name = SSL_CIPHER_get_name(cipher),
                SSL_CIPHER_get_version(cipher).map({ String(cString: $0) }) != "TLSv1.3"
            else { return nil }
            let exchange = SSL_CIPHER_get_kx_nid(cipher)
            return Cipher(
                name: String(cString: name),
                isUnsafe: SSL_CIPHER_get_bits(cipher, nil) < 128 || SSL_CIPHER_get_auth_nid(cipher) == NID_auth_null,
                isForwardSecret: exchange == NID_kx_ecdhe || exchange == NID_kx_dhe)
        }
    }
}
