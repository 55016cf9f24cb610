public import GatehousePolicy
public import GatehouseTLS
public import NIOCore
public import SIPMessage

/// What one worker lends its sockets: its loop, its timers, the buffers that all of them share, and the list of those
/// that have something to send at the end of the tick. For its loop only.
public final class FlowContext {
    /// In the FlowID of each of its flows.
    public let worker: UInt16
    public let eventLoop: any EventLoop
    public let wheel: TimerWheel
    /// Deadlines of connections (`edge.timers`); a flow that lives on follows a change at its next deadline.
    public var timers: TimerSettings
    /// `edge.limits`.
    public var limits: EdgeLimits
    /// Limits of a message until the owner sets a domain's in `flowOpened`.
    public var messageLimits: MessageLimits
    /// Where handshakes run; nil where there is no TLS.
    public let handshakes: HandshakePool?
    /// Called for every stream flow of this worker; nil once the context is closed.
    public private(set) var owner: (any StreamFlowOwner)?

    /// Where a flow's ciphertext or plaintext arrives: one read's worth.
    let readBuffer: SharedReadBuffer
    /// Where plaintext is decrypted to, or gathered to be sent.
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 64)
    /// What TLS engines encrypt into, one after the other; empty in between.
    var outputBuffer = ByteBufferAllocator().buffer(capacity: 64 << 10)
    /// The datagrams of one recvmmsg or sendmmsg; made for the first datagram socket.
    private(set) lazy var datagramVector = DatagramVector()
    /// What an ICMP error quotes.
    let errorBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 2048, alignment: 16)
    /// Where that datagram was going: a struct sockaddr_storage.
    let errorAddress = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 16)
    private var readinessPoller: ReadinessPoller?

    private var dirtyFlows = ContiguousArray<StreamFlow>()
    private var dirtyDatagrams = ContiguousArray<DatagramEndpoint>()
    private var isFlushScheduled = false
    private var lastFlow: UInt64 = 0

    /// - Parameter owner: kept alive until `close`.
    public init(
        worker: UInt16, eventLoop: any EventLoop, owner: any StreamFlowOwner, timers: TimerSettings,
        limits: EdgeLimits, messageLimits: MessageLimits, handshakes: HandshakePool?
    ) {
        self.worker = worker
        self.eventLoop = eventLoop
        self.wheel = TimerWheel(eventLoop: eventLoop)
        self.timers = timers
        self.limits = limits
        self.messageLimits = messageLimits
        self.handshakes = handshakes
        self.owner = owner
        self.readBuffer = SharedReadBuffer()
    }

    deinit {
        self.scratch.deallocate()
        self.errorBuffer.deallocate()
        self.errorAddress.deallocate()
    }

    /// Lets go of the owner, the timers and the poller. Close the flows and datagram endpoints first.
    public func close() {
        self.flush()
        self.wheel.cancelAll()
        self.readinessPoller?.close()
        self.readinessPoller = nil
        self.owner = nil
    }

    /// This context as what may cross to another thread, there to name the loop that it belongs to.
    public var bound: BoundFlowContext {
        BoundFlowContext(eventLoop: self.eventLoop, flows: NIOLoopBound(self, eventLoop: self.eventLoop))
    }

    /// The number of a flow that is no connection: the owner's own, as peers that speak UDP are.
    public func makeFlowNumber() -> UInt64 { self.nextFlowID().number }

    func nextFlowID() -> FlowID {
        self.lastFlow += 1
        return FlowID(worker: self.worker, number: self.lastFlow)
    }

    func poller() throws(SystemError) -> ReadinessPoller {
        if let poller = self.readinessPoller { return poller }
        let poller = try ReadinessPoller(eventLoop: self.eventLoop)
        self.readinessPoller = poller
        return poller
    }

    // MARK: The end of the tick

    func markDirty(_ flow: StreamFlow) {
        self.dirtyFlows.append(flow)
        self.scheduleFlush()
    }

    func markDirty(_ endpoint: DatagramEndpoint) {
        self.dirtyDatagrams.append(endpoint)
        self.scheduleFlush()
    }

    /// The loop runs what is submitted to it after all sockets that were ready have been read: that is the tick's end.
    private func scheduleFlush() {
        guard !self.isFlushScheduled else { return }
        self.isFlushScheduled = true
        self.eventLoop.assumeIsolated().execute { self.flush() }
    }

    private func flush() {
        self.isFlushScheduled = false
        // Whatever becomes dirty meanwhile is flushed at the end of the next tick. Two arrays take turns, so that they
        // keep their memory.
        if !self.dirtyDatagrams.isEmpty {
            swap(&self.dirtyDatagrams, &self.flushedDatagrams)
            for endpoint in self.flushedDatagrams { endpoint.flush() }
            self.flushedDatagrams.removeAll(keepingCapacity: true)
        }
        if !self.dirtyFlows.isEmpty {
            swap(&self.dirtyFlows, &self.flushedFlows)
            for flow in self.flushedFlows { flow.flush() }
            self.flushedFlows.removeAll(keepingCapacity: self.flushedFlows.capacity <= 4096)
        }
    }

    private var flushedFlows = ContiguousArray<StreamFlow>()
    private var flushedDatagrams = ContiguousArray<DatagramEndpoint>()
}

/// A worker's context on its way over other threads; only its loop can look into it.
public struct BoundFlowContext: Sendable {
    public let eventLoop: any EventLoop
    let flows: NIOLoopBound<FlowContext>

    /// The context. Traps anywhere but on `eventLoop`.
    public var value: FlowContext { self.flows.value }
}
