public import SIPMessage

/// What the host of a URI is to the edge.
public enum HostStanding: Equatable, Sendable {
    /// A name or alias of the domain that the request's connection belongs to.
    case domain
    /// A name or alias of another served domain.
    case otherDomain
    /// An address or advertised name of the edge itself.
    case edge
    case foreign
}

/// What the user part of a URI is to the edge.
public enum UserToken: Equatable, Sendable {
    /// An ordinary user, or none.
    case none
    /// The form of a token, but no edge with our secret made it.
    case altered
    case token(Token)
}

/// Answers what only the rim knows of a URI: whose host it is, and what its token stands for.
public protocol URIKnowledge {
    func standing(of uri: URI, in bytes: [UInt8]) -> HostStanding
    func token(of uri: URI, in bytes: [UInt8]) -> UserToken
    /// Whether `maddr`, port and transport of a URI are those by which the request arrived (RT-05).
    func isArrivalAddress(of uri: URI, in bytes: [UInt8]) -> Bool
}

extension Message {
    /// The last value of the Route list.
    fileprivate var lastRoute: ByteRange? {
        var last: ByteRange?
        for value in self.values(of: .route) { last = value }
        return last
    }
}

/// Where a request from outside goes (RFC 3261 §16.3 to §16.6).
public struct OutsideRoute: Equatable, Sendable {
    public enum Destination: Equatable, Sendable {
        /// One of the domain's core targets.
        case core
        /// Within a dialog of a `pbx` core: the core server that the token names.
        case dialog(Token.Core)
        /// Within a dialog of a `proxy` core: the core's own Route value at the top.
        case nextRoute(URI)
        /// Within a dialog of a `proxy` core: the Request-URI.
        case remoteTarget
        /// The edge itself.
        case edge
    }

    public var destination: Destination
    /// Route values of ours, to be removed from the top.
    public var ownRoutes: Int
    /// What the dialog's token remembers; nil outside a dialog of ours.
    public var session: Session?
    /// The flow that the dialog's token names.
    public var flow: FlowReference?
    public var requestURI: URI
    /// What becomes of the Request-URI on the way out; nil: it stays.
    public var rewriting: Rewriting?

    /// Request-URI and Route list of a hop that routes strictly, or that was addressed by `maddr`.
    public enum Rewriting: Equatable, Sendable {
        /// A strict router put our Record-Route value there: the last Route value takes its place (RFC 3261 §16.4).
        case fromLastRoute(ByteRange)
        /// The next hop is a strict router: it becomes the Request-URI, and that the last Route value (§16.6 item 6).
        case toStrictRouter(ByteRange)
        /// The edge's own address in `maddr`, and the port and transport that led here, go (§16.4).
        case withoutOwnAddress
    }
}

/// Where a request from the core goes.
public struct CoreRoute: Equatable, Sendable {
    public enum Destination: Equatable, Sendable {
        /// To a device of a `pbx` core, in a dialog.
        case device(Token.Device)
        /// To a registered contact of a `pbx` core.
        case binding(DomainKey, BindingKey)
        /// Along a Record-Route or Path value of ours; one without a flow only says which dialog it is, and the next Route
        /// value or the Request-URI says where it goes.
        case flow(Token.Route, isPath: Bool)
        /// The edge itself.
        case edge
        /// Anywhere else: a next hop that must be located.
        case elsewhere
    }

    public var destination: Destination
    public var ownRoutes: Int
    public var session: Session?
    public var requestURI: URI
    /// The first Route value that is not ours, and where it stands.
    public var next: NextRoute?
    /// The last Route value, where a strict router put ours into the Request-URI: that takes its place (RFC 3261 §16.4).
    public var last: NextRoute?
    /// Set where another edge with our secret passed the request on: it goes to a flow of this edge, or nowhere.
    public var relay: Token.Relay?

    public struct NextRoute: Equatable, Sendable {
        public var uri: URI
        public var value: ByteRange

        public init(uri: URI, value: ByteRange) {
            self.uri = uri
            self.value = value
        }
    }
}

