public import SIPMessage

/// A step on the way to the candidates, for those who ask why.
public enum ResolutionStep: Equatable, Sendable, CustomStringConvertible {
    case rule(Rule)
    case answer(DNSAnswer)
    case discarded(Discarded, because: Reason)

    /// What settled how to go on.
    public enum Rule: Hashable, Sendable {
        /// RFC 3263 §4.1, §4.2: no question is asked.
        case numericHost(Transport, port: UInt16)
        /// RFC 3263 §4.1, §4.2: a port in the URI means that addresses alone are asked for.
        case explicitPort(Transport, port: UInt16)
        /// RFC 3263 §4.1: a transport in the URI means that there is no NAPTR question.
        case explicitTransport(Transport)
        /// RFC 3263 §4.1.
        case pointersFirst
        /// RFC 3263 §4.1: of the lowest order that holds a supported service, by preference.
        case pointersOfOrder(UInt16)
        /// RFC 3263 §4.1: for each transport that may be used, in this order.
        case servicesOf([Transport])
        /// RFC 3263 §4.2: no SRV record, so the addresses of the name itself.
        case addressesOfTarget(Transport, port: UInt16)
    }

    public enum Discarded: Hashable, Sendable {
        case pointer(DNSPointer)
        case service(DNSService, of: DNSName)
        case address(IPAddress, of: DNSName)
        case transport(Transport)
        case host(DNSName, Transport, port: UInt16)
    }

    public enum Reason: String, Hashable, Sendable {
        case unknownService = "not a service of ours"
        case notSecure = "only TLS may be used"
        case forbiddenTransport = "outbound.transports leaves it out"
        case hasExpression = "it has a regular expression or no replacement"
        case unknownFlags = "its flags are neither s nor a"
        case higherOrder = "a lower order holds a supported service"
        case notOffered = "the domain says that it does not offer the service"
        case noPort = "its port is 0"
        case unreachableFamily = "this host has no way to its family"
        case unusableAddress = "no host can have this address"
        case lastResort = "UDP is the last resort, and a reliable transport is offered"
        case duplicate = "it is in the list already"
        case overLimit = "the limit is reached"
    }

    public var description: String {
        switch self {
        case .rule(let rule): rule.description
        case .answer(let answer): answer.description
        case .discarded(let what, let reason): "discarded \(what): \(reason.rawValue)"
        }
    }
}

extension ResolutionStep.Rule: CustomStringConvertible {
    public var description: String {
        switch self {
        case .numericHost(let transport, let port):
            "the host is an address: \(transport) to port \(port) without any question (RFC 3263 §4.1)"
        case .explicitPort(let transport, let port):
            "the URI has a port: \(transport) to port \(port), addresses alone (RFC 3263 §4.2)"
        case .explicitTransport(let transport):
            "the URI settles the transport: SRV for \(transport) (RFC 3263 §4.1)"
        case .pointersFirst: "neither port nor transport: NAPTR first (RFC 3263 §4.1)"
        case .pointersOfOrder(let order): "NAPTR order \(order) is the lowest with a supported service (RFC 3403 §4.1)"
        case .servicesOf(let transports):
            "no NAPTR record to follow: SRV for \(transports.map { "\($0)" }.joined(separator: ", ")) (RFC 3263 §4.1)"
        case .addressesOfTarget(let transport, let port):
            "no SRV record: \(transport) to port \(port) of the name itself (RFC 3263 §4.2)"
        }
    }
}

extension ResolutionStep.Discarded: CustomStringConvertible {
    public var description: String {
        switch self {
        case .pointer(let pointer): "NAPTR \(pointer)"
        case .service(let service, let name): "SRV \(service) of \(name)"
        case .address(let address, let name): "\(address) of \(name)"
        case .transport(let transport): "\(transport)"
        case .host(let name, let transport, let port): "\(transport) to port \(port) of \(name)"
        }
    }
}

extension DNSAnswer: CustomStringConvertible {
    /// `SRV _sips._tcp.far.example → 10 20 5061 host.far.example (300 s)`.
    public var description: String {
        "\(self.question) → \(self.records.joined(separator: ", ")) (\(self.timeToLive.components.seconds) s)"
    }

    /// Each record as a zone file has it; or the one phrase that says why there is none.
    public var records: [String] {
        switch self.outcome {
        case .addresses(let addresses): addresses.map(\.description)
        case .services(let services): services.map(\.description)
        case .pointers(let pointers): pointers.map(\.description)
        case .noData: ["no record"]
        case .noSuchName: ["the name does not exist"]
        case .failed(let failure): [failure.description]
        }
    }
}

extension DNSService: CustomStringConvertible {
    /// As a zone file has it: `10 20 5061 host.far.example`.
    public var description: String {
        "\(self.priority) \(self.weight) \(self.port) \(self.target?.text ?? ".")"
    }
}

extension DNSPointer: CustomStringConvertible {
    /// As a zone file has it: `10 20 "s" "SIPS+D2T" "" _sips._tcp.far.example`.
    public var description: String {
        let texts = [self.flags, self.service, self.expression].map { "\"\($0)\"" }.joined(separator: " ")
        return "\(self.order) \(self.preference) \(texts) \(self.replacement?.text ?? ".")"
    }
}
