public import GatehousePolicy
public import GatehouseTLS
public import SIPMessage

/// The counters that one worker adds to. Adding takes no lock and allocates nothing (but a domain's row at its first use).
///
/// A worker that counts in its own keeps its cache lines to itself; a thread that is no worker's uses ``Metrics/shared``.
public final class WorkerMetrics: Sendable {
    let row = CounterRow(count: WorkerCells.count)
    /// This worker's place among the rows of each domain.
    private let index: Int

    init(index: Int) {
        self.index = index
    }

    // MARK: Connections

    public func connectionOpened(_ domain: DomainMetrics, _ transport: Transport) {
        self.add(domain, DomainCells.opened + Int(transport.rawValue))
    }

    /// Once for each connection that was counted as opened.
    public func connectionClosed(_ domain: DomainMetrics, _ transport: Transport, _ end: ConnectionEnd) {
        self.add(domain, DomainCells.close(Int(transport.rawValue), end))
    }

    /// A connection that was closed before it was opened in the sense of `connectionOpened`.
    public func connectionRefused(_ domain: DomainMetrics, _ reason: ConnectionRefusal) {
        self.add(domain, DomainCells.refused + reason.index)
    }

    /// - Parameter version: as in `TLSFacts.version`.
    public func handshakeCompleted(_ domain: DomainMetrics, isResumed: Bool, version: String) {
        self.add(domain, DomainCells.handshakes + (isResumed ? 1 : 0))
        self.add(domain, DomainCells.versions + MetricTLSVersion(named: version).index)
    }

    public func handshakeFailed(_ domain: DomainMetrics, _ cause: TLSFailure.Cause) {
        self.add(domain, DomainCells.handshakeFailure(cause))
    }

    // MARK: Messages

    public func requestReceived(_ domain: DomainMetrics, _ direction: MetricDirection, _ method: Method) {
        self.add(domain, DomainCells.request(direction, Int(method.rawValue)))
    }

    /// - Parameters:
    ///   - direction: that of the request that is answered.
    ///   - status: a number outside 100 to 699 counts as the nearest class.
    public func responseSent(
        _ domain: DomainMetrics, _ direction: MetricDirection, _ method: Method, status: Int
    ) {
        let statusClass = min(max(status / 100, 1), DomainCells.classes) - 1
        self.add(domain, DomainCells.response(direction, Int(method.rawValue), statusClass))
    }

    /// The time that a message spent here, by the direction in which it travelled.
    public func messageForwarded(_ direction: MetricDirection, nanoseconds: UInt64) {
        let bucket = WorkerCells.bucket(nanoseconds: nanoseconds)
        self.row.add(at: WorkerCells.latencyBuckets + direction.index * WorkerCells.buckets + bucket)
        self.row.add(nanoseconds, at: WorkerCells.latencySum + direction.index)
    }

    public func sessionBegun(_ domain: DomainMetrics, _ arrival: Arrival) {
        self.add(domain, DomainCells.sessions + arrival.index)
    }

    public func refused(_ domain: DomainMetrics, _ rule: Refusal.Rule) {
        self.add(domain, DomainCells.refusals + rule.index)
    }

    /// - Parameter allowance: of the override that let a request go.
    public func overrideUsed(_ domain: DomainMetrics, _ allowance: SecurityOverride.Allowance) {
        self.add(domain, DomainCells.overrides + OverrideUse(allowance).index)
    }

    /// A REFER was let through.
    public func referred(_ domain: DomainMetrics, _ target: Referral.Target) {
        self.add(domain, DomainCells.referrals + target.index)
    }

    /// A request went to, or came from, another edge with our secret.
    public func fellowRequest(_ domain: DomainMetrics, _ role: FellowRole) {
        self.add(domain, DomainCells.fellows + role.index)
    }

    /// A TLS connection was opened to a peer whose certificate need not verify.
    /// - Parameter cause: what is wrong with it.
    public func unproved(_ domain: DomainMetrics, _ cause: TLSFailure.Cause?) {
        self.add(domain, DomainCells.unproved + CertificateFault(cause).index)
    }

    /// A connection to a peer was opened, or failed.
    public func outbound(_ domain: DomainMetrics, _ transport: Transport, _ result: OutboundResult) {
        self.add(domain, DomainCells.outbound(Int(transport.rawValue), result))
    }

    public func limitHit(_ domain: DomainMetrics, _ limit: LimitKind) {
        self.add(domain, DomainCells.limits + limit.index)
    }

    public func datagramDropped(_ reason: DatagramDrop) {
        self.row.add(at: WorkerCells.dropped + reason.index)
    }

    // MARK: Transactions

    public func transactionStarted(_ type: TransactionType) {
        self.row.add(at: WorkerCells.started + type.index)
    }

    /// Once for each transaction that was counted as started.
    public func transactionEnded(_ type: TransactionType) {
        self.row.add(at: WorkerCells.ended + type.index)
    }

    private func add(_ domain: DomainMetrics, _ cell: Int) {
        domain.add(at: cell, row: self.index)
    }
}
