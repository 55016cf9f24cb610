public import GatehousePolicy
public import SIPMessage

/// Takes the decisions for a request from the core to the outside as the edge would, without an edge, and says why.
///
/// What only a running edge knows (registrations, Route sets, sessions in force) takes no part.
public struct Explainer: Sendable {
    public struct Request: Sendable {
        /// A SIP URI: the Request-URI.
        public var uri: String
        /// How the session reached the edge; nil: the request carries no tag.
        public var arrival: Arrival?
        public var isInDialog: Bool

        public init(uri: String, arrival: Arrival? = nil, isInDialog: Bool = false) {
            self.uri = uri
            self.arrival = arrival
            self.isInDialog = isInDialog
        }
    }

    public typealias Ask = @Sendable (DNSQuestion) async -> DNSAnswer
    public typealias Connect = @Sendable (JudgedCandidate) async -> Explanation.Attempt
    /// Why nothing is to be sent to an address; nil: it may be.
    public typealias Forbid = @Sendable (Endpoint) -> String?

    private let domain: DomainConfiguration
    private let served: DomainTable
    private let today: CalendarDate
    private let ask: Ask
    private let forbid: Forbid
    private let hasRoute: @Sendable (IPAddress) -> Bool

    /// - Parameters:
    ///   - configuration: all of it, for the names that are served here.
    ///   - domain: one of its domains: the one whose core sends the request.
    ///   - today: in UTC.
    ///   - forbid: where nothing may be sent.
    ///   - hasRoute: whether this host has a way to an address.
    ///   - ask: answers a question of the DNS.
    public init(
        _ configuration: Configuration, domain: DomainConfiguration, today: CalendarDate,
        forbid: @escaping Forbid = { _ in nil }, hasRoute: @escaping @Sendable (IPAddress) -> Bool = { _ in true },
        ask: @escaping Ask
    ) {
        self.domain = domain
        self.served = DomainTable(configuration.domains)
        self.today = today
        self.ask = ask
        self.forbid = forbid
        self.hasRoute = hasRoute
    }

    /// - Parameter connect: tries a candidate; nil: none is tried.
    public func explain(_ request: Request, connect: Connect? = nil) async -> Explanation {
        var explanation = Explanation(
            uri: request.uri, domain: self.domain.name, arrived: request.arrival.map { "\($0.word)" } ?? "untagged",
            isInDialog: request.isInDialog,
            verdict: Explanation.Verdict(goes: false, decision: Explanation.Decision(because: "")))
        guard let uri = ParsedURI(request.uri) else {
            explanation.verdict.decision.because = "the Request-URI is no SIP URI"
            return explanation
        }
        if request.arrival == nil, !request.isInDialog {
            do throws(Refusal) {
                _ = try self.domain.security.arrivalOfUntagged(isSIPS: uri.isSIPS, .invite)
            } catch {
                explanation.refuse(error, self.decision("the request carries no tag", "security.untagged"))
                return explanation
            }
        }
        let (choice, source) = self.nextHop(uri, request)
        guard let hop = choice.hop else {
            explanation.verdict.decision = source
            explanation.verdict.decision.because = "\(choice.text) has a host that is neither a name nor an address"
            return explanation
        }
        explanation.nextHop = Explanation.NextHop(uri: choice.text, target: "\(hop.target)", decision: source)
        // Within a dialog the edge looks at its own domains first, also where the proxy is forced.
        let isDirect = self.domain.outbound.proxy == nil || request.isInDialog
        if isDirect, uri.isServed(by: self.served) {
            explanation.refuse(
                Refusal(480, .unknownBinding, warning: "the device is not registered"),
                Explanation.Decision(
                    because: "the domain is served here, so that a registered device alone is meant: "
                        + "see gatehouse bindings"))
            return explanation
        }
        let judged = await self.judge(hop, isSIPS: uri.isSIPS || hop.isSIPS, request, &explanation)
        if let connect { await explanation.attempt(judged, connect) }
        return explanation
    }

    /// The next hop of a request without Route and registration: LOC-01, LOC-02.
    private func nextHop(_ uri: ParsedURI, _ request: Request) -> (ParsedURI, Explanation.Decision) {
        let outbound = self.domain.outbound
        guard let text = outbound.proxy, let proxy = ParsedURI(text) else {
            return (uri, self.decision("there is no outbound proxy: the Request-URI", "outbound.proxy"))
        }
        if request.isInDialog, !outbound.forceProxy {
            let because = "the outbound proxy is not for requests in a dialog: the remote target"
            return (uri, self.decision(because, "outbound.force_proxy"))
        }
        let key = request.isInDialog ? "outbound.force_proxy" : "outbound.proxy"
        return (proxy, self.decision("the outbound proxy", key))
    }

