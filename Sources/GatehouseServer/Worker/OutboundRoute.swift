internal import GatehousePolicy
internal import SIPMessage

/// A request of the core's whose next hop has to be located, and how it is written for it.
struct OutboundRoute {
    var domain: DomainRuntime
    /// What is located.
    var hop: NextHop
    /// The next hop's host as it is written, for the log.
    var host: String
    /// The name that the dialog's peer was looked up by; empty where it never had one.
    var peer: [UInt8]
    var demand: SecurityDemand
    var session: Session
    var form: OutsideForm
}

/// What a request of the core's looks like to the outside, beside what always changes.
struct OutsideForm {
    /// Route values of ours at the top, which go.
    var ownRoutes = 0
    /// Written over the Request-URI: the device's own URI, where the core knows only a token (kind `pbx`).
    var requestURI: [UInt8]?
    /// Written above the Route values that stay.
    var routes: [[UInt8]] = []
    /// Whether no Route value of the message stays: the way to the device is known here (kind `pbx`).
    var dropsRoutes = false
    /// A strict router: it becomes the Request-URI, and that the last Route value (RFC 3261 §16.6 item 6).
    var strictRouter: CoreRoute.NextRoute?
    /// It becomes the Request-URI, which a strict router behind us took (RFC 3261 §16.4).
    var lastRoute: CoreRoute.NextRoute?
    /// Of our Via, with its semicolon.
    var viaParameters: StaticString = ""
}

/// Where a request of the core's goes.
enum OutsideWay {
    case flow(DeviceHop)
    case located(OutboundRoute)
    case fellow(FellowEdge)
}

/// A Contact as a Request-URI: without headers and `method` (RFC 3261 §16.6 item 2, §19.1.1 table 1).
func asRequestURI(_ contact: [UInt8]) -> [UInt8] {
    guard let uri = try? URI.parse(contact, ByteRange(0, contact.count)), uri.isSIP else { return contact }
    let method = uri.parameterList(in: contact).first("method")
    guard method != nil || !uri.headers.isEmpty else { return contact }
    var text = Array(contact[..<(uri.headers.isEmpty ? uri.whole.end : uri.headers.start)])
    if let method {
        let end = method.value?.end ?? method.name.end
        if method.name.start > 0, end <= text.count { text.removeSubrange((method.name.start - 1)..<end) }
    }
    return text
}

extension Worker {
    // MARK: The next hop

