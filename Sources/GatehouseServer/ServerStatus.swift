internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseStore
internal import GatehouseTLS
internal import NIOCore
internal import SIPMessage
import Synchronization

// What the admin endpoint and the metrics show of a running server.

extension Server {
    public var adminSource: any AdminSource { ServerStatusSource(server: self) }

    /// Has the metrics look up what nobody counts.
    func observe() {
        let shared = self.shared
        let handshakes = self.handshakes
        self.metrics.observe(.certificateNotAfter) { [weak self] in
            guard let self else { return [] }
            return self.state.withLock { $0.snapshot }.certificates.certificates().map { certificate in
                MetricSample([certificate.domain, certificate.file], Double(certificate.notAfter))
            }
        }
        self.metrics.observe(log: self.output)
        self.metrics.observe(.bindings) { [weak self] in
            guard let self else { return [] }
            return self.state.withLock { $0.snapshot }.domains.map { domain in
                MetricSample([domain.configuration.name], Double(shared.bindings.count(of: domain.key)))
            }
        }
        self.metrics.observe(.queueDepth) {
            [
                MetricSample(["handshakes"], Double(handshakes.depth)),
                MetricSample(["dns"], Double(shared.dns.waitingCount)),
                MetricSample(["store"], Double(shared.store?.statistics.waiting ?? 0)),
            ]
        }
        self.metrics.observe(.storeChanges) {
            guard let statistics = shared.store?.statistics else { return [] }
            return [
                MetricSample(["written"], Double(statistics.written)),
                MetricSample(["dropped"], Double(statistics.dropped)),
            ]
        }
        self.metrics.observe(.storeFailures) { [MetricSample([], Double(shared.store?.statistics.failures ?? 0))] }
        self.metrics.observe(shared.dns)
        self.metrics.observe(.coreTargetUp) { [weak self] in
            guard let self else { return [] }
            return self.state.withLock { $0.snapshot }.domains.flatMap { domain in
                domain.targets.map { target in
                    MetricSample([domain.configuration.name, target.description], target.isHealthy ? 1 : 0)
                }
            }
        }
    }
}

/// Answers for the admin endpoint.
struct ServerStatusSource: AdminSource {
    let server: Server

    private var snapshot: Snapshot { self.server.state.withLock { $0.snapshot } }

    var isReady: Bool { !self.server.shared.isDraining.load(ordering: .relaxed) }

    func reload(dryRun: Bool) async -> ReloadReport { await self.server.reload(dryRun: dryRun) }

    func status() async -> EdgeStatus {
        let snapshot = self.snapshot
        let shared = self.server.shared
        let (listeners, coreBinds) = self.server.state.withLock { ($0.listeners, $0.coreBinds) }
        var datagrams = coreBinds.filter { $0.transport == .udp }.map { bind in
            ListenerStatus(domains: [], transport: "udp", address: "\(bind.endpoint)")
        }
        let locals = self.server.state.withLock { $0.outsideDatagrams }
        for domain in snapshot.configuration.domains {
            datagrams += domain.udpBinds.map { bind in
                ListenerStatus(domains: [domain.name], transport: "udp", address: "\(locals[bind] ?? bind)")
            }
        }
        return EdgeStatus(
            name: snapshot.configuration.edge.name, state: self.isReady ? .serving : .draining,
            startedAt: self.server.startedAt, configuration: self.server.configurationPath,
            generation: snapshot.generation, domains: snapshot.domains.count,
            connections: self.server.connectionCount, transactions: shared.transactions.load(ordering: .relaxed),
            bindings: shared.bindings.bindingCount,
            listeners: datagrams
                + listeners.map { listener in
                    ListenerStatus(
                        domains: snapshot.configuration.domains.filter { Server.binds(of: $0).contains(listener.key) }
                            .map(\.name), transport: "\(listener.key.transport)",
                        address: "\(listener.listener.local)")
                })
    }

    func domains(_ query: AdminQuery) async -> AdminList<DomainStatus>? {
        let all = self.snapshot.domains.filter { query.domain == nil || $0.configuration.name == query.domain }
        return AdminList(
            total: all.count,
            items: all.prefix(query.limit).map { domain in
                let configuration = domain.configuration
                return DomainStatus(
                    name: configuration.name, aliases: configuration.aliases,
                    listeners: Server.binds(of: configuration).map(\.text),
                    coreKind: configuration.core.kind.rawValue, coreTargets: domain.targets.count,
                    coreTargetsUp: domain.targets.count(where: \.isHealthy),
                    connections: domain.counters.connections.load(ordering: .relaxed)
                        &+ domain.counters.datagramPeers.load(ordering: .relaxed),
                    bindings: self.server.shared.bindings.count(of: domain.key))
            })
    }

