public import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix
public import SIPMessage
internal import Synchronization

/// The admin endpoint: HTTP/1.1 on an event loop thread of its own, so that a scrape or a page never holds up a worker.
public final class AdminServer: Sendable {
    /// Where it listens; the port is the one that the system chose when 0 was asked for.
    public let endpoint: Endpoint

    /// Connections at a time; one more is closed at once.
    static let connectionLimit = 64

    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel

    private init(endpoint: Endpoint, group: MultiThreadedEventLoopGroup, channel: any Channel) {
        self.endpoint = endpoint
        self.group = group
        self.channel = channel
    }

    /// Opens the endpoint.
    ///
    /// - Parameters:
    ///   - bind: beyond loopback, whoever reaches it may read and reload: that is logged as a warning.
    ///   - deadline: how long a connection may take to bring a whole request.
    /// - Throws: ``AdminStartError`` if the address cannot be had.
    public static func start(
        bind: Endpoint, source: any AdminSource, metrics: Metrics, log: Logger, deadline: Duration = .seconds(60)
    ) async throws(AdminStartError) -> AdminServer {
        let router = AdminRouter(source: source, metrics: metrics, isLoopback: bind.address.isLoopback)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let openConnections = OpenConnections()
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 64)
            .childChannelInitializer { channel in
                guard openConnections.enter(limit: Self.connectionLimit) else {
                    return channel.eventLoop.makeFailedFuture(TooManyConnections())
                }
                channel.closeFuture.whenComplete { _ in openConnections.leave() }
                return channel.eventLoop.makeCompletedFuture {
                    var limits = NIOHTTPDecoderLimitConfiguration()
                    limits.maxHeaderFieldSize = 8 << 10
                    limits.maxHeaderListSize = 16 << 10
                    limits.maxHeaderFieldCount = 64
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                        withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
                    try channel.pipeline.syncOperations.addHandler(
                        AdminHandler(router: router, deadline: TimeAmount(deadline)))
                }
            }
        do {
            let channel = try await bootstrap.bind(host: bind.address.description, port: Int(bind.port)).get()
            let port = channel.localAddress?.port.flatMap { UInt16(exactly: $0) } ?? bind.port
            if !router.isLoopback {
                log.warning(
                    """
                    the admin endpoint has no password and its address is not loopback: whoever reaches it may read \
                    and reload; guard it, or set edge.admin.bind to 127.0.0.1
                    """, metadata: ["address": "\(bind)"])
            }
            return AdminServer(
                endpoint: Endpoint(address: bind.address, port: port), group: group, channel: channel)
        } catch {
            try? await group.shutdownGracefully()
            throw AdminStartError(endpoint: bind, cause: systemText(error))
        }
    }

    /// Closes the endpoint and its connections.
    public func stop() async {
        try? await self.channel.close()
        try? await self.group.shutdownGracefully()
    }
}

/// Why the admin endpoint could not be opened.
public struct AdminStartError: Error, CustomStringConvertible, Equatable {
    public var endpoint: Endpoint
    /// In the system's words.
    public var cause: String

    public var description: String {
        """
        the admin endpoint cannot listen on \(self.endpoint): \(self.cause); \
        end what uses the address, or give another as edge.admin.bind
        """
    }
}

private struct TooManyConnections: Error {}

private final class OpenConnections: Sendable {
    private let count = Atomic(0)

    func enter(limit: Int) -> Bool {
        guard self.count.add(1, ordering: .relaxed).newValue <= limit else {
            self.leave()
            return false
        }
        return true
    }

    func leave() {
        self.count.subtract(1, ordering: .relaxed)
    }
}
