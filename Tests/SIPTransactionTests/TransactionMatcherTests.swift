import SIPMessage
import TestSupport
import Testing

@testable import SIPTransaction

private func makeMatcher(seed: UInt64 = 1) -> TransactionMatcher {
    var generator = SeededGenerator(seed: seed)
    return TransactionMatcher(using: &generator)
}

/// A request whose parts can be varied one at a time.
private struct Request {
    var method = "INVITE"
    var uri = "sip:bob@a.example"
    var via = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc"
    var fromTag: String? = "88"
    var toTag: String?
    var callID = "1@192.0.2.1"
    var cseq = "7"
    var cseqMethod: String?
    var more: [String] = []

    func message() throws -> Message {
        let lines =
            [
                "\(self.method) \(self.uri) SIP/2.0",
                "Via: \(self.via)",
                "From: <sip:alice@b.example>\(self.fromTag.map { ";tag=\($0)" } ?? "")",
                "To: <sip:bob@a.example>\(self.toTag.map { ";tag=\($0)" } ?? "")",
                "Call-ID: \(self.callID)",
                "CSeq: \(self.cseq) \(self.cseqMethod ?? self.method)",
            ] + self.more + ["Content-Length: 0", "", ""]
        return try Message(Array(lines.joined(separator: "\r\n").utf8))
    }

    func with<Value>(_ part: WritableKeyPath<Request, Value>, _ value: Value) -> Request {
        var copy = self
        copy[keyPath: part] = value
        return copy
    }
}

private func key(_ request: Request) throws -> TransactionKey {
    try #require(makeMatcher().key(of: request.message()))
}

private let request = Request()

@Test("MSG-18: branch and sent-by compare without case")
func keyIgnoresCase() throws {
    let lower = request.with(\.via, "SIP/2.0/UDP host.example:5060;branch=z9hG4bKabc")
    let upper = request.with(\.via, "sip/2.0/udp HOST.Example:5060;branch=Z9HG4BKABC;rport")
    #expect(try key(lower) == key(upper))
}

@Test("TXN-28: the same branch from two different sent-by values makes two transactions")
func keyTellsSentByApart() throws {
    for via in [
        "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKabc", "SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bKabc",
        "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKabc", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabd",
    ] {
        #expect(try key(request) != key(request.with(\.via, via)))
    }
}

@Test("TXN-28: an ACK has its INVITE's key, a CANCEL one of its own and its INVITE's, other methods theirs")
func keyDependsOnMethod() throws {
    let invite = try key(request)
    #expect(try key(request.with(\.method, "ACK").with(\.toTag, "99")) == invite)
    #expect(try key(request.with(\.method, "CANCEL")) != invite)
    #expect(try makeMatcher().keyOfInvite(cancelledBy: request.with(\.method, "CANCEL").message()) == invite)
    let message = try key(request.with(\.method, "MESSAGE"))
    #expect(message != invite)
    #expect(try makeMatcher().keyOfInvite(cancelledBy: request.with(\.method, "CANCEL").message()) != message)
    let unknown = try key(request.with(\.method, "FROB"))
    #expect(try unknown != key(request.with(\.method, "FROBS")))
    #expect(unknown != message)
}

@Test("MSG-10: invite in lower case is another method")
func keyTellsMethodCaseApart() throws {
    #expect(try key(request) != key(request.with(\.method, "invite")))
}

@Test("With the magic cookie nothing but method, branch and sent-by counts")
func keyIgnoresTheRest() throws {
    let other = request.with(\.uri, "sip:x@a.example").with(\.callID, "2").with(\.fromTag, "1").with(\.cseq, "9")
    #expect(try key(request) == key(other))
}

private let request2543 = Request(via: "SIP/2.0/UDP 192.0.2.1:5060;branch=1")

@Test("TXN-29: without the magic cookie an INVITE, its copy and its ACK match by everything but the To tag")
func key2543Matches() throws {
    let invite = try key(request2543)
    #expect(try key(request2543) == invite)
    #expect(try key(request2543.with(\.method, "ACK").with(\.toTag, "99")) == invite)
    #expect(try makeMatcher().keyOfInvite(cancelledBy: request2543.with(\.method, "CANCEL").message()) == invite)
    let withoutBranch = Request(via: "SIP/2.0/UDP 192.0.2.1:5060")
    #expect(try key(withoutBranch) == key(withoutBranch.with(\.method, "ACK")))
}

