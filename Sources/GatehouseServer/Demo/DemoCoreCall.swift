internal import NIOCore
internal import SIPMessage

extension Demo.Core {
    /// A call: the leg of the caller, and where a phone is called, the leg to it. What comes on one goes out on the other
    /// as a request of our own (a back-to-back user agent); without a callee the core itself answers.
    final class Call {
        private enum Side { case caller, callee }

        private struct Leg {
            var dialog: Demo.Dialog
            var address: SocketAddress
        }
        private unowned let core: Demo.Core
        private let invite: Message
        private let tag = Demo.random()
        private var caller: Leg
        private var callee: Leg?
        /// The INVITE to the callee, until its final response.
        private var ringing: (invite: Message, mayCancel: Bool)?
        private var isCancelled = false
        /// An INVITE that was answered with 2xx → CSeq of our INVITE on the other side, whose ACK is due.
        private var acks: [Invite: UInt32] = [:]

        /// The last ACK to the callee.
        private var lastACK: [UInt8] = []

        /// An INVITE of one of the two phones.
        private struct Invite: Hashable {
            var side: Side
            var cseq: UInt32

            init(_ side: Side, _ message: Message) {
                self.side = side
                self.cseq = message.cseq?.number ?? 0
            }
        }

        init?(of core: Demo.Core, answering invite: Message, from address: SocketAddress) {
            guard let dialog = Demo.Dialog(callee: invite, tag: self.tag, contact: core.contact) else { return nil }
            self.core = core
            self.invite = invite
            self.caller = Leg(dialog: dialog, address: address)
            core.observer.message(invite.summary, true, false)
        }

        // MARK: The first INVITE

        /// - Parameter callee: Contact of the phone to call; nil: the core answers.
        func begin(callee: [UInt8]?) {
            guard let callee else {
                self.answer(180)
                self.answerMedia(self.invite)
                return
            }
            self.answer(100)
            do {
                try self.call(callee)
            } catch {
                self.end(with: 500)
            }
        }

        private func call(_ target: [UInt8]) throws {
            guard let uri = try? URI.parse(target, ByteRange(0..<target.count)),
                let address = uri.hostAddress(in: target)
            else { return self.end(with: 480) }
            let destination = try SocketAddress(
                ipAddress: address.description, port: Int(uri.port ?? uri.scheme.defaultPort))
            guard let hops = self.invite.maxForwards.map({ $0 - 1 }), hops > 0 else { return self.end(with: 483) }
            var writer = MessageWriter()
            writer.requestLine(method: "INVITE", uri: target)
            writer.header("Via", Array(self.via().utf8))
            writer.header("Max-Forwards", hops)
            let from = self.invite.from?.addrSpec.bytes(in: self.invite.bytes) ?? []
            let to = self.invite.to?.addrSpec.bytes(in: self.invite.bytes) ?? []
            writer.header("From", Array("<".utf8) + from + Array(">;tag=\(Demo.random())".utf8))
            writer.header("To", Array("<".utf8) + to + Array(">".utf8))
            writer.header("Call-ID", Array("\(Demo.random())@\(self.core.endpoint.address)".utf8))
            writer.header("CSeq", "1 INVITE")
            writer.header("Contact", Array("<\(self.core.contact)>".utf8))
            // The one line of a dial plan that carries the session's protection to this leg.
            writer.copyAll(.gatehouse, of: self.invite)
            writer.copyAll(.contentType, of: self.invite)
            writer.endHeaders(body: self.invite.body.bytes(in: self.invite.bytes))
            let bytes = try writer.finish()
            let request = try Message(bytes)
            self.ringing = (request, mayCancel: false)
            self.core.add(self, callID: request.value(.callID))
            self.core.observer.message(request.summary, false, true)
            self.core.agent.send(bytes, to: destination) { response in
                self.receive(response, to: request, from: destination)
            }
        }

        /// A response of the callee to the first INVITE; nil: there was none.
        private func receive(_ response: Message?, to request: Message, from address: SocketAddress) {
            guard let response else { return self.end(with: 408) }
            self.core.observer.message(response.summary, true, true)
            switch response.status {
            case ..<200:
                self.ringing?.mayCancel = true
                if self.isCancelled { self.cancel() }
                if response.status > 100 { self.answer(response.status, copyingBodyOf: response) }
            case ..<300:
                guard self.callee == nil else { return self.repeatACK() }
                guard let dialog = Demo.Dialog(caller: request, answer: response, contact: self.core.contact) else {
                    return self.end(with: 502)
                }
                self.callee = Leg(dialog: dialog, address: address)
                self.ringing = nil
                self.acks[Invite(.caller, self.invite)] = 1
                self.answer(response.status, copyingBodyOf: response)
            default:
                self.end(with: response.status)
            }
        }

        private func answer(_ status: Int, copyingBodyOf response: Message? = nil) {
            let body = response.map { $0.body.bytes(in: $0.bytes) } ?? []
            let tag = status == 100 ? nil : self.tag
            self.respond(status, to: self.invite, self.caller.address, .caller, tag: tag, body)
        }

        private func answerMedia(_ request: Message) {
            let address = self.core.endpoint.address.description
            let offer = request.body.bytes(in: request.bytes)
            let body = offer.isEmpty ? Demo.SDP.offer(from: address) : Demo.SDP.answer(to: offer, from: address)
            guard let body else { return self.end(with: 488) }
            self.respond(200, to: request, self.caller.address, .caller, tag: self.tag, body)
        }

