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
        /// Whose rules hold for what comes in; nil where the domains without a UDP bind share the socket, so that the token
        /// in a request says it.
        var domain: DomainKey?
        /// Whether new peers are heard; after a reload that took the bind away only those are that were known before.
        var isOpen = true
        /// Peers known by this socket.
        var flows = 0

        /// That it was asked to bind; the system may have filled it in since.
        let address: IPAddress

        init(socket: DatagramEndpoint, bind: Endpoint?, address: IPAddress, domain: DomainKey?) {
            self.socket = socket
            self.bind = bind
            self.address = address
            self.domain = domain
        }

        var service: OutsideService { OutsideService(transport: .udp, port: self.socket.local.port) }
    }

    private struct DomainFamily: Hashable {
        var domain: DomainKey
        var isIPv6: Bool
    }

    /// By the index in `Leg`, which is never used again.
    private var entries: [Int: Entry] = [:]
    private var indices: [ObjectIdentifier: Int] = [:]
    private var byBind: [Endpoint: Int] = [:]
    private var byAddress: [IPAddress: Int] = [:]
    private var byDomain: [DomainFamily: Int] = [:]
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
        if let bind = entry.bind { self.byBind[bind] = index } else { self.byAddress[entry.address] = index }
        self.noteDomain(of: index)
        return index
    }

    /// The socket that a domain's outbound legs of a family leave from.
    func index(for domain: DomainKey, isIPv6: Bool) -> Int? {
        self.byDomain[DomainFamily(domain: domain, isIPv6: isIPv6)]
    }

    /// The socket on a port of its own that domains without a UDP bind share on an address.
    func index(at address: IPAddress) -> Int? { self.byAddress[address] }

    func index(ofBind bind: Endpoint) -> Int? { self.byBind[bind] }

    /// Hears on a bind again, for the domain that has it now.
    mutating func reopen(_ index: Int, domain: DomainKey) {
        guard let entry = self.entries[index] else { return }
        self.forgetDomain(of: entry, index)
        self.entries[index]?.domain = domain
        self.entries[index]?.isOpen = true
        self.noteDomain(of: index)
    }

    private mutating func noteDomain(of index: Int) {
        guard let entry = self.entries[index], let domain = entry.domain else { return }
        let family = DomainFamily(domain: domain, isIPv6: entry.socket.local.address.isIPv6)
        if self.byDomain[family] == nil { self.byDomain[family] = index }
    }

    private mutating func forgetDomain(of entry: Entry, _ index: Int) {
        guard let domain = entry.domain else { return }
        let family = DomainFamily(domain: domain, isIPv6: entry.socket.local.address.isIPv6)
        guard self.byDomain[family] == index else { return }
        self.byDomain[family] = nil
        // Another bind of the domain takes its place.
        for (other, candidate) in self.entries where other != index && candidate.isOpen && candidate.domain == domain {
            self.noteDomain(of: other)
        }
    }

    mutating func close(_ index: Int) {
        guard let entry = self.entries.removeValue(forKey: index) else { return }
        self.indices[ObjectIdentifier(entry.socket)] = nil
        if let bind = entry.bind, self.byBind[bind] == index { self.byBind[bind] = nil }
        if entry.bind == nil, self.byAddress[entry.address] == index { self.byAddress[entry.address] = nil }
        self.forgetDomain(of: entry, index)
        entry.socket.close()
    }

    /// The entries of binds that are not among `binds` hear nobody new, and close once they know nobody.
    mutating func retire(allBut binds: Set<Endpoint>) {
        for (index, entry) in self.entries {
            guard let bind = entry.bind, !binds.contains(bind) else { continue }
            self.entries[index]?.isOpen = false
            self.forgetDomain(of: entry, index)
            if entry.flows == 0 { self.close(index) }
        }
    }

    mutating func closeAll() {
        for index in Array(self.entries.keys) { self.close(index) }
    }
}
