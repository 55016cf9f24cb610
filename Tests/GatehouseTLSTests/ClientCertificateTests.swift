import COpenSSL
import GatehousePolicy
import NIOCore
import SIPMessage
import TestCertificates
import Testing

@testable import GatehouseTLS

@Suite("Client certificates")
struct ClientCertificateTests {
    private let pki: TestPKI
    private let phones: TestPKI.Holder
    private let edge: TestEdge

    init() throws {
        let pki = try TestPKI()
        self.pki = pki
        self.phones = try pki.authority("Phones")
        let authorities = try pki.write("phones.pem", certificates: [self.phones])
        func domain(_ name: String, _ rule: TLSSettings.ClientCertificate) throws -> DomainConfiguration {
            DomainConfiguration(name, try pki.pair(name, TestPKI.Request(name))) { tls in
                tls.clientCertificate = rule
                tls.clientCA = authorities
            }
        }
        self.edge = try TestEdge([
            domain("none.example", .none), domain("request.example", .request), domain("require.example", .require),
        ])
    }

    private func phone(_ change: (inout TestPKI.Request) -> Void = { _ in }, issuer: TestPKI.Holder? = nil) throws
        -> CertificatePair
    {
        var request = TestPKI.Request("phone7.a.example", commonName: "phone7")
        change(&request)
        return try self.pki.pair("phone\(Int.random(in: 0...Int.max))", request, issuer: issuer ?? self.phones)
    }

    private func outcome(
        _ domain: String, _ certificate: CertificatePair?, version: Int32 = TLS1_3_VERSION
    ) throws -> (outcome: ScriptedClient.Outcome, client: ScriptedClient, engine: TLSEngine) {
        var offer = ScriptedClient.Offer(domain)
        offer.versions = version...version
        offer.certificate = certificate
        return try self.edge.handshake(offer)
    }

    private static let versions = [TLS1_2_VERSION, TLS1_3_VERSION]

    @Test(
        "TLS-10: without a certificate: none and request let in unauthenticated, require refuses",
        arguments: Self.versions)
    func withoutCertificate(version: Int32) throws {
        for domain in ["none.example", "request.example"] {
            let (outcome, _, engine) = try self.outcome(domain, nil, version: version)
            #expect(outcome.isComplete)
            #expect(engine.facts?.domain == domain)
            #expect(engine.facts?.verified == nil)
        }
        let refused = try self.outcome("require.example", nil, version: version).outcome
        #expect(refused.failure?.cause == .certificateMissing)
        #expect(refused.failure?.domain == "require.example")
        #expect(refused.alert == (version == TLS1_3_VERSION ? 116 : 40))
    }

    @Test(
        "TLS-10: a good certificate is verified where it is asked for, and not looked at where it is not",
        arguments: Self.versions)
    func goodCertificate(version: Int32) throws {
        let certificate = try self.phone()
        for domain in ["request.example", "require.example"] {
            let (outcome, _, engine) = try self.outcome(domain, certificate, version: version)
            #expect(outcome.isComplete)
            let verified = try #require(engine.facts?.verified)
            #expect(verified.displayName == "CN=phone7")
            #expect(verified.names.dnsNames == ["phone7.a.example"])
            #expect(verified.fingerprint == CertificateChain.load(certificate.certificate).content?.fingerprint)
        }
        let (outcome, _, engine) = try self.outcome("none.example", certificate, version: version)
        #expect(outcome.isComplete)
        #expect(engine.facts?.verified == nil)
    }

    @Test(
        "TLS-10, CERT-06: an invalid certificate is refused, also where none is required",
        arguments: ["request.example", "require.example"])
    func badCertificate(domain: String) throws {
        let notAuthority = try self.pki.issue(TestPKI.Request("not.example"), issuer: self.phones)
        let constrained = try self.pki.issue(
            {
                var request = TestPKI.Request(commonName: "Constrained")
                request.isAuthority = true
                request.nameConstraints = "permitted;DNS:other.example"
                return request
            }(), issuer: self.phones)
        let bad: [(String, CertificatePair)] = [
            ("unknown authority", try self.phone(issuer: self.pki.authority("Others"))),
            ("self-signed", try self.pki.write("self", self.pki.selfSigned(TestPKI.Request("phone7.a.example")))),
            ("expired", try self.phone { $0.notAfter = -60 }),
            ("not yet valid", try self.phone { $0.notBefore = 3600 }),
            ("issuer without CA bit", try self.phone(issuer: notAuthority)),
            ("name constraint", try self.phone(issuer: constrained)),
            ("weak key", try self.phone { $0.key = .rsa(bits: 1024) }),
            ("weak signature", try self.phone { $0.digest = .sha1 }),
            ("purpose", try self.phone { $0.extendedKeyUsage = "serverAuth" }),
            ("key usage", try self.phone { $0.keyUsage = "keyAgreement" }),
        ]
        for (what, certificate) in bad {
            for version in Self.versions {
                let (outcome, _, engine) = try self.outcome(domain, certificate, version: version)
                #expect(outcome.failure?.cause == .certificateInvalid, "\(what)")
                #expect(outcome.failure?.domain == domain)
                #expect(outcome.alert != nil, "\(what)")
                #expect(engine.facts == nil)
            }
        }
    }

    @Test(
        "CERT-07: a client's extended key usage: clientAuth, any and sipDomain will do",
        arguments: ["clientAuth", "anyExtendedKeyUsage", "1.3.6.1.5.5.7.3.20"])
    func purposes(usage: String) throws {
        let certificate = try self.phone { $0.extendedKeyUsage = usage }
        #expect(try self.outcome("require.example", certificate).engine.facts?.verified != nil)
    }

