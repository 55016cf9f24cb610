internal import GatehouseTLS
internal import Glibc
internal import NIOCore

// From messages to bytes, and the end.

extension StreamFlow {
    private static let crlf: [UInt8] = [0x0D, 0x0A]
    /// Ciphertext that is gathered for one write, although the queue may be longer.
    private static let outputPiece = 256 << 10

    var hasOutput: Bool {
        if let engine = self.engine, engine.output.readableBytes > 0 { return true }
        return self.firstQueued != nil || self.owedPongs > 0 || self.closeReason != nil
    }

    func enqueue(_ bytes: [UInt8]) {
        self.queuedInBytes += bytes.count
        if self.firstQueued == nil {
            self.firstQueued = bytes
        } else {
            self.moreQueued.append(bytes)
        }
        self.markDirty()
    }

    func markDirty() {
        guard !self.isDirty else { return }
        self.isDirty = true
        self.flows.markDirty(self)
    }

    /// The tick ends: what is queued leaves, and the flow, if it is to close, closes.
    func flush() {
        self.isDirty = false
        switch self.state {
        case .open, .inputEnded:
            if !self.isBlocked && (self.closeReason == nil || self.closesAfterFlush) { self.transmitQueue() }
        case .connecting, .handshaking, .lingering, .closed:
            break
        }
        if let reason = self.closeReason { self.finish(reason) }
    }

    // MARK: Writing

    private func transmitQueue() {
        guard let engine = self.engine else {
            self.drainQueue { bytes in
                self.transmit(bytes)
                return self.canTransmit
            }
            return
        }
        self.transmitOutput(of: engine)  // what the record layer itself had to say
        guard self.canTransmit else { return }
        // The engine encrypts into the loop's buffer, so that it needs none of its own.
        let flows = self.flows
        engine.exchangeOutput(with: &flows.outputBuffer)
        self.drainQueue { bytes in
            do throws(TLSFailure) {
                try engine.write(bytes)
            } catch {
                self.closeAfterFlush(.tls(error))
                return false
            }
            if engine.output.readableBytes >= StreamFlow.outputPiece {
                engine.exchangeOutput(with: &flows.outputBuffer)
                self.transmitOutputBuffer()
                engine.exchangeOutput(with: &flows.outputBuffer)
            }
            return self.canTransmit
        }
        engine.exchangeOutput(with: &flows.outputBuffer)
        self.transmitOutputBuffer()
    }

    private var canTransmit: Bool { !self.isBlocked && !self.isBroken }

    private func transmitOutputBuffer() {
        self.flows.outputBuffer.withUnsafeReadableBytes { self.transmit($0) }
        self.flows.outputBuffer.clear()
    }

    /// Calls `body` with the queue's bytes in as few pieces as may be, until it is empty or `body` says no. What is left
    /// then stays queued if the flow is blocked, and goes if it is broken.
    private func drainQueue(_ body: (UnsafeRawBufferPointer) -> Bool) {
        self.queuePongs()
        guard let first = self.firstQueued else { return }
        // Out of the flow's hands while `body` runs, which may find the connection broken and empty the queue.
        let more = self.moreQueued
        self.firstQueued = nil
        self.moreQueued = []
        self.queuedInBytes = 0
        guard !more.isEmpty else {
            _ = first.withUnsafeBytes(body)
            return
        }
        let scratch = self.flows.scratch
        var next = first
        var taken = 0  // of `more`; `next` comes before those that are left
        var hasNext = true
        var goesOn = true
        func advance() {
            hasNext = taken < more.count
            guard hasNext else { return }
            next = more[taken]
            taken += 1
        }
        while goesOn && hasNext {
            guard next.count <= scratch.count else {
                goesOn = next.withUnsafeBytes(body)
                advance()
                continue
            }
            var filled = 0
            while hasNext && filled + next.count <= scratch.count {
                next.withUnsafeBytes { bytes in
                    UnsafeMutableRawBufferPointer(rebasing: scratch[filled...]).copyMemory(from: bytes)
                }
                filled += next.count
                advance()
            }
            goesOn = body(UnsafeRawBufferPointer(rebasing: scratch[..<filled]))
        }
        guard hasNext && self.isBlocked else { return }
        self.firstQueued = next
        self.moreQueued = ContiguousArray(more[taken...])
        self.queuedInBytes = self.moreQueued.reduce(next.count) { $0 + $1.count }
    }

