internal import GatehouseNet
internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage

// REGISTER through the edge: with a `pbx` core the edge takes the place of the device's contacts (PBX-07), with a `proxy`
// core it puts itself into the Path (RFC 3327, RFC 5626 §5.1).

extension Worker {
    /// The contacts of a REGISTER and the names under which their bindings are kept.
    func registration(of message: Message, _ domain: DomainRuntime) throws(Refusal) -> Registration {
        guard let to = message.to else { throw Refusal(400, .syntax) }
        // Without a password, which is nobody's to see (URI-05).
        let aor = (to.uri.user.map { $0.bytes(in: message.bytes) + [0x40] } ?? []) + domain.name
        var registration = Registration(aor: aor, contacts: [], isWildcard: false)
        guard message.first(.contact) != nil else { return registration }
        let general = message.first(.expires)?.value
        for value in message.values(of: .contact) {
            if value.equals("*", in: message.bytes) {
                registration.isWildcard = true
                continue
            }
            guard let contact = try? NameAddr.parse(message.bytes, value), contact.uri.isSIP else { continue }
            guard registration.contacts.count < FlowState.registeredLimit else { throw Refusal(400, .tooLarge) }
            let uri = contact.addrSpec.bytes(in: message.bytes)
            let instance = self.instanceKey(contact, in: message, domain)
            let key = instance ?? self.contactKey(contact, in: message, domain)
            guard let token = self.text(of: .binding(domain: domain.key, key: key)) else {
                throw Refusal(400, .tooLarge)
            }
            let expires = contact.parameter("expires", in: message.bytes) ?? general
            registration.contacts.append(
                Registration.Contact(
                    uri: uri, key: key, token: token, hasInstance: instance != nil,
                    isEnding: expires?.equals("0", in: message.bytes) ?? false))
        }
        if registration.contacts.count > 1 { registration.settleNames() }
        return registration
    }

    /// The same device has the same key: by instance and reg-id where it says them, else by its Contact (RFC 5626 §4.2).
    private func instanceKey(_ contact: NameAddr, in message: Message, _ domain: DomainRuntime) -> BindingKey? {
        guard let instance = contact.parameter("+sip.instance", in: message.bytes), !instance.isEmpty,
            let number = contact.parameter("reg-id", in: message.bytes), !number.isEmpty
        else { return nil }
        let user = message.to.map { $0.uri.userInfo.bytes(in: message.bytes) } ?? []
        return self.key(
            "instance", [domain.name, user, instance.bytes(in: message.bytes), number.bytes(in: message.bytes)])
    }

    private func contactKey(_ contact: NameAddr, in message: Message, _ domain: DomainRuntime) -> BindingKey {
        let user = message.to.map { $0.uri.userInfo.bytes(in: message.bytes) } ?? []
        return self.key("contact", [domain.name, user, contact.uri.comparableText(in: message.bytes)])
    }

    private func key(_ kind: StaticString, _ parts: [[UInt8]]) -> BindingKey {
        var text: [UInt8] = []
        text.append(kind)
        for part in parts {
            text.append(0)
            text.append(contentsOf: part)
        }
        return BindingKey(code: self.cipher.mac(text))
    }

    /// Writes our URIs over the contacts of a REGISTER towards a `pbx` core.
    func replaceRegistration(
        in message: Message, _ passage: Passage, transport: Transport, bind: Int, _ editor: inout MessageEditor
    ) throws(ForwardFault) {
        guard let registration = passage.registration else { return }
        var index = 0
        for value in message.values(of: .contact) {
            guard let contact = try? NameAddr.parse(message.bytes, value), contact.uri.isSIP else { continue }
            guard index < registration.contacts.count else { throw .unwritable }
            let own = registration.contacts[index]
            if own.isReplaced {
                editor.remove(value: value, of: .contact)
            } else {
                editor.replace(contact, with: self.coreURI(own.token, bind: bind, transport: transport))
            }
            index += 1
        }
    }

    /// Writes the devices' own contacts back over ours in a response to a REGISTER; contacts that are not ours pass.
    func restoreRegistration(in response: Message, _ passage: Passage, _ editor: inout MessageEditor) {
        guard response.first(.contact) != nil else { return }
        for value in response.values(of: .contact) {
            guard let contact = try? NameAddr.parse(response.bytes, value), contact.uri.isSIP,
                case .token(.binding(_, let key)) = self.token(of: contact.uri, in: response.bytes)
            else { continue }
            let known =
                passage.registration?.contacts.first { $0.key == key && !$0.isReplaced }?.uri
                ?? self.shared.bindings.binding(key, now: self.now)?.contact
            if let known {
                editor.replace(contact, with: known)
            } else if let user = contact.uri.user {
                // A binding of an earlier run: the device that made it is not known again, and nothing of the core shows.
                editor.replace(contact, with: self.outsideURI(user.bytes(in: response.bytes), passage))
            }
        }
    }

    /// Has the devices of a REGISTER stand under their names until the core answers (PBX-14).
    func propose(_ transaction: ServerTransaction) {
        let passage = transaction.passage
        guard let registration = passage.registration, let flow = passage.flow else { return }
        for contact in registration.contacts where !contact.isReplaced {
            let binding = Binding(
                domain: passage.domain.key, aor: registration.aor, flow: flow, contact: contact.uri,
                session: passage.session, deadline: .max)
            if self.shared.bindings.propose(binding, for: contact.key, now: self.now) {
                transaction.proposals.append(contact.key)
            }
        }
    }

