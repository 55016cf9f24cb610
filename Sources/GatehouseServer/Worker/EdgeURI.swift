internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage
internal import SIPTransaction

// The edge's own URIs: sealed tokens, and the values that carry them.

extension Worker: URIKnowledge {
    /// Reads the user part of a URI as one of our tokens.
    func token(of uri: URI, in bytes: [UInt8]) -> UserToken {
        guard let user = uri.user, TokenText.isToken(bytes, user.range) else { return .none }
        guard let sealed = TokenText.sealed(bytes, user.range),
            let plain = self.cipher.open(sealed, sealed.indices), let token = Token(decoding: plain)
        else { return .altered }
        return .token(token)
    }

    /// Whose host a URI has, for a request from the core, where every served domain is as good as another.
    func standing(of uri: URI, in bytes: [UInt8]) -> HostStanding {
        if self.snapshot.domain(named: uri.host, in: bytes) != nil { return .domain }
        return self.snapshot.isOwnHost(uri, in: bytes) ? .edge : .foreign
    }

    func isArrivalAddress(of uri: URI, in bytes: [UInt8]) -> Bool { false }

    /// The written form of a sealed token; nil where what it has to carry is over its limits.
    func text(of token: Token) -> [UInt8]? {
        guard let plain = token.encoded() else { return nil }
        var text: [UInt8] = []
        TokenText.append(self.cipher.seal(plain), to: &text)
        return text
    }
}

/// Answers for a connection of one domain what the worker answers for all.
struct OutsideKnowledge: URIKnowledge {
    let worker: Worker
    let domain: DomainRuntime
    /// Where the request arrived.
    let local: Endpoint
    let transport: Transport

    func standing(of uri: URI, in bytes: [UInt8]) -> HostStanding {
        if let served = self.worker.snapshot.domain(named: uri.host, in: bytes) {
            return served.key == self.domain.key ? .domain : .otherDomain
        }
        return self.worker.snapshot.isOwnHost(uri, in: bytes) ? .edge : .foreign
    }

    func token(of uri: URI, in bytes: [UInt8]) -> UserToken {
        self.worker.token(of: uri, in: bytes)
    }

    func isArrivalAddress(of uri: URI, in bytes: [UInt8]) -> Bool {
        guard let maddr = uri.parameter("maddr", in: bytes), IPAddress(bytes: bytes, range: maddr) == self.local.address
        else { return false }
        let written: Transport? =
            switch uri.transport(in: bytes) {
            case .udp: .udp
            case .tcp: uri.scheme == .sips ? .tls : .tcp
            case .tls: .tls
            case nil: uri.scheme == .sips ? .tls : .udp
            case .other: nil
            }
        return written == self.transport && (uri.port ?? self.transport.defaultPort) == self.local.port
    }
}

extension Worker {
    /// `sip:token@host:port` as the core sees it.
    func coreURI(_ token: [UInt8], bind: Int, transport: Transport) -> [UInt8] {
        var uri: [UInt8] = []
        uri.append("sip:")
        uri.append(contentsOf: token)
        guard bind >= 0, bind < self.coreBinds.entries.count else { return uri }
        let entry = self.coreBinds.entries[bind]
        uri.append(0x40)
        uri.append(contentsOf: entry.host)
        uri.append(0x3A)
        uri.append(decimal: UInt64(entry.endpoint.port))
        if transport != .udp { uri.append(";transport=tcp") }
        return uri
    }

    /// `sips:token@host` or `sip:token@host` as the outside sees it (PBX-03, RR-03 to RR-06).
    func outsideURI(_ token: [UInt8], _ passage: Passage) -> [UInt8] {
        var uri: [UInt8] = []
        uri.append(passage.isSIPS ? "sips:" : "sip:")
        uri.append(contentsOf: token)
        uri.append(0x40)
        uri.append(contentsOf: passage.domain.host(of: passage.outside.transport))
        // A name with a port and no transport leads to UDP (RFC 3263 §4.1), so UDP always says its port.
        if passage.outside.transport == .udp || passage.outside.port != (passage.isSIPS ? 5061 : 5060) {
            uri.append(0x3A)
            uri.append(decimal: UInt64(passage.outside.port))
        }
        switch passage.outside.transport {
        case .tls: if passage.mirrorsTransport, !passage.isSIPS { uri.append(";transport=tls") }
        case .tcp: uri.append(";transport=tcp")
        case .udp: break
        }
        return uri
    }

    /// The two Record-Route values of a `proxy` core's dialog (RFC 5658 §5), or nil where the token cannot be made.
    func recordRoutes(_ passage: Passage) -> (core: [UInt8], outside: [UInt8])? {
        let token = Token.route(
            .init(
                domain: passage.domain.key, session: passage.session, flow: passage.flow,
                edge: self.coreBinds.forFellows, peer: passage.peer))
        guard let text = self.text(of: token) else { return nil }
        return (
            bracketed(self.coreURI(text, bind: passage.coreBind, transport: passage.coreTransport), "lr"),
            bracketed(self.outsideURI(text, passage), "lr")
        )
    }

    /// The value of our own Via.
    ///
    /// - Parameter parameters: more of them, with their semicolons.
    func viaValue(
        _ transport: Transport, sentBy: [UInt8], branch: Branch, _ parameters: StaticString = ""
    ) -> [UInt8] {
        var value: [UInt8] = []
        value.reserveCapacity(sentBy.count + Branch.length + 32)
        switch transport {
        case .udp: value.append("SIP/2.0/UDP ")
        case .tcp: value.append("SIP/2.0/TCP ")
        case .tls: value.append("SIP/2.0/TLS ")
        }
        value.append(contentsOf: sentBy)
        value.append(";branch=")
        branch.append(to: &value)
        if transport == .udp { value.append(";rport") }
        value.append(parameters)
        return value
    }
}

/// `<uri;parameter>`.
private func bracketed(_ uri: [UInt8], _ parameter: StaticString) -> [UInt8] {
    var value: [UInt8] = [0x3C]
    value.append(contentsOf: uri)
    value.append(0x3B)
    value.append(parameter)
    value.append(0x3E)
    return value
}
