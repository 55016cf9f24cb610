import COpenSSL
import GatehousePolicy
import Glibc
import SIPMessage
import TestCertificates
import Testing

@testable import GatehouseTLS

@Suite("CertificateStore")
struct CertificateStoreTests {
    private let pki: TestPKI

    init() throws {
        self.pki = try TestPKI()
    }

    private func pair(_ file: String, _ change: (inout TestPKI.Request) -> Void = { _ in }) throws -> CertificatePair {
        var request = TestPKI.Request("a.example")
        change(&request)
        return try self.pki.pair(file, request)
    }

    private func problems(_ domains: DomainConfiguration..., reusing: CertificateStore? = nil) -> [CertificateProblem] {
        do throws(CertificateErrors) {
            return try CertificateStore.load(domains, reusing: reusing).warnings
        } catch {
            return error.problems
        }
    }

    private func kinds(_ domain: DomainConfiguration) -> [CertificateProblem.Kind] {
        self.problems(domain).map(\.kind)
    }

    // MARK: What is refused

    @Test(
        "TLS-12: a certificate that is weak, old, of another key or another name is refused, with its domain and a cure"
    )
    func refusedCertificates() throws {
        let good = try self.pair("good")
        let other = try self.pair("other")
        let weakRoot = try self.pki.issue(
            {
                var request = TestPKI.Request(commonName: "Weak CA")
                request.isAuthority = true
                request.digest = .sha1
                return request
            }())
        let cases: [(CertificateProblem.Kind, CertificatePair, String)] = [
            (.weakKey, try self.pair("weak") { $0.key = .rsa(bits: 1024) }, "RSA key of 1024 bits"),
            (.weakSignature, try self.pair("sha1") { $0.digest = .sha1 }, "signed with SHA1"),
            (
                .weakSignature, try self.pki.pair("weakca", TestPKI.Request("a.example"), issuer: weakRoot),
                "certificate 2 of"
            ),
            (
                .keyMismatch, CertificatePair(certificate: good.certificate, privateKey: other.privateKey),
                "is not the key of"
            ),
            (.nameMissing, try self.pki.pair("b", TestPKI.Request("b.example")), "does not name a.example"),
            (.nameMissing, try self.pki.pair("sub", TestPKI.Request("sip.a.example")), "does not name a.example"),
            (.nameMissing, try self.pki.pair("deep", TestPKI.Request("*.example.org")), "does not name a.example"),
            (.notYetValid, try self.pair("early") { $0.notBefore = 86_400 }, "is not valid before "),
        ]
        for (kind, pair, text) in cases {
            let problems = self.problems(DomainConfiguration("a.example", pair))
            #expect(problems.map(\.kind) == [kind], "\(problems)")
            let problem = try #require(problems.first)
            #expect(problem.severity == .error)
            #expect(problem.domain == "a.example")
            #expect(problem.text.contains(text), "\(problem)")
            #expect(!problem.cure.isEmpty)
        }
    }

