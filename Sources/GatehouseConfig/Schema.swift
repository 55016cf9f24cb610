internal import GatehousePolicy
internal import SIPMessage

/// The keys of a configuration: the one table that reading, messages and `docs/configuration.md` share.
///
/// What a key means with others together is in DomainChecks.swift and BindChecks.swift.
enum Schema {
    /// What the main file says, before the files that it includes are read.
    struct Root: Sendable {
        var position: YAMLPosition
        var edge: EdgeSettings
        var core = CoreBindSettings(binds: [])
        var dns = DNSSettings()
        var domains: [DomainDraft] = []
        var includes: [Include] = []
    }

    /// A domain as far as it could be read, and the path of its entry: empty where a file is the entry.
    struct DomainDraft: Sendable {
        /// Whether the entry is a mapping; nothing else can be said of one that is not.
        var isReadable: Bool
        var configuration: DomainConfiguration
        var path: String
    }

    struct Include: Hashable, Sendable {
        var pattern: String
        @NotCompared var position: YAMLPosition
        @NotCompared var key: String
    }

    static let rows = Schema.root.rows

    /// The keys whose last part is `name`.
    static func paths(of name: String) -> [String] {
        Schema.rows.map(\.path).filter { $0.hasSuffix(".\(name)") }
    }

    static let root = Section<Root>([
        .section("edge", into: \.edge, Schema.edge),
        .section("core", into: \.core, Schema.core),
        .section("dns", into: \.dns, Schema.dns),
        .custom("domains", rows: Schema.domain.rows.map { $0.moved(below: "[]") }) { node, root, reader in
            root.domains = Schema.domains.read(node, &reader)?.filter(\.isReadable) ?? []
        },
        .value(
            "include", .list(of: Schema.include, named: "paths"), into: \.includes, default: "`[]`",
            "Files that each hold one more entry of `domains`, its keys at the top level; `*`, `?`, `[a-z]` match"
        ),
    ])

    private static let include = Kind.anyText.map { pattern, node, reader in
        Include(pattern: pattern, position: node.position, key: reader.key)
    }

    private static let domains = Kind.list(of: Schema.domainEntry, named: "domains") { $0.path }

    private static let domainEntry = Kind<DomainDraft>("domain") { node, reader in
        Schema.readDomain(node, &reader)
    }

    /// Reads an entry of `domains`, which a list or a file of its own holds.
    static func readDomain(_ node: YAMLNode, _ reader: inout Reader) -> DomainDraft {
        var domain = DomainConfiguration(
            name: "", core: DomainCoreSettings(targets: []), location: reader.location(node.position))
        (_, domain.sources) = reader.collectingSources { reader in
            Schema.domain.read(node, into: &domain, &reader)
        }
        return DomainDraft(isReadable: node.text == nil || node.isNull, configuration: domain, path: reader.key)
    }

    // MARK: edge

    private static let edge = Section<EdgeSettings>([
        .value(
            "workers", Kind.count(1...1024).or("auto"), into: \.workers, default: "`auto`",
            "Event loops; `auto` is one a core"),
        .value(
            "name", .text("name", parseEdgeName), into: \.name, default: "the host's name",
            "In flow tokens, logs and metrics; must differ between edges that share a core"),
        .value(
            "secret_file", .path, into: \.secretFile, default: "`secret` in `state_dir`",
            "Key for tags and tokens, made (0600) at the first start; the edges of a cluster share it"),
        .value("state_dir", .path, into: \.stateDirectory, default: "`state`", "Folder for what outlives a restart"),
        .section(
            "admin", into: \.self,
            Section([
                .value(
                    "bind", Kind.text("address", parseEndpoint).or("off", alias: "false"), into: \.admin,
                    default: "`127.0.0.1:8061`", "Where HTTP serves health, metrics and the commands' JSON")
            ])),
        .section(
            "log", into: \.self,
            Section([
                .value(
                    "level", .choice, into: \.logLevel, default: "`info`", "The least severe lines that are written"),
                .value("format", .choice, into: \.logFormat, default: "`text`", "`json` is one object a line"),
                .value(
                    "lines_per_second", .count(1...1_000_000), into: \.logLinesPerSecond, default: "`5`",
                    "Lines of one sentence that peers can cause; a worker counts those that are left out"),
            ])),
        .value(
            "drain", .duration(.zero ... .seconds(86_400)), into: \.drain, default: "`30s`",
            "How long SIGTERM lets calls end"),
        .section("timers", into: \.timers, Schema.timers),
        .section("limits", into: \.limits, Schema.edgeLimits),
    ])

