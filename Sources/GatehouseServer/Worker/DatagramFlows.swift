internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage

/// The peers that one worker knows by their datagrams: a flow without a connection (RFC 5626 §5.3).
///
/// A peer that has neither registered nor begun a dialog is a stranger. Its address may be forged, so that strangers make way for
/// one another: the one that has been silent longest goes first.
struct DatagramFlows {
    private struct Key: Hashable {
        var socket: Int
        var remote: Endpoint
        var domain: DomainKey
    }

    private var byPeer: [Key: FlowState] = [:]
    private var byNumber: [UInt64: FlowState] = [:]
    private var strangers = SilenceOrder()
    private var strangersOfDomain: [DomainKey: SilenceOrder] = [:]

    var count: Int { self.byNumber.count }
    var all: Dictionary<UInt64, FlowState>.Values { self.byNumber.values }

    func flow(_ number: UInt64) -> FlowState? { self.byNumber[number] }

    func flow(socket: Int, remote: Endpoint, domain: DomainKey) -> FlowState? {
        self.byPeer[Key(socket: socket, remote: remote, domain: domain)]
    }

    /// Adds a stranger.
    ///
    /// - Parameter domain: of the peer.
    mutating func add(_ state: FlowState, socket: Int, domain: DomainKey) {
        self.byPeer[Key(socket: socket, remote: state.remote, domain: domain)] = state
        self.byNumber[state.reference.number] = state
        self.setKept(state, false)
    }

    mutating func remove(_ state: FlowState) {
        self.setKept(state, true)
        self.byNumber[state.reference.number] = nil
        if case .outsideDatagram(let socket, let remote) = state.leg, let domain = state.domain?.key {
            self.byPeer[Key(socket: socket, remote: remote, domain: domain)] = nil
        }
    }

    /// A datagram came.
    mutating func touch(_ state: FlowState, now: UInt64) {
        state.lastActivity = now
        guard let place = state.strangerPlace, let domain = state.domain?.key else { return }
        self.strangers.renew(place.all)
        self.strangersOfDomain[domain]?.renew(place.ofDomain)
    }

    /// Makes a peer a stranger, or one that is kept.
    mutating func setKept(_ state: FlowState, _ isKept: Bool) {
        guard isKept == (state.strangerPlace != nil), let domain = state.domain?.key else { return }
        guard let place = state.strangerPlace else {
            let number = state.reference.number
            state.strangerPlace = StrangerPlace(
                all: self.strangers.append(number),
                ofDomain: self.strangersOfDomain[domain, default: SilenceOrder()].append(number))
            return
        }
        state.strangerPlace = nil
        self.strangers.remove(place.all)
        self.strangersOfDomain[domain]?.remove(place.ofDomain)
        if self.strangersOfDomain[domain]?.isEmpty ?? false { self.strangersOfDomain[domain] = nil }
    }

    /// The most strangers that are looked at for one that waits for no answer.
    private static let tries = 16

    /// The stranger that has been silent longest, of a domain or of all; one that still waits for an answer counts as heard of now.
    ///
    /// - Parameter silentSince: nil: whenever that was.
    mutating func quietest(of domain: DomainKey? = nil, silentSince limit: UInt64? = nil, now: UInt64) -> FlowState? {
        for _ in 0..<Self.tries {
            let oldest = domain.map { self.strangersOfDomain[$0]?.oldest } ?? self.strangers.oldest
            guard let state = oldest.flatMap({ self.byNumber[$0] }) else { return nil }
            if let limit, state.lastActivity >= limit { return nil }
            if state.unanswered <= 0 { return state }
            self.touch(state, now: now)
        }
        return nil
    }
}

/// Where a stranger stands in the orders of silence.
struct StrangerPlace {
    fileprivate var all: Int
    fileprivate var ofDomain: Int
}

/// Flows in the order in which they were last heard of: a list in an array, in which every step is O(1).
struct SilenceOrder {
    private struct Node {
        var flow: UInt64
        var older: Int
        var newer: Int
    }

    private static let none = -1

    private var nodes: [Node] = []
    private var free: [Int] = []
    private var first = none
    private var last = none

    var isEmpty: Bool { self.first == Self.none }

    /// The flow that was heard of least recently.
    var oldest: UInt64? { self.isEmpty ? nil : self.nodes[self.first].flow }

    /// - Returns: its place, until it is removed.
    mutating func append(_ flow: UInt64) -> Int {
        let node = Node(flow: flow, older: Self.none, newer: Self.none)
        let place: Int
        if let unused = self.free.popLast() {
            place = unused
            self.nodes[place] = node
        } else {
            place = self.nodes.count
            self.nodes.append(node)
        }
        self.link(place)
        return place
    }

    mutating func remove(_ place: Int) {
        self.unlink(place)
        self.free.append(place)
    }

    /// Makes it the most recent.
    mutating func renew(_ place: Int) {
        guard place != self.last else { return }
        self.unlink(place)
        self.link(place)
    }

    private mutating func link(_ place: Int) {
        self.nodes[place].older = self.last
        self.nodes[place].newer = Self.none
        if self.last == Self.none { self.first = place } else { self.nodes[self.last].newer = place }
        self.last = place
    }

    private mutating func unlink(_ place: Int) {
        let node = self.nodes[place]
        if node.older == Self.none { self.first = node.newer } else { self.nodes[node.older].newer = node.newer }
        if node.newer == Self.none { self.last = node.older } else { self.nodes[node.newer].older = node.older }
    }
}
