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
    /// The core servers of all domains that are given by address.
    private let targetAddresses: Set<IPAddress>
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
        self.targetAddresses = Set(usedTargets.values.compactMap { $0.fixed?.address })
        self.ownHosts = Self.ownHosts(of: configuration)
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

    private static func ownHosts(of configuration: Configuration) -> Set<[UInt8]> {
        var hosts: Set<[UInt8]> = []
        let binds =
            configuration.core.binds.map(\.endpoint)
            + configuration.domains.flatMap { ($0.tls?.binds ?? []) + $0.tcpBinds + $0.udpBinds }
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

    /// Whether a host is an address or advertised name of the edge.
    func isOwnHost(_ uri: URI, in bytes: [UInt8]) -> Bool {
        if let address = uri.hostAddress(in: bytes) {
            var text: [UInt8] = []
            address.appendText(to: &text)
            return self.ownHosts.contains(text)
        }
        return self.ownHosts.contains(uri.host.lowercasedBytes(in: bytes))
    }
}
