internal import GatehouseNet
internal import GatehousePolicy
internal import Logging
internal import SIPMessage
internal import SIPTransaction

// A response, on its way back to where its request came from (RFC 3261 §16.7).

extension Worker {
    func receiveResponse(_ response: Message, from origin: WorkerMessage.Origin) {
        guard let via = response.topVia, let range = via.branch,
            let owner = Branch.worker(of: response.bytes, range.range)
        else { return self.metrics.datagramDropped(.unmatchedResponse) }
        guard owner == self.index else {
            guard let mailbox = self.mailbox(of: owner) else {
                return self.metrics.datagramDropped(.unmatchedResponse)
            }
            if !mailbox.post(.response(response, origin)) { self.metrics.datagramDropped(.queueFull) }
            return
        }
        guard let branch = Branch(response.bytes, range.range),
            let client = self.clientTransactions[branch.number], client.branch == branch,
            client.isAnswered(by: origin, via: via, in: response.bytes)
        else { return self.metrics.datagramDropped(.unmatchedResponse) }  // TXN-11, VIA-11, VIA-12
        guard response.checkSyntax(self.messageLimits) == nil else { return self.metrics.datagramDropped(.syntax) }
        if response.method == .cancel {
            self.cancels[branch.number]?.stop()
            return
        }
        if client.expectsLowerVia, !response.hasLowerVia {
            return  // RESP-09: nowhere to go
        }
        client.received(response)
    }

    /// Does what the response context decides.
    ///
    /// - Parameters:
    ///   - branch: the one whose event it was.
    ///   - response: what came on it, if the event was a response.
    func carryOut(
        _ verdict: ResponseContext.Verdict, of transaction: ServerTransaction, branch: ClientTransaction?,
        response: Message?
    ) {
        if verdict.restartsTimerC { branch?.restartTimerC() }
        for number in verdict.cancel where number.index < transaction.branches.count {
            transaction.branches[number.index].cancel(reasons: transaction.cancel)
        }
        switch verdict.next {
        case .nothing:
            break
        case .alternative, .targets:
            self.tryNextHop(of: transaction)
        }
        switch verdict.upstream {
        case .nothing:
            break
        case .pass:
            if let response, let branch {
                branch.final = nil  // nobody will ask for it again
                self.pass(response, of: branch, to: transaction)
            }
        case .best(let number, let challenges):
            guard number.index < transaction.branches.count else { break }
            let best = transaction.branches[number.index]
            guard let final = best.final else { break }
            let others = challenges.compactMap { number in
                number.index < transaction.branches.count ? transaction.branches[number.index].final : nil
            }
            self.pass(final, of: best, to: transaction, challenges: others)
        case .make(let status):
            self.makeFinal(status, for: transaction)
        case .abandon:
            transaction.abandon()
        }
        transaction.releaseIfDone()
    }

    /// A further 2xx of an INVITE: forwarded as long as there is a way (RFC 6026 §7.2).
    func passRepeatedSuccess(_ response: Message, of branch: ClientTransaction, to transaction: ServerTransaction) {
        self.pass(response, of: branch, to: transaction)
    }

    private func pass(
        _ response: Message, of branch: ClientTransaction, to transaction: ServerTransaction, challenges: [Message] = []
    ) {
        let started = self.now
        self.noteDowngrade(response, transaction)
        guard let bytes = self.upstreamResponse(response, of: branch, transaction, challenges: challenges) else {
            if response.status >= 200 { self.makeFinal(500, for: transaction) }
            return
        }
        if transaction.request.method == .register, response.status / 100 == 2 {
            self.registered(transaction, response)
            if let flow = transaction.passage.flow, let state = self.state(ofFlow: flow.number) {
                self.watchSilence(of: state, response, transaction)
            }
        }
        if response.status / 100 == 2, transaction.request.method.mayBeginDialog, let state = transaction.flowState {
            self.noteStanding(of: state, beginsDialog: true)
        }
        transaction.respond(bytes, status: response.status)
        self.metrics.messageForwarded(
            transaction.passage.direction == .toCore ? .out : .in, nanoseconds: self.now &- started)
    }

