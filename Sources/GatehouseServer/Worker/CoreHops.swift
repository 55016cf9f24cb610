internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage
import Synchronization

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

    /// The domain's targets in the order of its distribution. Should all be down, all are tried: health checks can be wrong,
    /// and a refusal cannot be right.
    func targets(of domain: DomainRuntime, for message: Message) throws(Refusal) -> [CoreHop] {
        guard !domain.targets.isEmpty else { throw Refusal(480, .noCore, warning: "no core server is configured") }
        let now = self.now
        var distribution = self.distributions[domain.key] ?? Distribution(domain.configuration.core)
        let twins = domain.streamTwins
        func isCandidate(_ index: Int) -> Bool { !twins.contains(index) && domain.targets[index].address != nil }
        for index in domain.targets.indices {
            distribution.setHealthy(isCandidate(index) && domain.targets[index].isAvailable(now: now), target: index)
        }
        var order = distribution.order(callID: message.callID, in: message.bytes, now: .now)
        if order.isEmpty {
            for index in domain.targets.indices { distribution.setHealthy(isCandidate(index), target: index) }
            order = distribution.order(callID: message.callID, in: message.bytes, now: .now)
        }
        self.distributions[domain.key] = distribution
        let hops = order.compactMap { index -> CoreHop? in
            let target = domain.targets[index]
            guard let address = target.address else { return nil }
            return CoreHop(
                target: target, transport: target.key.transport, endpoint: address,
                streamTwin: twins[index].flatMap { domain.targets[$0].address })
        }
        guard !hops.isEmpty else {
            throw Refusal(500, .coreFailed, warning: "the core server's name does not resolve")
        }
        return hops
    }

    /// A core server that asked for rest gets no new request for that long (RESP-14).
    func putAside(_ target: TargetRuntime?, for duration: Duration) {
        target?.putAside(until: self.now &+ nanoseconds(min(duration, Distribution.longestPutAside)))
    }

    // MARK: Connections to the core

    /// Our connection to a core server over TCP, opened where there is none; requests queued on it leave when it is open. It
    /// comes from the address of a core bind, by which a PBX, or another edge, knows us.
    func coreConnection(to endpoint: Endpoint) -> StreamFlow? {
        if let flow = self.coreConnections[endpoint], flow.isUsable { return flow }
        guard let context = self.context else { return nil }
        let flow = Connector.connect(
            to: endpoint, from: self.coreBinds.source(isIPv6: endpoint.address.isIPv6), in: context)
        flow.userData = FlowState(
            side: .core, transport: .tcp, remote: endpoint, local: flow.local,
            reference: FlowReference(boot: self.shared.boot, worker: self.index, number: flow.id.number),
            domain: nil, generation: self.snapshot.generation, source: nil, facts: [])
        self.flows[flow.id.number] = flow
        self.coreConnections[endpoint] = flow
        return flow
    }
}
