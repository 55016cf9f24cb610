/// A URI as ranges into the bytes it was parsed from (RFC 3261 §19.1.1).
///
/// `sip` and `sips` URIs are split into their parts. Of a `tel` URI, `user` is the number and `parameters` what follows;
/// any other scheme has `whole` alone, and its `host` is empty.
public struct URI: Hashable, Sendable {
    public enum Scheme: UInt8, Sendable {
        case sip, sips, tel, other
    }

    public var whole: ByteRange
    /// Without brackets.
    public var host: ByteRange
    /// From the first semicolon on, with it; empty where there are none.
    public var parameters: ByteRange
    /// From the question mark on, with it; empty where there is none.
    public var headers: ByteRange
    @usableFromInline var optionalUser: OptionalRange
    @usableFromInline var optionalPassword: OptionalRange
    /// 0: none.
    @usableFromInline var writtenPort: UInt16
    public var scheme: Scheme
    public var isIPv6Reference: Bool

    /// Up to the colon of the password; may hold semicolons (RFC 4475 §3.1.1.9).
    @inlinable public var user: ByteRange? { self.optionalUser.range }
    /// Never for a log.
    @inlinable public var password: ByteRange? { self.optionalPassword.range }
    @inlinable public var port: UInt16? { self.writtenPort == 0 ? nil : self.writtenPort }
    @inlinable public var isSIP: Bool { self.scheme == .sip || self.scheme == .sips }

    /// Host and port with the brackets: what to replace to change where the URI leads.
    public var hostPort: ByteRange {
        let start = self.isIPv6Reference ? self.host.start &- 1 : self.host.start
        let end =
            !self.parameters.isEmpty
            ? self.parameters.start : !self.headers.isEmpty ? self.headers.start : self.whole.end
        return ByteRange(start, end)
    }

    /// The bytes between `sip:` and the host: user, password and `@`; empty where there is no user.
    public var userInfo: ByteRange {
        guard let user = self.user, self.isSIP else { return ByteRange(self.hostPort.start, self.hostPort.start) }
        return ByteRange(user.start, self.hostPort.start)
    }
}

extension URI {
    /// The transports that a URI can name (RFC 3261 §19.1.1).
    public enum TransportParameter: UInt8, Sendable {
        case udp, tcp, tls, other
    }

    /// A URI parameter's value: empty where it has none, nil where the parameter is absent.
    public func parameter(_ name: StaticString, in bytes: [UInt8]) -> ByteRange? {
        guard !self.parameters.isEmpty, let parameter = self.parameterList(in: bytes).first(name) else { return nil }
        return parameter.value ?? ByteRange(parameter.name.end, parameter.name.end)
    }

    /// All URI parameters in their order.
    public func parameterList(in bytes: [UInt8]) -> ParameterList {
        ParameterList(bytes: bytes, range: self.parameters, grammar: .uri)
    }

    /// Whether `lr` is there: the element it names is a loose router (RFC 3261 §19.1.1).
    public func isLooseRoute(in bytes: [UInt8]) -> Bool {
        self.parameter("lr", in: bytes) != nil
    }

    /// What `transport` says; nil where it is absent.
    public func transport(in bytes: [UInt8]) -> TransportParameter? {
        guard let value = self.parameter("transport", in: bytes) else { return nil }
        if value.equalsIgnoringCase("udp", in: bytes) { return .udp }
        if value.equalsIgnoringCase("tcp", in: bytes) { return .tcp }
        return value.equalsIgnoringCase("tls", in: bytes) ? .tls : .other
    }

    /// The host as an address; nil where it is a name.
    public func hostAddress(in bytes: [UInt8]) -> IPAddress? {
        guard !self.host.isEmpty else { return nil }
        return IPAddress(bytes: bytes, range: self.host)
    }

    /// The host in lower case without a trailing dot: how names of domains compare (RFC 3261 §19.1.4).
    public func hostName(in bytes: [UInt8]) -> [UInt8] {
        var name = self.host.lowercasedBytes(in: bytes)
        if name.last == .dot { name.removeLast() }
        return name
    }
}