    /// A `sip:` Contact in the 2xx to a SIPS INVITE passes; the dialog stays SIPS by its tokens (SIPS-22). Of a `pbx` core, which
    /// knows no other, it is nothing to tell.
    private func noteDowngrade(_ response: Message, _ transaction: ServerTransaction) {
        let passage = transaction.passage
        guard transaction.isInvite, response.status / 100 == 2, passage.session.arrival == .sips,
            passage.direction != .toFellow, passage.direction == .toOutside || !passage.domain.isPBX,
            SchemeRules.hasSIPContact(response)
        else { return }
        self.log.info(
            "a SIPS INVITE was answered with a sip Contact: later requests of the dialog leave over TLS all the same",
            [
                "domain": "\(passage.domain.configuration.name)", "session": "\(passage.session.id)",
                "call-id": "\(response.callID?.text(in: response.bytes) ?? "-")",
            ])
    }

    /// A final response of our own for a request that was forwarded.
    private func makeFinal(_ status: Int, for transaction: ServerTransaction) {
        if status == 500, let refusal = transaction.outbound?.refusal {
            return self.makeFinal(refusal, for: transaction)
        }
        var extra: [(StaticString, [UInt8])] = []
        let isLocated = transaction.outbound != nil
        if status == 500 {
            let text =
                if transaction.passage.direction == .toFellow {
                    "the edge that has the device's connection could not be reached"
                } else if isLocated {
                    "no server of the next hop took it"
                } else {
                    "no core server or device could be reached"
                }
            extra.append(("Warning", self.warning(transaction.passage.domain, text)))
        }
        // Towards the core a device that cannot be reached is temporarily unavailable.
        let status = status == 500 && transaction.passage.direction != .toCore && !isLocated ? 480 : status
        guard
            let bytes = ResponseWriter.make(
                status: status, to: transaction.request, source: transaction.origin.source,
                toTag: self.ownTags.tag(for: transaction.request), extra: extra)
        else { return }
        transaction.respond(bytes, status: status)
    }

    /// The answer for want of a server of the next hop.
    private func makeFinal(_ refusal: Refusal, for transaction: ServerTransaction) {
        var extra: [(StaticString, [UInt8])] = []
        if let warning = refusal.warning {
            extra.append(("Warning", self.warning(transaction.passage.domain, warning.text, warning.code)))
        }
        if let seconds = refusal.retryAfter { extra.append(("Retry-After", Array("\(seconds)".utf8))) }
        guard
            let bytes = ResponseWriter.make(
                status: refusal.status, to: transaction.request, source: transaction.origin.source,
                toTag: self.ownTags.tag(for: transaction.request), extra: extra)
        else { return }
        transaction.respond(bytes, status: refusal.status)
    }

    // MARK: Writing

    /// The copy of a response that goes on upstream.
    private func upstreamResponse(
        _ response: Message, of branch: ClientTransaction, _ transaction: ServerTransaction, challenges: [Message]
    ) -> [UInt8]? {
        let passage = transaction.passage
        if passage.direction == .toFellow { return self.fellowResponse(response) }
        let isPBX = passage.domain.isPBX
        var editor = MessageEditor(response)
        let isTrusted = passage.direction == .toOutside && passage.domain.trusts(self.provedNames(of: branch.leg))
        let privacy = response.identityPrivacy
        let strips =
            privacy == .asked || privacy == nil && passage.domain.configuration.security.assertedIdentity == .strip
        let keepAlive = self.keepAlive(for: response, transaction)
        for field in response.fields {
            switch field.name {
            case .gatehouse:
                editor.remove(field)  // TRUST-07
            case .pAssertedIdentity:
                if passage.direction == .toOutside ? !isTrusted : strips { editor.remove(field) }
            case .pPreferredIdentity, .remotePartyID, .pChargingVector,
                .pChargingFunctionAddresses:
                if passage.direction == .toOutside { editor.remove(field) }  // TRUST-01: U's own claim
            case .via, .recordRoute, .path, .serviceRoute:
                if isPBX { editor.remove(field) }
            case .warning, .reason:
                if isPBX, passage.direction == .toCore { self.hideCore(field, of: response, passage.domain, &editor) }
            default:
                break
            }
        }
        if isPBX {
            do throws(ForwardFault) {
                try self.replaceContacts(in: response, of: branch, transaction, &editor)
            } catch {
                return nil
            }
            // The route set that the other side built belongs to it, and the core's answer knows nothing of it.
            if response.status > 100, response.status < 300, transaction.request.first(.recordRoute) != nil {
                for row in Array(transaction.request.rows(of: .recordRoute)).reversed() {
                    editor.insertAtTop("Record-Route", transaction.request.unfolded(row.value))
                }
            }
            let rows = transaction.request.viaRows(receivedFrom: transaction.origin.source, keepAlive: keepAlive)
            for row in rows.reversed() {
                editor.insertAtTop("Via", row)
            }
            if self.takesOutbound(response, transaction) { editor.append("Require", Array("outbound".utf8)) }
        } else {
            guard let via = response.topVia else { return nil }
            editor.remove(value: via.value, of: .via)
            if passage.direction == .toCore { editor.settleKeepAlive(keepAlive) }
        }
        if let seconds = self.flowTimer(for: response, transaction) {
            var text: [UInt8] = []
            text.append(decimal: UInt64(clamping: seconds))
            editor.append("Flow-Timer", text)
        }
        for challenge in challenges {
            for field in challenge.fields where field.name == .wwwAuthenticate || field.name == .proxyAuthenticate {
                editor.append(field, of: challenge)
            }
        }
        editor.writeVersion(of: response)
        editor.setContentLength()
        return try? editor.finish()
    }

