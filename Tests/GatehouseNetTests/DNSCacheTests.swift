import GatehousePolicy
import NIOCore
import SIPMessage
import Testing

@testable import GatehouseNet

private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

private func answer(_ name: String, _ timeToLive: Duration, _ outcome: DNSAnswer.Outcome = .noData) -> DNSAnswer {
    DNSAnswer(question: DNSQuestion(name, .a), outcome: outcome, timeToLive: timeToLive)
}

@Test("LOC-21: an answer is reused until its TTL, and then asked again")
func cacheExpires() {
    var cache = DNSCache(limit: 10)
    let question = DNSQuestion("a.example", .a)
    let outcome = DNSAnswer.Outcome.addresses([IPAddress(v4: 1)])
    cache.insert(answer("a.example", .seconds(60), outcome), now: start)
    #expect(cache.answer(to: question, now: start) == answer("a.example", .seconds(60), outcome))
    #expect(cache.answer(to: question, now: start + .seconds(59)) == answer("a.example", .seconds(1), outcome))
    #expect(cache.answer(to: question, now: start + .seconds(60)) == nil)
    #expect(cache.count == 0)
    #expect(cache.answer(to: DNSQuestion("a.example", .aaaa), now: start) == nil)
}

@Test("LOC-21: an answer without a TTL is not kept, and replaces an older one")
func cacheSkipsZero() {
    var cache = DNSCache(limit: 10)
    cache.insert(answer("a.example", .seconds(60)), now: start)
    cache.insert(answer("a.example", .zero), now: start)
    #expect(cache.answer(to: DNSQuestion("a.example", .a), now: start) == nil)
}

@Test("The cache never holds more than its limit, and keeps what is asked for")
func cacheIsBounded() {
    var cache = DNSCache(limit: 100)
    cache.insert(answer("hot.example", .seconds(3600)), now: start)
    for index in 0..<10_000 {
        cache.insert(answer("n\(index).example", .seconds(3600)), now: start)
        #expect(cache.count <= 100)
        #expect(cache.answer(to: DNSQuestion("hot.example", .a), now: start) != nil)
    }
    #expect(cache.answer(to: DNSQuestion("n0.example", .a), now: start) == nil)
    #expect(cache.answer(to: DNSQuestion("n9999.example", .a), now: start) != nil)
    cache.removeAll()
    #expect(cache.count == 0)
}

@Test("A newer answer takes the place of an older one, wherever that was kept")
func cacheReplaces() {
    var cache = DNSCache(limit: 4)
    cache.insert(answer("a.example", .seconds(10)), now: start)
    for name in ["b.example", "c.example"] { cache.insert(answer(name, .seconds(10)), now: start) }
    cache.insert(answer("a.example", .seconds(20), .noSuchName), now: start)
    #expect(cache.answer(to: DNSQuestion("a.example", .a), now: start)?.outcome == .noSuchName)
    #expect(cache.count <= 4)
}
