internal import COpenSSL
public import GatehousePolicy
public import NIOCore
public import SIPMessage
internal import Synchronization

/// How far a handshake has come.
public enum HandshakeStep: Sendable {
    /// Send the output, then feed what the peer sends.
    case needsInput
    /// Send the output, then read: application data may have come with the peer's last flight.
    case complete
    /// Send the output, which holds the alert, then close.
    case failed(TLSFailure)
}

/// What reading plaintext gave.
public enum ReadResult: Sendable {
    /// So many bytes, at least one; there may be more.
    case bytes(Int)
    /// All input is used up.
    case wouldBlock
    /// The peer sent close_notify: nothing follows. Under TLS 1.3 writing goes on.
    case closed
    /// Send the output, which holds the alert, then close.
    case failed(TLSFailure)
}

/// One TLS connection between two buffers: ciphertext goes in by `receive`, and comes out as `output`.
///
/// Used by one thread at a time: a handshake thread's or the loop's, never both; so it is not Sendable. It does no I/O and
/// knows no time. An idle one holds about 14 kB, nearly all of it OpenSSL's.
public final class TLSEngine {
    /// Ciphertext not yet taken by OpenSSL.
    var input = ByteBuffer()
    /// Ciphertext to send.
    public internal(set) var output = ByteBuffer()
    /// What the handshake settled; nil until it is complete.
    public private(set) var facts: TLSFacts?
    /// Bytes that `output` may hold; to go over it ends the connection.
    public let outputLimitInBytes: Int
    public let isServer: Bool

    let ssl: OpaquePointer
    var hasOverrunOutput = false
    /// What only the handshake needs; given back at its end.
    private(set) var setup: HandshakeSetup?
    private var isBroken = false
    private var hasSentCloseNotify = false
    private let isAbandonedFlag = Atomic<Bool>(false)

    /// The accepting end. Which domain it is for shows when the ClientHello comes.
    ///
    /// - Parameters:
    ///   - store: that of the configuration in force; held until the handshake ends.
    ///   - listener: the address that the connection came in on, as `tls.bind` has it.
    ///   - admit: asked on a handshake thread, once the ClientHello has named the domain and before any key is used; false
    ///     refuses the handshake as `overloaded`.
    ///   - outputLimitInBytes: more than a flight of the handshake takes, which is about 5 kB.
    /// - Throws: where OpenSSL has no memory.
    public static func server(
        context: TLSServerContext, store: CertificateStore, listener: Endpoint,
        admit: (@Sendable (_ domain: String) -> Bool)? = nil, outputLimitInBytes: Int = 2 << 20
    ) throws(OpenSSLError) -> TLSEngine {
        let setup = HandshakeSetup(
            role: .server(context, store, listener: listener, admit: admit), context: context.context)
        let engine = try TLSEngine(setup, isServer: true, outputLimitInBytes)
        SSL_set_accept_state(engine.ssl)
        return engine
    }

    /// The connecting end.
    ///
    /// - Parameters:
    ///   - serverName: the name to ask for: the host before any DNS look-up; nil for an address (RFC 5922 §7.8).
    ///   - identity: what the peer's certificate must prove, else the handshake fails; nil: the caller judges the names of
    ///     `facts.verified`.
    ///   - verifying: nil: as the domain's `outbound.verify` says; false lets any peer through, unverified, and `facts.unproved`
    ///     says what would have failed.
    /// - Throws: where OpenSSL has no memory or the name can't stand in a ClientHello.
    public static func client(
        context: TLSClientContext, credentials: OutboundCredentials, serverName: String?, identity: PeerIdentity?,
        verifying: Bool? = nil, outputLimitInBytes: Int = 2 << 20
    ) throws(OpenSSLError) -> TLSEngine {
        let setup = HandshakeSetup(
            role: .client(credentials, identity), context: context.context, serverName: serverName)
        let engine = try TLSEngine(setup, isServer: false, outputLimitInBytes)
        SSL_set_connect_state(engine.ssl)
        try credentials.apply(to: engine.ssl, verifying: verifying ?? credentials.verifies)
        if let serverName {
            guard shim_SSL_set_tlsext_host_name(engine.ssl, serverName) == 1 else {
                throw .last("ask for \(serverName)")
            }
        }
        return engine
    }

    private init(_ setup: HandshakeSetup, isServer: Bool, _ outputLimitInBytes: Int) throws(OpenSSLError) {
        ERR_clear_error()
        guard let ssl = SSL_new(setup.context.handle) else { throw .last("make a connection") }
        self.ssl = ssl
        self.setup = setup
        self.isServer = isServer
        self.outputLimitInBytes = outputLimitInBytes
        guard EngineBIO.attach(self, to: ssl) else { throw .last("make a connection") }
    }

    deinit {
        SSL_free(self.ssl)
    }

    /// Gives the connection up, from any thread: a handshake thread that has yet to begin with it passes it over.
    public nonisolated func abandon() {
        self.isAbandonedFlag.store(true, ordering: .relaxed)
    }

    /// Whether the peer's first flight has been answered.
    var hasBegunHandshake: Bool { self.setup?.firstByte != nil }

    var isAbandoned: Bool { self.isAbandonedFlag.load(ordering: .relaxed) }

    // MARK: Ciphertext

    /// Takes what the peer sent. It is held, not copied, until `handshake` or `read` has used it up.
    public func receive(_ ciphertext: ByteBuffer) {
        if let setup = self.setup, setup.firstByte == nil { setup.firstByte = ciphertext.readableBytesView.first }
        if self.input.readableBytes == 0 {
            self.input = ciphertext
        } else {
            self.input.writeImmutableBuffer(ciphertext)
        }
    }