    func certificates(_ query: AdminQuery) async -> AdminList<CertificateStatus>? {
        let all = self.snapshot.certificates.certificates().filter {
            query.domain == nil || $0.domain == query.domain
        }
        return AdminList(
            total: all.count,
            items: all.prefix(query.limit).map { certificate in
                CertificateStatus(
                    domain: certificate.domain, certificate: certificate.file, names: certificate.names,
                    key: certificate.keyType, notAfter: Double(certificate.notAfter),
                    fingerprint: certificate.fingerprint)
            })
    }

    func connections(_ query: AdminQuery) async -> AdminList<ConnectionStatus>? {
        var items: [ConnectionStatus] = []
        var total = 0
        for mailbox in self.server.shared.mailboxes {
            let room = max(0, query.limit - items.count)
            guard let part = try? await mailbox.ask({ $0.connections(of: query.domain, limit: room) }) else { continue }
            total += part.total
            items += part.items
        }
        return AdminList(total: total, items: items)
    }

    func bindings(_ query: AdminQuery) async -> AdminList<BindingStatus>? {
        let snapshot = self.snapshot
        let wanted = query.domain.map { DomainKey(name: $0) }
        let now = NIODeadline.now().uptimeNanoseconds
        let all = self.server.shared.bindings.list(domain: wanted, limit: query.limit)
        let facts = self.server.shared.store?.facts(of: all.map(\.key)) ?? [:]
        return AdminList(
            total: wanted.map { self.server.shared.bindings.count(of: $0) }
                ?? self.server.shared.bindings.bindingCount,
            items: all.map { key, binding in
                BindingStatus(
                    domain: snapshot.domain(binding.domain)?.configuration.name ?? "-",
                    addressOfRecord: String(decoding: binding.aor, as: UTF8.self),
                    contact: String(decoding: binding.contact, as: UTF8.self),
                    flow: binding.flow.boot == self.server.shared.boot
                        ? "\(binding.flow.worker)-\(binding.flow.number)" : nil,
                    arrived: binding.session.arrival.word.description,
                    facts: facts[key].map { String(decoding: $0, as: UTF8.self) },
                    expiresAt: secondsSince1970()
                        + (Double(binding.deadline) - Double(now)) / 1_000_000_000)
            })
    }

    func cores(_ query: AdminQuery) async -> AdminList<CoreStatus>? {
        let all = self.snapshot.domains.filter { query.domain == nil || $0.configuration.name == query.domain }
            .flatMap { domain in
                domain.targets.map { target in
                    CoreStatus(
                        domain: domain.configuration.name, target: target.description, isUp: target.isHealthy,
                        since: target.since, roundTripInMilliseconds: target.roundTripInMilliseconds)
                }
            }
        return AdminList(total: all.count, items: Array(all.prefix(query.limit)))
    }
}

extension Worker {
    func connections(of domain: String?, limit: Int) -> (total: Int, items: [ConnectionStatus]) {
        var total = 0
        var items: [ConnectionStatus] = []
        for state in self.datagramFlows.all {
            guard let name = state.domain?.configuration.name, domain == nil || domain == name else { continue }
            total += 1
            guard items.count < limit else { continue }
            items.append(
                ConnectionStatus(
                    flow: "\(self.index)-\(state.reference.number)", domain: name, transport: "udp",
                    local: "\(state.local)", remote: "\(state.remote)", openedAt: state.openedAt,
                    isRegistered: state.isRegistered, tlsVersion: nil, cipher: nil, serverName: nil, verified: []))
        }
        for (number, flow) in self.flows {
            guard let state = flow.userData as? FlowState, state.side == .outside,
                let name = state.domain?.configuration.name, domain == nil || domain == name
            else { continue }
            total += 1
            guard items.count < limit else { continue }
            items.append(
                ConnectionStatus(
                    flow: "\(self.index)-\(number)", domain: name, transport: "\(flow.transport)",
                    local: "\(flow.local)", remote: "\(flow.remote)", openedAt: state.openedAt,
                    isRegistered: flow.isRegistered, tlsVersion: flow.tls?.version, cipher: flow.tls?.cipher,
                    serverName: flow.tls?.serverName,
                    verified: flow.tls?.verified.map { [$0.displayName] } ?? []))
        }
        return (total, items)
    }
}
