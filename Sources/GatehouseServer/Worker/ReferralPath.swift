internal import GatehousePolicy
internal import Logging
internal import SIPMessage

// REFER: what it refers to is judged where it crosses the edge, and a URI of ours is turned into the one that it stands for.

extension Worker {
    /// Judges a REFER before it is forwarded (REFER-02 to REFER-05, PBX-12); counts it and tells of an override.
    ///
    /// - Parameter source: who sent it, for what a core may reach.
    func referral(
        of message: Message, _ passage: Passage, from source: IPAddress
    ) throws(Refusal) -> Referral? {
        let settings = passage.domain.configuration.security
        let referral = try Referral.judge(
            message, isSIPS: passage.session.staysSIPS, settings: settings,
            today: self.today
        ) { uri throws(Refusal) in
            try self.owner(of: uri, in: message.bytes, passage, from: source)
        }
        guard let referral else { return nil }
        self.metrics.referred(passage.domain.metrics, referral.target)
        if let override = referral.override {
            self.metrics.overrideUsed(passage.domain.metrics, override.allow)
            self.log.warning(
                "override used: a SIPS session refers to a target that is not sips",
                [
                    "domain": "\(passage.domain.configuration.name)", "session": "\(passage.session.id)",
                    "target": "\(referral.address.uri.host.text(in: message.bytes))", "allow": "\(override.allow)",
                    "reason": "\(override.reason)", "line": "\(override.location)",
                    "call-id": "\(message.callID?.text(in: message.bytes) ?? "-")",
                ])
        }
        return referral
    }

    /// What a URI of ours stands for on the other side, or one of the core's own is shown as. Only a `pbx` core and its devices are given any.
    private func owner(
        of uri: URI, in bytes: [UInt8], _ passage: Passage, from source: IPAddress
    ) throws(Refusal) -> Referral.Owner {
        guard passage.domain.isPBX else { return .foreign }
        switch (self.token(of: uri, in: bytes), passage.direction) {
        case (.none, .toOutside):
            return self.hidden(uri, in: bytes, passage).map { .core($0) } ?? .foreign
        case (.none, .toCore), (.none, .toFellow):
            return .foreign
        case (.token(.core(let core)), .toCore):
            guard core.domain == passage.domain.key else { throw Refusal(403, .otherDomain) }
            return .core(asRequestURI(core.contact))
        case (.token(.device(let device)), .toOutside):
            try self.mayRefer(to: device.domain, from: source)
            return .device(asRequestURI(device.contact))
        case (.token(.binding(let domain, let key)), .toOutside):
            try self.mayRefer(to: domain, from: source)
            guard let binding = self.shared.bindings.binding(key, now: self.now) else {
                throw Refusal(480, .unknownBinding, warning: "the device that Refer-To names is not registered")
            }
            return .device(asRequestURI(binding.contact))
        case (.altered, _):
            throw Refusal(404, .alteredToken)
        case (.token, _):
            throw Refusal(404, .unknownToken)
        }
    }

    /// A URI at the core's own address, as the outside may see it: by a token, like the core's Contact (PBX-03), so that the
    /// call that the device makes to it comes back here; nil for any other.
    private func hidden(_ uri: URI, in bytes: [UInt8], _ passage: Passage) -> [UInt8]? {
        guard uri.isSIP, let address = uri.hostAddress(in: bytes), self.snapshot.trustedSources.contains(address) else {
            return nil
        }
        let transport: Transport = uri.transport(in: bytes) == .tcp ? .tcp : .udp
        let endpoint = Endpoint(address: address, port: uri.port ?? transport.defaultPort)
        guard !self.coreBinds.entries.contains(where: { $0.endpoint == endpoint }) else { return nil }
        let token = Token.core(
            .init(
                domain: passage.domain.key, session: passage.session, transport: transport, target: endpoint,
                contact: asRequestURI(uri.whole.bytes(in: bytes))))
        return self.text(of: token).map { self.outsideURI($0, passage) }
    }

    /// A core reaches the devices of its own domains (PBX-14), by a REFER too.
    private func mayRefer(to key: DomainKey, from source: IPAddress) throws(Refusal) {
        guard let domain = self.snapshot.domain(key), self.snapshot.mayReach(domain, from: source) else {
            throw Refusal(404, .unknownToken)
        }
    }
}

extension MessageEditor {
    /// Writes what the Refer-To of a REFER becomes; its headers part stays octet for octet (PBX-12).
    ///
    /// - Parameter isPlain: whether the reader knows no `sips:` (PBX-01).
    mutating func write(_ referral: Referral, in message: Message, isPlain: Bool) {
        let uri = referral.address.uri
        guard let replacement = referral.replacement else {
            if isPlain, uri.scheme == .sips { self.makePlain(uri, in: message) }
            return
        }
        let end = uri.headers.isEmpty ? uri.whole.end : uri.headers.start
        guard !referral.address.hasAngles else {
            return self.replace(ByteRange(uri.whole.start, end), with: replacement)
        }
        // A URI of ours has parameters, so it needs its brackets.
        let headers = message.bytes[end..<uri.whole.end]
        self.replace(uri.whole, with: [0x3C] + replacement + headers + [0x3E])
    }
}
