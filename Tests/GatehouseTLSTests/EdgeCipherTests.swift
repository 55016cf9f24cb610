import COpenSSL
import Glibc
import TestSupport
import Testing

@testable import GatehouseTLS

@Suite("EdgeCipher")
struct EdgeCipherTests {
    private let folder = TemporaryFolder(for: "secret")
    private let current = String(repeating: "0f", count: 32)
    private let other = String(repeating: "A1", count: 32)

    private func secret(_ lines: String..., mode: mode_t = 0o600) throws -> String {
        let path = "\(self.folder.path)/\(lines.hashValue)"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        try #require(descriptor >= 0)
        let text = lines.joined(separator: "\n") + "\n"
        try #require(write(descriptor, text, text.utf8.count) == text.utf8.count)
        close(descriptor)
        chmod(path, mode)
        return path
    }

    private func cipher(_ lines: String...) throws -> EdgeCipher {
        try EdgeCipher(EdgeSecret.load(path: self.secret(lines.joined(separator: "\n")), create: false))
    }

    private static func message(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) } }

    @Test("what one edge seals another with the same secret opens, at every length")
    func roundTrip() throws {
        let one = try self.cipher(self.current)
        let two = try self.cipher(self.current)
        for count in 0...200 {
            let plaintext = Self.message(count)
            let sealed = one.seal(plaintext)
            #expect(sealed.count == count + EdgeCipher.overheadInBytes)
            #expect(two.seal(plaintext) == sealed, "deterministic, whatever was sealed before")
            #expect(two.open(sealed, sealed.indices) == plaintext)
            #expect(two.open([1, 2, 3] + sealed + [4], 3..<3 + sealed.count) == plaintext)
        }
    }

    @Test("sealing is OpenSSL's AES-SIV")
    func standard() throws {
        let key = Array((0..<32 as Range<UInt8>).map { $0 &* 11 })
        let siv = try EdgeCipher.SIV(key: key)
        for count in 1...100 {
            let plaintext = Self.message(count)
            let context = EVP_CIPHER_CTX_new()
            let algorithm = EVP_CIPHER_fetch(nil, "AES-128-SIV", nil)
            defer {
                EVP_CIPHER_CTX_free(context)
                EVP_CIPHER_free(algorithm)
            }
            var code = [UInt8](repeating: 0, count: 16)
            var text = [UInt8](repeating: 0, count: count)
            var length: Int32 = 0
            try #require(EVP_EncryptInit_ex2(context, algorithm, key, nil, nil) == 1)
            try #require(EVP_EncryptUpdate(context, &text, &length, plaintext, Int32(count)) == 1)
            try #require(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, &code) == 1)
            #expect(siv.seal(plaintext) == code + text)
        }
    }

    @Test("a sealed token with any one bit changed, or cut, is forged, and the next good one still opens")
    func forged() throws {
        let cipher = try self.cipher(self.current)
        let sealed = cipher.seal(Self.message(40))
        for index in sealed.indices {
            var bad = sealed
            bad[index] ^= 1 << UInt8(index % 8)
            #expect(cipher.open(bad, bad.indices) == nil)
        }
        for end in 0..<sealed.count { #expect(cipher.open(sealed, 0..<end) == nil) }
        #expect(cipher.open(sealed, 0..<sealed.count + 1) == nil)
        #expect(cipher.open(sealed, sealed.indices) == Self.message(40))
    }

    @Test("a secret's previous key opens and verifies, and no longer seals")
    func previousKey() throws {
        let old = try self.cipher(self.other)
        let new = try self.cipher(self.current, "# replaced in spring", self.other)
        let newest = try self.cipher(self.current)
        let sealed = old.seal(Self.message(30))
        #expect(new.open(sealed, sealed.indices) == Self.message(30))
        #expect(newest.open(sealed, sealed.indices) == nil)
        #expect(new.seal(Self.message(30)) == newest.seal(Self.message(30)))
        let code = old.mac(Self.message(30))
        #expect(new.verifies(mac: code, of: Self.message(30)))
        #expect(!newest.verifies(mac: code, of: Self.message(30)))
        #expect(new.mac(Self.message(30)) == newest.mac(Self.message(30)))
    }

    @Test("a code verifies its own bytes alone, at its full length alone")
    func codes() throws {
        let cipher = try self.cipher(self.current)
        let code = cipher.mac(Self.message(50))
        #expect(code.count == EdgeCipher.macLengthInBytes)
        #expect(cipher.verifies(mac: code, of: Self.message(50)))
        #expect(!cipher.verifies(mac: code, of: Self.message(51)))
        #expect(!cipher.verifies(mac: Array(code.dropLast()), of: Self.message(50)))
        #expect(!cipher.verifies(mac: [], of: Self.message(50)))
        #expect(cipher.mac([]).count == EdgeCipher.macLengthInBytes)
    }

    @Test("the secret is made at first start, for its owner alone, and is the same at the next")
    func created() throws {
        let path = "\(self.folder.path)/state/secret"
        #expect(throws: EdgeSecretError(path: path, problem: .missing)) {
            try EdgeSecret.load(path: path, create: false)
        }
        let one = try EdgeCipher(EdgeSecret.load(path: path, create: true))
        let two = try EdgeCipher(EdgeSecret.load(path: path, create: true))
        #expect(one.seal([1, 2, 3]) == two.seal([1, 2, 3]))
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    @Test("a secret that others can read, or that is no key, is refused with its line")
    func refused() throws {
        func problem(_ path: String) -> EdgeSecretError.Problem? {
            do throws(EdgeSecretError) {
                _ = try EdgeSecret.load(path: path, create: true)
                return nil
            } catch {
                return error.problem
            }
        }
        #expect(problem(try self.secret(self.current, mode: 0o604)) == .exposed)
        #expect(problem(try self.secret(self.current, mode: 0o640)) == nil)
        #expect(problem(try self.secret("# key", String(self.current.dropLast()))) == .malformed(line: 2))
        #expect(problem(try self.secret(String(self.current.dropLast(2)) + "+1")) == .malformed(line: 1))
        #expect(problem(try self.secret("")) == .malformed(line: 1))
        #expect(problem(try self.secret(self.current, self.current, self.current)) == .malformed(line: 3))
        #expect(problem(try self.secret(String(repeating: "#", count: 5000))) == .malformed(line: 1))
        guard case .unreadable = problem(self.folder.path) else {
            Issue.record("a directory is no secret")
            return
        }
    }
}
