/// What a family of series is, as `/metrics` and docs/operations.md tell it.
public struct MetricDescription: Sendable, Equatable {
    public enum Kind: String, Sendable { case counter, gauge, histogram }

    public var name: String
    public var kind: Kind
    /// One sentence, without a full stop and without line breaks.
    public var help: String
    /// In the order in which a sample gives their values.
    public var labels: [String]

    public init(_ name: String, _ kind: Kind, _ help: String, labels: [String] = []) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
    }
}

/// Every family that `/metrics` shows, in its order there.
///
/// Families of counters are counted by ``WorkerMetrics``; those whose value is looked up when asked for are given to
/// ``Metrics/observe(_:_:)``.
public enum MetricFamily: CaseIterable, Sendable {
    case connectionsOpened
    case connectionsOpen
    case connectionsClosed
    case connectionsRefused
    case handshakes
    case tlsVersions
    case certificateNotAfter
    case requests
    case responses
    case messageLatency
    case sessions
    case refusals
    case overrides
    case referrals
    case fellowRequests
    case outboundConnections
    case outboundUnproved
    case limitsHit
    case datagramsDropped
    case transactionsStarted
    case transactionsOpen
    case bindings
    case storeChanges
    case storeFailures
    case coreTargetUp
    case queueDepth
    case dnsQueries
    case dnsLookups
    case dnsCacheEntries
    case dnsServerUp
    case reloads
    case configurationGeneration
    case configurationLastSuccess
    case logLinesDropped
    case logLinesSuppressed
    case buildInfo
    case processCPU
    case processResidentMemory
    case processVirtualMemory
    case processOpenFiles
    case processMaximumFiles
    case processThreads
    case processStartTime

