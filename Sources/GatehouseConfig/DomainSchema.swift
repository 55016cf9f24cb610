internal import GatehousePolicy
internal import SIPMessage

// The keys of an entry of `domains`; see Schema.swift.
extension Schema {
    static let domain = Section<DomainConfiguration>([
        .value(
            "name", .text("host name", parseHostName), into: \.name, default: nil,
            "The domain: host of its addresses, name in logs and metrics"),
        .value(
            "aliases", .list(of: .text("host name", parseHostPattern), named: "host names"), into: \.aliases,
            default: "`[]`",
            "Further names; a `*` as the first label stands for exactly one, and an exact name beats it"),
        .custom("tls", rows: Schema.tls.rows) { node, domain, reader in
            var draft = TLSDraft(location: reader.location(node.position))
            Schema.tls.read(node, into: &draft, &reader)
            domain.tls = draft.finished(at: node, &reader)
        },
        .section(
            "tcp", into: \.self,
            Section([
                .value(
                    "bind", Schema.binds, into: \.tcpBinds, default: "`[]`", "Plain TCP listeners towards the outside")
            ])),
        .section(
            "udp", into: \.self,
            Section([
                .value("bind", Schema.binds, into: \.udpBinds, default: "`[]`", "UDP listeners towards the outside")
            ])),
        .section("core", into: \.core, Schema.domainCore),
        .section("outbound", into: \.outbound, Schema.outbound),
        .section("security", into: \.security, Schema.security),
        .section("limits", into: \.limits, Schema.limits),
    ])

    private static let binds = Kind.list(of: .text("address", parseEndpoint), named: "addresses with ports")

    // MARK: tls

    /// `tls:` as it is written: the certificate and its key are two keys, or one list.
    struct TLSDraft: Sendable {
        enum Certificate: Equatable, Sendable {
            case path(String, SourceLocation)
            case pairs([CertificatePair])
        }

        var settings: TLSSettings
        var certificate: Certificate?
        var privateKey: String?

        init(location: SourceLocation) {
            self.settings = TLSSettings(binds: [], certificates: [], location: location)
        }

        /// The settings with their certificates; what is missing is reported, unless it is there and was reported.
        func finished(at node: YAMLNode, _ reader: inout Reader) -> TLSSettings {
            var settings = self.settings
            let isThere = { (name: String) in
                guard case .mapping(let entries) = node.content else { return !node.isNull }
                return entries.contains { $0.key == name }
            }
            switch self.certificate {
            case .path(let certificate, let location):
                if let privateKey = self.privateKey {
                    settings.certificates = [
                        CertificatePair(certificate: certificate, privateKey: privateKey, location: location)
                    ]
                } else if !isThere("private_key") {
                    reader.fail(
                        at: node.position, key: "private_key", "is missing",
                        cure: "give the file of the certificate's key")
                }
            case .pairs(let pairs):
                settings.certificates = pairs
                if isThere("private_key") {
                    reader.fail(
                        at: node.position, key: "private_key", "stands beside a list of certificates",
                        cure: "remove it: each entry of the list has its own")
                }
            case nil:
                if !isThere("certificate") {
                    reader.fail(
                        at: node.position, key: "certificate", "is missing",
                        cure: "give the PEM file of the domain's certificate chain, and its private_key")
                }
            }
            return settings
        }
    }

    private static let tls = Section<TLSDraft>([
        .value(
            "bind", Schema.binds.notEmpty, into: \.settings.binds, default: nil, "TLS listeners; domains may share them"
        ),
        .value(
            "advertise", Kind.text("host", parseAdvertisedHost).orNull, into: \.settings.advertise,
            default: "the domain's name",
            "Host in Via, Record-Route and Contact towards the outside; one of the domain's names, or an address"),
        .value(
            "transport_parameter", .choice, into: \.settings.transportParameter, default: "`mirror`",
            "`mirror` writes `;transport=tls` in our URIs only to a device that wrote it itself"),
        .value(
            "certificate", Schema.certificate.orNull, into: \.certificate, default: "required",
            "PEM file of the certificate chain, leaf first; or a list of pairs: RSA and ECDSA side by side"),
        .value(
            "private_key", Kind.path.orNull, into: \.privateKey, default: "required",
            "PEM file of the certificate's key; not beside a list of pairs"),
        .value(
            "default", .boolean, into: \.settings.isDefault, default: "`false`",
            "Answers clients on these addresses that send no SNI; one domain an address at most"),
        .value(
            "unknown_sni", .choice, into: \.settings.unknownSNI, default: "`reject`",
            "What the default domain of an address does with an SNI that is no domain's: refuse it, or answer it"),
        .value("min_version", .choice, into: \.settings.minimumVersion, default: "`1.2`", "The oldest TLS version"),
        .value(
            "ciphers", Kind.anyText.orNull, into: \.settings.ciphers, default: "`null`",
            "TLS 1.2 cipher list in OpenSSL's notation; `null` is OpenSSL's default"),
        .value(
            "client_certificate", .choice, into: \.settings.clientCertificate, default: "`none`",
            "Whether a client is asked for a certificate, and refused without one"),
        .value(
            "client_ca", Kind.path.orNull, into: \.settings.clientCA, default: "`null`",
            "PEM file of the authorities whose client certificates count"),
    ])

