// What the admin endpoint and the commands show, as values. In JSON the names are written in snake_case; times are seconds
// since 1970.

/// What a reload did, or with `dryRun` would do.
public struct ReloadReport: Codable, Sendable, Equatable {
    /// Whether the new configuration is in force; always false after a dry run.
    public var applied: Bool
    /// One sentence a change: domain, old and new fingerprint, expiry, binds that open and close.
    public var changes: [String]
    /// Every reason why nothing changed, as `file:line:column: what to do`.
    public var errors: [String]
    public var warnings: [String]
    /// Of the configuration in force after the call.
    public var generation: Int

    public init(applied: Bool, changes: [String], errors: [String], warnings: [String], generation: Int) {
        self.applied = applied
        self.changes = changes
        self.errors = errors
        self.warnings = warnings
        self.generation = generation
    }
}

/// `gatehouse status`, `GET /api/status`.
public struct EdgeStatus: Codable, Sendable, Equatable {
    public enum State: String, Codable, Sendable { case serving, draining }

    public var name: String
    public var version: String
    public var state: State
    public var startedAt: Double
    public var configuration: String
    public var generation: Int
    public var domains: Int
    public var connections: Int
    public var transactions: Int
    public var bindings: Int
    public var listeners: [ListenerStatus]

    public init(
        name: String, version: String = BuildInfo.version, state: State, startedAt: Double, configuration: String,
        generation: Int, domains: Int, connections: Int, transactions: Int, bindings: Int, listeners: [ListenerStatus]
    ) {
        self.name = name
        self.version = version
        self.state = state
        self.startedAt = startedAt
        self.configuration = configuration
        self.generation = generation
        self.domains = domains
        self.connections = connections
        self.transactions = transactions
        self.bindings = bindings
        self.listeners = listeners
    }
}

/// An address that SIP is received on.
public struct ListenerStatus: Codable, Sendable, Equatable {
    /// All that share the address; empty: a core bind.
    public var domains: [String]
    public var transport: String
    public var address: String

    public init(domains: [String], transport: String, address: String) {
        self.domains = domains
        self.transport = transport
        self.address = address
    }
}

/// `gatehouse domains`, `GET /api/domains`.
public struct DomainStatus: Codable, Sendable, Equatable {
    public var name: String
    public var aliases: [String]
    /// As `tls:203.0.113.10:5061`.
    public var listeners: [String]
    public var coreKind: String
    public var coreTargets: Int
    public var coreTargetsUp: Int
    public var connections: Int
    public var bindings: Int

    public init(
        name: String, aliases: [String], listeners: [String], coreKind: String, coreTargets: Int, coreTargetsUp: Int,
        connections: Int, bindings: Int
    ) {
        self.name = name
        self.aliases = aliases
        self.listeners = listeners
        self.coreKind = coreKind
        self.coreTargets = coreTargets
        self.coreTargetsUp = coreTargetsUp
        self.connections = connections
        self.bindings = bindings
    }
}

/// `gatehouse certificates`, `GET /api/certificates`.
public struct CertificateStatus: Codable, Sendable, Equatable {
    public var domain: String
    /// Path of the file that it was read from.
    public var certificate: String
    public var names: [String]
    /// As `EC P-256` or `RSA 2048`.
    public var key: String
    public var notAfter: Double
    /// SHA-256, hexadecimal.
    public var fingerprint: String

    public init(
        domain: String, certificate: String, names: [String], key: String, notAfter: Double, fingerprint: String
    ) {
        self.domain = domain
        self.certificate = certificate
        self.names = names
        self.key = key
        self.notAfter = notAfter
        self.fingerprint = fingerprint
    }
}

/// `gatehouse connections`, `GET /api/connections`.
public struct ConnectionStatus: Codable, Sendable, Equatable {
    public var flow: String
    public var domain: String
    public var transport: String
    public var local: String
    public var remote: String
    public var openedAt: Double
    /// Whether a registered device is reached over it.
    public var isRegistered: Bool
    public var tlsVersion: String?
    public var cipher: String?
    public var serverName: String?
    /// Names that the client's certificate proves.
    public var verified: [String]

    public init(
        flow: String, domain: String, transport: String, local: String, remote: String, openedAt: Double,
        isRegistered: Bool, tlsVersion: String? = nil, cipher: String? = nil, serverName: String? = nil,
        verified: [String] = []
    ) {
        self.flow = flow
        self.domain = domain
        self.transport = transport
        self.local = local
        self.remote = remote
        self.openedAt = openedAt
        self.isRegistered = isRegistered
        self.tlsVersion = tlsVersion
        self.cipher = cipher
        self.serverName = serverName
        self.verified = verified
    }
}

/// `gatehouse bindings`, `GET /api/bindings`.
public struct BindingStatus: Codable, Sendable, Equatable {
    public var domain: String
    public var addressOfRecord: String
    public var contact: String
    /// The connection that reaches it; nil: it is of an earlier run.
    public var flow: String?
    public var arrived: String
    /// How the REGISTER came, as the session tag says it: transport, TLS version and cipher, peer; nil for half a second.
    public var facts: String?
    public var expiresAt: Double

    public init(
        domain: String, addressOfRecord: String, contact: String, flow: String?, arrived: String,
        facts: String?, expiresAt: Double
    ) {
        self.domain = domain
        self.addressOfRecord = addressOfRecord
        self.contact = contact
        self.flow = flow
        self.arrived = arrived
        self.facts = facts
        self.expiresAt = expiresAt
    }
}

/// `gatehouse cores`, `GET /api/cores`.
public struct CoreStatus: Codable, Sendable, Equatable {
    public var domain: String
    /// As `udp:10.0.0.10:5060`.
    public var target: String
    public var isUp: Bool
    /// When it last went up or down; nil: it is as it was at start.
    public var since: Double?
    /// Of the last health check that was answered.
    public var roundTripInMilliseconds: Double?

    public init(
        domain: String, target: String, isUp: Bool, since: Double? = nil, roundTripInMilliseconds: Double? = nil
    ) {
        self.domain = domain
        self.target = target
        self.isUp = isUp
        self.since = since
        self.roundTripInMilliseconds = roundTripInMilliseconds
    }
}

/// How often a rule of a domain refused a request.
struct RefusalCount: Codable, Sendable, Equatable {
    var domain: String
    var rule: String
    var count: UInt64
}

/// Part of a list that may be long.
public struct AdminList<Item: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
    /// How many there are, shown or not.
    public var total: Int
    public var items: [Item]

    public init(total: Int, items: [Item]) {
        self.total = total
        self.items = items
    }
}
