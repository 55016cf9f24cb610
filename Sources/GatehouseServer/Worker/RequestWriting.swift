internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage
internal import SIPTransaction

// The forwarded copy of a request (RFC 3261 §16.6), for each direction and kind of core. What is not named here leaves octet
// for octet as it came.

/// Why no copy could be made.
enum ForwardFault: Error {
    /// A URI does not fit into a token, or a header of ours would hold CR, LF or NUL.
    case unwritable
}

extension Worker {
    /// The copy of a device's request that goes to the core.
    func coreRequest(
        _ message: Message, _ route: OutsideRoute, _ passage: Passage, from state: FlowState, transport: Transport,
        bind: Int, branch: Branch
    ) throws(ForwardFault) -> [UInt8] {
        var editor = MessageEditor(message)
        let isPBX = passage.domain.isPBX
        let method = message.method
        let removed = passage.domain.removedHeaders
        for field in message.fields {
            if removed.contains(field, in: message.bytes) {
                editor.remove(field)  // TRUST-09
                continue
            }
            switch field.name {
            case .gatehouse, .pPreferredIdentity:
                editor.remove(field)  // TRUST-02, TRUST-06
            case .pAssertedIdentity:
                if !passage.domain.trusts(state.provedNames) { editor.remove(field) }  // TRUST-01, TRUST-05
            case .via, .route, .recordRoute, .path:
                if isPBX { editor.remove(field) }
            default:
                break
            }
        }
        if isPBX {
            if case .dialog(let core) = route.destination {
                editor.replace(message.requestURI, with: core.contact)
            } else {
                editor.makePlain(route.requestURI, in: message)
            }
            if method == .register {
                try self.replaceRegistration(
                    in: message, passage, transport: passage.coreTransport, bind: bind, &editor)
            } else {
                try self.replaceDeviceContacts(
                    in: message, passage, transport: passage.coreTransport, bind: bind, &editor)
            }
        } else {
            editor.removeTopRoutes(route.ownRoutes, of: message)
            editor.rewrite(route, in: message)
            editor.markReceived(from: state.remote)
            if method == .register {
                try self.insertPath(in: message, passage, transport: passage.coreTransport, bind: bind, &editor)
            } else if method.isRecordRouted {
                var passage = passage
                passage.coreBind = bind
                guard let routes = self.recordRoutes(passage) else { throw .unwritable }
                editor.insertAtTop("Record-Route", routes.outside)
                editor.insertAtTop("Record-Route", routes.core)
            }
        }
        editor.writeVersion(of: message)
        editor.lowerMaxForwards(of: message)
        editor.limitBreadth(of: message)
        if let referral = passage.referral { editor.write(referral, in: message, isPlain: isPBX) }
        editor.append(SessionTag.name, self.tagValue(passage, facts: state.facts))
        guard bind >= 0, bind < self.coreBinds.entries.count else { throw .unwritable }
        editor.insertAtTop(
            "Via", self.viaValue(transport, sentBy: self.coreBinds.entries[bind].sentBy.text, branch: branch))
        editor.setContentLength()
        do { return try editor.finish() } catch { throw .unwritable }
    }

    /// The copy of the core's request that goes to a device.
    ///
    /// - Parameters:
    ///   - source: where the request came from.
    ///   - sentBy: of our Via.
    func deviceRequest(
        _ message: Message, _ passage: Passage, _ form: OutsideForm, source: Endpoint, transport: Transport,
        sentBy: SentBy, branch: Branch
    ) throws(ForwardFault) -> [UInt8] {
        var editor = MessageEditor(message)
        let isPBX = passage.domain.isPBX
        let privacy = message.identityPrivacy
        let hidesIdentity =
            privacy == .asked || privacy == nil && passage.domain.configuration.security.assertedIdentity == .strip
        for field in message.fields {
            switch field.name {
            case .gatehouse:
                editor.remove(field)  // TRUST-07
            case .pAssertedIdentity:
                if hidesIdentity { editor.remove(field) }  // TRUST-03, TRUST-04
            case .via, .recordRoute, .path, .serviceRoute:
                if isPBX { editor.remove(field) }
            case .route:
                if form.dropsRoutes { editor.remove(field) }
            case .warning, .reason:
                if isPBX { self.hideCore(field, of: message, passage.domain, &editor) }
            default:
                break
            }
        }
        if let uri = form.requestURI { editor.replace(message.requestURI, with: uri) }
        if !form.dropsRoutes {
            editor.removeTopRoutes(form.ownRoutes, of: message)
            switch (form.strictRouter, form.lastRoute) {
            case (let strict?, nil): editor.yield(to: strict, in: message)
            // The target is the last Route value already, where it stays.
            case (let route?, _?), (nil, let route?): editor.takeUp(route, in: message)
            case (nil, nil): break
            }
        }
        for route in form.routes.reversed() { editor.insertAtTop("Route", [0x3C] + route + [0x3E]) }
        if let referral = passage.referral { editor.write(referral, in: message, isPlain: false) }
        if isPBX {
            try self.replaceCoreContacts(in: message, passage, &editor)
        } else {
            editor.markReceived(from: source)
            if message.method.isRecordRouted {
                guard let routes = self.recordRoutes(passage) else { throw .unwritable }
                editor.insertAtTop("Record-Route", routes.core)
                editor.insertAtTop("Record-Route", routes.outside)
            }
        }
        editor.writeVersion(of: message)
        editor.lowerMaxForwards(of: message)
        editor.limitBreadth(of: message)
        editor.insertAtTop(
            "Via", self.viaValue(transport, sentBy: sentBy.text, branch: branch, form.viaParameters))
        editor.setContentLength()
        do { return try editor.finish() } catch { throw .unwritable }
    }

