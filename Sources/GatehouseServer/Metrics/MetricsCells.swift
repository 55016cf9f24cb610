internal import GatehousePolicy
internal import GatehouseTLS
internal import Synchronization

/// A fixed row of counters, each at zero, in cache lines that no other row shares.
final class CounterRow: Sendable {
    // The pointer never changes and what it points to is atomic, so any thread may use it until deinit.
    nonisolated(unsafe) private let cells: UnsafeMutablePointer<Atomic<UInt64>>
    let count: Int

    init(count: Int) {
        let stride = MemoryLayout<Atomic<UInt64>>.stride
        // Two lines: processors fetch lines in pairs.
        let bytes = (count * stride + 127) / 128 * 128
        let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 128)
        self.cells = raw.bindMemory(to: Atomic<UInt64>.self, capacity: count)
        self.count = count
        for index in 0..<count { (self.cells + index).initialize(to: Atomic(0)) }
    }

    deinit {
        self.cells.deinitialize(count: self.count)
        UnsafeMutableRawPointer(self.cells).deallocate()
    }

    /// Adds to one counter; an index of our own making, so a wrong one is our mistake.
    func add(_ amount: UInt64 = 1, at index: Int) {
        precondition(index >= 0 && index < self.count)
        self.cells[index].wrappingAdd(amount, ordering: .relaxed)
    }

    func value(at index: Int) -> UInt64 {
        precondition(index >= 0 && index < self.count)
        return self.cells[index].load(ordering: .relaxed)
    }
}

/// One domain's counters: a row a worker, made when the worker first counts for the domain.
///
/// A configuration snapshot holds one for each of its domains (``Metrics/domains(_:)``); a domain that stays keeps it over
/// a reload. Counted through a ``WorkerMetrics``.
public final class DomainMetrics: Sendable {
    public let name: String
    /// Each holds a reference of its own, which only `deinit` gives back, so that counting needs none: 6 ns and not 46.
    // As in CounterRow: a constant pointer to atomics.
    nonisolated(unsafe) private let rows: UnsafeMutablePointer<Atomic<Unmanaged<CounterRow>?>>
    private let rowCount: Int

    init(name: String, rows: Int) {
        self.name = name
        self.rowCount = rows
        self.rows = .allocate(capacity: rows)
        for index in 0..<rows { (self.rows + index).initialize(to: Atomic(nil)) }
    }

    deinit {
        for index in 0..<self.rowCount { self.rows[index].load(ordering: .acquiring)?.release() }
        self.rows.deinitialize(count: self.rowCount)
        self.rows.deallocate()
    }

    func add(at cell: Int, row index: Int) {
        precondition(index >= 0 && index < self.rowCount)
        let row = self.rows[index].load(ordering: .acquiring) ?? self.makeRow(index)
        row._withUnsafeGuaranteedRef { $0.add(at: cell) }
    }

    /// Off the path of a count, once for each worker and domain.
    private func makeRow(_ index: Int) -> Unmanaged<CounterRow> {
        let made = Unmanaged.passRetained(CounterRow(count: DomainCells.count))
        let (isStored, other) = self.rows[index].compareExchange(
            expected: nil, desired: made, ordering: .acquiringAndReleasing)
        guard !isStored, let other else { return made }
        made.release()
        return other
    }

    /// The sum over all workers.
    func total(_ cell: Int) -> UInt64 {
        var sum: UInt64 = 0
        for index in 0..<self.rowCount {
            guard let row = self.rows[index].load(ordering: .acquiring) else { continue }
            sum &+= row._withUnsafeGuaranteedRef { $0.value(at: cell) }
        }
        return sum
    }
}

/// Where each counter stands in a domain's row.
enum DomainCells {
    static let methods = 15
    static let classes = 6
    static let transports = 3

    static let requests = 0
    static let responses = requests + MetricDirection.count * methods
    static let opened = responses + MetricDirection.count * methods * classes
    static let closed = opened + transports
    static let refused = closed + transports * ConnectionEnd.count
    static let handshakes = refused + ConnectionRefusal.count
    static let handshakeFailures = handshakes + 2  // full, resumed
    static let versions = handshakeFailures + TLSFailure.Cause.allCases.count
    static let sessions = versions + MetricTLSVersion.count
    static let refusals = sessions + Arrival.count
    static let limits = refusals + Refusal.Rule.count
    static let overrides = limits + LimitKind.count
    static let referrals = overrides + OverrideUse.count
    static let fellows = referrals + Referral.Target.count
    static let outbound = fellows + FellowRole.count
    static let unproved = outbound + transports * OutboundResult.count
    static let count = unproved + CertificateFault.count

    static func outbound(_ transport: Int, _ result: OutboundResult) -> Int {
        outbound + transport * OutboundResult.count + result.index
    }

    static func request(_ direction: MetricDirection, _ method: Int) -> Int {
        requests + direction.index * methods + method
    }

    /// - Parameter statusClass: 0 for 1xx to 5 for 6xx.
    static func response(_ direction: MetricDirection, _ method: Int, _ statusClass: Int) -> Int {
        responses + (direction.index * methods + method) * classes + statusClass
    }

    static func handshakeFailure(_ cause: TLSFailure.Cause) -> Int {
        handshakeFailures + (TLSFailure.Cause.allCases.firstIndex(of: cause) ?? 0)
    }

    static func close(_ transport: Int, _ end: ConnectionEnd) -> Int {
        closed + transport * ConnectionEnd.count + end.index
    }
}

/// Where each counter that belongs to no domain stands in a worker's row.
enum WorkerCells {
    /// Powers of two of 4 µs, up to 8.4 s; the last bucket is +Inf.
    static let buckets = 23
    static let smallestBucketInMicroseconds = 4

    static let dropped = 0
    static let started = dropped + DatagramDrop.count
    static let ended = started + TransactionType.count
    static let latencyBuckets = ended + TransactionType.count
    static let latencySum = latencyBuckets + MetricDirection.count * buckets
    static let count = latencySum + MetricDirection.count

    /// The bucket of a duration: the first whose bound is not below it.
    static func bucket(nanoseconds: UInt64) -> Int {
        let microseconds = nanoseconds / 1000 + (nanoseconds % 1000 == 0 ? 0 : 1)
        let units = (microseconds + 3) / 4  // 4 µs each, rounded up
        guard units > 1 else { return 0 }
        return min(UInt64.bitWidth - (units - 1).leadingZeroBitCount, buckets - 1)
    }

    /// Upper bound of a bucket in seconds.
    static func bound(_ bucket: Int) -> Double {
        Double(smallestBucketInMicroseconds << bucket) / 1_000_000
    }
}
