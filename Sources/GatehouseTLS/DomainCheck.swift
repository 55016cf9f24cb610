internal import COpenSSL
internal import GatehousePolicy
internal import SIPMessage

/// Everything that is to be said of one domain's certificates and TLS settings, and what is made of them.
struct DomainCheck: Sendable {
    private(set) var problems: [CertificateProblem] = []
    private(set) var facts: [CertificateFacts] = []
    /// nil where the domain has no TLS listener, or an error that keeps it from having one.
    private(set) var served: ServedDomain?
    private(set) var outbound: OutboundCredentials?

    private let domain: DomainConfiguration
    private let files: CertificateFiles
    private let now: Int64

    /// - Parameter inForce: domain and fingerprint of each certificate in force. Beside them one that has expired is an error:
    ///   a reload would put it in the place of one that is valid. nil at a start, which serves it with a warning: one domain's
    ///   lapse must not keep the others down.
    init(
        _ domain: DomainConfiguration, _ files: CertificateFiles, inForce: Set<[String]>?,
        now: Int64 = CivilDate.now
    ) {
        self.now = now
        self.domain = domain
        self.files = files
        var credentials: [Credential] = []
        if let tls = domain.tls {
            credentials = self.credentials(of: tls, inForce)
            let authorities = self.clientAuthorities(of: tls)
            self.checkCiphers(of: tls)
            if self.problems.allSatisfy({ $0.severity == .warning }), !credentials.isEmpty {
                let served = ServedDomain(
                    name: domain.name, settings: tls, credentials: credentials, clientAuthorities: authorities)
                self.probe(served)
                self.served = served
            }
        }
        self.outbound = self.outboundCredentials(domainCredentials: credentials)
    }

    private mutating func report(
        _ kind: CertificateProblem.Kind, _ severity: CertificateProblem.Severity = .error, at location: SourceLocation,
        _ text: String, _ cure: String
    ) {
        self.problems.append(
            CertificateProblem(
                severity: severity, kind: kind, domain: self.domain.name, location: location, text: text, cure: cure))
    }

    // MARK: Certificates and keys

    private mutating func credentials(of tls: TLSSettings, _ inForce: Set<[String]>?) -> [Credential] {
        var credentials: [Credential] = []
        for pair in tls.certificates {
            guard let credential = self.credential(pair) else { continue }
            let chain = credential.chain
            if let other = credentials.first(where: { $0.chain.keyKind.family == chain.keyKind.family }) {
                self.report(
                    .sameKeyType, at: pair.location,
                    "\(pair.certificate) and \(other.file) are both for \(chain.keyKind.family) keys",
                    "give at most one certificate of each key type")
            }
            self.checkStrength(chain, pair)
            self.checkDates(
                chain, pair, servesExpired: inForce?.contains([self.domain.name, chain.fingerprint]) ?? true)
            self.checkNames(chain, pair)
            self.checkUse(chain, pair)
            self.checkOrder(chain, pair)
            credentials.append(credential)
            self.facts.append(CertificateFacts(domain: self.domain.name, file: pair.certificate, chain))
        }
        return credentials
    }

    /// A pair whose files can be read and belong together.
    private mutating func credential(_ pair: CertificatePair) -> Credential? {
        let chain = self.content(
            self.files.chains[pair.certificate], pair.certificate, at: pair.location, "certificate")
        let isOnly = self.domain.tls?.certificates.count == 1 && self.domain.tls?.certificates.first == pair
        let keyLocation = isOnly ? self.domain.location(of: "tls.private_key") : pair.location
        let key = self.content(self.files.keys[pair.privateKey], pair.privateKey, at: keyLocation, "private key")
        guard let chain, let key else { return nil }
        guard key.matches(chain.leaf) else {
            self.report(
                .keyMismatch, at: keyLocation, "\(pair.privateKey) is not the key of \(pair.certificate)",
                "give the key that the certificate was made with")
            return nil
        }
        if key.isExposed {
            self.report(
                .keyExposed, .warning, at: keyLocation, "every user of this host may read \(pair.privateKey)",
                "chmod o= it")
        }
        return Credential(chain: chain, key: key, file: pair.certificate)
    }

