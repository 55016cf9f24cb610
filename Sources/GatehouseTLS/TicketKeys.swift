internal import COpenSSL
internal import Synchronization

/// The keys of session tickets: random, in memory alone, and replaced every twelve hours; tickets of the key before are read
/// once more.
final class TicketKeys: Sendable {
    static let lifetimeInSeconds: Int64 = 12 * 3600

    private struct Key {
        var name: [UInt8]
        var cipher: [UInt8]
        var mac: [UInt8]
        var made: Int64

        init(now: Int64) throws(OpenSSLError) {
            var random = [UInt8](repeating: 0, count: 80)
            guard RAND_priv_bytes(&random, Int32(random.count)) == 1 else { throw .last("make a ticket key") }
            self.name = Array(random[..<16])
            self.cipher = Array(random[16..<48])
            self.mac = Array(random[48...])
            self.made = now
        }
    }

    private struct Keys {
        var current: Key
        var previous: Key?
    }

    private let keys: Mutex<Keys>
    private let cipher: FetchedCipher

    init() throws(OpenSSLError) {
        self.keys = Mutex(Keys(current: try Key(now: CivilDate.now)))
        self.cipher = try FetchedCipher("AES-256-CBC")
    }

    /// Replaces the key, as twelve hours do.
    func rotate() throws(OpenSSLError) {
        let next = try Key(now: CivilDate.now)
        self.keys.withLock { $0 = Keys(current: next, previous: $0.current) }
    }

    /// The answer to OpenSSL's ticket callback: sets up the contexts to write a ticket, or to read the one named.
    ///
    /// - Returns: 1: done · 2: done, and a fresh ticket is wanted · 0: an unknown ticket, so a full handshake · -1: failed.
    func prepare(
        name: UnsafeMutablePointer<UInt8>, iv: UnsafeMutablePointer<UInt8>, cipherContext: OpaquePointer,
        macContext: OpaquePointer, isNew: Bool
    ) -> Int32 {
        guard isNew else {
            let presented = UnsafeBufferPointer(start: name, count: 16)
            let keys = self.keys.withLock { $0 }
            let key = [keys.current, keys.previous].compactMap { $0 }.first { $0.name.elementsEqual(presented) }
            guard let key else { return 0 }
            guard EVP_DecryptInit_ex2(cipherContext, self.cipher.handle, key.cipher, iv, nil) == 1,
                shim_EVP_MAC_init_HMAC_SHA256(macContext, key.mac, key.mac.count) == 1
            else { return -1 }
            return 2
        }
        guard let key = self.currentKey(), RAND_bytes(iv, 16) == 1 else { return -1 }
        for index in 0..<16 { name[index] = key.name[index] }
        guard EVP_EncryptInit_ex2(cipherContext, self.cipher.handle, key.cipher, iv, nil) == 1,
            shim_EVP_MAC_init_HMAC_SHA256(macContext, key.mac, key.mac.count) == 1
        else { return -1 }
        return 1
    }

    private func currentKey() -> Key? {
        let now = CivilDate.now
        return self.keys.withLock { keys in
            if now - keys.current.made >= Self.lifetimeInSeconds, let next = try? Key(now: now) {
                // A key that no ticket was written under for a whole lifetime goes too.
                let isRecent = now - keys.current.made < 2 * Self.lifetimeInSeconds
                keys = Keys(current: next, previous: isRecent ? keys.current : nil)
            }
            return keys.current
        }
    }
}

/// The owner of an EVP_CIPHER.
///
/// `@unchecked Sendable`: OpenSSL never writes to an algorithm that it has fetched.
final class FetchedCipher: @unchecked Sendable {
    let handle: OpaquePointer

    init(_ name: String) throws(OpenSSLError) {
        ERR_clear_error()
        guard let handle = EVP_CIPHER_fetch(nil, name, nil) else { throw .last(name) }
        self.handle = handle
    }

    deinit {
        EVP_CIPHER_free(self.handle)
    }
}
