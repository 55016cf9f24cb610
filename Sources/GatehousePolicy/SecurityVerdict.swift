public import SIPMessage

/// A candidate that a leg may use, and on what terms.
public struct JudgedCandidate: Hashable, Sendable {
    public var candidate: Candidate
    /// Whether the peer's certificate must verify for `candidate.identity`; false on TCP and UDP.
    public var verifies: Bool
    /// The entry that let a candidate in which is not secure, or may go unverified.
    public var override: SecurityOverride?

    public init(candidate: Candidate, verifies: Bool, override: SecurityOverride? = nil) {
        self.candidate = candidate
        self.verifies = verifies
        self.override = override
    }
}

/// Whether a leg may be opened, and over which candidates: the one place that lets a session onto a leg.
public enum SecurityVerdict: Equatable, Sendable {
    /// In this order; at least one.
    case send([JudgedCandidate])
    case refuse(Refusal)

    /// Judges a leg.
    ///
    /// A leg that must be secure uses TLS to a verified peer alone. Of `security.overrides` the first entry that matches
    /// counts: `insecure` adds TCP and UDP after the secure candidates, `unverified` lets a TLS peer go unverified.
    /// `outbound.verify: false` alone does not. A leg that may be anything uses what was found, and verifies TLS peers
    /// unless `outbound.verify` or an `unverified` entry says otherwise.
    ///
    /// - Parameters:
    ///   - secure: found with `isSecureOnly`; not looked at where nothing has to be secure.
    ///   - any: found without it; empty where it was not asked for, as ``mayOverride(_:host:settings:today:)`` allows.
    ///   - host: the next hop before any DNS look-up: `NextHop.target`.
    ///   - today: in UTC.
    ///   - failure: why `secure`, or `any` where nothing has to be secure, is empty.
    public static func judge(
        _ demand: SecurityDemand, secure: [Candidate], any: [Candidate], host: String, settings: SecuritySettings,
        outbound: OutboundSettings, today: CalendarDate, failure: ResolutionFailure? = nil
    ) -> SecurityVerdict {
        let overrides = demand.isRegisteredContact ? [] : settings.overrides.filter { $0.holds(on: today) }
        let match = { (candidate: Candidate) in
            overrides.first { $0.matches(host: host) || $0.matches(candidate.endpoint.address) }
        }
        guard demand.mustBeSecure else {
            let judged = any.map { candidate in
                let isTLS = candidate.transport == .tls
                let override = isTLS && outbound.verify ? match(candidate).flatMap { $0.unverified } : nil
                return JudgedCandidate(
                    candidate: candidate, verifies: isTLS && outbound.verify && override == nil, override: override)
            }
            return judged.isEmpty ? .refuse(.unreachable(failure)) : .send(judged)
        }
        var judged: [JudgedCandidate] = []
        for candidate in secure where candidate.transport == .tls {
            let override = match(candidate).flatMap { $0.unverified }
            judged.append(JudgedCandidate(candidate: candidate, verifies: override == nil, override: override))
        }
        let firstGroup = (judged.map(\.candidate.group).max() ?? -1) &+ 1
        for var candidate in any where candidate.transport != .tls {
            guard let override = match(candidate), override.allow == .insecure else { continue }
            candidate.group = firstGroup &+ candidate.group
            judged.append(JudgedCandidate(candidate: candidate, verifies: false, override: override))
        }
        guard judged.isEmpty else { return .send(judged) }
        return .refuse(.insecure(demand, hasInsecureWay: any.contains { $0.transport != .tls }, failure))
    }

    /// Whether a leg that must be secure could match an `insecure` override, so that its hop is worth resolving without
    /// `isSecureOnly` too.
    public static func mayOverride(
        _ demand: SecurityDemand, host: String, settings: SecuritySettings, today: CalendarDate
    ) -> Bool {
        guard demand.mustBeSecure, !demand.isRegisteredContact else { return false }
        for override in settings.overrides where override.holds(on: today) {
            switch override.to {
            case .host:
                // It matches whatever the addresses are, so nothing after it counts.
                if override.matches(host: host) { return override.allow == .insecure }
            case .network:
                if override.allow == .insecure { return true }
            }
        }
        return false
    }
}

extension SecurityOverride {
    public func matches(_ address: IPAddress) -> Bool {
        guard case .network(let network) = self.to else { return false }
        return network.contains(address)
    }

    fileprivate var unverified: SecurityOverride? { self.allow == .unverified ? self : nil }
}

extension Refusal {
    /// A leg that must be secure has no candidate. 480 with Warning 380 and 403 say that no secure way exists; where one
    /// may exist and could not be found, it is 500 (SIPS-20).
    fileprivate static func insecure(
        _ demand: SecurityDemand, hasInsecureWay: Bool, _ failure: ResolutionFailure?
    ) -> Refusal {
        if let failure, !hasInsecureWay, !failure.isForWantOfSecurity { return .unreachable(failure) }
        if demand.isSIPS { return .sipsNotAllowed }
        let why =
            failure?.descriptionOfTLS ?? (hasInsecureWay ? "the next hop offers no TLS" : "there is no secure way")
        return Refusal(403, .noSecureWay, warning: "insecure leg refused: \(why)")
    }

    /// The next hop cannot be found (RFC 3261 §16.9, §16.7 item 6): 504 where the DNS took too long (§21.5.5), 503 where
    /// too many look-ups wait here already, else 500.
    fileprivate static func unreachable(_ failure: ResolutionFailure?) -> Refusal {
        let text = failure?.description ?? "the next hop has no address"
        let warning = Warning(code: 399, text: text)
        return switch failure?.cause {
        case .dnsTimedOut: Refusal(504, .nextHopUnknown, warning: warning)
        case .dnsFailed(.overloaded): Refusal(503, .nextHopUnknown, warning: warning, retryAfter: 1)
        default: Refusal(500, .nextHopUnknown, warning: warning)
        }
    }
}