    private func judge(
        _ hop: NextHop, isSIPS: Bool, _ request: Request, _ explanation: inout Explanation
    ) async -> [JudgedCandidate] {
        let settings = self.domain.security
        let demand = SecurityDemand(isSIPS: isSIPS, arrival: request.arrival ?? .plain, protect: settings.protect)
        explanation.security = Explanation.Security(
            mustBeSecure: demand.mustBeSecure, decision: self.decision(demand, request.arrival))
        let host = "\(hop.target)"
        var secure: Outcome?
        var any: Outcome?
        if demand.mustBeSecure { secure = await self.locate(hop, isSecureOnly: true, &explanation) }
        if !demand.mustBeSecure
            || SecurityVerdict.mayOverride(demand, host: host, settings: settings, today: self.today)
        {
            var hop = hop
            if demand.mustBeSecure { hop.isSIPS = false }  // what an override may let in
            any = await self.locate(hop, isSecureOnly: false, &explanation)
        }
        let failure = demand.mustBeSecure ? secure?.failure : any?.failure
        let verdict = SecurityVerdict.judge(
            demand, secure: secure?.candidates ?? [], any: any?.candidates ?? [], host: host, settings: settings,
            outbound: self.domain.outbound, today: self.today, failure: failure)
        switch verdict {
        case .send(let judged):
            explanation.candidates = judged.map { self.view(of: $0) }
            let usable = self.passOver(judged, &explanation)
            guard !usable.isEmpty else {
                let why = explanation.candidates.first?.passedOver ?? ""
                explanation.refuse(
                    Refusal(500, .nextHopUnknown),
                    Explanation.Decision(because: "every candidate is passed over: \(why)"))
                return []
            }
            explanation.verdict.goes = true
            explanation.verdict.decision =
                judged.first.flatMap { self.decision($0.override) }
                ?? Explanation.Decision(because: "there is a way: the candidates are tried in this order")
            return usable
        case .refuse(let refusal):
            explanation.refuse(refusal, self.decision(failure, demand))
            return []
        }
    }

    /// Notes which candidates the edge does not try, and returns the others.
    private func passOver(_ judged: [JudgedCandidate], _ explanation: inout Explanation) -> [JudgedCandidate] {
        let addresses = judged.map(\.candidate.endpoint.address)
        let routed = addresses.map { self.hasRoute($0) }
        // Where no route leads anywhere, the error of the attempt tells more.
        let isRouteWanted = Set(addresses.map(\.isIPv6)).count > 1 && routed.contains(true)
        return judged.indices.compactMap { index in
            let why =
                isRouteWanted && !routed[index]
                ? "this host has no route to it" : self.forbid(judged[index].candidate.endpoint)
            explanation.candidates[index].passedOver = why
            return why == nil ? judged[index] : nil
        }
    }

    private typealias Outcome = (candidates: [Candidate], failure: ResolutionFailure?)

    private func locate(
        _ hop: NextHop, isSecureOnly: Bool, _ explanation: inout Explanation
    ) async -> Outcome {
        let rules = ResolutionRules(
            transports: self.domain.outbound.transports, isSecureOnly: isSecureOnly)
        var resolution = Resolution(hop, rules: rules, isTraced: true)
        var generator = SystemRandomNumberGenerator()
        var step = resolution.begin()
        var outcome: Outcome = ([], nil)
        var answers: [DNSAnswer] = []
        loop: while true {
            switch step {
            case .ask(let questions): answers = await self.answers(to: questions)
            case .wait: break
            case .located(let candidates):
                outcome.candidates = candidates
                break loop
            case .failed(let failure):
                outcome.failure = failure
                break loop
            }
            guard let answer = answers.popLast() else { break }
            step = resolution.receive(answer, using: &generator)
        }
        explanation.resolutions.append(
            Explanation.Resolution(
                isSecureOnly: isSecureOnly, steps: resolution.trace.map { Explanation.Step($0) },
                candidates: outcome.candidates.map(\.description), failure: outcome.failure?.description))
        return outcome
    }

    /// Last first, so that they are taken in the order of the questions.
    private func answers(to questions: [DNSQuestion]) async -> [DNSAnswer] {
        await withTaskGroup(of: (Int, DNSAnswer).self) { group in
            for (index, question) in questions.enumerated() {
                group.addTask { (index, await self.ask(question)) }
            }
            var answers: [(Int, DNSAnswer)] = []
            for await answer in group { answers.append(answer) }
            return answers.sorted { $0.0 > $1.0 }.map(\.1)
        }
    }

