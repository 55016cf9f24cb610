public import SIPMessage

/// A way to reach a next hop.
public struct Candidate: Hashable, Sendable, CustomStringConvertible {
    public var transport: Transport
    public var endpoint: Endpoint
    /// What a TLS client asks for; nil where the host is numeric (RFC 5922 §7.8, RFC 6066 §3).
    public var serverName: String?
    /// Whom a TLS peer has to prove to be.
    public var identity: PeerIdentity
    /// Candidates of one host, port and transport share a group and stand together: they differ in address alone, so
    /// they may be raced (RFC 8305 §5). Groups count from 0 in the order of preference.
    public var group: Int

    public init(transport: Transport, endpoint: Endpoint, serverName: String?, identity: PeerIdentity, group: Int) {
        self.transport = transport
        self.endpoint = endpoint
        self.serverName = serverName
        self.identity = identity
        self.group = group
    }

    /// `tls:192.0.2.7:5061`.
    public var description: String { "\(self.transport):\(self.endpoint)" }
}