    private static let certificate = Kind<TLSDraft.Certificate>("path or list of pairs", rows: Schema.pairs.rows) {
        node, reader in
        if case .sequence = node.content { return Schema.pairs.read(node, &reader).map { .pairs($0) } }
        return Kind.path.read(node, &reader).map { .path($0, reader.location(node.position)) }
    }

    private static let pairs = Kind.list(of: Schema.pair, named: "pairs").notEmpty

    /// `{ certificate: …, private_key: … }`.
    private static let pair = Kind<CertificatePair>("pair", rows: Schema.pairKeys.rows) { node, reader in
        var pair = CertificatePair(certificate: "", privateKey: "", location: reader.location(node.position))
        Schema.pairKeys.read(node, into: &pair, &reader)
        return pair.certificate.isEmpty || pair.privateKey.isEmpty ? nil : pair
    }

    private static let pairKeys = Section<CertificatePair>([
        .value("certificate", .path, into: \.certificate, default: nil, "PEM file of a certificate chain"),
        .value("private_key", .path, into: \.privateKey, default: nil, "PEM file of its key"),
    ])

    // MARK: core

    private static let domainCore = Section<DomainCoreSettings>([
        .value(
            "kind", .choice, into: \.kind, default: "`pbx`",
            "`pbx` sees the edge as its only peer; `proxy` is a proxy or registrar that speaks RFC 3261 and RFC 3327"),
        .value(
            "targets", .list(of: Schema.target, named: "`udp:` or `tcp:` hosts with ports").notEmpty, into: \.targets,
            default: nil, "The servers of the domain; host names are resolved"),
        .value(
            "distribution", .choice, into: \.distribution, default: "`failover`",
            "Which healthy target takes a new call: the first, the next, or one chosen by Call-ID"),
        .value(
            "path", .choice, into: \.path, default: "`supported`",
            "Kind `proxy`: `supported` answers 421 to a REGISTER without `Supported: path`; `always` inserts Path all the same"
        ),
        .section(
            "health", into: \.health,
            Section([
                .value(
                    "interval", Kind.duration(.milliseconds(100) ... .seconds(86_400)).or("off", alias: "false"),
                    into: \.interval, default: "`10s`", "How often each target gets an OPTIONS"),
                .value(
                    "timeout", .duration(.milliseconds(10) ... .seconds(60)), into: \.timeout, default: "`2s`",
                    "How long it may take to answer"),
                .value(
                    "down_after", .count(1...100), into: \.downAfter, default: "`3`",
                    "Failures in a row that make it unhealthy"),
                .value(
                    "up_after", .count(1...100), into: \.upAfter, default: "`1`",
                    "Answers in a row that make it healthy again"),
            ])),
    ])

    private static let target = Kind.text("target", parseCoreTarget).map { target, node, reader in
        CoreTarget(
            transport: target.transport, host: target.host, port: target.port,
            location: reader.location(node.position))
    }

    // MARK: outbound

    private static let outbound = Section<OutboundSettings>([
        .value(
            "proxy", Kind.text("SIP URI", parseProxyURI).orNull, into: \.proxy, default: "`null`",
            "Where calls to the outside go first"),
        .value("force_proxy", .boolean, into: \.forceProxy, default: "`false`", "Also for in-dialog requests"),
        .value(
            "transports", .list(of: Schema.transport, named: "`tls`, `tcp`, `udp`").notEmpty, into: \.transports,
            default: "`[tls, tcp, udp]`", "Preference among what DNS offers; one that is left out is never used"),
        .value(
            "ca", Schema.authorities, into: \.authorities, default: "`system`",
            "Authorities that a peer's certificate is verified against"),
        .value(
            "verify", .boolean, into: \.verify, default: "`true`",
            "Verifies a peer's certificate for the name before DNS (RFC 5922); `false` needs an override"),
        .value(
            "client_certificate", Schema.clientCertificate, into: \.clientCertificate, default: "`domain`",
            "What the edge shows a peer that asks: the domain's certificate, nothing, or a pair of its own"),
    ])

    private static let transport = Kind<Transport>.text("transport") { text throws(ValueFault) in
        for transport in Transport.allCases where text == "\(transport)" { return transport }
        throw ValueFault(problem: "is no transport", cure: "write tls, tcp or udp")
    }

