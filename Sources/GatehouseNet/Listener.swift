internal import Glibc
internal import NIOCore
public import NIOPosix
public import SIPMessage
internal import Synchronization

/// A TCP socket that accepts connections for all workers.
///
/// One loop accepts, and the workers get the connections in turn. SO_REUSEPORT with a socket for each worker would save
/// the hand-over (microseconds, beside a handshake's hundreds), but it spreads a few long connections unevenly, resets
/// what waits in a socket's backlog when a reload closes it, and lets a second process start on the same address unseen.
public final class Listener: Sendable {
    /// What an operator should hear of.
    public enum Event: Sendable, Equatable {
        /// Accepting pauses for a second, and again until it works: the system is out of descriptors (EMFILE, ENFILE) or
        /// memory. Said once, until `resumed`.
        case paused(errno: Int32)
        case resumed
        /// The socket is lost; nothing is accepted any more.
        case failed(errno: Int32)
    }

    /// The address bound to, with the real port where 0 was asked for.
    public let local: Endpoint
    public let tag: ListenerTag
    let channel: any Channel
    private let end: ListenerEnd

    private init(local: Endpoint, tag: ListenerTag, channel: any Channel, end: ListenerEnd) {
        self.local = local
        self.tag = tag
        self.channel = channel
        self.end = end
    }

    /// Binds `endpoint` and accepts from now on.
    ///
    /// - Parameters:
    ///   - endpoint: port 0 takes a free one. IPv6 means IPv6 alone.
    ///   - tag: found again on each flow; its number also chooses the loop that accepts.
    ///   - workers: one for each loop of `group`. Their owners are asked to admit each connection.
    ///   - onEvent: called on the accepting loop.
    public static func open(
        _ endpoint: Endpoint, tag: ListenerTag, group: MultiThreadedEventLoopGroup, workers: [BoundFlowContext],
        onEvent: @escaping @Sendable (Event) -> Void
    ) async throws(BindError) -> Listener {
        let contexts = Dictionary(
            workers.map { (ObjectIdentifier($0.eventLoop), $0) }, uniquingKeysWith: { first, _ in first })
        precondition(
            group.makeIterator().allSatisfy { contexts[ObjectIdentifier($0)] != nil },
            "every loop of the group needs a worker")
        let end = ListenerEnd()
        let acceptor = workers[Int(UInt(bitPattern: tag.number) % UInt(workers.count))].eventLoop
        let bootstrap = ServerBootstrap(group: acceptor, childGroup: group)
            .serverChannelOption(.maxMessagesPerRead, value: 16)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptWatch(end: end, onEvent: onEvent))
                }
            }
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let context = contexts[ObjectIdentifier(channel.eventLoop)] else { return }
                    try StreamFlow.accept(channel, in: context.value, listener: tag)
                }
            }
        let descriptor: Int32
        do throws(SystemError) {
            descriptor = try Listener.listen(on: endpoint)
        } catch {
            throw BindError(transport: .tcp, endpoint: endpoint, errno: error.errno)
        }
        let local = Endpoint(ofSocket: descriptor) ?? endpoint
        do {
            let channel = try await bootstrap.withBoundSocket(descriptor).get()  // which owns it from here on
            return Listener(local: local, tag: tag, channel: channel, end: end)
        } catch {
            throw BindError(transport: .tcp, endpoint: endpoint, error: error)
        }
    }

    private static func listen(on endpoint: Endpoint) throws(SystemError) -> Int32 {
        let descriptor = try BoundSocket.open(endpoint, type: SOCK_STREAM, option: SO_REUSEADDR)
        guard Glibc.listen(descriptor, 4096) == 0 else {
            let error = SystemError(errno: errno)
            _ = Glibc.close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Stops accepting. Connections live on; those that the kernel has completed and nobody has accepted are reset.
    public func close() async {
        self.end.isWanted.store(true, ordering: .relaxed)
        try? await self.channel.close().get()  // that it is closed already is all that can go wrong
    }
}

/// Whether a listener's end is wanted, or a failure.
final class ListenerEnd: Sendable {
    let isWanted = Atomic(false)
}

/// Pauses where accepting fails for want of descriptors or memory, and sees to it that the operator hears of it once.
///
/// NIO's own handler for this delays the next read, but here NIO goes on with the one that failed, as fast as it can.
final class AcceptWatch: ChannelInboundHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel

    private static let pause = TimeAmount.seconds(1)

    private let end: ListenerEnd
    private let onEvent: @Sendable (Listener.Event) -> Void
    private var isActive = false
    private var isPaused = false
    private var lastError: Int32 = 0

    init(end: ListenerEnd, onEvent: @escaping @Sendable (Listener.Event) -> Void) {
        self.end = end
        self.onEvent = onEvent
    }

    func channelActive(context: ChannelHandlerContext) {
        self.isActive = true
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if self.isActive && !self.end.isWanted.load(ordering: .relaxed) {
            self.onEvent(.failed(errno: self.lastError))
        }
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if self.isPaused {
            self.isPaused = false
            self.onEvent(.resumed)
        }
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? IOError else {
            context.fireErrorCaught(error)
            return
        }
        self.lastError = error.errnoCode
        // A peer that gives up in the backlog concerns that connection alone, and must not make the others wait.
        guard error.errnoCode != ECONNABORTED else { return }
        if !self.isPaused {
            self.isPaused = true
            self.onEvent(.paused(errno: error.errnoCode))
        }
        self.setReading(false, context.channel)
        let channel = context.channel
        context.eventLoop.assumeIsolated().scheduleTask(in: AcceptWatch.pause) { self.setReading(true, channel) }
    }

    private func setReading(_ isReading: Bool, _ channel: any Channel) {
        // It fails on a closed channel alone, and that is fine.
        try? channel.syncOptions?.setOption(.autoRead, value: isReading)
    }
}
