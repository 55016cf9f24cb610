import COpenSSL
import GatehousePolicy
import NIOCore
import SIPMessage
import TestCertificates
import Testing

@testable import GatehouseTLS

@Suite("TLS, the connecting end")
struct TLSClientTests {
    private let pki: TestPKI
    private let context: TLSClientContext
    private static let versions = [TLS1_2_VERSION, TLS1_3_VERSION]

    init() throws {
        self.pki = try TestPKI()
        self.context = try TLSClientContext()
    }

    private func credentials(
        _ authorities: TestPKI.Holder? = nil, showing pair: CertificatePair? = nil, verifies: Bool = true
    ) throws -> OutboundCredentials {
        var domain = DomainConfiguration("a.example", try self.pki.pair("own", TestPKI.Request("a.example")))
        domain.outbound.authorities = .file(try self.pki.write("ca.pem", certificates: [authorities ?? self.pki.root]))
        domain.outbound.verify = verifies
        domain.outbound.clientCertificate = pair.map { .pair($0) } ?? .domain
        return try #require(try CertificateStore.load([domain], reusing: nil).outboundCredentials(of: "a.example"))
    }

    private func connect(
        to certificate: TestPKI.Holder, _ credentials: OutboundCredentials, host: String = "far.example",
        version: Int32 = TLS1_3_VERSION
    ) throws -> (step: HandshakeStep, server: ScriptedServer, engine: TLSEngine) {
        let server = ScriptedServer(try self.pki.write("peer", certificate), version: version)
        let identity = PeerIdentity(host: host)
        let name: String? = if case .domain(let name) = identity { name } else { nil }
        let engine = try TLSEngine.client(
            context: self.context, credentials: credentials, serverName: name, identity: identity)
        return (server.accept(engine), server, engine)
    }

    private static func failure(_ step: HandshakeStep) -> TLSFailure? {
        if case .failed(let failure) = step { failure } else { nil }
    }

    @Test("CERT-01, CERT-02: the name before DNS is asked for and must be in the certificate", arguments: Self.versions)
    func name(version: Int32) throws {
        let credentials = try self.credentials()
        let good = try self.pki.issue(TestPKI.Request("far.example"))
        let (step, server, engine) = try self.connect(to: good, credentials, version: version)
        guard case .complete = step else {
            Issue.record("\(step)")
            return
        }
        #expect(server.serverName == "far.example")
        let facts = try #require(engine.facts)
        #expect(facts.domain == "a.example")
        #expect(facts.serverName == "far.example")
        #expect(facts.verified?.names.dnsNames == ["far.example"])
        #expect(facts.version == (version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2"))
        let other = try self.pki.issue(TestPKI.Request("host1.isp.example"))
        let refused = try self.connect(to: other, credentials, version: version)
        let failure = try #require(Self.failure(refused.step))
        #expect(failure.cause == .certificateName)
        #expect(failure.domain == "a.example")
        #expect(failure.text.contains("is for host1.isp.example, not for far.example"))
        #expect(refused.server.alert == 42, "bad_certificate")
        #expect(refused.engine.facts == nil)
    }

    @Test("what a peer shows can be read, whether it verifies, does not, or need not", arguments: Self.versions)
    func shownCertificate(version: Int32) throws {
        let good = try self.pki.issue(TestPKI.Request("far.example"))
        let other = try self.pki.issue(TestPKI.Request("host1.isp.example"))
        let stranger = try self.pki.issue(TestPKI.Request(commonName: "Stranger"))
        for (credentials, holder, names) in [
            (try self.credentials(), good, ["far.example"]), (try self.credentials(), other, ["host1.isp.example"]),
            (try self.credentials(stranger), good, ["far.example"]),
            (try self.credentials(stranger, verifies: false), other, ["host1.isp.example"]),
        ] {
            let engine = try self.connect(to: holder, credentials, version: version).engine
            let shown = try #require(engine.shownCertificate)
            #expect(shown.names.dnsNames == names)
            #expect(shown.notAfter > shown.notBefore && shown.fingerprint.utf8.count == 64)
        }
        let untouched = try TLSEngine.client(
            context: self.context, credentials: try self.credentials(), serverName: nil, identity: nil)
        #expect(untouched.shownCertificate == nil)
    }

