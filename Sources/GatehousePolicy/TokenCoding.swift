internal import SIPMessage

// The plain text of a token: what is sealed.

extension Token {
    private enum Kind: UInt8 {
        case device = 1
        case binding = 2
        case core = 3
        case route = 4
        case path = 5
        case relay = 6
    }

    /// The most bytes of URIs that a token takes; a longer Contact or route set is refused.
    public static let uriLimitInBytes = 1024
    /// The most bytes of a peer's name, as the DNS has it.
    public static let nameLimitInBytes = 253
    /// The most outside proxies that a device token remembers.
    public static let routeLimit = 8

    /// The bytes to be sealed, or nil if the URIs in it are over their limits.
    public func encoded() -> [UInt8]? {
        var bytes: [UInt8] = []
        switch self {
        case .device(let device):
            guard device.routes.count <= Self.routeLimit else { return nil }
            let size = device.routes.reduce(device.contact.count) { $0 + $1.count }
            guard size <= Self.uriLimitInBytes, device.peer.count <= Self.nameLimitInBytes else { return nil }
            bytes.reserveCapacity(64 + size)
            bytes.append(Kind.device.rawValue)
            bytes.append(bigEndian: device.domain.bits)
            bytes.append(session: device.session)
            bytes.append(flow: device.flow, at: device.edge)
            if let binding = device.binding {
                bytes.append(1)
                bytes.append(bigEndian: binding.high)
                bytes.append(bigEndian: binding.low)
            } else {
                bytes.append(0)
            }
            bytes.append(counted: device.contact)
            bytes.append(UInt8(truncatingIfNeeded: device.routes.count))
            for route in device.routes { bytes.append(counted: route) }
            bytes.append(counted: device.peer)
        case .binding(let domain, let key):
            bytes.reserveCapacity(25)
            bytes.append(Kind.binding.rawValue)
            bytes.append(bigEndian: domain.bits)
            bytes.append(bigEndian: key.high)
            bytes.append(bigEndian: key.low)
        case .core(let core):
            guard core.contact.count <= Self.uriLimitInBytes else { return nil }
            bytes.reserveCapacity(48 + core.contact.count)
            bytes.append(Kind.core.rawValue)
            bytes.append(bigEndian: core.domain.bits)
            bytes.append(session: core.session)
            bytes.append(core.transport.rawValue)
            bytes.append(endpoint: core.target)
            bytes.append(counted: core.contact)
        case .route(let route), .path(let route):
            bytes.reserveCapacity(36)
            if case .path = self { bytes.append(Kind.path.rawValue) } else { bytes.append(Kind.route.rawValue) }
            bytes.append(bigEndian: route.domain.bits)
            bytes.append(session: route.session)
            bytes.append(flow: route.flow, at: route.edge)
            guard route.peer.count <= Self.nameLimitInBytes else { return nil }
            bytes.append(counted: route.peer)
        case .relay(let relay):
            bytes.reserveCapacity(32)
            bytes.append(Kind.relay.rawValue)
            bytes.append(bigEndian: relay.domain.bits)
            bytes.append(relay.transport.rawValue)
            bytes.append(endpoint: relay.target)
        }
        return bytes
    }