@Test(
    "TXN-29: without the magic cookie each of Request-URI, From tag, Call-ID, CSeq number and top Via counts",
    arguments: [
        request2543.with(\.uri, "sip:bob@b.example"),
        request2543.with(\.fromTag, "89"),
        request2543.with(\.callID, "2@192.0.2.1"),
        request2543.with(\.cseq, "8"),
        request2543.with(\.via, "SIP/2.0/UDP 192.0.2.1:5060;branch=2"),
        request2543.with(\.via, "SIP/2.0/UDP 192.0.2.1:5060"),
        request2543.with(\.method, "MESSAGE"),
    ])
private func key2543Differs(other: Request) throws {
    #expect(try key(request2543) != key(other))
}

@Test("TXN-29: the To tag counts where the method is no INVITE")
func key2543CountsToTag() throws {
    let bye = request2543.with(\.method, "BYE").with(\.toTag, "1")
    #expect(try key(bye) != key(bye.with(\.toTag, "2")))
}

@Test("MSG-17: Call-IDs that differ in case make two transactions")
func key2543TellsCallIDCaseApart() throws {
    #expect(try key(request2543.with(\.callID, "abc@x")) != key(request2543.with(\.callID, "ABC@x")))
}

@Test("A request without a part that its key needs has none")
func keyOfBrokenRequest() throws {
    #expect(makeMatcher().key(of: try request.with(\.via, "nonsense").message()) == nil)
    #expect(makeMatcher().key(of: try request2543.with(\.cseq, "x").message()) == nil)
    #expect(makeMatcher().key(of: try request2543.with(\.fromTag, nil).message()) != nil)
}

@Test("Keys of two processes differ, so that a peer can't prepare a collision")
func keyDependsOnSecret() throws {
    let message = try request.message()
    #expect(makeMatcher(seed: 1).key(of: message) != makeMatcher(seed: 2).key(of: message))
}

@Test(
    "VAL-06: a change of what decides the route changes the loop digest",
    arguments: [
        request.with(\.uri, "sip:carol@a.example"),
        request.with(\.callID, "2"),
        request.with(\.fromTag, "89"),
        request.with(\.toTag, "9"),
        request.with(\.cseq, "8"),
        request.with(\.more, ["Route: <sip:p.example;lr>"]),
        request.with(\.more, ["Proxy-Require: foo"]),
        request.with(\.more, ["Proxy-Authorization: Digest a=b"]),
    ])
private func loopDigestChanges(other: Request) throws {
    #expect(try makeMatcher().loopDigest(of: request.message()) != makeMatcher().loopDigest(of: other.message()))
}

@Test("VAL-06: neither method nor Via nor the form of Route changes the loop digest")
func loopDigestStays() throws {
    func digest(_ request: Request) throws -> LoopDigest { try makeMatcher().loopDigest(of: request.message()) }
    #expect(try digest(request) == digest(request.with(\.method, "OPTIONS")))
    #expect(try digest(request) == digest(request.with(\.via, "SIP/2.0/TLS 10.0.0.1;branch=z9hG4bKzzz")))
    #expect(try digest(request) == digest(request.with(\.more, ["Max-Forwards: 3", "X-Foo: bar"])))
    let rows = ["Route: <sip:p.example;lr>", "Route: <sip:q.example;lr>"]
    #expect(
        try digest(request.with(\.more, rows))
            == digest(request.with(\.more, ["Route: <sip:p.example;lr>,\r\n <sip:q.example;lr>"])))
}

@Test("VAL-05: a request is looped when a branch of ours below has its digest, wherever it stands")
func detectsLoop() throws {
    let matcher = makeMatcher()
    var generator = SeededGenerator(seed: 3)
    let digest = try matcher.loopDigest(of: request.message())
    func vias(_ loop: LoopDigest) -> [String] {
        var bytes: [UInt8] = []
        Branch(worker: 0, number: 1, loop: loop, using: &generator).append(to: &bytes)
        let ours = "SIP/2.0/UDP 10.0.0.2:5060;branch=\(String(decoding: bytes, as: UTF8.self));rport"
        return ["Via: SIP/2.0/UDP p.example;branch=z9hG4bK1, \(ours)", "Via: SIP/2.0/UDP q.example;branch=z9hG4bK2"]
    }
    let returned = request.with(\.method, "MESSAGE").with(\.more, vias(digest))
    #expect(matcher.isLooped(try returned.message(), digest: digest))
    let spiral = request.with(\.uri, "sip:carol@a.example").with(\.more, vias(digest))
    #expect(!matcher.isLooped(try spiral.message(), digest: matcher.loopDigest(of: try spiral.message())))
    #expect(!matcher.isLooped(try request.message(), digest: digest))
    #expect(!matcher.isLooped(try request.with(\.more, vias(LoopDigest(rawValue: 1))).message(), digest: digest))
}
