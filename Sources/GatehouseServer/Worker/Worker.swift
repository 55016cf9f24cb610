internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import Logging
internal import NIOCore
internal import SIPMessage
internal import SIPTransaction
import Synchronization

/// One event loop's part of the edge: it owns its connections, transactions and timers, and nothing of them leaves the loop.
///
/// The way of a request goes on in `RequestPath.swift`, that of a response in `ResponsePath.swift`.
final class Worker {
    let index: UInt16
    let eventLoop: any EventLoop
    let shared: ServerShared
    let metrics: WorkerMetrics
    let log: RateLimitedLog
    let cipher: EdgeCipher
    /// The configuration that new transactions take.
    private(set) var snapshot: Snapshot
    /// What each listener's tag stands for.
    var listeners: [Int: Entrance] = [:]
    /// Whose turn it is among each domain's core servers.
    var distributions: [DomainKey: Distribution] = [:]
    /// The edge's core binds; every worker has a UDP socket on each UDP one.
    var coreBinds = CoreBinds()
    /// UDP sockets towards the outside, and the peers known by them.
    var outsideSockets = OutsideSockets()
    var datagramFlows = DatagramFlows()
    /// Connections to peers that we opened.
    var outbound = OutboundPool()
    /// Sessions whose use of an override the log has told.
    var notedOverrides: Set<SessionID> = []
    private(set) var context: FlowContext?
    /// The first worker's alone.
    var upkeep: Upkeep?

    var flows: [UInt64: StreamFlow] = [:]
    var serverTransactions: [TransactionKey: ServerTransaction] = [:]
    var clientTransactions: [UInt64: ClientTransaction] = [:]
    /// CANCELs over UDP that are not answered yet, by the branch of their INVITE.
    var cancels: [UInt64: CancelRetransmission] = [:]
    /// TCP connections to core servers that we opened.
    var coreConnections: [Endpoint: StreamFlow] = [:]
    var timers: TimerValues
    var messageLimits: MessageLimits
    var generator = BufferedGenerator()
    /// The number of the last client transaction, or stateless branch.
    private var lastBranch: UInt64 = 0
    /// Marks final responses of our own, so that the ACK to one that left no transaction is known.
    let ownTags = OwnTags()
    /// INVITEs within a dialog that were refused without a transaction.
    var refusedInvites = RefusedInvites()

    init(
        index: UInt16, eventLoop: any EventLoop, shared: ServerShared, log: RateLimitedLog, snapshot: Snapshot
    ) throws {
        self.index = index
        self.eventLoop = eventLoop
        self.shared = shared
        self.metrics = shared.metrics.workers[Int(index)]
        self.log = log
        self.cipher = try EdgeCipher(shared.secret)
        self.snapshot = snapshot
        self.timers = TimerValues(snapshot.configuration.edge.timers)
        self.messageLimits = MessageLimits(snapshot.configuration)
    }

    /// Makes the worker's flows possible; once, before the first listener opens.
    func start(handshakes: HandshakePool) -> BoundFlowContext {
        let edge = self.snapshot.configuration.edge
        let context = FlowContext(
            worker: self.index, eventLoop: self.eventLoop, owner: self, timers: edge.timers, limits: edge.limits,
            messageLimits: self.messageLimits, handshakes: handshakes)
        self.context = context
        return context.bound
    }

    /// Takes a new configuration: what is under way keeps its own.
    func apply(_ snapshot: Snapshot) {
        self.snapshot = snapshot
        self.distributions = [:]
        self.timers = TimerValues(snapshot.configuration.edge.timers)
        self.messageLimits = MessageLimits(snapshot.configuration)
        self.context?.timers = snapshot.configuration.edge.timers
        self.context?.limits = snapshot.configuration.edge.limits
        self.context?.messageLimits = self.messageLimits
        self.retireOutsideSockets()
    }

