internal import GatehousePolicy
import SIPMessage

// A name server's reply, read and kept. Compiled together with GatehouseNet's reader and cache, which are internal to its
// module. The first byte chooses the question's type.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    guard let start, count > 1 else { return 0 }
    let types = DNSQuestion.RecordType.allCases
    let question = DNSQuestion(DNSName("a.example")!, types[Int(start[0]) % types.count])
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    if let reply = try? DNSReply(bytes, to: question) {
        if reply.timeToLive > DNSReply.longestTimeToLive { fatalError("an answer held too long: \(reply)") }
        // What the cache keeps is what was read.
        let answer = DNSAnswer(question: question, outcome: reply.outcome, timeToLive: .seconds(1))
        var page = DNSCachePage()
        page.insert(answer, hash: 0, now: 1)
        guard let record = page.find(question, hash: 0), page.answer(record, question, now: 1) == answer else {
            fatalError("an answer kept as another: \(answer)")
        }
    }
    return 0
}
