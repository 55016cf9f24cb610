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
                    "bind", Schema.binds, into: \.tcpBinds, default: "`[]`", "Plain TCP listeners towards the outside"),
                .value(
                    "advertise", Kind.text("host", parseAdvertisedHost).orNull, into: \.tcpAdvertise,
                    default: "that of `tls`, else the name",
                    "Host in Via, Record-Route and Contact to who is reached over TCP"),
            ])),
        .section(
            "udp", into: \.self,
            Section([
                .value("bind", Schema.binds, into: \.udpBinds, default: "`[]`", "UDP listeners towards the outside"),
                .value(
                    "advertise", Kind.text("host", parseAdvertisedHost).orNull, into: \.udpAdvertise,
                    default: "that of `tls`, else the name",
                    "Host in Via, Record-Route and Contact to who is reached over UDP"),
                .value(
                    "tcp", .boolean, into: \.bindsTCPBesideUDP, default: "`true`",
                    "Also opens TCP on each of these addresses and ports"),
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
        .value(
            "client_crl", Kind.path.orNull, into: \.settings.clientCRL, default: "`null`",
            "PEM file of their revocation lists, one for each authority that issues; `null`: none is consulted"),
        .value(
            "client_crl_expired", .choice, into: \.settings.clientCRLExpired, default: "`refuse`",
            "What becomes of certificates whose revocation list is past its next update"),
        .value(
            "trusted_peers", .list(of: .text("host name", parseHostName), named: "host names"),
            into: \.settings.trustedPeers, default: "`[]`",
            "Peers whose P-Asserted-Identity is kept, once their certificate proves one of these names"),
    ])

    private static let certificate = Kind<TLSDraft.Certificate>("path or list of pairs", rows: Schema.pairs.rows) {
        node, reader in
        if case .sequence = node.content { return Schema.pairs.read(node, &reader).map { .pairs($0) } }
        return Kind.path.read(node, &reader).map { .path($0, reader.location(node.position)) }
    }

    private static let pairs = Kind.list(of: Schema.pair, named: "pairs").notEmpty

    /// `{ certificate: …, private_key: … }`.
    static let pair = Kind<CertificatePair>("pair", rows: Schema.pairKeys.rows) { node, reader in
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
        .value(
            "path_mtu", Schema.pathMTU, into: \.pathMTU, default: "`null`",
            "Bytes a packet to the core may have; a request within 200 of it goes over TCP. `null`: unknown, so from 1300 on"
        ),
        .value(
            "flow_timer", Kind.duration(.seconds(1) ... .seconds(3600)).orNull, into: \.flowTimer, default: "`null`",
            "How often a device that registers with `outbound`, or offers `keep`, is to send keep-alives; `null`: it is not told"
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

    // MARK: limits

    private static let limits = Section<DomainLimits>([
        .value(
            "connections", Schema.limit(10_000_000), into: \.connections, default: "`10000`", "Connections at a time"),
        .value(
            "connections_per_source", Schema.limit(10_000_000), into: \.connectionsPerSource, default: "`1000`",
            "Connections at a time from one address; an office behind one NAT is one source"),
        .value(
            "udp_peers", Schema.limit(10_000_000), into: \.udpPeers, default: "`10000`",
            "Sources of UDP messages that are remembered at a time; a new one takes the place of the one silent longest that "
                + "is neither registered nor in a dialog"),
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