    /// Closes everything; the worker is of no use afterwards.
    func stop() {
        for flow in self.flows.values { flow.close(.shutdown) }
        for transaction in self.serverTransactions.values { transaction.drop() }
        self.serverTransactions = [:]
        self.clientTransactions = [:]
        self.coreBinds.close()
        self.outsideSockets.closeAll()
        self.context?.close()
    }

    // MARK: Clocks and names

    /// Nanoseconds of a clock that does not go back.
    var now: UInt64 { NIODeadline.now().uptimeNanoseconds }

    /// Seconds since 1970.
    var wallClock: UInt32 { UInt32(clamping: Int(secondsSince1970())) }

    /// The day in UTC, for overrides that end.
    var today: CalendarDate { CalendarDate(secondsSince1970: self.wallClock) }

    func nextBranch(loop: LoopDigest) -> Branch {
        self.lastBranch &+= 1
        return Branch(worker: self.index, number: self.lastBranch, loop: loop, using: &self.generator)
    }

    func newSession(_ arrival: Arrival) -> Session {
        Session(
            id: SessionID(self.generator.next()), arrival: arrival, expires: self.wallClock &+ Session.lifetime)
    }

    // MARK: Sending

    /// Sends bytes by a leg; false where its connection is gone.
    ///
    /// - Parameter branch: of the client transaction that is told where the connection is another worker's and gone.
    @discardableResult
    func send(_ bytes: [UInt8], by leg: Leg, for branch: Branch? = nil) -> Bool {
        switch leg {
        case .datagram(let socket, let remote):
            guard let endpoint = self.coreBinds.socket(socket) else { return false }
            endpoint.send(bytes, to: remote)
            return true
        case .outsideDatagram(let socket, let remote):
            guard let entry = self.outsideSockets[socket] else { return false }
            entry.socket.send(bytes, to: remote)
            return true
        case .flow(let id):
            if id.worker == self.index { return self.flows[id.number]?.send(bytes) ?? false }
            return self.mailbox(of: id.worker)?.post(.send(bytes, flow: id.number, for: branch)) ?? false
        }
    }

    /// What is known of a flow of this worker.
    func state(ofFlow number: UInt64) -> FlowState? {
        self.flows[number]?.userData as? FlowState ?? self.datagramFlows.flow(number)
    }

    /// Whether a request may be sent on a flow of this worker.
    func isUsable(_ state: FlowState) -> Bool {
        switch state.leg {
        case .flow(let id): self.flows[id.number]?.isUsable ?? false
        case .outsideDatagram(let socket, _): self.outsideSockets[socket] != nil
        case .datagram: true
        }
    }

    func mailbox(of worker: UInt16) -> Mailbox? {
        let boxes = self.mailboxes
        return Int(worker) < boxes.count ? boxes[Int(worker)] : nil
    }

    private lazy var mailboxes = self.shared.mailboxes

    /// A message that another worker put before this one.
    func receive(_ message: WorkerMessage) {
        switch message {
        case .response(let response, let origin):
            self.receiveResponse(response, from: origin)
        case .request(let request, let origin, let handOvers):
            self.receiveRequest(request, fromCore: origin, handOvers: handOvers)
        case .send(let bytes, let flow, let branch):
            if self.flows[flow]?.send(bytes) ?? false { return }
            if let branch { self.mailbox(of: branch.worker)?.post(.failed(branch)) }
        case .failed(let branch):
            self.failTransaction(branch)
        }
    }

    // MARK: Transactions

    func add(_ transaction: ServerTransaction) {
        self.serverTransactions[transaction.key] = transaction
        self.shared.transactions.wrappingAdd(1, ordering: .relaxed)
        self.shared.unanswered.wrappingAdd(1, ordering: .relaxed)
        self.metrics.transactionStarted(transaction.isInvite ? .inviteServer : .nonInviteServer)
        transaction.start()
    }

    func remove(_ transaction: ServerTransaction) {
        guard self.serverTransactions.removeValue(forKey: transaction.key) != nil else { return }
        self.shared.transactions.wrappingSubtract(1, ordering: .relaxed)
        if !transaction.isAnswered { self.answered(transaction, status: 408) }
        self.metrics.transactionEnded(transaction.isInvite ? .inviteServer : .nonInviteServer)
        transaction.ended()
    }