    /// Where a request of the core's goes that names no flow of ours: the outbound proxy, else its Route, else a registered
    /// contact, else its Request-URI; within a dialog the proxy only where it is forced (LOC-01, LOC-02).
    func way(
        of message: Message, _ route: CoreRoute, _ tag: SessionTag?, _ origin: WorkerMessage.Origin
    ) throws(Refusal) -> OutsideWay {
        switch route.destination {
        case .device(let device):
            if let state = self.flow(device.flow) ?? self.boundFlow(device.binding) {
                let form = OutsideForm(
                    requestURI: asRequestURI(device.contact), routes: device.routes, dropsRoutes: true)
                return .flow(DeviceHop(state: state, contact: device.contact, form: form))
            }
            if let fellow = self.fellow(device.flow, at: device.edge, device.domain, route) { return .fellow(fellow) }
            // A device that was reached over a connection is reached over one that verifies, or not at all (PBX-11).
            let isRegistered = device.flow != nil || device.binding != nil
            guard !isRegistered || Self.isReachable(device.contact) else {
                throw Self.unreachable(device.contact, device.session)
            }
            guard let domain = self.snapshot.domain(device.domain) else { throw Refusal(480, .flowGone) }
            return .located(
                try self.route(
                    to: device.contact, routes: device.routes, of: message, domain, device.session,
                    isRegistered: isRegistered, peer: device.peer))
        case .binding(let key, let name):
            guard let binding = self.shared.bindings.device(name, now: self.now, for: message.method) else {
                // The token is ours, so the device was here once: it is away, not unknown.
                throw Refusal(480, .unknownBinding, warning: "the device is not registered")
            }
            return try self.way(to: binding, of: key, message, route, tag)
        case .flow(let token, let isPath):
            if let reference = token.flow {
                guard let state = self.flow(reference) else {
                    if let fellow = self.fellow(reference, at: token.edge, token.domain, route) {
                        return .fellow(fellow)
                    }
                    if !isPath, token.session.staysSIPS { throw .sipsNotAllowed }
                    throw Refusal(isPath ? 430 : 480, .flowGone, warning: "the device's connection is gone")
                }
                return .flow(
                    DeviceHop(
                        state: state, contact: nil,
                        form: OutsideForm(ownRoutes: route.ownRoutes, lastRoute: route.last)))
            }
            guard let domain = self.snapshot.domain(token.domain) else { throw Refusal(480, .flowGone) }
            return .located(try self.route(of: message, route, domain, token.session, peer: token.peer))
        case .edge:
            throw Refusal(404, .notHere)
        case .elsewhere:
            let domain = try self.outboundDomain(of: message, tag, origin)
            let session = try self.session(of: message, route, tag, domain)
            if let own = self.ownDomain(of: message, route, domain) {
                guard let binding = self.registered(route.requestURI, in: message.bytes, own) else {
                    throw Refusal(480, .unknownBinding, warning: "the address of record is not registered here")
                }
                return try self.way(to: binding, of: own.key, message, route, tag)
            }
            return .located(try self.route(of: message, route, domain, session))
        }
    }

    /// The domain whose registrations a request goes to; nil where a proxy, a Route or a foreign Request-URI comes first.
    private func ownDomain(of message: Message, _ route: CoreRoute, _ domain: DomainRuntime) -> DomainRuntime? {
        guard route.next == nil, domain.configuration.outbound.proxy == nil || message.to?.tag != nil else {
            return nil
        }
        return self.snapshot.domain(named: route.requestURI.host, in: message.bytes)
    }

    /// The worker that has the connection of the device registered under the Request-URI, an address of record of ours.
    func registeredOwner(
        of message: Message, _ route: CoreRoute, _ tag: SessionTag?, _ origin: WorkerMessage.Origin
    ) throws(Refusal) -> UInt16? {
        guard case .elsewhere = route.destination else { return nil }
        let domain = try self.outboundDomain(of: message, tag, origin)
        guard let own = self.ownDomain(of: message, route, domain),
            let binding = self.registered(route.requestURI, in: message.bytes, own),
            binding.flow.boot == self.shared.boot
        else { return nil }
        return binding.flow.worker
    }

    /// To a registered contact: over its flow, or, where that is gone and the contact is `sips:`, over a new connection that
    /// verifies (PBX-11, SIPS-05).
    private func way(
        to binding: Binding, of key: DomainKey, _ message: Message, _ route: CoreRoute, _ tag: SessionTag?
    ) throws(Refusal) -> OutsideWay {
        let rules = self.snapshot.domain(key)?.configuration.security ?? SecuritySettings()
        let isUpgraded = try rules.checkContact(
            isSIPS: Self.isSIPS(binding.contact), for: route.requestURI,
            isNamed: self.hasToken(route.requestURI, in: message.bytes))
        if let state = self.flow(binding.flow) {
            let form = OutsideForm(
                ownRoutes: route.ownRoutes,
                requestURI: self.contact(binding.contact, for: route.requestURI, in: message), dropsRoutes: true)
            return .flow(DeviceHop(state: state, contact: binding.contact, form: form))
        }
        guard Self.isReachable(binding.contact), let domain = self.snapshot.domain(key) else {
            throw isUpgraded ? .sipsRequired : Self.unreachable(binding.contact)
        }
        let session = try self.session(of: message, route, tag, domain)
        var outbound = try self.route(
            to: binding.contact, routes: [], of: message, domain, session, isRegistered: true)
        outbound.form.requestURI = self.contact(binding.contact, for: route.requestURI, in: message)
        return .located(outbound)
    }

