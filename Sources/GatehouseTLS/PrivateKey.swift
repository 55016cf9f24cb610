internal import COpenSSL
internal import Glibc

/// A private key: the owner of OpenSSL's object.
///
/// `@unchecked Sendable`: nothing writes to the object after `init`, and OpenSSL signs with one key on many threads; its
/// reference count is atomic.
final class PrivateKey: @unchecked Sendable {
    let handle: OpaquePointer
    /// Whether the file lets every user of the host read it.
    let isExposed: Bool

    private init(owning handle: OpaquePointer, isExposed: Bool) {
        self.handle = handle
        self.isExposed = isExposed
    }

    deinit {
        EVP_PKEY_free(self.handle)
    }

    func matches(_ certificate: X509Certificate) -> Bool {
        defer { ERR_clear_error() }
        return X509_check_private_key(certificate.handle, self.handle) == 1
    }

    static func load(_ path: String) -> ParsedFile<PrivateKey> {
        ParsedFile.load(path, limitInBytes: 1 << 20) { text, status throws(CertificateFileError) in
            PrivateKey(owning: try Self.read(text), isExposed: status.st_mode & 0o004 != 0)
        }
    }

    /// The first private key of a PEM text.
    private static func read(_ text: [UInt8]) throws(CertificateFileError) -> OpaquePointer {
        ERR_clear_error()
        defer { ERR_clear_error() }
        guard let reader = PEMReader(text) else { throw .unreadable(reason: "no memory") }
        while let block = try reader.next() {
            guard block.kind.hasSuffix("PRIVATE KEY") else { continue }
            guard block.kind != "ENCRYPTED PRIVATE KEY", !block.isEncrypted else { throw .encrypted }
            if let key = Self.decode(block.content, block.kind) { return key }
            throw .malformed(block: reader.blocks, reason: reasonText(ERR_peek_error()))
        }
        throw .empty
    }

    /// OpenSSL's general reader tries every decoder that it has, which takes three times as long as the right one.
    private static func decode(_ der: UnsafeBufferPointer<UInt8>, _ kind: String) -> OpaquePointer? {
        let exact: (structure: String, type: String)? =
            switch kind {
            case "EC PRIVATE KEY": ("type-specific", "EC")
            case "RSA PRIVATE KEY": ("type-specific", "RSA")
            case "PRIVATE KEY" where Self.names(Self.ellipticCurveOID, der): ("PrivateKeyInfo", "EC")
            case "PRIVATE KEY" where Self.names(Self.rsaOID, der): ("PrivateKeyInfo", "RSA")
            default: nil
            }
        if let exact, let key = Self.decode(der, structure: exact.structure, type: exact.type) { return key }
        ERR_clear_error()
        return Self.decode(der, structure: nil, type: nil)
    }

    private static func decode(_ der: UnsafeBufferPointer<UInt8>, structure: String?, type: String?) -> OpaquePointer? {
        var key: OpaquePointer?
        return shim_decode_private_key(&key, structure, type, der.baseAddress, der.count) == 1 ? key : nil
    }

    private static let ellipticCurveOID: [UInt8] = [0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01]
    private static let rsaOID: [UInt8] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01]

    /// Whether the algorithm of a PrivateKeyInfo is `oid`, which stands within its first bytes (RFC 5958 §2).
    private static func names(_ oid: [UInt8], _ der: UnsafeBufferPointer<UInt8>) -> Bool {
        let head = der.prefix(32)
        return head.indices.contains { head[$0...].starts(with: oid) }
    }
}
