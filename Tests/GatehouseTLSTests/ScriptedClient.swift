import COpenSSL
import GatehousePolicy
import NIOCore
import SIPMessage
import Synchronization

@testable import GatehouseTLS

/// A TLS client of OpenSSL's own, over memory, that offers what a test wants.
final class ScriptedClient {
    struct Offer {
        var serverName: String?
        var versions: ClosedRange<Int32> = TLS1_2_VERSION...TLS1_3_VERSION
        var ciphers: String?
        var groups: String?
        var signatureAlgorithms: String?
        var applicationProtocols: [String] = []
        var certificate: CertificatePair?
        var session: ClientSession?

        init(_ serverName: String?) {
            self.serverName = serverName
        }
    }

    /// What one handshake came to, seen from both ends.
    struct Outcome {
        var server: HandshakeStep
        var isClientDone: Bool
        /// The alert that the client got, by its number.
        var alert: Int?

        var failure: TLSFailure? {
            if case .failed(let failure) = self.server { failure } else { nil }
        }

        var isComplete: Bool {
            if case .complete = self.server { self.isClientDone } else { false }
        }
    }

    private let context: OpaquePointer
    private let ssl: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer

    init(_ offer: Offer) {
        let context = SSL_CTX_new(TLS_client_method())!
        self.context = context
        SSL_CTX_set_security_level(context, 0)
        _ = shim_SSL_CTX_set_min_proto_version(context, offer.versions.lowerBound)
        _ = shim_SSL_CTX_set_max_proto_version(context, offer.versions.upperBound)
        if let ciphers = offer.ciphers { precondition(SSL_CTX_set_cipher_list(context, ciphers) == 1) }
        if let groups = offer.groups { precondition(shim_SSL_CTX_set1_groups_list(context, groups) == 1) }
        if let list = offer.signatureAlgorithms { precondition(shim_SSL_CTX_set1_sigalgs_list(context, list) == 1) }
        if let pair = offer.certificate {
            precondition(SSL_CTX_use_certificate_chain_file(context, pair.certificate) == 1)
            precondition(SSL_CTX_use_PrivateKey_file(context, pair.privateKey, SSL_FILETYPE_PEM) == 1)
        }
        if !offer.applicationProtocols.isEmpty {
            let wire = offer.applicationProtocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
            precondition(SSL_CTX_set_alpn_protos(context, wire, UInt32(wire.count)) == 0)
        }
        self.ssl = SSL_new(context)!
        self.input = BIO_new(BIO_s_mem())!
        self.output = BIO_new(BIO_s_mem())!
        SSL_set_bio(self.ssl, self.input, self.output)
        SSL_set_connect_state(self.ssl)
        if let name = offer.serverName { precondition(shim_SSL_set_tlsext_host_name(self.ssl, name) == 1) }
        if let session = offer.session { precondition(SSL_set_session(self.ssl, session.handle) == 1) }
    }

    deinit {
        SSL_free(self.ssl)
        SSL_CTX_free(self.context)
    }

    /// Does a handshake with an engine, to its end or its failure.
    func connect(to engine: TLSEngine) -> Outcome {
        var outcome = Outcome(server: .needsInput, isClientDone: false, alert: nil)
        for _ in 0..<10 {
            ERR_clear_error()
            outcome.isClientDone = SSL_do_handshake(self.ssl) == 1
            if !outcome.isClientDone { outcome.alert = outcome.alert ?? Self.alert() }
            let sent = self.takeOutput()
            if case .needsInput = outcome.server, sent.readableBytes > 0 {
                engine.receive(sent)
                outcome.server = engine.handshake()
            } else if sent.readableBytes > 0 {
                engine.receive(sent)
            }
            guard let answer = engine.takeOutput() else { break }
            self.feed(answer)
        }
        if case .failed = outcome.server {
            // A TLS 1.3 client is done before its certificate is judged: the alert comes with its first read.
            _ = self.read(&outcome.alert)
        } else {
            _ = self.read(&outcome.alert)  // takes in the session ticket
        }
        return outcome
    }

    func takeOutput() -> ByteBuffer {
        var buffer = ByteBuffer()
        var bytes = [UInt8](repeating: 0, count: 16_384)
        while case let count = BIO_read(self.output, &bytes, Int32(bytes.count)), count > 0 {
            buffer.writeBytes(bytes[..<Int(count)])
        }
        return buffer
    }

    func feed(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { _ = BIO_write(self.input, $0.baseAddress, Int32($0.count)) }
    }

    /// Drives the handshake on alone, for a test that carries or alters its flights.
    func nextFlight() -> [UInt8] {
        SSL_do_handshake(self.ssl)
        ERR_clear_error()
        return Array(self.takeOutput().readableBytesView)
    }

    func read() -> [UInt8] {
        var alert: Int?
        return self.read(&alert)
    }