    private mutating func content<Content: Sendable>(
        _ file: ParsedFile<Content>?, _ path: String, at location: SourceLocation, _ what: String
    ) -> Content? {
        switch file?.result {
        case .success(let content): return content
        case .failure(.unreadable(let reason)):
            self.report(
                .fileUnreadable, at: location, "\(path) can't be read (\(reason))",
                "correct the path, or let the edge's user read it")
        case .failure(.empty):
            self.report(
                .fileMalformed, at: location, "\(path) holds no \(what)", "give a PEM file with a \(what) in it")
        case .failure(.malformed(let block, let reason)):
            self.report(
                .fileMalformed, at: location, "\(path): PEM block \(block) is no \(what) (\(reason))",
                "write the file anew from its source")
        case .failure(.encrypted):
            self.report(
                .keyEncrypted, at: location, "\(path) is encrypted, and nobody is there to type its passphrase",
                "give the key without one: openssl pkey -in \(path) -out NEW")
        case nil: break
        }
        return nil
    }

    // MARK: What TLS-12 refuses

    private mutating func checkStrength(_ chain: CertificateChain, _ pair: CertificatePair) {
        for (index, certificate) in chain.certificates.enumerated() where index == 0 || !certificate.isSelfIssued {
            let which = index == 0 ? pair.certificate : "certificate \(index + 1) of \(pair.certificate)"
            if case .rsa(let bits) = certificate.keyKind, bits < 2048 {
                self.report(
                    .weakKey, at: pair.location, "\(which) has an RSA key of \(bits) bits",
                    "make a key of 2048 bits or more, or an ECDSA one, and have it certified")
            }
            let digest = certificate.signatureDigest
            if ["SHA1", "MD5", "MD4", "MD2", "RIPEMD160"].contains(digest) {
                self.report(
                    .weakSignature, at: pair.location, "\(which) is signed with \(digest)",
                    "have it issued anew with SHA-256")
            }
        }
    }

    private mutating func checkDates(_ chain: CertificateChain, _ pair: CertificatePair, servesExpired: Bool) {
        let left = chain.notAfter - self.now
        let life = chain.notAfter - max(chain.notBefore, 0)
        if left <= 0 {
            self.report(
                .expired, servesExpired ? .warning : .error, at: pair.location,
                "\(pair.certificate) expired on \(CivilDate.text(chain.notAfter)), so clients refuse it", "renew it")
        } else if chain.notBefore > self.now {
            self.report(
                .notYetValid, at: pair.location,
                "\(pair.certificate) is not valid before \(CivilDate.text(chain.notBefore))",
                "wait, or set this host's clock right")
        } else if left < min(14 * 86_400, life / 3) {
            self.report(
                .expiresSoon, .warning, at: pair.location,
                "\(pair.certificate) expires on \(CivilDate.text(chain.notAfter))", "renew it")
        }
        for (index, certificate) in chain.certificates.enumerated().dropFirst() where certificate.notAfter <= self.now {
            self.report(
                .expired, .warning, at: pair.location,
                "certificate \(index + 1) of \(pair.certificate) expired on \(CivilDate.text(certificate.notAfter))",
                "replace the chain with the one that the authority gives now")
        }
    }

    private mutating func checkNames(_ chain: CertificateChain, _ pair: CertificatePair) {
        switch chain.names.coverage(of: self.domain.name) {
        case .exact: break
        case .none:
            self.report(
                .nameMissing, at: pair.location, "\(pair.certificate) does not name \(self.domain.name)",
                "have it issued with DNS:\(self.domain.name) among its subject alternative names")
        case .wildcard:
            self.report(
                .nameByWildcard, .warning, at: pair.location,
                "\(pair.certificate) names \(self.domain.name) by a wildcard alone, which SIP peers refuse (RFC 5922 §7.2)",
                "have it issued with DNS:\(self.domain.name) too")
        case .commonName:
            self.report(
                .nameByCommonName, .warning, at: pair.location,
                "\(pair.certificate) names \(self.domain.name) as common name alone, which most clients refuse",
                "have it issued with DNS:\(self.domain.name) as subject alternative name")
        }
        let missing = self.domain.aliases.filter { chain.names.coverage(of: $0) == .none }
        guard !missing.isEmpty else { return }
        let shown = missing.prefix(5).joined(separator: ", ") + (missing.count > 5 ? ", …" : "")
        self.report(
            .aliasMissing, .warning, at: self.domain.location(of: "aliases"),
            "\(pair.certificate) does not name \(shown)", "add the names to the certificate, or drop the aliases")
    }

