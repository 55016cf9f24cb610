public import SIPMessage

// The configuration as a value: what the YAML files say (docs/configuration.md), checked, with every default filled in.
// GatehouseConfig makes it; nothing here reads a file.

/// Where a setting was written, so that a later error or verdict can name the line that decided.
public struct SourceLocation: Hashable, Sendable {
    public var file: String
    /// Both count from 1; 0 where the value is a default that no line wrote.
    public var line: Int
    public var column: Int

    public init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }
}

/// The whole of one configuration.
public struct Configuration: Sendable, Equatable {
    public var edge: EdgeSettings
    public var core: CoreBindSettings
    public var dns: DNSSettings
    public var domains: [DomainConfiguration]

    public init(edge: EdgeSettings, core: CoreBindSettings, dns: DNSSettings, domains: [DomainConfiguration]) {
        self.edge = edge
        self.core = core
        self.dns = dns
        self.domains = domains
    }
}

/// `edge:` what the process as a whole does.
public struct EdgeSettings: Sendable, Equatable {
    public enum LogLevel: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error, critical }
    public enum LogFormat: String, Sendable, CaseIterable { case text, json }

    /// Event loops; nil: one a core.
    public var workers: Int?
    public var name: String
    /// Absolute, as every path here.
    public var secretFile: String
    public var stateDirectory: String
    public var admin: Endpoint?
    public var logLevel: LogLevel
    public var logFormat: LogFormat
    public var drain: Duration
    public var timers: TimerSettings
    public var limits: EdgeLimits

    public init(
        workers: Int?, name: String, secretFile: String, stateDirectory: String, admin: Endpoint?, logLevel: LogLevel,
        logFormat: LogFormat, drain: Duration, timers: TimerSettings, limits: EdgeLimits
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
    /// How long a stream connection that carries no registered flow may be silent.
    public var idle = Duration.seconds(3600)
    /// How long a connect to a core target or peer may take.
    public var connect = Duration.seconds(4)

    public init() {}
}

/// `edge.limits`: bounds on what the process as a whole holds.
public struct EdgeLimits: Sendable, Equatable {
    /// Transactions alive at a time, over all workers; past it new requests get 503.
    public var transactions = 200_000
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
public struct Network: Hashable, Sendable {
    public var address: IPAddress
    /// 0 to 32 for IPv4, 0 to 128 for IPv6.
    public var prefixLength: Int

    public init(address: IPAddress, prefixLength: Int) {
        self.address = address
        self.prefixLength = prefixLength
    }
}

/// `core:` where the PBX side reaches the edge.
public struct CoreBindSettings: Sendable, Equatable {
    public var binds: [Bind]
    /// Host that the core sees in our Via, Record-Route, Path and Contact; nil: the bind address.
    public var advertise: String?
    /// Who may speak to the core binds; empty: the addresses of all core targets.
    public var trusted: [Network]

    public init(binds: [Bind], advertise: String?, trusted: [Network]) {
        self.binds = binds
        self.advertise = advertise
        self.trusted = trusted
    }
}

/// `dns:` which name servers are asked.
public struct DNSSettings: Sendable, Equatable {
    /// Empty: the system's.
    public var servers: [Endpoint]
    public var timeout: Duration

    public init(servers: [Endpoint], timeout: Duration) {
        self.servers = servers
        self.timeout = timeout
    }
}

/// One entry of `domains:`.
public struct DomainConfiguration: Sendable, Equatable {
    /// Lower case, without a trailing dot.
    public var name: String
    /// Lower case; a `*` stands for exactly one label, and only as the first.
    public var aliases: [String]
    public var tls: TLSSettings?
    public var tcpBinds: [Endpoint]
    public var udpBinds: [Endpoint]
    public var core: DomainCoreSettings
    public var security: SecuritySettings
    public var limits: DomainLimits
    /// Where the entry begins.
    public var location: SourceLocation

    public init(
        name: String, aliases: [String], tls: TLSSettings?, tcpBinds: [Endpoint], udpBinds: [Endpoint],
        core: DomainCoreSettings, security: SecuritySettings, limits: DomainLimits, location: SourceLocation
    ) {
        self.name = name
        self.aliases = aliases
        self.tls = tls
        self.tcpBinds = tcpBinds
        self.udpBinds = udpBinds
        self.core = core
        self.security = security
        self.limits = limits
        self.location = location
    }
}

/// A certificate chain and its key, as paths.
public struct CertificatePair: Hashable, Sendable {
    public var certificate: String
    public var privateKey: String
    public var location: SourceLocation

