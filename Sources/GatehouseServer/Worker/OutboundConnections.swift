internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import Logging
internal import SIPMessage
import Synchronization

/// What an outbound connection is kept under: nobody else's requests share it.
struct OutboundKey: Hashable {
    /// Whose certificate it shows and whose authorities it trusts.
    var domain: DomainKey
    /// TCP or TLS.
    var transport: Transport
    var remote: Endpoint
    var serverName: String?
    /// Whom the peer proved to be; nil for TCP.
    var identity: PeerIdentity?
    var verifies: Bool
    /// What the peer's certificate was judged by; empty where it was not.
    var trust: [UInt8]

    /// - Parameter trust: the domain's as of now.
    init(_ judged: JudgedCandidate, _ domain: DomainRuntime, trust: [UInt8]) {
        let candidate = judged.candidate
        self.domain = domain.key
        self.remote = candidate.endpoint
        self.transport = candidate.transport == .tls ? .tls : .tcp
        self.serverName = candidate.transport == .tls ? candidate.serverName : nil
        self.identity = candidate.transport == .tls ? candidate.identity : nil
        self.verifies = candidate.transport == .tls && judged.verifies
        self.trust = self.verifies ? trust : []
    }
}

/// Who waits for an outbound connection.
protocol ConnectionWaiter: AnyObject {
    func connectionOpened(_ key: OutboundKey, _ state: FlowState)
    func connectionFailed(_ key: OutboundKey, _ failure: OutboundFailure)
}

/// A connection to a peer that we opened, or are opening.
final class OutboundConnection {
    let key: OutboundKey
    let flow: StreamFlow
    let state: FlowState
    var isOpen = false
    /// Those who asked before it was open; simultaneous requests share one handshake (CONN-02).
    var waiters: [any ConnectionWaiter] = []

    init(key: OutboundKey, flow: StreamFlow, state: FlowState) {
        self.key = key
        self.flow = flow
        self.state = state
    }
}

/// One worker's outbound connections, and the servers that it has put aside.
struct OutboundPool {
    fileprivate(set) var connections: [OutboundKey: OutboundConnection] = [:]
    /// All that have not ended, also those whose place another took while they close.
    private var byFlow: [UInt64: OutboundConnection] = [:]
    /// Open TLS connections whose peer has proved its name.
    private var proved: [ProvedKey: OutboundKey] = [:]
    /// Nanoseconds of the worker's clock until which a server is tried after the others.
    private var aside: [AsideKey: UInt64] = [:]

    private struct ProvedKey: Hashable {
        var domain: DomainKey
        var identity: PeerIdentity
        var trust: [UInt8]
    }

    private struct AsideKey: Hashable {
        var transport: Transport
        var endpoint: Endpoint
    }

    /// The most servers put aside at a time; past it the oldest news is forgotten with all the rest.
    private static let asideLimit = 10_000

    fileprivate mutating func add(_ connection: OutboundConnection) {
        self.connections[connection.key] = connection
        self.byFlow[connection.flow.id.number] = connection
    }

    func connection(ofFlow number: UInt64) -> OutboundConnection? { self.byFlow[number] }

    fileprivate mutating func remove(_ connection: OutboundConnection) {
        self.byFlow[connection.flow.id.number] = nil
        guard self.connections[connection.key] === connection else { return }
        self.connections[connection.key] = nil
        if let place = Self.place(of: connection.key), self.proved[place] == connection.key { self.proved[place] = nil }
    }

    fileprivate mutating func opened(_ connection: OutboundConnection) {
        connection.isOpen = true
        if let place = Self.place(of: connection.key) { self.proved[place] = connection.key }
    }

    private static func place(of key: OutboundKey) -> ProvedKey? {
        guard key.verifies, let identity = key.identity else { return nil }
        return ProvedKey(domain: key.domain, identity: identity, trust: key.trust)
    }

