import COpenSSL
import GatehousePolicy
import NIOCore

@testable import GatehouseTLS

/// A TLS server of OpenSSL's own, over memory, that shows what a test wants.
final class ScriptedServer {
    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private var isDone = false
    /// The alert that it got, by its number.
    private(set) var alert: Int?

    /// - Parameter asksClient: whether it takes a client's certificate, of any authority.
    init(_ pair: CertificatePair, version: Int32 = TLS1_3_VERSION, asksClient: Bool = false) {
        let context = SSL_CTX_new(TLS_server_method())!
        self.context = context
        SSL_CTX_set_security_level(context, 0)
        _ = shim_SSL_CTX_set_max_proto_version(context, version)
        precondition(SSL_CTX_use_certificate_chain_file(context, pair.certificate) == 1)
        precondition(SSL_CTX_use_PrivateKey_file(context, pair.privateKey, SSL_FILETYPE_PEM) == 1)
        if asksClient { SSL_CTX_set_verify(context, SSL_VERIFY_PEER) { _, _ in 1 } }
        self.ssl = SSL_new(context)!
        self.input = BIO_new(BIO_s_mem())!
        self.output = BIO_new(BIO_s_mem())!
        SSL_set_bio(self.ssl, self.input, self.output)
        SSL_set_accept_state(self.ssl)
    }

    deinit {
        SSL_free(self.ssl)
        SSL_CTX_free(self.context)
    }

    /// Does a handshake with an engine, to its end or its failure.
    func accept(_ engine: TLSEngine) -> HandshakeStep {
        var step = HandshakeStep.needsInput
        for _ in 0..<10 {
            if case .needsInput = step { step = engine.handshake() }
            guard let sent = engine.takeOutput() else { break }
            self.feed(sent)
            ERR_clear_error()
            if !self.isDone { self.isDone = SSL_do_handshake(self.ssl) == 1 }
            if self.isDone { _ = self.read() }
            self.noteAlert()
            engine.receive(self.takeOutput())
        }
        return step
    }

    private func noteAlert() {
        let reason = Int(ERR_GET_REASON(ERR_peek_error()))
        ERR_clear_error()
        if reason >= 1000 && reason < 1256 { self.alert = self.alert ?? reason - 1000 }
    }

    func feed(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { _ = BIO_write(self.input, $0.baseAddress, Int32($0.count)) }
    }

    func takeOutput() -> ByteBuffer {
        var buffer = ByteBuffer()
        var bytes = [UInt8](repeating: 0, count: 16_384)
        while case let count = BIO_read(self.output, &bytes, Int32(bytes.count)), count > 0 {
            buffer.writeBytes(bytes[..<Int(count)])
        }
        return buffer
    }

    func read() -> String {
        var all: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 16_384)
        while case let count = SSL_read(self.ssl, &bytes, Int32(bytes.count)), count > 0 { all += bytes[..<Int(count)] }
        return String(decoding: all, as: UTF8.self)
    }

    /// Encrypts, into what `takeOutput` gives.
    func write(_ text: String) {
        precondition(SSL_write(self.ssl, text, Int32(text.utf8.count)) == Int32(text.utf8.count))
    }

    /// What the client asked for.
    var serverName: String? {
        SSL_get_servername(self.ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
    }

    /// The DNS names of the client's certificate.
    var peerNames: [String]? {
        SSL_get0_peer_certificate(self.ssl).map { X509Certificate(sharing: $0).names.dnsNames }
    }
}
