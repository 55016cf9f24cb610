internal import GatehouseTLS
internal import NIOCore
internal import SIPMessage

extension Demo {
    /// A phone's TLS connection: ciphertext on the side of the socket, SIP messages on the other.
    final class PhoneConnection: ChannelDuplexHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let engine: TLSEngine
        private var framer = Framer()
        private var opened: EventLoopPromise<TLSFacts>?
        private let receive: (Message) -> Void
        private let closed: () -> Void

        /// - Parameters:
        ///   - opened: fulfilled when the handshake is complete and the certificate verified.
        ///   - receive: gets each message, on the loop.
        init(
            _ engine: TLSEngine, opened: EventLoopPromise<TLSFacts>, receive: @escaping (Message) -> Void,
            closed: @escaping () -> Void
        ) {
            self.engine = engine
            self.opened = opened
            self.receive = receive
            self.closed = closed
        }

        func channelActive(context: ChannelHandlerContext) { self.shakeHands(context) }

        func channelInactive(context: ChannelHandlerContext) {
            self.fail(TLSFailure.closed)
            self.closed()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            self.fail(error)
            context.close(promise: nil)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.engine.receive(self.unwrapInboundIn(data))
            if self.engine.facts == nil { self.shakeHands(context) }
            if self.engine.facts != nil { self.read(context) }
        }

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            do throws(TLSFailure) {
                let engine = self.engine
                try self.unwrapOutboundIn(data).withUnsafeReadableBytes { bytes throws(TLSFailure) in
                    try engine.write(bytes)
                }
            } catch {
                promise?.fail(error)
                return
            }
            if let output = self.engine.takeOutput() { context.write(self.wrapOutboundOut(output), promise: promise) }
        }

        func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
            self.engine.sendCloseNotify()
            self.flush(context)
            context.close(mode: mode, promise: promise)
        }

        private func shakeHands(_ context: ChannelHandlerContext) {
            let step = self.engine.handshake()
            self.flush(context)
            switch step {
            case .needsInput: break
            case .complete:
                if let facts = self.engine.facts { self.opened?.succeed(facts) }
                self.opened = nil
            case .failed(let failure):
                self.fail(failure)
                context.close(promise: nil)
            }
        }

        private func read(_ context: ChannelHandlerContext) {
            var plaintext = [UInt8](repeating: 0, count: 16 << 10)
            while true {
                switch plaintext.withUnsafeMutableBytes({ self.engine.read(into: $0) }) {
                case .bytes(let count): self.frame(plaintext[..<count], context)
                case .wouldBlock: return self.flush(context)
                case .closed, .failed: return context.close(promise: nil)
                }
            }
        }

        private func frame(_ bytes: ArraySlice<UInt8>, _ context: ChannelHandlerContext) {
            let receive = self.receive
            var isBroken = false
            bytes.withUnsafeBytes { buffer in
                self.framer.receive(buffer) { event in
                    switch consume event {
                    case .message(let message): receive(message)
                    case .ping: break
                    case .fault, .close: isBroken = true
                    }
                    return !isBroken
                }
            }
            if isBroken { context.close(promise: nil) }
        }

        private func flush(_ context: ChannelHandlerContext) {
            if let output = self.engine.takeOutput() {
                context.writeAndFlush(self.wrapOutboundOut(output), promise: nil)
            }
        }

        private func fail(_ error: any Error) {
            self.opened?.fail(error)
            self.opened = nil
        }
    }
}
