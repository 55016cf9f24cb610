internal import COpenSSL

/// Reads the blocks of a PEM text one after the other.
///
/// It owns the block that it read last, and wipes it and its copy of the text, which may hold a private key.
final class PEMReader {
    struct Block {
        /// "CERTIFICATE", "EC PRIVATE KEY"
        var kind: String
        /// Whether the content is under a passphrase, as a header of the block says (RFC 1421).
        var isEncrypted: Bool
        /// DER; until the next block is read.
        var content: UnsafeBufferPointer<UInt8>
    }

    /// How many blocks there were up to here.
    private(set) var blocks = 0
    private let bio: OpaquePointer
    private let text: UnsafeMutableRawBufferPointer
    private var data: UnsafeMutablePointer<UInt8>?
    private var length = 0

    /// nil where there is no memory.
    init?(_ text: [UInt8]) {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, text.count), alignment: 1)
        copy.copyBytes(from: text)
        guard let bio = BIO_new_mem_buf(copy.baseAddress, Int32(clamping: text.count)) else {
            copy.deallocate()
            return nil
        }
        self.text = copy
        self.bio = bio
    }

    deinit {
        self.release()
        BIO_free(self.bio)
        OPENSSL_cleanse(self.text.baseAddress, self.text.count)
        self.text.deallocate()
    }

    /// nil after the last block.
    func next() throws(CertificateFileError) -> Block? {
        self.release()
        var name: UnsafeMutablePointer<CChar>?
        var header: UnsafeMutablePointer<CChar>?
        guard PEM_read_bio(self.bio, &name, &header, &self.data, &self.length) == 1, let name, let header else {
            let code = ERR_peek_last_error()
            let isEnd = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE
            guard isEnd else { throw .malformed(block: self.blocks + 1, reason: reasonText(code)) }
            return nil
        }
        defer {
            shim_OPENSSL_free(name)
            shim_OPENSSL_free(header)
        }
        self.blocks += 1
        return Block(
            kind: String(cString: name), isEncrypted: header[0] != 0,
            content: UnsafeBufferPointer(start: self.data, count: self.length))
    }

    private func release() {
        guard let data = self.data else { return }
        OPENSSL_cleanse(data, self.length)
        shim_OPENSSL_free(data)
        self.data = nil
    }
}