    @Test("CERT-02: an address is not asked for by name, and proved by an address")
    func address() throws {
        let credentials = try self.credentials()
        var request = TestPKI.Request()
        request.addresses = ["192.0.2.7"]
        let (step, server, _) = try self.connect(to: self.pki.issue(request), credentials, host: "192.0.2.7")
        guard case .complete = step else {
            Issue.record("\(step)")
            return
        }
        #expect(server.serverName == nil)
        let other = try self.connect(to: self.pki.issue(request), credentials, host: "192.0.2.8").step
        #expect(Self.failure(other)?.cause == .certificateName)
    }

    @Test("CERT-03: a sip URI in the certificate counts, and then its DNS names do not")
    func uri() throws {
        let credentials = try self.credentials()
        var request = TestPKI.Request("near.example")
        request.uris = ["sip:far.example"]
        let holder = try self.pki.issue(request)
        guard case .complete = try self.connect(to: holder, credentials).step else {
            Issue.record("sip:far.example is far.example")
            return
        }
        let other = try self.connect(to: holder, credentials, host: "near.example").step
        #expect(Self.failure(other)?.cause == .certificateName)
    }

    @Test("CERT-05: a common name counts where the domain says so, and the certificate has no subjectAltName")
    func commonName() throws {
        let named = try self.pki.issue(TestPKI.Request(commonName: "far.example"))
        let refused = try self.connect(to: named, self.credentials()).step
        #expect(Self.failure(refused)?.cause == .certificateName)
        #expect(Self.failure(refused)?.text.contains("set outbound.accept_common_name") == true)
        var domain = DomainConfiguration("a.example", try self.pki.pair("own", TestPKI.Request("a.example")))
        domain.outbound.authorities = .file(try self.pki.write("ca.pem", certificates: [self.pki.root]))
        domain.outbound.acceptsCommonName = true
        let accepting = try #require(
            try CertificateStore.load([domain], reusing: nil).outboundCredentials(of: "a.example"))
        guard case .complete = try self.connect(to: named, accepting).step else {
            Issue.record("outbound.accept_common_name is not kept")
            return
        }
        let beside = try self.pki.issue(TestPKI.Request("other.example", commonName: "far.example"))
        #expect(Self.failure(try self.connect(to: beside, accepting).step)?.cause == .certificateName)
    }

    @Test("CERT-06: a certificate that is out of date or leads nowhere is refused", arguments: Self.versions)
    func badCertificates(version: Int32) throws {
        let credentials = try self.credentials()
        func request(_ change: (inout TestPKI.Request) -> Void = { _ in }) -> TestPKI.Request {
            var request = TestPKI.Request("far.example")
            change(&request)
            return request
        }
        let notAuthority = try self.pki.issue(TestPKI.Request("not.example"))
        var constrained = TestPKI.Request(commonName: "Constrained")
        constrained.isAuthority = true
        constrained.nameConstraints = "permitted;DNS:other.example"
        let narrow = try self.pki.issue(constrained)
        let bad: [(String, TestPKI.Holder, String)] = [
            ("expired", try self.pki.issue(request { $0.notAfter = -60 }), "expired"),
            ("not yet valid", try self.pki.issue(request { $0.notBefore = 3600 }), "not yet valid"),
            ("unknown root", try self.pki.issue(request(), issuer: self.pki.authority("Others")), "outbound.ca"),
            ("self-signed", try self.pki.selfSigned(request()), "self-signed"),
            ("no CA bit", try self.pki.issue(request(), issuer: notAuthority), "invalid CA"),
            ("name constraint", try self.pki.issue(request(), issuer: narrow), "permitted subtree"),
            ("purpose", try self.pki.issue(request { $0.extendedKeyUsage = "clientAuth" }), "purpose"),
        ]
        for (what, holder, text) in bad {
            let (step, server, engine) = try self.connect(to: holder, credentials, version: version)
            let failure = try #require(Self.failure(step), "\(what)")
            #expect(failure.cause == .certificateInvalid)
            #expect(failure.text.contains(text), "\(what): \(failure)")
            #expect(server.alert != nil)
            #expect(engine.facts == nil)
        }
    }

    @Test(
        "CERT-07: a server's extended key usage: serverAuth, any and sipDomain will do",
        arguments: ["serverAuth", "anyExtendedKeyUsage", "1.3.6.1.5.5.7.3.20", nil])
    func purposes(usage: String?) throws {
        var request = TestPKI.Request("far.example")
        request.extendedKeyUsage = usage
        guard case .complete = try self.connect(to: self.pki.issue(request), self.credentials()).step else {
            Issue.record("\(usage ?? "none") refused")
            return
        }
    }

    @Test(
        "outbound.verify: false lets a bad certificate through, unverified, and says what is wrong with it",
        arguments: Self.versions)
    func unverified(version: Int32) throws {
        let credentials = try self.credentials(verifies: false)
        var expired = TestPKI.Request("far.example")
        expired.notAfter = -60
        let rows: [(TestPKI.Holder, TLSFailure.Cause?, String)] = [
            (try self.pki.issue(TestPKI.Request("far.example")), nil, ""),
            (try self.pki.selfSigned(TestPKI.Request("far.example")), .certificateInvalid, "does not verify: self"),
            (try self.pki.issue(expired), .certificateInvalid, "certificate has expired"),
            (
                try self.pki.issue(TestPKI.Request("elsewhere.example")), .certificateName,
                "is for elsewhere.example, not for far.example"
            ),
        ]
        for (holder, cause, text) in rows {
            let (step, _, engine) = try self.connect(to: holder, credentials, version: version)
            guard case .complete = step else {
                Issue.record("\(step)")
                continue
            }
            let facts = try #require(engine.facts)
            #expect(facts.verified == nil)
            #expect(facts.unproved?.cause == cause)
            #expect(facts.unproved?.text.contains(text) ?? (cause == nil), "\(String(describing: facts.unproved))")
        }
    }

    @Test("a domain shows its own certificate where it is asked for one, or the one configured")
    func ownCertificate() throws {
        let peer = try self.pki.write("peer", self.pki.issue(TestPKI.Request("far.example")))
        let special = try self.pki.pair("special", TestPKI.Request("client.example"))
        for (pair, name) in [(nil, "a.example"), (special, "client.example")] as [(CertificatePair?, String)] {
            let credentials = try self.credentials(showing: pair)
            let server = ScriptedServer(peer, asksClient: true)
            let engine = try TLSEngine.client(
                context: self.context, credentials: credentials, serverName: "far.example",
                identity: .domain("far.example"))
            guard case .complete = server.accept(engine) else {
                Issue.record("no handshake")
                return
            }
            #expect(server.peerNames == [name])
            #expect(engine.facts?.hasShownCertificate == true)
        }
        for (asksClient, showsNothing) in [(false, false), (true, true)] {
            var domain = DomainConfiguration("a.example", try self.pki.pair("own", TestPKI.Request("a.example")))
            domain.outbound.authorities = .file(try self.pki.write("ca.pem", certificates: [self.pki.root]))
            if showsNothing { domain.outbound.clientCertificate = .none }
            let store = try CertificateStore.load([domain], reusing: nil)
            let server = ScriptedServer(peer, asksClient: asksClient)
            let engine = try TLSEngine.client(
                context: self.context, credentials: #require(store.outboundCredentials(of: "a.example")),
                serverName: "far.example", identity: .domain("far.example"))
            guard case .complete = server.accept(engine) else {
                Issue.record("no handshake")
                return
            }
            #expect(server.peerNames == nil)
            #expect(engine.facts?.hasShownCertificate == false)
        }
    }

    @Test("without an identity to prove the caller judges the names itself")
    func noIdentity() throws {
        let server = ScriptedServer(try self.pki.pair("peer", TestPKI.Request("far.example")))
        let engine = try TLSEngine.client(
            context: self.context, credentials: self.credentials(), serverName: "other.example", identity: nil)
        guard case .complete = server.accept(engine) else {
            Issue.record("no handshake")
            return
        }
        #expect(engine.facts?.verified?.names.prove(.domain("far.example")) == true)
    }
}
