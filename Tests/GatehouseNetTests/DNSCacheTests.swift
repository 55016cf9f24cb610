import GatehousePolicy
import NIOCore
import SIPMessage
import TestSupport
import Testing

@testable import GatehouseNet

private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

private func answer(_ name: String, _ timeToLive: Duration, _ outcome: DNSAnswer.Outcome = .noData) -> DNSAnswer {
    DNSAnswer(question: DNSQuestion(name, .a), outcome: outcome, timeToLive: timeToLive)
}

@Test("LOC-21: an answer is reused until its TTL, and then asked again")
func cacheExpires() {
    let cache = DNSCache(limit: 10)
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
    let cache = DNSCache(limit: 10)
    cache.insert(answer("a.example", .seconds(60)), now: start)
    cache.insert(answer("a.example", .zero), now: start)
    #expect(cache.answer(to: DNSQuestion("a.example", .a), now: start) == nil)
}

@Test("The cache never holds more than its limit, and keeps what is asked for")
func cacheIsBounded() {
    let cache = DNSCache(limit: 100)
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
    let cache = DNSCache(limit: 4)
    cache.insert(answer("a.example", .seconds(10)), now: start)
    for name in ["b.example", "c.example"] { cache.insert(answer(name, .seconds(10)), now: start) }
    cache.insert(answer("a.example", .seconds(20), .noSuchName), now: start)
    #expect(cache.answer(to: DNSQuestion("a.example", .a), now: start)?.outcome == .noSuchName)
    #expect(cache.count <= 4)
}

