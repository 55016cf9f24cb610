import COpenSSL
import GatehousePolicy
import TestSupport
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
