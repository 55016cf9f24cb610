internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage

/// What a worker knows of one of its connections, beside the connection itself.
final class FlowState {
    enum Side {
        /// A device or proxy of the internet.
        case outside
        /// The PBX.
        case core
    }

    let side: Side
    let transport: Transport
    /// Seconds since 1970.
    let openedAt = secondsSince1970()
    let remote: Endpoint
    let local: Endpoint
    /// The name of the flow in tokens.
    let reference: FlowReference
    /// The way to the peer.
    let leg: Leg
    /// Our listener for what the peer sends later: the one that it came in by, or, where we opened the connection, the
    /// domain's that suits it.
    let service: OutsideService
    /// Whether we opened it.
    let isOutbound: Bool
    var id: FlowID { FlowID(worker: self.reference.worker, number: self.reference.number) }
    /// Of a connection that we opened: the name that the peer was looked up by and had to prove.
    var peerName: [UInt8] = []
    /// Of a connection that we opened: whether the peer asked for our certificate and got it.
    var isKnownToPeer = false
    /// Of a connection that we opened to a peer that need not verify: what is wrong with its certificate.
    var unproved: TLSFailure?
    /// Whether a device registered over a datagram flow.
    var isRegistered = false
    /// When the last registration over a datagram flow ends, in nanoseconds of the worker's clock.
    var registeredUntil: UInt64 = 0
    /// Whether a dialog began over a datagram flow.
    var hasDialog = false
    /// Where a datagram flow that neither keeps stands in `DatagramFlows`.
    var strangerPlace: StrangerPlace?
    /// The names in the peer's certificate, where that was verified.
    var provedNames: PresentedNames?
    /// How long a device that was told a Flow-Timer may be silent; nil: as long as its registration lasts.
    var silenceLimit: Duration?
    /// When a datagram last came or went, in nanoseconds of the worker's clock.
    var lastActivity: UInt64 = 0

    /// The domain of an outside flow as of `generation`; a domain that a reload removed stays in force here.
    private(set) var domain: DomainRuntime?
    private var generation: Int
    let source: Source?
    /// What the connection is counted in: a domain that a reload takes away and another gives back counts anew.
    let counters: DomainCounters?
    /// The parameters of the session tag that describe this connection.
    private(set) var facts: [UInt8]
    /// The address at which the peer is reached over this connection (RFC 5923 §8.2).
    var alias: Endpoint?
    /// The contacts that were registered over this flow.
    var registered: [Registered] = []
    /// Requests of this flow that still wait for their final answer, for a peer that will send nothing more.
    var unanswered = 0
    var hasInputEnded = false
    /// Client transactions whose request was sent on this flow.
    var clients: Set<UInt64> = []

    struct Registered {
        var key: BindingKey
        var contact: [UInt8]
    }

    /// The most contacts remembered of one flow; a trunk registers one.
    static let registeredLimit = 64

    /// - Parameters:
    ///   - leg: nil for the connection that `reference` names.
    ///   - service: nil for the transport and port of `local`.
    init(
        side: Side, transport: Transport, remote: Endpoint, local: Endpoint, reference: FlowReference,
        domain: DomainRuntime?, generation: Int, source: Source?, facts: [UInt8], leg: Leg? = nil,
        service: OutsideService? = nil, isOutbound: Bool = false
    ) {
        self.side = side
        self.transport = transport
        self.remote = remote
        self.local = local
        self.reference = reference
        self.leg = leg ?? .flow(FlowID(worker: reference.worker, number: reference.number))
        self.service = service ?? OutsideService(transport: transport, port: local.port)
        self.isOutbound = isOutbound
        self.domain = domain
        self.generation = generation
        self.source = source
        self.counters = domain?.counters
        self.facts = facts
    }

    /// Says what is known once a connection of ours is open.
    func describe(_ facts: ArrivalFacts, provedNames: PresentedNames?) {
        self.facts = facts.text
        self.provedNames = provedNames
    }

    /// The domain in the newest configuration.
    func domain(in snapshot: Snapshot) -> DomainRuntime? {
        if self.generation != snapshot.generation, let domain = self.domain {
            self.generation = snapshot.generation
            if let newest = snapshot.domain(domain.key) { self.domain = newest }
        }
        return self.domain
    }

    private var ownSentBy: SentBy?

    /// The sent-by of our Via towards the device.
    func sentBy(_ domain: DomainRuntime) -> SentBy {
        if let sentBy = self.ownSentBy { return sentBy }
        let sentBy = domain.sentBy(self.service)
        self.ownSentBy = sentBy
        return sentBy
    }

    /// The binding that a Contact of this flow belongs to: the same URI, else the flow's only one.
    func binding(for contact: ArraySlice<UInt8>) -> BindingKey? {
        if let same = self.registered.first(where: { $0.contact.elementsEqual(contact) }) { return same.key }
        return self.registered.count == 1 ? self.registered[0].key : nil
    }

    func remember(_ key: BindingKey, contact: [UInt8]) {
        self.forget(key)
        guard self.registered.count < Self.registeredLimit else { return }
        self.registered.append(Registered(key: key, contact: contact))
    }

    func forget(_ key: BindingKey) {
        self.registered.removeAll { $0.key == key }
    }
}