    @Test("TLS-12: a file that is missing, empty, broken or encrypted is refused by name")
    func refusedFiles() throws {
        let good = try self.pair("good")
        let holder = try self.pki.issue(TestPKI.Request("a.example"))
        let certificate = try self.pki.write("h.pem", certificates: [holder])
        let noKey = try self.pki.write("empty.key", text: "no key here\n")
        let broken = try self.pki.write(
            "broken.pem", text: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        let cases: [(CertificateProblem.Kind, String, String)] = [
            (.fileUnreadable, "\(self.pki.directory)/none.pem", good.privateKey),
            (.fileUnreadable, self.pki.directory, good.privateKey),
            (.fileUnreadable, good.certificate, "\(self.pki.directory)/none.key"),
            (.fileMalformed, good.privateKey, good.privateKey),
            (.fileMalformed, good.certificate, noKey),
            (.fileMalformed, broken, good.privateKey),
            (.keyEncrypted, certificate, try self.pki.write("h.key", key: holder, as: .encrypted)),
        ]
        for (kind, certificate, key) in cases {
            let problems = self.problems(
                DomainConfiguration("a.example", CertificatePair(certificate: certificate, privateKey: key)))
            #expect(problems.map(\.kind) == [kind], "\(certificate) \(key): \(problems)")
        }
    }

    @Test("keys of every usual form are read", arguments: [TestPKI.KeyType.p256, .rsa(bits: 2048)])
    func keyForms(type: TestPKI.KeyType) throws {
        var request = TestPKI.Request("a.example")
        request.key = type
        let holder = try self.pki.issue(request)
        let certificate = try self.pki.write("h.pem", certificates: [holder])
        for format in [TestPKI.KeyFormat.pkcs8, .traditional] {
            let key = try self.pki.write("h.key", key: holder, as: format)
            #expect(
                self.kinds(DomainConfiguration("a.example", CertificatePair(certificate: certificate, privateKey: key)))
                    == [])
        }
    }

    @Test("all errors of all domains come at once, in the order of the domains, each with its line")
    func allErrors() throws {
        var missing = CertificatePair(certificate: "/nowhere/a.pem", privateKey: "/nowhere/a.key")
        missing.location = SourceLocation(file: "a.yaml", line: 7, column: 20)
        var early = try self.pair("early") {
            $0.dnsNames = ["b.example"]
            $0.notBefore = 86_400
        }
        early.location = SourceLocation(file: "b.yaml", line: 9, column: 20)
        let good = try self.pki.pair("c", TestPKI.Request("c.example"))
        let problems = self.problems(
            DomainConfiguration("a.example", missing) { $0.ciphers = "NONSENSE" },
            DomainConfiguration("c.example", good), DomainConfiguration("b.example", early))
        #expect(problems.map(\.kind) == [.fileUnreadable, .fileUnreadable, .ciphers, .notYetValid])
        #expect(problems.map(\.domain) == ["a.example", "a.example", "a.example", "b.example"])
        #expect(problems[0].description.hasPrefix("a.yaml:7:20: a.example: /nowhere/a.pem can't be read ("))
        #expect(problems[3].description.hasPrefix("b.yaml:9:20: b.example: "))
    }

    @Test("two certificates of one key type, a name or a default twice on one address are refused")
    func contradictions() throws {
        let one = try self.pair("one")
        let two = try self.pair("two")
        #expect(self.kinds(DomainConfiguration("a.example", one, two)) == [.sameKeyType])
        let b = try self.pki.pair("b", TestPKI.Request("b.example"))
        let doubled = self.problems(
            DomainConfiguration("a.example", one) { $0.isDefault = true },
            DomainConfiguration("b.example", b, aliases: ["a.example"]) { $0.isDefault = true })
        #expect(Set(doubled.filter { $0.severity == .error }.map(\.kind)) == [.nameShared, .defaultShared])
        let apart = self.problems(
            DomainConfiguration("a.example", one) { $0.isDefault = true },
            DomainConfiguration("b.example", b, binds: [TestEdge.otherListener]) { $0.isDefault = true })
        #expect(apart.isEmpty)
    }

    @Test("TLS-05: a cipher list is taken word for word, and must protect")
    func ciphers() throws {
        let pair = try self.pair("a")
        func kinds(_ list: String) -> [CertificateProblem.Kind] {
            self.kinds(DomainConfiguration("a.example", pair) { $0.ciphers = list })
        }
        #expect(kinds("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE+CHACHA20") == [])
        #expect(kinds("HIGH:!aNULL:!kRSA:!PSK:!SRP:@STRENGTH") == [])
        #expect(kinds("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GMC-SHA256") == [.ciphers])
        #expect(kinds("aNULL") == [.ciphers])
        #expect(kinds("ECDHE+AESGCM:!ECDHE") == [.ciphers])
        #expect(kinds("AES128-SHA") == [.ciphers])
        let weak = self.problems(DomainConfiguration("a.example", pair) { $0.ciphers = "AES128-SHA" })
        #expect(weak.map(\.severity) == [.warning])
    }

