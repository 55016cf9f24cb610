internal import Glibc
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// Asks another process's admin endpoint, for the commands.
public struct AdminClient: Sendable {
    /// What comes back.
    public struct Answer: Sendable, Equatable {
        public var status: Int
        public var body: [UInt8]
    }

    /// Why there is no answer, with what to do.
    public struct Failure: Error, CustomStringConvertible, Equatable {
        public var description: String
    }

    /// As `http://127.0.0.1:8061`.
    public let base: String
    private let host: String
    private let port: Int
    /// Of the whole exchange; a reload of many certificates takes its time.
    private let timeout: Duration

    static let answerLimit = 256 << 20

    /// - Parameter base: `http://host:port`, the scheme and a final slash may be missing.
    public init(_ base: String, timeout: Duration = .seconds(120)) throws(Failure) {
        var rest = Substring(base)
        if rest.hasPrefix("http://") { rest.removeFirst(7) }
        if rest.hasSuffix("/") { rest.removeLast() }
        guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]) else {
            throw Failure(description: "\(base) is no admin address: give it as http://127.0.0.1:8061")
        }
        var host = rest[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(where: { "/:@".contains($0) }) {
            throw Failure(description: "\(base) is no admin address: give it as http://127.0.0.1:8061")
        }
        self.base = "http://\(rest)"
        self.host = String(host)
        self.port = Int(port)
        self.timeout = timeout
    }

    public func get(_ target: String) async throws(Failure) -> Answer { try await self.send(.GET, target) }

    public func post(_ target: String) async throws(Failure) -> Answer { try await self.send(.POST, target) }

    private func send(_ method: HTTPMethod, _ target: String) async throws(Failure) -> Answer {
        let timeout = TimeAmount(self.timeout)
        let authority = self.base.dropFirst(7)
        let request = HTTPRequestHead(
            version: .http1_1, method: method, uri: target,
            headers: ["Host": "\(authority)", "Connection": "close", "Content-Length": "0"])
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let answer = loop.makePromise(of: Answer.self)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(.seconds(5))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(AnswerHandler(answer, timeout: timeout))
                }
            }
        do {
            let channel = try await bootstrap.connect(host: self.host, port: self.port).get()
            channel.write(HTTPClientRequestPart.head(request), promise: nil)
            channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
        } catch {
            answer.fail(error)
        }
        do {
            return try await answer.futureResult.get()
        } catch {
            throw Failure(
                description: """
                    no answer from \(self.base): \(Self.sentence(error)); is gatehouse running there? \
                    edge.admin.bind names the address, --admin takes it
                    """)
        }
    }

    private static func sentence(_ error: any Error) -> String {
        if let failure = error as? Failure { return failure.description }
        if let connection = error as? NIOConnectionError {
            guard let first = connection.connectionErrors.first else { return "the host name was not found" }
            return systemText(first.error)
        }
        return systemText(error)
    }
}

/// An error in the system's own words where it has a number: `Connection refused`.
func systemText(_ error: any Error) -> String {
    if let system = error as? IOError { return String(cString: strerror(system.errnoCode)) }
    return "\(error)"
}

/// Collects one answer.
private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private var promise: EventLoopPromise<AdminClient.Answer>?
    private let timeout: TimeAmount
    private var timer: Scheduled<Void>?
    private var answer = AdminClient.Answer(status: 0, body: [])

    init(_ promise: EventLoopPromise<AdminClient.Answer>, timeout: TimeAmount) {
        self.promise = promise
        self.timeout = timeout
    }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        self.timer = context.eventLoop.scheduleTask(in: self.timeout) { channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.answer.status = Int(head.status.code)
        case .body(let bytes):
            guard self.answer.body.count + bytes.readableBytes <= AdminClient.answerLimit else {
                return self.finish(.failure(AdminClient.Failure(description: "the answer is too long")), context)
            }
            self.answer.body.append(contentsOf: bytes.readableBytesView)
        case .end:
            self.finish(.success(self.answer), context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.finish(.failure(error), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let failure = AdminClient.Failure(description: "the connection closed before the answer ended")
        self.finish(.failure(failure), context)
    }

    private func finish(_ result: Result<AdminClient.Answer, any Error>, _ context: ChannelHandlerContext) {
        guard let promise = self.promise else { return }
        self.promise = nil
        self.timer?.cancel()
        promise.completeWith(result)
        context.close(promise: nil)
    }
}