/// Reads Request-URI and Route of a request: removes what is ours, refuses what has no business here.
public enum RouteProcessing {
    /// A request over a connection of `domain` (RFC 3261 §16.4; SEC-01, RT-01, RT-02, RT-08, REG-17, VAL-09).
    public static func fromOutside(
        _ message: Message, domain: DomainKey, isSecure: Bool, knowledge: borrowing some URIKnowledge
    ) throws(Refusal) -> OutsideRoute {
        var uri = try self.requestURI(of: message)
        var rewriting: OutsideRoute.Rewriting?
        var strictToken: Token.Route?
        if let (token, last) = try self.afterStrictRouter(message, uri, knowledge) {
            guard token.domain == domain else { throw Refusal(403, .otherDomain) }
            strictToken = token
            rewriting = .fromLastRoute(last.value)
            uri = last.uri
        }
        if uri.scheme == .sips, !isSecure { throw Refusal(403, .sipsOnPlain) }
        let top = try self.ownRoutes(of: message, domain: domain, knowledge: knowledge)
        var route = OutsideRoute(
            destination: .core, ownRoutes: top.count, session: (top.token ?? strictToken)?.session,
            flow: (top.token ?? strictToken)?.flow, requestURI: uri, rewriting: rewriting)
        if let strictToken, top.token == nil || top.token == strictToken {
            // The last Route value is the Request-URI now, so it is no next hop.
            if case .fromLastRoute(let last) = rewriting, let next = top.next, !last.contains(next.whole) {
                route.destination = .nextRoute(next)
            } else {
                route.destination = .remoteTarget
            }
            return route
        }
        switch knowledge.token(of: uri, in: message.bytes) {
        case .altered:
            throw Refusal(404, .alteredToken)
        case .token(.core(let core)):
            guard core.domain == domain else { throw Refusal(403, .otherDomain) }
            guard top.next == nil else { throw Refusal(403, .foreignRoute) }
            route.destination = .dialog(core)
            route.session = core.session
            return route
        case .token:
            throw Refusal(404, .unknownToken)
        case .none:
            break
        }
        if let next = top.next {
            // A Route that leads elsewhere counts only in a dialog that we record-routed ourselves.
            guard top.token != nil else { throw Refusal(403, .foreignRoute) }
            route.destination = .nextRoute(next)
            if !next.isLooseRoute(in: message.bytes), let value = top.nextValue {
                route.rewriting = .toStrictRouter(value)
            }
            return route
        }
        if top.token != nil {
            route.destination = .remoteTarget
            return route
        }
        if uri.parameter("maddr", in: message.bytes) != nil, knowledge.isArrivalAddress(of: uri, in: message.bytes) {
            route.rewriting = .withoutOwnAddress
        }
        switch knowledge.standing(of: uri, in: message.bytes) {
        case .domain:
            if uri.user == nil, message.method != .register {
                guard message.method == .options else { throw Refusal(404, .notHere) }
                route.destination = .edge
            }
        case .edge:
            guard uri.user == nil else { throw Refusal(403, .unservedDomain) }
            guard message.method == .options else { throw Refusal(404, .notHere) }
            route.destination = .edge
        case .otherDomain:
            throw Refusal(403, .otherDomain)
        case .foreign:
            throw Refusal(403, .unservedDomain)
        }
        return route
    }

    /// A request from a trusted core address.
    public static func fromCore(
        _ message: Message, knowledge: borrowing some URIKnowledge
    ) throws(Refusal) -> CoreRoute {
        var uri = try self.requestURI(of: message)
        let strict = try self.afterStrictRouter(message, uri, knowledge)
        if let strict { uri = strict.last.uri }
        let top = try self.ownRoutes(of: message, domain: nil, knowledge: knowledge)
        var route = CoreRoute(
            destination: .elsewhere, ownRoutes: top.count, session: (top.token ?? strict?.token)?.session,
            requestURI: uri, next: nil)
        if let next = top.next, let value = top.nextValue, strict?.last.value != value {
            route.next = .init(uri: next, value: value)
        }
        route.last = strict?.last
        route.relay = top.relay
        if let token = top.token ?? strict?.token {
            route.destination = .flow(token, isPath: top.isPath)
            return route
        }
        switch knowledge.token(of: uri, in: message.bytes) {
        case .altered:
            throw Refusal(404, .alteredToken)
        case .token(.device(let device)):
            route.destination = .device(device)
            route.session = device.session
        case .token(.binding(let domain, let key)):
            route.destination = .binding(domain, key)
        case .token(.core), .token(.route), .token(.path), .token(.relay):
            throw Refusal(404, .unknownToken)
        case .none:
            guard top.relay == nil else { throw Refusal(404, .unknownToken) }
            if top.next == nil, knowledge.standing(of: uri, in: message.bytes) == .edge {
                // A user at the edge's own address is a token or nobody (PBX-14).
                guard uri.user == nil else { throw Refusal(404, .unknownToken) }
                guard message.method == .options else { throw Refusal(404, .notHere) }
                route.destination = .edge
            }
        }
        return route
    }

