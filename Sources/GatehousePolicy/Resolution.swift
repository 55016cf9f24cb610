internal import SIPMessage

/// Locates a next hop: RFC 3263 §4, with the choices that it leaves.
///
/// Its owner asks the questions that each step names, at once, and gives the answers back in any order:
///
///     ready ──name──▶ pointers ──NAPTR──▶ services ──SRV──▶ hosts ──A, AAAA──▶ ended
///       ├──transport──────────────────────▲                  ▲                  ▲
///       ├──port──────────────────────────────────────────────┘                  │
///       └──address───────────────────────────────────────────────────────────────┘
///
/// What the RFC leaves open:
/// - A NAPTR question that times out or that the server fails leads on to SRV: there are servers and firewalls that know
///   no NAPTR, and a call shall not die of them. A zone whose SRV questions fail too is given up, so that a dead one costs
///   two time-outs and no more. An SRV question that failed says nothing about the domain, so no address is guessed at.
/// - NXDOMAIN ends it, for nothing lies below a name that does not exist (RFC 8020).
/// - Only NAPTR records of one order count (RFC 3403 §4.1), those of the others are not even for failover.
/// - Where a domain lists services and none can be used, SRV is asked still (many zones list fewer than they have), but no
///   address is guessed at.
/// - Without NAPTR, UDP is used where no reliable transport has an SRV record, or where the operator prefers it.
public struct Resolution: Sendable {
    public enum Step: Equatable, Sendable {
        /// Questions to ask now, in parallel; each needs its answer.
        case ask([DNSQuestion])
        /// Answers are missing still; or the answer was to no question of ours.
        case wait
        /// The end: at least one.
        case located([Candidate])
        case failed(ResolutionFailure)
    }

    /// A way that leads to hosts.
    enum Lead: Hashable, Sendable {
        case service(Transport, DNSName)
        case host(HostLead)

        var transport: Transport {
            switch self {
            case .service(let transport, _): transport
            case .host(let host): host.transport
            }
        }
    }

    /// A host whose addresses are candidates.
    struct HostLead: Hashable, Sendable {
        var transport: Transport
        var host: DNSName
        var port: UInt16
    }

    /// What follows where no SRV record was found.
    enum Fallback: Sendable {
        /// Addresses of the target itself.
        case addresses(Transport)
        case nowhere(ResolutionFailure)
    }

    private enum Stage: Sendable {
        case ready
        case pointers
        /// `isListed`: they come from NAPTR records, so their order is the domain's and not ours.
        case services([Lead], isListed: Bool, Fallback)
        case hosts([HostLead])
        case ended
    }

    let hop: NextHop
    let rules: ResolutionRules
    private let isTraced: Bool
    private var stage = Stage.ready
    private var pending: Set<DNSQuestion> = []
    private(set) var answers: [DNSQuestion: DNSAnswer] = [:]
    private var questionCount = 0
    /// Rule applied, answer, what was discarded and why; empty unless `isTraced`.
    public private(set) var trace: [ResolutionStep] = []

    public init(_ hop: NextHop, rules: ResolutionRules, isTraced: Bool = false) {
        self.hop = hop
        self.rules = rules
        self.isTraced = isTraced
    }

    /// The first step; `wait` if it was taken already.
    public mutating func begin() -> Step {
        guard case .ready = self.stage else { return .wait }
        do throws(ResolutionFailure) {
            return try self.start()
        } catch {
            return self.fail(error)
        }
    }

    /// Takes an answer; one to a question that is not open changes nothing.
    ///
    /// - Parameter generator: decides among SRV records of equal priority.
    public mutating func receive(_ answer: DNSAnswer, using generator: inout some RandomNumberGenerator) -> Step {
        guard self.pending.remove(answer.question) != nil else { return .wait }
        self.answers[answer.question] = answer
        self.note(.answer(answer))
        guard self.pending.isEmpty else { return .wait }
        do throws(ResolutionFailure) {
            return try self.advance(using: &generator)
        } catch {
            return self.fail(error)
        }
    }

    mutating func note(_ step: @autoclosure () -> ResolutionStep) {
        if self.isTraced { self.trace.append(step()) }
    }

    private mutating func fail(_ failure: ResolutionFailure) -> Step {
        self.stage = .ended
        self.pending = []
        return .failed(failure)
    }

    // MARK: Stages

