internal import GatehousePolicy
internal import GatehouseTLS
internal import NIOCore
internal import SIPMessage

/// What a flow waits for. A flow waits for one of these at a time, and beside it for room to write and for a pong.
enum Deadline: UInt8 {
    case none
    case handshake
    case header
    case body
    case idle
    /// The peer has sent its last, and answers are due.
    case halfOpen
    /// FIN is sent.
    case linger
    case write
    case ping
    case pong
}

extension StreamFlow: TimerTarget {
    private static let lingerTime = Duration.seconds(1)
    private static let pongTime = Duration.seconds(10)

    func startReadDeadline(_ kind: Deadline) {
        self.flows.wheel.cancel(self.readDeadline)
        self.readDeadlineKind = kind
        let timers = self.flows.timers
        let delay: Duration
        switch kind {
        case .handshake: delay = timers.handshake
        case .header: delay = timers.header
        case .body: delay = timers.body
        case .idle: delay = self.silenceLimit ?? timers.idle
        case .halfOpen: delay = timers.t1 * 64
        case .linger: delay = StreamFlow.lingerTime
        case .none, .write, .ping, .pong:
            self.readDeadline = .none
            return
        }
        self.readDeadline = self.flows.wheel.start(after: delay, self, kind: kind.rawValue)
    }

    func startWriteDeadline() {
        self.flows.wheel.cancel(self.writeDeadline)
        self.writeDeadline = self.flows.wheel.start(
            after: self.flows.timers.t1 * 64, self, kind: Deadline.write.rawValue)
    }

    func startPingTimer() {
        guard let interval = self.pingInterval else { return }
        let share = Int.random(in: 80...100)
        self.pingTimer = self.flows.wheel.start(after: interval * share / 100, self, kind: Deadline.ping.rawValue)
    }

    func stopTimers() {
        for timer in [self.readDeadline, self.writeDeadline, self.pingTimer] where timer != .none {
            self.flows.wheel.cancel(timer)
        }
        self.readDeadline = .none
        self.writeDeadline = .none
        self.pingTimer = .none
    }

    public func timerFired(_ kind: UInt8) {
        switch Deadline(rawValue: kind) {
        case .handshake:
            self.failHandshake(.timeout)
        case .header:
            _ = self.framer.headerTimedOut()
            self.closeAfterFlush(.headerTimeout)  // no answer to what may not even be SIP (FRAME-12)
        case .body:
            if let event = self.framer.bodyTimedOut() {
                self.handleLast(event, reason: .bodyTimeout)
            } else {
                self.closeAfterFlush(.bodyTimeout)
            }
        case .idle:
            self.idleTimeEnded()
        case .halfOpen:
            self.close(.halfOpenTimeout)
        case .linger:
            self.disconnect()
        case .write:
            self.closesAfterFlush = false
            if self.closeReason == nil { self.closeReason = .writeTimeout }
            self.markDirty()
        case .ping:
            guard self.isUsable else { break }
            self.enqueue([0x0D, 0x0A, 0x0D, 0x0A])
            self.awaitsPong = true
            self.pingTimer = self.flows.wheel.start(
                after: StreamFlow.pongTime, self, kind: Deadline.pong.rawValue)
        case .pong:
            if self.awaitsPong {
                self.close(.noPong)
            } else {
                self.startPingTimer()
            }
        case nil, .some(.none):
            break
        }
    }

    private func idleTimeEnded() {
        let idle = self.silenceLimit ?? self.flows.timers.idle
        let isKept = self.isRegistered && self.silenceLimit == nil
        let silent = Duration.nanoseconds((self.flows.eventLoop.now - self.lastActivity).nanoseconds)
        if !isKept && silent >= idle {
            self.close(.idle)
            return
        }
        let rest = isKept ? idle : idle - silent
        self.readDeadline = self.flows.wheel.start(after: rest, self, kind: Deadline.idle.rawValue)
    }
}