    @Test("TLS-10: client certificates need authorities that can be read")
    func clientAuthorities() throws {
        let pair = try self.pair("a")
        func kinds(_ path: String?) -> [CertificateProblem.Kind] {
            self.kinds(
                DomainConfiguration("a.example", pair) { tls in
                    tls.clientCertificate = .request
                    tls.clientCA = path
                })
        }
        #expect(kinds(nil) == [.clientAuthorities])
        #expect(kinds("/nowhere/ca.pem") == [.fileUnreadable])
        #expect(kinds(pair.privateKey) == [.fileMalformed])
        #expect(kinds(try self.pki.write("ca.pem", certificates: [self.pki.root])) == [])
    }

    @Test("outbound authorities and client certificates are read and checked too")
    func outbound() throws {
        var domain = DomainConfiguration("a.example", try self.pair("a"))
        domain.outbound.authorities = .file("/nowhere/ca.pem")
        #expect(self.kinds(domain) == [.fileUnreadable])
        domain.outbound.authorities = .system
        domain.outbound.clientCertificate = .pair(CertificatePair(certificate: "/nowhere/c", privateKey: "/nowhere/k"))
        #expect(self.kinds(domain) == [.fileUnreadable, .fileUnreadable])
        domain.outbound.clientCertificate = .domain
        let store = try CertificateStore.load([domain], reusing: nil)
        #expect(store.outboundCredentials(of: "a.example")?.credentials.count == 1)
        #expect(store.outboundCredentials(of: "a.example")?.verifies == true)
        #expect(store.outboundCredentials(of: "b.example") == nil)
        domain.tls = nil
        domain.outbound.verify = false
        let plain = try CertificateStore.load([domain], reusing: nil)
        #expect(plain.outboundCredentials(of: "a.example")?.credentials.isEmpty == true)
        #expect(plain.outboundCredentials(of: "a.example")?.verifies == false)
    }

    // MARK: What is warned of

    @Test("lint warns of what clients may refuse, and lets it pass")
    func warnings() throws {
        let intermediate = try self.pki.intermediate("Test CA 1")
        let leaf = try self.pki.issue(TestPKI.Request("a.example"), issuer: intermediate)
        let stranger = try self.pki.intermediate("Test CA 2")
        let key = try self.pki.write("leaf.key", key: leaf)
        let disordered = CertificatePair(
            certificate: try self.pki.write("disordered.pem", certificates: [leaf, stranger, intermediate]),
            privateKey: key)
        let exposed = try self.pair("exposed")
        chmod(exposed.privateKey, 0o644)
        let cases: [(CertificateProblem.Kind, DomainConfiguration)] = [
            (
                .expiresSoon,
                DomainConfiguration(
                    "a.example",
                    try self.pair("soon") {
                        $0.notBefore = -80 * 86_400
                        $0.notAfter = 10 * 86_400
                    })
            ),
            (
                .aliasMissing,
                DomainConfiguration("a.example", try self.pair("a"), aliases: ["sip.a.example", "*.phones.a.example"])
            ),
            (.nameByWildcard, DomainConfiguration("a.example", try self.pair("wild") { $0.dnsNames = ["*.example"] })),
            (
                .nameByCommonName,
                DomainConfiguration(
                    "a.example",
                    try self.pair("cn") {
                        $0.dnsNames = []
                        $0.commonName = "a.example"
                    })
            ),
            (
                .useForbidden,
                DomainConfiguration("a.example", try self.pair("eku") { $0.extendedKeyUsage = "clientAuth" })
            ),
            (.useForbidden, DomainConfiguration("a.example", try self.pair("ku") { $0.keyUsage = "keyAgreement" })),
            (.chainOrder, DomainConfiguration("a.example", disordered)),
            (
                .selfSigned,
                DomainConfiguration(
                    "a.example", try self.pki.write("self", self.pki.selfSigned(TestPKI.Request("a.example"))))
            ),
            (.keyExposed, DomainConfiguration("a.example", exposed)),
        ]
        for (kind, domain) in cases {
            let problems = CertificateStore.lint([domain])
            #expect(problems.map(\.kind) == [kind], "\(problems)")
            #expect(problems.allSatisfy { $0.severity == .warning })
            let store = try CertificateStore.load([domain], reusing: nil)
            #expect(store.warnings == problems)
        }
    }

