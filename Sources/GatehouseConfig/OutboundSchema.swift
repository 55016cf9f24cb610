internal import GatehousePolicy
internal import SIPMessage

// The keys of `outbound` and `security`: what leaves a domain; see Schema.swift.
extension Schema {
    // MARK: outbound

    static let outbound = Section<OutboundSettings>([
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
            "crl", Kind.path.orNull, into: \.crl, default: "`null`",
            "PEM file of their revocation lists, one for each authority that issues; `null`: none is consulted"),
        .value(
            "crl_expired", .choice, into: \.crlExpired, default: "`refuse`",
            "What becomes of certificates whose revocation list is past its next update"),
        .value(
            "verify", .boolean, into: \.verify, default: "`true`",
            "Verifies a peer's certificate for the name before DNS (RFC 5922); `false` needs an override"),
        .value(
            "accept_common_name", .boolean, into: \.acceptsCommonName, default: "`false`",
            "Lets the subject's common name count where a certificate has no subjectAltName"),
        .value(
            "client_certificate", Schema.clientCertificate, into: \.clientCertificate, default: "`domain`",
            "What the edge shows a peer that asks: the domain's certificate, nothing, or a pair of its own"),
        .value(
            "reuse", .boolean, into: \.reuse, default: "`true`",
            "Connection reuse (RFC 5923): writes `alias` in our Via over mutual TLS, and uses connections that a peer aliased"
        ),
        .value(
            "path_mtu", Schema.pathMTU, into: \.pathMTU, default: "`null`",
            "Bytes a packet to the outside may have; a request within 200 of it goes over TCP. `null`: unknown, so from 1300 on"
        ),
    ])

    static let pathMTU = Kind.count(1280...65_535).orNull

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

    // MARK: security

    static let security = Section<SecuritySettings>([
        .value(
            "protect", .choice, into: \.protect, default: "`sips`",
            "Sessions that leave over verified TLS alone: those that came as SIPS, also those over TLS, or all"
        ),
        .value(
            "untagged", .choice, into: \.untagged, default: "`allow`",
            "A new leg from the core that carries no tag; an OPTIONS is none"),
        .value(
            "sips_to_core", .choice, into: \.sipsToCore, default: "`allow`",
            "A SIPS session over the plain leg to the core: `allow` takes the core as part of the trust boundary"),
        .value(
            "sip_to_sips", .choice, into: \.sipToSIPS, default: "`allow`",
            "A `sip:` request to a registered `sips:` contact: over its TLS connection, or 480 with Warning 381"),
        .value(
            "asserted_identity", .choice, into: \.assertedIdentity, default: "`keep`",
            "P-Asserted-Identity towards the outside, where the request says nothing of Privacy"),
        .value(
            "removed_headers",
            .list(of: .text("header name", parseRemovedHeader), named: "header names") { $0.lowercased() },
            into: \.removedHeaders,
            default: "`[Remote-Party-ID, P-Charging-Vector, P-Charging-Function-Addresses, Diversion]`",
            "Header fields that a request from outside loses"),
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
}