    /// Our Record-Route value in the Request-URI, where a strict router put it, and the last Route value, which takes its place
    /// (RFC 3261 §16.4).
    private static func afterStrictRouter(
        _ message: Message, _ uri: URI, _ knowledge: borrowing some URIKnowledge
    ) throws(Refusal) -> (token: Token.Route, last: CoreRoute.NextRoute)? {
        guard case .token(.route(let token)) = knowledge.token(of: uri, in: message.bytes) else { return nil }
        guard let last = message.lastRoute, let lastURI = (try? NameAddr.parse(message.bytes, last))?.uri else {
            throw Refusal(404, .unknownToken)
        }
        // Nobody's target: a request that has no Routes but ours.
        if case .token(.route) = knowledge.token(of: lastURI, in: message.bytes) { throw Refusal(404, .unknownToken) }
        return (token, .init(uri: lastURI, value: last))
    }

    private static func requestURI(of message: Message) throws(Refusal) -> URI {
        do {
            let uri = try URI.parse(message.bytes, message.requestURI)
            guard uri.scheme == .sip || uri.scheme == .sips else { throw Refusal(416, .scheme) }
            // RFC 3261 §26.2.2: SIPS is TLS, which UDP does not carry.
            if uri.scheme == .sips, uri.transport(in: message.bytes) == .udp { throw Refusal(400, .syntax) }
            return uri
        } catch let refusal as Refusal {
            throw refusal
        } catch {
            throw Refusal(400, .syntax)
        }
    }

    private struct OwnRoutes {
        /// Values of ours at the top; two at the most, as a double Record-Route leaves them (RFC 5658 §5), below one of
        /// another edge's.
        var count = 0
        var relay: Token.Relay?
        var token: Token.Route?
        var isPath = false
        /// The first value that is not ours.
        var next: URI?
        var nextValue: ByteRange?
    }

    private static func ownRoutes(
        of message: Message, domain: DomainKey?, knowledge: borrowing some URIKnowledge
    ) throws(Refusal) -> OwnRoutes {
        var own = OwnRoutes()
        guard message.first(.route) != nil else { return own }
        for value in message.values(of: .route) {
            guard let uri = (try? NameAddr.parse(message.bytes, value))?.uri else { throw Refusal(400, .syntax) }
            guard own.count < (own.relay == nil ? 2 : 3) else {
                own.next = uri
                own.nextValue = value
                break
            }
            switch knowledge.token(of: uri, in: message.bytes) {
            case .altered:
                throw Refusal(403, .alteredToken)
            case .token(.route(let route)):
                guard domain == nil || route.domain == domain else { throw Refusal(403, .otherDomain) }
                // The second value of a pair carries the same token; another one belongs to another passage through us.
                if let first = own.token, first != route {
                    own.next = uri
                    own.nextValue = value
                    return own
                }
                own.token = route
                own.count += 1
            case .token(.path(let route)):
                guard domain == nil else { throw Refusal(403, .foreignRoute) }
                guard own.token == nil else {
                    own.next = uri
                    own.nextValue = value
                    return own
                }
                own.token = route
                own.isPath = true
                own.count += 1
            case .token(.relay(let relay)):
                guard domain == nil, own.count == 0 else { throw Refusal(403, .foreignRoute) }
                own.relay = relay
                own.count += 1
            case .token:
                throw Refusal(403, .alteredToken)
            case .none:
                let standing = knowledge.standing(of: uri, in: message.bytes)
                guard own.token == nil, standing == .edge || standing == .domain else {
                    own.next = uri
                    own.nextValue = value
                    return own
                }
                // We write no user but a token (RT-08).
                guard standing == .domain || uri.user == nil else { throw Refusal(403, .alteredToken) }
                own.count += 1
            }
        }
        return own
    }
}
