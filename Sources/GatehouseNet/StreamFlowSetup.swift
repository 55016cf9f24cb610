internal import GatehousePolicy
public import GatehouseTLS
internal import Glibc
internal import NIOCore
internal import NIOPosix
public import SIPMessage

// How a flow gets its channel.

/// An accepted connection that isn't wanted.
private struct NotAdmitted: Error {}

extension StreamFlow {
    /// Asks the owner about a connection that has just been accepted, and makes its flow.
    ///
    /// - Throws: to have NIO close the channel.
    static func accept(_ channel: any Channel, in flows: FlowContext, listener: ListenerTag) throws {
        guard let remote = Endpoint(channel.remoteAddress), let local = Endpoint(channel.localAddress),
            let owner = flows.owner
        else { throw NotAdmitted() }  // the peer is gone already
        let engine: TLSEngine?
        switch owner.admit(remote: remote, local: local, listener: listener) {
        case .plain: engine = nil
        case .tls(let offered): engine = offered
        case .refused: throw NotAdmitted()
        }
        let flow = StreamFlow(
            flows: flows, isOutbound: false, listener: listener, local: local, remote: remote, engine: engine)
        do {
            try flow.install(in: channel)
        } catch {
            flow.failHandshake(.closed)  // so that the owner knows its end
            throw error
        }
    }

    /// Gives the channel the options that make it cheap, and the flow as its one handler.
    func install(in channel: any Channel) throws {
        if let options = channel.syncOptions {
            try options.setOption(.recvAllocator, value: SharedReadBufferAllocator(self.flows.readBuffer))
            try options.setOption(.maxMessagesPerRead, value: 1)
            try options.setOption(.allowRemoteHalfClosure, value: true)
            // Any byte that the kernel does not take at once makes the channel unwritable, until the last has left.
            try options.setOption(.writeBufferWaterMark, value: .init(low: 1, high: 1))
            try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
            // A peer that is gone for good must not look like a connection for the quarter of an hour that TCP tries.
            let limit = Int(clamping: TimeAmount(self.flows.timers.t1 * 64).nanoseconds / 1_000_000)
            try options.setOption(
                .tcpOption(NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)), value: limit)
        }
        try channel.pipeline.syncOperations.addHandler(self)
    }
}

/// The loop is one that has no sockets, as a test's.
private struct NoSockets: Error {}

/// Opens connections.
public enum Connector {
    /// Starts to connect, and returns the flow at once; messages queued on it leave when it is open.
    ///
    /// The owner of `flows` hears `flowOpened`, or else `connectFailed` or `handshakeFailed`: never from within this
    /// call. The caller is on the loop of `flows`.
    ///
    /// - Parameters:
    ///   - source: the local address; nil lets the system choose.
    ///   - engine: of this one connection; nil for TCP.
    ///   - timeout: for the TCP connection; nil is `edge.timers.connect`. A TLS handshake then has `edge.timers.handshake`.
    public static func connect(
        to remote: Endpoint, from source: IPAddress? = nil, tls engine: TLSEngine? = nil, timeout: Duration? = nil,
        in flows: FlowContext, userData: AnyObject? = nil
    ) -> StreamFlow {
        flows.eventLoop.assertInEventLoop()
        let anywhere = IPAddress.unspecified(isIPv6: remote.address.isIPv6)
        let flow = StreamFlow(
            flows: flows, isOutbound: true, listener: nil, local: Endpoint(address: source ?? anywhere, port: 0),
            remote: remote, engine: engine)
        flow.userData = userData
        let eventLoop = flows.eventLoop
        let bound = NIOLoopBound(flow, eventLoop: eventLoop)
        // Later, should it fail at once.
        let fail: @Sendable (any Error) -> Void = { error in
            eventLoop.execute { bound.value.failConnect(ConnectError(error)) }
        }
        do {
            guard let plain = ClientBootstrap(validatingGroup: eventLoop) else { throw NoSockets() }
            var bootstrap =
                plain
                .connectTimeout(TimeAmount(timeout ?? flows.timers.connect))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try bound.value.install(in: channel) }
                }
            if let source { bootstrap = bootstrap.bind(to: try Endpoint(address: source, port: 0).socketAddress) }
            bootstrap.connect(to: try remote.socketAddress).whenFailure(fail)
        } catch {
            fail(error)
        }
        return flow
    }
}
