public import SIPMessage

/// One entry of `domains:`.
public struct DomainConfiguration: Sendable, Equatable {
    /// Lower case, without a trailing dot; no other domain has it as a name or alias.
    public var name: String
    /// Lower case; a `*` stands for exactly one label, and only as the first. No other domain has any of them.
    public var aliases: [String]
    /// nil: no TLS listener.
    public var tls: TLSSettings?
    public var tcpBinds: [Endpoint]
    /// Host in what we write about our TCP listeners, as a URI writes it (IPv6 in brackets); nil: as for TLS.
    public var tcpAdvertise: String?
    /// No other domain has any of them, but for port 0.
    public var udpBinds: [Endpoint]
    /// The same for our UDP listeners.
    public var udpAdvertise: String?
    /// Whether each UDP bind comes with a TCP one on its address and port (RFC 3261 §18.2.1).
    public var bindsTCPBesideUDP: Bool
    public var core: DomainCoreSettings
    public var outbound: OutboundSettings
    public var security: SecuritySettings
    public var limits: DomainLimits
    /// Where the entry begins.
    @NotCompared public var location: SourceLocation
    /// Where its keys were written.
    @NotCompared public var sources: SourceMap

    public init(
        name: String, aliases: [String] = [], tls: TLSSettings? = nil, tcpBinds: [Endpoint] = [],
        tcpAdvertise: String? = nil, udpBinds: [Endpoint] = [], udpAdvertise: String? = nil,
        bindsTCPBesideUDP: Bool = true, core: DomainCoreSettings, outbound: OutboundSettings = OutboundSettings(),
        security: SecuritySettings = SecuritySettings(), limits: DomainLimits = DomainLimits(),
        location: SourceLocation = SourceLocation(file: "", line: 0, column: 0), sources: SourceMap = SourceMap()
    ) {
        self.name = name
        self.aliases = aliases
        self.tls = tls
        self.tcpBinds = tcpBinds
        self.tcpAdvertise = tcpAdvertise
        self.udpBinds = udpBinds
        self.udpAdvertise = udpAdvertise
        self.bindsTCPBesideUDP = bindsTCPBesideUDP
        self.core = core
        self.outbound = outbound
        self.security = security
        self.limits = limits
        self.location = location
        self.sources = sources
    }

    /// The host that a listener of this transport is known by to the outside, as a URI writes it.
    public func advertisedHost(for transport: Transport) -> String {
        let own: String? =
            switch transport {
            case .tls: nil
            case .tcp: self.tcpAdvertise
            case .udp: self.udpAdvertise
            }
        return own ?? self.tls?.advertise ?? self.name
    }

    /// Where a key like `security.protect` or `tls.bind[0]` was written, or the nearest key above it that was.
    public func location(of key: String) -> SourceLocation {
        guard let position = self.sources.position(of: key) else { return self.location }
        return SourceLocation(file: self.location.file, line: position.line, column: position.column)
    }
}

/// A certificate chain and its key, as absolute paths.
public struct CertificatePair: Hashable, Sendable {
    public var certificate: String
    public var privateKey: String
    /// Where the certificate's path was written.
    @NotCompared public var location: SourceLocation

    public init(
        certificate: String, privateKey: String,
        location: SourceLocation = SourceLocation(file: "", line: 0, column: 0)
    ) {
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
    public enum Version: String, Sendable, CaseIterable { case tls12 = "1.2", tls13 = "1.3" }

    /// At least one. Domains may share them: SNI decides.
    public var binds: [Endpoint]
    /// Host in our Via, Record-Route and Contact towards the outside, as a URI writes it (IPv6 in brackets); nil: the
    /// domain's name.
    public var advertise: String?
    public var transportParameter: TransportParameter
    /// At least one; more give RSA and ECDSA side by side.
    public var certificates: [CertificatePair]
    /// Answers clients on its addresses that send no SNI; at most one domain an address.
    public var isDefault: Bool
    public var unknownSNI: UnknownSNI
    public var minimumVersion: Version
    /// TLS 1.2 cipher list in OpenSSL's notation; nil: the build's default.
    public var ciphers: String?
    public var clientCertificate: ClientCertificate
    /// PEM file of the authorities for client certificates; there where `clientCertificate` is not `none`.
    public var clientCA: String?
    /// PEM file of their revocation lists; nil: none is consulted.
    public var clientCRL: String?
    public var clientCRLExpired: ExpiredCRL
    /// Peers whose P-Asserted-Identity counts, once their certificate has proved one of these names (RFC 3325 §5).
    public var trustedPeers: [String] = []
    @NotCompared public var location: SourceLocation

    public init(
        binds: [Endpoint], advertise: String? = nil, transportParameter: TransportParameter = .mirror,
        certificates: [CertificatePair], isDefault: Bool = false, unknownSNI: UnknownSNI = .reject,
        minimumVersion: Version = .tls12, ciphers: String? = nil, clientCertificate: ClientCertificate = .none,
        clientCA: String? = nil, clientCRL: String? = nil, clientCRLExpired: ExpiredCRL = .refuse,
        location: SourceLocation = SourceLocation(file: "", line: 0, column: 0)
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
        self.clientCRL = clientCRL
        self.clientCRLExpired = clientCRLExpired
        self.location = location
    }
}

/// What a revocation list whose next update is overdue does to the certificates of its issuer (RFC 5280 §6.3).
public enum ExpiredCRL: String, Sendable, CaseIterable {
    /// They do not verify, for one might be revoked since.
    case refuse
    /// They verify unless the old list has them.
    case accept
}

/// A core server of a domain.
public struct CoreTarget: Hashable, Sendable, CustomStringConvertible {
    /// UDP or TCP.
    public var transport: Transport
    /// A host name in lower case, or an address without brackets.
    public var host: String
    public var port: UInt16
    @NotCompared public var location: SourceLocation

