internal import GatehousePolicy
internal import GatehouseTLS
internal import Synchronization

/// A value of a family that is looked up when `/metrics` is asked for.
public struct MetricSample: Sendable {
    /// As many and in the order as the family's description names labels.
    public var labels: [String]
    public var value: Double

    public init(_ labels: [String] = [], _ value: Double) {
        self.labels = labels
        self.value = value
    }
}

/// All that the process counts, and the page that shows it.
///
/// One for the process. The workers count through ``workers``; a scrape adds up what they counted and asks the observers.
public final class Metrics: Sendable {
    public typealias Observer = @Sendable () -> [MetricSample]

    /// By worker number.
    public let workers: [WorkerMetrics]
    /// For threads that are no worker's: an accepting thread, a reload.
    public let shared: WorkerMetrics
    /// Stands for the domain where none is known yet, as in a handshake without a served name.
    public let noDomain: DomainMetrics

    private struct State {
        var domains: [String: DomainMetrics] = [:]
        var observers: [MetricFamily: [Observer]] = [:]
        var reloadsSucceeded = 0
        var reloadsFailed = 0
        var generation = 0
        var lastSuccess: Double?
    }
    private let state = Mutex(State())
    private let rows: Int

    /// - Parameter workers: event loops, at least one.
    public init(workers: Int) {
        precondition(workers > 0)
        self.rows = workers + 1
        self.workers = (0..<workers).map { WorkerMetrics(index: $0) }
        self.shared = WorkerMetrics(index: workers)
        self.noDomain = DomainMetrics(name: "-", rows: workers + 1)
    }

    /// The counters of a new configuration's domains, in the order of `names`.
    ///
    /// A domain that the last configuration had keeps its counters; one that is gone is no longer shown.
    public func domains(_ names: [String]) -> [DomainMetrics] {
        self.state.withLock { state in
            var kept: [String: DomainMetrics] = [:]
            kept.reserveCapacity(names.count)
            let all = names.map { name in
                let domain = kept[name] ?? state.domains[name] ?? DomainMetrics(name: name, rows: self.rows)
                kept[name] = domain
                return domain
            }
            state.domains = kept
            return all
        }
    }

    /// Has `observer` asked for samples of `family` at each scrape, on the scraping thread; several may add to one family.
    public func observe(_ family: MetricFamily, _ observer: @escaping Observer) {
        self.state.withLock { $0.observers[family, default: []].append(observer) }
    }

    /// Shows what the log lost and left out, and what this build is.
    func observe(log output: LogOutput) {
        self.observe(.logLinesDropped) { [MetricSample([], Double(output.linesDropped))] }
        self.observe(.logLinesSuppressed) { [MetricSample([], Double(output.linesSuppressed))] }
        self.observe(.buildInfo) { [MetricSample([BuildInfo.version, OpenSSLVersion.text], 1)] }
    }

    /// A configuration was put in force, at start (`generation` 1) or by a reload.
    ///
    /// - Parameter time: seconds since 1970.
    public func configurationApplied(generation: Int, time: Double = secondsSince1970()) {
        self.state.withLock { state in
            if generation > 1 { state.reloadsSucceeded += 1 }
            state.generation = generation
            state.lastSuccess = time
        }
    }

    /// A reload changed nothing because the new configuration has errors.
    public func reloadFailed() {
        self.state.withLock { $0.reloadsFailed += 1 }
    }

    /// What the edge itself refused so far: an entry for each rule of each domain that refused anything.
    func refusals() -> [RefusalCount] {
        let domains = self.state.withLock { Array($0.domains.values) } + [self.noDomain]
        return domains.flatMap { domain in
            Refusal.Rule.allCases.compactMap { rule in
                let count = domain.total(DomainCells.refusals + rule.index)
                return count > 0 ? RefusalCount(domain: domain.name, rule: "\(rule.label)", count: count) : nil
            }
        }
    }

    // MARK: The scrape

    /// The page in Prometheus' text format, version 0.0.4.
    public func exposition() -> [UInt8] {
        let (domains, observers) = self.state.withLock { state in
            (state.domains.values.sorted { $0.name < $1.name }, state.observers)
        }
        var page = MetricsPage(domains: domains + [self.noDomain], workers: (self.workers + [self.shared]).map(\.row))
        for family in MetricFamily.allCases {
            page.begin(family.description)
            self.write(family, to: &page)
            for observer in observers[family] ?? [] {
                for sample in observer() { page.sample(sample.labels, sample.value) }
            }
        }
        return page.bytes
    }

    /// What is counted here; the other families have their observers alone.
    private func write(_ family: MetricFamily, to page: inout MetricsPage) {
        switch family {
        case .connectionsOpened: page.connectionsOpened()
        case .connectionsOpen: page.connectionsOpen()
        case .connectionsClosed: page.connectionsClosed()
        case .connectionsRefused: page.perDomain(ConnectionRefusal.self, at: DomainCells.refused)
        case .handshakes: page.handshakes()
        case .tlsVersions: page.perDomain(MetricTLSVersion.self, at: DomainCells.versions)
        case .requests: page.requests()
        case .responses: page.responses()
        case .messageLatency: page.latency()
        case .sessions: page.perDomain(Arrival.self, at: DomainCells.sessions)
        case .refusals: page.perDomain(Refusal.Rule.self, at: DomainCells.refusals)
        case .overrides: page.perDomain(OverrideUse.self, at: DomainCells.overrides)
        case .referrals: page.perDomain(Referral.Target.self, at: DomainCells.referrals)
        case .fellowRequests: page.perDomain(FellowRole.self, at: DomainCells.fellows)
        case .outboundConnections: page.outboundConnections()
        case .outboundUnproved: page.perDomain(CertificateFault.self, at: DomainCells.unproved)
        case .limitsHit: page.perDomain(LimitKind.self, at: DomainCells.limits)
        case .datagramsDropped: page.perProcess(DatagramDrop.self) { WorkerCells.dropped + $0 }
        case .transactionsStarted: page.perProcess(TransactionType.self) { WorkerCells.started + $0 }
        case .transactionsOpen: page.transactionsOpen()
        case .reloads:
            let (succeeded, failed) = self.state.withLock { ($0.reloadsSucceeded, $0.reloadsFailed) }
            page.sample(["success"], Double(succeeded))
            page.sample(["failure"], Double(failed))
        case .configurationGeneration:
            page.sample([], Double(self.state.withLock(\.generation)))
        case .configurationLastSuccess:
            if let time = self.state.withLock(\.lastSuccess) { page.sample([], time) }
        case .processCPU, .processResidentMemory, .processVirtualMemory, .processOpenFiles, .processMaximumFiles,
            .processThreads, .processStartTime:
            if let value = ProcessFacts.value(of: family) { page.sample([], value) }
        case .certificateNotAfter, .bindings, .storeChanges, .storeFailures, .coreTargetUp, .queueDepth, .dnsQueries,
            .dnsLookups, .dnsCacheEntries,
            .dnsServerUp, .logLinesDropped, .logLinesSuppressed, .buildInfo:
            break
        }
    }
}
