import COpenSSL
import Foundation
import SIPMessage
import Synchronization
import Testing

@testable import GatehouseNet

/// A TLS peer made of OpenSSL alone, on a blocking socket.
final class TLSPeer {
    struct Failure: Error {
        var call: String
        var error: Int32
        /// OpenSSL's own words.
        var reason: String

        init(call: String, error: Int32) {
            self.call = call
            self.error = error
            self.reason = ERR_reason_error_string(ERR_peek_last_error()).map { String(cString: $0) } ?? ""
        }
    }

    let socket: TestPeer
    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private var recordLengths: UnsafeMutablePointer<[Int]>

    /// A client that does its handshake at once.
    convenience init(to endpoint: Endpoint, version: Int32 = TLS1_3_VERSION) throws {
        try self.init(TestPeer(to: endpoint), version: version)
    }

    init(_ socket: TestPeer, version: Int32 = TLS1_3_VERSION) throws {
        self.socket = socket
        self.context = SSL_CTX_new(TLS_client_method())!
        _ = shim_SSL_CTX_set_max_proto_version(self.context, version)
        self.ssl = SSL_new(self.context)!
        self.recordLengths = .allocate(capacity: 1)
        self.recordLengths.initialize(to: [])
        SSL_set_fd(self.ssl, socket.descriptor)
        _ = shim_SSL_set_tlsext_host_name(self.ssl, "a.example")
        SSL_set_msg_callback(self.ssl, noteRecord)
        SSL_ctrl(self.ssl, SSL_CTRL_SET_MSG_CALLBACK_ARG, 0, self.recordLengths)
        ERR_clear_error()  // the queue is the thread's, and other tests' failures may be in it
        let result = SSL_connect(self.ssl)
        guard result == 1 else { throw Failure(call: "SSL_connect", error: SSL_get_error(self.ssl, result)) }
        #expect(SSL_version(self.ssl) == version)
    }

    deinit {
        SSL_free(self.ssl)
        SSL_CTX_free(self.context)
        self.recordLengths.deinitialize(count: 1)
        self.recordLengths.deallocate()
    }

    /// The lengths of the application data records that came since the last call.
    func takeRecordLengths() -> [Int] {
        defer { self.recordLengths.pointee = [] }
        return self.recordLengths.pointee
    }

    /// Sends one record, or as few as it takes.
    func send(_ text: String) throws {
        let bytes = Array(text.utf8)
        ERR_clear_error()
        let result = SSL_write(self.ssl, bytes, Int32(bytes.count))
        guard result == bytes.count else { throw Failure(call: "SSL_write", error: SSL_get_error(self.ssl, result)) }
    }

    /// What is there next; nil at the peer's close_notify.
    func receive() throws -> String? {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        ERR_clear_error()
        let result = SSL_read(self.ssl, &bytes, Int32(bytes.count))
        if result > 0 { return String(decoding: bytes[..<Int(result)], as: UTF8.self) }
        let error = SSL_get_error(self.ssl, result)
        guard error == SSL_ERROR_ZERO_RETURN else { throw Failure(call: "SSL_read", error: error) }
        return nil
    }

    /// All until the peer's close_notify.
    func receiveAll() throws -> String {
        var text = ""
        while let more = try self.receive() { text += more }
        return text
    }

    func sendCloseNotify() { SSL_shutdown(self.ssl) }
}

private func noteRecord(
    _ isWrite: Int32, _ version: Int32, _ type: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ ssl: OpaquePointer?,
    _ lengths: UnsafeMutableRawPointer?
) {
    guard isWrite == 0, type == SSL3_RT_HEADER, count == 5, let bytes, let lengths else { return }
    let header = UnsafeRawBufferPointer(start: bytes, count: count)
    guard Int32(header[0]) == SSL3_RT_APPLICATION_DATA else { return }
    lengths.assumingMemoryBound(to: [Int].self).pointee.append(Int(header[3]) << 8 | Int(header[4]))
}
