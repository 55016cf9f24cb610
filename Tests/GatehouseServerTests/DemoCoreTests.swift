import NIOCore
import NIOPosix
import SIPMessage
import Testing

@testable import GatehouseServer

/// A phone on plain UDP, driven step by step.
private final class PlainPhone: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    let messages: AsyncStream<Message>
    private let continuation: AsyncStream<Message>.Continuation

    init() {
        (self.messages, self.continuation) = AsyncStream.makeStream()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data).data
        if case .message(let message) = bytes.withUnsafeReadableBytes({ Parser.parse(datagram: $0) }) {
            self.continuation.yield(message)
        }
    }
}

/// A core on a socket, and two sockets that speak to it as an edge would.
private struct Bench {
    let core: any Channel
    let endpoint: Endpoint
    let alice: Line
    let bob: Line

    final class Line {
        let channel: any Channel
        private let core: SocketAddress
        private var messages: AsyncStream<Message>.Iterator

        init(_ channel: any Channel, core: SocketAddress, _ phone: PlainPhone) {
            self.channel = channel
            self.core = core
            self.messages = phone.messages.makeAsyncIterator()
        }

        var address: String { "127.0.0.1:\(self.channel.localAddress?.port ?? 0)" }

        func send(_ text: String) async throws {
            let bytes = ByteBuffer(string: text.replacing("\n", with: "\r\n"))
            try await self.channel.writeAndFlush(AddressedEnvelope(remoteAddress: self.core, data: bytes))
        }

        /// The next message that is no repetition of the last one.
        func next(_ last: Message? = nil) async throws -> Message {
            while let message = await self.messages.next() {
                if message.bytes != last?.bytes { return message }
            }
            throw CancellationError()
        }

        func response(_ status: Int) async throws -> Message {
            while true {
                let message = try await self.next()
                if message.status == status { return message }
                try #require(message.isRequest || message.status < 200 || message.status == 200)
            }
        }

        func request(_ method: Method) async throws -> Message {
            while true {
                let message = try await self.next()
                if message.isRequest, message.method == method { return message }
            }
        }

        func answer(
            _ request: Message, _ status: Int, headers: [(StaticString, [UInt8])] = [], body: String = ""
        ) async throws {
            let bytes = try #require(
                ResponseWriter.make(
                    status: status, to: request, toTag: Array("bob".utf8),
                    extra: headers + [("Contact", Array("<sip:bob@\(self.address)>".utf8))], body: Array(body.utf8)))
            try await self.send(String(decoding: bytes, as: UTF8.self).replacing("\r\n", with: "\n"))
        }
    }

    static func run(_ body: (Bench) async throws -> Void) async throws {
        let group = MultiThreadedEventLoopGroup.singleton
        func bind(_ handler: any ChannelHandler & Sendable) async throws -> any Channel {
            try await DatagramBootstrap(group: group).channelInitializer { $0.pipeline.addHandler(handler) }
                .bind(host: "127.0.0.1", port: 0).get()
        }
        let core = try await DatagramBootstrap(group: group).bind(host: "127.0.0.1", port: 0).get()
        let address = try #require(core.localAddress)
        let endpoint = try #require(Endpoint(address))
        try await core.eventLoop.submit {
            let pbx = Demo.Core(endpoint: endpoint)
            try core.pipeline.syncOperations.addHandler(pbx.agent)
            let box = NIOLoopBound(pbx, eventLoop: core.eventLoop)
            core.closeFuture.whenComplete { _ in _ = box }
        }.get()
        let (one, two) = (PlainPhone(), PlainPhone())
        let bench = Bench(
            core: core, endpoint: endpoint,
            alice: Line(try await bind(one), core: address, one), bob: Line(try await bind(two), core: address, two))
        try await body(bench)
        for channel in [core, bench.alice.channel, bench.bob.channel] { try await channel.close() }
    }

    /// A request as the edge would send it.
    func request(
        _ method: String, _ uri: String, from line: Line, cseq: Int = 1, branch: String = "1",
        to: String = "<sip:bob@a>", callID: String = "call", headers: String = "", body: String = ""
    ) -> String {
        """
        \(method) \(uri) SIP/2.0
        Via: SIP/2.0/UDP \(line.address);branch=z9hG4bK\(branch)
        Max-Forwards: 70
        From: <sip:alice@a>;tag=alice
        To: \(to)
        Call-ID: \(callID)
        CSeq: \(cseq) \(method)
        Contact: <sip:phone@\(line.address)>
        \(headers)Content-Length: \(body.utf8.count)

        \(body)
        """
    }
}