    private func read(_ alert: inout Int?) -> [UInt8] {
        var all: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 16_384)
        ERR_clear_error()
        while case let count = SSL_read(self.ssl, &bytes, Int32(bytes.count)), count > 0 { all += bytes[..<Int(count)] }
        alert = alert ?? Self.alert()
        return all
    }

    /// Whether the peer said close_notify.
    var hasSeenCloseNotify: Bool { SSL_get_shutdown(self.ssl) & SSL_RECEIVED_SHUTDOWN != 0 }

    func write(_ text: String) {
        precondition(SSL_write(self.ssl, text, Int32(text.utf8.count)) == Int32(text.utf8.count))
    }

    func closeNotify() {
        SSL_shutdown(self.ssl)
    }

    /// - Returns: whether the client could ask for it at all.
    func renegotiate() -> Bool {
        guard SSL_renegotiate(self.ssl) == 1 else { return false }
        SSL_do_handshake(self.ssl)
        return true
    }

    /// The server's certificate.
    var peerFingerprint: String? {
        SSL_get0_peer_certificate(self.ssl).map { X509Certificate(sharing: $0).fingerprint }
    }

    var peerChainLength: Int {
        SSL_get_peer_cert_chain(self.ssl).map { Int(shim_sk_X509_num($0)) } ?? 0
    }

    var version: Int32 { SSL_version(self.ssl) }
    var isResumed: Bool { SSL_session_reused(self.ssl) == 1 }

    /// A copy of the session: OpenSSL marks its own as spoilt when a connection goes without a close_notify.
    var session: ClientSession { ClientSession(SSL_SESSION_dup(SSL_get_session(self.ssl)!)!) }

    private static func alert() -> Int? {
        let reason = Int(ERR_GET_REASON(ERR_peek_error()))
        ERR_clear_error()
        return reason >= 1000 && reason < 1256 ? reason - 1000 : nil
    }
}

/// The owner of an SSL_SESSION.
final class ClientSession {
    let handle: OpaquePointer

    init(_ handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        SSL_SESSION_free(self.handle)
    }
}

/// A server whose domains a test names.
final class TestEdge {
    static let listener = Endpoint(address: IPAddress(v4: 0xC633_640A), port: 5061)  // 198.51.100.10
    static let otherListener = Endpoint(address: IPAddress(v4: 0xC633_640B), port: 5061)

    let context: TLSServerContext
    var store: CertificateStore
    /// What sessions end by; certificates and lists are verified by the true time.
    let clock: TestClock

    init(_ domains: [DomainConfiguration]) throws {
        let clock = TestClock()
        self.clock = clock
        self.context = try TLSServerContext { clock.now }
        self.store = try CertificateStore.load(domains, reusing: nil)
    }

    func engine(on listener: Endpoint = TestEdge.listener, outputLimit: Int = 2 << 20) throws -> TLSEngine {
        try TLSEngine.server(
            context: self.context, store: self.store, listener: listener, outputLimitInBytes: outputLimit)
    }

    /// One handshake of a new client.
    func handshake(
        _ offer: ScriptedClient.Offer, on listener: Endpoint = TestEdge.listener
    ) throws -> (outcome: ScriptedClient.Outcome, client: ScriptedClient, engine: TLSEngine) {
        let client = ScriptedClient(offer)
        let engine = try self.engine(on: listener)
        return (client.connect(to: engine), client, engine)
    }
}

/// A clock that can be put forward.
final class TestClock: Sendable {
    private let secondsAhead = Atomic<Int64>(0)

    var now: Int64 { CivilDate.now + self.secondsAhead.load(ordering: .relaxed) }

    func advance(to time: Int64) {
        self.secondsAhead.store(time - CivilDate.now, ordering: .relaxed)
    }
}

extension DomainConfiguration {
    /// A domain with one TLS listener.
    init(
        _ name: String, _ pairs: CertificatePair..., aliases: [String] = [], binds: [Endpoint] = [TestEdge.listener],
        _ change: (inout TLSSettings) -> Void = { _ in }
    ) {
        var tls = TLSSettings(binds: binds, certificates: pairs)
        change(&tls)
        self.init(
            name: name, aliases: aliases, tls: tls,
            core: DomainCoreSettings(targets: [CoreTarget(transport: .udp, host: "10.0.0.10", port: 5060)]),
            location: SourceLocation(file: "\(name).yaml", line: 3, column: 5))
    }
}

extension TLSEngine {
    /// All plaintext that has come in, and how reading ended.
    func readAll() -> (bytes: [UInt8], end: ReadResult) {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let result = buffer.withUnsafeMutableBytes { self.read(into: $0) }
            guard case .bytes(let count) = result else { return (all, result) }
            all += buffer[..<count]
        }
    }

    func write(_ text: String) throws(TLSFailure) {
        let bytes = Array(text.utf8)
        let result: Result<Void, TLSFailure> = bytes.withUnsafeBytes { bytes in
            do throws(TLSFailure) { return .success(try self.write(bytes)) } catch { return .failure(error) }
        }
        try result.get()
    }
}
