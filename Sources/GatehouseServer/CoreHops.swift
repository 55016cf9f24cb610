import Synchronization

internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage

/// One core server as the next hop of a request.
struct CoreHop {
    /// nil for an address that a dialog's own URIs named.
    var target: TargetRuntime?
    var transport: Transport
    var endpoint: Endpoint
    /// The same server over TCP, for requests too large for UDP.
    var streamTwin: Endpoint?

    /// What our URIs towards the core say; a hop that is TCP for its size alone changes nothing (RR-07).
    var dialogTransport: Transport { self.transport }
}

extension Worker {
    /// The core servers that a request may go to, in the order in which they are tried.
    func coreHops(
        for route: OutsideRoute, _ message: Message, _ domain: DomainRuntime
    ) throws(Refusal) -> [CoreHop] {
        switch route.destination {
        case .core:
            return try self.targets(of: domain, for: message)
        case .dialog(let core):
            return [self.hop(to: core.target, core.transport, domain)]
        case .nextRoute(let uri):
            return try self.hops(to: uri, message, domain)
        case .remoteTarget:
            return try self.hops(to: route.requestURI, message, domain)
        case .edge:
            return []
        }
    }

    private func hop(to endpoint: Endpoint, _ transport: Transport, _ domain: DomainRuntime) -> CoreHop {
        let index = domain.targets.firstIndex { $0.key.transport == transport && $0.addresses.contains(endpoint) }
        let twin = index.flatMap { domain.streamTwins[$0] }.flatMap { domain.targets[$0].address }
        return CoreHop(
            target: index.map { domain.targets[$0] }, transport: transport, endpoint: endpoint, streamTwin: twin)
    }

    /// A URI of the core's own: an address of the trusted networks, or one of the domain's targets by name. Anything else
    /// in a dialog stays with the domain's targets, who wrote it and know the way.
    private func hops(to uri: URI, _ message: Message, _ domain: DomainRuntime) throws(Refusal) -> [CoreHop] {
        let transport: Transport = uri.transport(in: message.bytes) == .tcp ? .tcp : .udp
        if let address = uri.hostAddress(in: message.bytes) {
            let endpoint = Endpoint(address: address, port: uri.port ?? transport.defaultPort)
            let isOwn = self.coreBinds.entries.contains { $0.endpoint == endpoint }
            if !isOwn, self.snapshot.trustedSources.contains(address) {
                return [self.hop(to: endpoint, transport, domain)]
            }
        }
        let host = uri.hostName(in: message.bytes)
        let named = domain.targets.filter { $0.key.host.utf8.elementsEqual(host) && $0.address != nil }
        if let target = named.first(where: { $0.key.transport == transport }) ?? named.first,
            let address = target.address
        {
            return [self.hop(to: address, target.key.transport, domain)]
        }
        return try self.targets(of: domain, for: message)
    }

    /// The domain's targets in the order of its distribution; those that are down come last, should all be.
    func targets(of domain: DomainRuntime, for message: Message) throws(Refusal) -> [CoreHop] {
        let now = self.now
        let count = domain.targets.count
        guard count > 0 else { throw Refusal(480, .noCore, warning: "no core server is configured") }
        let first: Int
        switch domain.configuration.core.distribution {
        case .failover:
            first = 0
        case .roundRobin:
            first = domain.counters.round.wrappingAdd(1, ordering: .relaxed).oldValue
        case .callIDHash:
            first = message.callID.map { range in
                var hash: UInt64 = 0xcbf2_9ce4_8422_2325
                for byte in message.bytes[range.range] { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
                return Int(truncatingIfNeeded: hash >> 33)
            } ?? 0
        }
        let twins = Set(domain.streamTwins.compactMap { $0 })
        let candidates = (0..<count).filter { !twins.contains($0) }
        let ordered = candidates.indices.map { offset in
            candidates[Int(UInt(bitPattern: first &+ offset) % UInt(candidates.count))]
        }
        var usable = ordered.filter { domain.targets[$0].isAvailable(now: now) }
        // Should all be down, trying is better than refusing: health checks can be wrong, and a refusal cannot be right.
        if usable.isEmpty { usable = ordered }
        let hops = usable.compactMap { index -> CoreHop? in
            let target = domain.targets[index]
            guard let address = target.address else { return nil }
            return CoreHop(
                target: target, transport: target.key.transport, endpoint: address,
                streamTwin: domain.streamTwins[index].flatMap { domain.targets[$0].address })
        }
        guard !hops.isEmpty else {
            throw Refusal(500, .coreFailed, warning: "the core server's name does not resolve")
        }
        return hops
    }

    // MARK: Connections to the core

    /// Our connection to a core server over TCP, opened where there is none; requests queued on it leave when it is open.
    func coreConnection(to endpoint: Endpoint) -> StreamFlow? {
        if let flow = self.coreConnections[endpoint] { return flow }
        guard let context = self.context else { return nil }
        let flow = Connector.connect(to: endpoint, tls: nil, in: context)
        flow.userData = FlowState(
            side: .core, transport: .tcp, remote: endpoint, local: flow.local,
            reference: FlowReference(boot: self.shared.boot, worker: self.index, number: flow.id.number),
            domain: nil, generation: self.snapshot.generation, source: nil, facts: [])
        self.flows[flow.id.number] = flow
        self.coreConnections[endpoint] = flow
        return flow
    }
}
