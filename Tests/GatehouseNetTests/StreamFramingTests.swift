import GatehousePolicy
import NIOCore
import NIOEmbedded
import SIPMessage
import Testing

@testable import GatehouseNet

@Suite struct StreamFramingTests {
    static let ok400 = "SIP/2.0 400 Refused\r\nContent-Length: 0\r\n\r\n"

    @Test("FRAME-01: two messages in one segment, then one octet by octet, are handled once each and in order")
    func segments() throws {
        let flow = try EmbeddedFlow()
        let messages = [request(body: "one"), request("INVITE", body: "two"), request("BYE")]
        try flow.receive(messages[0] + messages[1])
        for byte in messages[2].utf8 { try flow.receive(String(decoding: [byte], as: UTF8.self)) }
        #expect(flow.owner.heard == [.opened] + messages.map { .message($0) })
    }

    @Test("FRAME-01: what a tick makes leave on a flow leaves as one write")
    func oneWriteATick() throws {
        let flow = try EmbeddedFlow()
        flow.owner.onMessage = { flow, _ in
            flow.send(Array("one ".utf8))
            flow.send(Array("two ".utf8))
        }
        try flow.receive("\r\n\r\n" + request() + request() + "\r\n\r\n")
        #expect(try flow.writes() == ["one two one two \r\n\r\n"])
        try flow.flow.send(Array("three".utf8))
        #expect(try flow.writes() == [])
        flow.loop.run()
        #expect(try flow.writes() == ["three"])
    }

    @Test("FRAME-01: messages beyond the scratch buffer leave in order", arguments: [1, 2, 7, 20])
    func largeOutput(count: Int) throws {
        let flow = try EmbeddedFlow()
        var expected = ""
        for index in 0..<count {
            let text = String(repeating: String(index % 10), count: 1 + (index * 7_123) % 90_000)
            expected += text
            try flow.flow.send(Array(text.utf8))
        }
        flow.loop.run()
        #expect(try flow.writes().joined() == expected)
        #expect(try flow.flow.queuedInBytes == 0)
    }

    @Test("FRAME-07: a request whose body stays short gets 400 at the peer's FIN, and the flow closes")
    func shortRequestFIN() throws {
        let flow = try EmbeddedFlow()
        try flow.receive(request(body: "short", length: 10))
        flow.receiveFIN()
        #expect(flow.owner.heard == [.opened, .refused(status: 400), .closed(.truncated)])
        #expect(try flow.writes() == [StreamFramingTests.ok400])
        #expect(!flow.channel.isActive)
    }

    @Test("FRAME-07: a response whose body stays short is dropped at the peer's FIN, and the flow closes")
    func shortResponseFIN() throws {
        let flow = try EmbeddedFlow()
        try flow.receive(response(body: "short", length: 10))
        flow.receiveFIN()
        #expect(flow.owner.heard.last == .closed(.truncated))
        #expect(!flow.owner.heard.contains { if case .message = $0 { true } else { false } })
        #expect(try flow.writes() == [])
    }

    @Test("FRAME-07: a request whose body stays short gets 400 after the body timeout, however the bytes dribble")
    func shortRequestSilence() throws {
        let flow = try EmbeddedFlow()
        try flow.receive(request(body: "short", length: 10))
        flow.advance(.seconds(9))
        try flow.receive("er")
        #expect(flow.channel.isActive)
        flow.advance(.milliseconds(1020))
        #expect(flow.owner.heard == [.opened, .refused(status: 400), .closed(.bodyTimeout)])
        #expect(try flow.writes() == [StreamFramingTests.ok400])
    }

