internal import COpenSSL
internal import GatehousePolicy
internal import Glibc
internal import Synchronization

/// What tells one version of a file from the next without reading it.
struct FileStamp: Hashable, Sendable {
    private let device: UInt64
    private let inode: UInt64
    private let size: Int64
    private let modified: [Int64]

    init(_ status: stat) {
        self.device = UInt64(status.st_dev)
        self.inode = UInt64(status.st_ino)
        self.size = Int64(status.st_size)
        // The change time too: it moves where a tool writes the old size and puts the old modification time back.
        self.modified = [
            Int64(status.st_mtim.tv_sec), Int64(status.st_mtim.tv_nsec), Int64(status.st_ctim.tv_sec),
            Int64(status.st_ctim.tv_nsec),
        ]
    }

    /// nil where there is no such file.
    init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }
}

/// Why a certificate or key file is of no use.
enum CertificateFileError: Error, Hashable, Sendable {
    case unreadable(reason: String)
    /// No PEM block of the kind looked for.
    case empty
    /// A PEM block that OpenSSL can't parse, counted from 1.
    case malformed(block: Int, reason: String)
    /// A key under a passphrase, which nobody is there to type.
    case encrypted
}

/// A certificate chain as a file has it: the leaf first, and what was read out of it once.
final class CertificateChain: Sendable {
    let certificates: [X509Certificate]
    let names: PresentedNames
    let notBefore: Int64
    let notAfter: Int64
    let fingerprint: String
    let keyKind: KeyKind
    let permittedUse: PermittedUse
    /// The intermediates as OpenSSL wants them.
    let intermediates: CertificateStack

    var leaf: X509Certificate { self.certificates[0] }

    /// nil where there is no certificate.
    init?(_ certificates: [X509Certificate]) {
        guard let leaf = certificates.first else { return nil }
        self.certificates = certificates
        self.names = leaf.names
        self.notBefore = leaf.notBefore
        self.notAfter = leaf.notAfter
        self.fingerprint = leaf.fingerprint
        self.keyKind = leaf.keyKind
        self.permittedUse = leaf.permittedUse
        self.intermediates = CertificateStack(certificates.dropFirst())
    }

    static func load(_ path: String, _ pool: CertificatePool = CertificatePool()) -> ParsedFile<CertificateChain> {
        ParsedFile.load(path, limitInBytes: 1 << 20) { text, _ throws(CertificateFileError) in
            guard let chain = CertificateChain(try readCertificates(text, pool)) else { throw .empty }
            return chain
        }
    }
}

/// The owner of a STACK_OF(X509) whose certificates others own.
///
/// `@unchecked Sendable`: nothing writes to the stack after `init`.
final class CertificateStack: @unchecked Sendable {
    let handle: OpaquePointer?
    private let certificates: ArraySlice<X509Certificate>

    init(_ certificates: ArraySlice<X509Certificate>) {
        self.certificates = certificates
        self.handle = certificates.isEmpty ? nil : shim_sk_X509_new_null()
        for certificate in certificates where self.handle != nil {
            _ = shim_sk_X509_push(self.handle, certificate.handle)
        }
    }

    deinit {
        if let handle = self.handle { shim_sk_X509_free(handle) }
    }
}

/// A file's content or why there is none, and the stamp by which a later load knows it again.
struct ParsedFile<Content: Sendable>: Sendable {
    /// nil where the file couldn't be opened.
    var stamp: FileStamp?
    var result: Result<Content, CertificateFileError>

    var content: Content? { try? self.result.get() }

    static func load(
        _ path: String, limitInBytes limit: Int,
        _ parse: (_ text: [UInt8], _ status: stat) throws(CertificateFileError) -> Content
    ) -> ParsedFile {
        var status = stat()
        var text: [UInt8]
        do throws(FileReadError) {
            text = try readFile(path, limitInBytes: limit, status: &status)
        } catch {
            switch error {
            case .failed(_, let reason): return ParsedFile(stamp: nil, result: .failure(.unreadable(reason: reason)))
            case .tooLarge:
                return ParsedFile(stamp: nil, result: .failure(.unreadable(reason: "it is over \(limit) bytes")))
            }
        }
        defer { text.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) } }
        let result: Result<Content, CertificateFileError>
        do throws(CertificateFileError) { result = .success(try parse(text, status)) } catch {
            result = .failure(error)
        }
        return ParsedFile(stamp: FileStamp(status), result: result)
    }

    /// Whether the file is still the one that was read. One that couldn't be read is always tried again.
    func isCurrent(_ path: String) -> Bool {
        guard let stamp = self.stamp else { return false }
        return FileStamp(path: path) == stamp
    }
}

/// Certificates by their encoding, so that the many chains of one authority share its certificates, and parse them once.
final class CertificatePool: Sendable {
    /// By the SHA-256 of the DER encoding.
    private let known: Mutex<[[UInt8]: X509Certificate]>

    init(_ certificates: some Sequence<X509Certificate> = []) {
        self.known = Mutex(Dictionary(certificates.map { ($0.digest, $0) }, uniquingKeysWith: { first, _ in first }))
    }

    /// nil where the bytes are no certificate; then OpenSSL's error queue says why.
    func certificate(_ der: UnsafeBufferPointer<UInt8>) -> X509Certificate? {
        let digest = sha256(Array(der))
        if let certificate = self.known.withLock({ $0[digest] }) { return certificate }
        var position = der.baseAddress
        guard let handle = d2i_X509(nil, &position, der.count) else { return nil }
        let parsed = X509Certificate(owning: handle)
        return self.known.withLock { known in
            if let certificate = known[digest] { return certificate }  // of another thread, meanwhile
            known[digest] = parsed
            return parsed
        }
    }
}

/// Reads every certificate of a PEM text; blocks of other kinds are passed over.
func readCertificates(_ text: [UInt8], _ pool: CertificatePool) throws(CertificateFileError) -> [X509Certificate] {
    ERR_clear_error()
    defer { ERR_clear_error() }
    guard let reader = PEMReader(text) else { throw .unreadable(reason: "no memory") }
    var certificates: [X509Certificate] = []
    while let block = try reader.next() {
        guard block.kind == "CERTIFICATE" || block.kind == "X509 CERTIFICATE" else { continue }
        guard let certificate = pool.certificate(block.content) else {
            throw .malformed(block: reader.blocks, reason: reasonText(ERR_peek_error()))
        }
        certificates.append(certificate)
    }
    return certificates
}
