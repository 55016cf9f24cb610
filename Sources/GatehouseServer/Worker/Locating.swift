internal import GatehouseNet
internal import GatehousePolicy
internal import NIOCore
internal import SIPMessage
internal import Synchronization

// The one way from a URI to servers: `Resolution` asks, the DNS answers, `SecurityVerdict` judges.

/// What locating a next hop came to.
enum Located {
    /// In the order in which they are tried.
    case candidates([JudgedCandidate])
    case refused(Refusal, cause: String)
}

extension Worker {
    /// Looks the next hop up and judges what is found; calls back once, perhaps before this returns.
    func locate(_ route: OutboundRoute, _ done: @escaping (Located) -> Void) {
        let outbound = route.domain.configuration.outbound
        let security = route.domain.configuration.security
        let mayOverride = SecurityVerdict.mayOverride(
            route.demand, host: route.hop.target.description, settings: security, today: self.today)
        let open = ResolutionRules(transports: outbound.transports)
        var secure = open
        secure.isSecureOnly = true
        guard route.demand.mustBeSecure else {
            return self.lookUp(route.hop, open) { found in
                done(self.judge(route, secure: .success([]), any: found))
            }
        }
        self.lookUp(route.hop, secure) { found in
            guard mayOverride else { return done(self.judge(route, secure: found, any: .success([]))) }
            // What an override may let go is looked up as a sip URI is.
            var hop = route.hop
            hop.isSIPS = false
            self.lookUp(hop, open) { any in
                done(self.judge(route, secure: found, any: any))
            }
        }
    }

    private typealias Found = Result<[Candidate], ResolutionFailure>

    private func judge(_ route: OutboundRoute, secure: Found, any: Found) -> Located {
        let domain = route.domain.configuration
        let found = route.demand.mustBeSecure ? secure : any
        var failure: ResolutionFailure?
        if case .failure(let error) = found { failure = error }
        let verdict = SecurityVerdict.judge(
            route.demand, secure: (try? secure.get()) ?? [], any: (try? any.get()) ?? [],
            host: route.hop.target.description,
            settings: domain.security, outbound: domain.outbound, today: self.today, failure: failure)
        switch verdict {
        case .send(let judged):
            return .candidates(judged)
        case .refuse(let refusal):
            return .refused(refusal, cause: failure.map(\.description) ?? "no candidate is secure")
        }
    }

    /// The candidates that can be tried, those put aside last.
    func walk(_ candidates: [JudgedCandidate], for route: OutboundRoute) -> CandidateWalk {
        var candidates = candidates
        // An address without a route is no candidate (RFC 6724 §5 rule 1), unless there is no other.
        let families = Set(candidates.map(\.candidate.endpoint.address.isIPv6))
        if families.count > 1 {
            let reachable = candidates.filter { hasRoute(to: $0.candidate.endpoint.address) }
            if !reachable.isEmpty { candidates = reachable }
        }
        let outbound = route.domain.configuration.outbound
        if route.hop.transport == nil, outbound.transports.contains(.tls),
            let open = self.outbound.openConnection(
                to: route.hop.identity, of: route.domain.key, trust: self.outboundTrust(of: route.domain)),
            route.hop.mayTake(
                connectionTo: open.key.remote, mustBeSecure: route.demand.mustBeSecure,
                beside: candidates.map(\.candidate))
        {
            // SIPS-15: a peer that has proved its name is spoken to over the connection that there is.
            let candidate = Candidate(
                transport: .tls, endpoint: open.key.remote, serverName: open.key.serverName,
                identity: route.hop.identity, group: -1)
            candidates.insert(JudgedCandidate(candidate: candidate, verifies: true, override: nil), at: 0)
        }
        return CandidateWalk(
            worker: self, domain: route.domain, candidates: self.outbound.ordered(candidates, now: self.now))
    }

    func forbids(_ endpoint: Endpoint, _ domain: DomainRuntime) -> String? { self.snapshot.forbids(endpoint, domain) }

    // MARK: Look-ups

    /// Runs one resolution.
    func lookUp(
        _ hop: NextHop, _ rules: ResolutionRules, _ done: @escaping (Result<[Candidate], ResolutionFailure>) -> Void
    ) {
        var resolution = Resolution(hop, rules: rules)
        switch resolution.begin() {
        case .located(let candidates): return done(.success(candidates))
        case .failed(let failure): return done(.failure(failure))
        case .wait: return done(.failure(ResolutionFailure(.tooMany)))
        case .ask(let questions):
            let limit = self.snapshot.configuration.edge.limits.lookups
            guard self.shared.lookups.load(ordering: .relaxed) < limit else {
                self.metrics.limitHit(self.shared.metrics.noDomain, .lookups)
                return done(.failure(ResolutionFailure(.dnsFailed(.overloaded))))
            }
            self.shared.lookups.wrappingAdd(1, ordering: .relaxed)
            Lookup(self, resolution, done).ask(questions)
        }
    }
}

/// One resolution under way.
private final class Lookup {
    private let worker: Worker
    private var resolution: Resolution
    private var done: ((Result<[Candidate], ResolutionFailure>) -> Void)?
    /// Questions whose answer is still to be fed.
    private var waiting: [DNSQuestion] = []
    private var isFeeding = false

    init(
        _ worker: Worker, _ resolution: Resolution, _ done: @escaping (Result<[Candidate], ResolutionFailure>) -> Void
    ) {
        self.worker = worker
        self.resolution = resolution
        self.done = done
    }

    /// What is in the cache is answered at once; a loop and not a recursion, however long the chain.
    func ask(_ questions: [DNSQuestion]) {
        self.waiting += questions
        guard !self.isFeeding else { return }
        self.isFeeding = true
        while let question = self.waiting.popLast(), self.done != nil {
            guard let answer = self.worker.shared.dns.cachedAnswer(to: question) else {
                self.query(question)
                continue
            }
            self.feed(answer)
        }
        self.isFeeding = false
    }

    private func query(_ question: DNSQuestion) {
        let loop = self.worker.eventLoop
        self.worker.shared.dns.query(question, on: loop).assumeIsolated().whenSuccess { answer in self.feed(answer) }
    }

    private func feed(_ answer: DNSAnswer) {
        guard let done = self.done else { return }
        switch self.resolution.receive(answer, using: &self.worker.generator) {
        case .ask(let questions):
            self.ask(questions)
        case .wait:
            break
        case .located(let candidates):
            self.end()
            done(.success(candidates))
        case .failed(let failure):
            self.end()
            done(.failure(failure))
        }
    }

    private func end() {
        self.done = nil
        self.worker.shared.lookups.wrappingSubtract(1, ordering: .relaxed)
    }
}
