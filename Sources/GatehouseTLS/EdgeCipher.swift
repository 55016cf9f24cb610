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
    /// - Returns: 16 bytes more than `plaintext`.
    public func seal(_ plaintext: [UInt8]) -> [UInt8] {
        self.current.siv.seal(plaintext)
    }

    /// Decrypts what ``seal(_:)`` made, under the current or the previous key.
    ///
    /// - Returns: the plaintext; nil where the bytes were not sealed by us, or were altered.
    public func open(_ sealed: [UInt8], _ range: Range<Int>) -> [UInt8]? {
        guard range.lowerBound >= 0, range.upperBound <= sealed.count, range.count >= Self.overheadInBytes else {
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
    /// AES-SIV without associated data (RFC 5297 §2), out of OpenSSL's CMAC and CTR, whose keys are scheduled once: 0.3 µs.
    ///
    /// OpenSSL's own AES-SIV takes a new key schedule for each message, and so 2.7 µs.
    final class SIV {
        private let cmac: OpaquePointer
        private let ctr: OpaquePointer
        /// D of RFC 5297 §2.4 after no associated data: the CMAC of a zero block.
        private var d = [UInt8](repeating: 0, count: 16)
        /// dbl(D), for a plaintext shorter than a block.
        private var doubled = [UInt8](repeating: 0, count: 16)

        init(key: [UInt8]) throws(OpenSSLError) {
            precondition(key.count == 32, "two AES-128 keys")
            ERR_clear_error()
            guard let algorithm = EVP_MAC_fetch(nil, "CMAC", nil) else { throw .last("CMAC") }
            defer { EVP_MAC_free(algorithm) }
            guard let cipher = EVP_CIPHER_fetch(nil, "AES-128-CTR", nil) else { throw .last("AES-128-CTR") }
            defer { EVP_CIPHER_free(cipher) }
            guard let cmac = EVP_MAC_CTX_new(algorithm) else { throw .last("CMAC") }
            guard let ctr = EVP_CIPHER_CTX_new() else {
                EVP_MAC_CTX_free(cmac)
                throw .last("AES-128-CTR")
            }
            self.cmac = cmac
            self.ctr = ctr
            guard shim_EVP_MAC_init_CMAC_AES128(cmac, key) == 1 else { throw .last("CMAC") }
            let isKeyed = key.withUnsafeBufferPointer { key in
                EVP_EncryptInit_ex2(ctr, cipher, key.baseAddress.map { $0 + 16 }, nil, nil)
            }
            guard isKeyed == 1 else { throw .last("AES-128-CTR") }
            let zero = [UInt8](repeating: 0, count: 16)
            zero.withUnsafeBufferPointer { zero in
                self.d.withUnsafeMutableBufferPointer { self.authenticate(zero, zero, into: $0) }
            }
            for index in 0..<16 {
                self.doubled[index] = self.d[index] << 1 | (index < 15 ? self.d[index + 1] >> 7 : 0)
            }
            if self.d[0] & 0x80 != 0 { self.doubled[15] ^= 0x87 }
        }

        deinit {
            EVP_MAC_CTX_free(self.cmac)
            EVP_CIPHER_CTX_free(self.ctr)
        }

        /// The CMAC of `text` with the last block exclusive-ored with `mask`; at least one block.
        private func authenticate(
            _ text: UnsafeBufferPointer<UInt8>, _ mask: UnsafeBufferPointer<UInt8>,
            into code: UnsafeMutableBufferPointer<UInt8>
        ) {
            let head = text.count - 16
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { last in
                for index in 0..<16 { last[index] = text[head + index] ^ mask[index] }
                var length = 0
                let isMade =
                    EVP_MAC_init(self.cmac, nil, 0, nil) == 1
                    && EVP_MAC_update(self.cmac, text.baseAddress, head) == 1
                    && EVP_MAC_update(self.cmac, last.baseAddress, 16) == 1
                    && EVP_MAC_final(self.cmac, code.baseAddress, &length, 16) == 1
                precondition(isMade && length == 16, "CMAC takes any content")
            }
        }

        /// V of RFC 5297 §2.4.
        private func s2v(_ plaintext: UnsafeBufferPointer<UInt8>, into code: UnsafeMutableBufferPointer<UInt8>) {
            guard plaintext.count < 16 else {
                return self.d.withUnsafeBufferPointer { self.authenticate(plaintext, $0, into: code) }
            }
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { padded in
                padded.initialize(repeating: 0)
                for index in plaintext.indices { padded[index] = plaintext[index] }
                padded[plaintext.count] = 0x80
                self.doubled.withUnsafeBufferPointer {
                    self.authenticate(UnsafeBufferPointer(padded), $0, into: code)
                }
            }
        }

        /// Encrypts, or decrypts, with the counter that `code` gives (§2.5).
        private func crypt(
            _ source: UnsafeBufferPointer<UInt8>, _ code: UnsafeBufferPointer<UInt8>,
            into target: UnsafeMutableBufferPointer<UInt8>
        ) {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { counter in
                for index in 0..<16 { counter[index] = code[index] }
                counter[8] &= 0x7F
                counter[12] &= 0x7F
                var length: Int32 = 0
                let isDone =
                    EVP_EncryptInit_ex2(self.ctr, nil, nil, counter.baseAddress, nil) == 1
                    && EVP_EncryptUpdate(
                        self.ctr, target.baseAddress, &length, source.baseAddress, Int32(source.count)) == 1
                precondition(isDone && Int(length) == source.count, "CTR takes any content")
            }
        }

        func seal(_ plaintext: [UInt8]) -> [UInt8] {
            [UInt8](unsafeUninitializedCapacity: plaintext.count + 16) { sealed, count in
                plaintext.withUnsafeBufferPointer { plaintext in
                    let code = UnsafeMutableBufferPointer(rebasing: sealed[..<16])
                    let text = UnsafeMutableBufferPointer(rebasing: sealed[16..<16 + plaintext.count])
                    self.s2v(plaintext, into: code)
                    self.crypt(plaintext, UnsafeBufferPointer(code), into: text)
                }
                count = plaintext.count + 16
            }
        }

        /// - Parameter range: at least 16 bytes.
        func open(_ sealed: [UInt8], _ range: Range<Int>) -> [UInt8]? {
            var isGood = false
            let plaintext = [UInt8](unsafeUninitializedCapacity: range.count - 16) { plaintext, count in
                sealed.withUnsafeBufferPointer { sealed in
                    let code = UnsafeBufferPointer(rebasing: sealed[range.prefix(16)])
                    let text = UnsafeMutableBufferPointer(rebasing: plaintext[..<(range.count - 16)])
                    self.crypt(UnsafeBufferPointer(rebasing: sealed[range.dropFirst(16)]), code, into: text)
                    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16) { expected in
                        self.s2v(UnsafeBufferPointer(text), into: expected)
                        isGood = CRYPTO_memcmp(expected.baseAddress, code.baseAddress, 16) == 0
                    }
                }
                count = isGood ? range.count - 16 : 0
            }
            return isGood ? plaintext : nil
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
            guard shim_EVP_MAC_init_HMAC_SHA256(context, key, key.count) == 1 else { throw .last("HMAC") }
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
