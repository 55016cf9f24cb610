import Foundation
import GatehousePolicy
import SIPMessage
import TestSupport
import Testing

@Suite("SecurityVerdict at random")
struct SecurityVerdictPropertyTests {
    /// As many as fit into the ordinary run; GATEHOUSE_VERDICT_CASES asks for more.
    private static let count =
        ProcessInfo.processInfo.environment["GATEHOUSE_VERDICT_CASES"].flatMap { Int($0) } ?? 100_000

    private static let hosts = ["a.legacy.example", "b.legacy.example", "legacy.example", "x.a.legacy.example", "far"]
    private static let addresses = ["192.0.2.1", "192.0.2.200", "198.51.100.1", "2001:db8::1", "fd00::7"].map {
        ipAddress($0)
    }
    private static let destinations = [
        "a.legacy.example", "*.legacy.example", "*.example", "far", "192.0.2.0/24", "192.0.2.1/32", "0.0.0.0/0",
        "2001:db8::/32", "::/0", "198.51.100.0/30",
    ]
    private static let days = ["2027-03-30", "2027-03-31", "2027-04-01", "2026-12-31"].map { day($0) }

    @Test("SIPS-03: no leg that must be secure gets an insecure or unverified candidate without a matching override")
    func protectedSessions() {
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        var sent = 0
        var exceptions = 0
        let pool = Self.destinations.flatMap { to in
            [nil, "2027-03-30", "2027-03-31"].flatMap { until in
                SecurityOverride.Allowance.allCases.map { override(to, $0, until: until) }
            }
        }
        func pick<T>(_ values: [T]) -> T { values[Int(generator.next() % UInt64(values.count))] }
        func candidates(of transports: [Transport]) -> [Candidate] {
            (0..<generator.next() % 4).map { group in
                Candidate(
                    transport: pick(transports), endpoint: Endpoint(address: pick(Self.addresses), port: 5060),
                    serverName: nil, identity: .domain("far"), group: Int(group))
            }
        }
        for _ in 0..<Self.count {
            var leg = Leg(arrival: pick(Arrival.allCases), protect: pick(SecuritySettings.Protect.allCases))
            let bits = generator.next()
            leg.isSIPS = bits & 1 != 0
            leg.isRegisteredContact = bits & 6 == 6
            leg.verify = bits & 8 != 0
            leg.secure = candidates(of: bits & 16 == 0 ? [.tls] : [.tls, .tcp, .udp])  // also where the caller errs
            leg.any = candidates(of: [.tls, .tcp, .udp])
            leg.host = pick(Self.hosts)
            leg.today = pick(Self.days)
            leg.overrides = (0..<generator.next() % 4).map { _ in pick(pool) }
            guard case .send(let judged) = leg.verdict else { continue }
            sent += 1
            let isProtected =
                leg.isSIPS || leg.protect == .all || leg.arrival == .sips
                || leg.protect == .tls && leg.arrival == .tls
            guard isProtected else { continue }
            for entry in judged {
                if entry.candidate.transport == .tls, entry.verifies {
                    if entry.override != nil { Issue.record("an override without need; seed \(seed)") }
                    continue
                }
                exceptions += 1
                let isJustified =
                    entry.override.map { override in
                        !leg.isRegisteredContact && leg.overrides.contains(override)
                            && (override.until ?? leg.today) >= leg.today
                            && override.allow == (entry.candidate.transport == .tls ? .unverified : .insecure)
                            && Self.leads(override, leg.host, entry.candidate.endpoint.address)
                    } ?? false
                if !isJustified { Issue.record("\(entry) for \(leg); seed \(seed)") }
            }
        }
        #expect(sent > Self.count / 4 && exceptions > Self.count / 40, "the walk shall get somewhere; seed \(seed)")
    }

    private static func leads(_ override: SecurityOverride, _ host: String, _ address: IPAddress) -> Bool {
        switch override.to {
        case .host("*.legacy.example"): ["a.legacy.example", "b.legacy.example"].contains(host)
        case .host("*.example"): host == "legacy.example"
        case .host(let name): host == name
        case .network(let network):
            address.isIPv6 == network.address.isIPv6
                && (network.prefixLength == 0 || network.address == address
                    || network.prefixLength == 24 && address.low >> 8 == network.address.low >> 8
                    || network.address.isIPv6 && address.high >> 32 == 0x2001_0DB8
                    || network.prefixLength == 30 && address.low == 0xC633_6401)
        }
    }
}
