import GatehousePolicy
import NIOCore
import NIOPosix
import SIPMessage
import Synchronization

/// A name server on a free loopback port that answers as a test wants, over UDP.
final class DNSScriptedServer: Sendable {
    /// A question as it came in.
    struct Query: Sendable {
        var id: UInt16
        var name: String
        var type: UInt16
    }

    /// From a question to the datagrams that answer it, perhaps none.
    typealias Script = @Sendable (Query) -> [[UInt8]]

    private let channel: any Channel
    private let log: Log

    private final class Log: Sendable {
        let queries = Mutex<[Query]>([])
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        typealias OutboundOut = AddressedEnvelope<ByteBuffer>

        private let log: Log
        private let script: Script

        init(log: Log, script: @escaping Script) {
            self.log = log
            self.script = script
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = Self.unwrapInboundIn(data)
            guard let query = Query(Array(envelope.data.readableBytesView)) else { return }
            self.log.queries.withLock { $0.append(query) }
            for reply in self.script(query) {
                let answer = AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: reply))
                context.write(Self.wrapOutboundOut(answer), promise: nil)
            }
            context.flush()
        }
    }

    static func start(_ script: @escaping Script) async throws -> DNSScriptedServer {
        let log = Log()
        let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.socketOption(.so_rcvbuf), value: 1 << 20)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(log: log, script: script))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return DNSScriptedServer(channel: channel, log: log)
    }

    private init(channel: any Channel, log: Log) {
        self.channel = channel
        self.log = log
    }

    var endpoint: Endpoint {
        Endpoint(
            address: IPAddress(v4: 0x7F00_0001), port: UInt16(truncatingIfNeeded: self.channel.localAddress?.port ?? 0))
    }

    /// What was asked so far.
    var queries: [Query] { self.log.queries.withLock { $0 } }

    func stop() async throws {
        try await self.channel.close()
    }
}

extension DNSScriptedServer.Query {
    init?(_ bytes: [UInt8]) {
        var reader = DNSTestReader(bytes: bytes)
        guard let id = reader.word(), bytes.count > 12 else { return nil }
        reader.offset = 12
        var labels: [String] = []
        while let count = reader.byte(), count > 0 {
            guard let label = reader.take(Int(count)) else { return nil }
            labels.append(String(decoding: label, as: UTF8.self))
        }
        guard let type = reader.word() else { return nil }
        self.init(id: id, name: labels.joined(separator: "."), type: type)
    }
}

private struct DNSTestReader {
    var bytes: [UInt8]
    var offset = 0

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= self.bytes.count - self.offset else { return nil }
        defer { self.offset += count }
        return self.bytes[self.offset..<self.offset + count]
    }

    mutating func byte() -> UInt8? { self.take(1)?.first }

    mutating func word() -> UInt16? {
        guard let high = self.byte(), let low = self.byte() else { return nil }
        return UInt16(high) << 8 | UInt16(low)
    }
}
