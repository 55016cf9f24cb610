internal import GatehouseNet
internal import GatehousePolicy

extension Metrics {
    /// Shows what the DNS client counts, and what it holds.
    func observe(_ dns: DNSClient) {
        self.observe(.dnsQueries) {
            DNSQuestion.RecordType.allCases.flatMap { type in
                DNSResult.allCases.map { result in
                    MetricSample([type.metricLabel, result.metricLabel], Double(dns.count(of: type, result)))
                }
            }
        }
        self.observe(.dnsLookups) {
            DNSLookup.allCases.map { MetricSample(["\($0)"], Double(dns.count(of: $0))) }
        }
        self.observe(.dnsCacheEntries) { [MetricSample([], Double(dns.cacheCount))] }
        self.observe(.dnsServerUp) {
            dns.servers.map { MetricSample(["\($0.endpoint)"], $0.isUp ? 1 : 0) }
        }
    }
}

extension DNSQuestion.RecordType {
    fileprivate var metricLabel: String { "\(self)" }
}

extension DNSResult {
    fileprivate var metricLabel: String {
        switch self {
        case .answered: "answered"
        case .noData: "no_data"
        case .noSuchName: "no_such_name"
        case .failed(let failure): failure.metricLabel
        }
    }
}

extension DNSFailure {
    fileprivate var metricLabel: String {
        switch self {
        case .timedOut: "timed_out"
        case .unreachable: "unreachable"
        case .serverFailed: "server_failed"
        case .refused: "refused"
        case .malformedReply: "malformed_reply"
        case .overloaded: "overloaded"
        case .shutDown: "shut_down"
        }
    }
}