    private mutating func start() throws(ResolutionFailure) -> Step {
        let choice = try self.transportChoice()
        switch self.hop.target {
        case .address(let address):
            let transport = choice.explicit ?? choice.fallback
            let port = self.hop.port ?? transport.defaultPort
            self.note(.rule(.numericHost(transport, port: port)))
            guard address.isReachable else { throw ResolutionFailure(.noUsableRecord) }
            guard self.rules.families.contains(address) else { throw ResolutionFailure(.unreachableFamily) }
            self.stage = .ended
            return .located([self.candidate(transport, Endpoint(address: address, port: port), group: 0)])
        case .name(let name):
            if let port = self.hop.port {
                let transport = choice.explicit ?? choice.fallback
                self.note(.rule(.explicitPort(transport, port: port)))
                return try self.ask(forHosts: [HostLead(transport: transport, host: name, port: port)])
            }
            if let transport = choice.explicit {
                self.note(.rule(.explicitTransport(transport)))
                return try self.ask(
                    forServices: self.serviceLeads(of: name, [transport]), isListed: false, .addresses(transport))
            }
            self.note(.rule(.pointersFirst))
            self.stage = .pointers
            return try self.ask([DNSQuestion(name, .naptr)])
        }
    }

    /// All open questions are answered.
    private mutating func advance(using generator: inout some RandomNumberGenerator) throws(ResolutionFailure) -> Step {
        switch self.stage {
        case .ready, .ended:
            return .wait
        case .pointers:
            return try self.readPointers()
        case .services(let leads, let isListed, let fallback):
            let hosts = try self.hosts(behind: leads, isListed: isListed, fallback, using: &generator)
            return try self.ask(forHosts: hosts)
        case .hosts(let hosts):
            let candidates = try self.candidates(at: hosts)
            self.stage = .ended
            return .located(candidates)
        }
    }

    private mutating func readPointers() throws(ResolutionFailure) -> Step {
        guard case .name(let name) = self.hop.target else { throw ResolutionFailure(.noUsableRecord) }
        let question = DNSQuestion(name, .naptr)
        let choice = try self.transportChoice()
        var fallback = Fallback.addresses(choice.fallback)
        switch self.answers[question]?.outcome {
        case .pointers(let pointers):
            switch self.leads(of: pointers, choice.transports) {
            case .leads(let first, let others):
                return try self.ask(
                    forServices: [first] + others, isListed: true, .addresses(first.transport))
            case .unusable(let cause):
                fallback = .nowhere(ResolutionFailure(cause, question))
            case .unrelated:
                break
            }
        case .noSuchName:
            throw ResolutionFailure(.noSuchName, question)
        case .failed(let failure) where failure.isOurs:
            throw ResolutionFailure(failure, question)
        case .noData, .failed, .addresses, .services, nil:
            break
        }
        self.note(.rule(.servicesOf(choice.transports)))
        return try self.ask(
            forServices: self.serviceLeads(of: name, choice.transports), isListed: false, fallback)
    }

    private mutating func ask(
        forServices leads: [Lead], isListed: Bool, _ fallback: Fallback
    ) throws(ResolutionFailure) -> Step {
        var questions: [DNSQuestion] = []
        var hosts: [HostLead] = []
        for lead in leads {
            switch lead {
            case .service(_, let name):  // two transports may share a name
                let question = DNSQuestion(name, .srv)
                if !questions.contains(question) { questions.append(question) }
            case .host(let host): hosts.append(host)
            }
        }
        guard !questions.isEmpty else {
            return try self.ask(forHosts: hosts.isEmpty ? self.hosts(of: fallback) : hosts)
        }
        self.stage = .services(leads, isListed: isListed, fallback)
        return try self.ask(questions)
    }

    /// Keeps of the hosts as many as the limits allow, the first ones.
    private mutating func ask(forHosts hosts: [HostLead]) throws(ResolutionFailure) -> Step {
        guard !self.rules.families.isDisjoint(with: .both) else { throw ResolutionFailure(.unreachableFamily) }
        var questions: [DNSQuestion] = []
        var kept: [HostLead] = []
        for host in hosts {
            let new = self.addressQuestions(of: host.host).filter { !questions.contains($0) }
            let isDuplicate = kept.contains(host)
            let isWithinLimits =
                kept.count < self.rules.candidateLimit
                && self.questionCount + questions.count + new.count <= self.rules.questionLimit
            guard isWithinLimits, !isDuplicate else {
                self.note(
                    .discarded(
                        .host(host.host, host.transport, port: host.port),
                        because: isDuplicate ? .duplicate : .overLimit))
                continue
            }
            kept.append(host)
            questions += new
        }
        self.stage = .hosts(kept)
        return try self.ask(questions)
    }

    private mutating func ask(_ questions: [DNSQuestion]) throws(ResolutionFailure) -> Step {
        guard !questions.isEmpty, self.questionCount + questions.count <= self.rules.questionLimit else {
            throw ResolutionFailure(.tooMany, questions.first)
        }
        self.questionCount += questions.count
        self.pending = Set(questions)
        return .ask(questions)
    }
}
