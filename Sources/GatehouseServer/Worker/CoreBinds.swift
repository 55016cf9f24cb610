internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage

/// The addresses by which the core and the edge reach each other, as one worker has them.
struct CoreBinds {
    struct Entry {
        /// UDP, and TCP on every address that has UDP (VIA-15).
        var transport: Transport
        var endpoint: Endpoint
        /// Host in the URIs and Vias that the core sees.
        var host: [UInt8]
        /// This worker's socket where the transport is UDP.
        var socket: DatagramEndpoint?

        let sentBy: SentBy
        /// The address that other machines have for it; nil where only a name is known.
        let reachable: Endpoint?

        init(transport: Transport, endpoint: Endpoint, host: [UInt8], socket: DatagramEndpoint?) {
            self.transport = transport
            self.endpoint = endpoint
            self.host = host
            self.socket = socket
            self.sentBy = SentBy(host: host, port: endpoint.port)
            let address = IPAddress(String(decoding: self.sentBy.host, as: UTF8.self)) ?? endpoint.address
            self.reachable = address.isUnspecified ? nil : Endpoint(address: address, port: endpoint.port)
        }
    }

    private(set) var entries: [Entry] = []
    /// Where another edge with our secret passes requests for our flows on to, over TCP.
    private(set) var forFellows: Endpoint?

    mutating func add(_ entry: Entry) {
        self.entries.append(entry)
        if self.forFellows == nil, entry.transport == .tcp { self.forFellows = entry.reachable }
    }

    /// Whether an endpoint is one of ours.
    func contains(_ endpoint: Endpoint) -> Bool {
        self.entries.contains { $0.reachable == endpoint || $0.endpoint == endpoint }
    }

    func socket(_ index: Int) -> DatagramEndpoint? {
        index >= 0 && index < self.entries.count ? self.entries[index].socket : nil
    }

    func index(of socket: DatagramEndpoint) -> Int? {
        self.entries.firstIndex { $0.socket === socket }
    }

    /// The bind that a core server is spoken to from: of its transport and address family.
    func index(for transport: Transport, isIPv6: Bool) -> Int? {
        self.entries.firstIndex { $0.transport == transport && $0.endpoint.address.isIPv6 == isIPv6 }
    }

    /// The address that connections to the core come from; nil where the binds leave it to the system.
    func source(isIPv6: Bool) -> IPAddress? {
        self.index(for: .tcp, isIPv6: isIPv6).map { self.entries[$0].endpoint.address }.flatMap {
            $0.isUnspecified ? nil : $0
        }
    }

    /// Closes and forgets the entries behind the first `count`: those of a reload that was refused.
    mutating func truncate(to count: Int) {
        while self.entries.count > max(count, 0), let entry = self.entries.popLast() { entry.socket?.close() }
    }

    mutating func close() {
        for entry in self.entries { entry.socket?.close() }
        self.entries = []
    }
}

/// The sent-by of our Via values on one leg (RFC 3261 §18.1.1).
struct SentBy {
    /// Without brackets.
    let host: [UInt8]
    let port: UInt16
    /// As it is written.
    let text: [UInt8]

    /// - Parameter host: as a URI writes it.
    init(host: [UInt8], port: UInt16) {
        self.host = host.first == 0x5B && host.last == 0x5D ? Array(host.dropFirst().dropLast()) : host
        self.port = port
        self.text = hostPort(host, port)
    }
}

/// A host and a port as a Via's sent-by or a URI writes them.
func hostPort(_ host: [UInt8], _ port: UInt16) -> [UInt8] {
    var text = host
    text.append(0x3A)
    text.append(decimal: UInt64(port))
    return text
}
