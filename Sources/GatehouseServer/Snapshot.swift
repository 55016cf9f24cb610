internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage

/// One configuration in force: made whole beside the running one, then given to every worker at once, or thrown away.
///
/// Immutable. A connection keeps the certificates that it was accepted with, a transaction the domain that it began with.
final class Snapshot: Sendable {
    let generation: Int
    let configuration: Configuration
    let domains: [DomainRuntime]
    let domainTable: DomainTable
    let certificates: CertificateStore
    private let byKey: [DomainKey: Int]
    /// Hosts besides the domains' names that stand for the edge itself: listener addresses, `advertise` hosts.
    private let ownHosts: Set<[UInt8]>
    /// The ports of all listeners; 0 for one whose port the system chooses.
    private let ownPorts: Set<UInt16>
    /// The core servers of all domains that are given by address.
    private let targetAddresses: Set<IPAddress>
    private let targetEndpoints: Set<Endpoint>
    /// The first domain of each of them.
    private let firstDomains: [IPAddress: Int]
    /// The core servers that are given by name.
    private let namedTargets: [TargetRuntime]
    /// Every address that the edge listens on; a listener on all addresses of the host stands for each of them.
    private let ownListeners: Set<Endpoint>
    /// Who may speak to the core binds.
    let trustedSources: TrustedSources

    /// - Parameters:
    ///   - targets: what is known of core servers; those of this configuration stay or are added, others go.
    ///   - counters: likewise for domains.
    init(
        generation: Int, _ configuration: Configuration, _ certificates: CertificateStore, metrics: Metrics,
        targets: inout [TargetRuntime.Key: TargetRuntime], counters: inout [DomainKey: DomainCounters]
    ) {
        self.generation = generation
        self.configuration = configuration
        self.certificates = certificates
        self.domainTable = DomainTable(configuration.domains)
        let domainMetrics = metrics.domains(configuration.domains.map(\.name))
        var usedTargets: [TargetRuntime.Key: TargetRuntime] = [:]
        var usedCounters: [DomainKey: DomainCounters] = [:]
        var domains: [DomainRuntime] = []
        domains.reserveCapacity(configuration.domains.count)
        for (domain, metrics) in zip(configuration.domains, domainMetrics) {
            let own = domain.core.targets.map { target in
                let key = TargetRuntime.Key(target)
                let runtime = usedTargets[key] ?? targets[key] ?? TargetRuntime(key)
                usedTargets[key] = runtime
                return runtime
            }
            let key = DomainKey(name: domain.name)
            let counter = counters[key] ?? DomainCounters()
            usedCounters[key] = counter
            domains.append(DomainRuntime(domain, targets: own, counters: counter, metrics: metrics))
        }
        targets = usedTargets
        counters = usedCounters
        self.domains = domains
        var byKey: [DomainKey: Int] = [:]
        for (index, domain) in domains.enumerated() { byKey[domain.key] = index }
        self.byKey = byKey
        self.admitHandshake = Self.handshakeGate(of: domains)
        let fixed = usedTargets.values.compactMap(\.fixed)
        self.targetAddresses = Set(fixed.map(\.address))
        self.targetEndpoints = Set(fixed)
        self.namedTargets = usedTargets.values.filter { $0.fixed == nil }
        var firstDomains: [IPAddress: Int] = [:]
        for (index, domain) in domains.enumerated() {
            for endpoint in domain.targets.compactMap(\.fixed) {
                let address = endpoint.address.asIPv4 ?? endpoint.address
                if firstDomains[address] == nil { firstDomains[address] = index }
            }
        }
        self.firstDomains = firstDomains
        self.ownHosts = Self.ownHosts(of: configuration)
        self.ownListeners = Self.ownListeners(of: configuration)
        self.ownPorts = Set(self.ownListeners.map(\.port))
        self.trustedSources = TrustedSources(
            networks: configuration.core.trusted, targets: domains.flatMap { $0.targets })
    }

    private static func handshakeGate(of domains: [DomainRuntime]) -> @Sendable (String) -> Bool {
        let limited = Dictionary(
            domains.filter { $0.limits.handshakesPerSecond != nil }.map { ($0.configuration.name, $0) },
            uniquingKeysWith: { first, _ in first })
        return { name in
            guard let domain = limited[name] else { return true }
            return domain.counters.handshakes.allows(
                now: monotonicNanoseconds(), limit: domain.limits.handshakesPerSecond)
        }
    }