    @Test("FRAME-12: what is no SIP closes the flow without an answer")
    func notSIP() throws {
        let flow = try EmbeddedFlow()
        try flow.receive("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        #expect(flow.owner.heard.count == 2)
        guard case .closed(.notSIP) = flow.owner.heard.last else {
            Issue.record("\(flow.owner.heard)")
            return
        }
        #expect(try flow.writes() == [])
    }

    @Test("FRAME-12: headers unfinished at the header timeout close the flow without an answer")
    func headerTimeout() throws {
        let flow = try EmbeddedFlow()
        try flow.receive(request() + "OPTIONS sip:a.example SIP/2.0\r\n")
        flow.advance(.seconds(5))
        try flow.receive("Via: SIP/2.0/TCP 192.0.2.1\r\n")
        flow.advance(.milliseconds(4990))
        #expect(flow.channel.isActive)
        flow.advance(.milliseconds(30))
        #expect(flow.owner.heard == [.opened, .message(request()), .closed(.headerTimeout)])
        #expect(try flow.writes() == [])
    }

    @Test("FRAME-12: each message has its own header and body time")
    func deadlinesRestart() throws {
        let flow = try EmbeddedFlow()
        let text = request(body: "0123456789")
        let middle = text.index(text.startIndex, offsetBy: 40)
        var expected: [Heard] = [.opened]
        try flow.receive(String(text[..<middle]))
        for _ in 0..<5 {
            flow.advance(.seconds(9))
            // The end of one message and the beginning of the next in one segment.
            try flow.receive(String(text[middle...]) + String(text[..<middle]))
            expected.append(.message(text))
        }
        flow.advance(.seconds(9))
        #expect(flow.owner.heard == expected)
        try flow.receive(String(text[middle...].dropLast(3)))
        flow.advance(.seconds(9))
        try flow.receive(String(text.suffix(3)))
        expected.append(.message(text))
        flow.advance(.seconds(60))
        #expect(flow.owner.heard == expected)
        #expect(flow.channel.isActive)
    }

    @Test("KEEP-01: CRLFCRLF before, between and split over reads gets exactly one CRLF at once")
    func ping() throws {
        let flow = try EmbeddedFlow()
        try flow.receive("\r\n\r\n")
        #expect(try flow.writes() == ["\r\n"])
        try flow.receive(request() + "\r\n")
        #expect(try flow.writes() == [])
        try flow.receive("\r\n")
        #expect(try flow.writes() == ["\r\n"])
        try flow.receive("\r\n\r\n\r\n\r\n" + request())
        #expect(try flow.writes() == ["\r\n\r\n"])
        #expect(flow.owner.heard == [.opened, .message(request()), .message(request())])
    }

    @Test("KEEP-02: a single CRLF gets nothing back")
    func pong() throws {
        let flow = try EmbeddedFlow()
        try flow.receive("\r\n")
        try flow.receive(request())
        #expect(try flow.writes() == [])
    }

    @Test("KEEP-03: a body that begins with CRLFCRLF gets no pong and stays intact")
    func bodyOfPings() throws {
        let flow = try EmbeddedFlow()
        let text = request(body: "\r\n\r\n\r\n\r\nrest")
        try flow.receive(String(text.prefix(text.count - 8)))
        try flow.receive(String(text.suffix(8)))
        #expect(flow.owner.heard == [.opened, .message(text)])
        #expect(try flow.writes() == [])
    }

    @Test("KEEP-04: a STUN Binding Request on a stream is a framing error and closes it")
    func stunOnStream() throws {
        let flow = try EmbeddedFlow()
        try flow.channel.writeInbound(
            ByteBuffer(bytes: [0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42] + [UInt8](repeating: 7, count: 12)))
        flow.loop.run()
        guard case .closed(.notSIP) = flow.owner.heard.last else {
            Issue.record("\(flow.owner.heard)")
            return
        }
        #expect(try flow.writes() == [])
    }

    @Test("KEEP-06: a flow that pings fails when nothing comes within 10 s of a ping")
    func pings() throws {
        let flow = try EmbeddedFlow()
        func secondsToPing() throws -> Int {
            for seconds in 1...200 {
                flow.advance(.seconds(1))
                let writes = try flow.writes()
                if writes.isEmpty { continue }
                #expect(writes == ["\r\n\r\n"])
                return seconds
            }
            return 0
        }
        try flow.flow.keepAlive(every: .seconds(100))
        #expect((80...101).contains(try secondsToPing()))
        try flow.receive("\r\n")
        #expect((89...111).contains(try secondsToPing()))
        #expect(flow.owner.heard == [.opened])
        flow.advance(.seconds(11))
        #expect(flow.owner.heard == [.opened, .closed(.noPong)])
    }

    @Test("CONN-01: a silent flow closes after the idle time, unless something keeps it")
    func idle() throws {
        var timers = TimerSettings()
        timers.idle = .seconds(60)
        let flow = try EmbeddedFlow(timers: timers)
        flow.advance(.seconds(50))
        try flow.receive("\r\n\r\n")
        flow.advance(.seconds(50))
        try flow.flow.isRegistered = true
        flow.advance(.seconds(600))
        #expect(flow.owner.heard == [.opened])
        try flow.flow.isRegistered = false
        flow.advance(.seconds(61))
        #expect(flow.owner.heard == [.opened, .closed(.idle)])
        #expect(!flow.channel.isActive)
    }

    @Test("SEC-08: more than the limit for a slow reader closes the flow, and nothing is sent on it any more")
    func writeQueue() throws {
        var limits = EdgeLimits()
        limits.writeQueueInBytes = 1000
        let flow = try EmbeddedFlow(limits: limits)
        let it = try flow.flow
        #expect(it.send([UInt8](repeating: 1, count: 1000)))
        #expect(!it.send([2]))
        #expect(flow.owner.heard == [.opened])  // never from within send
        flow.loop.run()
        #expect(flow.owner.heard == [.opened, .closed(.writeQueueFull)])
        #expect(!it.send([3]))
        #expect(!it.isUsable)
    }

    @Test("SEC-08: a flow does not read while the peer does not take what is written")
    func backPressure() throws {
        let flow = try EmbeddedFlow()
        flow.channel.isWritable = false
        try flow.flow.send([1])
        flow.loop.run()
        #expect(try flow.flow.isReadPaused)
        try flow.flow.send([2])
        flow.loop.run()
        #expect(try flow.writes() == ["\u{1}"])
        flow.channel.isWritable = true
        flow.channel.pipeline.fireChannelWritabilityChanged()
        flow.loop.run()
        #expect(try flow.writes() == ["\u{2}"])
        #expect(try !flow.flow.isReadPaused)
    }

    @Test("SEC-08: a peer that takes nothing for 64*T1 loses its flow")
    func writeTimeout() throws {
        let flow = try EmbeddedFlow()
        flow.channel.isWritable = false
        try flow.flow.send([1])
        flow.loop.run()
        flow.advance(.milliseconds(31_990))
        #expect(flow.channel.isActive)
        flow.advance(.milliseconds(30))
        #expect(flow.owner.heard == [.opened, .closed(.writeTimeout)])
    }

    @Test("closing from within a message ends the parsing, and the owner hears of it once, later")
    func closeWithin() throws {
        let flow = try EmbeddedFlow()
        flow.owner.onMessage = { flow, _ in
            flow.send(Array("last".utf8))
            flow.closeAfterFlush(.released)
            #expect(!flow.send(Array("too late".utf8)))
        }
        try flow.receive(request() + request())
        #expect(flow.owner.heard == [.opened, .message(request()), .closed(.released)])
        #expect(try flow.writes() == ["last"])
    }

    @Test(
        "what the owner does in flowOpened counts before a byte is read: refusing, a domain's limits, a first message")
    func decidedWhenOpened() throws {
        let refused = try EmbeddedFlow { $0.onOpened = { $0.close(.refused(cause: "full")) } }
        #expect(refused.owner.heard == [.opened, .closed(.refused(cause: "full"))])
        #expect(!refused.channel.isActive)

        let limited = try EmbeddedFlow { owner in
            owner.onOpened = { flow in
                flow.limitMessages(to: MessageLimits(messageSize: 400))
                flow.send(Array("hello".utf8))
            }
        }
        #expect(try limited.writes() == ["hello"])
        try limited.receive(request(body: String(repeating: "x", count: 400)))
        #expect(limited.owner.heard.prefix(2) == [.opened, .refused(status: 413)])
        #expect(!limited.channel.isActive)
    }
}