    /// Takes the ciphertext to send; nil where there is none.
    public func takeOutput() -> ByteBuffer? {
        guard self.output.readableBytes > 0 else { return nil }
        defer { self.output = ByteBuffer() }
        return self.output
    }

    /// Lends the engine a buffer to append ciphertext to, or takes it back: swaps `output` with it. An engine that is lent one
    /// for each write holds none while it is idle.
    public func exchangeOutput(with buffer: inout ByteBuffer) {
        swap(&self.output, &buffer)
    }

    /// Lets go of a used-up input, so that its memory can take the next read.
    private func releaseInput() {
        if self.input.readableBytes == 0 { self.input = ByteBuffer() }
    }

    // MARK: The handshake

    /// Does what the input allows. Takes 0.2 ms and more, so that it belongs on a `HandshakePool`.
    public func handshake() -> HandshakeStep {
        guard !self.isBroken, let context = self.setup?.context else {
            return self.facts == nil
                ? .failed(TLSFailure(cause: .protocolError, text: "the TLS handshake has failed already")) : .complete
        }
        ERR_clear_error()
        let result = SSL_do_handshake(self.ssl)
        defer { self.releaseInput() }
        if result == 1 {
            self.facts = self.makeFacts(context)
            self.setup = nil
            SSL_certs_clear(self.ssl)  // so that a certificate that a reload replaced goes with its last handshake
            return .complete
        }
        guard SSL_get_error(self.ssl, result) != SSL_ERROR_WANT_READ else { return .needsInput }
        self.isBroken = true
        return .failed(self.handshakeFailure())
    }

    private func makeFacts(_ context: TLSContext) -> TLSFacts {
        var name: UnsafePointer<UInt8>?
        var length: UInt32 = 0
        SSL_get0_alpn_selected(self.ssl, &name, &length)
        let protocolName = name.map {
            String(decoding: UnsafeBufferPointer(start: $0, count: Int(length)), as: UTF8.self)
        }
        return TLSFacts(
            version: SSL_version(self.ssl) == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2",
            cipher: context.name(of: SSL_get_current_cipher(self.ssl)), serverName: self.setup?.serverName,
            domain: self.domainName ?? "", isResumed: SSL_session_reused(self.ssl) == 1,
            verified: self.verifiedPeer(), unproved: self.unprovedPeer(), hasShownCertificate: self.hasShownCertificate,
            applicationProtocol: protocolName)
    }

    private func verifiedPeer() -> VerifiedPeer? {
        guard self.demandsProof, SSL_get_verify_result(self.ssl) == Int(X509_V_OK),
            let certificate = SSL_get0_peer_certificate(self.ssl)
        else { return nil }
        return VerifiedPeer(X509Certificate(sharing: certificate), trust: self.trust)
    }

    private func unprovedPeer() -> TLSFailure? {
        guard !self.isServer, !self.demandsProof, let setup = self.setup, setup.verificationFault != nil else {
            return nil
        }
        return self.certificateFailure(setup)
    }

    // MARK: Plaintext

    /// Decrypts into `buffer`. Repeat until `wouldBlock` before the next `receive`; 16 kB hold any one record.
    public func read(into buffer: UnsafeMutableRawBufferPointer) -> ReadResult {
        guard !self.isBroken, self.setup == nil, !buffer.isEmpty else { return .wouldBlock }
        ERR_clear_error()
        let count = SSL_read(self.ssl, buffer.baseAddress, Int32(clamping: buffer.count))
        if count > 0 { return .bytes(Int(count)) }
        defer { self.releaseInput() }
        switch SSL_get_error(self.ssl, count) {
        case SSL_ERROR_WANT_READ: return .wouldBlock
        case SSL_ERROR_ZERO_RETURN: return .closed
        default:
            self.isBroken = true
            return .failed(self.recordFailure())
        }
    }

    /// Encrypts all of `bytes` into `output`. Each call makes records of its own, so gather what can leave together.
    ///
    /// - Throws: `outputLimit` where `output` has no room for it: nothing was encrypted, and the connection is to be closed.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(TLSFailure) {
        guard !self.isBroken, self.facts != nil, !self.hasSentCloseNotify else {
            throw TLSFailure(
                cause: .internal, domain: self.facts?.domain, text: "a write to a TLS connection that is closed")
        }
        let records = bytes.count / 16_384 + 1
        let room = bytes.count + 64 * records  // header, nonce, tag and padding of TLS 1.2 and 1.3
        guard self.output.readableBytes + room <= self.outputLimitInBytes else { throw self.outputFailure() }
        self.output.reserveCapacity(minimumWritableBytes: room)
        var rest = bytes
        while !rest.isEmpty {
            ERR_clear_error()
            let count = SSL_write(self.ssl, rest.baseAddress, Int32(clamping: rest.count))
            guard count > 0 else {
                self.isBroken = true
                throw self.recordFailure()
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[Int(count)...])
        }
    }

    /// Puts a close_notify at the end of `output`, once, if the connection can still say it.
    public func sendCloseNotify() {
        guard !self.isBroken, self.facts != nil, !self.hasSentCloseNotify else { return }
        self.hasSentCloseNotify = true
        ERR_clear_error()
        if SSL_shutdown(self.ssl) < 0 { ERR_clear_error() }
    }
}
