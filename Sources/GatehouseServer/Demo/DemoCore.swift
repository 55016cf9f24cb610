internal import NIOCore
internal import NIOPosix
internal import SIPMessage

extension Demo {
    /// A small PBX: registers phones, answers OPTIONS, connects calls between phones, and answers calls to anyone else.
    ///
    /// It speaks plain SIP over UDP and knows nothing of TLS, as the PBXs that Gatehouse stands before. All that it does for
    /// security is to copy `X-Gatehouse-Session` from one leg of a call to the other. Lives on one event loop.
    final class Core {
        /// What it tells of itself while it works.
        struct Observer: Sendable {
            /// A message was received (`isReceived`) or sent; `isCallee`: on the leg to the phone that is called.
            var message: @Sendable (_ summary: String, _ isReceived: Bool, _ isCallee: Bool) -> Void = { _, _, _ in }
            /// An INVITE came with this `X-Gatehouse-Session`.
            var session: @Sendable (String) -> Void = { _ in }
        }

        let agent = Datagrams()
        let endpoint: Endpoint
        var observer = Observer()
        /// Contact URI by user: one phone a user is enough here.
        private var registrations: [String: [UInt8]] = [:]
        /// By the Call-ID of either leg.
        private var calls: [[UInt8]: Call] = [:]
        private static let limit = 1000
        private static let allow: [(StaticString, [UInt8])] = [
            ("Allow", Array("INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO, UPDATE".utf8))
        ]

        /// - Parameter endpoint: where it receives; the caller has put `agent` on a socket bound there.
        init(endpoint: Endpoint) {
            self.endpoint = endpoint
            self.agent.onRequest = { [unowned self] in self.receive($0, from: $1) }
        }

        var contact: String { "sip:pbx@\(self.endpoint)" }

        private func receive(_ request: Message, from address: SocketAddress) {
            let call = self.calls[request.value(.callID)]
            switch request.method {
            case .register: self.register(request, address)
            case .ack: call?.receiveACK(request)
            case .cancel: call?.receiveCANCEL(request, address) ?? self.agent.respond(481, to: request, at: address)
            case .options where request.to?.tag == nil:
                self.agent.respond(200, to: request, at: address, tag: Demo.random(), headers: Self.allow)
            case .invite where request.to?.tag == nil: self.invite(request, address)
            case _ where request.to?.tag != nil:
                call?.receive(request, address) ?? self.agent.respond(481, to: request, at: address)
            default: self.agent.respond(405, to: request, at: address, tag: Demo.random(), headers: Self.allow)
            }
        }

        // MARK: Registrations

        /// RFC 3261 §10.3, for one contact a user.
        private func register(_ request: Message, _ address: SocketAddress) {
            let user = request.text(request.to?.uri.user)
            let general = request.first(.expires).flatMap { UInt32($0.value.text(in: request.bytes)) } ?? 3600
            for range in request.values(of: .contact) {
                guard let contact = try? NameAddr.parse(request.bytes, range) else {
                    // `*`, which comes with Expires: 0 alone.
                    self.registrations[user] = nil
                    continue
                }
                let own = contact.parameter("expires", in: request.bytes).flatMap { UInt32($0.text(in: request.bytes)) }
                let isEnd = (own ?? general) == 0
                if isEnd {
                    self.registrations[user] = nil
                } else if self.registrations.count < Self.limit {
                    self.registrations[user] = contact.addrSpec.bytes(in: request.bytes)
                }
            }
            var headers: [(StaticString, [UInt8])] = []
            if let contact = self.registrations[user] {
                headers = [("Contact", Array("<".utf8) + contact + Array(">;expires=\(general)".utf8))]
            }
            self.agent.respond(200, to: request, at: address, tag: Demo.random(), headers: headers)
        }

        // MARK: Calls

        private func invite(_ request: Message, _ address: SocketAddress) {
            if let tag = request.fields.first(where: { $0.name == .gatehouse }) {
                self.observer.session(request.text(tag.value))
            }
            guard self.calls.count < Self.limit,
                let call = Call(of: self, answering: request, from: address)
            else { return self.agent.respond(503, to: request, at: address, tag: Demo.random()) }
            self.calls[request.value(.callID)] = call
            call.begin(callee: self.registrations[request.text(request.uri?.user)])
        }

        /// The leg to the callee has this Call-ID.
        func add(_ call: Call, callID: [UInt8]) { self.calls[callID] = call }

        func remove(_ call: Call) { self.calls = self.calls.filter { $0.value !== call } }
    }
}
