public import SIPMessage

/// What a REFER asks the other side to call, as far as that is the edge's to judge (RFC 3515 §2.1).
public struct Referral: Equatable, Sendable {
    public enum Target: UInt8, Sendable, CaseIterable {
        /// A URI of ours, which stands for one that the other side knows, or one of the core's own (PBX-12).
        case ours
        case sips
        /// `sips:` with the `transport=tls` that RFC 5630 §3.1.1 deprecates (REFER-04).
        case sipsOverTLS
        /// Not `sips:` in a SIPS session, under an override (REFER-02).
        case overridden
        /// Not `sips:`, in a session that is not SIPS.
        case other

        /// The value of the label `target` in metrics.
        public var label: StaticString {
            switch self {
            case .ours: "ours"
            case .sips: "sips"
            case .sipsOverTLS: "sips_transport_tls"
            case .overridden: "override"
            case .other: "other"
            }
        }
    }

    /// What is known of a Refer-To URI beside its text.
    public enum Owner: Equatable, Sendable {
        case foreign
        /// It stands for the core itself, inside the boundary, which the other side knows by this URI.
        case core([UInt8])
        /// It is ours and stands for this URI of a device.
        case device([UInt8])
    }

    public var target: Target
    /// The value of Refer-To.
    public var address: NameAddr
    /// Written in place of the URI up to its headers part; nil: it stays.
    public var replacement: [UInt8]?
    /// The entry that let the target through.
    public var override: SecurityOverride?

    public init(_ target: Target, _ address: NameAddr, replacement: [UInt8]? = nil, override: SecurityOverride? = nil) {
        self.target = target
        self.address = address
        self.replacement = replacement
        self.override = override
    }

    /// The word in the session tag, which the core copies to the leg that it opens to the target.
    public var tagWord: StaticString? {
        switch self.target {
        case .sips, .sipsOverTLS: SessionTag.referralToSIPS
        case .overridden: "override"
        case .ours, .other: nil
        }
    }

    /// Judges the Refer-To of a REFER.
    ///
    /// In a SIPS session the target must be `sips:`, the core's own, or named by an override that allows `insecure`; so that
    /// it can be judged there must be exactly one. Elsewhere anything passes but `sips:` over UDP, which does not exist.
    ///
    /// - Parameters:
    ///   - isSIPS: whether the session is one whose legs must be SIPS.
    ///   - today: in UTC.
    ///   - owner: what the rim knows of the URI.
    /// - Returns: nil where there is nothing to judge, and the REFER passes as it is.
    public static func judge(
        _ message: Message, isSIPS: Bool, settings: SecuritySettings, today: CalendarDate,
        owner: (URI) throws(Refusal) -> Owner
    ) throws(Refusal) -> Referral? {
        guard message.count(of: .referTo) == 1, let field = message.first(.referTo),
            let address = try? NameAddr.parse(message.bytes, field.value)
        else {
            guard isSIPS else { return nil }
            throw Refusal(400, .syntax, warning: "a SIPS session takes exactly one well-formed Refer-To")
        }
        var bytes = message.bytes
        var uri = address.uri
        var replacement: [UInt8]?
        switch try owner(uri) {
        case .foreign:
            break
        case .core(let contact):
            return Referral(.ours, address, replacement: contact)
        case .device(let contact):
            guard let known = try? URI.parse(contact, ByteRange(0, contact.count)) else {
                throw Refusal(400, .syntax)
            }
            (bytes, uri, replacement) = (contact, known, contact)
        }
        if uri.scheme == .sips {
            let transport = uri.transport(in: bytes)
            guard transport != .udp else {
                throw Refusal(400, .syntax, warning: "Refer-To asks for SIPS over UDP, which does not exist")
            }
            let target: Target = replacement != nil ? .ours : transport == .tls ? .sipsOverTLS : .sips
            return Referral(target, address, replacement: replacement)
        }
        guard isSIPS else { return Referral(replacement != nil ? .ours : .other, address, replacement: replacement) }
        guard let override = settings.override(of: uri, in: bytes, today: today), override.allow == .insecure else {
            throw Refusal(403, .insecureReferral, warning: "insecure referral refused: Refer-To is not a sips URI")
        }
        return Referral(.overridden, address, replacement: replacement, override: override)
    }
}

extension SecuritySettings {
    /// The first override in force that matches the host of a URI, by its name or as an address; a `tel` URI has none.
    fileprivate func override(of uri: URI, in bytes: [UInt8], today: CalendarDate) -> SecurityOverride? {
        let host = uri.host.text(in: bytes)
        let address = uri.hostAddress(in: bytes)
        return self.overrides.first { override in
            override.holds(on: today)
                && (override.matches(host: host) || address.map { override.matches($0) } ?? false)
        }
    }
}
