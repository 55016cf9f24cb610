internal import GatehouseNet
internal import GatehousePolicy
internal import Logging
internal import SIPMessage
internal import SIPTransaction

// Edges with one secret read each other's tokens. A device's request goes to the core from whichever edge it reaches; the
// core's, for a device whose connection another edge has, goes through that edge (PBX-16).

/// Another edge with our secret, which has the flow that a request of the core's is for.
struct FellowEdge {
    /// Where it takes requests of the core's over TCP.
    var endpoint: Endpoint
    var domain: DomainRuntime
}

extension Worker {
    /// The edge that has a flow; nil where that is us, in this life or an earlier one, or where the request came from
    /// another edge already.
    ///
    /// - Parameter address: what the token says of that edge.
    func fellow(
        _ flow: FlowReference?, at address: Endpoint?, _ domain: DomainKey, _ route: CoreRoute
    ) -> FellowEdge? {
        guard route.relay == nil, let flow, flow.boot != self.shared.boot, let address,
            !self.coreBinds.contains(address), let domain = self.snapshot.domain(domain)
        else { return nil }
        return FellowEdge(endpoint: address, domain: domain)
    }

    func begin(
        _ message: Message, _ key: TransactionKey, _ fellow: FellowEdge, _ digest: LoopDigest,
        fromCore origin: WorkerMessage.Origin
    ) throws(Refusal) {
        let domain = fellow.domain
        try self.admit(message, domain, fromCore: origin.source.address)
        let core = self.coreTarget(of: message, origin, domain)
        // The edge that has the flow judges and rewrites, so nothing of the passage but its direction is asked for here.
        let passage = Passage(
            direction: .toFellow, domain: domain, session: self.newSession(.plain), flow: nil, binding: nil,
            outside: domain.service(for: .tls), isOutsideSecure: true, mirrorsTransport: false,
            coreBind: self.bind(of: origin, core.transport), coreTransport: core.transport, coreTarget: core.endpoint,
            registration: nil)
        let transaction = ServerTransaction(
            worker: self, key: key, request: message, origin: origin, passage: passage)
        transaction.loop = digest
        self.add(transaction)
        let branch = self.nextBranch(loop: digest)
        guard let number = transaction.responses.openBranch() else { return }
        guard let copy = try? self.write(message, fellow, origin, branch),
            let flow = self.coreConnection(to: fellow.endpoint)
        else {
            transaction.branches.append(.unsent(self, branch, transaction, number))
            let verdict = transaction.responses.transportFailed(number, hasAlternative: false)
            return self.carryOut(verdict, of: transaction, branch: nil, response: nil)
        }
        self.metrics.fellowRequest(domain.metrics, .passedOn)
        let client = ClientTransaction(
            worker: self, branch: branch, request: copy.bytes, isInvite: transaction.isInvite, leg: .flow(flow.id),
            remote: fellow.endpoint, transport: .tcp, target: nil, sentBy: copy.sentBy, parent: transaction,
            number: number)
        transaction.branches.append(client)
        self.add(client)
        client.start()
    }

    /// An ACK to a 2xx, and a CANCEL that matches nothing.
    func forwardStatelessly(_ message: Message, _ fellow: FellowEdge, fromCore origin: WorkerMessage.Origin) {
        guard self.snapshot.mayReach(fellow.domain, from: origin.source.address) else { return }
        let branch = self.nextBranch(loop: self.shared.matcher.loopDigest(of: message))
        guard let copy = try? self.write(message, fellow, origin, branch),
            let flow = self.coreConnection(to: fellow.endpoint)
        else { return }
        self.metrics.fellowRequest(fellow.domain.metrics, .passedOn)
        self.send(copy.bytes, by: .flow(flow.id))
    }

    /// The core's request as it came, with a Route value on top that says whose it is: the edge that has the flow writes the
    /// core server's address into the dialog, not ours.
    private func write(
        _ message: Message, _ fellow: FellowEdge, _ origin: WorkerMessage.Origin, _ branch: Branch
    ) throws(ForwardFault) -> (bytes: [UInt8], sentBy: SentBy) {
        let core = self.coreTarget(of: message, origin, fellow.domain)
        let token = Token.relay(
            .init(domain: fellow.domain.key, transport: core.transport, target: core.endpoint))
        guard let text = self.text(of: token),
            let bind = self.coreBinds.index(for: .tcp, isIPv6: fellow.endpoint.address.isIPv6)
        else { throw .unwritable }
        let sentBy = self.coreBinds.entries[bind].sentBy
        var route = Array("<sip:".utf8)
        route.append(contentsOf: text)
        route.append(0x40)
        route.append(contentsOf: Array("\(fellow.endpoint)".utf8))
        route.append(contentsOf: Array(";transport=tcp;lr>".utf8))
        var editor = MessageEditor(message)
        editor.markReceived(from: origin.source)
        editor.insertAtTop("Route", route)
        editor.writeVersion(of: message)
        editor.lowerMaxForwards(of: message)
        editor.insertAtTop("Via", self.viaValue(.tcp, sentBy: sentBy.text, branch: branch))
        editor.setContentLength()
        do { return (try editor.finish(), sentBy) } catch { throw .unwritable }
    }

    /// The other edge's answer as it came: that has done with it what has to be done.
    func fellowResponse(_ response: Message) -> [UInt8]? {
        guard let via = response.topVia else { return nil }
        var editor = MessageEditor(response)
        editor.remove(value: via.value, of: .via)
        editor.setContentLength()
        return try? editor.finish()
    }
}
