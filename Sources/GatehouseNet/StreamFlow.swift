internal import GatehousePolicy
public import GatehouseTLS
internal import Glibc
public import NIOCore
public import SIPMessage

/// A stream connection, TCP or TLS, on its worker's loop: the one handler of its NIO channel.
///
/// It does TLS, framing, keep-alive and deadlines, and tells its owner what comes out. Nothing in it is per message or
/// per read: bytes arrive in the loop's shared buffers and what is sent in one tick leaves in one write at its end. For
/// its loop only.
public final class StreamFlow {
    enum State {
        /// Connecting (outbound), or accepted and not yet active.
        case connecting
        case handshaking
        case open
        /// The peer has sent its last (half-close), and answers may still be sent.
        case inputEnded
        /// All was said, FIN is sent; what the peer still sends is discarded until its own FIN.
        case lingering
        case closed
    }

    public let id: FlowID
    /// Whether this side opened the connection.
    public let isOutbound: Bool
    /// The listener that accepted it; nil on an outbound flow.
    public let listener: ListenerTag?
    public internal(set) var local: Endpoint
    public let remote: Endpoint
    public var transport: Transport { self.engine == nil ? .tcp : .tls }
    /// What the handshake established; nil before its end and on TCP.
    public var tls: TLSFacts? { self.engine?.facts }
    /// The owner's own.
    public var userData: AnyObject?
    /// Whether a registration or another long-lived use keeps the flow, so that it may be silent beyond edge.timers.idle
    /// (RFC 5626 §4.2; CONN-01).
    public var isRegistered = false
    /// How long the peer may be silent, whatever else keeps the flow (RFC 5626 §5.4); nil: edge.timers.idle.
    public private(set) var silenceLimit: Duration?
    /// When the peer was last heard of.
    public internal(set) var lastActivity: NIODeadline

    let flows: FlowContext
    let engine: TLSEngine?
    var state = State.connecting
    var framer: Framer
    var context: ChannelHandlerContext?
    /// The socket; -1 where there is none (yet, any more, or in an embedded channel).
    var descriptor: Int32 = -1

    // Ending.
    /// Set once the flow is to close; acted on at the end of the tick.
    var closeReason: FlowCloseReason?
    /// Whether what is queued leaves before the close.
    var closesAfterFlush = false
    var isOpenReported = false
    var isEndReported = false
    /// What the system said, if it did before the end.
    var systemError: Int32 = 0
    /// Whether the peer's FIN has come.
    var hasReceivedFIN = false

    // Handshake.
    /// Whether a thread of the pool has the engine.
    var isInPool = false
    /// What came meanwhile.
    var heldInput: ByteBuffer?

    // Output.
    var firstQueued: [UInt8]?
    var moreQueued = ContiguousArray<[UInt8]>()
    var queuedInBytes = 0
    /// Handed to NIO because the kernel would not take it at once.
    var unsentInBytes = 0
    var owedPongs = 0
    var isDirty = false
    var isBlocked = false
    /// Whether nothing can be written any more.
    var isBroken = false

    // Input.
    var isReadPaused = false
    var isReadHeld = false

    // Deadlines.
    var readDeadline = TimerID.none
    var readDeadlineKind = Deadline.none
    var writeDeadline = TimerID.none
    var pingTimer = TimerID.none
    var pingInterval: Duration?
    var awaitsPong = false

    init(
        flows: FlowContext, isOutbound: Bool, listener: ListenerTag?, local: Endpoint, remote: Endpoint,
        engine: TLSEngine?
    ) {
        self.id = flows.nextFlowID()
        self.flows = flows
        self.isOutbound = isOutbound
        self.listener = listener
        self.local = local
        self.remote = remote
        self.engine = engine
        self.framer = Framer(limits: flows.messageLimits)
        self.lastActivity = flows.eventLoop.now
    }

    /// Whether new transactions may be started on the flow.
    public var isUsable: Bool {
        switch self.state {
        case .connecting, .handshaking, .open: self.closeReason == nil
        case .inputEnded, .lingering, .closed: false
        }
    }

    /// Whether an answer to what came on the flow may still be sent.
    public var isWritable: Bool { self.closeReason == nil && (self.isUsable || self.state == .inputEnded) }

    /// The domain's limits in place of the worker's; only from within `flowOpened`.
    public func limitMessages(to limits: MessageLimits) {
        self.framer = Framer(limits: limits)
    }

    /// Queues a message. All that is queued within a tick leaves as one write at its end, once the flow is open.
    ///
    /// - Returns: false where the flow is closing or closed, or closes now because more than
    ///   `EdgeLimits.writeQueueInBytes` waits for a slow reader: `flowClosed` follows or has been called.
    @discardableResult
    public func send(_ bytes: [UInt8]) -> Bool {
        guard self.isWritable else { return false }
        guard self.queuedInBytes + self.unsentInBytes + bytes.count <= self.flows.limits.writeQueueInBytes else {
            self.close(.writeQueueFull)
            return false
        }
        self.enqueue(bytes)
        return true
    }

    /// Closes the flow at the end of the tick and drops what is still queued then; TLS says close_notify first
    /// (TLS-08). `flowClosed` is called when it has happened. The first reason given counts.
    public func close(_ reason: FlowCloseReason) {
        guard self.closeReason == nil, self.state != .closed else { return }
        self.closeReason = reason
        self.markDirty()
    }