    /// Reads what `encoded()` wrote. The bytes were authenticated before; nil all the same for what no edge writes.
    public init?(decoding bytes: [UInt8]) {
        var reader = TokenReader(bytes: bytes)
        guard let byte = reader.byte(), let kind = Kind(rawValue: byte), let domainBits = reader.word64() else {
            return nil
        }
        let domain = DomainKey(bits: domainBits)
        switch kind {
        case .device:
            guard let session = reader.session(), let flow = reader.flow(), let hasBinding = reader.byte() else {
                return nil
            }
            var binding: BindingKey?
            if hasBinding != 0 {
                guard let high = reader.word64(), let low = reader.word64() else { return nil }
                binding = BindingKey(high: high, low: low)
            }
            guard let contact = reader.counted(), let count = reader.byte(), count <= Self.routeLimit else {
                return nil
            }
            var routes: [[UInt8]] = []
            for _ in 0..<count {
                guard let route = reader.counted() else { return nil }
                routes.append(route)
            }
            guard let peer = reader.counted() else { return nil }
            self = .device(
                Device(
                    domain: domain, session: session, flow: flow.reference, edge: flow.edge, binding: binding,
                    contact: contact, routes: routes, peer: peer))
        case .binding:
            guard let high = reader.word64(), let low = reader.word64() else { return nil }
            self = .binding(domain: domain, key: BindingKey(high: high, low: low))
        case .core:
            guard let session = reader.session(), let byte = reader.byte(), let transport = Transport(rawValue: byte),
                let target = reader.endpoint(), let contact = reader.counted()
            else { return nil }
            self = .core(
                Core(domain: domain, session: session, transport: transport, target: target, contact: contact))
        case .route, .path:
            guard let session = reader.session(), let flow = reader.flow(), let peer = reader.counted() else {
                return nil
            }
            let route = Route(
                domain: domain, session: session, flow: flow.reference, edge: flow.edge, peer: peer)
            self = kind == .path ? .path(route) : .route(route)
        case .relay:
            guard let byte = reader.byte(), let transport = Transport(rawValue: byte), let target = reader.endpoint()
            else { return nil }
            self = .relay(Relay(domain: domain, transport: transport, target: target))
        }
        guard reader.isAtEnd else { return nil }
    }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian value: UInt64) {
        for shift in stride(from: 56, through: 0, by: -8) {
            self.append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
        }
    }

    fileprivate mutating func append(bigEndian value: UInt32) {
        for shift in stride(from: 24, through: 0, by: -8) {
            self.append(UInt8(truncatingIfNeeded: value >> UInt32(shift)))
        }
    }

    fileprivate mutating func append(bigEndian value: UInt16) {
        self.append(UInt8(truncatingIfNeeded: value >> 8))
        self.append(UInt8(truncatingIfNeeded: value))
    }

    /// Arrival in the top two bits of a 64-bit word, the override's mark in the next, the id in its low 48; the expiry.
    fileprivate mutating func append(session: Session) {
        let mark: UInt64 = session.isRelaxed ? 1 << 61 : 0
        self.append(bigEndian: UInt64(session.arrival.rawValue) << 62 | mark | session.id.bits)
        self.append(bigEndian: session.expires)
    }

    /// 0: no flow; 1: a flow; 2: a flow and the address of its edge.
    fileprivate mutating func append(flow: FlowReference?, at edge: Endpoint?) {
        guard let flow else { return self.append(0) }
        self.append(edge == nil ? 1 : 2)
        self.append(bigEndian: flow.boot)
        self.append(bigEndian: flow.worker)
        self.append(bigEndian: flow.number)
        if let edge { self.append(endpoint: edge) }
    }

    fileprivate mutating func append(endpoint: Endpoint) {
        if endpoint.address.isIPv6 {
            self.append(6)
            self.append(bigEndian: endpoint.address.high)
            self.append(bigEndian: endpoint.address.low)
        } else {
            self.append(4)
            self.append(bigEndian: UInt32(truncatingIfNeeded: endpoint.address.low))
        }
        self.append(bigEndian: endpoint.port)
    }

    fileprivate mutating func append(counted bytes: [UInt8]) {
        self.append(bigEndian: UInt16(truncatingIfNeeded: bytes.count))
        self.append(contentsOf: bytes)
    }
}

/// Reads a token's plain text from the front; nil where it ends too early.
private struct TokenReader {
    let bytes: [UInt8]
    private var offset = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { self.offset == self.bytes.count }

    mutating func byte() -> UInt8? {
        guard self.offset < self.bytes.count else { return nil }
        defer { self.offset += 1 }
        return self.bytes[self.offset]
    }

    private mutating func word(bytes count: Int) -> UInt64? {
        guard self.bytes.count - self.offset >= count else { return nil }
        var value: UInt64 = 0
        for index in self.offset..<self.offset + count { value = value << 8 | UInt64(self.bytes[index]) }
        self.offset += count
        return value
    }

    mutating func word64() -> UInt64? { self.word(bytes: 8) }
    mutating func word32() -> UInt32? { self.word(bytes: 4).map { UInt32(truncatingIfNeeded: $0) } }
    mutating func word16() -> UInt16? { self.word(bytes: 2).map { UInt16(truncatingIfNeeded: $0) } }

    mutating func session() -> Session? {
        guard let word = self.word64(), let arrival = Arrival(rawValue: UInt8(truncatingIfNeeded: word >> 62)),
            let expires = self.word32()
        else { return nil }
        return Session(id: SessionID(word), arrival: arrival, expires: expires, isRelaxed: word >> 61 & 1 == 1)
    }

    /// The outer nil: the bytes ended. The inner one: a token without a flow.
    mutating func flow() -> (reference: FlowReference?, edge: Endpoint?)? {
        guard let form = self.byte(), form <= 2 else { return nil }
        guard form != 0 else { return (nil, nil) }
        guard let boot = self.word32(), let worker = self.word16(), let number = self.word64() else { return nil }
        let reference = FlowReference(boot: boot, worker: worker, number: number)
        guard form == 2 else { return (reference, nil) }
        guard let edge = self.endpoint() else { return nil }
        return (reference, edge)
    }

    mutating func endpoint() -> Endpoint? {
        switch self.byte() {
        case 4:
            guard let address = self.word32(), let port = self.word16() else { return nil }
            return Endpoint(address: IPAddress(v4: address), port: port)
        case 6:
            guard let high = self.word64(), let low = self.word64(), let port = self.word16() else { return nil }
            return Endpoint(address: IPAddress(v6High: high, v6Low: low), port: port)
        default:
            return nil
        }
    }

    mutating func counted() -> [UInt8]? {
        guard let count = self.word16(), self.bytes.count - self.offset >= Int(count) else { return nil }
        defer { self.offset += Int(count) }
        return Array(self.bytes[self.offset..<self.offset + Int(count)])
    }
}