    /// An open TLS connection of the domain whose peer proved to be `identity` (SIPS-15).
    func openConnection(to identity: PeerIdentity, of domain: DomainKey, trust: [UInt8]) -> OutboundConnection? {
        guard let key = self.proved[ProvedKey(domain: domain, identity: identity, trust: trust)],
            let connection = self.connections[key], connection.flow.isUsable
        else { return nil }
        return connection
    }

    // MARK: Servers put aside

    mutating func putAside(_ candidate: Candidate, until deadline: UInt64, now: UInt64) {
        if self.aside.count >= Self.asideLimit { self.aside = self.aside.filter { $0.value > now } }
        if self.aside.count >= Self.asideLimit { self.aside = [:] }
        self.aside[AsideKey(transport: candidate.transport, endpoint: candidate.endpoint)] = deadline
    }

    /// The candidates with those last that failed a short while ago, else in their order. A server that failed does not
    /// make its name fail: it is tried where no other is left.
    func ordered(_ candidates: [JudgedCandidate], now: UInt64) -> [JudgedCandidate] {
        guard !self.aside.isEmpty else { return candidates }
        let isAside = candidates.map { judged in
            let key = AsideKey(transport: judged.candidate.transport, endpoint: judged.candidate.endpoint)
            return self.aside[key].map { $0 > now } ?? false
        }
        guard isAside.contains(true) else { return candidates }
        return zip(candidates, isAside).filter { !$0.1 }.map(\.0) + zip(candidates, isAside).filter(\.1).map(\.0)
    }
}

extension Worker {
    /// What the domain judges a peer's certificate by, as of now.
    func outboundTrust(of domain: DomainRuntime) -> [UInt8] {
        self.snapshot.certificates.outboundCredentials(of: domain.configuration.name)?.trust ?? []
    }

    enum OutboundConnect {
        case open(FlowState)
        case awaited
        case failed(OutboundFailure)
    }

    /// A connection that may carry requests under `key`, opened where there is none.
    func connection(_ key: OutboundKey, _ domain: DomainRuntime, for waiter: any ConnectionWaiter) -> OutboundConnect {
        if let known = self.outbound.connections[key], known.flow.isUsable {
            if known.isOpen { return .open(known.state) }
            known.waiters.append(waiter)
            return .awaited
        }
        let limit = self.snapshot.configuration.edge.limits.outboundConnections
        guard let context = self.context, self.shared.outboundConnections.load(ordering: .relaxed) < limit else {
            self.metrics.limitHit(domain.metrics, .outboundConnections)
            return .failed(
                OutboundFailure(cause: .limit, description: "edge.limits.outbound_connections is reached"))
        }
        var engine: TLSEngine?
        if key.transport == .tls {
            guard
                let credentials = self.snapshot.certificates.outboundCredentials(of: domain.configuration.name),
                let made = try? TLSEngine.client(
                    context: self.shared.tlsClientContext, credentials: credentials, serverName: key.serverName,
                    identity: key.identity, verifying: key.verifies)
            else {
                return .failed(
                    OutboundFailure(cause: .tls, description: "no TLS client can be made for \(key.remote)"))
            }
            engine = made
        }
        self.shared.outboundConnections.wrappingAdd(1, ordering: .relaxed)
        let flow = Connector.connect(
            to: key.remote, from: self.ownAddress(towards: key.remote.address, domain), tls: engine, in: context)
        let facts = ArrivalFacts(
            transport: key.transport, domain: domain.configuration.name, tlsVersion: nil, cipher: nil,
            peer: key.remote, verified: nil)
        let state = FlowState(
            side: .outside, transport: key.transport, remote: key.remote, local: flow.local,
            reference: FlowReference(boot: self.shared.boot, worker: self.index, number: flow.id.number),
            domain: domain, generation: self.snapshot.generation, source: Source(), facts: facts.text,
            service: domain.service(for: key.transport), isOutbound: true)
        state.peerName = key.serverName.map { Array($0.utf8) } ?? []
        flow.userData = state
        self.flows[flow.id.number] = flow
        let connection = OutboundConnection(key: key, flow: flow, state: state)
        connection.waiters.append(waiter)
        self.outbound.add(connection)
        return .awaited
    }

