internal import SIPMessage

// What the answers mean: from NAPTR records to services, from SRV records to hosts, from addresses to candidates.

extension Resolution {
    /// The transports that the URI and the rules leave.
    struct TransportChoice {
        /// What the URI settles.
        var explicit: Transport?
        /// In order of preference; at least one.
        var transports: [Transport]
        /// Used where neither the URI nor the DNS says more: UDP (RFC 3263 §4.1), unless it is left out.
        var fallback: Transport
    }

    /// What NAPTR records say.
    enum PointerReading {
        case leads(Lead, then: [Lead])
        /// They list SIP services, and none that may be used.
        case unusable(ResolutionFailure.Cause)
        /// They are about other things than SIP.
        case unrelated
    }

    /// Services of one NAPTR order that are followed.
    private static let leadLimit = 8

    private var isSecure: Bool { self.hop.isSIPS || self.rules.isSecureOnly }

    func transportChoice() throws(ResolutionFailure) -> TransportChoice {
        let explicit: Transport? =
            switch self.hop.transport {
            case nil: nil
            case .other: throw ResolutionFailure(.unsupportedTransport)
            case .udp: .udp
            case .tcp: self.hop.isSIPS ? .tls : .tcp  // TLS over TCP (RFC 3261 §26.2.2)
            case .tls: .tls
            }
        if let explicit {
            guard !self.isSecure || explicit == .tls else { throw ResolutionFailure(.insecureTransport(explicit)) }
            guard self.rules.transports.contains(explicit) else {
                throw ResolutionFailure(.forbiddenTransport(explicit))
            }
            return TransportChoice(explicit: explicit, transports: [explicit], fallback: explicit)
        }
        var transports: [Transport] = []
        for transport in self.rules.transports where !self.isSecure || transport == .tls {
            if !transports.contains(transport) { transports.append(transport) }
        }
        guard let fallback = [Transport.udp, .tcp, .tls].first(where: transports.contains) else {
            throw ResolutionFailure(.forbiddenTransport(self.isSecure ? .tls : .udp))
        }
        return TransportChoice(explicit: nil, transports: transports, fallback: fallback)
    }

    /// The SRV names of RFC 3263 §4.2, one a transport; without those that would be too long for a name.
    func serviceLeads(of name: DNSName, _ transports: [Transport]) -> [Lead] {
        transports.compactMap { transport in
            let prefix =
                switch transport {
                case .udp: "_sip._udp"
                case .tcp: "_sip._tcp"
                case .tls: "_sips._tcp"
                }
            return DNSName("\(prefix).\(name)").map { .service(transport, $0) }
        }
    }

    // MARK: NAPTR

    /// The services of the lowest order that holds a supported one, by preference, then by our own.
    mutating func leads(of pointers: [DNSPointer], _ transports: [Transport]) -> PointerReading {
        var usable: [(pointer: DNSPointer, lead: Lead)] = []
        var isAboutSIP = false
        var wouldBeInsecure = false
        var forbidden: Transport?
        for pointer in pointers {
            isAboutSIP = isAboutSIP || pointer.service.hasPrefix("SIP+") || pointer.service.hasPrefix("SIPS+")
            switch self.lead(of: pointer, transports) {
            case .success(let lead):
                usable.append((pointer, lead))
            case .failure(let unusable):
                wouldBeInsecure = wouldBeInsecure || unusable.reason == .notSecure
                if unusable.reason == .forbiddenTransport { forbidden = unusable.transport }
                self.note(.discarded(.pointer(pointer), because: unusable.reason))
            }
        }
        guard let order = usable.map(\.pointer.order).min() else {
            guard isAboutSIP else { return .unrelated }
            if wouldBeInsecure { return .unusable(.noSecureWay) }
            return .unusable(forbidden.map { .forbiddenTransport($0) } ?? .noUsableRecord)
        }
        self.note(.rule(.pointersOfOrder(order)))
        for (pointer, _) in usable where pointer.order != order {
            self.note(.discarded(.pointer(pointer), because: .higherOrder))
        }
        let rank = { (entry: (pointer: DNSPointer, lead: Lead)) in
            (entry.pointer.preference, transports.firstIndex(of: entry.lead.transport) ?? transports.endIndex)
        }
        var leads: [Lead] = []
        for (pointer, lead) in usable.filter({ $0.pointer.order == order }).sorted(by: { rank($0) < rank($1) }) {
            let isDuplicate = leads.contains(lead)
            if !isDuplicate, leads.count < Self.leadLimit {
                leads.append(lead)
            } else {
                self.note(.discarded(.pointer(pointer), because: isDuplicate ? .duplicate : .overLimit))
            }
        }
        guard let first = leads.first else { return .unrelated }
        return .leads(first, then: Array(leads.dropFirst()))
    }