@Test("A bound of a million holds over more names than that, and each that is kept comes back as it was")
func cacheHoldsMillion() throws {
    let cache = DNSCache(limit: 1_000_000)
    var question = DNSQuestion("n0.example", .a)
    for index in 0..<1_200_000 {
        question.name = DNSName(kept: "n\(index).example")
        let outcome = DNSAnswer.Outcome.addresses([IPAddress(v4: UInt32(index))])
        cache.insert(DNSAnswer(question: question, outcome: outcome, timeToLive: .seconds(3600)), now: start)
        if index % 100_000 == 0 { #expect(cache.count <= 1_000_000) }
    }
    #expect(cache.count <= 1_000_000)
    #expect(cache.count > 450_000)
    for index in stride(from: 1_000_000, to: 1_200_000, by: 1000) {
        let kept = cache.answer(to: DNSQuestion("n\(index).example", .a), now: start)
        #expect(kept?.outcome == .addresses([IPAddress(v4: UInt32(index))]))
    }
}

@Test("The cache is bounded in bytes too: large answers push out sooner")
func cacheIsBoundedInBytes() throws {
    var shard = DNSCacheShard(limit: 1000)
    let name = try #require(DNSName(Array(repeating: "label7", count: 36).joined(separator: ".")))
    let service = DNSService(priority: 1, weight: 1, port: 1, target: name)
    for index in 0..<1000 {
        let question = DNSQuestion("n\(index).example", .srv)
        let outcome = DNSAnswer.Outcome.services(Array(repeating: service, count: 64))
        let answer = DNSAnswer(question: question, outcome: outcome, timeToLive: .seconds(60))
        shard.insert(answer, hash: DNSCacheKey.hash(of: question), now: 1)
        #expect(shard.answer(to: question, hash: DNSCacheKey.hash(of: question), now: 1) == answer)
    }
    #expect(shard.count < 50)
}

@Test("Whatever an answer says comes out of the cache as it went in")
func cacheKeepsAnswers() throws {
    let far = try #require(DNSName("far.example"))
    let pointer = DNSPointer(
        order: 1, preference: 65535, flags: "s", service: "SIPS+D2T", expression: "", replacement: far)
    let long = String(repeating: "\u{FFFD}", count: 255)
    let odd = DNSPointer(order: 0, preference: 0, flags: "", service: long, expression: "!^.*$!x!", replacement: nil)
    let service = DNSService(priority: 0, weight: 65535, port: 5061, target: far)
    let none = DNSService(priority: 0, weight: 0, port: 0, target: nil)
    let v6 = IPAddress(v6High: 0x2001_0DB8_0000_0001, v6Low: .max)
    let outcomes: [(DNSQuestion.RecordType, DNSAnswer.Outcome)] =
        [
            (.a, .addresses([IPAddress(v4: 0), IPAddress(v4: .max)])), (.aaaa, .addresses([v6, v6])),
            (.srv, .services([service, none])), (.naptr, .pointers([pointer, odd])), (.a, .noData), (.srv, .noSuchName),
        ] + DNSFailure.allCases.map { (.a, .failed($0)) }
    let cache = DNSCache(limit: 100)
    for (index, (type, outcome)) in outcomes.enumerated() {
        let question = DNSQuestion("n\(index).example", type)
        let answer = DNSAnswer(question: question, outcome: outcome, timeToLive: .seconds(9))
        cache.insert(answer, now: start)
        #expect(cache.answer(to: question, now: start) == answer)
    }
    #expect(cache.count == outcomes.count)
}

@Test("Random inserts and look-ups agree with a dictionary, whatever is replaced, removed or expires")
func cacheWalk() {
    var generator = SeededGenerator(seed: 20_261_128)
    let cache = DNSCache(limit: 1_000_000)
    var expected: [DNSQuestion: (outcome: DNSAnswer.Outcome, expiry: NIODeadline)] = [:]
    var now = start
    for _ in 0..<20_000 {
        now = now + .milliseconds(Int64.random(in: 0..<50, using: &generator))
        let question = DNSQuestion("n\(Int.random(in: 0..<300, using: &generator)).example", .a)
        if Bool.random(using: &generator) {
            let seconds = Int64.random(in: 0..<30, using: &generator)
            let outcome = DNSAnswer.Outcome.addresses([
                IPAddress(v4: UInt32.random(in: .min ... .max, using: &generator))
            ])
            cache.insert(
                DNSAnswer(question: question, outcome: outcome, timeToLive: .seconds(seconds)), now: now)
            expected[question] = (outcome, now + .seconds(seconds))
        }
        let wanted = expected[question].flatMap { $0.expiry > now ? $0.outcome : nil }
        #expect(cache.answer(to: question, now: now)?.outcome == wanted)
    }
}

@Test("Timers come in the order of their times, and none before its own")
func timersInOrder() {
    var generator = SeededGenerator(seed: 7)
    var timers = DNSTimers()
    let times = (0..<1000).map { _ in Duration.milliseconds(Int64.random(in: 0..<500, using: &generator)) }
    for (number, time) in times.enumerated() { timers.insert(.init(time: time, number: UInt64(number), serial: 0)) }
    #expect(timers.popFirst(until: .milliseconds(-1)) == nil)
    var popped: [Duration] = []
    while let timer = timers.popFirst(until: .milliseconds(250)) { popped.append(timer.time) }
    #expect(popped == times.filter { $0 <= .milliseconds(250) }.sorted())
    #expect(timers.count == 1000 - popped.count)
}

@Test("No more begins at once, and in a second, than the pace allows")
func keepsPace() {
    var pace = DNSPace(perSecond: 1000, atOnce: 10, now: start)
    #expect(pace.take(100, now: start) == 0)
    #expect(pace.take(100, now: start + .milliseconds(5)) == 5)
    #expect(pace.take(100, now: start + .milliseconds(5)) == 0)
    #expect(pace.take(100, now: start + .seconds(1)) == 10)
    #expect(pace.take(0, now: start + .seconds(2)) == 0)
    #expect(pace.take(3, now: start + .seconds(2)) == 3)
    #expect(pace.take(100, now: start + .seconds(2)) == 7)
    var count = 0
    for millisecond in 0..<1000 { count += pace.take(100, now: start + .milliseconds(2001 + Int64(millisecond))) }
    #expect(count == 1000)
}
