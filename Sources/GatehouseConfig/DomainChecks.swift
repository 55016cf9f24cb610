internal import GatehousePolicy
internal import SIPMessage

// What the keys of one domain mean together: contradictions are errors, what has no effect is a warning.
extension Findings {
    /// - Parameters:
    ///   - core: the core binds; empty where they could not be read.
    ///   - today: in UTC; nil: no override counts as past.
    mutating func check(_ domain: Schema.DomainDraft, core: CoreBindSettings, today: CalendarDate?) {
        self.checkBinds(of: domain)
        self.checkTLS(of: domain)
        self.checkCore(of: domain, core)
        self.checkOutbound(of: domain)
        self.checkOverrides(of: domain, today: today)
    }

    private mutating func checkBinds(of domain: Schema.DomainDraft) {
        let settings = domain.configuration
        // What is there but could not be read has its error already.
        let hasBind = ["tls", "tcp.bind[0]", "udp.bind[0]"].contains { settings.sources.contains($0) }
        if !hasBind {
            self.fail(
                domain, "", "the domain listens nowhere", text: settings.name.isEmpty ? nil : settings.name,
                cure: "give tls.bind, tcp.bind or udp.bind")
        }
        for (name, host, hasBind) in [
            ("tcp", settings.tcpAdvertise, !settings.tcpBinds.isEmpty || !settings.udpBinds.isEmpty),
            ("udp", settings.udpAdvertise, !settings.udpBinds.isEmpty),
        ] {
            guard let host, !hasBind else { continue }
            self.warn(
                domain, "\(name).advertise", "has no effect where \(name) has no bind", text: host,
                cure: "give \(name).bind, or remove it")
        }
    }

    private mutating func checkTLS(of domain: Schema.DomainDraft) {
        guard let tls = domain.configuration.tls else { return }
        if tls.clientCertificate != .none, tls.clientCA == nil {
            self.fail(
                domain, "tls.client_certificate", "asks for certificates that nothing can verify",
                text: tls.clientCertificate.rawValue, cure: "give client_ca, or write none")
        }
        if tls.clientCertificate == .none, tls.clientCA != nil {
            self.warn(
                domain, "tls.client_ca", "has no effect where client_certificate is none",
                cure: "set client_certificate to request or require, or remove client_ca")
        }
        if tls.clientCertificate == .none, tls.clientCRL != nil {
            self.warn(
                domain, "tls.client_crl", "has no effect where client_certificate is none",
                cure: "set client_certificate to request or require, or remove client_crl")
        }
        if tls.clientCRL == nil, tls.clientCRLExpired == .accept {
            self.warn(domain, "tls.client_crl_expired", "has no effect without client_crl", cure: "remove it")
        }
        if tls.minimumVersion == .tls13, tls.ciphers != nil {
            self.warn(
                domain, "tls.ciphers", "has no effect where min_version is 1.3, for it lists ciphers of TLS 1.2",
                cure: "remove it")
        }
        if let advertise = tls.advertise, !advertise.hasPrefix("["), IPAddress(advertise) == nil,
            !domain.configuration.name.isEmpty, !domain.configuration.serves(advertise)
        {
            self.fail(
                domain, "tls.advertise", "is no name of the domain, so clients that connect to it are refused",
                text: advertise, cure: "add it to aliases, or advertise \(domain.configuration.name)")
        }
    }

    private mutating func checkCore(of domain: Schema.DomainDraft, _ core: CoreBindSettings) {
        let settings = domain.configuration.core
        if let interval = settings.health.interval, settings.health.timeout > interval {
            self.fail(
                domain, "core.health.timeout", "is longer than the interval", text: settings.health.timeout.text,
                cure: "give at most \(interval.text)")
        }
        for (index, target) in settings.targets.enumerated() {
            let key = "core.targets[\(index)]"
            let binds = core.binds.filter { $0.transport == target.transport }
            guard core.binds.isEmpty || !binds.isEmpty else {
                self.fail(
                    domain, key, "there is no core bind for its transport", text: target.description,
                    cure: "add \(target.transport):ADDRESS:PORT to core.bind")
                continue
            }
            guard let address = target.address else { continue }
            guard binds.isEmpty || binds.contains(where: { $0.endpoint.address.isIPv6 == address.isIPv6 }) else {
                let family = address.isIPv6 ? "IPv6" : "IPv4"
                self.fail(
                    domain, key, "there is no core bind of its address family", text: target.description,
                    cure: "add a \(target.transport): bind with an \(family) address to core.bind")
                continue
            }
            guard core.trusted.isEmpty || core.trusted.contains(where: { $0.contains(address) }) else {
                self.fail(
                    domain, key, "is not trusted, so what it sends would be dropped", text: target.description,
                    cure: "add \(Network(address)) to core.trusted")
                continue
            }
        }
    }

