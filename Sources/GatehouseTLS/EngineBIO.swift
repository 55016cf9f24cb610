internal import COpenSSL
internal import NIOCore

/// The BIO between OpenSSL and an engine's buffers: reads take from `input`, writes append to `output`.
enum EngineBIO {
    /// The owner of the BIO_METHOD, of which there is one a process.
    ///
    /// `@unchecked Sendable`: nothing writes to it after `init`.
    private final class Method: @unchecked Sendable {
        let handle: OpaquePointer?

        init() {
            self.handle = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gatehouse")
            guard let handle = self.handle else { return }
            BIO_meth_set_read(handle, readInput)
            BIO_meth_set_write(handle, writeOutput)
            BIO_meth_set_ctrl(handle, control)
        }

        deinit {
            BIO_meth_free(self.handle)
        }
    }

    private static let method = Method()

    /// Gives `ssl` a BIO at `engine`, which must outlive `ssl`.
    static func attach(_ engine: TLSEngine, to ssl: OpaquePointer) -> Bool {
        guard let method = self.method.handle, let bio = BIO_new(method) else { return false }
        BIO_set_data(bio, Unmanaged.passUnretained(engine).toOpaque())
        BIO_set_init(bio, 1)
        SSL_set_bio(ssl, bio, bio)  // which takes over the one reference for both directions
        return true
    }
}

extension TLSEngine {
    /// The engine of a connection, from within OpenSSL's callbacks.
    static func of(_ ssl: OpaquePointer) -> TLSEngine? {
        SSL_get_rbio(ssl).flatMap { Self.of(bio: $0) }
    }

    fileprivate static func of(bio: OpaquePointer) -> TLSEngine? {
        // The engine frees its SSL, and so this BIO, in its deinit.
        BIO_get_data(bio).map { Unmanaged<TLSEngine>.fromOpaque($0).takeUnretainedValue() }
    }
}

private func readInput(_ bio: OpaquePointer?, _ out: UnsafeMutablePointer<CChar>?, _ capacity: Int32) -> Int32 {
    guard let bio, let out, capacity > 0, let engine = TLSEngine.of(bio: bio) else { return -1 }
    shim_BIO_clear_retry_flags(bio)
    let count = min(engine.input.readableBytes, Int(capacity))
    guard count > 0 else {
        shim_BIO_set_retry_read(bio)
        return -1
    }
    engine.input.withUnsafeReadableBytes { input in
        UnsafeMutableRawBufferPointer(start: out, count: count).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: input[..<count]))
    }
    engine.input.moveReaderIndex(forwardBy: count)
    return Int32(count)
}

private func writeOutput(_ bio: OpaquePointer?, _ bytes: UnsafePointer<CChar>?, _ count: Int32) -> Int32 {
    guard let bio, let bytes, count >= 0, let engine = TLSEngine.of(bio: bio) else { return -1 }
    shim_BIO_clear_retry_flags(bio)
    guard engine.output.readableBytes + Int(count) <= engine.outputLimitInBytes else {
        engine.hasOverrunOutput = true
        return -1  // without a retry flag: OpenSSL takes it as the end of the connection
    }
    engine.output.writeBytes(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
    return count
}

private func control(
    _: OpaquePointer?, _ command: Int32, _: Int, _: UnsafeMutableRawPointer?
) -> Int {
    command == BIO_CTRL_FLUSH ? 1 : 0  // the handshake fails where FLUSH is not answered with 1
}