@Suite("Demo PBX", .timeLimit(.minutes(1)))
struct DemoCoreTests {
    @Test("OPTIONS is answered with what the PBX can do, an unknown method with 405, a stray BYE with 481")
    func simpleRequests() async throws {
        try await Bench.run { bench in
            let at = "sip:\(bench.endpoint)"
            try await bench.alice.send(bench.request("OPTIONS", at, from: bench.alice, branch: "o"))
            let options = try await bench.alice.next()
            #expect(options.status == 200 && options.value(.allow).starts(with: "INVITE".utf8))
            try await bench.alice.send(bench.request("PUBLISH", at, from: bench.alice, branch: "p"))
            #expect(try await bench.alice.next().status == 405)
            try await bench.alice.send(bench.request("BYE", at, from: bench.alice, branch: "b", to: "<sip:b@a>;tag=x"))
            #expect(try await bench.alice.next().status == 481)
        }
    }

    @Test("a repeated request gets the same response again")
    func retransmission() async throws {
        try await Bench.run { bench in
            let text = bench.request("OPTIONS", "sip:\(bench.endpoint)", from: bench.alice)
            try await bench.alice.send(text)
            let first = try await bench.alice.next()
            try await bench.alice.send(text)
            #expect(try await bench.alice.next().bytes == first.bytes)
        }
    }

    @Test("a call to nobody in particular is answered, and its 200 repeated until the ACK")
    func answersItself() async throws {
        try await Bench.run { bench in
            let at = "sip:\(bench.endpoint)"
            let offer = "v=0\nm=audio 4000 RTP/AVP 0\n".replacing("\n", with: "\r\n")
            try await bench.alice.send(
                bench.request("INVITE", at, from: bench.alice, headers: "Content-Type: application/sdp\n", body: offer))
            #expect(try await bench.alice.next().status == 180)
            let ok = try await bench.alice.next()
            #expect(ok.status == 200 && ok.text(ok.body).contains("m=audio 9 RTP/AVP 0"))
            #expect(try await bench.alice.next().bytes == ok.bytes)  // after T1
            let to = String(decoding: ok.value(.to), as: UTF8.self)
            try await bench.alice.send(bench.request("ACK", at, from: bench.alice, branch: "a", to: to))
            try await bench.alice.send(bench.request("BYE", at, from: bench.alice, cseq: 2, branch: "b", to: to))
            let bye = try await bench.alice.next(ok)
            #expect(bye.status == 200 && bye.method == .bye)
            try await bench.alice.send(bench.request("BYE", at, from: bench.alice, cseq: 3, branch: "c", to: to))
            #expect(try await bench.alice.response(481).method == .bye)
        }
    }

