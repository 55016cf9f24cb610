public import SIPMessage

// The configuration as a value: what the YAML files say (docs/configuration.md), checked, with every default filled in.
// GatehouseConfig makes it; nothing here reads a file. What stands under `domains` is in DomainConfiguration.swift.

/// The whole of one configuration.
public struct Configuration: Sendable, Equatable {
    public var edge: EdgeSettings
    public var core: CoreBindSettings
    public var dns: DNSSettings
    public var domains: [DomainConfiguration]
    /// The main file, as the operator named it.
    @NotCompared public var file: String
    /// Where the keys of `edge`, `core` and `dns` were written; each domain has its own map.
    @NotCompared public var sources: SourceMap

    public init(
        edge: EdgeSettings, core: CoreBindSettings, dns: DNSSettings, domains: [DomainConfiguration],
        file: String = "", sources: SourceMap = SourceMap()
    ) {
        self.edge = edge
        self.core = core
        self.dns = dns
        self.domains = domains
        self.file = file
        self.sources = sources
    }

    /// Where a key like `core.bind[0]` was written, or the nearest key above it; line 0 where it is a default.
    public func location(of key: String) -> SourceLocation {
        let position = self.sources.position(of: key) ?? (line: 0, column: 0)
        return SourceLocation(file: self.file, line: position.line, column: position.column)
    }
}

/// `edge:` what the process as a whole does.
public struct EdgeSettings: Sendable, Equatable {
    public enum LogLevel: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error, critical }
    public enum LogFormat: String, Sendable, CaseIterable { case text, json }

    /// Event loops; nil: one a core.
    public var workers: Int?
    /// At most 63 letters, digits, `-`, `.` and `_`.
    public var name: String
    /// Absolute, as every path here.
    public var secretFile: String
    public var stateDirectory: String
    /// nil: no admin endpoint.
    public var admin: Endpoint?
    public var logLevel: LogLevel
    public var logFormat: LogFormat
    /// Lines of one sentence that peers can cause which a worker writes in a second.
    public var logLinesPerSecond = 5
    public var drain: Duration
    public var timers: TimerSettings
    public var limits: EdgeLimits

    public init(
        workers: Int? = nil, name: String, secretFile: String, stateDirectory: String, admin: Endpoint? = nil,
        logLevel: LogLevel = .info, logFormat: LogFormat = .text, drain: Duration = .seconds(30),
        timers: TimerSettings = TimerSettings(), limits: EdgeLimits = EdgeLimits()
    ) {
        self.workers = workers
        self.name = name
        self.secretFile = secretFile
        self.stateDirectory = stateDirectory
        self.admin = admin
        self.logLevel = logLevel
        self.logFormat = logFormat
        self.drain = drain
        self.timers = timers
        self.limits = limits
    }
}

/// `edge.timers`: the timers of RFC 3261 Table 4 from which the others follow, and the deadlines of a connection.
public struct TimerSettings: Sendable, Equatable {
    /// Round-trip estimate: 500 ms (RFC 3261 §17.1.1.1).
    public var t1 = Duration.milliseconds(500)
    /// Longest retransmission interval of a non-INVITE request and an INVITE response: 4 s.
    public var t2 = Duration.seconds(4)
    /// How long a message may stay in the network: 5 s.
    public var t4 = Duration.seconds(5)
    /// How long a proxied INVITE may ring without news: over 3 minutes (RFC 3261 §16.6 item 11).
    public var timerC = Duration.seconds(185)
    /// From the first byte of a TLS handshake to its end.
    public var handshake = Duration.seconds(10)
    /// From the first byte of a message on a stream to the end of its header section.
    public var header = Duration.seconds(10)
    /// From the end of the header section to the end of the body.
    public var body = Duration.seconds(10)
    /// How long a stream connection that carries no registered flow may be silent, and a UDP peer that began a dialog.
    public var idle = Duration.seconds(3600)
    /// How long a UDP peer that has neither registered nor begun a dialog is remembered after its last message.
    public var udpIdle = Duration.seconds(60)
    /// How long a registered device may be silent beyond its Flow-Timer (RFC 5626 §5.4).
    public var flowGrace = Duration.seconds(30)
    /// How long a connect to a core target or peer may take.
    public var connect = Duration.seconds(4)
    /// How long a target that failed is tried after all others.
    public var putAside = Duration.seconds(30)

