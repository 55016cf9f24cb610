public import GatehouseTLS
internal import Glibc
internal import NIOCore
internal import SIPMessage

// From bytes to messages.

extension StreamFlow: HandshakeOwner {
    /// What may come while a thread has the handshake: the client's last flight and a first message behind it.
    private static let heldInputLimit = 64 << 10

    /// Whether what comes is still looked at.
    var isReceiving: Bool { self.closeReason == nil && self.state == .open }

    /// The first, tiny read of a connection is full: there is more, and one look sees the whole.
    func receivedFirst(_ first: ByteBuffer) {
        guard self.descriptor >= 0 else {
            self.received(first)
            return
        }
        var whole = self.flows.readBuffer.take(allocator: ByteBufferAllocator())
        whole.writeImmutableBuffer(first)
        whole.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) { room in
            // At the end of the stream, or on an error, NIO sees the same with its next read.
            max(0, recv(self.descriptor, room.baseAddress, room.count, Int32(MSG_DONTWAIT)))
        }
        self.received(whole)
        self.flows.readBuffer.giveBack(whole)
    }

    func received(_ buffer: ByteBuffer) {
        switch self.state {
        case .handshaking:
            self.receivedHandshake(buffer)
        case .open where self.closeReason == nil:
            if let engine = self.engine {
                engine.receive(buffer)
                self.readPlaintext(engine)
            } else {
                buffer.withUnsafeReadableBytes { self.parse($0) }
            }
        case .connecting, .open, .inputEnded, .lingering, .closed:
            break  // TLS may still send what only its record layer needs; nobody needs it any more
        }
    }

    // MARK: Handshake

    private func receivedHandshake(_ buffer: ByteBuffer) {
        guard self.closeReason == nil else { return }
        guard (self.heldInput?.readableBytes ?? 0) + buffer.readableBytes <= StreamFlow.heldInputLimit else {
            self.failHandshake(
                TLSFailure(cause: .protocolError, text: "the peer sent more than a TLS handshake can need"))
            return
        }
        // A copy: the loop's buffer is needed for the next read, and a thread may hold these bytes for long.
        var held = self.heldInput.take() ?? ByteBufferAllocator().buffer(capacity: buffer.readableBytes)
        held.writeImmutableBuffer(buffer)
        if self.isInPool {
            self.heldInput = held
        } else {
            self.continueHandshake(held)
        }
    }

    /// Lends the engine to a thread of the pool, for one step of the handshake.
    func continueHandshake(_ input: ByteBuffer) {
        guard let engine = self.engine, let pool = self.flows.handshakes else { return }
        self.isInPool = pool.submit(engine, input: input, owner: self, on: self.flows.eventLoop)
        if !self.isInPool { self.failHandshake(.overloaded) }
    }

    public func handshake(of engine: TLSEngine, reached step: HandshakeStep) {
        self.isInPool = false
        guard self.state == .handshaking else { return }
        guard self.closeReason == nil else {
            self.markDirty()
            return
        }
        switch step {
        case .needsInput:
            self.transmitOutput(of: engine)
            if let input = self.heldInput.take() { self.continueHandshake(input) }
        case .failed(let failure):
            self.failHandshake(failure)
        case .complete:
            self.transmitOutput(of: engine)
            let input = self.heldInput.take()
            self.opened()
            // A message may have come with the client's Finished.
            if let input { engine.receive(input) }
            self.readPlaintext(engine)  // also where the flow is to close: the engine holds no input on return
        }
    }

    // MARK: TLS

    /// Decrypts all that is there, as far as the scratch buffer reaches at a time, and parses it.
    private func readPlaintext(_ engine: TLSEngine) {
        let scratch = self.flows.scratch
        while true {
            var count = 0
            var end = ReadResult.wouldBlock
            var isFull = false
            reading: while true {
                guard count < scratch.count else {
                    isFull = true
                    break
                }
                let result = engine.read(into: UnsafeMutableRawBufferPointer(rebasing: scratch[count...]))
                switch result {
                case .bytes(let read):
                    count += read
                case .wouldBlock, .closed, .failed:
                    end = result
                    break reading
                }
            }
            if count > 0 && self.isReceiving { self.parse(UnsafeRawBufferPointer(rebasing: scratch[..<count])) }
            if !isFull {
                self.decryptionEnded(end)
                return
            }
        }
    }

    private func decryptionEnded(_ end: ReadResult) {
        if self.engine?.output.readableBytes != 0 { self.markDirty() }
        guard self.isReceiving else { return }
        switch end {
        case .bytes, .wouldBlock:
            break
        case .failed(let failure):
            self.closeAfterFlush(.tls(failure))  // the alert leaves first
        case .closed where self.engine?.facts?.version == "TLSv1.3":
            self.endInput()
        case .closed:
            // TLS 1.2: the answer to close_notify is close_notify, and what is pending is lost (RFC 5246 §7.2.1).
            let isPartial = self.framer.endOfStream(clean: false) != nil
            self.close(isPartial ? .truncated : .peerClosed)
        }
    }

    // MARK: The end of the input

    /// FIN came, with or without close_notify before it.
    func receivedFIN() {
        self.hasReceivedFIN = true
        switch self.state {
        case .handshaking:
            if self.closeReason == nil { self.failHandshake(.closed) }
        case .open where self.closeReason == nil:
            if self.engine == nil {
                self.endInput()
            } else {
                // Anyone on the path can send a FIN: what is incomplete is discarded (TLS-09).
                let isPartial = self.framer.endOfStream(clean: false) != nil
                self.close(isPartial ? .truncated : .peerClosed)
            }
        case .lingering:
            self.disconnect()
        case .connecting, .open, .inputEnded, .closed:
            break
        }
    }

    /// The peer has said all: a request that is cut short is answered (FRAME-07), complete ones may still be.
    private func endInput() {
        let event = self.framer.endOfStream(clean: true)
        self.state = .inputEnded
        if let event {
            self.handleLast(event, reason: .truncated)
            return
        }
        let answersAreDue = self.flows.owner?.flowInputEnded(self) ?? false
        guard self.closeReason == nil else { return }
        if answersAreDue {
            self.startReadDeadline(.halfOpen)
        } else {
            self.closeAfterFlush(.peerClosed)
        }
    }

    // MARK: Framing

    private func parse(_ bytes: UnsafeRawBufferPointer) {
        var delivered = false
        self.framer.receive(bytes) { event in
            delivered = true
            return self.handle(event)
        }
        guard self.isReceiving else { return }
        let stage: Deadline =
            self.framer.isInsideBody ? .body : self.framer.isInsideHeader ? .header : .idle
        if stage != self.readDeadlineKind || (delivered && stage != .idle) { self.startReadDeadline(stage) }
    }

    /// The stream ends amid a message: an answer may leave, and `reason` says why.
    func handleLast(_ event: consuming Framer.Event, reason: FlowCloseReason) {
        if case .fault(let fault) = event, let answer = self.flows.owner?.flow(self, refused: fault) {
            self.send(answer)
        }
        self.closeAfterFlush(reason)
    }

    /// - Returns: whether more is to be parsed.
    private func handle(_ event: consuming Framer.Event) -> Bool {
        switch consume event {
        case .message(let message):
            self.flows.owner?.flow(self, received: message)
        case .ping:
            self.owedPongs += 1
            self.markDirty()
        case .fault(let fault):
            if let answer = self.flows.owner?.flow(self, refused: fault) { self.send(answer) }
            if fault.closesStream { self.closeAfterFlush(.framing(cause: String(describing: fault.reason))) }
        case .close(let reason):
            self.closeAfterFlush(.notSIP(cause: String(describing: reason)))
        }
        return self.isReceiving
    }
}