    /// The session tag of a request towards the core.
    func tagValue(_ passage: Passage, facts: [UInt8]) -> [UInt8] {
        let text = SessionTag.signedText(session: passage.session, domain: passage.domain.name)
        return SessionTag.value(
            session: passage.session, facts: facts, refer: passage.referral?.tagWord, code: self.cipher.mac(text))
    }

    // MARK: Contacts

    /// Puts the edge in place of a device, so that the core's requests come back here (PBX-02).
    func replaceDeviceContacts(
        in message: Message, _ passage: Passage, transport: Transport, bind: Int, _ editor: inout MessageEditor
    ) throws(ForwardFault) {
        guard message.first(.contact) != nil else { return }
        // As the route set of a UAS (request) or a UAC (response) has them: nearest to us first (RFC 3261 §12.1).
        var routes: [[UInt8]] = []
        if message.first(.recordRoute) != nil {
            for value in message.values(of: .recordRoute) {
                guard let route = try? NameAddr.parse(message.bytes, value) else { continue }
                routes.append(route.addrSpec.bytes(in: message.bytes))
            }
            if !message.isRequest { routes.reverse() }
        }
        for value in message.values(of: .contact) {
            guard let contact = try? NameAddr.parse(message.bytes, value), contact.uri.isSIP else { continue }
            let uri = message.bytes[contact.addrSpec.range]
            let token = Token.device(
                .init(
                    domain: passage.domain.key, session: passage.session, flow: passage.flow,
                    edge: self.coreBinds.forFellows,
                    binding: self.binding(of: passage.flow, contact: uri) ?? passage.binding, contact: Array(uri),
                    routes: routes, peer: passage.peer))
            guard let text = self.text(of: token) else { throw .unwritable }
            editor.replace(contact, with: self.coreURI(text, bind: bind, transport: transport))
        }
    }

    /// Puts the edge in place of the core, of which the outside sees nothing (PBX-03, PBX-04).
    func replaceCoreContacts(
        in message: Message, _ passage: Passage, _ editor: inout MessageEditor
    ) throws(ForwardFault) {
        guard message.first(.contact) != nil else { return }
        for value in message.values(of: .contact) {
            guard let contact = try? NameAddr.parse(message.bytes, value), contact.uri.isSIP else { continue }
            let token = Token.core(
                .init(
                    domain: passage.domain.key, session: passage.session, transport: passage.coreTransport,
                    target: passage.coreTarget, contact: contact.addrSpec.bytes(in: message.bytes)))
            guard let text = self.text(of: token) else { throw .unwritable }
            editor.replace(contact, with: self.outsideURI(text, passage))
        }
    }

    /// The registration that a Contact of this flow belongs to.
    private func binding(of flow: FlowReference?, contact: ArraySlice<UInt8>) -> BindingKey? {
        guard let flow, flow.worker == self.index, let state = self.state(ofFlow: flow.number) else { return nil }
        return state.binding(for: contact)
    }

    /// Writes the edge's name over the core's in a value that is for people to read (PBX-04).
    func hideCore(
        _ field: HeaderField, of message: Message, _ domain: DomainRuntime, _ editor: inout MessageEditor
    ) {
        var value = message.unfolded(field.value)
        var changed = false
        for host in self.coreHosts(of: domain) where !host.isEmpty {
            var start = 0
            while let found = value.firstRange(of: host, from: start) {
                value.replaceSubrange(found, with: domain.advertise)
                start = found.lowerBound + domain.advertise.count
                changed = true
            }
        }
        if changed { editor.replace(field.value, with: value) }
    }

    private func coreHosts(of domain: DomainRuntime) -> [[UInt8]] {
        var hosts = self.coreBinds.entries.map(\.host)
        for target in domain.targets {
            hosts.append(Array(target.key.host.utf8))
            for address in target.addresses { hosts.append(Array(address.address.description.utf8)) }
        }
        return hosts
    }
}