    private static let authorities = Kind<OutboundSettings.Authorities>("`system` or path") { node, reader in
        node.text == "system" ? .system : Kind.path.read(node, &reader).map { .file($0) }
    }

    private static let clientCertificate = Kind<OutboundSettings.ClientCertificate>(
        "`domain`, `none` or pair", rows: Schema.pair.rows
    ) { node, reader in
        if case .mapping = node.content { return Schema.pair.read(node, &reader).map { .pair($0) } }
        switch reader.text(of: node, expecting: "domain, none or a pair") {
        case "domain": return .domain
        case "none": return OutboundSettings.ClientCertificate.none
        case nil: return nil
        case .some(let text):
            reader.fail(
                at: node.position, "is neither domain nor none", text: text,
                cure: "write {certificate: FILE, private_key: FILE} for a pair")
            return nil
        }
    }

    // MARK: security, limits

    private static let security = Section<SecuritySettings>([
        .value(
            "protect", .choice, into: \.protect, default: "`sips`",
            "Sessions that leave over verified TLS alone: those that came as SIPS, also those over TLS, or all"
        ),
        .value(
            "untagged", .choice, into: \.untagged, default: "`allow`", "A new leg from the core that carries no tag"),
        .value(
            "sips_to_core", .choice, into: \.sipsToCore, default: "`allow`",
            "A SIPS session over the plain leg to the core: `allow` takes the core as part of the trust boundary"),
        .value(
            "overrides", .list(of: Schema.override, named: "overrides") { "\($0.to) \($0.allow)" }, into: \.overrides,
            default: "`[]`", "Next hops that a protected session may reach over a leg that is not secure"),
    ])

    private struct OverrideDraft {
        var to: SecurityOverride.Destination?
        var allow: SecurityOverride.Allowance?
        var reason = ""
        var until: CalendarDate?
    }

    private static let override = Kind<SecurityOverride>("override", rows: Schema.overrideKeys.rows) { node, reader in
        var draft = OverrideDraft()
        Schema.overrideKeys.read(node, into: &draft, &reader)
        guard let to = draft.to, let allow = draft.allow, !draft.reason.isEmpty else { return nil }
        return SecurityOverride(
            to: to, allow: allow, reason: draft.reason, until: draft.until, location: reader.location(node.position))
    }

    private static let overrideKeys = Section<OverrideDraft>([
        .value(
            "to", Schema.destination.map { to, _, _ in .some(to) }, into: \.to, default: nil,
            "Host name of the next hop, `*` as the first label allowed, or a CIDR block"),
        .value(
            "allow", Kind<SecurityOverride.Allowance>.choice.map { allow, _, _ in .some(allow) }, into: \.allow,
            default: nil, "`insecure`: without TLS; `unverified`: over TLS with a certificate that does not verify"),
        .value("reason", .anyText, into: \.reason, default: nil, "Why, for the log and the trace"),
        .value(
            "until", Kind.text("date", parseDate).orNull, into: \.until, default: "`null`",
            "The last day (UTC) on which the entry matches; `null`: no end"),
    ])

    private static let destination = Kind<SecurityOverride.Destination>.text("host name or CIDR block") {
        text throws(ValueFault) in
        if text.contains("/") || text.contains(":") || IPAddress(text) != nil {
            return .network(try parseNetwork(text))
        }
        return .host(try parseHostPattern(text))
    }

    private static let limits = Section<DomainLimits>([
        .value(
            "connections", Schema.limit(10_000_000), into: \.connections, default: "`10000`", "Connections at a time"),
        .value(
            "connections_per_source", Schema.limit(10_000_000), into: \.connectionsPerSource, default: "`1000`",
            "Connections at a time from one address; an office behind one NAT is one source"),
        .value(
            "handshakes_per_second", Schema.limit(1_000_000), into: \.handshakesPerSecond, default: "`500`",
            "TLS handshakes begun in a second"),
        .value(
            "calls", Schema.limit(10_000_000), into: \.calls, default: "`unlimited`",
            "Dialogs at a time; past it 503 with Retry-After"),
        .value(
            "calls_per_second", Schema.limit(1_000_000), into: \.callsPerSecond, default: "`unlimited`",
            "New calls in a second; past it 503 with Retry-After"),
        .value(
            "requests_per_second_per_source", Schema.limit(1_000_000), into: \.requestsPerSecondPerSource,
            default: "`1000`", "Requests in a second from one address; past it 503 with Retry-After"),
        .value(
            "message_size", .size(1 << 10...16 << 20), into: \.messageSizeInBytes, default: "`64KiB`",
            "Size of a message with its body; past it 513"),
    ])

    private static func limit(_ most: Int) -> Kind<Int?> {
        Kind.count(1...most).or("unlimited")
    }
}
