internal import GatehousePolicy
internal import Logging
internal import SIPMessage

/// A listener as the workers see it: what it is for, and what it lets in before the first byte says which domain is meant.
final class Entrance: Sendable {
    enum Role: Sendable {
        /// TLS for the domains that share the address, which is as `tls.bind` has it.
        case tls(Endpoint)
        /// Plain TCP outside, for one domain.
        case outside(DomainKey)
        case core
    }

    let role: Role
    private let sources: SourceTable
    /// The most that one of the domains allows.
    private let connectionsPerSource: Int?

    /// - Parameters:
    ///   - domains: those that the listener leads to.
    ///   - previous: of the same address before a reload, whose counts go on.
    init(role: Role, domains: [DomainConfiguration], previous: Entrance?) {
        self.role = role
        self.sources = previous?.sources ?? SourceTable()
        var connections: Int? = 0
        for domain in domains {
            connections = connections.flatMap { most in domain.limits.connectionsPerSource.map { max(most, $0) } }
        }
        self.connectionsPerSource = connections
    }

    /// Takes a place for a connection that has just been accepted; false over a limit.
    func admit(_ remote: Endpoint, _ worker: Worker) -> Bool {
        let nobody = worker.shared.metrics.noDomain
        guard self.sources.enter(remote.address, domain: 0, limit: self.connectionsPerSource) != nil else {
            worker.metrics.connectionRefused(nobody, .connectionsPerSource)
            worker.metrics.limitHit(nobody, .connectionsPerSource)
            worker.log.warning(
                "connection refused: limits.connections_per_source of the domains on its address is reached",
                ["peer": "\(remote)"])
            return false
        }
        return true
    }

    /// Gives the place back.
    func leave(_ remote: Endpoint) {
        if case .core = self.role { return }
        self.sources.leave(remote.address, domain: 0)
    }
}
