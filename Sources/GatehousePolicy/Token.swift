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
    /// A Route value from one edge to another with the same secret: a request of the core's for a device of the other.
    case relay(Relay)

    public struct Device: Equatable, Sendable {
        public var domain: DomainKey
        public var session: Session
        public var flow: FlowReference?
        /// Where the edge that has the flow takes requests of the core's over TCP; nil where no address of it is known.
        public var edge: Endpoint?
        /// Under which the device is found when the flow is gone.
        public var binding: BindingKey?
        /// The device's own URI, as it wrote it.
        public var contact: [UInt8]
        /// URIs of the proxies between the edge and the device, nearest to the edge first (PBX-05).
        public var routes: [[UInt8]]
        /// Of a peer that was located: the name that it was looked up by. Empty of a device.
        public var peer: [UInt8]

        public init(
            domain: DomainKey, session: Session, flow: FlowReference?, edge: Endpoint? = nil, binding: BindingKey?,
            contact: [UInt8], routes: [[UInt8]], peer: [UInt8] = []
        ) {
            self.edge = edge
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
        /// Where the edge that has the flow takes requests of the core's over TCP; nil where no address of it is known.
        public var edge: Endpoint?
        /// Of a dialog with a peer that was located: the name that it was looked up by.
        public var peer: [UInt8]

        public init(
            domain: DomainKey, session: Session, flow: FlowReference?, edge: Endpoint? = nil, peer: [UInt8] = []
        ) {
            self.edge = edge
            self.peer = peer
            self.domain = domain
            self.session = session
            self.flow = flow
        }
    }

    public struct Relay: Equatable, Sendable {
        public var domain: DomainKey
        /// Where the core server whose request it is can be reached in later requests of its dialog.
        public var transport: Transport
        public var target: Endpoint

        public init(domain: DomainKey, transport: Transport, target: Endpoint) {
            self.domain = domain
            self.transport = transport
            self.target = target
        }
    }

    public var domain: DomainKey {
        switch self {
        case .device(let device): device.domain
        case .binding(let domain, _): domain
        case .core(let core): core.domain
        case .route(let route), .path(let route): route.domain
        case .relay(let relay): relay.domain
        }
    }
}