    @Test("a call to a registered phone goes to it with the session's tag, and either side may end it")
    func connects() async throws {
        try await Bench.run { bench in
            let at = "sip:\(bench.endpoint)"
            try await bench.bob.send(
                bench.request("REGISTER", at, from: bench.bob, to: "<sip:bob@a>", callID: "r", headers: "Expires: 60\n")
            )
            let registered = try await bench.bob.next()
            #expect(registered.status == 200)
            #expect(registered.contactURI == Array("sip:phone@\(bench.bob.address)".utf8))

            try await bench.alice.send(
                bench.request(
                    "INVITE", "sip:bob@\(bench.endpoint)", from: bench.alice,
                    headers: "X-Gatehouse-Session: 7f3c; arrived=sips\n"))
            #expect(try await bench.alice.next().status == 100)
            let invite = try await bench.bob.request(.invite)
            #expect(invite.text(invite.requestURI) == "sip:phone@\(bench.bob.address)")
            #expect(invite.fields.contains { invite.text($0.value) == "7f3c; arrived=sips" })
            #expect(invite.maxForwards == 69)
            #expect(invite.value(.callID) != Array("call".utf8))
            try await bench.bob.answer(invite, 180)
            #expect(try await bench.alice.next().status == 180)
            // Without an offer in the INVITE, the 200 makes it and the ACK answers.
            try await bench.bob.answer(
                invite, 200, headers: [("Content-Type", Array("application/sdp".utf8))], body: "offer")
            let ok = try await bench.alice.response(200)
            #expect(ok.text(ok.body) == "offer")
            let to = String(decoding: ok.value(.to), as: UTF8.self)
            try await bench.alice.send(
                bench.request(
                    "ACK", at, from: bench.alice, branch: "a", to: to, headers: "Content-Type: application/sdp\n",
                    body: "answer"))
            let ack = try await bench.bob.request(.ack)
            #expect(ack.text(ack.body) == "answer" && ack.cseq?.number == invite.cseq?.number)

            // Bob ends it.
            let bye = """
                BYE \(invite.text(invite.values(of: .contact).first { _ in true })) SIP/2.0
                Via: SIP/2.0/UDP \(bench.bob.address);branch=z9hG4bKbye
                Max-Forwards: 70
                From: \(String(decoding: ack.value(.to), as: UTF8.self))
                To: \(String(decoding: ack.value(.from), as: UTF8.self))
                Call-ID: \(String(decoding: ack.value(.callID), as: UTF8.self))
                CSeq: 1 BYE
                Content-Length: 0


                """.replacing("BYE <", with: "BYE ").replacing("> SIP/2.0", with: " SIP/2.0")
            try await bench.bob.send(bye)
            let passed = try await bench.alice.request(.bye)
            #expect(passed.value(.callID) == Array("call".utf8))
            #expect(passed.text(passed.to?.tag) == "alice")
            try await bench.alice.answer(passed, 200)
            #expect(try await bench.bob.response(200).method == .bye)
        }
    }

    @Test("CANCEL while the phone rings cancels it there, and the caller gets its 487")
    func cancels() async throws {
        try await Bench.run { bench in
            let at = "sip:\(bench.endpoint)"
            try await bench.bob.send(
                bench.request("REGISTER", at, from: bench.bob, callID: "r", headers: "Expires: 60\n"))
            #expect(try await bench.bob.next().status == 200)
            try await bench.alice.send(bench.request("INVITE", "sip:bob@\(bench.endpoint)", from: bench.alice))
            let invite = try await bench.bob.request(.invite)
            try await bench.bob.answer(invite, 180)
            _ = try await bench.alice.response(180)
            try await bench.alice.send(bench.request("CANCEL", "sip:bob@\(bench.endpoint)", from: bench.alice))
            #expect(try await bench.alice.response(200).method == .cancel)
            let cancel = try await bench.bob.request(.cancel)
            #expect(cancel.text(cancel.topVia?.branch) == invite.text(invite.topVia?.branch))
            try await bench.bob.answer(cancel, 200)
            try await bench.bob.answer(invite, 487)
            #expect(try await bench.bob.request(.ack).cseq?.number == invite.cseq?.number)
            #expect(try await bench.alice.response(487).method == .invite)
        }
    }

    @Test("a registration ends with expires 0, and with *")
    func unregisters() async throws {
        try await Bench.run { bench in
            let at = "sip:\(bench.endpoint)"
            for (number, end) in ["Expires: 0\n", "Expires: 0\nm: *\n"].enumerated() {
                try await bench.bob.send(
                    bench.request("REGISTER", at, from: bench.bob, branch: "r\(number)", callID: "r", headers: ""))
                #expect(try await bench.bob.next().contactURI != nil)
                let own = "Contact: <sip:phone@\(bench.bob.address)>\n"
                var text = bench.request(
                    "REGISTER", at, from: bench.bob, branch: "u\(number)", callID: "r", headers: end)
                if end.contains("*") { text = text.replacing(own, with: "") }
                try await bench.bob.send(text)
                let ended = try await bench.bob.next()
                #expect(ended.status == 200 && ended.contactURI == nil)
            }
        }
    }
}
