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
    /// Who may speak to the core binds.
    let trustedSources: TrustedSources

    init(
        generation: Int, configuration: Configuration, domains: [DomainRuntime], certificates: CertificateStore,
        listeners: [Endpoint]
    ) {
        self.generation = generation
        self.configuration = configuration
        self.domains = domains
        self.domainTable = DomainTable(configuration.domains)
        self.certificates = certificates
        var byKey: [DomainKey: Int] = [:]
        for (index, domain) in domains.enumerated() { byKey[domain.key] = index }
        self.byKey = byKey
        var hosts: Set<[UInt8]> = []
        for listener in listeners where !listener.address.isUnspecified {
            var text: [UInt8] = []
            listener.address.appendText(to: &text)
            hosts.insert(text)
        }
        for domain in configuration.domains {
            if let host = domain.tls?.advertise { hosts.insert(Array(host.lowercased().utf8)) }
        }
        if let host = configuration.core.advertise { hosts.insert(Array(host.lowercased().utf8)) }
        self.ownHosts = hosts
        self.trustedSources = TrustedSources(
            networks: configuration.core.trusted, targets: domains.flatMap { $0.targets })
    }

    func domain(_ key: DomainKey) -> DomainRuntime? {
        self.byKey[key].map { self.domains[$0] }
    }

    /// The domain that serves a host, by name or alias.
    func domain(named host: ByteRange, in bytes: [UInt8]) -> DomainRuntime? {
        guard let index = self.domainTable.domain(named: host, in: bytes), index < self.domains.count else { return nil }
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
