public import SIPMessage

/// What is to be located: the URI of a next hop, as RFC 3263 §4 reads it.
public struct NextHop: Hashable, Sendable {
    public enum Host: Hashable, Sendable, CustomStringConvertible {
        case name(DNSName)
        /// An IPv4-mapped IPv6 address is here the IPv4 address that it maps.
        case address(IPAddress)

        /// A name in lower case without a final dot, or an address without brackets.
        public var description: String {
            switch self {
            case .name(let name): name.text
            case .address(let address): address.description
            }
        }
    }

    public var isSIPS: Bool
    /// TARGET: `maddr` if the URI has it, else its host.
    public var target: Host
    public var port: UInt16?
    public var transport: URI.TransportParameter?
    /// Whom a TLS peer has to prove to be: the URI's host before any DNS look-up, also where `maddr` leads elsewhere.
    public var identity: PeerIdentity

    public init(
        isSIPS: Bool, target: Host, port: UInt16? = nil, transport: URI.TransportParameter? = nil,
        identity: PeerIdentity
    ) {
        self.isSIPS = isSIPS
        self.target = target
        self.port = port
        self.transport = transport
        self.identity = identity
    }

    /// - Parameters:
    ///   - uri: of any scheme, parsed from `bytes`.
    ///   - asSIPS: the URI is resolved as if its scheme were `sips` (RFC 3261 §16.6 item 7).
    /// - Returns: nil where the scheme is not SIP's, or a host is neither a name of the DNS nor an address.
    public init?(_ uri: URI, in bytes: [UInt8], asSIPS: Bool = false) {
        guard uri.isSIP, let host = Host(bytes, uri.host) else { return nil }
        var target = host
        if let maddr = uri.parameter("maddr", in: bytes) {
            guard let address = Host(bytes, maddr) else { return nil }
            target = address
        }
        self.init(
            isSIPS: asSIPS || uri.scheme == .sips, target: target, port: uri.port,
            transport: uri.transport(in: bytes), identity: host.identity)
    }

    /// The name that a TLS client asks for; nil where the host is numeric (RFC 6066 §3).
    public var serverName: String? {
        guard case .domain(let name) = self.identity else { return nil }
        return name
    }
}

extension NextHop.Host {
    /// Reads a host of a URI, an IPv6 address with or without its brackets.
    fileprivate init?(_ bytes: [UInt8], _ range: ByteRange) {
        guard range.end <= bytes.count, !range.isEmpty else { return nil }
        let isBracketed = range.count > 2 && bytes[range.start] == UInt8(ascii: "[")
        guard !isBracketed || bytes[range.end - 1] == UInt8(ascii: "]") else { return nil }
        let inner = isBracketed ? ByteRange(range.start + 1, range.end - 1) : range
        if let address = IPAddress(bytes: bytes, range: inner) {
            self = .address(address.asIPv4 ?? address)
        } else if !isBracketed, let name = DNSName(range.text(in: bytes)) {
            self = .name(name)
        } else {
            return nil
        }
    }

    fileprivate var identity: PeerIdentity {
        switch self {
        case .name(let name): .domain(name.text)
        case .address(let address): .address(address)
        }
    }
}

extension NextHop {
    /// Whether a request for this hop takes a TLS connection that is open and whose peer has proved the hop's identity, before
    /// all that was located (SIPS-15).
    ///
    /// A URI with a transport has chosen. A `sip:` one with a port alone has chosen UDP, which a protected session can't take: a peer's
    /// Contact often names the host that the TLS connection leads to and the port of its plain listener, and the connection is
    /// then the way of a dialog that stays secure (SIPS-22).
    ///
    /// - Parameters:
    ///   - remote: where the connection leads.
    ///   - candidates: what was located.
    public func mayTake(connectionTo remote: Endpoint, mustBeSecure: Bool, beside candidates: [Candidate]) -> Bool {
        guard self.transport == nil else { return false }
        guard self.port != nil else { return !candidates.contains { $0.transport == .tls } }
        guard mustBeSecure, !self.isSIPS, !candidates.contains(where: { $0.transport == .tls && $0.endpoint == remote })
        else {
            return false
        }
        switch self.target {
        case .name: return true
        case .address(let address): return address == remote.address
        }
    }
}
