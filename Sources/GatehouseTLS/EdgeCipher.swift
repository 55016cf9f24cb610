internal import COpenSSL

/// Seals the tokens and signs the tags of an edge under its ``EdgeSecret``.
///
/// One worker's: not Sendable. It keeps its OpenSSL contexts, so that a call neither fetches an algorithm nor schedules
/// a key. A token that it seals is deterministic authenticated encryption (AES-SIV, RFC 5297, 128-bit keys): equal
/// plaintexts give equal tokens, which needs no nonce and lets two edges with one secret write the same URI.
public final class EdgeCipher {
    /// How much longer a sealed token is than its plaintext.
    public static let overheadInBytes = 16
    public static let macLengthInBytes = 16

    private let current: KeySet
    private let previous: KeySet?

    private struct KeySet {
        let siv: SIV
        let mac: MessageCode

        init(_ secret: [UInt8]) throws(OpenSSLError) {
            let root = try MessageCode(key: secret)
            self.siv = try SIV(key: root.full(of: Array("gatehouse token key 1".utf8)))
            self.mac = try MessageCode(key: root.full(of: Array("gatehouse tag key 1".utf8)))
        }
    }

    /// - Throws: where this OpenSSL lacks AES-SIV or HMAC.
    public init(_ secret: EdgeSecret) throws(OpenSSLError) {
        self.current = try KeySet(secret.current)
        if let previous = secret.previous { self.previous = try KeySet(previous) } else { self.previous = nil }
    }

    /// Encrypts and authenticates under the current key.
    ///
    /// - Parameter plaintext: at least one byte.
    /// - Returns: 16 bytes more than `plaintext`.
    public func seal(_ plaintext: [UInt8]) -> [UInt8] {
        precondition(!plaintext.isEmpty, "a token has content")
        return self.current.siv.seal(plaintext)
    }

    /// Decrypts what ``seal(_:)`` made, under the current or the previous key.
    ///
    /// - Returns: the plaintext; nil where the bytes were not sealed by us, or were altered.
    public func open(_ sealed: [UInt8], _ range: Range<Int>) -> [UInt8]? {
        guard range.lowerBound >= 0, range.upperBound <= sealed.count, range.count > Self.overheadInBytes else {
            return nil
        }
        if let plaintext = self.current.siv.open(sealed, range) { return plaintext }
        return self.previous?.siv.open(sealed, range)
    }

    /// HMAC-SHA-256 under the current key, its first 16 bytes.
    public func mac(_ bytes: [UInt8]) -> [UInt8] {
        self.current.mac.truncated(of: bytes, to: Self.macLengthInBytes)
    }

    /// Whether `mac` is that of `bytes` under the current or the previous key; takes the same time either way.
    public func verifies(mac: [UInt8], of bytes: [UInt8]) -> Bool {
        guard mac.count == Self.macLengthInBytes else { return false }
        let isCurrent = CRYPTO_memcmp(mac, self.mac(bytes), mac.count) == 0
        guard let previous = self.previous else { return isCurrent }
        let code = previous.mac.truncated(of: bytes, to: mac.count)
        return (CRYPTO_memcmp(mac, code, mac.count) == 0) || isCurrent
    }
}

