import GatehousePolicy
import SIPMessage
import Testing

// MARK: What the rim would know

private let a = DomainKey(name: "a.example")
private let b = DomainKey(name: "b.example")
private let flow = FlowReference(boot: 1, worker: 0, number: 7)
private let target = Endpoint(address: IPAddress(v4: 0x0A00_0005), port: 5060)

private func session(_ id: UInt64) -> Session { Session(id: SessionID(id), arrival: .tls, expires: .max) }
private func route(_ domain: DomainKey, _ id: UInt64) -> Token.Route {
    Token.Route(domain: domain, session: session(id), flow: flow)
}

/// User parts that stand for tokens.
private let tokens: [String: Token] = [
    "route-a": .route(route(a, 1)), "route-a2": .route(route(a, 2)), "route-b": .route(route(b, 3)),
    "path-a": .path(route(a, 4)), "path-b": .path(route(b, 5)),
    "core-a": .core(.init(domain: a, session: session(6), transport: .udp, target: target, contact: [])),
    "core-b": .core(.init(domain: b, session: session(7), transport: .udp, target: target, contact: [])),
    "device-a": .device(.init(domain: a, session: session(8), flow: flow, binding: nil, contact: [], routes: [])),
    "binding-a": .binding(domain: a, key: BindingKey(high: 1, low: 2)),
    "relay-a": .relay(.init(domain: a, transport: .tcp, target: target)),
]

/// `a.example` is the connection's domain, `b.example` another one, `edge.example` and 192.0.2.1 the edge itself.
private struct FakeKnowledge: URIKnowledge {
    func standing(of uri: URI, in bytes: [UInt8]) -> HostStanding {
        switch uri.host.text(in: bytes).lowercased() {
        case "a.example": .domain
        case "b.example": .otherDomain
        case "edge.example", "192.0.2.1": .edge
        default: .foreign
        }
    }

    func token(of uri: URI, in bytes: [UInt8]) -> UserToken {
        guard let user = uri.user?.text(in: bytes) else { return .none }
        if user == "altered" { return .altered }
        return tokens[user].map { .token($0) } ?? .none
    }

    func isArrivalAddress(of uri: URI, in bytes: [UInt8]) -> Bool {
        uri.parameter("maddr", in: bytes)?.equals("192.0.2.1", in: bytes) ?? false
    }
}

/// A request, and what routing makes of it.
struct RouteRow: Sendable, CustomTestStringConvertible {
    var start: String
    var routes: [String]
    var isSecure: Bool
    var outcome: String

    /// - Parameters:
    ///   - start: method and Request-URI.
    ///   - routes: Route rows.
    ///   - outcome: the result in words, or the refusal's status and rule.
    init(_ start: String, _ routes: [String], isSecure: Bool = true, _ outcome: String) {
        self.start = start
        self.routes = routes
        self.isSecure = isSecure
        self.outcome = outcome
    }

    init(_ start: String, isSecure: Bool = true, _ outcome: String) {
        self.init(start, [], isSecure: isSecure, outcome)
    }

    var testDescription: String { "\(self.start) \(self.routes)" }

    func message() throws -> Message {
        let method = self.start.prefix { $0 != " " }
        let lines =
            [
                "\(self.start) SIP/2.0", "Via: SIP/2.0/TLS client.example;branch=z9hG4bK1", "Max-Forwards: 70",
                "From: <sip:u@far.example>;tag=1", "To: <sip:v@a.example>", "Call-ID: 1", "CSeq: 1 \(method)",
            ] + self.routes.map { "Route: \($0)" } + ["Content-Length: 0", "", ""]
        let bytes = Array(lines.joined(separator: "\r\n").utf8)
        let parsed = bytes.withUnsafeBytes { Parser.parse(datagram: $0, limits: MessageLimits()) }
        guard case .message(let message) = parsed else { throw Unparsed() }
        return message
    }

    struct Unparsed: Error {}
}

/// What becomes of a request over a connection of `a.example`: destination, number of own Route values, id of the session, Request-URI where it is another, and rewriting.
func outcomeFromOutside(_ row: RouteRow) throws -> String {
    let message = try row.message()
    let route: OutsideRoute
    do throws(Refusal) {
        route = try RouteProcessing.fromOutside(message, domain: a, isSecure: row.isSecure, knowledge: FakeKnowledge())
    } catch {
        return "\(error.status) \(error.rule)"
    }
    func text(_ uri: URI) -> String { uri.whole.text(in: message.bytes) }
    var words: [String] = []
    switch route.destination {
    case .core: words.append("core")
    case .dialog(let core): words.append(core.domain == a ? "dialog" : "dialog of another domain")
    case .nextRoute(let uri): words.append("next \(text(uri))")
    case .remoteTarget: words.append("remote target")
    case .edge: words.append("edge")
    }
    if route.ownRoutes > 0 { words.append("own \(route.ownRoutes)") }
    if let session = route.session { words.append("session \(session.id.bits)") }
    if route.flow != nil, route.flow != flow { words.append("wrong flow") }
    if route.requestURI.whole != message.requestURI { words.append("uri \(text(route.requestURI))") }
    switch route.rewriting {
    case .fromLastRoute(let value): words.append("from last \(value.text(in: message.bytes))")
    case .toStrictRouter(let value): words.append("to strict \(value.text(in: message.bytes))")
    case .withoutOwnAddress: words.append("without own address")
    case nil: break
    }
    return words.joined(separator: ", ")
}

/// What becomes of a request from the core: destination, number of own Route values, id of the session.
func outcomeFromCore(_ row: RouteRow) throws -> String {
    let message = try row.message()
    let route: CoreRoute
    do throws(Refusal) {
        route = try RouteProcessing.fromCore(message, knowledge: FakeKnowledge())
    } catch {
        return "\(error.status) \(error.rule)"
    }
    var words: [String] = []
    switch route.destination {
    case .device: words.append("device")
    case .binding(let domain, let key): words.append(domain == a && key.low == 2 ? "binding" : "wrong binding")
    case .flow(_, let isPath): words.append(isPath ? "path" : "flow")
    case .edge: words.append("edge")
    case .elsewhere: words.append("elsewhere")
    }
    if let last = route.last {
        words.append("uri \(route.requestURI.whole.text(in: message.bytes))")
        words.append("from last \(last.value.text(in: message.bytes))")
        if let next = route.next { words.append("next \(next.value.text(in: message.bytes))") }
    }
    if let relay = route.relay { words.append(relay.target == target ? "relayed" : "wrong relay") }
    if route.ownRoutes > 0 { words.append("own \(route.ownRoutes)") }
    if let session = route.session { words.append("session \(session.id.bits)") }
    return words.joined(separator: ", ")
}