    /// A registrar's 2xx makes, refreshes and ends the bindings (REG-15).
    func registered(_ transaction: ServerTransaction, _ response: Message) {
        guard let flow = transaction.passage.flow, let state = self.state(ofFlow: flow.number) else {
            return
        }
        guard let registration = transaction.passage.registration else {
            // A `proxy` core keeps the bindings itself; what they need here is the connection (CONN-01).
            state.isRegistered = response.first(.contact) != nil
            self.flows[flow.number]?.isRegistered = state.isRegistered
            self.noteStanding(of: state, registeredFor: self.longestExpiry(in: response))
            return
        }
        if registration.isWildcard {
            // Of this address of record alone: a phone may register several over one connection.
            for registered in state.registered {
                let binding = self.shared.bindings.binding(registered.key, now: self.now)
                if let binding, binding.aor != registration.aor { continue }
                self.shared.unbind(registered.key)
                state.forget(registered.key)
            }
        }
        let granted = self.grantedExpiries(in: response)
        let facts = ArrivalFacts.record(
            state.facts, serverName: self.flows[flow.number]?.tls?.serverName, listener: state.local)
        for contact in registration.contacts where !contact.isReplaced {
            guard let seconds = granted[contact.key], seconds > 0 else {
                self.shared.unbind(contact.key)
                state.forget(contact.key)
                continue
            }
            let binding = Binding(
                domain: transaction.passage.domain.key, aor: registration.aor, flow: flow, contact: contact.uri,
                session: transaction.passage.session, deadline: self.now &+ UInt64(seconds) &* 1_000_000_000)
            if self.shared.bind(binding, contact.key, for: seconds, facts: facts) {
                state.remember(contact.key, contact: contact.uri)
            } else {
                self.metrics.limitHit(transaction.passage.domain.metrics, .bindings)
            }
        }
        state.isRegistered = !state.registered.isEmpty
        self.flows[flow.number]?.isRegistered = state.isRegistered
        let longest = registration.contacts.compactMap { granted[$0.key] }.max() ?? 0
        self.noteStanding(of: state, registeredFor: longest)
    }

    /// Whether the edge takes a device's registration as `outbound` in place of a `pbx` core, which knows nothing of it
    /// (RFC 5626 §6, PBX-17): it is the device's first hop, and reaches the device over the connection that it came by last.
    ///
    /// Not over UDP, where the device would ask for keep-alives by STUN.
    func takesOutbound(_ response: Message, _ transaction: ServerTransaction) -> Bool {
        guard let registration = transaction.passage.registration, response.status / 100 == 2,
            transaction.origin.transport.isReliable, registration.contacts.contains(where: \.hasInstance),
            transaction.request.lists("outbound", in: .supported), transaction.request.isFromItsSender,
            !response.lists("outbound", in: .require)
        else { return false }
        let granted = self.grantedExpiries(in: response)
        return registration.contacts.contains { $0.hasInstance && granted[$0.key] ?? 0 > 0 }
    }

    /// The seconds that the registrar gives each of our bindings.
    private func grantedExpiries(in response: Message) -> [BindingKey: UInt32] {
        var granted: [BindingKey: UInt32] = [:]
        for value in response.values(of: .contact) {
            guard let contact = try? NameAddr.parse(response.bytes, value), contact.uri.isSIP,
                case .token(.binding(_, let key)) = self.token(of: contact.uri, in: response.bytes)
            else { continue }
            granted[key] = response.expiry(of: contact)
        }
        return granted
    }

    /// The seconds that the registrar gives the binding that lasts longest.
    private func longestExpiry(in response: Message) -> UInt32 {
        response.values(of: .contact).lazy.compactMap { value in
            (try? NameAddr.parse(response.bytes, value)).map { response.expiry(of: $0) }
        }.max() ?? 0
    }

    /// Puts the edge into the Path of a REGISTER towards a `proxy` core, above what is there (REG-01, REG-02).
    ///
    /// A device that says nothing of Path gets this far where the domain has `core.path: always`.
    func insertPath(
        in message: Message, _ passage: Passage, transport: Transport, bind: Int, _ editor: inout MessageEditor
    ) throws(ForwardFault) {
        let token = Token.path(
            .init(
                domain: passage.domain.key, session: passage.session, flow: passage.flow,
                edge: self.coreBinds.forFellows))
        guard let text = self.text(of: token) else { throw .unwritable }
        var value: [UInt8] = [0x3C]
        value.append(contentsOf: self.coreURI(text, bind: bind, transport: transport))
        value.append(";lr")
        let isFirstHop = message.count(of: .via) == 1
        let supportsOutbound = message.lists("outbound", in: .supported)
        let hasRegID = message.values(of: .contact).contains { value in
            (try? NameAddr.parse(message.bytes, value))?.parameter("reg-id", in: message.bytes) != nil
        }
        if isFirstHop, supportsOutbound, hasRegID { value.append(";ob") }
        value.append(0x3E)
        editor.insertAtTop("Path", value)
        if message.lists("path", in: .supported), !message.lists("path", in: .require) {
            editor.append("Require", Array("path".utf8))
        }
    }
}

extension Message {
    /// The seconds that a 2xx to a REGISTER gives a contact: its `expires`, else Expires, else an hour (RFC 3261 §10.2.1.1); at
    /// most a day more than a week, so that no sum overflows.
    fileprivate func expiry(of contact: NameAddr) -> UInt32 {
        let own = contact.parameter("expires", in: self.bytes).flatMap { UInt32($0.text(in: self.bytes)) }
        let general = own ?? self.first(.expires).flatMap { UInt32($0.value.text(in: self.bytes)) }
        return min(general ?? 3600, 8 * 86_400)
    }

    /// Whether an option tag is among the values of a header.
    func lists(_ tag: StaticString, in name: HeaderName) -> Bool {
        guard self.first(name) != nil else { return false }
        return self.values(of: name).contains { $0.equalsIgnoringCase(tag, in: self.bytes) }
    }
}