    @Test("lint has nothing to say of a good certificate")
    func clean() throws {
        let issuer = try self.pki.intermediate("Test CA 1")
        var request = TestPKI.Request("a.example", "*.phones.a.example")
        request.extendedKeyUsage = "serverAuth,clientAuth"
        request.keyUsage = "digitalSignature"
        let pair = try self.pki.pair("a", request, issuer: issuer)
        let domain = DomainConfiguration("a.example", pair, aliases: ["*.phones.a.example", "desk.phones.a.example"])
        #expect(CertificateStore.lint([domain]).isEmpty)
    }

    // MARK: Reload

    @Test("a reload reads only files that changed, and says what changed")
    func reload() throws {
        let a = try self.pair("a")
        let b = try self.pki.pair("b", TestPKI.Request("b.example"))
        let domains = [DomainConfiguration("a.example", a), DomainConfiguration("b.example", b)]
        let first = try CertificateStore.load(domains, reusing: nil)
        #expect(first.filesRead == 4)
        let same = try CertificateStore.load(domains, reusing: first)
        #expect(same.filesRead == 0)
        #expect(same.changes(since: first).isEmpty)
        #expect(same.certificates() == first.certificates())
        _ = try self.pki.pair("b", TestPKI.Request("b.example"))
        let second = try CertificateStore.load(domains, reusing: same)
        #expect(second.filesRead == 2)
        let changes = second.changes(since: first)
        #expect(changes.map(\.domain) == ["b.example"])
        #expect(changes.first?.oldFingerprint == first.certificates()[1].fingerprint)
        #expect(changes.first?.newFingerprint == second.certificates()[1].fingerprint)
        #expect(changes.first?.notAfter == second.certificates()[1].notAfter)
        let third = try CertificateStore.load([domains[0]], reusing: second)
        #expect(third.filesRead == 0)
        #expect(third.changes(since: second).map(\.newFingerprint) == [nil])
        #expect(second.changes(since: third).map(\.oldFingerprint) == [nil])
    }

    @Test("a file rewritten in place within its old size is read again")
    func rewrittenInPlace() throws {
        let path = try self.pki.write("x.pem", text: "one")
        var before = stat()
        try #require(stat(path, &before) == 0)
        let stamp = try #require(FileStamp(path: path))
        let descriptor = open(path, O_WRONLY)
        try #require(pwrite(descriptor, "two", 3, 0) == 3)
        let times = [before.st_atim, before.st_mtim]
        futimens(descriptor, times)  // as tools do that keep the old time
        close(descriptor)
        #expect(FileStamp(path: path) != stamp)
    }

    @Test(
        "an expired certificate is a warning at a start and where it is in force already, and an error to a reload that brings it"
    )
    func expired() throws {
        let brief = try self.pair("brief") { $0.notAfter = 2 }
        let domain = DomainConfiguration("a.example", brief)
        let store = try CertificateStore.load([domain], reusing: nil)
        let fingerprint = store.certificates()[0].fingerprint
        let files = CertificateFiles(for: [domain], reusing: nil)
        let chain = try #require(files.chains[brief.certificate]?.content)
        for inForce in [[["a.example", fingerprint]], nil] as [Set<[String]>?] {
            let check = DomainCheck(domain, files, inForce: inForce, now: chain.notAfter + 1)
            #expect(check.problems.map(\.severity) == [.warning])
            #expect(check.problems.map(\.kind) == [.expired])
            #expect(check.served != nil)
        }
        let reload = DomainCheck(domain, files, inForce: [["b.example", fingerprint]], now: chain.notAfter + 1)
        #expect(reload.problems.map(\.severity) == [.error])
        #expect(reload.problems.first?.text.contains("expired on ") == true)
        #expect(reload.served == nil)
    }

