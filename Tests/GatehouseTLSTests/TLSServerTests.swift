import COpenSSL
import GatehousePolicy
import NIOCore
import SIPMessage
import TestCertificates
import Testing

@testable import GatehouseTLS

@Suite("TLS, the accepting end")
struct TLSServerTests {
    private let pki: TestPKI
    private let a: CertificatePair
    private let b: CertificatePair

    init() throws {
        self.pki = try TestPKI()
        self.a = try self.pki.pair("a", TestPKI.Request("a.example"), issuer: self.pki.intermediate("Test CA 1"))
        self.b = try self.pki.pair("b", TestPKI.Request("b.example"))
    }

    /// Two domains on one address, and one on another.
    private func edge(
        _ change: @escaping (inout TLSSettings) -> Void = { _ in }, aliases: [String] = []
    ) throws -> TestEdge {
        let c = try self.pki.pair("c", TestPKI.Request("c.example"))
        return try TestEdge([
            DomainConfiguration("a.example", self.a, aliases: aliases, change),
            DomainConfiguration("b.example", self.b),
            DomainConfiguration("c.example", c, binds: [TestEdge.otherListener]),
        ])
    }

    private func fingerprint(_ pair: CertificatePair) throws -> String {
        try #require(CertificateChain.load(pair.certificate).content).fingerprint
    }

    private static let versions = [TLS1_2_VERSION, TLS1_3_VERSION]