    private func replaceContacts(
        in response: Message, of branch: ClientTransaction, _ transaction: ServerTransaction,
        _ editor: inout MessageEditor
    ) throws(ForwardFault) {
        var passage = transaction.passage
        switch passage.direction {
        case .toOutside:
            try self.replaceDeviceContacts(
                in: response, passage, transport: passage.coreTransport, bind: passage.coreBind, &editor)
        case .toFellow:
            break
        case .toCore:
            if transaction.request.method == .register {
                self.restoreRegistration(in: response, passage, &editor)
                return
            }
            if response.status / 100 == 3 { return self.hideRedirection(in: response, passage, &editor) }
            switch branch.leg {
            case .datagram(_, let endpoint), .outsideDatagram(_, let endpoint):
                passage.coreTransport = .udp
                passage.coreTarget = endpoint
            case .flow(let id):
                passage.coreTransport = .tcp
                passage.coreTarget = self.flows[id.number]?.remote ?? passage.coreTarget
            }
            try self.replaceCoreContacts(in: response, passage, &editor)
        }
    }

    /// The Contacts of a 3xx: addresses of the core network stay inside, all others pass (PBX-04).
    private func hideRedirection(in response: Message, _ passage: Passage, _ editor: inout MessageEditor) {
        for value in response.values(of: .contact) {
            guard let contact = try? NameAddr.parse(response.bytes, value), contact.uri.isSIP,
                let address = contact.uri.hostAddress(in: response.bytes),
                self.snapshot.trustedSources.contains(address)
            else { continue }
            editor.replace(contact.uri.hostPort, with: passage.domain.advertise)
        }
    }
}

extension Message {
    /// Whether there is a second Via value.
    fileprivate var hasLowerVia: Bool {
        var values = self.values(of: .via).makeIterator()
        return values.next() != nil && values.next() != nil
    }
}

extension ClientTransaction {
    /// Whether a response is one to this request: our sent-by on its Via, and from where the request went (VIA-11, VIA-12).
    func isAnswered(by origin: WorkerMessage.Origin, via: Via, in bytes: [UInt8]) -> Bool {
        guard origin.transport == self.transport, self.isSentBy(via, in: bytes) else { return false }
        switch (self.leg, origin.leg) {
        case (.datagram(_, let sent), .datagram(_, let received)):
            // A server with several addresses may answer from another port, though not as another host.
            return sent.address == received.address
        case (.outsideDatagram(_, let sent), .outsideDatagram(_, let received)):
            return sent.address == received.address
        case (.flow(let sent), .flow(let received)):
            return sent == received || self.remote.address == origin.source.address
        case (.datagram, _), (.outsideDatagram, _), (.flow, _):
            return false
        }
    }

    private func isSentBy(_ via: Via, in bytes: [UInt8]) -> Bool {
        (via.sentByPort ?? self.transport.defaultPort) == self.sentBy.port
            && bytes[via.sentByHost.range].elementsEqual(self.sentBy.host, by: { $0 == $1 || $0 | 0x20 == $1 | 0x20 })
    }
}

extension Method {
    /// Whether a 2xx to it makes a dialog, or shows that there is one (RFC 3261 §12.1, RFC 6665 §4.4.1, RFC 3515 §2.4.4, RFC 3311).
    fileprivate var mayBeginDialog: Bool {
        switch self {
        case .invite, .subscribe, .refer, .update: true
        default: false
        }
    }
}
