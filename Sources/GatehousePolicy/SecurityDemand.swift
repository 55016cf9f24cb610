/// What a leg to the outside must be, whatever the DNS offers.
public struct SecurityDemand: Hashable, Sendable {
    /// The Request-URI, Route or contact that the leg serves is `sips`.
    public var isSIPS: Bool
    /// The session is protected by `security.protect`.
    public var isProtected: Bool
    /// The leg leads to a registered `sips` contact: no override reaches it (REG-10).
    public var isRegisteredContact: Bool

    public init(isSIPS: Bool, isProtected: Bool, isRegisteredContact: Bool = false) {
        self.isSIPS = isSIPS
        self.isProtected = isProtected
        self.isRegisteredContact = isRegisteredContact
    }

    public init(isSIPS: Bool, arrival: Arrival, protect: SecuritySettings.Protect, isRegisteredContact: Bool = false) {
        self.init(
            isSIPS: isSIPS, isProtected: Self.isProtected(arrival, by: protect),
            isRegisteredContact: isRegisteredContact)
    }

    /// Whether the leg is TLS to a peer whose certificate verifies, or there is none.
    public var mustBeSecure: Bool { self.isSIPS || self.isProtected }

    /// Whether `security.protect` covers a session that arrived so.
    public static func isProtected(_ arrival: Arrival, by protect: SecuritySettings.Protect) -> Bool {
        switch (protect, arrival) {
        case (.all, _), (.tls, .tls), (.tls, .sips), (.sips, .sips): true
        case (.tls, .plain), (.sips, .tls), (.sips, .plain): false
        }
    }
}

extension SecurityOverride {
    /// Whether the entry is still in force.
    public func holds(on today: CalendarDate) -> Bool {
        self.until.map { today <= $0 } ?? true
    }

    /// - Parameter host: the next hop before any DNS look-up, in any letter case, with or without a final dot.
    public func matches(host: String) -> Bool {
        guard case .host(let pattern) = self.to else { return false }
        let name = Self.normalized(host)
        let wanted = Self.normalized(pattern)
        guard wanted.hasPrefix("*.") else { return name == wanted }
        guard let dot = name.firstIndex(of: "."), dot > name.startIndex else { return false }
        return name[dot...] == wanted.dropFirst()
    }

    private static func normalized(_ host: String) -> Substring {
        let name = host.lowercased()[...]
        return name.hasSuffix(".") ? name.dropLast() : name
    }
}