    private func queuePongs() {
        while self.owedPongs > 0 {
            self.owedPongs -= 1
            if self.firstQueued == nil {
                self.firstQueued = StreamFlow.crlf
            } else {
                self.moreQueued.append(StreamFlow.crlf)
            }
        }
    }

    func transmitOutput(of engine: TLSEngine) {
        guard let output = engine.takeOutput() else { return }
        output.withUnsafeReadableBytes { self.transmit($0) }
    }

    /// Writes to the socket; what the kernel does not take at once goes to NIO, and the flow is blocked until it is gone.
    private func transmit(_ bytes: UnsafeRawBufferPointer) {
        guard let context = self.context, !self.isBroken, !bytes.isEmpty else { return }
        var sent = 0
        if self.descriptor >= 0 && !self.isBlocked {
            repeat {
                sent = Glibc.send(
                    self.descriptor, bytes.baseAddress, bytes.count,
                    Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            } while sent < 0 && errno == EINTR
            if sent == bytes.count { return }
            if sent < 0 {
                guard errno == EAGAIN else {
                    self.writeFailed(errno)
                    return
                }
                sent = 0
            }
        }
        var rest = context.channel.allocator.buffer(capacity: bytes.count - sent)
        rest.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
        let count = rest.readableBytes
        context.writeAndFlush(self.wrapOutboundOut(rest), promise: nil)
        guard !context.channel.isWritable else { return }
        self.unsentInBytes += count
        if !self.isBlocked {
            self.isBlocked = true
            self.isReadPaused = true
            self.startWriteDeadline()
        }
    }

    private func writeFailed(_ errno: Int32) {
        self.systemError = errno
        self.isBroken = true
        self.firstQueued = nil
        self.moreQueued.removeAll()
        self.queuedInBytes = 0
        self.closesAfterFlush = false
        if self.closeReason == nil { self.close(.system(errno)) }
    }

    /// The kernel has taken all that NIO had.
    func unblocked() {
        self.isBlocked = false
        self.unsentInBytes = 0
        self.flows.wheel.cancel(self.writeDeadline)
        self.writeDeadline = .none
        self.isReadPaused = false
        if self.isReadHeld {
            self.isReadHeld = false
            self.context?.read()
        }
        if self.hasOutput { self.markDirty() }
    }

    // MARK: The end

    private func finish(_ reason: FlowCloseReason) {
        switch self.state {
        case .lingering, .closed:
            return
        case .connecting:
            self.reportEnd(reason)
            self.disconnect()
            return
        case .handshaking:
            guard !self.isInPool else { return }  // the pool has the engine; the step's end comes here again
            if let engine = self.engine { self.transmitOutput(of: engine) }  // an alert
            self.reportEnd(reason)
        case .open, .inputEnded:
            if self.isBlocked && self.closesAfterFlush { return }
            if let engine = self.engine {
                engine.sendCloseNotify()
                self.transmitOutput(of: engine)
            }
            self.reportEnd(reason)
        }
        switch reason {
        case .writeQueueFull, .writeTimeout, .peerReset, .system:
            self.disconnect()
        case _ where self.hasReceivedFIN && !self.isBlocked:
            self.disconnect()
        case _ where self.descriptor < 0:
            self.disconnect()
        default:
            self.linger()
        }
    }

    /// Sends FIN and waits a little for the peer's: to close with its bytes unread would reset the connection, and the
    /// last answer might be lost with it.
    private func linger() {
        self.state = .lingering
        self.stopTimers()
        self.startReadDeadline(.linger)
        self.isReadPaused = false
        self.context?.close(mode: .output, promise: nil)
        if self.isReadHeld {
            self.isReadHeld = false
            self.context?.read()
        }
    }

    /// Closes the socket.
    func disconnect() {
        self.stopTimers()
        self.state = .closed
        self.descriptor = -1
        self.isBroken = true
        self.context?.close(promise: nil)
    }
}