    private static let timers = Section<TimerSettings>([
        .value(
            "t1", .duration(.milliseconds(10) ... .seconds(10)), into: \.t1, default: "`500ms`",
            "Round-trip estimate (RFC 3261 §17.1.1.1), from which the other timers follow"),
        .value(
            "t2", .duration(.milliseconds(10) ... .seconds(60)), into: \.t2, default: "`4s`",
            "Longest interval between retransmissions"),
        .value(
            "t4", .duration(.milliseconds(10) ... .seconds(60)), into: \.t4, default: "`5s`",
            "How long a message may stay in the network"),
        .value(
            "timer_c", .duration(.milliseconds(100) ... .seconds(3600)), into: \.timerC, default: "`185s`",
            "How long an INVITE may ring without news; RFC 3261 §16.6 wants more than three minutes"),
        .value(
            "handshake", .duration(.milliseconds(10) ... .seconds(600)), into: \.handshake, default: "`10s`",
            "From the first byte of a TLS handshake to its end"),
        .value(
            "header", .duration(.milliseconds(10) ... .seconds(600)), into: \.header, default: "`10s`",
            "From the first byte of a message on a stream to the end of its header section"),
        .value(
            "body", .duration(.milliseconds(10) ... .seconds(600)), into: \.body, default: "`10s`",
            "From the end of the header section to the end of the body"),
        .value(
            "idle", .duration(.milliseconds(100) ... .seconds(86_400)), into: \.idle, default: "`1h`",
            "How long a connection without a registered device may be silent, and a UDP peer that began a dialog"),
        .value(
            "udp_idle", .duration(.milliseconds(100) ... .seconds(86_400)), into: \.udpIdle, default: "`60s`",
            "How long a UDP peer that has neither registered nor begun a dialog is remembered after its last message"),
        .value(
            "flow_grace", .duration(.milliseconds(100) ... .seconds(3600)), into: \.flowGrace, default: "`30s`",
            "How long a device that was told `core.flow_timer` may be silent beyond it"),
        .value(
            "connect", .duration(.milliseconds(10) ... .seconds(600)), into: \.connect, default: "`4s`",
            "How long a connect to a core server or a peer may take"),
        .value(
            "put_aside", .duration(.zero ... .seconds(3600)), into: \.putAside, default: "`30s`",
            "How long a target that failed is tried after all others"),
    ])

    private static let edgeLimits = Section<EdgeLimits>([
        .value(
            "transactions", .count(1...10_000_000), into: \.transactions, default: "`1000000`",
            "Transactions alive at a time, over all workers; past it new requests get 503"),
        .value(
            "bindings", .count(1...100_000_000), into: \.bindings, default: "`1000000`",
            "Registered contacts, over all domains"),
        .value(
            "write_queue", .size(64 << 10...1 << 30), into: \.writeQueueInBytes, default: "`1MiB`",
            "Bytes queued to one slow reader; past it the connection is closed"),
        .value(
            "handshake_queue", .count(1...1_000_000), into: \.handshakeQueue, default: "`4096`",
            "TLS handshakes that wait for a thread; past it a new connection is closed"),
        .value(
            "header_fields", .count(16...4096), into: \.headerFields, default: "`256`",
            "Header fields in one message; past it 513"),
        .value(
            "request_uri", .size(256...64 << 10), into: \.requestURIInBytes, default: "`4KiB`",
            "Size of a Request-URI; past it 414"),
        .value(
            "header_section", .size(1 << 10...1 << 20), into: \.headerSectionInBytes, default: "`32KiB`",
            "Size of a header section; past it 513"),
        .value("vias", .count(1...255), into: \.vias, default: "`70`", "Via values in one message"),
        .value(
            "outbound_connections", .count(1...10_000_000), into: \.outboundConnections, default: "`10000`",
            "Connections that the edge opens to the outside, at a time; past it a next hop counts as failed"),
        .value(
            "datagram_flows", .count(1...10_000_000), into: \.datagramFlows, default: "`100000`",
            "Sources of UDP messages from the outside that are remembered at a time, over all domains"),
        .value(
            "lookups", .count(1...1_000_000), into: \.lookups, default: "`20000`",
            "Next hops that are being located at a time; past it 503"),
    ])

    // MARK: core, dns

    private static let core = Section<CoreBindSettings>([
        .value(
            "bind", .list(of: .text("bind", parseCoreBind), named: "`udp:` or `tcp:` addresses with ports").notEmpty,
            into: \.binds, default: nil, "Where the PBX reaches the edge"),
        .value(
            "advertise", Kind.text("host", parseAdvertisedHost).orNull, into: \.advertise, default: "the bind address",
            "Host in Via, Record-Route, Path and Contact towards the core"),
        .value(
            "trusted", .list(of: .text("block", parseNetwork), named: "CIDR blocks"), into: \.trusted,
            default: "the addresses of all core targets", "Who may speak to the core binds; others are dropped"),
    ])

    private static let dns = Section<DNSSettings>([
        .value(
            "servers", .list(of: .text("name server", parseNameServer), named: "addresses"), into: \.servers,
            default: "`[]`", "Name servers, with a port where it is not 53; none: the system's"),
        .value(
            "timeout", .duration(.milliseconds(10) ... .seconds(60)), into: \.timeout, default: "`2s`",
            "How long a question may take, over all servers; past it the call gets 504"),
        .value(
            "cache", .count(1...10_000_000), into: \.cache, default: "`100000`",
            "Answers kept, some 90 bytes each; past it those that nobody asks for go"),
        .value(
            "questions", .count(1...200_000), into: \.questions, default: "`50000`",
            "Questions that wait for an answer at a time; past it a question fails at once"),
    ])
}