extension EdgeCipher {
    /// AES-SIV without associated data, its key scheduled once.
    ///
    /// OpenSSL lets a context do one operation a key (2.7 µs with the new key schedule), unless it is told that its speed
    /// is measured: then the same context goes on, at 0.5 µs. It holds nothing from one call to the next, since the state
    /// of S2V without associated data is a constant of the key.
    fileprivate final class SIV {
        private let encryption: OpaquePointer
        private let decryption: OpaquePointer

        init(key: [UInt8]) throws(OpenSSLError) {
            ERR_clear_error()
            guard let cipher = EVP_CIPHER_fetch(nil, "AES-128-SIV", nil) else { throw .last("AES-128-SIV") }
            defer { EVP_CIPHER_free(cipher) }
            guard let encryption = EVP_CIPHER_CTX_new() else { throw .last("AES-128-SIV") }
            guard let decryption = EVP_CIPHER_CTX_new() else {
                EVP_CIPHER_CTX_free(encryption)
                throw .last("AES-128-SIV")
            }
            self.encryption = encryption
            self.decryption = decryption
            guard key.count == 32, EVP_EncryptInit_ex2(encryption, cipher, key, nil, nil) == 1,
                EVP_DecryptInit_ex2(decryption, cipher, key, nil, nil) == 1
            else { throw .last("AES-128-SIV") }
        }

        deinit {
            EVP_CIPHER_CTX_free(self.encryption)
            EVP_CIPHER_CTX_free(self.decryption)
        }

        /// Lets the context do more operations under its key.
        private static func rearm(_ context: OpaquePointer) {
            var speed: UInt32 = 1
            var parameters = (OSSL_PARAM_construct_uint(OSSL_CIPHER_PARAM_SPEED, &speed), OSSL_PARAM_construct_end())
            let isSet = withUnsafePointer(to: &parameters) {
                $0.withMemoryRebound(to: OSSL_PARAM.self, capacity: 2) { EVP_CIPHER_CTX_set_params(context, $0) }
            }
            precondition(isSet == 1, "AES-SIV knows its speed parameter")
        }

        func seal(_ plaintext: [UInt8]) -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: plaintext.count + 16) { sealed, count in
                guard let start = sealed.baseAddress else { return }
                var length: Int32 = 0
                Self.rearm(self.encryption)
                let isSealed =
                    EVP_EncryptUpdate(self.encryption, start + 16, &length, plaintext, Int32(plaintext.count)) == 1
                    && EVP_CIPHER_CTX_ctrl(self.encryption, EVP_CTRL_AEAD_GET_TAG, 16, start) == 1
                precondition(isSealed && Int(length) == plaintext.count, "AES-SIV seals any content")
                count = plaintext.count + 16
            }
        }

        func open(_ sealed: [UInt8], _ range: Range<Int>) -> [UInt8]? {
            let size = range.count - 16
            let plaintext = [UInt8](unsafeUninitializedCapacity: size) { plaintext, count in
                sealed.withUnsafeBufferPointer { sealed in
                    guard let source = sealed.baseAddress.map({ $0 + range.lowerBound }) else { return }
                    var length: Int32 = 0
                    Self.rearm(self.decryption)
                    let tag = UnsafeMutableRawPointer(mutating: source)  // which OpenSSL only reads
                    guard EVP_CIPHER_CTX_ctrl(self.decryption, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1,
                        EVP_DecryptUpdate(self.decryption, plaintext.baseAddress, &length, source + 16, Int32(size))
                            == 1
                    else { return }
                    count = size
                }
            }
            return plaintext.count == size ? plaintext : nil
        }
    }

    /// HMAC-SHA-256 with its key set once.
    fileprivate final class MessageCode {
        private let context: OpaquePointer

        init(key: [UInt8]) throws(OpenSSLError) {
            ERR_clear_error()
            guard let algorithm = EVP_MAC_fetch(nil, "HMAC", nil) else { throw .last("HMAC") }
            defer { EVP_MAC_free(algorithm) }
            guard let context = EVP_MAC_CTX_new(algorithm) else { throw .last("HMAC") }
            self.context = context
            var digest = Array("SHA256".utf8CString)
            let isSet = digest.withUnsafeMutableBufferPointer { digest in
                var parameters = (
                    OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.baseAddress, 0),
                    OSSL_PARAM_construct_end()
                )
                return withUnsafePointer(to: &parameters) {
                    $0.withMemoryRebound(to: OSSL_PARAM.self, capacity: 2) {
                        EVP_MAC_init(context, key, key.count, $0)
                    }
                }
            }
            guard isSet == 1 else { throw .last("HMAC") }
        }

        deinit {
            EVP_MAC_CTX_free(self.context)
        }

        func full(of bytes: [UInt8]) -> [UInt8] { self.truncated(of: bytes, to: 32) }

        func truncated(of bytes: [UInt8], to length: Int) -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: 32) { code, count in
                var size = 0
                let isMade =
                    EVP_MAC_init(self.context, nil, 0, nil) == 1
                    && EVP_MAC_update(self.context, bytes, bytes.count) == 1
                    && EVP_MAC_final(self.context, code.baseAddress, &size, 32) == 1
                precondition(isMade && size == 32, "HMAC-SHA-256 takes any content")
                count = length
            }
        }
    }
}
