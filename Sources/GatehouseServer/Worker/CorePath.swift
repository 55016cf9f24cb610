internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage
internal import SIPTransaction

// A request from the core, on its way to a device.

/// The way to a device.
struct DeviceHop {
    var state: FlowState
    /// The device's own URI, where the core knows only a token.
    var contact: [UInt8]?
    var form: OutsideForm
}

extension Worker {
    /// - Parameter handOvers: how many workers had the request before and found that its flow, or its next hop, is here.
    func receiveRequest(_ message: Message, fromCore origin: WorkerMessage.Origin, handOvers: Int) {
        let isHandedOver = handOvers > 0
        let route: CoreRoute
        do throws(Refusal) {
            if !isHandedOver, let fault = message.checkSyntax(self.messageLimits) {
                return self.refuse(fault, origin: origin, domain: nil)
            }
            route = try RouteProcessing.fromCore(message, knowledge: self)
        } catch {
            return self.refuseFromCore(error, message, origin: origin)
        }
        // The transaction lives where the device's connection does, so that all that follows stays on one loop.
        if !isHandedOver, let owner = self.owner(of: route, message, origin), owner != self.index,
            let mailbox = self.mailbox(of: owner)
        {
            return self.handOver(message, origin, to: mailbox, handOvers)
        }
        if let newest = self.newOwner(of: route), let mailbox = self.mailbox(of: newest) {
            return self.handOver(message, origin, to: mailbox, handOvers)
        }
        guard let key = self.shared.matcher.key(of: message) else {
            return self.refuseFromCore(Refusal(400, .syntax), message, origin: origin)
        }
        switch message.method {
        case .ack:
            if let transaction = self.serverTransactions[key], transaction.receivedACK() { return }
            if self.ownTags.isOwn(message) || self.refusedInvites.take(key) { return }
            if self.passedOn(message, route, origin, handOvers) { return }
            self.forwardStatelessly(message, route, fromCore: origin)
        case .cancel:
            if self.receiveCancel(message, origin: origin) || self.passedOn(message, route, origin, handOvers) {
                return
            }
            self.forwardStatelessly(message, route, fromCore: origin)
        case .invite, .bye, .register, .options, .subscribe, .notify, .publish, .info, .refer, .message, .update,
            .prack, .other:
            if let transaction = self.serverTransactions[key] { return transaction.receivedRetransmission() }
            self.begin(message, key, route, fromCore: origin)
        }
    }

    private func begin(
        _ message: Message, _ key: TransactionKey, _ route: CoreRoute, fromCore origin: WorkerMessage.Origin
    ) {
        let domain = self.domain(of: route)
        do throws(Refusal) {
            if let fault = proxyValidation(of: message) {
                return self.refuse(fault, message, origin: origin, domain: domain)
            }
            let digest = self.shared.matcher.loopDigest(of: message)
            if self.shared.matcher.isLooped(message, digest: digest) { throw Refusal(482, .loop) }
            let tag = try self.tag(of: message)
            if route.destination == .edge { return self.answerOptions(message, origin: origin, domain: domain) }
            let hop: DeviceHop
            switch try self.way(of: message, route, tag, origin) {
            case .flow(let device): hop = device
            case .located(let outbound):
                return try self.begin(message, key, route, outbound, digest, fromCore: origin)
            case .fellow(let fellow):
                return try self.begin(message, key, fellow, digest, fromCore: origin)
            }
            guard let domain = hop.state.domain(in: self.snapshot) else { throw Refusal(480, .flowGone) }
            try self.admit(message, domain, fromCore: route.relay?.target.address ?? origin.source.address)
            let passage = try self.passage(of: message, route, hop, tag, domain, origin)
            let call = try self.beginCall(message, domain)
            let transaction = ServerTransaction(
                worker: self, key: key, request: message, origin: origin, passage: passage)
            transaction.call = call
            transaction.loop = digest
            self.add(transaction)
            self.sendToDevice(hop, of: transaction)
        } catch {
            self.refuse(error, message, origin: origin, domain: domain)
        }
    }

    /// Counts a request of the core's for a domain, and lets it in or refuses it: a core reaches its own domains alone (PBX-14).
    func admit(_ message: Message, _ domain: DomainRuntime, fromCore source: IPAddress) throws(Refusal) {
        guard self.snapshot.mayReach(domain, from: source) else { throw Refusal(404, .unknownToken) }
        self.metrics.requestReceived(domain.metrics, .out, message.method)
        try self.admit(message, domain)
    }

    private func sendToDevice(_ hop: DeviceHop, of transaction: ServerTransaction) {
        let branch = self.nextBranch(loop: transaction.loop)
        let passage = transaction.passage
        guard let number = transaction.responses.openBranch() else { return }
        guard
            let bytes = try? self.deviceRequest(
                transaction.request, passage, hop.form, source: transaction.origin.source,
                transport: hop.state.transport, sentBy: hop.state.sentBy(passage.domain), branch: branch)
        else {
            transaction.branches.append(.unsent(self, branch, transaction, number))
            let verdict = transaction.responses.transportFailed(number, hasAlternative: false)
            return self.carryOut(verdict, of: transaction, branch: nil, response: nil)
        }
        let client = ClientTransaction(
            worker: self, branch: branch, request: bytes, isInvite: transaction.isInvite, leg: hop.state.leg,
            remote: hop.state.remote, transport: hop.state.transport, target: nil,
            sentBy: hop.state.sentBy(passage.domain), parent: transaction, number: number)
        transaction.branches.append(client)
        self.add(client)
        client.start()
    }

