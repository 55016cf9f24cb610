internal import GatehousePolicy
internal import GatehouseTLS
internal import Glibc
internal import NIOCore
internal import NIOPosix
internal import SIPMessage

/// Connects to candidates, to see whether they answer: for TLS with a handshake, as the domain would.
struct Probe: Sendable {
    let credentials: OutboundCredentials
    let context: TLSClientContext
    let timers: TimerSettings
    let group: any EventLoopGroup

    func connect(to judged: JudgedCandidate) async -> Explanation.Attempt {
        let candidate = judged.candidate
        var attempt = Explanation.Attempt(
            transport: "\(candidate.transport)", address: "\(candidate.endpoint)", isConnected: false)
        do {
            switch candidate.transport {
            case .udp:
                attempt.problem = "not tried: whether anyone listens on UDP shows only with a request"
            case .tcp:
                try await self.connect(to: candidate.endpoint) { _ in }.close()
                attempt.isConnected = true
            case .tls:
                let outcome = try await self.shakeHands(with: judged)
                attempt.isConnected = outcome.failure == nil
                attempt.isVerified = outcome.failure == nil && judged.verifies
                attempt.tlsVersion = outcome.version
                attempt.cipher = outcome.cipher
                attempt.certificate = outcome.certificate.map { Explanation.Attempt.Certificate($0) }
                attempt.problem = outcome.failure ?? outcome.unproved
            }
        } catch {
            attempt.problem = Self.text(of: error)
        }
        return attempt
    }

    private func connect(
        to endpoint: Endpoint, _ configure: @escaping @Sendable (any Channel) throws -> Void
    ) async throws -> any Channel {
        let timeout = self.timers.connect.components
        return try await ClientBootstrap(group: self.group)
            .connectTimeout(.seconds(timeout.seconds) + .nanoseconds(timeout.attoseconds / 1_000_000_000))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try configure(channel) }
            }
            .connect(to: SocketAddress(ipAddress: "\(endpoint.address)", port: Int(endpoint.port))).get()
    }

    private func shakeHands(with judged: JudgedCandidate) async throws -> ProbeHandler.Outcome {
        let ended = self.group.any().makePromise(of: ProbeHandler.Outcome.self)
        let deadline = self.timers.handshake.components.seconds
        let channel: any Channel
        do {
            channel = try await self.connect(to: judged.candidate.endpoint) { channel in
                let engine = try TLSEngine.client(
                    context: self.context, credentials: self.credentials, serverName: judged.candidate.serverName,
                    identity: judged.candidate.identity, verifying: judged.verifies)
                let handler = ProbeHandler(engine, ended: ended, deadline: .seconds(max(deadline, 1)))
                try channel.pipeline.syncOperations.addHandler(handler)
            }
        } catch {
            ended.fail(error)
            throw error
        }
        let outcome = try await ended.futureResult.get()
        try? await channel.close()
        return outcome
    }

    private static func text(of error: any Error) -> String {
        switch error {
        case ChannelError.connectTimeout: "nothing answers at that address and port"
        case let error as IOError: String(cString: strerror(error.errnoCode))
        default: "\(error)"
        }
    }
}

/// A TLS connection that ends with its handshake.
private final class ProbeHandler: ChannelInboundHandler {
    struct Outcome: Sendable {
        var version: String?
        var cipher: String?
        var certificate: ShownCertificate?
        var failure: String?
        /// What would have failed, were the certificate to verify.
        var unproved: String?
    }

    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let engine: TLSEngine
    private let deadline: TimeAmount
    private var ended: EventLoopPromise<Outcome>?
    private var timer: Scheduled<Void>?

    init(_ engine: TLSEngine, ended: EventLoopPromise<Outcome>, deadline: TimeAmount) {
        self.engine = engine
        self.ended = ended
        self.deadline = deadline
    }

    func channelActive(context: ChannelHandlerContext) {
        self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: self.deadline) { self.end(TLSFailure.timeout) }
        self.step(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard self.ended != nil else { return }
        self.engine.receive(self.unwrapInboundIn(data))
        self.step(context)
    }

    func channelInactive(context: ChannelHandlerContext) { self.end(TLSFailure.closed) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { self.end(TLSFailure.closed) }

    private func step(_ context: ChannelHandlerContext) {
        let step = self.engine.handshake()
        if case .complete = step { self.engine.sendCloseNotify() }
        if let output = self.engine.takeOutput() {
            context.writeAndFlush(self.wrapOutboundOut(output), promise: nil)
        }
        switch step {
        case .needsInput: break
        case .complete: self.end(nil)
        case .failed(let failure): self.end(failure)
        }
    }

    private func end(_ failure: TLSFailure?) {
        self.timer?.cancel()
        self.ended?.succeed(
            Outcome(
                version: self.engine.facts?.version, cipher: self.engine.facts?.cipher,
                certificate: self.engine.shownCertificate, failure: failure?.description,
                unproved: self.engine.facts?.unproved?.description))
        self.ended = nil
    }
}

extension Explanation.Attempt.Certificate {
    fileprivate init(_ certificate: ShownCertificate) {
        let names = certificate.names
        self.init(
            subject: certificate.subject, issuer: certificate.issuer,
            names: names.dnsNames + names.uris + names.addresses.map(\.description), notBefore: certificate.notBefore,
            notAfter: certificate.notAfter, fingerprint: certificate.fingerprint)
    }
}
