import GatehousePolicy
import SIPMessage
import Testing

private func makeDistribution(_ method: DomainCoreSettings.Distribution, targets: Int) -> Distribution {
    let targets = (0..<targets).map { CoreTarget(transport: .udp, host: "10.0.0.\($0)", port: 5060) }
    return Distribution(DomainCoreSettings(targets: targets, distribution: method))
}

private let now = ContinuousClock.now

extension Distribution {
    fileprivate mutating func order(_ callID: String = "1", at time: ContinuousClock.Instant = now) -> [Int] {
        let bytes = Array(callID.utf8)
        return Array(self.order(callID: ByteRange(0, bytes.count), in: bytes, now: time))
    }
}

@Test("failover: the targets in the order of the configuration, the healthy ones alone")
func failover() {
    var distribution = makeDistribution(.failover, targets: 3)
    #expect(distribution.order() == [0, 1, 2])
    distribution.setHealthy(false, target: 0)
    #expect(distribution.order() == [1, 2])
    distribution.setHealthy(true, target: 0)
    distribution.setHealthy(false, target: 1)
    #expect(distribution.order() == [0, 2])
}

@Test("round_robin: each healthy target in its turn, then the others round")
func roundRobin() {
    var distribution = makeDistribution(.roundRobin, targets: 3)
    #expect((0..<4).map { _ in distribution.order() } == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]])
    distribution.setHealthy(false, target: 1)
    var counts = [0, 0, 0]
    for _ in 0..<100 { counts[distribution.order()[0]] += 1 }
    #expect(counts == [50, 0, 50])
}

@Test("call_id_hash: one Call-ID has one order, and Call-IDs spread evenly")
func callIDHash() {
    var distribution = makeDistribution(.callIDHash, targets: 4)
    var counts = [0, 0, 0, 0]
    for call in 0..<4000 {
        let order = distribution.order("call-\(call)@192.0.2.1")
        #expect(order == distribution.order("call-\(call)@192.0.2.1"))
        #expect(order.sorted() == [0, 1, 2, 3])
        counts[order[0]] += 1
    }
    for count in counts { #expect(850...1150 ~= count, "\(counts)") }
}

@Test("call_id_hash: when a target goes, only its calls move")
func callIDHashIsStable() {
    var distribution = makeDistribution(.callIDHash, targets: 4)
    let calls = (0..<500).map { "call-\($0)" }
    let before = calls.map { distribution.order($0) }
    distribution.setHealthy(false, target: 2)
    for (call, order) in zip(calls, before) { #expect(distribution.order(call) == order.filter { $0 != 2 }) }
}

@Test("call_id_hash: two edges agree, whatever the position of a target in their files")
func callIDHashIsShared() {
    let hosts = ["10.0.0.1", "10.0.0.2", "pbx.example"]
    func choose(_ hosts: [String], _ call: String) -> String {
        let targets = hosts.map { CoreTarget(transport: .tcp, host: $0, port: 5060) }
        var distribution = Distribution(DomainCoreSettings(targets: targets, distribution: .callIDHash))
        return hosts[distribution.order(call)[0]]
    }
    for call in 0..<50 { #expect(choose(hosts, "\(call)") == choose(hosts.reversed(), "\(call)")) }
    // From one release to the next, too.
    let chosen = ["10.0.0.1", "10.0.0.2", "pbx.example", "10.0.0.1", "10.0.0.1", "10.0.0.1"]
    #expect((0..<6).map { choose(hosts, "\($0)") } == chosen)
}

@Test("Without a healthy target there is none to choose", arguments: DomainCoreSettings.Distribution.allCases)
func noneHealthy(method: DomainCoreSettings.Distribution) {
    var distribution = makeDistribution(method, targets: 2)
    for target in 0..<2 { distribution.setHealthy(false, target: target) }
    #expect(distribution.order() == [])
    let order = distribution.order(callID: nil, in: [], now: now)
    #expect(order.isEmpty)
}

@Test(
    "RESP-14: a target that said Retry-After gets no new request until then",
    arguments: DomainCoreSettings.Distribution.allCases)
func putAside(method: DomainCoreSettings.Distribution) {
    var distribution = makeDistribution(method, targets: 3)
    distribution.putAside(target: 0, for: .seconds(30), now: now)
    for second in 0..<30 { #expect(distribution.order(at: now + .seconds(second)).sorted() == [1, 2]) }
    #expect(distribution.order(at: now + .seconds(30)).sorted() == [0, 1, 2])
}

@Test("RESP-14: without Retry-After nothing is put aside; a long one is cut, a later one counts")
func putAsideBounds() {
    var distribution = makeDistribution(.failover, targets: 1)
    distribution.putAside(target: 0, for: .zero, now: now)
    #expect(distribution.order() == [0])
    distribution.putAside(target: 0, for: .seconds(1_000_000_000), now: now)
    #expect(distribution.order(at: now + Distribution.longestPutAside - .seconds(1)) == [])
    #expect(distribution.order(at: now + Distribution.longestPutAside) == [0])
    distribution.putAside(target: 0, for: .seconds(10), now: now)
    distribution.putAside(target: 0, for: .seconds(20), now: now)
    #expect(distribution.order(at: now + .seconds(10)) == [])
}

@Test("RESP-14: a target that is put aside and unhealthy comes back with both")
func putAsideAndUnhealthy() {
    var distribution = makeDistribution(.failover, targets: 2)
    distribution.putAside(target: 0, for: .seconds(10), now: now)
    distribution.setHealthy(false, target: 0)
    #expect(distribution.order(at: now + .seconds(10)) == [1])
    distribution.setHealthy(true, target: 0)
    #expect(distribution.order(at: now + .seconds(10)) == [0, 1])
}

@Test("Any number of targets and any index is taken", arguments: [0, 1, 63, 64, 65, 200])
func targetCounts(count: Int) {
    for method in DomainCoreSettings.Distribution.allCases {
        var distribution = makeDistribution(method, targets: count)
        #expect(distribution.order().sorted() == Array(0..<min(count, Distribution.targetLimit)))
        distribution.setHealthy(false, target: 1000)
        distribution.setHealthy(false, target: -1)
        distribution.putAside(target: 1000, for: .seconds(1), now: now)
        #expect(distribution.order().count == min(count, Distribution.targetLimit))
    }
}

@Test(
    "RESP-14: Retry-After is the number that the field starts with",
    arguments: [
        ("30", 30), ("0", 0), ("18000;duration=3600", 18000), ("120 (I'm in a meeting)", 120),
        ("9999999999", 9_999_999_999), ("99999999999", nil), ("soon", nil), ("-1", nil), ("", nil),
    ] as [(String, Int?)])
func retryAfter(value: String, seconds: Int?) throws {
    let text = "SIP/2.0 503 Busy\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nRetry-After: \(value)\r\n\r\n"
    #expect(try Message(Array(text.utf8)).retryAfter == seconds.map { .seconds($0) })
}
