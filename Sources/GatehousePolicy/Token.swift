public import SIPMessage

/// The name of a domain in tokens: 64 bits of its lower-case name, the same on every edge.
public struct DomainKey: Hashable, Sendable {
    public let bits: UInt64

    @inlinable public init(bits: UInt64) {
        self.bits = bits
    }

    /// - Parameter name: as configured; upper case and a trailing dot make no difference.
    public init(name: String) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        var bytes = Array(name.utf8)
        if bytes.last == 0x2E { bytes.removeLast() }
        for byte in bytes {
            let lower = byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
            hash = (hash ^ UInt64(lower)) &* 0x0000_0100_0000_01b3
        }
        self.bits = hash
    }
}

/// A connection to a device as a token names it; `boot` tells one run of an edge from another, so that after a restart no
/// token finds a stranger's connection under a reused number (RFC 5626 §5.2).
public struct FlowReference: Hashable, Sendable {
    public var boot: UInt32
    public var worker: UInt16
    public var number: UInt64

    @inlinable public init(boot: UInt32, worker: UInt16, number: UInt64) {
        self.boot = boot
        self.worker = worker
        self.number = number
    }
}

/// The lasting name of a registered contact: 128 bits made from domain, AOR and instance with reg-id, else the Contact
/// (RFC 5626 §4.2). The same device on a new connection has the same key.
public struct BindingKey: Hashable, Sendable {
    public var high: UInt64
    public var low: UInt64

    @inlinable public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// - Parameter code: 16 bytes of a keyed hash; fewer count as zero bytes.
    public init(code: [UInt8]) {
        var words: (UInt64, UInt64) = (0, 0)
        for (index, byte) in code.prefix(16).enumerated() {
            if index < 8 { words.0 = words.0 << 8 | UInt64(byte) } else { words.1 = words.1 << 8 | UInt64(byte) }
        }
        self.init(high: words.0, low: words.1)
    }
}

/// What the user part of one of our own URIs stands for. It leaves sealed (encrypted and authenticated), so a peer can
/// neither read nor alter it, and it carries all that the way back needs.
public enum Token: Equatable, Sendable {
    /// A device's Contact as a `pbx` core sees it.
    case device(Device)
    /// A registered contact as a `pbx` core sees it; the same over all its connections.
    case binding(domain: DomainKey, key: BindingKey)
    /// The core's Contact as the outside sees it.
    case core(Core)
    /// A Record-Route value towards a core of kind `proxy`, or towards the outside from there.
    case route(Route)
    /// A Path value (RFC 3327, RFC 5626 §5.1): requests along it leave on this flow alone.
    case path(Route)

    public struct Device: Equatable, Sendable {
        public var domain: DomainKey
        public var session: Session
        public var flow: FlowReference?
        /// Under which the device is found when the flow is gone.
        public var binding: BindingKey?
        /// The device's own URI, as it wrote it.
        public var contact: [UInt8]
        /// URIs of the proxies between the edge and the device, nearest to the edge first (PBX-05).
        public var routes: [[UInt8]]
        /// Of a peer that was located: the name that it was looked up by. Empty of a device.
        public var peer: [UInt8]

        public init(
            domain: DomainKey, session: Session, flow: FlowReference?, binding: BindingKey?, contact: [UInt8],
            routes: [[UInt8]], peer: [UInt8] = []
        ) {
            self.peer = peer
            self.domain = domain
            self.session = session
            self.flow = flow
            self.binding = binding
            self.contact = contact
            self.routes = routes
        }
    }

    public struct Core: Equatable, Sendable {
        public var domain: DomainKey
        public var session: Session
        /// Where the core server that wrote the Contact is reached.
        public var transport: Transport
        public var target: Endpoint
        /// The core's own URI, as it wrote it.
        public var contact: [UInt8]

        public init(
            domain: DomainKey, session: Session, transport: Transport, target: Endpoint, contact: [UInt8]
        ) {
            self.domain = domain
            self.session = session
            self.transport = transport
            self.target = target
            self.contact = contact
        }
    }

    public struct Route: Equatable, Sendable {
        public var domain: DomainKey
        public var session: Session
        public var flow: FlowReference?
        /// Of a dialog with a peer that was located: the name that it was looked up by.
        public var peer: [UInt8]

        public init(domain: DomainKey, session: Session, flow: FlowReference?, peer: [UInt8] = []) {
            self.peer = peer
            self.domain = domain
            self.session = session
            self.flow = flow
        }
    }

    public var domain: DomainKey {
        switch self {
        case .device(let device): device.domain
        case .binding(let domain, _): domain
        case .core(let core): core.domain
        case .route(let route), .path(let route): route.domain
        }
    }
}

// MARK: - The plain text of a token

extension Token {
    private enum Kind: UInt8 {
        case device = 1
        case binding = 2
        case core = 3
        case route = 4
        case path = 5
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
            bytes.append(flow: device.flow)
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
            bytes.append(flow: route.flow)
            guard route.peer.count <= Self.nameLimitInBytes else { return nil }
            bytes.append(counted: route.peer)
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
                    domain: domain, session: session, flow: flow.reference, binding: binding, contact: contact,
                    routes: routes, peer: peer))
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
            let route = Route(domain: domain, session: session, flow: flow.reference, peer: peer)
            self = kind == .path ? .path(route) : .route(route)
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

    fileprivate mutating func append(flow: FlowReference?) {
        guard let flow else { return self.append(0) }
        self.append(1)
        self.append(bigEndian: flow.boot)
        self.append(bigEndian: flow.worker)
        self.append(bigEndian: flow.number)
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
    mutating func flow() -> (reference: FlowReference?, Void)? {
        guard let present = self.byte() else { return nil }
        guard present != 0 else { return (nil, ()) }
        guard let boot = self.word32(), let worker = self.word16(), let number = self.word64() else { return nil }
        return (FlowReference(boot: boot, worker: worker, number: number), ())
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
