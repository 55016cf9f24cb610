import Foundation
import GatehousePolicy
import SIPMessage

@testable import GatehouseTLS

/// A server for a.example, with a certificate that OpenSSL's command makes once a run.
enum TestCertificate {
    /// What the tests' engines are told to have been reached on.
    static let listener = Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 5061)

    static let store: CertificateStore = {
        let folder = FileManager.default.temporaryDirectory.appending(path: "gatehouse-net-\(getpid())")
        try! FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (certificate, key) = (folder.appending(path: "cert.pem").path, folder.appending(path: "key.pem").path)
        let openssl = Process()
        openssl.executableURL = URL(filePath: "/usr/bin/openssl")
        openssl.arguments = [
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
            "/CN=a.example", "-addext", "subjectAltName=DNS:a.example", "-keyout", key, "-out", certificate,
        ]
        openssl.standardError = FileHandle.nullDevice
        try! openssl.run()
        openssl.waitUntilExit()
        let domain = DomainConfiguration(
            name: "a.example",
            tls: TLSSettings(
                binds: [listener], certificates: [CertificatePair(certificate: certificate, privateKey: key)]),
            core: DomainCoreSettings(targets: [CoreTarget(transport: .udp, host: "127.0.0.1", port: 5060)]))
        return try! CertificateStore.load([domain], reusing: nil)
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