    /// An ACK to a 2xx, and a CANCEL that matches nothing, go on without state (RFC 3261 §16.10, §16.11).
    private func forwardStatelessly(_ message: Message, _ route: CoreRoute, fromCore origin: WorkerMessage.Origin) {
        let way: OutsideWay
        do throws(Refusal) {
            guard message.maxForwards != 0 else { return }
            way = try self.way(of: message, route, try self.tag(of: message), origin)
        } catch {
            return self.metrics.refused(self.shared.metrics.noDomain, error.rule)
        }
        switch way {
        case .flow(let hop):
            guard let domain = hop.state.domain(in: self.snapshot),
                let passage = try? self.passage(of: message, route, hop, nil, domain, origin),
                let bytes = try? self.deviceRequest(
                    message, passage, hop.form, source: origin.source, transport: hop.state.transport,
                    sentBy: hop.state.sentBy(domain),
                    branch: self.nextBranch(loop: self.shared.matcher.loopDigest(of: message)))
            else { return }
            self.send(bytes, by: hop.state.leg)
        case .located(let outbound):
            self.forwardStatelessly(message, outbound, fromCore: origin)
        case .fellow(let fellow):
            self.forwardStatelessly(message, fellow, fromCore: origin)
        }
    }

    // MARK: Where it goes

    private func handOver(
        _ message: Message, _ origin: WorkerMessage.Origin, to mailbox: Mailbox, _ handOvers: Int
    ) {
        if !mailbox.post(.request(message, origin, handOvers: handOvers + 1)) {
            self.metrics.datagramDropped(.queueFull)
        }
    }

    /// An ACK or CANCEL outside a dialog carries less than its INVITE, so the next hop that it names may be another worker's:
    /// whichever has the transaction takes it, and the one that it named forwards what matches nothing.
    private func passedOn(
        _ message: Message, _ route: CoreRoute, _ origin: WorkerMessage.Origin, _ handOvers: Int
    ) -> Bool {
        let count = self.shared.workerCount
        guard case .elsewhere = route.destination, count > 1, handOvers < 2 * count else { return false }
        if handOvers >= count, self.owner(of: route, message, origin) ?? self.index == self.index { return false }
        guard let mailbox = self.mailbox(of: UInt16(truncatingIfNeeded: (Int(self.index) + 1) % count)) else {
            return false
        }
        self.handOver(message, origin, to: mailbox, handOvers)
        return true
    }

    /// Whether no flow of ours is named, so that the next hop has to be located.
    private func isLocated(_ route: CoreRoute) -> Bool {
        switch route.destination {
        case .elsewhere: true
        case .flow(let token, _): token.flow == nil
        case .device(let device): device.flow == nil && device.binding == nil
        case .binding, .edge: false
        }
    }

    /// The worker that owns the device's connection, or those to the next hop.
    private func owner(of route: CoreRoute, _ message: Message, _ origin: WorkerMessage.Origin) -> UInt16? {
        if let owner = self.flowOwner(of: route, for: message.method) { return owner }
        guard self.isLocated(route) else { return nil }
        do throws(Refusal) {
            let tag = try self.tag(of: message)
            if let owner = try self.registeredOwner(of: message, route, tag, origin) { return owner }
            guard case .located(let outbound) = try self.way(of: message, route, tag, origin) else { return nil }
            return self.owner(of: outbound)
        } catch {
            return nil  // refused here as well as anywhere
        }
    }

    private func flowOwner(of route: CoreRoute, for method: Method) -> UInt16? {
        switch route.destination {
        case .device(let device):
            if let flow = device.flow, flow.boot == self.shared.boot { return flow.worker }
            return device.binding.flatMap { self.shared.bindings.binding($0, now: self.now)?.flow.worker }
        case .binding(_, let key):
            return self.shared.bindings.device(key, now: self.now, for: method)?.flow.worker
        case .flow(let token, _):
            guard let flow = token.flow, flow.boot == self.shared.boot else { return nil }
            return flow.worker
        case .edge, .elsewhere:
            return nil
        }
    }

    /// The other worker to which the device has moved that a dialog's token looks for here.
    private func newOwner(of route: CoreRoute) -> UInt16? {
        guard case .device(let device) = route.destination, self.flow(device.flow) == nil, let key = device.binding,
            let worker = self.shared.bindings.binding(key, now: self.now)?.flow.worker, worker != self.index
        else { return nil }
        return worker
    }

    private func domain(of route: CoreRoute) -> DomainRuntime? {
        switch route.destination {
        case .device(let device): self.snapshot.domain(device.domain)
        case .binding(let key, _): self.snapshot.domain(key)
        case .flow(let token, _): self.snapshot.domain(token.domain)
        case .edge, .elsewhere: nil
        }
    }