    /// Whether a device whose connection is gone may be connected to: by a `sips:` contact with a name. An address that a
    /// device wrote is most often that of its NAT, and no certificate proves it.
    private static func isReachable(_ contact: [UInt8]) -> Bool {
        guard self.isSIPS(contact), let uri = try? URI.parse(contact, ByteRange(0, contact.count)) else { return false }
        return uri.hostAddress(in: contact) == nil
    }

    /// A registered contact as the Request-URI: `sips:` becomes `sip:` where the core asked for a `sip:` address of record
    /// (RFC 5630 §5.3, SIPS-05).
    private func contact(_ contact: [UInt8], for uri: URI, in message: Message) -> [UInt8] {
        guard uri.scheme == .sip, !self.hasToken(uri, in: message.bytes), Self.isSIPS(contact) else {
            return asRequestURI(contact)
        }
        return asRequestURI(Array("sip".utf8) + contact.dropFirst(4))
    }

    private func hasToken(_ uri: URI, in bytes: [UInt8]) -> Bool {
        uri.user.map { TokenText.isToken(bytes, $0.range) } ?? false
    }

    private func boundFlow(_ key: BindingKey?) -> FlowState? {
        guard let key, let binding = self.shared.bindings.binding(key, now: self.now) else { return nil }
        return self.flow(binding.flow)
    }

    /// The binding of an address of record that was made last.
    private func registered(_ uri: URI, in bytes: [UInt8], _ domain: DomainRuntime) -> Binding? {
        guard let user = uri.user else { return nil }
        let aor = user.bytes(in: bytes) + [0x40] + domain.name
        return self.shared.bindings.newest(of: aor, domain: domain.key, now: self.now)
    }

    // MARK: What is located

    /// By the message's own Route and Request-URI.
    private func route(
        of message: Message, _ route: CoreRoute, _ domain: DomainRuntime, _ session: Session, peer: [UInt8] = []
    ) throws(Refusal) -> OutboundRoute {
        let isSIPS = route.requestURI.scheme == .sips
        var form = OutsideForm(ownRoutes: route.ownRoutes, lastRoute: route.last)
        if let proxy = try self.proxy(of: domain, message) {
            form.routes = [proxy.route]
            return self.route(to: proxy.hop, proxy.host, form, domain, session, isSIPS: isSIPS || proxy.hop.isSIPS)
        }
        var uri = route.requestURI
        if let next = route.next {
            uri = next.uri
            if !next.uri.isLooseRoute(in: message.bytes) { form.strictRouter = next }
        }
        guard let hop = NextHop(uri, in: message.bytes, asSIPS: isSIPS) else { throw Self.unlocatable }
        return self.route(
            to: hop, uri.host.text(in: message.bytes), form, domain, session, isSIPS: hop.isSIPS, peer: peer)
    }

    /// By a contact and the proxies before it that a token of ours remembers.
    private func route(
        to contact: [UInt8], routes: [[UInt8]], of message: Message, _ domain: DomainRuntime, _ session: Session,
        isRegistered: Bool, peer: [UInt8] = []
    ) throws(Refusal) -> OutboundRoute {
        let isSIPS = Self.isSIPS(contact)
        var form = OutsideForm(requestURI: asRequestURI(contact), routes: routes, dropsRoutes: true)
        if let proxy = try self.proxy(of: domain, message), !isRegistered {
            form.routes.insert(proxy.route, at: 0)
            return self.route(to: proxy.hop, proxy.host, form, domain, session, isSIPS: isSIPS || proxy.hop.isSIPS)
        }
        let next = routes.first ?? contact
        guard let uri = try? URI.parse(next, ByteRange(0, next.count)),
            let hop = NextHop(uri, in: next, asSIPS: isSIPS)
        else { throw Self.unlocatable }
        if !routes.isEmpty, !uri.isLooseRoute(in: next) {
            form.requestURI = next
            form.routes = Array(routes.dropFirst()) + [contact]
        }
        return self.route(
            to: hop, uri.host.text(in: next), form, domain, session, isSIPS: hop.isSIPS,
            isRegistered: isRegistered, peer: peer)
    }

