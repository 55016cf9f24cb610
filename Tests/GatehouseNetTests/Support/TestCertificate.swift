import GatehousePolicy
import SIPMessage
import TestCertificates

@testable import GatehouseTLS

/// A server for a.example, with a certificate that is made once a run.
enum TestCertificate {
    /// What the tests' engines are told to have been reached on.
    static let listener = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 5061)

    static let store: CertificateStore = {
        let pki = try! TestPKI()
        let pair = try! pki.pair("a", TestPKI.Request("a.example"))
        let domain = DomainConfiguration(
            name: "a.example", tls: TLSSettings(binds: [listener], certificates: [pair]),
            core: DomainCoreSettings(targets: [CoreTarget(transport: .udp, host: "127.0.0.1", port: 5060)]))
        return withExtendedLifetime(pki) { try! CertificateStore.load([domain], reusing: nil) }
    }()

    static let serverContext = try! TLSServerContext()
    static let clientContext = try! TLSClientContext()

    static func serverEngine() -> TLSEngine {
        try! TLSEngine.server(context: serverContext, store: store, listener: listener)
    }

    /// Of a peer that takes any certificate.
    static func clientEngine() -> TLSEngine {
        try! TLSEngine.client(
            context: clientContext, credentials: store.outboundCredentials(of: "a.example")!, serverName: "a.example",
            identity: nil, verifying: false)
    }
}