    /// The device's connection is gone. A `sips:` contact, or a device in a SIPS session, cannot be reached in any other way that is secure.
    static func unreachable(_ contact: [UInt8], _ session: Session? = nil) -> Refusal {
        self.isSIPS(contact) || session?.staysSIPS == true
            ? .sipsNotAllowed : Refusal(480, .flowGone, warning: "the device's connection is gone")
    }

    /// A connection of this worker that a token names.
    func flow(_ reference: FlowReference?) -> FlowState? {
        guard let reference, reference.boot == self.shared.boot, reference.worker == self.index,
            let state = self.state(ofFlow: reference.number), state.side == .outside, self.isUsable(state)
        else { return nil }
        return state
    }

    /// The session that the core's copy of our tag names.
    private func tag(of message: Message) throws(Refusal) -> SessionTag? {
        var found: SessionTag?
        for field in message.fields where field.name == .gatehouse {
            guard field.nameRange.equalsIgnoringCase(SessionTag.name, in: message.bytes) else { continue }
            guard found == nil else { throw Refusal(403, .doubledTag) }
            do throws(SessionTag.Fault) {
                found = try SessionTag.read(message.bytes, field.value, now: self.wallClock) { code, text in
                    self.cipher.verifies(mac: code, of: text)
                }
            } catch {
                throw Refusal(403, error == .expired ? .expiredTag : .forgedTag)
            }
        }
        return found
    }

    private func passage(
        of message: Message, _ route: CoreRoute, _ hop: DeviceHop, _ tag: SessionTag?, _ domain: DomainRuntime,
        _ origin: WorkerMessage.Origin
    ) throws(Refusal) -> Passage {
        let session = try self.session(of: message, route, tag, domain, contact: hop.contact)
        try domain.configuration.security.checkConnection(
            of: session, isSIPS: route.requestURI.scheme == .sips,
            contactIsSIPS: hop.contact.map(Self.isSIPS) == true, isSecure: hop.state.transport == .tls)
        let core =
            route.relay.map { (transport: $0.transport, endpoint: $0.target) }
            ?? self.coreTarget(of: message, origin, domain)
        var passage = Passage(
            direction: .toOutside, domain: domain, session: session, flow: hop.state.reference,
            binding: route.binding, outside: hop.state.service,
            isOutsideSecure: hop.state.transport == .tls, mirrorsTransport: hop.wroteTransportTLS(message),
            coreBind: self.bind(of: origin, core.transport), coreTransport: core.transport, coreTarget: core.endpoint,
            registration: nil)
        if route.relay != nil { self.metrics.fellowRequest(domain.metrics, .takenOver) }
        if message.method == .refer {
            passage.referral = try self.referral(of: message, passage, from: core.endpoint.address)
        }
        return passage
    }

    static func isSIPS(_ uri: [UInt8]) -> Bool {
        uri.prefix(5).elementsEqual("sips:".utf8) { $0 | 0x20 == $1 | 0x20 }
    }

    /// Where the core server that sent a request is reached in later requests of its dialog: the target that has its
    /// address, else where the request came from, for which TCP needs the port that its Via names.
    func coreTarget(
        of message: Message, _ origin: WorkerMessage.Origin, _ domain: DomainRuntime
    ) -> (transport: Transport, endpoint: Endpoint) {
        if origin.transport == .udp { return (.udp, origin.source) }
        for target in domain.targets where target.key.transport == .tcp {
            if let address = target.addresses.first(where: { $0.address == origin.source.address }) {
                return (.tcp, address)
            }
        }
        let port = message.topVia?.sentByPort ?? Transport.tcp.defaultPort
        return (.tcp, Endpoint(address: origin.source.address, port: port))
    }

    /// The core bind that a request from the core came to, as its index.
    func bind(of origin: WorkerMessage.Origin, _ transport: Transport) -> Int {
        if case .datagram(let socket, _) = origin.leg, transport == .udp { return socket }
        return self.coreBinds.entries.firstIndex { $0.transport == transport && $0.endpoint == origin.local }
            ?? self.coreBinds.index(for: transport, isIPv6: origin.source.address.isIPv6) ?? 0
    }
}

extension CoreRoute {
    var isPath: Bool {
        if case .flow(_, let isPath) = self.destination { return isPath }
        return false
    }

    var binding: BindingKey? {
        switch self.destination {
        case .device(let device): device.binding
        case .binding(_, let key): key
        case .flow, .edge, .elsewhere: nil
        }
    }
}

extension DeviceHop {
    /// Whether the device wrote `transport=tls` into the URI by which it is reached (RR-03).
    func wroteTransportTLS(_ message: Message) -> Bool {
        guard self.state.transport == .tls else { return false }
        let bytes = self.contact ?? message.requestURI.bytes(in: message.bytes)
        guard let uri = try? URI.parse(bytes, ByteRange(0, bytes.count)) else { return false }
        return uri.scheme == .sip && uri.transport(in: bytes) == .tls
    }
}