    public init(
        transport: Transport, host: String, port: UInt16,
        location: SourceLocation = SourceLocation(file: "", line: 0, column: 0)
    ) {
        self.transport = transport
        self.host = host
        self.port = port
        self.location = location
    }

    /// The address where the host is one; nil where a name has to be resolved.
    public var address: IPAddress? { IPAddress(self.host) }

    /// As the configuration writes it: `udp:10.0.0.10:5060`.
    public var description: String {
        let host = self.host.utf8.contains(UInt8(ascii: ":")) ? "[\(self.host)]" : self.host
        return "\(self.transport):\(host):\(self.port)"
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
    public enum Path: String, Sendable, CaseIterable {
        /// It is answered 421.
        case supported
        /// Path is inserted all the same.
        case always
    }
    /// `health:` OPTIONS pings to each target.
    public struct Health: Sendable, Equatable {
        /// nil: no health checks, every target counts as healthy.
        public var interval: Duration?
        public var timeout: Duration
        public var downAfter: Int
        public var upAfter: Int

        public init(
            interval: Duration? = .seconds(10), timeout: Duration = .seconds(2), downAfter: Int = 3, upAfter: Int = 1
        ) {
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
    /// What becomes of a REGISTER to a `proxy` core whose device does not say that it supports Path (RFC 3327 §5.2).
    public var path: Path
    /// Bytes that a packet to the core may have, for the choice between UDP and TCP (RFC 3261 §18.1.1); nil: unknown.
    public var pathMTU: Int?
    /// How often a registered device is to be heard of (RFC 5626 §5.4); nil: it is not told.
    public var flowTimer: Duration?

    public init(
        kind: Kind = .pbx, targets: [CoreTarget], distribution: Distribution = .failover, health: Health = Health(),
        path: Path = .supported, pathMTU: Int? = nil, flowTimer: Duration? = nil
    ) {
        self.flowTimer = flowTimer
        self.path = path
        self.pathMTU = pathMTU
        self.kind = kind
        self.targets = targets
        self.distribution = distribution
        self.health = health
    }
}

/// `limits:` of a domain. A nil is `unlimited`.
public struct DomainLimits: Sendable, Equatable {
    public var connections: Int?
    public var connectionsPerSource: Int?
    /// Sources of UDP messages that are remembered at a time; they are no connections.
    public var udpPeers: Int?
    public var handshakesPerSecond: Int?
    /// Dialogs at a time.
    public var calls: Int?
    public var callsPerSecond: Int?
    public var requestsPerSecondPerSource: Int?
    public var messageSizeInBytes: Int

    public init(
        connections: Int? = 10_000, connectionsPerSource: Int? = 1000, udpPeers: Int? = 10_000,
        handshakesPerSecond: Int? = 500,
        calls: Int? = nil, callsPerSecond: Int? = nil, requestsPerSecondPerSource: Int? = 1000,
        messageSizeInBytes: Int = 64 << 10
    ) {
        self.connections = connections
        self.connectionsPerSource = connectionsPerSource
        self.udpPeers = udpPeers
        self.handshakesPerSecond = handshakesPerSecond
        self.calls = calls
        self.callsPerSecond = callsPerSecond
        self.requestsPerSecondPerSource = requestsPerSecondPerSource
        self.messageSizeInBytes = messageSizeInBytes
    }
}