    // MARK: What clients may refuse

    private mutating func checkUse(_ chain: CertificateChain, _ pair: CertificatePair) {
        guard !chain.permittedUse.permits(.server) else { return }
        self.report(
            .useForbidden, .warning, at: pair.location,
            "the key usage of \(pair.certificate) forbids a TLS server, so that clients refuse it",
            "have it issued with extended key usage serverAuth and key usage digitalSignature")
    }

    private mutating func checkOrder(_ chain: CertificateChain, _ pair: CertificatePair) {
        let certificates = chain.certificates
        for (index, (lower, upper)) in zip(certificates, certificates.dropFirst()).enumerated()
        where !upper.issued(lower) {
            self.report(
                .chainOrder, .warning, at: pair.location,
                "certificate \(index + 2) of \(pair.certificate) did not issue the one before it",
                "put the domain's certificate first and each issuer after what it issued")
            return
        }
        guard certificates.count == 1 else { return }
        if chain.leaf.isSelfIssued {
            self.report(
                .selfSigned, .warning, at: pair.location, "\(pair.certificate) is signed by itself",
                "have it issued by an authority that the clients trust, unless each of them knows this one")
        } else if chain.leaf.namesItsIssuersAddress {
            self.report(
                .chainIncomplete, .warning, at: pair.location,
                "\(pair.certificate) holds no intermediate certificate, so that most clients can't verify it",
                "give the authority's full chain (often fullchain.pem)")
        }
    }

    // MARK: Settings

    private mutating func clientAuthorities(of tls: TLSSettings) -> TrustAnchors? {
        guard tls.clientCertificate != .none else { return nil }
        let location = self.domain.location(of: "tls.client_ca")
        guard let path = tls.clientCA else {
            self.report(
                .clientAuthorities, at: self.domain.location(of: "tls.client_certificate"),
                "client certificates are asked for, but nothing says who issues them",
                "set tls.client_ca to a PEM file of the authorities")
            return nil
        }
        let anchors = self.consulting(
            tls.clientCRL, tls.clientCRLExpired, "tls.client_crl", of: .file(path),
            self.content(self.files.anchors[path], path, at: location, "certificate"))
        if let expiry = anchors?.earliestExpiry, expiry.notAfter <= self.now {
            self.report(
                .clientAuthorities, .warning, at: location,
                "in \(path), \(expiry.subject) expired on \(CivilDate.text(expiry.notAfter))", "replace it")
        }
        return anchors
    }

    /// OpenSSL passes over what it does not know in a list, so each part is tried alone.
    private mutating func checkCiphers(of tls: TLSSettings) {
        guard let list = tls.ciphers else { return }
        let location = self.domain.location(of: "tls.ciphers")
        guard let probe = ProbeConnection() else {
            self.report(.ciphers, at: location, "the ciphers can't be checked", "see that the host has memory")
            return
        }
        for part in list.split(whereSeparator: { ":, ;".contains($0) }) {
            guard let first = part.first, !"!-+@".contains(first) else { continue }
            guard !probe.ciphers(of: String(part)).isEmpty else {
                self.report(
                    .ciphers, at: location, "OpenSSL knows no usable TLS 1.2 cipher '\(part)'",
                    "see: openssl ciphers -v -tls1_2 ALL")
                return
            }
        }
        let ciphers = probe.ciphers(of: list)
        guard !ciphers.isEmpty else {
            self.report(
                .ciphers, at: location, "the ciphers leave nothing to choose from", "see: openssl ciphers -v '\(list)'")
            return
        }
        if let unsafe = ciphers.first(where: { $0.isUnsafe }) {
            self.report(
                .ciphers, at: location, "\(unsafe.name) does not protect a connection (RFC 9325 §4.1)",
                "take it out of tls.ciphers")
        } else if let weak = ciphers.first(where: { !$0.isForwardSecret }) {
            self.report(
                .ciphers, .warning, at: location,
                "\(weak.name) lets whoever gets the key later read what was recorded (RFC 9325 §4.1)",
                "take it out of tls.ciphers once no client needs it")
        }
    }

