import GatehousePolicy
import SIPMessage

/// One leg to be judged.
struct Leg {
    var arrival = Arrival.sips
    var protect = SecuritySettings.Protect.sips
    var isSIPS = false
    var isRegisteredContact = false
    var secure: [Candidate] = []
    var any: [Candidate] = []
    var host = "a.legacy.example"
    var overrides: [SecurityOverride] = []
    var verify = true
    var today = day("2027-03-31")
    var failure: ResolutionFailure?

    var verdict: SecurityVerdict {
        SecurityVerdict.judge(
            SecurityDemand(
                isSIPS: self.isSIPS, arrival: self.arrival, protect: self.protect,
                isRegisteredContact: self.isRegisteredContact),
            secure: self.secure, any: self.any, host: self.host,
            settings: SecuritySettings(protect: self.protect, overrides: self.overrides),
            outbound: OutboundSettings(verify: self.verify), today: self.today, failure: self.failure)
    }

    /// `tls:192.0.2.1:5061 verified; tcp:192.0.2.1:5060 by 0`, or the refusal.
    var outcome: String {
        switch self.verdict {
        case .send(let judged):
            judged.map { judged in
                let by = judged.override.flatMap { self.overrides.firstIndex(of: $0) }.map { " by \($0)" } ?? ""
                return "\(judged.candidate)\(judged.verifies ? " verified" : "")\(by)"
            }.joined(separator: "; ")
        case .refuse(let refusal):
            "\(refusal.status) \(refusal.warning?.code ?? 0) \(refusal.warning?.text ?? "")"
        }
    }

    /// The same by another way: read off product and conformance pages, word by word, and slowly.
    var expected: String {
        let protected: Set<String> = ["sips sips", "sips tls", "sips all", "tls tls", "tls all", "plain all"]
        let isProtected = protected.contains("\(self.arrival) \(self.protect)")
        func entry(for candidate: Candidate) -> Int? {
            if self.isRegisteredContact { return nil }
            for (index, entry) in self.overrides.enumerated() {
                if let until = entry.until, self.today.description > until.description { continue }
                switch entry.to {
                case .host(let pattern):
                    let labels = self.host.split(separator: ".").map { $0.lowercased() }
                    let wanted = pattern.split(separator: ".").map(String.init)
                    let matches = zip(labels, wanted).allSatisfy { $0 == $1 || $1 == "*" }
                    if matches, labels.count == wanted.count { return index }
                case .network(let network):
                    let bits = { (address: IPAddress) in
                        (address.isIPv6 ? [address.high, address.low] : [address.low << 32])
                            .flatMap { word in (0..<64).map { word >> UInt64(63 - $0) & 1 } }
                    }
                    let address = candidate.endpoint.address
                    if address.isIPv6 == network.address.isIPv6,
                        bits(address).prefix(network.prefixLength) == bits(network.address).prefix(network.prefixLength)
                    {
                        return index
                    }
                }
            }
            return nil
        }
        var lines: [String] = []
        let mustBeSecure = self.isSIPS || isProtected
        for candidate in mustBeSecure ? self.secure.filter({ $0.transport == .tls }) : self.any {
            let index = entry(for: candidate).flatMap { self.overrides[$0].allow == .unverified ? $0 : nil }
            let isTLS = candidate.transport == .tls
            if !isTLS || (!mustBeSecure && !self.verify) {
                lines.append("\(candidate)")
            } else {
                lines.append(index.map { "\(candidate) by \($0)" } ?? "\(candidate) verified")
            }
        }
        if mustBeSecure {
            for candidate in self.any where candidate.transport != .tls {
                guard let index = entry(for: candidate), self.overrides[index].allow == .insecure else { continue }
                lines.append("\(candidate) by \(index)")
            }
        }
        if !lines.isEmpty { return lines.joined(separator: "; ") }
        if !mustBeSecure { return "500 399 the next hop has no address" }
        if self.isSIPS { return "480 380 SIPS Not Allowed" }
        let why = self.any.contains { $0.transport != .tls } ? "the next hop offers no TLS" : "there is no secure way"
        return "403 399 insecure leg refused: \(why)"
    }
}

func day(_ text: String) -> CalendarDate {
    let parts = text.split(separator: "-").compactMap { Int($0) }
    guard let date = CalendarDate(year: parts[0], month: parts[1], day: parts[2]) else { preconditionFailure(text) }
    return date
}

func ipAddress(_ text: String) -> IPAddress {
    guard let address = IPAddress(text) else { preconditionFailure(text) }
    return address
}

func way(_ transport: Transport, _ host: String, group: Int = 0) -> Candidate {
    Candidate(
        transport: transport, endpoint: Endpoint(address: ipAddress(host), port: transport.defaultPort),
        serverName: "a.legacy.example", identity: .domain("a.legacy.example"), group: group)
}

func override(
    _ to: String, _ allow: SecurityOverride.Allowance, until: String? = nil
) -> SecurityOverride {
    let parts = to.split(separator: "/")
    let destination: SecurityOverride.Destination =
        parts.count == 2
        ? .network(Network(address: ipAddress(String(parts[0])), prefixLength: Int(parts[1]) ?? 0)) : .host(to)
    return SecurityOverride(to: destination, allow: allow, reason: "\(to) \(allow)", until: until.map { day($0) })
}