    /// Our address that a leg leaves from: the domain's, where that has a way to the peer.
    private func ownAddress(towards remote: IPAddress, _ domain: DomainRuntime) -> IPAddress? {
        guard let own = domain.ownAddress(isIPv6: remote.isIPv6), !own.isLoopback || remote.isLoopback else {
            return nil
        }
        return own
    }

    /// Waits no longer; a connection that nobody waits for any more is given up.
    func stopWaiting(_ waiter: any ConnectionWaiter, for key: OutboundKey) {
        guard let connection = self.outbound.connections[key], !connection.isOpen else { return }
        connection.waiters.removeAll { $0 === waiter }
        if connection.waiters.isEmpty { connection.flow.close(.released) }
    }

    // MARK: What becomes of it

    func outboundOpened(_ flow: StreamFlow, _ state: FlowState) {
        guard let connection = self.outbound.connection(ofFlow: flow.id.number), let domain = state.domain else {
            return
        }
        self.outbound.opened(connection)
        if let tls = flow.tls {
            state.isKnownToPeer = tls.hasShownCertificate
            state.describe(
                ArrivalFacts(
                    transport: .tls, domain: domain.configuration.name, tlsVersion: tls.version, cipher: tls.cipher,
                    peer: flow.remote, verified: tls.verified?.displayName), provedNames: tls.verified?.names)
            if !connection.key.verifies { self.noteUnproved(tls.unproved, connection, state, domain) }
        }
        var limits = self.messageLimits
        limits.messageSize = domain.limits.messageSizeInBytes
        flow.limitMessages(to: limits)
        self.metrics.outbound(domain.metrics, flow.transport, .opened)
        let waiters = connection.waiters
        connection.waiters = []
        for waiter in waiters { waiter.connectionOpened(connection.key, state) }
    }

    /// A connection is open to a peer that need not prove its name; each is counted, and logged where its peer does not.
    private func noteUnproved(
        _ failure: TLSFailure?, _ connection: OutboundConnection, _ state: FlowState, _ domain: DomainRuntime
    ) {
        state.unproved = failure
        self.metrics.unproved(domain.metrics, failure?.cause)
        guard let failure else { return }
        self.log.info(
            "connection to a peer is open though its certificate proves nothing: it need not verify",
            [
                "domain": "\(domain.configuration.name)", "peer": "\(state.remote)",
                "name": "\(connection.key.serverName ?? "-")", "cause": "\(failure.text)",
            ])
    }

    /// A connection that we opened is gone, or did not come about.
    ///
    /// - Parameter failure: nil where it was open.
    func outboundEnded(_ flow: StreamFlow, _ state: FlowState, _ failure: OutboundFailure?) {
        guard let connection = self.outbound.connection(ofFlow: flow.id.number) else { return }
        self.outbound.remove(connection)
        self.shared.outboundConnections.wrappingSubtract(1, ordering: .relaxed)
        guard let failure, let domain = state.domain else { return }
        let waiters = connection.waiters
        connection.waiters = []
        guard !waiters.isEmpty else { return }
        self.metrics.outbound(domain.metrics, flow.transport, failure.cause)
        self.log.info(
            "connection to a peer failed",
            [
                "domain": "\(domain.configuration.name)", "transport": "\(connection.key.transport)",
                "peer": "\(flow.remote)", "name": "\(connection.key.serverName ?? "-")", "cause": "\(failure)",
            ])
        self.outbound.putAside(
            Candidate(
                transport: connection.key.transport, endpoint: flow.remote, serverName: nil,
                identity: .address(flow.remote.address), group: 0),
            until: self.now &+ nanoseconds(self.snapshot.configuration.edge.timers.putAside), now: self.now)
        for waiter in waiters { waiter.connectionFailed(connection.key, failure) }
    }