    private func route(
        to hop: NextHop, _ host: String, _ form: OutsideForm, _ domain: DomainRuntime, _ session: Session,
        isSIPS: Bool, isRegistered: Bool = false, peer: [UInt8] = []
    ) -> OutboundRoute {
        var hop = hop
        var peer = peer
        switch hop.identity {
        case .domain(let name):
            peer = Array(name.utf8)
        case .address:
            // A peer often writes its address and no name into its Record-Route or Contact, and no certificate proves
            // that: whoever is there has to prove the name that the dialog began with.
            if !peer.isEmpty { hop.identity = .domain(String(decoding: peer, as: UTF8.self)) }
        }
        return OutboundRoute(
            domain: domain, hop: hop, host: host, peer: peer,
            demand: SecurityDemand(
                isSIPS: isSIPS, session: session, protect: domain.configuration.security.protect,
                isRegisteredContact: isRegistered),
            session: session, form: form)
    }

    /// The domain's outbound proxy, if it stands before this request (RT-09): as a Route value it is always loose.
    private func proxy(
        of domain: DomainRuntime, _ message: Message
    ) throws(Refusal) -> (hop: NextHop, host: String, route: [UInt8])? {
        let outbound = domain.configuration.outbound
        guard let proxy = outbound.proxy, message.to?.tag == nil || outbound.forceProxy else { return nil }
        let bytes = Array(proxy.utf8)
        // Not as SIPS: an operator who writes transport=tcp means TCP, and a SIPS session is then refused (LOC-27).
        guard let uri = try? URI.parse(bytes, ByteRange(0, bytes.count)), let hop = NextHop(uri, in: bytes) else {
            throw Self.unlocatable
        }
        let route = uri.isLooseRoute(in: bytes) ? bytes : bytes + Array(";lr".utf8)
        return (hop, uri.host.text(in: bytes), route)
    }

    private static var unlocatable: Refusal {
        Refusal(500, .nextHopUnknown, warning: "the next hop's host is no name of the DNS and no address")
    }

    // MARK: Domain and session

    /// The domain whose rules an outbound leg follows: that of the session tag, else the one in From, else the first that the
    /// core server belongs to.
    private func outboundDomain(
        of message: Message, _ tag: SessionTag?, _ origin: WorkerMessage.Origin
    ) throws(Refusal) -> DomainRuntime {
        let source = origin.source.address
        if let tag, let domain = self.snapshot.domain(tag.domain), self.snapshot.mayReach(domain, from: source) {
            return domain
        }
        if let from = message.from?.uri, from.isSIP,
            let domain = self.snapshot.domain(named: from.host, in: message.bytes),
            self.snapshot.mayReach(domain, from: source)
        {
            return domain
        }
        guard let domain = self.snapshot.firstDomain(of: source) else { throw Refusal(403, .otherDomain) }
        return domain
    }

    /// The session that a leg from the core belongs to.
    func session(
        of message: Message, _ route: CoreRoute, _ tag: SessionTag?, _ domain: DomainRuntime, contact: [UInt8]? = nil
    ) throws(Refusal) -> Session {
        if let known = route.session, !route.isPath { return known }
        if let tag { return tag.legSession }
        let isSIPS = route.requestURI.scheme == .sips || contact.map(Self.isSIPS) == true
        return self.newSession(try domain.configuration.security.arrivalOfUntagged(isSIPS: isSIPS, message.method))
    }
}