    public var description: MetricDescription {
        switch self {
        case .connectionsOpened:
            .init(
                "gatehouse_connections_opened_total", .counter,
                "Connections that outside peers opened, TLS once its handshake is complete; a peer that speaks UDP counts as one",
                labels: ["domain", "transport"])
        case .connectionsOpen:
            .init(
                "gatehouse_connections_open", .gauge, "Connections from outside that are open now",
                labels: ["domain", "transport"])
        case .connectionsClosed:
            .init(
                "gatehouse_connections_closed_total", .counter,
                "Connections from outside that were open and have ended, by what ended them",
                labels: ["domain", "transport", "reason"])
        case .connectionsRefused:
            .init(
                "gatehouse_connections_refused_total", .counter,
                "Connections closed before any SIP message could pass, by the limit or state that refused them",
                labels: ["domain", "reason"])
        case .handshakes:
            .init(
                "gatehouse_handshakes_total", .counter,
                "TLS handshakes with outside clients: full, resumed or failed, and why they failed",
                labels: ["domain", "result", "cause"])
        case .tlsVersions:
            .init(
                "gatehouse_tls_versions_total", .counter, "Completed TLS handshakes by negotiated version",
                labels: ["domain", "version"])
        case .certificateNotAfter:
            .init(
                "gatehouse_certificate_not_after_timestamp_seconds", .gauge,
                "When a certificate in use expires, in seconds since 1970",
                labels: ["domain", "certificate"])
        case .requests:
            .init(
                "gatehouse_requests_total", .counter,
                "Requests received; direction is in (outside to core) or out (core to outside)",
                labels: ["domain", "direction", "method"])
        case .responses:
            .init(
                "gatehouse_responses_total", .counter,
                "Responses sent to requests, our own included; direction is that of the request",
                labels: ["domain", "direction", "method", "class"])
        case .messageLatency:
            .init(
                "gatehouse_message_latency_seconds", .histogram,
                "Time from the receipt of a message to its outgoing copy being handed to the socket",
                labels: ["direction"])
        case .sessions:
            .init(
                "gatehouse_sessions_total", .counter, "Sessions begun, by how they arrived",
                labels: ["domain", "arrived"])
        case .refusals:
            .init(
                "gatehouse_refusals_total", .counter, "Requests refused by the edge itself, by the rule that refused",
                labels: ["domain", "rule"])
        case .overrides:
            .init(
                "gatehouse_overrides_total", .counter,
                "Requests of protected sessions that an override let over a leg that is not secure, by what it allows",
                labels: ["domain", "allow"])
        case .referrals:
            .init(
                "gatehouse_referrals_total", .counter,
                "REFERs let through, by what they refer to: a URI of ours, sips, sips with transport=tls, or other; override: in a SIPS session to what is not sips",
                labels: ["domain", "target"])
        case .fellowRequests:
            .init(
                "gatehouse_cluster_requests_total", .counter,
                "Requests within a dialog that reached another edge of the cluster than the one that has the device's connection: passed on to that, or taken over by it",
                labels: ["domain", "role"])
        case .outboundConnections:
            .init(
                "gatehouse_outbound_connections_total", .counter,
                "Connections to peers: opened, or failed and why", labels: ["domain", "transport", "result"])
        case .outboundUnproved:
            .init(
                "gatehouse_outbound_unproved_total", .counter,
                "TLS connections opened to peers whose certificate need not verify, by what is wrong with it; none: nothing is",
                labels: ["domain", "cause"])
        case .limitsHit:
            .init(
                "gatehouse_limits_hit_total", .counter, "Times that a configured limit was reached",
                labels: ["domain", "limit"])
        case .datagramsDropped:
            .init(
                "gatehouse_datagrams_dropped_total", .counter, "Datagrams that were dropped without an answer",
                labels: ["reason"])
        case .transactionsStarted:
            .init(
                "gatehouse_transactions_started_total", .counter, "Transactions created (RFC 3261 section 17)",
                labels: ["type"])
        case .transactionsOpen:
            .init("gatehouse_transactions_open", .gauge, "Transactions that have not terminated", labels: ["type"])
        case .bindings:
            .init("gatehouse_bindings", .gauge, "Registered contacts held now", labels: ["domain"])
        case .storeChanges:
            .init(
                "gatehouse_store_changes_total", .counter,
                "Changes of registrations on their way to the disk: written, or dropped because too many waited for a disk that fails",
                labels: ["outcome"])
        case .storeFailures:
            .init(
                "gatehouse_store_failures_total", .counter,
                "Times that changes of registrations could not be written to the disk; they wait and are tried again")
        case .coreTargetUp:
            .init(
                "gatehouse_core_target_up", .gauge, "Whether a core target counts as healthy: 1 yes, 0 no",
                labels: ["domain", "target"])
        case .queueDepth:
            .init("gatehouse_queue_depth", .gauge, "Entries waiting in a queue now", labels: ["queue"])
        case .dnsQueries:
            .init(
                "gatehouse_dns_queries_total", .counter,
                "Questions that name servers were asked, by record type and how they ended",
                labels: ["type", "result"])
        case .dnsLookups:
            .init(
                "gatehouse_dns_lookups_total", .counter,
                "Questions of the edge's: answered from the cache, joined to one under way, asked, or refused by a limit",
                labels: ["outcome"])
        case .dnsCacheEntries:
            .init("gatehouse_dns_cache_entries", .gauge, "Answers of name servers that are kept now")
        case .dnsServerUp:
            .init(
                "gatehouse_dns_server_up", .gauge,
                "Whether a name server is asked in its turn: 1 yes, 0 last because it is silent", labels: ["server"])
        case .reloads:
            .init(
                "gatehouse_reloads_total", .counter, "Reloads of the configuration: success or failure",
                labels: ["result"])
        case .configurationGeneration:
            .init(
                "gatehouse_configuration_generation", .gauge,
                "Number of the configuration in force: 1 at start, one more with each reload that applied")
        case .configurationLastSuccess:
            .init(
                "gatehouse_configuration_last_success_timestamp_seconds", .gauge,
                "When a configuration was last put in force, in seconds since 1970")
        case .logLinesDropped:
            .init(
                "gatehouse_log_lines_dropped_total", .counter,
                "Log lines lost because standard error was not read fast enough")
        case .logLinesSuppressed:
            .init(
                "gatehouse_log_lines_suppressed_total", .counter,
                "Log lines left out because one message came too often")
        case .buildInfo:
            .init(
                "gatehouse_build_info", .gauge, "Constant 1; the labels tell what runs",
                labels: ["version", "openssl"])
        case .processCPU:
            .init("process_cpu_seconds_total", .counter, "User and system CPU time spent, in seconds")
        case .processResidentMemory:
            .init("process_resident_memory_bytes", .gauge, "Resident memory size in bytes")
        case .processVirtualMemory:
            .init("process_virtual_memory_bytes", .gauge, "Virtual memory size in bytes")
        case .processOpenFiles:
            .init("process_open_fds", .gauge, "Open file descriptors")
        case .processMaximumFiles:
            .init("process_max_fds", .gauge, "Most file descriptors that the process may open")
        case .processThreads:
            .init("process_threads", .gauge, "Threads of the process")
        case .processStartTime:
            .init("process_start_time_seconds", .gauge, "When the process started, in seconds since 1970")
        }
    }
}