    @Test("CERT-07: an intermediate authority for other purposes alone certifies no client")
    func intermediatePurpose() throws {
        for (usage, isAccepted) in [("emailProtection", false), ("clientAuth", true), ("serverAuth", false)] {
            var request = TestPKI.Request(commonName: "Phones \(usage)")
            request.isAuthority = true
            request.extendedKeyUsage = usage
            let issuer = try self.pki.issue(request, issuer: self.phones)
            let outcome = try self.outcome("require.example", self.phone(issuer: issuer)).outcome
            #expect(outcome.isComplete == isAccepted)
        }
    }

    @Test("a chain through an intermediate verifies, and an intermediate may itself be the authority")
    func intermediates() throws {
        let branch = try self.pki.intermediate("Branch", issuer: self.phones)
        let certificate = try self.phone(issuer: branch)
        #expect(try self.outcome("require.example", certificate).outcome.isComplete)
        let authorities = try self.pki.write("branch.pem", certificates: [branch])
        let edge = try TestEdge([
            DomainConfiguration("a.example", try self.pki.pair("a", TestPKI.Request("a.example"))) { tls in
                tls.clientCertificate = .require
                tls.clientCA = authorities
            }
        ])
        var offer = ScriptedClient.Offer("a.example")
        offer.certificate = certificate
        #expect(try edge.handshake(offer).outcome.isComplete)
        offer.certificate = try self.phone()
        #expect(try edge.handshake(offer).outcome.failure?.cause == .certificateInvalid)
    }

    @Test(
        "a resumed session keeps its verified client", arguments: Self.versions)
    func resumption(version: Int32) throws {
        var offer = ScriptedClient.Offer("require.example")
        offer.versions = version...version
        offer.certificate = try self.phone()
        let first = try self.edge.handshake(offer)
        offer.session = first.client.session
        let second = try self.edge.handshake(offer)
        #expect(second.engine.facts?.isResumed == true)
        #expect(second.engine.facts?.verified?.displayName == "CN=phone7")
        #expect(second.engine.facts?.verified?.fingerprint == first.engine.facts?.verified?.fingerprint)
    }

    /// Whether a session made now is resumed as the clock comes to a time, and whether its client is then verified.
    private func isResumed(_ edge: TestEdge, _ certificate: CertificatePair?, _ version: Int32, at time: Int64) throws
        -> Bool
    {
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        offer.certificate = certificate
        edge.clock.advance(to: CivilDate.now)
        for time in [CivilDate.now, time] {  // the ticket of a resumed session is no fresher than the first one
            let made = try edge.handshake(offer)
            #expect((made.engine.facts?.verified != nil) == (certificate != nil))
            #expect(made.engine.facts?.isResumed == (offer.session != nil))
            offer.session = made.client.session
            edge.clock.advance(to: time)
        }
        let last = try edge.handshake(offer)
        #expect((last.engine.facts?.verified != nil) == (certificate != nil))
        return try #require(last.engine.facts).isResumed
    }

    private func edge(_ rule: TLSSettings.ClientCertificate, crl: String? = nil) throws -> TestEdge {
        let authorities = try self.pki.write("phones.pem", certificates: [self.phones])
        return try TestEdge([
            DomainConfiguration("a.example", try self.pki.pair("a", TestPKI.Request("a.example"))) { tls in
                tls.clientCertificate = rule
                tls.clientCA = authorities
                tls.clientCRL = crl
            }
        ])
    }

    @Test(
        "CERT-08: a session is resumed as long as its client's chain and the lists that speak of it hold",
        arguments: Self.versions)
    func sessionLifetime(version: Int32) throws {
        let hour: Int64 = 3600
        let start = CivilDate.now
        let edge = try self.edge(.request)
        // The client's own certificate, and that of an intermediate above it.
        let brief = try self.phone { $0.notAfter = Int(hour) }
        #expect(try self.isResumed(edge, brief, version, at: start + hour - 60))
        #expect(try !self.isResumed(edge, brief, version, at: start + hour + 60))
        var request = TestPKI.Request(commonName: "Branch")
        request.isAuthority = true
        request.notAfter = Int(hour)
        let branch = try self.pki.issue(request, issuer: self.phones)
        #expect(try self.isResumed(edge, self.phone(issuer: branch), version, at: start + hour - 60))
        #expect(try !self.isResumed(edge, self.phone(issuer: branch), version, at: start + hour + 60))
        // Who shows none has nothing that ends.
        #expect(try self.isResumed(edge, nil, version, at: start + 10 * hour))
    }

    @Test("CERT-08: a list that runs out ends the sessions of those it speaks of", arguments: Self.versions)
    func sessionOfList(version: Int32) throws {
        let hour = 3600
        let start = CivilDate.now
        let stranger = try self.pki.authority("Stranger")
        let edge = try self.edge(
            .require,
            crl: self.pki.write(
                "lists.pem",
                lists: [
                    TestPKI.RevocationList(self.phones, nextUpdate: 2 * hour),
                    TestPKI.RevocationList(stranger, nextUpdate: hour),
                ]))
        let certificate = try self.phone()
        #expect(try self.isResumed(edge, certificate, version, at: start + Int64(2 * hour - 60)))
        #expect(try !self.isResumed(edge, certificate, version, at: start + Int64(2 * hour + 60)))
    }

    @Test("TLS-10: what the failure says tells whose certificate it was and what to do")
    func failureText() throws {
        let certificate = try self.phone { $0.notAfter = -60 }
        let text = try #require(try self.outcome("require.example", certificate).outcome.failure?.text)
        #expect(text.contains("/CN=phone7"))
        #expect(text.contains("expired"))
        #expect(text.contains("tls.client_ca of require.example"))
    }
}