    @Test(
        "TLS-01: the name that the client asks for chooses the domain and its chain, letter case aside",
        arguments: Self.versions)
    func domainByName(version: Int32) throws {
        let edge = try self.edge(aliases: ["sip.a.example", "*.phones.a.example"])
        for (name, domain, pair, length) in [
            ("a.example", "a.example", self.a, 2), ("B.EXAMPLE", "b.example", self.b, 1),
            ("Sip.A.example", "a.example", self.a, 2), ("desk7.phones.a.example", "a.example", self.a, 2),
            ("b.example.", "b.example", self.b, 1),
        ] {
            var offer = ScriptedClient.Offer(name)
            offer.versions = version...version
            let (outcome, client, engine) = try edge.handshake(offer)
            #expect(outcome.isComplete, "\(name): \(outcome)")
            #expect(client.peerFingerprint == (try self.fingerprint(pair)))
            #expect(client.peerChainLength == length)
            let facts = try #require(engine.facts)
            #expect(facts.domain == domain)
            #expect(facts.serverName == (name.hasSuffix(".") ? String(name.dropLast()) : name).lowercased())
            #expect(facts.version == (version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2"))
            #expect(
                facts.cipher
                    == (version == TLS1_3_VERSION
                        ? "TLS_AES_128_GCM_SHA256" : "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"))
            #expect(!facts.isResumed)
            #expect(facts.verified == nil)
        }
    }

    @Test(
        "TLS-02: an unknown name, an address and a domain of another address get unrecognized_name",
        arguments: [
            "d.example", "a.example.d.example", "198.51.100.10", "2001:db8::1", "c.example", "phones.a.example",
            "x.y.phones.a.example", ".phones.a.example", "a/b.phones.a.example", "a", "198.51.100.phones.a.example.",
        ], Self.versions)
    func unknownName(name: String, version: Int32) throws {
        let edge = try self.edge(aliases: ["*.phones.a.example"])
        var offer = ScriptedClient.Offer(name)
        offer.versions = version...version
        let (outcome, client, engine) = try edge.handshake(offer)
        #expect(outcome.failure?.cause == .unknownName)
        #expect(outcome.alert == 112)
        #expect(client.peerFingerprint == nil)
        #expect(engine.facts == nil)
        let isElsewhere = name == "c.example"
        #expect(outcome.failure?.text.contains("is served, but not on 198.51.100.10:5061") == isElsewhere)
        #expect(outcome.failure?.text.contains("unknown_sni: default") == !isElsewhere)
    }

    @Test("TLS-02: unknown_sni: default serves any name, under the default domain's rules")
    func unknownNameServed() throws {
        let edge = try self.edge { tls in
            tls.isDefault = true
            tls.unknownSNI = .default
        }
        for name in ["d.example", "198.51.100.10"] {
            let (outcome, _, engine) = try edge.handshake(ScriptedClient.Offer(name))
            #expect(outcome.isComplete)
            #expect(engine.facts?.domain == "a.example")
            #expect(engine.facts?.serverName == name)
        }
    }

    @Test("TLS-03: without a name the only domain of an address answers, or the default, or nobody")
    func noName() throws {
        let shared = try self.edge()
        #expect(
            try shared.handshake(ScriptedClient.Offer(nil), on: TestEdge.otherListener).engine.facts?.domain
                == "c.example")
        for (version, alert) in [(TLS1_3_VERSION, 109), (TLS1_2_VERSION, 40)] {
            var offer = ScriptedClient.Offer(nil)
            offer.versions = version...version
            let outcome = try shared.handshake(offer).outcome
            #expect(outcome.failure?.cause == .missingName)
            #expect(outcome.failure?.text.contains("tls.default: true") == true)
            #expect(outcome.alert == alert)
        }
        let withDefault = try self.edge { $0.isDefault = true }
        #expect(try withDefault.handshake(ScriptedClient.Offer(nil)).engine.facts?.domain == "a.example")
        #expect(try withDefault.handshake(ScriptedClient.Offer("d.example")).outcome.alert == 112)
    }

    @Test(
        "TLS-04: a client with nothing newer than TLS 1.1 gets protocol_version, whatever name it asks for",
        arguments: ["a.example", "d.example", nil], [TLS1_1_VERSION, TLS1_VERSION])
    func oldVersion(name: String?, version: Int32) throws {
        var offer = ScriptedClient.Offer(name)
        offer.versions = version...version
        let (outcome, _, _) = try self.edge().handshake(offer)
        #expect(outcome.failure?.cause == .protocolVersion)
        #expect(outcome.alert == 70)
    }

    @Test("TLS-04: an SSL 3 hello gets protocol_version")
    func oldestVersion() throws {
        let body: [UInt8] = [3, 0] + [UInt8](repeating: 7, count: 32) + [0, 0, 2, 0, 0x2F, 1, 0]
        let hello: [UInt8] = [0x16, 3, 0, 0, UInt8(body.count + 4), 1, 0, 0, UInt8(body.count)] + body
        let engine = try self.edge().engine()
        engine.receive(ByteBuffer(bytes: hello))
        guard case .failed(let failure) = engine.handshake() else {
            Issue.record("an SSL 3 hello went through")
            return
        }
        #expect(failure.cause == .protocolVersion)
        #expect(engine.takeOutput().map { Array($0.readableBytesView.suffix(2)) } == [2, 70])
    }

    @Test("TLS-04: a record version of 3.1 says nothing", arguments: Self.versions)
    func recordVersion(version: Int32) throws {
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        let client = ScriptedClient(offer)
        var flight = client.nextFlight()
        #expect(flight[..<3].elementsEqual([0x16, 3, 1]))
        flight[2] = 1
        let engine = try self.edge().engine()
        engine.receive(ByteBuffer(bytes: flight))
        guard case .needsInput = engine.handshake() else {
            Issue.record("refused")
            return
        }
        client.feed(try #require(engine.takeOutput()))
        #expect(client.connect(to: engine).isComplete)
    }

    @Test("TLS-05: the newest version offered is taken, and a domain's minimum holds")
    func minimumVersion() throws {
        let edge = try self.edge { $0.minimumVersion = .tls13 }
        #expect(try edge.handshake(ScriptedClient.Offer("b.example")).engine.facts?.version == "TLSv1.3")
        var offer = ScriptedClient.Offer("a.example")
        #expect(try edge.handshake(offer).engine.facts?.version == "TLSv1.3")
        offer.versions = TLS1_2_VERSION...TLS1_2_VERSION
        let refused = try edge.handshake(offer).outcome
        #expect(refused.failure?.cause == .protocolVersion)
        #expect(refused.failure?.domain == "a.example")
        #expect(refused.alert == 70)
        offer.serverName = "b.example"
        #expect(try edge.handshake(offer).engine.facts?.version == "TLSv1.2")
    }

    @Test(
        "TLS-05: suites without secrecy, with broken ciphers or without forward secrecy get handshake_failure",
        arguments: [
            "aNULL", "eNULL", "AES128-GCM-SHA256", "AES256-SHA", "kRSA", "DHE-RSA-AES128-GCM-SHA256",
        ])
    func weakCiphers(ciphers: String) throws {
        let pair = try self.pki.pair("rsa", Self.rsaRequest("a.example"))
        let edge = try TestEdge([DomainConfiguration("a.example", pair)])
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = TLS1_2_VERSION...TLS1_2_VERSION
        offer.ciphers = "\(ciphers)"
        let outcome = try edge.handshake(offer).outcome
        #expect(outcome.failure?.cause == .noSharedCipher)
        #expect(outcome.alert == 40)
        offer.ciphers = "\(ciphers):ECDHE-RSA-AES128-GCM-SHA256"
        #expect(try edge.handshake(offer).engine.facts?.cipher == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
    }

    @Test("TLS-05: a domain's own cipher list holds for it alone")
    func ownCiphers() throws {
        let edge = try self.edge { $0.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384" }
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = TLS1_2_VERSION...TLS1_2_VERSION
        #expect(try edge.handshake(offer).engine.facts?.cipher == "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
        offer.serverName = "b.example"
        #expect(try edge.handshake(offer).engine.facts?.cipher == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    }

    private static func rsaRequest(_ name: String) -> TestPKI.Request {
        var request = TestPKI.Request(name)
        request.key = .rsa(bits: 2048)
        return request
    }

    @Test(
        "an RSA and an ECDSA certificate stand side by side: the client's signature schemes choose",
        arguments: Self.versions)
    func keyTypes(version: Int32) throws {
        let rsa = try self.pki.pair("a-rsa", Self.rsaRequest("a.example"))
        let edge = try TestEdge([DomainConfiguration("a.example", rsa, self.a)])
        for (schemes, pair) in [("ECDSA+SHA256", self.a), ("RSA-PSS+SHA256:RSA+SHA256", rsa)] {
            var offer = ScriptedClient.Offer("a.example")
            offer.versions = version...version
            offer.signatureAlgorithms = schemes
            let (outcome, client, _) = try edge.handshake(offer)
            #expect(outcome.isComplete)
            #expect(client.peerFingerprint == (try self.fingerprint(pair)))
        }
        let alone = try TestEdge([DomainConfiguration("a.example", self.a)])
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        offer.signatureAlgorithms = "RSA+SHA256"
        let outcome = try alone.handshake(offer).outcome
        #expect(outcome.failure?.cause == .noSharedCipher)
        #expect(outcome.failure?.text.contains("an RSA certificate beside") == true)
    }

    @Test("TLS-06: a client's wish to renegotiate is refused, and the connection goes on")
    func renegotiation() throws {
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = TLS1_2_VERSION...TLS1_2_VERSION
        let (outcome, client, engine) = try self.edge().handshake(offer)
        #expect(outcome.isComplete)
        #expect(client.renegotiate())
        engine.receive(client.takeOutput())
        guard case .wouldBlock = engine.readAll().end else {
            Issue.record("renegotiation ended the connection")
            return
        }
        let answer = try #require(engine.takeOutput())
        #expect(answer.readableBytes < 50, "an alert, not a ServerHello")
    }

    @Test("TLS-06: neither compression nor early data is on offer")
    func compressionAndEarlyData() throws {
        let (_, client, engine) = try self.edge().handshake(ScriptedClient.Offer("a.example"))
        #expect(SSL_get_current_compression(engine.ssl) == nil)
        #expect(SSL_SESSION_get_max_early_data(client.session.handle) == 0)
    }

    @Test(
        "TLS-07: a session resumes under its own name alone, neither in another domain nor under an alias",
        arguments: Self.versions)
    func resumption(version: Int32) throws {
        let edge = try self.edge(aliases: ["sip.a.example"])
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        let first = try edge.handshake(offer)
        #expect(first.outcome.isComplete)
        offer.session = first.client.session
        let second = try edge.handshake(offer)
        #expect(second.client.isResumed)
        #expect(second.engine.facts?.isResumed == true)
        #expect(second.engine.facts?.domain == "a.example")
        offer.session = second.client.session
        #expect(try edge.handshake(offer).client.isResumed, "a resumed session gives a fresh ticket")
        for name in ["b.example", "sip.a.example"] {
            offer.serverName = name
            offer.session = first.client.session
            let other = try edge.handshake(offer)
            #expect(other.outcome.isComplete, "a full handshake instead")
            #expect(!other.client.isResumed)
            #expect(other.engine.facts?.serverName == name)
        }
    }

    @Test("a client whose first key share is no use is asked for another, and gets the same domain")
    func helloRetry() throws {
        let edge = try self.edge { $0.clientCertificate = .none }
        var offer = ScriptedClient.Offer("B.example")
        offer.groups = "P-521:P-256"
        let client = ScriptedClient(offer)
        let engine = try edge.engine()
        var flights = 0
        for _ in 0..<3 where engine.facts == nil {
            engine.receive(ByteBuffer(bytes: client.nextFlight()))
            if case .failed(let failure) = engine.handshake() { throw failure }
            flights += 1
            if let answer = engine.takeOutput() { client.feed(answer) }
        }
        #expect(flights == 3, "two ClientHellos and a Finished")
        #expect(engine.facts?.domain == "b.example")
        #expect(client.peerFingerprint == (try self.fingerprint(self.b)))
    }

    @Test("TLS-07: a session does not outlive the rules that it was made under", arguments: Self.versions)
    func resumptionAfterChange(version: Int32) throws {
        let edge = try self.edge()
        let authority = try self.pki.write("ca.pem", certificates: [self.pki.root])
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        for rule in [TLSSettings.ClientCertificate.none, .request, .require] {
            let domain = DomainConfiguration("a.example", self.a) { tls in
                tls.clientCertificate = rule
                tls.clientCA = authority
            }
            edge.store = try CertificateStore.load([domain], reusing: edge.store)
            let (outcome, client, engine) = try edge.handshake(offer)
            if rule == .require {
                #expect(outcome.failure?.cause == .certificateMissing)
                #expect(outcome.failure?.domain == "a.example")
            } else {
                #expect(outcome.isComplete)
                #expect(engine.facts?.isResumed == false)
                offer.session = client.session
            }
        }
    }

    @Test("a session ticket is read under its key and the next, and then no longer", arguments: Self.versions)
    func ticketKeys(version: Int32) throws {
        let edge = try self.edge()
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        offer.session = try edge.handshake(offer).client.session
        try edge.context.tickets.rotate()
        #expect(try edge.handshake(offer).client.isResumed)
        try edge.context.tickets.rotate()
        let last = try edge.handshake(offer)
        #expect(last.outcome.isComplete)
        #expect(!last.client.isResumed)
    }

    @Test(
        "TLS-11: ALPN is left out, or names SIP; any other protocol gets no_application_protocol",
        arguments: Self.versions)
    func applicationProtocol(version: Int32) throws {
        let edge = try self.edge()
        for (offered, chosen) in [([], nil), (["h2", "sip/2"], "sip/2"), (["sip"], "sip")] as [([String], String?)] {
            var offer = ScriptedClient.Offer("a.example")
            offer.versions = version...version
            offer.applicationProtocols = offered
            let (outcome, _, engine) = try edge.handshake(offer)
            #expect(outcome.isComplete)
            #expect(engine.facts?.applicationProtocol == chosen)
        }
        var offer = ScriptedClient.Offer("a.example")
        offer.versions = version...version
        offer.applicationProtocols = ["h2", "http/1.1"]
        let outcome = try edge.handshake(offer).outcome
        #expect(outcome.failure?.cause == .noApplicationProtocol)
        #expect(outcome.alert == 120)
    }

    @Test("TLS-13: new handshakes get a replaced certificate at once, and an open connection lives on")
    func replacedCertificate() throws {
        let edge = try self.edge()
        let old = try edge.handshake(ScriptedClient.Offer("b.example"))
        let before = old.client.peerFingerprint
        _ = try self.pki.pair("b", TestPKI.Request("b.example"))
        let previous = edge.store
        edge.store = try CertificateStore.load([DomainConfiguration("b.example", self.b)], reusing: previous)
        let new = try edge.handshake(ScriptedClient.Offer("b.example"))
        #expect(new.outcome.isComplete)
        #expect(new.client.peerFingerprint != before)
        let change = edge.store.changes(since: previous).first { $0.domain == "b.example" }
        #expect(change?.oldFingerprint == before)
        #expect(change?.newFingerprint == new.client.peerFingerprint)
        old.client.write("still here")
        old.engine.receive(old.client.takeOutput())
        #expect(String(decoding: old.engine.readAll().bytes, as: UTF8.self) == "still here")
    }

    @Test("TLS-13: a replaced certificate is freed with the last handshake that used it")
    func freedCertificate() throws {
        weak var chain: CertificateChain?
        let edge = try self.edge()
        var held: [TLSEngine] = []
        do {
            let files = CertificateFiles(for: [DomainConfiguration("b.example", self.b)], reusing: nil)
            chain = files.chains[self.b.certificate]?.content
            let domain = ServedDomain(
                name: "b.example", settings: TLSSettings(binds: [], certificates: [self.b]),
                credentials: [
                    Credential(
                        chain: try #require(chain), key: try #require(files.keys[self.b.privateKey]?.content), file: "")
                ], clientAuthorities: nil)
            let engine = try edge.engine()
            try domain.apply(to: engine.ssl, serverName: nil)
            held.append(engine)
        }
        #expect(chain == nil, "OpenSSL alone counts on")
        #expect(SSL_get_certificate(held[0].ssl) != nil)
        let (outcome, _, engine) = try edge.handshake(ScriptedClient.Offer("b.example"))
        #expect(outcome.isComplete)
        #expect(SSL_get_certificate(engine.ssl) == nil)
    }
}