    public init(certificate: String, privateKey: String, location: SourceLocation) {
        self.certificate = certificate
        self.privateKey = privateKey
        self.location = location
    }
}

/// `tls:` of a domain: its listeners and what they demand.
public struct TLSSettings: Sendable, Equatable {
    public enum TransportParameter: String, Sendable, CaseIterable { case mirror, never }
    public enum UnknownSNI: String, Sendable, CaseIterable { case reject, `default` }
    public enum ClientCertificate: String, Sendable, CaseIterable { case none, request, require }
    public enum Version: String, Sendable, CaseIterable { case v1_2 = "1.2", v1_3 = "1.3" }

    public var binds: [Endpoint]
    /// Host in our Via, Record-Route and Contact towards the outside; nil: the domain's name.
    public var advertise: String?
    public var transportParameter: TransportParameter
    /// At least one; more give RSA and ECDSA side by side.
    public var certificates: [CertificatePair]
    /// Answers clients on its addresses that send no SNI.
    public var isDefault: Bool
    public var unknownSNI: UnknownSNI
    public var minimumVersion: Version
    /// TLS 1.2 cipher list in OpenSSL's notation; nil: the build's default.
    public var ciphers: String?
    public var clientCertificate: ClientCertificate
    /// PEM file of the authorities for client certificates.
    public var clientCA: String?
    public var location: SourceLocation

    public init(
        binds: [Endpoint], advertise: String?, transportParameter: TransportParameter, certificates: [CertificatePair],
        isDefault: Bool, unknownSNI: UnknownSNI, minimumVersion: Version, ciphers: String?,
        clientCertificate: ClientCertificate, clientCA: String?, location: SourceLocation
    ) {
        self.binds = binds
        self.advertise = advertise
        self.transportParameter = transportParameter
        self.certificates = certificates
        self.isDefault = isDefault
        self.unknownSNI = unknownSNI
        self.minimumVersion = minimumVersion
        self.ciphers = ciphers
        self.clientCertificate = clientCertificate
        self.clientCA = clientCA
        self.location = location
    }
}

/// A core server of a domain.
public struct CoreTarget: Hashable, Sendable {
    public var transport: Transport
    /// A host name or an address as written.
    public var host: String
    public var port: UInt16
    public var location: SourceLocation

    public init(transport: Transport, host: String, port: UInt16, location: SourceLocation) {
        self.transport = transport
        self.host = host
        self.port = port
        self.location = location
    }
}

/// `core:` of a domain: the PBX behind it.
public struct DomainCoreSettings: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable { case pbx, proxy }
    public enum Distribution: String, Sendable, CaseIterable {
        case failover
        case roundRobin = "round_robin"
        case callIDHash = "call_id_hash"
    }
    /// `health:` OPTIONS pings to each target.
    public struct Health: Sendable, Equatable {
        /// nil: no health checks, every target counts as healthy.
        public var interval: Duration?
        public var timeout: Duration
        public var downAfter: Int
        public var upAfter: Int

        public init(interval: Duration?, timeout: Duration, downAfter: Int, upAfter: Int) {
            self.interval = interval
            self.timeout = timeout
            self.downAfter = downAfter
            self.upAfter = upAfter
        }
    }

    public var kind: Kind
    /// At least one.
    public var targets: [CoreTarget]
    public var distribution: Distribution
    public var health: Health

    public init(kind: Kind, targets: [CoreTarget], distribution: Distribution, health: Health) {
        self.kind = kind
        self.targets = targets
        self.distribution = distribution
        self.health = health
    }
}

/// `security:` of a domain (product contract §3).
public struct SecuritySettings: Sendable, Equatable {
    public enum Protect: String, Sendable, CaseIterable { case sips, tls, all }
    public enum Permission: String, Sendable, CaseIterable { case allow, refuse }

    public var protect: Protect
    public var untagged: Permission
    public var sipsToCore: Permission

    public init(protect: Protect, untagged: Permission, sipsToCore: Permission) {
        self.protect = protect
        self.untagged = untagged
        self.sipsToCore = sipsToCore
    }
}

/// `limits:` of a domain. A nil is `unlimited`.
public struct DomainLimits: Sendable, Equatable {
    public var connections: Int?
    public var connectionsPerSource: Int?
    public var handshakesPerSecond: Int?
    public var calls: Int?
    public var callsPerSecond: Int?
    public var requestsPerSecondPerSource: Int?
    public var messageSizeInBytes: Int

    public init(
        connections: Int? = 10_000, connectionsPerSource: Int? = 1000, handshakesPerSecond: Int? = 500,
        calls: Int? = nil, callsPerSecond: Int? = nil, requestsPerSecondPerSource: Int? = 1000,
        messageSizeInBytes: Int = 64 << 10
    ) {
        self.connections = connections
        self.connectionsPerSource = connectionsPerSource
        self.handshakesPerSecond = handshakesPerSecond
        self.calls = calls
        self.callsPerSecond = callsPerSecond
        self.requestsPerSecondPerSource = requestsPerSecondPerSource
        self.messageSizeInBytes = messageSizeInBytes
    }
}