    /// Closes the flow when what is queued has been sent, or the peer takes too long for it. Nothing more is received.
    public func closeAfterFlush(_ reason: FlowCloseReason) {
        guard self.closeReason == nil, self.state != .closed else { return }
        self.closesAfterFlush = true
        self.close(reason)
    }

    /// Sends CRLFCRLF as keep-alive of a flow that this side needs (RFC 5626 §4.4.1): at a random 80 to 100 % of
    /// `interval`, and when no byte comes within 10 s of it, the flow fails. nil stops.
    public func keepAlive(every interval: Duration?) {
        self.pingInterval = interval
        self.flows.wheel.cancel(self.pingTimer)
        self.pingTimer = .none
        self.awaitsPong = false
        if interval != nil && self.state == .open { self.startPingTimer() }
    }

    // MARK: Steps of its life

    /// The connection exists.
    func connected(_ context: ChannelHandlerContext) {
        self.lastActivity = self.flows.eventLoop.now
        if self.isOutbound, let local = Endpoint(context.channel.localAddress) { self.local = local }
        guard self.engine != nil else {
            self.opened()
            return
        }
        self.state = .handshaking
        self.startReadDeadline(.handshake)
        if self.isOutbound { self.continueHandshake(ByteBuffer()) }  // the client speaks first
    }

    /// Has the flow closed once the peer has been silent for so long; nil takes that back.
    public func limitSilence(to limit: Duration?) {
        guard self.silenceLimit != limit else { return }
        self.silenceLimit = limit
        if self.state == .open, self.readDeadlineKind == .idle { self.startReadDeadline(.idle) }
    }

    func opened() {
        self.state = .open
        self.startReadDeadline(.idle)
        if self.pingInterval != nil { self.startPingTimer() }
        self.isOpenReported = true
        self.flows.owner?.flowOpened(self)
        if self.hasOutput { self.markDirty() }
    }

    /// Tells the owner, once, how it ended.
    func reportEnd(_ reason: FlowCloseReason) {
        guard !self.isEndReported else { return }
        self.isEndReported = true
        if self.isOpenReported {
            self.flows.owner?.flowClosed(self, reason: reason)
        } else if self.state == .connecting && self.isOutbound {
            self.flows.owner?.connectFailed(self, error: .cancelled)
        } else {
            self.flows.owner?.handshakeFailed(
                self, failure: TLSFailure(cause: .closed, text: "closed here before the TLS handshake ended: \(reason)")
            )
        }
    }

    func failHandshake(_ failure: TLSFailure) {
        guard !self.isEndReported else { return }
        self.isEndReported = true
        if self.isInPool { self.engine?.abandon() }
        self.closeReason = self.closeReason ?? .released
        self.markDirty()  // an alert may have to leave
        self.flows.owner?.handshakeFailed(self, failure: failure)
    }

    func failConnect(_ error: ConnectError) {
        self.state = .closed
        guard !self.isEndReported else { return }
        self.isEndReported = true
        self.flows.owner?.connectFailed(self, error: error)
    }

    /// The channel is gone.
    func disconnected() {
        let before = self.state
        self.stopTimers()
        self.descriptor = -1
        self.isBroken = true
        self.firstQueued = nil
        self.moreQueued.removeAll()
        if before == .handshaking && self.closeReason == nil {
            self.failHandshake(.closed)
        } else if before == .connecting && self.isOutbound {
            // The failure of the connection attempt is reported by itself, with its cause.
        } else {
            self.reportEnd(self.closeReason ?? (self.systemError == 0 ? .peerClosed : .system(self.systemError)))
        }
        self.state = .closed
    }
}

// MARK: Channel events

extension StreamFlow: ChannelDuplexHandler {
    public typealias InboundIn = ByteBuffer
    public typealias OutboundIn = ByteBuffer
    public typealias OutboundOut = ByteBuffer

    public func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.descriptor = context.channel.socketDescriptor ?? -1
        if self.state == .closed {
            context.close(promise: nil)  // given up before there was a channel
        } else if context.channel.isActive {
            self.connected(context)
        }
    }

    public func handlerRemoved(context: ChannelHandlerContext) {
        if self.state != .closed { self.disconnected() }
        self.context = nil
    }

    public func channelActive(context: ChannelHandlerContext) {
        if self.state == .connecting { self.connected(context) }
    }

    public func channelInactive(context: ChannelHandlerContext) {
        if self.state != .closed || !self.isEndReported { self.disconnected() }
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = self.unwrapInboundIn(data)
        self.lastActivity = self.flows.eventLoop.now
        self.awaitsPong = false
        if buffer.writableBytes == 0 && buffer.storageCapacity == SharedReadBufferAllocator.firstRead {
            self.receivedFirst(buffer)
        } else {
            self.received(buffer)
        }
        self.flows.readBuffer.giveBack(buffer)
    }

    /// Asks NIO for the next read, unless reading is to stop for a while.
    public func read(context: ChannelHandlerContext) {
        if self.isReadPaused {
            self.isReadHeld = true
        } else {
            context.read()
        }
    }

    public func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { self.receivedFIN() }
    }

    public func channelWritabilityChanged(context: ChannelHandlerContext) {
        if self.isBlocked && context.channel.isWritable { self.unblocked() }
    }

    public func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let error = error as? IOError { self.systemError = error.errnoCode }
        if self.state == .closed { context.close(promise: nil) }
    }
}