    @Test("1,000 domains load on all cores, and reload unchanged in well under a second")
    func manyDomains() throws {
        var request = TestPKI.Request("*.example")
        request.dnsNames += ["a.example"]
        let pairs = try (0..<20).map { try self.pki.pair("p\($0)", request) }
        let domains = (0..<1000).map { DomainConfiguration("d\($0).example", pairs[$0 % 20]) }
        let first = try CertificateStore.load(domains, reusing: nil)
        #expect(first.filesRead == 40, "a file that many domains name is read once")
        let clock = ContinuousClock()
        let start = clock.now
        let second = try CertificateStore.load(domains, reusing: first)
        #expect(clock.now - start < .seconds(1))
        #expect(second.filesRead == 0)
        #expect(second.certificates().count == 1000)
    }

    private static let systemBundle = "/etc/ssl/certs/ca-certificates.crt"

    @Test("the system's authorities are found", .enabled(if: access(Self.systemBundle, R_OK) == 0))
    func systemAuthorities() throws {
        let roots = try #require(CertificateChain.load(Self.systemBundle).content).certificates
        let root = try #require(roots.first { $0.isSelfIssued && $0.notAfter > CivilDate.now })
        let stranger = try #require(CertificateChain.load(try self.pair("a").certificate).content).leaf
        let anchors = try TrustAnchors.system().get()
        for (certificate, isTrusted) in [(root, true), (stranger, false)] {
            let context = X509_STORE_CTX_new()
            defer { X509_STORE_CTX_free(context) }
            try #require(X509_STORE_CTX_init(context, anchors.handle, certificate.handle, nil) == 1)
            #expect((X509_verify_cert(context) == 1) == isTrusted)
        }
    }

    @Test("what there is to know of a certificate")
    func facts() throws {
        let pair = try self.pki.pair(
            "facts",
            {
                var request = TestPKI.Request("a.example", commonName: "a")
                request.uris = ["sip:a.example"]
                request.addresses = ["192.0.2.7", "2001:db8::7"]
                request.key = .rsa(bits: 2048)
                return request
            }())
        let facts = try #require(
            try CertificateStore.load([DomainConfiguration("a.example", pair)], reusing: nil).certificates().first)
        #expect(facts.names == ["a.example", "sip:a.example", "192.0.2.7", "2001:db8::7"])
        #expect(facts.keyType == "RSA 2048")
        #expect(facts.keyFamily == "RSA")
        #expect(facts.issuer == "/CN=Test Root")
        #expect(facts.fingerprint.utf8.count == 64)
        let expected = Int64(time(nil)) + 90 * 86_400
        #expect(abs(facts.notAfter - expected) <= 60)
        #expect(abs(facts.notBefore - (Int64(time(nil)) - 3600)) <= 60)
    }

    @Test(
        "dates",
        arguments: [
            (0, "1970-01-01"), (-1, "1969-12-31"), (951_782_400, "2000-02-29"), (4_107_542_400, "2100-03-01"),
            (253_402_300_799, "9999-12-31"), (1_793_577_600, "2026-11-02"),
        ] as [(Int64, String)])
    func dates(seconds: Int64, text: String) throws {
        #expect(CivilDate.text(seconds) == text)
        let parts = text.split(separator: "-").compactMap { Int64($0) }
        let days = CivilDate.daysSince1970(year: parts[0], month: parts[1], day: parts[2])
        #expect(days * 86_400 <= seconds && seconds < (days + 1) * 86_400)
    }
}