    func add(_ client: ClientTransaction) {
        self.clientTransactions[client.branch.number] = client
        self.metrics.transactionStarted(client.isInvite ? .inviteClient : .nonInviteClient)
        if case .flow(let id) = client.leg, id.worker == self.index,
            let state = self.flows[id.number]?.userData as? FlowState
        {
            state.clients.insert(client.branch.number)
        }
    }

    func remove(_ client: ClientTransaction) {
        guard self.clientTransactions.removeValue(forKey: client.branch.number) != nil else { return }
        self.metrics.transactionEnded(client.isInvite ? .inviteClient : .nonInviteClient)
        self.cancels[client.branch.number]?.stop()
        if case .flow(let id) = client.leg, id.worker == self.index,
            let state = self.flows[id.number]?.userData as? FlowState
        {
            state.clients.remove(client.branch.number)
        }
    }

    /// Whether another server could take a request whose attempt failed.
    func hasAlternative(_ transaction: ServerTransaction) -> Bool {
        !transaction.hops.isEmpty || transaction.outbound?.hasAlternative(now: self.now) ?? false
    }

    /// Sends the CANCEL of a branch as a transaction of its own, with the INVITE's branch (RFC 3261 §9.1).
    func sendCancel(_ cancel: [UInt8], for client: ClientTransaction) {
        self.sendFollowUp(cancel, of: client)
        guard !client.transport.isReliable else { return }
        self.cancels[client.branch.number]?.stop()
        self.cancels[client.branch.number] = CancelRetransmission(self, cancel, client)
    }

    // MARK: Timers

    @discardableResult
    func startTimer(_ duration: Duration, _ target: any TimerTarget, kind: UInt8) -> TimerID {
        self.context?.wheel.start(after: duration, target, kind: kind) ?? .none
    }

    func cancelTimer(_ id: TimerID) {
        guard id != .none else { return }
        self.context?.wheel.cancel(id)
    }

    /// Runs something in the next tick.
    func afterwards(_ body: @escaping () -> Void) {
        self.eventLoop.assumeIsolated().execute(body)
    }
}

extension TimerValues {
    init(_ settings: TimerSettings) {
        self.init(t1: settings.t1, t2: settings.t2, t4: settings.t4, timerC: settings.timerC)
    }
}

extension MessageLimits {
    init(_ configuration: Configuration) {
        let limits = configuration.edge.limits
        self.init()
        self.headerSection = limits.headerSectionInBytes
        self.headerFields = limits.headerFields
        self.requestURI = limits.requestURIInBytes
        self.vias = limits.vias
        self.messageSize = configuration.domains.map(\.limits.messageSizeInBytes).max() ?? self.messageSize
    }
}

/// Makes the To tags of our own final responses: the same for copies of a request, and known again in its ACK, without a
/// table (RFC 3261 §8.2.7).
struct OwnTags {
    private let seed = UInt64.random(in: .min ... .max)

    func tag(for request: Message) -> [UInt8] {
        var hasher = Hasher()
        hasher.combine(self.seed)
        for range in [request.callID, request.from?.tag] {
            guard let range else { continue }
            request.bytes.withUnsafeBytes { bytes in
                guard range.end <= bytes.count else { return }
                hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: bytes[range.range]))
            }
            hasher.combine(range.count)
        }
        hasher.combine(request.cseq?.number)
        var bits = UInt64(bitPattern: Int64(hasher.finalize()))
        var text: [UInt8] = [0x67, 0x68]
        for _ in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: bits & 0xF)
            text.append(digit < 10 ? 0x30 &+ digit : 0x57 &+ digit)
            bits >>= 4
        }
        return text
    }

    /// Whether an ACK is one to a final response of our own making.
    func isOwn(_ ack: Message) -> Bool {
        guard let tag = ack.to?.tag else { return false }
        return ack.bytes[tag.range].elementsEqual(self.tag(for: ack))
    }
}
