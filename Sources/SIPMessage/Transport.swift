/// A transport that carries SIP messages (RFC 3261 §18). TLS means TLS over TCP.
public enum Transport: UInt8, Sendable, Hashable, CaseIterable {
    case udp, tcp, tls

    /// Whether the transport delivers in order and without loss, so that messages are framed by Content-Length.
    @inlinable public var isReliable: Bool { self != .udp }

    /// The port where no other is given: 5061 for TLS, 5060 else (RFC 3261 §19.1.2).
    @inlinable public var defaultPort: UInt16 { self == .tls ? 5061 : 5060 }
}

/// An IP address and a port.
public struct Endpoint: Hashable, Sendable {
    public var address: IPAddress
    public var port: UInt16

    @inlinable public init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }
}
