import GatehousePolicy
import SIPMessage
import Testing

@Suite("PeerName")
struct PeerNameTests {
    private static func names(uris: [String] = [], dns: [String] = [], addresses: [String] = []) -> PresentedNames {
        PresentedNames(
            hasSubjectAltName: true, uris: uris, dnsNames: dns, addresses: addresses.compactMap { IPAddress($0) },
            commonNames: ["far.example"])
    }

    @Test(
        "CERT-01: the certificate must name the domain looked up, not the host that DNS led to",
        arguments: [
            (["host1.isp.example"], false), (["far.example"], true), (["host1.isp.example", "far.example"], true),
        ])
    func originalDomain(dns: [String], isProved: Bool) {
        #expect(Self.names(dns: dns).prove(PeerIdentity(host: "far.example")) == isProved)
    }

    @Test(
        "CERT-03: sip URIs without a user are identities, and then DNS names do not count",
        arguments: [
            (["sip:far.example"], [], ["far.example"]),
            (["SIP:Far.Example"], [], ["far.example"]),
            (["sip:far.example:5061"], [], ["far.example"]),
            (["sip:far.example;transport=tls"], [], ["far.example"]),
            (["sip:far.example"], ["near.example"], ["far.example"]),
            (["sip:a.example", "sip:b.example"], [], ["a.example", "b.example"]),
            (["sip:user@far.example"], [], []),
            (["sip:user:word@far.example"], [], []),
            (["sip:far.example?x=a@b"], [], []),
            (["sips:far.example"], [], []),
            (["sip:user@far.example"], ["near.example"], ["near.example"]),
            (["sips:far.example", "http://far.example"], ["near.example"], ["near.example"]),
            (["sip:"], [], []),
            (["sip:far example"], [], []),
            (["sip:*.example"], ["near.example"], ["near.example"]),
            ([], ["Near.Example."], ["near.example"]),
        ] as [([String], [String], [String])])
    func identities(uris: [String], dns: [String], expected: [String]) {
        #expect(Self.names(uris: uris, dns: dns).sipDomains() == expected)
    }

    @Test("CERT-02: whom a host means is the same with a final dot and in any letter case")
    func finalDot() {
        #expect(PeerIdentity(host: "Far.Example.") == .domain("far.example"))
        #expect(PeerIdentity(host: "far.example") == .domain("far.example"))
        #expect(!Self.names(dns: ["far.example"]).prove(PeerIdentity(host: "far.example..")))
        #expect(!Self.names(dns: ["."]).prove(PeerIdentity(host: ".")))
    }

    @Test(
        "CERT-04: a name matches whole and exactly, letter case aside",
        arguments: [
            ("far.example", "far.example", true),
            ("FAR.example", "far.EXAMPLE", true),
            ("far.example.", "far.example", true),
            ("xn--bcher-kva.example", "XN--BCHER-KVA.example", true),
            ("*.example", "far.example", false),
            ("*.example", "*.example", false),
            ("example", "far.example", false),
            ("far.example", "example", false),
            ("very.far.example", "far.example", false),
            ("notfar.example", "far.example", false),
            ("far.example", "", false),
            ("bücher.example", "bücher.example", false),
        ])
    func exactMatch(presented: String, wanted: String, isProved: Bool) {
        #expect(Self.names(dns: [presented]).prove(.domain(wanted)) == isProved)
        if !presented.contains("ü") {
            #expect(Self.names(uris: ["sip:\(presented)"]).prove(.domain(wanted)) == isProved)
        }
    }

    @Test("CERT-05: a common name counts only without a subjectAltName, and only where it is asked for")
    func commonName() {
        let bare = PresentedNames(hasSubjectAltName: false, commonNames: ["far.example"])
        #expect(!bare.prove(.domain("far.example")))
        #expect(bare.prove(.domain("far.example"), acceptingCommonName: true))
        #expect(!bare.prove(.domain("near.example"), acceptingCommonName: true))
        #expect(!Self.names().prove(.domain("far.example"), acceptingCommonName: true))
    }

    @Test("CERT-02: an address is proved by an address, not by a name that looks like one")
    func addresses() throws {
        let wanted = PeerIdentity(host: "192.0.2.7")
        #expect(wanted == .address(try #require(IPAddress("192.0.2.7"))))
        #expect(Self.names(addresses: ["192.0.2.7"]).prove(wanted))
        #expect(Self.names(uris: ["sip:192.0.2.7"]).prove(wanted))
        #expect(Self.names(uris: ["sip:[2001:DB8::1]:5061"]).prove(PeerIdentity(host: "2001:db8::1")))
        #expect(!Self.names(dns: ["192.0.2.7"]).prove(wanted))
        #expect(!Self.names(addresses: ["192.0.2.8"]).prove(wanted))
        #expect(!Self.names(uris: ["sip:[2001:db8::1"]).prove(PeerIdentity(host: "2001:db8::1")))
    }

    @Test(
        "CERT-07: extended key usage must allow the role, any, or SIP domains; none at all allows all",
        arguments: [
            (nil, true, true),
            ([], false, false),
            ([.serverAuthentication], true, false),
            ([.clientAuthentication], false, true),
            ([.serverAuthentication, .clientAuthentication], true, true),
            ([.any], true, true),
            ([.sipDomain], true, true),
        ] as [(PermittedUse.Purposes?, Bool, Bool)])
    func permittedUse(purposes: PermittedUse.Purposes?, asServer: Bool, asClient: Bool) {
        let use = PermittedUse(purposes: purposes, maySign: true)
        #expect(use.permits(.server) == asServer)
        #expect(use.permits(.client) == asClient)
        let silent = PermittedUse(purposes: purposes, maySign: false)
        #expect(!silent.permits(.server))
        #expect(!silent.permits(.client))
        #expect(silent.purposesPermit(.server) == asServer)
    }

    @Test("TLS-12: how a certificate of ours names a domain")
    func coverage() {
        let names = Self.names(uris: ["sip:b.example"], dns: ["A.example", "*.phones.a.example"])
        #expect(names.coverage(of: "a.example") == .exact)
        #expect(names.coverage(of: "b.example") == .exact)
        #expect(names.coverage(of: "x.phones.a.example") == .wildcard)
        #expect(names.coverage(of: "*.phones.a.example") == .exact)
        #expect(names.coverage(of: "x.y.phones.a.example") == .none)
        #expect(names.coverage(of: "phones.a.example") == .none)
        #expect(names.coverage(of: "far.example") == .none)
        let bare = PresentedNames(hasSubjectAltName: false, commonNames: ["Far.example"])
        #expect(bare.coverage(of: "far.example") == .commonName)
    }
}
