internal import NIOCore
internal import NIOPosix
internal import SIPMessage

extension Demo {
    /// SIP over one UDP socket, with the retransmissions that UDP needs (RFC 3261 §17). Lives on one event loop.
    final class Datagrams: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        typealias OutboundOut = AddressedEnvelope<ByteBuffer>

        /// Gets each new request once. An ACK comes with no transaction of its own.
        var onRequest: (Message, SocketAddress) -> Void = { _, _ in }

        private struct Answered {
            /// The last response; empty while there is none.
            var response: [UInt8] = []
            var retransmission: Scheduled<Void>?
        }
        private struct Asked {
            var request: Message
            var address: SocketAddress
            var retransmission: Scheduled<Void>?
            var hasFinal = false
            /// nil: nobody answered.
            var onResponse: (Message?) -> Void
        }
        private var answered: [String: Answered] = [:]
        private var asked: [String: Asked] = [:]
        private var context: ChannelHandlerContext?

        private static let t1 = TimeAmount.milliseconds(500)
        private static let t2 = TimeAmount.seconds(4)
        private static let lifetime = TimeAmount.seconds(32)
        /// Transactions at a time; a request beyond is left to its sender's retransmission.
        private static let limit = 10_000

        func handlerAdded(context: ChannelHandlerContext) { self.context = context }

        func handlerRemoved(context: ChannelHandlerContext) {
            self.context = nil
            for entry in self.answered.values { entry.retransmission?.cancel() }
            for entry in self.asked.values { entry.retransmission?.cancel() }
            self.answered = [:]
            self.asked = [:]
        }

        // An ICMP error for an earlier datagram: the edge is not there, and retransmission will tell.
        func errorCaught(context: ChannelHandlerContext, error: any Error) {}

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = self.unwrapInboundIn(data)
            let parsed = envelope.data.withUnsafeReadableBytes { Parser.parse(datagram: $0) }
            guard case .message(let message) = parsed, message.checkSyntax(MessageLimits()) == nil else { return }
            if message.isRequest {
                self.take(request: message, from: envelope.remoteAddress)
            } else {
                self.take(response: message)
            }
        }

        // MARK: Server transactions

        private func take(request: Message, from address: SocketAddress) {
            let key = Self.key(of: request)
            if request.method == .ack {
                // The ACK of a 2xx has another branch: it is found by Call-ID and CSeq.
                self.answered[Self.dialogKey(of: request)]?.retransmission?.cancel()
                self.onRequest(request, address)
            } else if let known = self.answered[key] {
                if !known.response.isEmpty { self.write(known.response, to: address) }
            } else if self.answered.count < Self.limit {
                self.answered[key] = Answered()
                self.later(Self.lifetime) { $0.answered[key] = nil }
                self.onRequest(request, address)
            }
        }

        /// Answers a request; a final response to an INVITE is repeated until its ACK comes.
        func respond(
            _ status: Int, to request: Message, at address: SocketAddress, tag: String? = nil,
            headers: [(StaticString, [UInt8])] = [], body: [UInt8] = []
        ) {
            let source = Endpoint(address)
            guard
                let response = ResponseWriter.make(
                    status: status, to: request, source: source, toTag: tag.map { Array($0.utf8) }, extra: headers,
                    body: body)
            else { return }
            self.answered[Self.key(of: request)]?.response = response
            self.write(response, to: address)
            if request.method == .invite, status >= 200 {
                self.repeatUntilACK(response, to: address, key: Self.dialogKey(of: request), after: Self.t1)
            }
        }

        private func repeatUntilACK(
            _ response: [UInt8], to address: SocketAddress, key: String, after delay: TimeAmount
        ) {
            let isFirst = self.answered[key] == nil
            if isFirst { self.later(Self.lifetime) { $0.answered.removeValue(forKey: key)?.retransmission?.cancel() } }
            self.answered[key, default: Answered()].retransmission = self.later(delay) { agent in
                guard agent.answered[key] != nil else { return }
                agent.write(response, to: address)
                agent.repeatUntilACK(response, to: address, key: key, after: min(delay * 2, Self.t2))
            }
        }

        // MARK: Client transactions

        /// Sends a request and hands each response to `onResponse`, a 2xx to an INVITE as often as it comes; nil if none came.
        func send(_ bytes: [UInt8], to address: SocketAddress, onResponse: @escaping (Message?) -> Void) {
            guard let request = try? Message(bytes) else { return onResponse(nil) }
            let key = Self.key(of: request)
            self.asked[key] = Asked(request: request, address: address, onResponse: onResponse)
            self.write(bytes, to: address)
            self.repeatUntilAnswer(key, after: Self.t1)
            self.later(Self.lifetime) { agent in
                // An INVITE that rings may take longer; it ends with its final response.
                guard let entry = agent.asked[key], entry.hasFinal || entry.retransmission != nil else { return }
                agent.asked.removeValue(forKey: key)?.retransmission?.cancel()
                if !entry.hasFinal { entry.onResponse(nil) }
            }
        }

        /// Sends an ACK, or what else has no answer.
        func write(_ bytes: [UInt8], to address: SocketAddress) {
            guard let context = self.context else { return }
            let data = context.channel.allocator.buffer(bytes: bytes)
            let envelope = AddressedEnvelope(remoteAddress: address, data: data)
            context.writeAndFlush(self.wrapOutboundOut(envelope), promise: nil)
        }

        private func repeatUntilAnswer(_ key: String, after delay: TimeAmount) {
            self.asked[key]?.retransmission = self.later(delay) { agent in
                guard let entry = agent.asked[key], entry.retransmission != nil else { return }
                agent.write(entry.request.bytes, to: entry.address)
                agent.repeatUntilAnswer(key, after: min(delay * 2, Self.t2))
            }
        }

        private func take(response: Message) {
            let key = Self.key(of: response)
            guard let entry = self.asked[key] else { return }
            if response.status >= 200 || response.method == .invite {
                entry.retransmission?.cancel()
                self.asked[key]?.retransmission = nil
            }
            guard response.status >= 200 else { return entry.onResponse(response) }
            if response.method == .invite, response.status >= 300 {
                if let ack = try? RequestWriter.makeACK(for: entry.request, response: response) {
                    self.write(ack, to: entry.address)
                }
            }
            let isRepeated = entry.hasFinal
            if !isRepeated {
                self.asked[key]?.hasFinal = true
                self.later(Self.lifetime) { $0.asked[key] = nil }
            }
            if !isRepeated || (response.method == .invite && response.status < 300) { entry.onResponse(response) }
        }

        // MARK: Parts

        @discardableResult
        private func later(_ delay: TimeAmount, _ body: @escaping (Datagrams) -> Void) -> Scheduled<Void>? {
            self.context?.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
                if let self { body(self) }
            }
        }

        /// RFC 3261 §17.1.3 and §17.2.3: branch, sent-by, and the method, ACK's being INVITE's.
        private static func key(of message: Message) -> String {
            let via = message.topVia
            let method = message.method == .ack ? Method.invite : message.method
            return "\(message.text(via?.branch)) \(message.text(via?.sentByHost)):\(via?.sentByPort ?? 5060) \(method)"
        }

        private static func dialogKey(of message: Message) -> String {
            "\(message.text(message.callID)) \(message.cseq?.number ?? 0) \(message.text(message.from?.tag))"
        }
    }
}

extension Endpoint {
    /// nil for a socket that is not of IP.
    init?(_ address: SocketAddress) {
        guard let text = address.ipAddress, let ip = IPAddress(text), let port = address.port else { return nil }
        self.init(address: ip, port: UInt16(truncatingIfNeeded: port))
    }
}