    /// A connection that was open is gone, and requests on it are not answered.
    func noteUnanswered(_ flow: StreamFlow, _ state: FlowState, _ reason: FlowCloseReason) {
        self.log.info(
            "connection to a peer ended before it answered",
            [
                "domain": "\(state.domain?.configuration.name ?? "-")", "transport": "\(flow.transport)",
                "peer": "\(flow.remote)", "name": "\(String(decoding: state.peerName, as: UTF8.self))",
                "requests": "\(state.clients.count)", "cause": "\(reason)",
            ])
    }

    /// A peer that did not take a request, or asked for rest, is tried after others for a while (RFC 3263 §4.3).
    func putAside(_ candidate: Candidate, for duration: Duration? = nil) {
        let duration = duration ?? self.snapshot.configuration.edge.timers.putAside
        self.outbound.putAside(
            candidate, until: self.now &+ nanoseconds(min(duration, Distribution.longestPutAside)), now: self.now)
    }

    // MARK: Connections that peers opened (RFC 5923)

    /// Remembers that a peer which has proved its name lets us send requests on its connection (REUSE-01, REUSE-02).
    func noteAlias(_ request: Message, _ state: FlowState, _ domain: DomainRuntime) {
        guard state.transport == .tls, !state.isOutbound, domain.configuration.outbound.reuse,
            let via = request.topVia, let flow = self.flows[state.reference.number], let peer = flow.tls?.verified,
            via.parameter("alias", in: request.bytes) != nil
        else { return }
        let port = via.sentByPort ?? Transport.tls.defaultPort
        let endpoint = Endpoint(address: state.remote.address, port: port)
        guard state.alias != endpoint else { return }
        if state.alias != nil { self.shared.aliases.remove(state) }
        state.alias = endpoint
        self.shared.aliases.set(endpoint, domain: domain.key, flow: state.id, peer: peer)
    }

    /// The connection that a peer opened from the candidate's address, where its certificate proves the candidate's name.
    func aliasedLeg(to candidate: Candidate, _ domain: DomainRuntime) -> Leg? {
        let outbound = domain.configuration.outbound
        guard outbound.reuse,
            let flow = self.shared.aliases.flow(
                candidate.endpoint, domain: domain.key, identity: candidate.identity,
                acceptingCommonName: outbound.acceptsCommonName,
                trust: self.snapshot.certificates.clientTrust(of: domain.configuration.name))
        else { return nil }
        if flow.worker == self.index, !(self.flows[flow.number]?.isUsable ?? false) { return nil }
        return .flow(flow)
    }
}

/// Connections that peers opened and let us use (RFC 5923 §8.2), shared by the workers.
final class AliasTable: Sendable {
    private struct Key: Hashable {
        var domain: DomainKey
        var endpoint: Endpoint
    }

    private struct Alias {
        var flow: FlowID
        var peer: VerifiedPeer
    }

    /// As many as there are inbound connections, at the most.
    private let aliases = Mutex<[Key: Alias]>([:])

    func set(_ endpoint: Endpoint, domain: DomainKey, flow: FlowID, peer: VerifiedPeer) {
        self.aliases.withLock { $0[Key(domain: domain, endpoint: endpoint)] = Alias(flow: flow, peer: peer) }
    }

    func flow(
        _ endpoint: Endpoint, domain: DomainKey, identity: PeerIdentity, acceptingCommonName: Bool,
        trust: @autoclosure () -> [UInt8]?
    ) -> FlowID? {
        guard let alias = self.aliases.withLock({ $0[Key(domain: domain, endpoint: endpoint)] }),
            alias.peer.names.prove(identity, acceptingCommonName: acceptingCommonName), alias.peer.trust == trust()
        else { return nil }
        return alias.flow
    }

    /// The connection is gone, or has another name.
    func remove(_ state: FlowState) {
        guard let endpoint = state.alias, let domain = state.domain?.key else { return }
        self.aliases.withLock { aliases in
            let key = Key(domain: domain, endpoint: endpoint)
            if aliases[key]?.flow == state.id { aliases[key] = nil }
        }
    }
}