extension Method {
    /// Whether a proxy stays on the path of what this request begins or refreshes (RFC 3261 §16.6 item 4, RR-01).
    var isRecordRouted: Bool {
        switch self {
        case .invite, .subscribe, .refer, .notify, .update, .other: true
        case .ack, .bye, .cancel, .register, .options, .publish, .info, .message, .prack: false
        }
    }
}

extension MessageEditor {
    /// Does what a strict router before or behind us needs, and takes our own `maddr` away.
    mutating func rewrite(_ route: OutsideRoute, in message: Message) {
        switch route.rewriting {
        case nil:
            break
        case .fromLastRoute(let value):
            self.takeUp(.init(uri: route.requestURI, value: value), in: message)
        case .toStrictRouter(let value):
            guard case .nextRoute(let next) = route.destination else { break }
            self.yield(to: .init(uri: next, value: value), in: message)
        case .withoutOwnAddress:
            let uri = route.requestURI
            for name in ["maddr", "transport"] as [StaticString] { self.removeParameter(name, of: uri, in: message) }
            if uri.port != nil { self.replace(ByteRange(uri.host.end, uri.hostPort.end), with: []) }
        }
    }

    /// Puts a strict router into the Request-URI, and that at the end of the Route list (RFC 3261 §16.6 item 6).
    mutating func yield(to strict: CoreRoute.NextRoute, in message: Message) {
        self.append("Route", [0x3C] + message.requestURI.bytes(in: message.bytes) + [0x3E])
        self.takeUp(strict, in: message)
    }

    /// Puts a Route value into the Request-URI.
    mutating func takeUp(_ route: CoreRoute.NextRoute, in message: Message) {
        self.replace(message.requestURI, with: route.uri.whole.bytes(in: message.bytes))
        self.remove(value: route.value, of: .route)
    }

    /// Writes the version of the start line as everything of ours says it (MSG-11).
    mutating func writeVersion(of message: Message) {
        let start = message.isRequest ? message.requestURI.end + 1 : 0
        let range = ByteRange(start, start + 7)
        guard range.end <= message.headerSectionEnd, !range.equals("SIP/2.0", in: message.bytes) else { return }
        self.replace(range, with: Array("SIP/2.0".utf8))
    }

    /// Lowers Max-Forwards by one, or begins at 70 (RFC 3261 §16.6 item 3).
    mutating func lowerMaxForwards(of message: Message) {
        guard let field = message.first(.maxForwards), let hops = message.maxForwards else {
            self.append("Max-Forwards", [0x37, 0x30])
            return
        }
        var text: [UInt8] = []
        text.append(decimal: UInt64(max(hops - 1, 0)))
        self.replace(field.value, with: text)
    }

    /// Adds Max-Breadth where it is missing, and lowers one that is higher than ours (RFC 5393 §5.3.3).
    mutating func limitBreadth(of message: Message) {
        guard message.method != .ack, message.method != .cancel else { return }
        guard let field = message.first(.maxBreadth) else {
            self.append("Max-Breadth", [0x36, 0x30])
            return
        }
        let text = field.value.text(in: message.bytes)
        if let breadth = Int(text), breadth > 60 { self.replace(field.value, with: [0x36, 0x30]) }
    }

    /// Removes the first values of the Route list.
    mutating func removeTopRoutes(_ count: Int, of message: Message) {
        guard count > 0 else { return }
        for value in message.values(of: .route).prefix(count) { self.remove(value: value, of: .route) }
    }

    /// Turns a Request-URI into what a plain PBX takes: `sip:`, no `transport` (PBX-01).
    mutating func makePlain(_ uri: URI, in message: Message) {
        if uri.scheme == .sips {
            self.replace(ByteRange(uri.whole.start, uri.whole.start + 4), with: [0x73, 0x69, 0x70])
        }
        self.removeParameter("transport", of: uri, in: message)
    }

    /// Takes a parameter with its semicolon out of a URI.
    mutating func removeParameter(_ name: StaticString, of uri: URI, in message: Message) {
        guard let value = uri.parameter(name, in: message.bytes) else { return }
        var start = value.start
        while start > uri.parameters.start, message.bytes[start] != 0x3B || start == value.end { start -= 1 }
        self.replace(ByteRange(start, value.end), with: [])
    }

    /// Writes another URI into a Contact, in angle brackets, since ours have parameters.
    mutating func replace(_ contact: NameAddr, with uri: [UInt8]) {
        self.replace(contact.addrSpec, with: contact.hasAngles ? uri : [0x3C] + uri + [0x3E])
    }
}

extension [UInt8] {
    /// The first place at or after `start` where `bytes` stand.
    func firstRange(of bytes: [UInt8], from start: Int) -> Range<Int>? {
        guard !bytes.isEmpty, self.count >= bytes.count else { return nil }
        var index = start
        while index + bytes.count <= self.count {
            if self[index..<index + bytes.count].elementsEqual(bytes) { return index..<index + bytes.count }
            index += 1
        }
        return nil
    }
}