    private static func ownListeners(of configuration: Configuration) -> Set<Endpoint> {
        let binds =
            configuration.core.binds.map(\.endpoint)
            + configuration.domains.flatMap { ($0.tls?.binds ?? []) + $0.allTCPBinds + $0.udpBinds }
        var listeners = Set(binds)
        let wildcards = binds.filter(\.address.isUnspecified)
        guard !wildcards.isEmpty else { return listeners }
        let addresses = localAddresses()
        for bind in wildcards {
            for address in addresses where address.isIPv6 == bind.address.isIPv6 {
                listeners.insert(Endpoint(address: address, port: bind.port))
            }
        }
        return listeners
    }

    private static func ownHosts(of configuration: Configuration) -> Set<[UInt8]> {
        var hosts: Set<[UInt8]> = []
        let binds =
            configuration.core.binds.map(\.endpoint)
            + configuration.domains.flatMap { ($0.tls?.binds ?? []) + $0.allTCPBinds + $0.udpBinds }
        for bind in binds where !bind.address.isUnspecified {
            var text: [UInt8] = []
            bind.address.appendText(to: &text)
            hosts.insert(text)
        }
        for domain in configuration.domains {
            for host in [domain.tls?.advertise, domain.tcpAdvertise, domain.udpAdvertise] {
                if let host { hosts.insert(Array(host.lowercased().utf8)) }
            }
        }
        if let host = configuration.core.advertise { hosts.insert(Array(host.lowercased().utf8)) }
        return hosts
    }

    /// The first domain, in the order of the configuration, that a core address belongs to; the first at all for an address
    /// that is trusted and no core server's.
    func firstDomain(of address: IPAddress) -> DomainRuntime? {
        let address = address.asIPv4 ?? address
        if let index = self.firstDomains[address] { return self.domains[index] }
        let named = self.namedTargets.first { target in target.addresses.contains { $0.address == address } }
        if let named { return self.domains.first { $0.targets.contains { $0 === named } } }
        return self.domains.first
    }

    /// Whether an address is one that the edge listens on.
    func isOwnListener(_ endpoint: Endpoint) -> Bool { self.ownListeners.contains(endpoint) }

    /// Whether an address is that of a core server.
    func isCoreServer(_ endpoint: Endpoint) -> Bool {
        self.targetEndpoints.contains(endpoint) || self.namedTargets.contains { $0.addresses.contains(endpoint) }
    }

    /// Whether nothing may be sent there, and why: a name of the outside must not lead inside (LOC-26).
    ///
    /// Loopback is forbidden like the core's networks, unless the domain itself listens there, as on a test bench.
    func forbids(_ endpoint: Endpoint, _ domain: DomainRuntime) -> String? {
        // An IPv4 address in an AAAA record is that address.
        let endpoint = Endpoint(address: endpoint.address.asIPv4 ?? endpoint.address, port: endpoint.port)
        if endpoint.address.isUnspecified || endpoint.address.isMulticast { return "no address of a host" }
        if self.isOwnListener(endpoint) { return "the edge itself listens there" }
        if self.isCoreServer(endpoint) { return "a core server" }
        if endpoint.address.isLoopback { return domain.isOnLoopback ? nil : "a loopback address" }
        return self.trustedSources.contains(endpoint.address) ? "an address of the core network" : nil
    }

    /// Whether a core address may send to the devices of a domain: not if it is a core server of other domains alone.
    func mayReach(_ domain: DomainRuntime, from address: IPAddress) -> Bool {
        let address = address.asIPv4 ?? address
        guard self.targetAddresses.contains(address) else { return true }
        return domain.targets.contains { target in target.addresses.contains { $0.address == address } }
    }

    /// Counts a handshake against `limits.handshakes_per_second` of its domain; called on the handshake threads.
    let admitHandshake: @Sendable (String) -> Bool

    func domain(_ key: DomainKey) -> DomainRuntime? {
        self.byKey[key].map { self.domains[$0] }
    }

    /// The domain that serves a host, by name or alias.
    func domain(named host: ByteRange, in bytes: [UInt8]) -> DomainRuntime? {
        guard let index = self.domainTable.domain(named: host, in: bytes), index < self.domains.count else {
            return nil
        }
        return self.domains[index]
    }

    /// Whether a URI's host is an advertised name of the edge, or an address of it; an address with a port that is no
    /// listener's is somebody else's who lives there too.
    func isOwnHost(_ uri: URI, in bytes: [UInt8]) -> Bool {
        if let address = uri.hostAddress(in: bytes) {
            var text: [UInt8] = []
            address.appendText(to: &text)
            guard self.ownHosts.contains(text) else { return false }
            return uri.port.map { self.ownPorts.contains($0) || self.ownPorts.contains(0) } ?? true
        }
        return self.ownHosts.contains(uri.host.lowercasedBytes(in: bytes))
    }
}
