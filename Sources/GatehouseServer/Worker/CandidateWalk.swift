internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage

/// A way to a server that is open.
struct OutboundWay {
    var judged: JudgedCandidate
    /// TCP where the candidate says UDP and the request is too large for that.
    var transport: Transport
    var leg: Leg
    /// Of a connection of this worker.
    var state: FlowState?
    /// Whether the connection was there before the request, so that the peer may be about to close it.
    var isReused = false
}

/// Why a server could not be reached, in words for a Warning and the log.
struct OutboundFailure: Error, CustomStringConvertible {
    /// `refused` is the one failure of TCP after which UDP is tried (RFC 3261 §18.1.1).
    var cause: OutboundResult
    var description: String
}

extension OutboundFailure {
    init(_ flow: StreamFlow, _ error: ConnectError) {
        let peer = "\(flow.transport):\(flow.remote)"
        switch error {
        case .refused: self.init(cause: .refused, description: "\(peer) refuses the connection")
        case .timedOut: self.init(cause: .timedOut, description: "\(peer) does not answer")
        case .unreachable(let errno), .failed(let errno, _):
            self.init(cause: .unreachable, description: "\(peer) cannot be reached (errno \(errno))")
        case .cancelled: self.init(cause: .unreachable, description: "\(peer) was given up")
        }
    }

    init(_ flow: StreamFlow, _ failure: TLSFailure) {
        self.init(
            cause: failure.cause == .timeout ? .timedOut : .tls,
            description: "\(flow.transport):\(flow.remote): \(failure.text)")
    }
}

/// Goes through the servers of one next hop until one has a way that is open (RFC 3263 §4.3).
///
/// An address whose connection takes longer than 250 ms gets company by the same host's next one; whichever opens first is
/// used (RFC 8305 §5).
final class CandidateWalk: ConnectionWaiter, TimerTarget {
    /// RFC 8305 §5: Connection Attempt Delay.
    private static let attemptDelay = Duration.milliseconds(250)

    private unowned let worker: Worker
    private let domain: DomainRuntime
    private var candidates: ArraySlice<JudgedCandidate>
    /// Why the last one failed.
    private(set) var failure: OutboundFailure?
    private var found: ((OutboundWay?) -> Void)?
    private var size: ((Candidate) -> Int)?
    /// Connections that are awaited, and what each is for.
    private var pending: [(key: OutboundKey, way: Pending)] = []
    private var timer = TimerID.none

    private struct Pending {
        var judged: JudgedCandidate
        /// TCP in place of UDP, for the size alone.
        var isForSize: Bool
    }

    init(worker: Worker, domain: DomainRuntime, candidates: [JudgedCandidate]) {
        self.worker = worker
        self.domain = domain
        self.candidates = candidates[...]
    }

    var isExhausted: Bool { self.candidates.isEmpty }

    /// Finds the next server; calls back once, perhaps before this returns, with nil where none is left.
    ///
    /// - Parameter size: the bytes that the request has as a datagram.
    func next(size: @escaping (Candidate) -> Int, found: @escaping (OutboundWay?) -> Void) {
        self.found = found
        self.size = size
        self.proceed()
    }

    /// Makes a server the next that is tried.
    func putBack(_ judged: JudgedCandidate) {
        self.candidates = [judged] + self.candidates
    }

    /// Ends the search; nothing is called back any more.
    func abandon() {
        self.found = nil
        self.size = nil
        self.candidates = []
        self.stopWaiting()
    }

    private func finish(_ way: OutboundWay?) {
        let found = self.found
        self.found = nil
        self.size = nil
        self.stopWaiting()
        found?(way)
    }

    private func stopWaiting() {
        self.worker.cancelTimer(self.timer)
        self.timer = .none
        let pending = self.pending
        self.pending = []
        for wait in pending { self.worker.stopWaiting(self, for: wait.key) }
    }

    private func proceed() {
        while self.found != nil, self.pending.isEmpty {
            guard let judged = self.candidates.popFirst() else { return self.finish(nil) }
            let candidate = judged.candidate
            if let cause = self.worker.forbids(candidate.endpoint, self.domain) {
                self.failure = OutboundFailure(cause: .forbidden, description: "\(candidate): \(cause)")
                continue
            }
            guard candidate.transport == .udp else {
                self.connect(Pending(judged: judged, isForSize: false))
                continue
            }
            let outbound = self.domain.configuration.outbound
            if outbound.transports.contains(.tcp),
                self.size?(candidate) ?? 0 > Worker.datagramLimit(pathMTU: outbound.pathMTU)
            {
                self.connect(Pending(judged: judged, isForSize: true))
                continue
            }
            self.useDatagrams(judged)
        }
    }

    private func useDatagrams(_ judged: JudgedCandidate) {
        let remote = judged.candidate.endpoint
        guard let socket = self.worker.outsideSocket(for: self.domain, isIPv6: remote.address.isIPv6) else {
            self.failure = OutboundFailure(
                cause: .unreachable, description: "\(judged.candidate): no UDP socket of its address family can be had")
            return
        }
        self.finish(
            OutboundWay(judged: judged, transport: .udp, leg: .outsideDatagram(socket: socket, remote), state: nil))
    }

    private func connect(_ pending: Pending) {
        let candidate = pending.judged.candidate
        if candidate.transport == .tls, let leg = self.worker.aliasedLeg(to: candidate, self.domain) {
            return self.finish(
                OutboundWay(judged: pending.judged, transport: .tls, leg: leg, state: nil, isReused: true))
        }
        let key = OutboundKey(pending.judged, self.domain, trust: self.worker.outboundTrust(of: self.domain))
        switch self.worker.connection(key, self.domain, for: self) {
        case .open(let state):
            self.finish(
                OutboundWay(
                    judged: pending.judged, transport: key.transport, leg: state.leg, state: state, isReused: true))
        case .awaited:
            self.pending.append((key, pending))
            if self.timer == .none, self.rival(of: candidate) != nil {
                self.timer = self.worker.startTimer(Self.attemptDelay, self, kind: 0)
            }
        case .failed(let failure):
            self.failure = failure
        }
    }

    /// The next address of the same host.
    private func rival(of candidate: Candidate) -> JudgedCandidate? {
        guard let next = self.candidates.first, next.candidate.group == candidate.group,
            next.candidate.transport == candidate.transport
        else { return nil }
        return next
    }

    // MARK: Events

    func timerFired(_ kind: UInt8) {
        self.timer = .none
        guard self.found != nil, let waiting = self.pending.last?.way.judged.candidate,
            let rival = self.rival(of: waiting), self.worker.forbids(rival.candidate.endpoint, self.domain) == nil
        else { return }
        self.candidates.removeFirst()
        self.connect(Pending(judged: rival, isForSize: false))
    }

    func connectionOpened(_ key: OutboundKey, _ state: FlowState) {
        guard let index = self.pending.firstIndex(where: { $0.key == key }) else { return }
        let way = self.pending.remove(at: index).way
        self.finish(OutboundWay(judged: way.judged, transport: key.transport, leg: state.leg, state: state))
    }

    func connectionFailed(_ key: OutboundKey, _ failure: OutboundFailure) {
        guard let index = self.pending.firstIndex(where: { $0.key == key }) else { return }
        let way = self.pending.remove(at: index).way
        self.failure = failure
        // RFC 3261 §18.1.1: who takes no TCP gets by UDP what is too large for it (MTU-03); a time-out is another matter.
        if way.isForSize, failure.cause == .refused { self.useDatagrams(way.judged) }
        self.proceed()
    }
}
