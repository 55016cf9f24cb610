import COpenSSL
import GatehousePolicy
import TestCertificates
import Testing

@testable import GatehouseTLS

@Suite("Revocation lists")
struct RevocationTests {
    private let pki: TestPKI
    private let good: TestPKI.Holder
    private let bad: TestPKI.Holder

    init() throws {
        self.pki = try TestPKI()
        self.good = try self.pki.issue(TestPKI.Request("far.example"))
        self.bad = try self.pki.issue(TestPKI.Request("far.example"))
    }

    /// A domain with the list on both sides.
    private func domain(
        _ list: String, _ expired: ExpiredCRL = .refuse, authorities: [TestPKI.Holder]? = nil
    ) throws -> DomainConfiguration {
        let ca = try self.pki.write("ca.pem", certificates: authorities ?? [self.pki.root])
        var domain = DomainConfiguration("a.example", try self.pki.pair("own", TestPKI.Request("a.example"))) { tls in
            tls.clientCertificate = .require
            tls.clientCA = ca
            tls.clientCRL = list
            tls.clientCRLExpired = expired
        }
        domain.outbound.authorities = .file(ca)
        domain.outbound.crl = list
        domain.outbound.crlExpired = expired
        return domain
    }

    /// What becomes of a certificate where we connect, and where we are connected to.
    private func failures(
        _ holder: TestPKI.Holder, _ domain: DomainConfiguration, version: Int32 = TLS1_3_VERSION
    ) throws -> [TLSFailure?] {
        let pair = try self.pki.write("peer", holder)
        let store = try CertificateStore.load([domain], reusing: nil)
        let engine = try TLSEngine.client(
            context: TLSClientContext(), credentials: #require(store.outboundCredentials(of: "a.example")),
            serverName: "far.example", identity: .domain("far.example"))
        let step = ScriptedServer(pair, version: version).accept(engine)
        var failures: [TLSFailure?] = []
        if case .failed(let failure) = step { failures.append(failure) } else { failures.append(nil) }
        if case .complete = step { #expect(engine.facts?.verified != nil) }
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        offer.certificate = pair
        failures.append(try TestEdge([domain]).handshake(offer).outcome.failure)
        return failures
    }

    @Test(
        "CERT-08: what a list revokes is refused, and the rest accepted", arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
    func revoked(version: Int32) throws {
        let domain = try self.domain(self.pki.write("list.pem", revoking: [self.bad]))
        #expect(try self.failures(self.good, domain, version: version) == [nil, nil])
        let failures = try self.failures(self.bad, domain, version: version)
        for (failure, setting) in zip(failures, ["outbound.crl", "tls.client_crl"]) {
            #expect(failure?.cause == .certificateInvalid)
            #expect(failure?.text.contains("is revoked, as \(setting) of a.example says") == true)
        }
    }

    @Test("CERT-08: a list past its next update counts where the setting says so, with all that it revokes")
    func expired() throws {
        let list = try self.pki.write("list.pem", revoking: [self.bad], lastUpdate: -7200, nextUpdate: -60)
        for failure in try self.failures(self.good, self.domain(list)) {
            #expect(failure?.cause == .revocationList)
            #expect(failure?.isForOperator == true)
            #expect(failure?.text.contains("_expired: accept") == true)
        }
        let soft = try self.domain(list, .accept)
        #expect(try self.failures(self.good, soft) == [nil, nil])
        for failure in try self.failures(self.bad, soft) { #expect(failure?.cause == .certificateInvalid) }
        let problems = CertificateStore.lint([soft])
        #expect(problems.map(\.kind) == [.revocationList, .revocationList])
        #expect(problems.allSatisfy { $0.severity == .warning })
    }

    @Test("CERT-08: a list of tomorrow, of another issuer or with a forged signature vouches for nobody")
    func useless() throws {
        let stranger = try self.pki.authority("Stranger")
        let impostor = try self.pki.authority("Test Root")
        for (list, text) in [
            (try self.pki.write("early.pem", revoking: [], lastUpdate: 3600), "can't be used"),
            (try self.pki.write("other.pem", revoking: [], issuers: [stranger]), "has no list of whoever issued"),
            (try self.pki.write("forged.pem", revoking: [], issuers: [impostor]), "can't be used"),
        ] {
            for failure in try self.failures(self.good, self.domain(list, .accept)) {
                #expect(failure?.cause == .revocationList, "\(list)")
                #expect(failure?.text.contains(text) == true, "\(list): \(String(describing: failure))")
            }
        }
    }

    @Test("CERT-08: each issuer below the one that is trusted needs a list")
    func chains() throws {
        let intermediate = try self.pki.intermediate("Intermediate")
        let leaf = try self.pki.issue(TestPKI.Request("far.example"), issuer: intermediate)
        let ofRoot = try self.pki.write("root.pem", revoking: [])
        for failure in try self.failures(leaf, self.domain(ofRoot)) { #expect(failure?.cause == .revocationList) }
        let both = try self.pki.write("both.pem", revoking: [], issuers: [self.pki.root, intermediate])
        #expect(try self.failures(leaf, self.domain(both)) == [nil, nil])
        let withdrawn = try self.pki.write(
            "withdrawn.pem", revoking: [intermediate], issuers: [self.pki.root, intermediate])
        for failure in try self.failures(leaf, self.domain(withdrawn)) {
            #expect(failure?.cause == .certificateInvalid)
        }
        // An intermediate that the operator trusts as it stands needs no list of its root's.
        let ofIntermediate = try self.pki.write("below.pem", revoking: [], issuers: [intermediate])
        #expect(try self.failures(leaf, self.domain(ofIntermediate, authorities: [intermediate])) == [nil, nil])
    }

    @Test(
        "CERT-08: no list judges the authority that is trusted, whoever issued it (RFC 5280 §6.1)",
        arguments: [false, true])
    func anchors(namesKey: Bool) throws {
        let intermediate = try self.pki.intermediate("Intermediate")
        let leaf = try self.pki.issue(TestPKI.Request("far.example"), issuer: intermediate)
        let withdrawn = try self.pki.issue(TestPKI.Request("far.example"), issuer: intermediate)
        let below = TestPKI.RevocationList(intermediate, revoking: [withdrawn], namesKey: namesKey)
        var above = TestPKI.RevocationList(self.pki.root, namesKey: namesKey)
        let stale = -60
        let aboveAll: [(String, TestPKI.RevocationList)] = [
            ("good", above),
            (
                "stale",
                {
                    above.nextUpdate = stale; above.lastUpdate = -7200; return above
                }()
            ),
            (
                "early",
                {
                    above.nextUpdate = 86_400; above.lastUpdate = 3600; return above
                }()
            ),
            (
                "revoking",
                {
                    above.lastUpdate = -3600; above.revoked = [intermediate]; return above
                }()
            ),
        ]
        for (name, above) in aboveAll {
            for (order, lists) in [("above first", [above, below]), ("below first", [below, above])] {
                let path = try self.pki.write("lists.pem", lists: lists)
                let domain = try self.domain(path, authorities: [intermediate])
                let outcome = try self.failures(leaf, domain)
                #expect(outcome == [nil, nil], "\(name), \(order)")
                for failure in try self.failures(withdrawn, domain) {
                    #expect(failure?.cause == .certificateInvalid, "\(name), \(order)")
                }
            }
        }
        let revoking = try self.pki.write("revoking.pem", lists: [aboveAll[3].1, below])
        let problems = CertificateStore.lint([try self.domain(revoking, authorities: [intermediate])])
        #expect(problems.map(\.kind) == [.revocationList, .revocationList])
        #expect(problems.allSatisfy { $0.severity == .warning && $0.text.contains("revokes /CN=Intermediate") })
        // What is trusted ends the path, also where its root is trusted beside it.
        let path = try self.pki.write("lists.pem", lists: [below])
        #expect(try self.failures(leaf, self.domain(path, authorities: [self.pki.root, intermediate])) == [nil, nil])
    }

    @Test("CERT-08: a root's list past its next update counts for what the root issued, and for the root itself not")
    func rootList() throws {
        let intermediate = try self.pki.intermediate("Intermediate")
        let leaf = try self.pki.issue(TestPKI.Request("far.example"), issuer: intermediate)
        let old = TestPKI.RevocationList(self.pki.root, lastUpdate: -7200, nextUpdate: -60)
        let path = try self.pki.write("lists.pem", lists: [old, TestPKI.RevocationList(intermediate)])
        // The root's list speaks of the intermediate, so it is needed where the root is what is trusted…
        for failure in try self.failures(leaf, self.domain(path)) { #expect(failure?.cause == .revocationList) }
        #expect(try self.failures(leaf, self.domain(path, .accept)) == [nil, nil])
        // …and not where the intermediate is.
        #expect(try self.failures(leaf, self.domain(path, authorities: [intermediate])) == [nil, nil])
        // A peer whose own certificate is the one that is trusted has nothing above it.
        let ofRoot = try self.pki.write("old.pem", lists: [old])
        #expect(try self.failures(self.good, self.domain(ofRoot, authorities: [self.good])) == [nil, nil])
    }

    @Test("CERT-08: of several authorities, those without a list in the file have no certificate that verifies")
    func someAuthorities() throws {
        let other = try self.pki.authority("Other")
        let ofOther = try self.pki.issue(TestPKI.Request("far.example"), issuer: other)
        let path = try self.pki.write("lists.pem", lists: [TestPKI.RevocationList(self.pki.root)])
        let domain = try self.domain(path, authorities: [self.pki.root, other])
        #expect(try self.failures(self.good, domain) == [nil, nil])
        for (failure, setting) in zip(try self.failures(ofOther, domain), ["outbound.crl", "tls.client_crl"]) {
            #expect(failure?.cause == .revocationList)
            #expect(failure?.text.contains("\(setting) of a.example has no list of whoever issued") == true)
        }
    }

    @Test("CERT-08: a list that can't be read is an error of its domain, and a new one counts after the next load")
    func files() throws {
        let path = try self.pki.write("list.pem", revoking: [])
        let domain = try self.domain(path)
        let store = try CertificateStore.load([domain], reusing: nil)
        #expect(try self.failures(self.bad, domain) == [nil, nil])
        for (content, kind) in [
            ("", CertificateProblem.Kind.fileMalformed),
            ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", .fileMalformed),
        ] {
            try self.pki.write("list.pem", text: content)
            let problems = CertificateStore.lint([domain]).filter { $0.severity == .error }
            #expect(problems.map(\.kind) == [kind, kind])
            #expect(problems.allSatisfy { $0.domain == "a.example" && $0.text.contains("revocation list") })
            #expect(throws: CertificateErrors.self) { try CertificateStore.load([domain], reusing: store) }
        }
        try self.pki.write("list.pem", revoking: [self.bad])
        let next = try CertificateStore.load([domain], reusing: store)
        #expect(next.filesRead == 1)
        for failure in try self.failures(self.bad, domain) { #expect(failure?.cause == .certificateInvalid) }
        #expect(
            CertificateStore.lint([try self.domain("/nowhere/list.pem")]).map(\.kind) == [
                .fileUnreadable, .fileUnreadable,
            ])
    }

    @Test("CERT-08: a session made before a new list is not resumed")
    func resumption() throws {
        let domain = try self.domain(self.pki.write("list.pem", revoking: []))
        let edge = try TestEdge([domain])
        var offer = ScriptedClient.Offer("a.example")
        offer.certificate = try self.pki.write("peer", self.bad)
        let first = try edge.handshake(offer)
        offer.session = first.client.session
        #expect(try edge.handshake(offer).engine.facts?.isResumed == true)
        try self.pki.write("list.pem", revoking: [self.bad])
        edge.store = try CertificateStore.load([domain], reusing: edge.store)
        #expect(try edge.handshake(offer).outcome.failure?.cause == .certificateInvalid)
    }

    @Test("CERT-08: what was verified by other authorities or lists is known by its trust")
    func trust() throws {
        let list = try self.pki.write("list.pem", revoking: [])
        let store = try CertificateStore.load([self.domain(list)], reusing: nil)
        let same = try CertificateStore.load([self.domain(list)], reusing: store)
        func trust(_ store: CertificateStore) throws -> [[UInt8]] {
            [
                try #require(store.outboundCredentials(of: "a.example")?.trust),
                try #require(store.clientTrust(of: "a.example")),
            ]
        }
        #expect(try trust(same) == trust(store))
        try self.pki.write("list.pem", revoking: [self.bad])
        let others = [
            try self.domain(list),
            try self.domain(self.pki.write("again.pem", revoking: []), .accept),
            try self.domain(self.pki.write("again.pem", revoking: []), authorities: [self.pki.root, self.good]),
        ]
        for other in others {
            let changed = try trust(CertificateStore.load([other], reusing: store))
            #expect(zip(changed, try trust(store)).allSatisfy { $0 != $1 })
        }
        let edge = try TestEdge([self.domain(list)])
        var offer = ScriptedClient.Offer("a.example")
        offer.certificate = try self.pki.write("peer", self.good)
        #expect(try edge.handshake(offer).engine.facts?.verified?.trust == edge.store.clientTrust(of: "a.example"))
    }
}
