public import SIPMessage

// What a session may cross, where no candidate has to be chosen: the connection that is there, and the core.

extension Arrival {
    /// - Parameters:
    ///   - isSIPS: whether the Request-URI is `sips`.
    ///   - isSecure: whether the request came over TLS.
    public init(isSIPS: Bool, isSecure: Bool) {
        self = isSIPS ? .sips : isSecure ? .tls : .plain
    }
}

extension Session {
    /// Whether its dialog stays SIPS to the end: it arrived so, and no override has let this side of it go.
    public var staysSIPS: Bool { self.arrival == .sips && !self.isRelaxed }
}

extension SecurityDemand {
    /// Of a leg that is to be located; an override that once let the dialog go over it covers its later requests too.
    public init(
        isSIPS: Bool, session: Session, protect: SecuritySettings.Protect, isRegisteredContact: Bool = false
    ) {
        self.init(
            isSIPS: isSIPS, isProtected: !session.isRelaxed && Self.isProtected(session.arrival, by: protect),
            isRegisteredContact: isRegisteredContact)
    }
}

extension SecuritySettings {
    /// Lets a request from outside to the core, or refuses it.
    ///
    /// A dialog that began as SIPS does not go on over a plain connection, whatever its URIs say. Where the core is not inside
    /// the trust boundary no SIPS session reaches it at all.
    ///
    /// - Parameter isSecure: whether the request came over TLS.
    public func admit(_ session: Session, isSecure: Bool) throws(Refusal) {
        if session.staysSIPS, !isSecure { throw Refusal(403, .sipsOnPlain) }
        if session.arrival == .sips, self.sipsToCore == .refuse { throw .sipsNotAllowed }
    }

    /// The arrival of a new leg from the core that names no session.
    ///
    /// An OPTIONS is no leg of anybody's session: a core asks for its devices and trunks of its own accord (PBX-14).
    ///
    /// - Parameter isSIPS: whether the Request-URI or the contact that it stands for is `sips`.
    public func arrivalOfUntagged(isSIPS: Bool, _ method: Method) throws(Refusal) -> Arrival {
        guard self.untagged == .allow || method == .options else {
            throw Refusal(403, .untagged, warning: "a leg without a session tag is refused for this domain")
        }
        return isSIPS ? .sips : .plain
    }

    /// Lets a request onto the connection of a device, or refuses it. No override reaches a device's connection.
    ///
    /// - Parameters:
    ///   - isSIPS: whether the Request-URI is `sips`.
    ///   - contactIsSIPS: whether the contact that the device is known by is.
    ///   - isSecure: whether the connection is TLS.
    public func checkConnection(
        of session: Session, isSIPS: Bool, contactIsSIPS: Bool, isSecure: Bool
    ) throws(Refusal) {
        guard !isSecure else { return }
        if isSIPS || session.arrival == .sips { throw .sipsNotAllowed }
        guard !contactIsSIPS, !SecurityDemand.isProtected(session.arrival, by: self.protect) else {
            throw Refusal(403, .noSecureWay, warning: "insecure leg refused: the device's connection is not TLS")
        }
    }

    /// Lets a request for an address of record to a registered contact, or refuses it.
    ///
    /// A `sips:` request ends at a `sips:` contact, or nowhere: there is no exception for the last hop (SIPS-04). Whether a
    /// `sip:` one ends at a `sips:` contact is the operator's choice (SIPS-06).
    ///
    /// - Parameter isNamed: whether the Request-URI is our own for this contact, and not an address of record.
    /// - Returns: whether the request is `sip:` and becomes one to a `sips:` contact.
    public func checkContact(isSIPS contactIsSIPS: Bool, for requestURI: URI, isNamed: Bool) throws(Refusal) -> Bool {
        guard contactIsSIPS else {
            if requestURI.scheme == .sips { throw .sipsNotAllowed }
            return false
        }
        guard requestURI.scheme == .sip, !isNamed else { return false }
        if self.sipToSIPS == .refuse { throw .sipsRequired }
        return true
    }
}