    // MARK: Which line decided

    private func decision(_ because: String, _ key: String) -> Explanation.Decision {
        let isWritten = self.domain.sources.contains(key)
        return Explanation.Decision(
            because: because, key: key, location: isWritten ? "\(self.domain.location(of: key))" : nil)
    }

    private func decision(_ demand: SecurityDemand, _ arrival: Arrival?) -> Explanation.Decision {
        let protect = self.domain.security.protect
        let session = arrival.map { "a session that arrived \(Explanation.phrase(for: "\($0.word)"))" }
        if demand.isProtected {
            return self.decision(
                "\(session ?? "a request without a tag") is protected by security.protect: \(protect.rawValue)",
                "security.protect")
        }
        if demand.isSIPS { return Explanation.Decision(because: "a sips URI is served") }
        return self.decision(
            "\(session ?? "a request without a tag") is not protected by security.protect: \(protect.rawValue)",
            "security.protect")
    }

    private func decision(_ failure: ResolutionFailure?, _ demand: SecurityDemand) -> Explanation.Decision {
        let because = failure?.description ?? "no candidate may be used"
        if case .forbiddenTransport = failure?.cause { return self.decision(because, "outbound.transports") }
        if failure?.isForWantOfSecurity == true, !demand.isSIPS { return self.decision(because, "security.protect") }
        return Explanation.Decision(because: because)
    }

    private func decision(_ override: SecurityOverride?) -> Explanation.Decision? {
        guard let override else { return nil }
        let index = self.domain.security.overrides.firstIndex(of: override) ?? 0
        return Explanation.Decision(
            because: "an override allows \(override.allow.rawValue): \(override.reason)",
            key: "security.overrides[\(index)]", location: "\(override.location)")
    }

    private func view(of judged: JudgedCandidate) -> Explanation.Candidate {
        let identity =
            switch judged.candidate.identity {
            case .domain(let name): name
            case .address(let address): "\(address)"
            }
        return Explanation.Candidate(
            transport: "\(judged.candidate.transport)", address: "\(judged.candidate.endpoint)",
            serverName: judged.candidate.transport == .tls ? judged.candidate.serverName : nil, identity: identity,
            verifies: judged.verifies, override: self.decision(judged.override))
    }
}

/// A SIP URI with the bytes that it is made of.
private struct ParsedURI {
    let text: String
    private let uri: URI
    private let bytes: [UInt8]

    /// nil: it is none.
    init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard let uri = try? URI.parse(bytes, ByteRange(0, bytes.count)), uri.isSIP else { return nil }
        self.text = text
        self.uri = uri
        self.bytes = bytes
    }

    var isSIPS: Bool { self.uri.scheme == .sips }
    var hop: NextHop? { NextHop(self.uri, in: self.bytes) }

    func isServed(by table: DomainTable) -> Bool {
        table.domain(named: self.uri.host, in: self.bytes) != nil
    }
}

extension Explanation {
    fileprivate mutating func refuse(_ refusal: Refusal, _ decision: Decision) {
        self.verdict = Verdict(
            goes: false, status: refusal.status,
            warning: refusal.warning.map { "\($0.code) \"\($0.text)\"" }, decision: decision)
    }

    /// Tries the candidates until one answers.
    fileprivate mutating func attempt(_ judged: [JudgedCandidate], _ connect: Explainer.Connect) async {
        var attempts: [Attempt] = []
        for candidate in judged {
            let attempt = await connect(candidate)
            attempts.append(attempt)
            if attempt.isConnected { break }
        }
        self.attempts = attempts
        guard let last = attempts.last else { return }
        let isUntried = attempts.contains { $0.transport == "\(Transport.udp)" }
        guard !last.isConnected, !isUntried else { return }
        self.verdict = Verdict(
            goes: false, status: 500, warning: last.problem.map { "399 \"\($0)\"" },
            decision: Decision(because: "no candidate answers"))
    }
}

extension Explanation.Step {
    fileprivate init(_ step: ResolutionStep) {
        switch step {
        case .rule: self.init(kind: .rule, text: "\(step)")
        case .discarded: self.init(kind: .discarded, text: "\(step)")
        case .answer(let answer):
            self.init(
                kind: .answer, text: "\(answer)", question: "\(answer.question)", records: answer.records,
                timeToLive: answer.timeToLive.components.seconds)
        }
    }
}
