import GatehousePolicy
import NIOCore
import NIOEmbedded
import SIPMessage

@testable import GatehouseNet

/// A flow over an embedded channel, whose time stands still.
struct EmbeddedFlow {
    let loop: EmbeddedEventLoop
    let channel: EmbeddedChannel
    let owner: TestOwner
    let context: FlowContext

    /// The flow; only where the owner lets it in.
    var flow: StreamFlow {
        get throws { try self.channel.pipeline.syncOperations.handler(type: StreamFlow.self) }
    }

    init(
        timers: TimerSettings = TimerSettings(), limits: EdgeLimits = EdgeLimits(),
        messageLimits: MessageLimits = MessageLimits(), admission: Admission = .plain,
        setUp: (TestOwner) -> Void = { _ in }
    ) throws {
        let loop = EmbeddedEventLoop()
        self.loop = loop
        self.channel = EmbeddedChannel(loop: loop)
        self.owner = TestOwner()
        self.owner.admission = { _, _ in admission }
        setUp(self.owner)
        self.context = FlowContext(
            worker: 3, eventLoop: loop, owner: self.owner, timers: timers, limits: limits,
            messageLimits: messageLimits, handshakes: nil)
        self.channel.localAddress = try SocketAddress(ipAddress: "192.0.2.10", port: 5060)
        self.channel.remoteAddress = try SocketAddress(ipAddress: "192.0.2.1", port: 40_000)
        try StreamFlow.accept(self.channel, in: self.context, listener: ListenerTag(1))
        try self.channel.connect(to: SocketAddress(ipAddress: "192.0.2.1", port: 40_000)).wait()
        self.loop.run()
    }

    /// One read, and the tick's end.
    func receive(_ text: String) throws {
        try self.channel.writeInbound(ByteBuffer(string: text))
        self.loop.run()
    }

    /// FIN comes.
    func receiveFIN() {
        self.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        self.loop.run()
    }

    func advance(_ duration: Duration) { self.loop.advanceTime(by: TimeAmount(duration)) }

    /// What was written, write by write, since the last call.
    func writes() throws -> [String] {
        var writes: [String] = []
        while let buffer = try self.channel.readOutbound(as: ByteBuffer.self) { writes.append(String(buffer: buffer)) }
        return writes
    }
}