    private struct UnusablePointer: Error {
        var reason: ResolutionStep.Reason
        var transport: Transport?
    }

    private func lead(of pointer: DNSPointer, _ transports: [Transport]) -> Result<Lead, UnusablePointer> {
        let transport: Transport
        switch pointer.service {
        case "SIPS+D2T": transport = .tls
        case "SIP+D2T": transport = .tcp
        case "SIP+D2U": transport = .udp
        default: return .failure(UnusablePointer(reason: .unknownService))
        }
        guard pointer.expression.isEmpty, let name = pointer.replacement else {
            return .failure(UnusablePointer(reason: .hasExpression))
        }
        guard pointer.flags == "s" || pointer.flags == "a" else {
            return .failure(UnusablePointer(reason: .unknownFlags))
        }
        guard !self.isSecure || transport == .tls else {
            return .failure(UnusablePointer(reason: .notSecure, transport: transport))
        }
        guard transports.contains(transport) else {
            return .failure(UnusablePointer(reason: .forbiddenTransport, transport: transport))
        }
        guard pointer.flags == "a" else { return .success(.service(transport, name)) }
        return .success(.host(HostLead(transport: transport, host: name, port: transport.defaultPort)))
    }

    // MARK: SRV

    /// The hosts that the services' answers lead to, in the order in which they are to be tried.
    mutating func hosts(
        behind leads: [Lead], isListed: Bool, _ fallback: Fallback, using generator: inout some RandomNumberGenerator
    ) throws(ResolutionFailure) -> [HostLead] {
        var hosts: [HostLead] = []
        var failure: ResolutionFailure?
        var unusable: ResolutionFailure?
        var hasReliable = false
        for lead in leads {
            guard case .service(let transport, let name) = lead else {
                if case .host(let host) = lead { hosts.append(host) }
                continue
            }
            let question = DNSQuestion(name, .srv)
            switch self.answers[question]?.outcome {
            case .services(let services):
                if !isListed, transport == .udp, hasReliable {
                    self.note(.discarded(.transport(.udp), because: .lastResort))
                    continue
                }
                let found = self.hosts(of: services, transport, name, using: &generator)
                hasReliable = hasReliable || transport.isReliable && !found.isEmpty
                hosts += found
                guard found.isEmpty, unusable == nil else { continue }
                let isAbsent = services.allSatisfy { $0.target == nil }
                unusable = ResolutionFailure(isAbsent ? .serviceAbsent : .noUsableRecord, question)
            case .failed(let reason):
                failure = failure ?? ResolutionFailure(reason, question)
            case .noData, .noSuchName, .addresses, .pointers, nil:
                continue
            }
        }
        if !hosts.isEmpty { return hosts }
        if let failure = failure ?? unusable { throw failure }
        return try self.hosts(of: fallback)
    }

    /// Where no service leads to a host.
    mutating func hosts(of fallback: Fallback) throws(ResolutionFailure) -> [HostLead] {
        switch fallback {
        case .nowhere(let failure):
            throw failure
        case .addresses(let transport):
            guard case .name(let name) = self.hop.target else { throw ResolutionFailure(.noUsableRecord) }
            self.note(.rule(.addressesOfTarget(transport, port: transport.defaultPort)))
            return [HostLead(transport: transport, host: name, port: transport.defaultPort)]
        }
    }

