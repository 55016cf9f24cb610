internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage

/// One worker's UDP sockets towards the outside: those of `udp.bind`, and those that outbound legs of domains without such a
/// bind leave from.
struct OutsideSockets {
    struct Entry {
        let socket: DatagramEndpoint
        /// As `udp.bind` has it; nil for a socket that outbound legs alone have.
        let bind: Endpoint?
        /// Whose rules hold for what comes in.
        var domain: DomainKey
        /// Whether new peers are heard; after a reload that took the bind away only those are that were known before.
        var isOpen = true
        /// Peers known by this socket.
        var flows = 0

        var service: OutsideService { OutsideService(transport: .udp, port: self.socket.local.port) }
    }

    /// By the index in `Leg`, which is never used again.
    private var entries: [Int: Entry] = [:]
    private var indices: [ObjectIdentifier: Int] = [:]
    private var next = 0

    subscript(index: Int) -> Entry? {
        get { self.entries[index] }
        set { self.entries[index] = newValue }
    }

    func index(of socket: DatagramEndpoint) -> Int? { self.indices[ObjectIdentifier(socket)] }

    @discardableResult
    mutating func add(_ entry: Entry) -> Int {
        let index = self.next
        self.next += 1
        self.entries[index] = entry
        self.indices[ObjectIdentifier(entry.socket)] = index
        return index
    }

    /// The socket that a domain's outbound legs of a family leave from.
    func index(for domain: DomainKey, isIPv6: Bool) -> Int? {
        self.entries.first {
            $0.value.domain == domain && $0.value.isOpen && $0.value.socket.local.address.isIPv6 == isIPv6
        }?.key
    }

    func index(ofBind bind: Endpoint) -> Int? {
        self.entries.first { $0.value.bind == bind }?.key
    }

    mutating func close(_ index: Int) {
        guard let entry = self.entries.removeValue(forKey: index) else { return }
        self.indices[ObjectIdentifier(entry.socket)] = nil
        entry.socket.close()
    }

    /// The entries of binds that are not among `binds` hear nobody new, and close once they know nobody.
    mutating func retire(allBut binds: Set<Endpoint>) {
        for (index, entry) in self.entries {
            guard let bind = entry.bind, !binds.contains(bind) else { continue }
            self.entries[index]?.isOpen = false
            if entry.flows == 0 { self.close(index) }
        }
    }

    mutating func closeAll() {
        for index in Array(self.entries.keys) { self.close(index) }
    }
}

/// The peers that one worker knows by their datagrams: a flow without a connection (RFC 5626 §5.3).
struct DatagramFlows {
    private struct Key: Hashable {
        var socket: Int
        var remote: Endpoint
    }

    private var byPeer: [Key: FlowState] = [:]
    private var byNumber: [UInt64: FlowState] = [:]

    var count: Int { self.byNumber.count }
    var all: Dictionary<UInt64, FlowState>.Values { self.byNumber.values }

    func flow(_ number: UInt64) -> FlowState? { self.byNumber[number] }

    func flow(socket: Int, remote: Endpoint) -> FlowState? { self.byPeer[Key(socket: socket, remote: remote)] }

    mutating func add(_ state: FlowState, socket: Int) {
        self.byPeer[Key(socket: socket, remote: state.remote)] = state
        self.byNumber[state.reference.number] = state
    }

    mutating func remove(_ state: FlowState) {
        self.byNumber[state.reference.number] = nil
        if case .outsideDatagram(let socket, let remote) = state.leg {
            self.byPeer[Key(socket: socket, remote: remote)] = nil
        }
    }
}
