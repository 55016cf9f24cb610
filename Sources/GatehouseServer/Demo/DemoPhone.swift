internal import GatehousePolicy
internal import GatehouseTLS
internal import NIOCore
internal import NIOPosix
internal import SIPMessage

extension Demo {
    /// A phone with one TLS connection, driven step by step.
    final class Phone {
        let user: String
        let domain: String
        /// What the handshake settled: version, cipher, the names that the edge's certificate proves.
        let tls: TLSFacts
        private let channel: any Channel
        private var messages: AsyncStream<Message>.Iterator
        private let observe: @Sendable (_ summary: String, _ isReceived: Bool) -> Void
        private var registrations: UInt32 = 0
        private let callID = Demo.random()

        private init(
            _ user: String, _ domain: String, _ tls: TLSFacts, _ channel: any Channel, _ messages: AsyncStream<Message>,
            _ observe: @escaping @Sendable (String, Bool) -> Void
        ) {
            self.user = user
            self.domain = domain
            self.tls = tls
            self.channel = channel
            self.messages = messages.makeAsyncIterator()
            self.observe = observe
        }

        /// Connects, asks for the domain by SNI, and verifies that the certificate is the domain's (RFC 5922).
        static func connect(
            _ user: String, at domain: String, to edge: Endpoint, trusting credentials: OutboundCredentials,
            on group: MultiThreadedEventLoopGroup, observe: @escaping @Sendable (String, Bool) -> Void
        ) async throws -> Phone {
            let context = try TLSClientContext()
            let (messages, continuation) = AsyncStream.makeStream(of: Message.self)
            let loop = group.next()
            let opened = loop.makePromise(of: TLSFacts.self)
            let connecting = ClientBootstrap(group: loop)
                .connectTimeout(.seconds(5))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let engine = try TLSEngine.client(
                            context: context, credentials: credentials, serverName: domain, identity: .domain(domain))
                        let connection = PhoneConnection(engine, opened: opened) { message in
                            observe(message.summary, true)
                            continuation.yield(message)
                        } closed: {
                            continuation.finish()
                        }
                        try channel.pipeline.syncOperations.addHandler(connection)
                    }
                }
                .connect(host: edge.address.description, port: Int(edge.port))
            connecting.cascadeFailure(to: opened)
            let channel: any Channel
            do { channel = try await connecting.get() } catch {
                throw Failure("\(user) cannot connect to \(edge): \(systemText(error))")
            }
            do {
                return Phone(user, domain, try await opened.futureResult.get(), channel, messages, observe)
            } catch {
                throw Failure("the TLS handshake of \(user) with \(domain) failed: \(error)")
            }
        }

        func close() {
            self.channel.close(promise: nil)
        }

        /// Has the connection closed after a time, so that whoever waits for a message is told.
        func closes(after delay: TimeAmount) {
            let channel = self.channel
            channel.eventLoop.scheduleTask(in: delay) { channel.close(promise: nil) }
        }

        // MARK: Requests

        /// Registers the phone's Contact, or with 0 ends the registration.
        func register(expires: Int) async throws {
            self.registrations += 1
            let uri = "sips:\(self.domain)"
            let bytes = try self.request(
                "REGISTER", uri: uri, to: self.address, callID: self.callID, self.registrations
            ) {
                $0.header("Contact", Array("<\(self.contact)>".utf8))
                $0.header("Expires", expires)
            }
            try await self.send(bytes)
            _ = try await self.finalResponse(to: .register)
        }

        /// Sends an INVITE.
        func call(_ user: String) async throws -> Message {
            let to = "sips:\(user)@\(self.domain)"
            let offer = Demo.SDP.offer(from: "127.0.0.1")
            let bytes = try self.request("INVITE", uri: to, to: to, callID: Demo.random(), 1, body: offer) {
                $0.header("Contact", Array("<\(self.contact)>".utf8))
                $0.header("Content-Type", "application/sdp")
            }
            try await self.send(bytes)
            return try Message(bytes)
        }

        /// Sends ACK or BYE within a dialog.
        func send(_ method: Method, in dialog: inout Dialog) async throws {
            let cseq = method == .ack ? dialog.cseq : nil
            try await self.send(try dialog.request(method, via: self.via(), cseq: cseq))
        }

        func respond(_ status: Int, to request: Message, tag: String? = nil, body: [UInt8] = []) async throws {
            var headers: [(StaticString, [UInt8])] = []
            if request.method == .invite { headers.append(("Contact", Array("<\(self.contact)>".utf8))) }
            if !body.isEmpty { headers.append(("Content-Type", Array("application/sdp".utf8))) }
            let response = ResponseWriter.make(
                status: status, to: request, toTag: tag.map { Array($0.utf8) }, extra: headers, body: body)
            guard let response else { throw Failure("\(self.user) cannot answer a request that it received") }
            try await self.send(response)
        }

        /// Waits until the other phone rings.
        func ringing() async throws {
            _ = try await self.receive("180 Ringing") { $0.status == 180 }
        }

        /// The final response to a request that this phone sent, at least 200.
        func finalResponse(to method: Method) async throws -> Message {
            let answer = try await self.receive("an answer to its \(method.text)") {
                !$0.isRequest && $0.method == method && $0.status >= 200
            }
            guard answer.status < 300 else {
                throw Failure("\(self.user)'s \(method.text) was refused: \(Self.reason(answer))")
            }
            return answer
        }

        func request(_ method: Method) async throws -> Message {
            try await self.receive("\(method.text)") { $0.isRequest && $0.method == method }
        }

        // MARK: Parts

        private var address: String { "sips:\(self.user)@\(self.domain)" }

        /// A phone knows no more of itself than its own end of the connection.
        var contact: String {
            "sips:\(self.user)@\(self.channel.localAddress.flatMap { Endpoint($0) }.map { "\($0)" } ?? "127.0.0.1")"
        }

        private func via() -> String {
            let sentBy = self.channel.localAddress.flatMap { Endpoint($0) }.map { "\($0)" } ?? "127.0.0.1"
            return "SIP/2.0/TLS \(sentBy);branch=z9hG4bK\(Demo.random());rport"
        }

        private func request(
            _ method: StaticString, uri: String, to: String, callID: String, _ cseq: UInt32, body: [UInt8] = [],
            _ headers: (inout MessageWriter) -> Void
        ) throws(WriteError) -> [UInt8] {
            var writer = MessageWriter()
            writer.requestLine(method: method, uri: Array(uri.utf8))
            writer.header("Via", Array(self.via().utf8))
            writer.header("Max-Forwards", 70)
            writer.header("From", Array("<\(self.address)>;tag=\(Demo.random())".utf8))
            writer.header("To", Array("<\(to)>".utf8))
            writer.header("Call-ID", Array(callID.utf8))
            writer.header("CSeq", Array("\(cseq) \(method)".utf8))
            headers(&writer)
            writer.endHeaders(body: body)
            return try writer.finish()
        }

        private func send(_ bytes: [UInt8]) async throws {
            if let message = try? Message(bytes) { self.observe(message.summary, false) }
            try await self.channel.writeAndFlush(self.channel.allocator.buffer(bytes: bytes))
        }

        /// The next message that fits; others are passed over.
        private func receive(_ what: String, _ fits: (Message) -> Bool) async throws -> Message {
            while let message = await self.messages.next() {
                if fits(message) { return message }
                guard message.isRequest || message.status < 300 || message.method != .invite else {
                    throw Failure("\(self.user)'s call was refused: \(Self.reason(message))")
                }
            }
            throw Failure("\(self.user) waited in vain for \(what): the connection was closed, or nothing came in time")
        }

        /// `403 Forbidden, Warning: 399 edge "insecure leg refused"`
        private static func reason(_ response: Message) -> String {
            let warning = response.value(.warning)
            let text = "\(response.status) \(response.text(response.reasonRange))"
            return warning.isEmpty ? text : "\(text), Warning: \(String(decoding: warning, as: UTF8.self))"
        }
    }
}