    private mutating func hosts(
        of services: [DNSService], _ transport: Transport, _ name: DNSName,
        using generator: inout some RandomNumberGenerator
    ) -> [HostLead] {
        ServiceOrder.order(services, using: &generator).compactMap { service in
            guard let host = service.target, service.port != 0 else {
                self.note(
                    .discarded(.service(service, of: name), because: service.target == nil ? .notOffered : .noPort))
                return nil
            }
            return HostLead(transport: transport, host: host, port: service.port)
        }
    }

    // MARK: A, AAAA

    func addressQuestions(of host: DNSName) -> [DNSQuestion] {
        var questions: [DNSQuestion] = []
        if self.rules.families.contains(.ipv4) { questions.append(DNSQuestion(host, .a)) }
        if self.rules.families.contains(.ipv6) { questions.append(DNSQuestion(host, .aaaa)) }
        return questions
    }

    /// The hosts' addresses, each host's by themselves (RFC 7984 §4).
    mutating func candidates(at hosts: [HostLead]) throws(ResolutionFailure) -> [Candidate] {
        var candidates: [Candidate] = []
        var group = 0
        var failure: ResolutionFailure?
        for host in hosts {
            let reading = self.addresses(of: host.host)
            failure = failure ?? reading.failure
            let countBefore = candidates.count
            for address in AddressOrder.order(reading.addresses) {
                let endpoint = Endpoint(address: address, port: host.port)
                let isDuplicate = candidates.contains { $0.transport == host.transport && $0.endpoint == endpoint }
                if !isDuplicate, candidates.count < self.rules.candidateLimit {
                    candidates.append(self.candidate(host.transport, endpoint, group: group))
                } else {
                    self.note(
                        .discarded(.address(address, of: host.host), because: isDuplicate ? .duplicate : .overLimit))
                }
            }
            if candidates.count > countBefore { group += 1 }
        }
        guard candidates.isEmpty else { return candidates }
        if let failure { throw failure }
        throw ResolutionFailure(.noUsableRecord, hosts.first.flatMap { self.addressQuestions(of: $0.host).first })
    }

    func candidate(_ transport: Transport, _ endpoint: Endpoint, group: Int) -> Candidate {
        Candidate(
            transport: transport, endpoint: endpoint, serverName: self.hop.serverName, identity: self.hop.identity,
            group: group)
    }

    /// A host's addresses of all families, as they came; and why there is none.
    private mutating func addresses(of host: DNSName) -> (addresses: [IPAddress], failure: ResolutionFailure?) {
        var addresses: [IPAddress] = []
        var failure: ResolutionFailure?
        for question in self.addressQuestions(of: host) {
            switch self.answers[question]?.outcome {
            case .addresses(let found):
                for address in found.map({ $0.asIPv4 ?? $0 }) {
                    guard address.isReachable else {
                        self.note(.discarded(.address(address, of: host), because: .unusableAddress))
                        continue
                    }
                    guard self.rules.families.contains(address) else {
                        self.note(.discarded(.address(address, of: host), because: .unreachableFamily))
                        continue
                    }
                    addresses.append(address)
                }
            case .failed(let reason): failure = failure ?? ResolutionFailure(reason, question)
            case .noSuchName: failure = failure ?? ResolutionFailure(.noSuchName, question)
            case .noData, .services, .pointers, nil: continue
            }
        }
        return (addresses, addresses.isEmpty ? failure : nil)
    }
}

extension DNSFailure {
    /// Whether the question was never asked, so that further ones would fail as well.
    var isOurs: Bool {
        switch self {
        case .overloaded, .shutDown: true
        case .timedOut, .unreachable, .serverFailed, .refused, .malformedReply: false
        }
    }
}