        private func end(with status: Int) {
            self.answer(status)
            self.core.remove(self)
        }

        // MARK: CANCEL and ACK

        func receiveCANCEL(_ request: Message, _ address: SocketAddress) {
            self.core.agent.respond(200, to: request, at: address, tag: self.tag)
            guard self.ringing != nil else { return }
            self.isCancelled = true
            self.cancel()
        }

        /// Not before a provisional response (RFC 3261 §9.1); the 487 then comes as the callee's final response.
        private func cancel() {
            guard let ringing = self.ringing, ringing.mayCancel else { return }
            guard let bytes = try? RequestWriter.makeCANCEL(for: ringing.invite) else { return }
            if let address = self.destination(of: ringing.invite) { self.core.agent.send(bytes, to: address) { _ in } }
        }

        /// The caller's ACK, passed on with its body, which holds the answer where the 2xx held the offer.
        func receiveACK(_ ack: Message) {
            let side = self.side(of: ack)
            self.core.observer.message(ack.summary, true, side == .callee)
            guard let number = self.acks.removeValue(forKey: Invite(side, ack)) else { return }
            self.sendACK(number, on: side == .caller ? .callee : .caller, body: ack.body.bytes(in: ack.bytes))
        }

        /// The callee's 2xx came again: the ACK was lost, if it was sent at all.
        private func repeatACK() {
            guard let callee = self.callee, !self.lastACK.isEmpty else { return }
            self.core.agent.write(self.lastACK, to: callee.address)
        }

        private func sendACK(_ number: UInt32, on side: Side, body: [UInt8]) {
            self.update(side) { leg in
                let headers = Self.contentType(of: body)
                let via = self.via()
                guard let ack = try? leg.dialog.request(.ack, via: via, cseq: number, headers: headers, body: body)
                else { return }
                if side == .callee { self.lastACK = ack }
                self.core.observer.message("ACK", false, side == .callee)
                self.core.agent.write(ack, to: leg.address)
            }
        }

        // MARK: Within the dialog

        /// Any other request of either side: answered here, or passed to the other side and answered as that answers.
        func receive(_ request: Message, _ address: SocketAddress) {
            let side = self.side(of: request)
            self.core.observer.message(request.summary, true, side == .callee)
            guard self.callee != nil else {
                switch request.method {
                case .bye:
                    self.respond(200, to: request, address, side)
                    self.core.remove(self)
                case .invite, .update: self.answerMedia(request)
                default: self.respond(200, to: request, address, side)
                }
                return
            }
            let other: Side = side == .caller ? .callee : .caller
            self.update(other) { leg in
                let body = request.body.bytes(in: request.bytes)
                var headers: [(StaticString, [UInt8])] = []
                if !body.isEmpty { headers.append(("Content-Type", request.value(.contentType))) }
                guard
                    let bytes = try? leg.dialog.request(request.method, via: self.via(), headers: headers, body: body)
                else { return self.respond(400, to: request, address, side) }
                let number = leg.dialog.cseq
                self.core.observer.message(request.method.text.description, false, other == .callee)
                self.core.agent.send(bytes, to: leg.address) { response in
                    self.receive(response, number, to: request, address, side)
                }
            }
            if request.method == .bye { self.core.remove(self) }
        }

        /// The other side's response to a request that was passed on.
        private func receive(
            _ response: Message?, _ number: UInt32, to request: Message, _ address: SocketAddress, _ side: Side
        ) {
            guard let response else { return self.respond(408, to: request, address, side) }
            self.core.observer.message(response.summary, true, side == .caller)
            guard response.status > 100 else { return }
            if request.method == .invite, (200..<300).contains(response.status) {
                self.acks[Invite(side, request)] = number
            }
            self.respond(response.status, to: request, address, side, response.body.bytes(in: response.bytes))
        }

        // MARK: Parts

        private func respond(
            _ status: Int, to request: Message, _ address: SocketAddress, _ side: Side, tag: String? = nil,
            _ body: [UInt8] = []
        ) {
            var headers = Self.contentType(of: body)
            if request.method == .invite, status > 100, status < 300 {
                headers.append(("Contact", Array("<\(self.core.contact)>".utf8)))
            }
            self.core.observer.message("\(status) (\(request.method.text))", false, side == .callee)
            self.core.agent.respond(status, to: request, at: address, tag: tag, headers: headers, body: body)
        }

        private func update(_ side: Side, _ body: (inout Leg) -> Void) {
            switch side {
            case .caller: body(&self.caller)
            case .callee:
                guard var leg = self.callee else { return }
                body(&leg)
                self.callee = leg
            }
        }

        private func side(of request: Message) -> Side {
            request.value(.callID) == self.invite.value(.callID) ? .caller : .callee
        }

        private func destination(of request: Message) -> SocketAddress? {
            guard let uri = request.uri, let address = uri.hostAddress(in: request.bytes) else { return nil }
            return try? SocketAddress(ipAddress: address.description, port: Int(uri.port ?? 5060))
        }

        private func via() -> String { "SIP/2.0/UDP \(self.core.endpoint);branch=z9hG4bK\(Demo.random());rport" }

        private static func contentType(of body: [UInt8]) -> [(StaticString, [UInt8])] {
            let type: (StaticString, [UInt8]) = ("Content-Type", Array("application/sdp".utf8))
            return body.isEmpty ? [] : [type]
        }
    }
}

extension URI.Scheme {
    fileprivate var defaultPort: UInt16 { self == .sips ? 5061 : 5060 }
}