    /// Has OpenSSL take the whole on a connection that leads nowhere, so that what it refuses is known before a client comes.
    private mutating func probe(_ served: ServedDomain) {
        guard let tls = self.domain.tls, let probe = ProbeConnection() else { return }
        do throws(OpenSSLError) {
            try served.apply(to: probe.handle, serverName: served.name)
        } catch {
            self.report(
                .unusable, at: tls.certificates.first?.location ?? tls.location, "\(error)",
                "give a certificate and settings that OpenSSL accepts at security level 2")
        }
    }

    // MARK: Connections that the domain opens

    private mutating func outboundCredentials(domainCredentials: [Credential]) -> OutboundCredentials? {
        let outbound = self.domain.outbound
        let anchors: TrustAnchors?
        switch outbound.authorities {
        case .system:
            switch self.files.systemAnchors {
            case .success(let system): anchors = system
            case .failure, nil: anchors = nil
            }
            if anchors == nil {
                self.report(
                    .fileUnreadable, at: self.domain.location(of: "outbound.ca"),
                    "the authorities that this system trusts can't be read",
                    "install ca-certificates, or set outbound.ca to a PEM file")
            }
        case .file(let path):
            anchors = self.content(
                self.files.anchors[path], path, at: self.domain.location(of: "outbound.ca"), "certificate")
        }
        let consulted = self.consulting(
            outbound.crl, outbound.crlExpired, "outbound.crl", of: outbound.authorities, anchors)
        var credentials: [Credential] = []
        switch outbound.clientCertificate {
        case .none: break
        case .domain: credentials = domainCredentials
        case .pair(let pair): if let credential = self.credential(pair) { credentials = [credential] }
        }
        guard let consulted else { return nil }
        return OutboundCredentials(
            domain: self.domain.name, anchors: consulted, credentials: credentials, settings: outbound)
    }

    // MARK: Revocation lists

    /// The authorities with the lists that a setting names; nil where there is none to be had of either.
    private mutating func consulting(
        _ path: String?, _ expired: ExpiredCRL, _ setting: String, of authorities: OutboundSettings.Authorities,
        _ anchors: TrustAnchors?
    ) -> TrustAnchors? {
        guard let path else { return anchors }
        let location = self.domain.location(of: setting)
        guard let lists = self.content(self.files.lists[path], path, at: location, "revocation list") else {
            return nil
        }
        if let expiry = lists.earliestExpiry, expiry.nextUpdate <= self.now {
            let effect = expired == .refuse ? "what it issued is refused" : "what was revoked since is accepted"
            self.report(
                .revocationList, .warning, at: location,
                "in \(path), the list of \(expiry.issuer) was to be updated by \(CivilDate.text(expiry.nextUpdate)): "
                    + effect, "fetch a new one and reload")
        }
        for authority in anchors?.revoked(by: lists) ?? [] {
            self.report(
                .revocationList, .warning, at: location,
                "\(path) revokes \(authority), which is trusted all the same, for it stands among the authorities itself",
                "take it out of them, if it is to be trusted no more")
        }
        switch self.files.listedAnchors[.init(authorities: authorities, lists: path)] {
        case .success(let consulted): return consulted
        case .failure(let error):
            return self.content(
                ParsedFile<TrustAnchors>(stamp: nil, result: .failure(error)), path, at: location, "revocation list")
        case nil: return nil  // the authorities can't be read, which was reported
        }
    }
}

extension CertificateFacts {
    init(domain: String, file: String, _ chain: CertificateChain) {
        let names = chain.names
        let alternatives = names.dnsNames + names.uris + names.addresses.map(\.description)
        self.init(
            domain: domain, names: names.hasSubjectAltName ? alternatives : names.commonNames,
            notBefore: chain.notBefore, notAfter: chain.notAfter, fingerprint: chain.fingerprint,
            keyType: chain.keyKind.description, keyFamily: chain.keyKind.family, issuer: chain.leaf.issuer, file: file)
    }
}