    private mutating func checkOutbound(of domain: Schema.DomainDraft) {
        let (outbound, security) = (domain.configuration.outbound, domain.configuration.security)
        if outbound.forceProxy, outbound.proxy == nil {
            self.fail(
                domain, "outbound.force_proxy", "there is no proxy to force", text: "true",
                cure: "give outbound.proxy, or write false")
        }
        if !outbound.verify, !security.overrides.contains(where: { $0.allow == .unverified }) {
            self.fail(
                domain, "outbound.verify", "is off without an override that allows it", text: "false",
                cure: "add an entry with allow: unverified to security.overrides, which says why")
        } else if !outbound.verify {
            self.warn(
                domain, "outbound.verify", "lets whoever answers stand in for a peer: no certificate is verified",
                text: "false",
                cure: "remove it: the overrides alone name the peers whose certificates need not verify")
        }
        if outbound.crl == nil, outbound.crlExpired == .accept {
            self.warn(domain, "outbound.crl_expired", "has no effect without crl", cure: "remove it")
        }
        guard !outbound.transports.contains(.tls) else { return }
        if security.protect == .all {
            self.fail(
                domain, "outbound.transports", "leaves out TLS, and protect: all demands it",
                cure: "add tls, or change security.protect")
        }
        if let proxy = outbound.proxy, proxy.lowercased().hasPrefix("sips:") {
            self.fail(
                domain, "outbound.transports", "leaves out TLS, which a sips: proxy demands",
                text: proxy, cure: "add tls, or write the proxy with sip:")
        }
    }

    private mutating func checkOverrides(of domain: Schema.DomainDraft, today: CalendarDate?) {
        let overrides = domain.configuration.security.overrides
        let transports = domain.configuration.outbound.transports
        for (index, entry) in overrides.enumerated() {
            let key = "security.overrides[\(index)]"
            if let until = entry.until, let today, until < today {
                self.warn(
                    domain, "\(key).until", "is past, so the entry no longer matches", text: until.description,
                    cure: "remove the entry, or give it a later date")
            }
            if let earlier = overrides[..<index].first(where: { $0.covers(entry) }) {
                self.warn(
                    domain, key, "is never reached: the entry in line \(earlier.location.line) matches first",
                    cure: "remove it, or move it further up")
            }
            if entry.allow == .unverified, !transports.contains(.tls) {
                self.warn(
                    domain, "\(key).allow", "never matters: outbound.transports leaves out TLS", text: "unverified",
                    cure: "add tls there, or remove the entry")
            }
            if entry.allow == .insecure, transports == [.tls] {
                self.warn(
                    domain, "\(key).allow", "never matters: outbound.transports has TLS alone", text: "insecure",
                    cure: "add tcp or udp there, or remove the entry")
            }
        }
    }
}

extension DomainConfiguration {
    /// Whether a host name in lower case is one of the domain's.
    func serves(_ host: String) -> Bool {
        if self.name == host || self.aliases.contains(host) { return true }
        guard let parent = parentName(host) else { return false }
        return self.aliases.contains("*.\(parent)")
    }
}

extension SecurityOverride {
    /// Whether each hop that `other` matches is matched by this one, at least as long: the first that matches counts,
    /// whatever it allows.
    fileprivate func covers(_ other: SecurityOverride) -> Bool {
        if let until = self.until {
            guard let otherUntil = other.until, otherUntil <= until else { return false }
        }
        switch (self.to, other.to) {
        case (.host(let pattern), .host(let host)):
            return pattern == host || parentName(host).map { pattern == "*.\($0)" } ?? false
        case (.network(let block), .network(let inner)):
            return block.prefixLength <= inner.prefixLength && block.contains(inner.address)
        case (.host, .network), (.network, .host): return false
        }
    }
}