    public init() {}
}

/// `edge.limits`: bounds on what the process as a whole holds.
public struct EdgeLimits: Sendable, Equatable {
    /// Transactions alive at a time, over all workers; past it new requests get 503.
    public var transactions = 1_000_000
    /// Bindings held for all domains.
    public var bindings = 1_000_000
    /// Bytes queued to one slow reader; past it the connection is closed.
    public var writeQueueInBytes = 1 << 20
    /// Handshakes waiting for a handshake thread, over all domains; past it a new connection is closed.
    public var handshakeQueue = 4096
    /// Header fields in one message; past it 513.
    public var headerFields = 256
    /// Bytes in one Request-URI; past it 414.
    public var requestURIInBytes = 4096
    /// Bytes in one header section; past it 513.
    public var headerSectionInBytes = 32 << 10
    /// Via values in one message.
    public var vias = 70
    /// Connections that the edge opens to the outside, at a time, over all workers; past it a next hop counts as failed.
    public var outboundConnections = 10_000
    /// Sources of UDP messages from the outside that are remembered at a time, over all workers.
    public var datagramFlows = 100_000
    /// Next hops that are being located at a time, over all workers; past it a request gets 503.
    public var lookups = 20_000

    public init() {}
}

/// An address that SIP is received on.
public struct Bind: Hashable, Sendable {
    public var transport: Transport
    public var endpoint: Endpoint

    public init(transport: Transport, endpoint: Endpoint) {
        self.transport = transport
        self.endpoint = endpoint
    }
}

/// An address block in CIDR notation.
public struct Network: Hashable, Sendable, CustomStringConvertible {
    /// The bits after the prefix are zero.
    public var address: IPAddress
    /// 0 to 32 for IPv4, 0 to 128 for IPv6.
    public var prefixLength: Int

    public init(address: IPAddress, prefixLength: Int) {
        self.address = address
        self.prefixLength = prefixLength
    }

    /// The block of one address.
    public init(_ address: IPAddress) {
        self.init(address: address, prefixLength: address.isIPv6 ? 128 : 32)
    }

    /// Whether the address lies in the block. An IPv4-mapped address, as dual-stack sockets report IPv4 peers, also
    /// lies in the blocks of the IPv4 address that it maps.
    public func contains(_ address: IPAddress) -> Bool {
        address.matches(self.address, prefixLength: self.prefixLength)
            || address.asIPv4?.matches(self.address, prefixLength: self.prefixLength) == true
    }

    /// `10.0.0.0/24`.
    public var description: String { "\(self.address)/\(self.prefixLength)" }
}

/// `core:` where the PBX side reaches the edge.
public struct CoreBindSettings: Sendable, Equatable {
    /// UDP and TCP alone; at least one.
    public var binds: [Bind]
    /// Host that the core sees in our Via, Record-Route, Path and Contact, as a URI writes it (IPv6 in brackets);
    /// nil: the bind address, which then is no wildcard.
    public var advertise: String?
    /// Who may speak to the core binds; empty: the addresses of all core targets, also those that their names resolve to.
    public var trusted: [Network]

    public init(binds: [Bind], advertise: String? = nil, trusted: [Network] = []) {
        self.binds = binds
        self.advertise = advertise
        self.trusted = trusted
    }
}

/// `dns:` which name servers are asked.
public struct DNSSettings: Sendable, Equatable {
    /// Empty: the system's.
    public var servers: [Endpoint]
    /// For a question, over all servers.
    public var timeout: Duration
    /// Answers kept at a time; what was not asked for in the longest time goes first.
    public var cache: Int
    /// Questions that wait for an answer at a time; more fail at once.
    public var questions: Int

    public init(
        servers: [Endpoint] = [], timeout: Duration = .seconds(2), cache: Int = 100_000, questions: Int = 50_000
    ) {
        self.servers = servers
        self.timeout = timeout
        self.cache = cache
        self.questions = questions
    }
}
