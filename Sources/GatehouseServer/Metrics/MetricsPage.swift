internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage

/// A page of Prometheus' text format 0.0.4 in the making, over the counters that it sums.
///
/// Families come in the order in which they are begun, domains by name, labels in the order of their enums: two scrapes of
/// the same state are equal. Per domain only counters that are not zero are shown: ten thousand domains times every method
/// and class would be most of the page.
struct MetricsPage {
    private(set) var bytes: [UInt8] = []
    private let domains: [DomainMetrics]
    private let workers: [CounterRow]
    private var family = MetricDescription("", .gauge, "")

    init(domains: [DomainMetrics], workers: [CounterRow]) {
        self.domains = domains
        self.workers = workers
        self.bytes.reserveCapacity(16 << 10)
    }

    mutating func begin(_ family: MetricDescription) {
        self.family = family
        self.text("# HELP \(family.name) \(family.help)\n# TYPE \(family.name) \(family.kind.rawValue)\n")
    }

    /// A line of the family that was begun.
    ///
    /// - Parameter labels: by the family's labels; those without a value and values without a label are left out.
    mutating func sample(_ labels: [String], _ value: Double, suffix: StaticString = "", bound: String? = nil) {
        self.text(self.family.name)
        self.text(suffix.description)
        var isFirst = true
        for (name, value) in zip(self.family.labels, labels) {
            self.label(name, value, isFirst: isFirst)
            isFirst = false
        }
        if let bound {
            self.label("le", bound, isFirst: isFirst)
            isFirst = false
        }
        if !isFirst { self.text("}") }
        self.text(" ")
        self.text(Self.number(value))
        self.text("\n")
    }

    private mutating func label(_ name: String, _ value: String, isFirst: Bool) {
        self.text(isFirst ? "{" : ",")
        self.text(name)
        self.text("=\"")
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): self.text("\\\\")
            case UInt8(ascii: "\""): self.text("\\\"")
            case UInt8(ascii: "\n"): self.text("\\n")
            default: self.bytes.append(byte)
            }
        }
        self.text("\"")
    }

    private mutating func text(_ text: String) {
        self.bytes.append(contentsOf: text.utf8)
    }

    /// A value as Go's parser reads it: counts without a fraction.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value), abs(value) < 1e15 { return String(whole) }
        return "\(value)"
    }

    // MARK: Families that are counted

    /// One label after the domain: a line for each of its values that was counted.
    mutating func perDomain<Label: MetricLabel>(_: Label.Type, at first: Int) {
        let labels = Label.allCases.map { ($0.metricLabel, first + $0.index) }
        for domain in self.domains {
            for (label, cell) in labels { self.count([domain.name, label], domain.total(cell)) }
        }
    }

    /// One label and no domain: a line for each of its values.
    mutating func perProcess<Label: MetricLabel>(_: Label.Type, at cell: (Int) -> Int) {
        for label in Label.allCases { self.sample([label.metricLabel], Double(self.sum(cell(label.index)))) }
    }

    mutating func connectionsOpened() {
        self.perTransport { domain, transport in domain.total(DomainCells.opened + Int(transport.rawValue)) }
    }

    mutating func connectionsOpen() {
        for domain in self.domains {
            for transport in Transport.allCases {
                // Ends are read first: a connection that opens and ends between the reads must not count as minus one.
                let closed = Self.closed(domain, transport)
                let opened = domain.total(DomainCells.opened + Int(transport.rawValue))
                if opened > 0 { self.sample([domain.name, transport.metricLabel], Double(opened) - Double(closed)) }
            }
        }
    }

    mutating func connectionsClosed() {
        let ends = ConnectionEnd.allCases.map { ($0, $0.metricLabel) }
        for domain in self.domains {
            for transport in Transport.allCases {
                for (end, label) in ends {
                    let total = domain.total(DomainCells.close(Int(transport.rawValue), end))
                    self.count([domain.name, transport.metricLabel, label], total)
                }
            }
        }
    }

    mutating func outboundConnections() {
        let results = OutboundResult.allCases.map { ($0, $0.metricLabel) }
        for domain in self.domains {
            for transport in Transport.allCases {
                for (result, label) in results {
                    let total = domain.total(DomainCells.outbound(Int(transport.rawValue), result))
                    self.count([domain.name, transport.metricLabel, label], total)
                }
            }
        }
    }

    mutating func handshakes() {
        let failures = TLSFailure.Cause.allCases.map { (DomainCells.handshakeFailure($0), $0.rawValue) }
        for domain in self.domains {
            self.count([domain.name, "full", ""], domain.total(DomainCells.handshakes))
            self.count([domain.name, "resumed", ""], domain.total(DomainCells.handshakes + 1))
            for (cell, cause) in failures { self.count([domain.name, "failed", cause], domain.total(cell)) }
        }
    }

    mutating func requests() {
        self.perMethod { page, domain, direction, method, labels in
            page.count([domain.name] + labels, domain.total(DomainCells.request(direction, method.index)))
        }
    }

    mutating func responses() {
        self.perMethod { page, domain, direction, method, labels in
            for statusClass in 0..<DomainCells.classes {
                let total = domain.total(DomainCells.response(direction, method.index, statusClass))
                page.count([domain.name] + labels + ["\(statusClass + 1)xx"], total)
            }
        }
    }

    mutating func transactionsOpen() {
        for type in TransactionType.allCases {
            let ended = self.sum(WorkerCells.ended + type.index)
            let started = self.sum(WorkerCells.started + type.index)
            self.sample([type.metricLabel], Double(started) - Double(ended))
        }
    }

    mutating func latency() {
        for direction in MetricDirection.allCases {
            let label = [direction.metricLabel]
            var total: UInt64 = 0
            for bucket in 0..<WorkerCells.buckets {
                total &+= self.sum(WorkerCells.latencyBuckets + direction.index * WorkerCells.buckets + bucket)
                let isLast = bucket == WorkerCells.buckets - 1
                let bound = isLast ? "+Inf" : Self.number(WorkerCells.bound(bucket))
                self.sample(label, Double(total), suffix: "_bucket", bound: bound)
            }
            let nanoseconds = self.sum(WorkerCells.latencySum + direction.index)
            self.sample(label, Double(nanoseconds) / 1e9, suffix: "_sum")
            self.sample(label, Double(total), suffix: "_count")
        }
    }

    private mutating func perTransport(_ total: (DomainMetrics, Transport) -> UInt64) {
        for domain in self.domains {
            for transport in Transport.allCases {
                self.count([domain.name, transport.metricLabel], total(domain, transport))
            }
        }
    }

    private mutating func perMethod(
        _ body: (inout MetricsPage, DomainMetrics, MetricDirection, Method, _ labels: [String]) -> Void
    ) {
        let methods = Method.allCases.map { ($0, $0.metricLabel) }
        for domain in self.domains {
            for direction in MetricDirection.allCases {
                for (method, label) in methods {
                    body(&self, domain, direction, method, [direction.metricLabel, label])
                }
            }
        }
    }

    /// A line for a counter that is not zero.
    private mutating func count(_ labels: @autoclosure () -> [String], _ total: UInt64) {
        if total > 0 { self.sample(labels(), Double(total)) }
    }

    private func sum(_ cell: Int) -> UInt64 {
        self.workers.reduce(0) { $0 &+ $1.value(at: cell) }
    }

    private static func closed(_ domain: DomainMetrics, _ transport: Transport) -> UInt64 {
        ConnectionEnd.allCases.reduce(0) { $0 &+ domain.total(DomainCells.close(Int(transport.rawValue), $1)) }
    }
}
