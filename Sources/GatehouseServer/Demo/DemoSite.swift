internal import FoundationEssentials
internal import GatehousePolicy
internal import GatehouseTLS
internal import Glibc
internal import SIPMessage

extension Demo {
    /// A temporary folder with all that the demonstration's edge needs: certificates, a configuration, a place for its state.
    struct Site: Sendable {
        static let domains = ["alpha.example", "beta.example"]

        /// Removed by ``remove()``.
        let folder: String
        /// Holds `ca.pem` and a folder for each domain.
        let certificates: String
        let usesOwnCertificates: Bool
        /// Where phones connect, by TLS.
        let outside: Endpoint
        /// Where the PBX reaches the edge.
        let coreBind: Endpoint
        let pbx: Endpoint
        let admin: Endpoint

        var configurationPath: String { "\(self.folder)/gatehouse.yaml" }
        var authority: String { "\(self.certificates)/ca.pem" }

        /// - Parameter certificates: a folder as `certs/make-certs.sh` makes it; where it does not serve, certificates are
        ///   made for this run.
        static func make(certificates: String) throws(Failure) -> Site {
            var template = Array("\(temporaryFolder())/gatehouse-demo-XXXXXX".utf8CString)
            guard let made = mkdtemp(&template) else {
                throw Failure("no temporary folder can be made: \(String(cString: strerror(errno))); set TMPDIR")
            }
            let folder = String(cString: made)
            let isServing = Self.serves(certificates)
            do {
                let own = "\(folder)/certificates"
                if !isServing {
                    try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
                    try DevelopmentCertificates.make(in: own, domains: Self.domains)
                }
                let site = Site(
                    folder: folder, certificates: isServing ? Self.absolute(certificates) : own,
                    usesOwnCertificates: !isServing, outside: try freeEndpoint(5061, SOCK_STREAM),
                    coreBind: try freeEndpoint(5070, SOCK_DGRAM), pbx: try freeEndpoint(5080, SOCK_DGRAM),
                    admin: try freeEndpoint(8061, SOCK_STREAM))
                try site.configuration.write(toFile: site.configurationPath, atomically: true, encoding: .utf8)
                return site
            } catch {
                try? FileManager.default.removeItem(atPath: folder)
                throw error as? Failure ?? Failure("the demonstration's files cannot be written: \(error)")
            }
        }

        func remove() {
            try? FileManager.default.removeItem(atPath: self.folder)
        }

        /// The whole configuration of the edge: as short as it can be for two domains.
        var configuration: String {
            let domains = Self.domains.map { name in
                """
                  - name: \(name)
                    tls:
                      bind: ["\(self.outside)"]
                      certificate: '\(self.quoted("\(name)/fullchain.pem"))'
                      private_key: '\(self.quoted("\(name)/privkey.pem"))'
                      default: \(name == Self.domains[0])
                    core:
                      targets: ["udp:\(self.pbx)"]
                """
            }
            return """
                edge:
                  name: demo
                  state_dir: state
                  admin: { bind: "\(self.admin)" }
                  log: { level: warning }
                  drain: 1s
                core:
                  bind: ["udp:\(self.coreBind)"]
                domains:
                \(domains.joined(separator: "\n"))

                """
        }

        /// What phones trust: the authority of the demonstration's certificates.
        func phoneCredentials() throws -> OutboundCredentials {
            let core = DomainCoreSettings(targets: [])
            let outbound = OutboundSettings(authorities: .file(self.authority), clientCertificate: .none)
            let phone = DomainConfiguration(name: "phone", core: core, outbound: outbound)
            let store = try CertificateStore.load([phone], reusing: nil)
            guard let credentials = store.outboundCredentials(of: "phone") else {
                throw Failure("\(self.authority) cannot be used as an authority")
            }
            return credentials
        }

        /// A path within the certificates, for YAML's single quotes.
        private func quoted(_ path: String) -> String {
            "\(self.certificates)/\(path)".split(separator: "'", omittingEmptySubsequences: false)
                .joined(separator: "''")
        }

        /// Whether a folder has what is needed, none of it expired or damaged.
        private static func serves(_ folder: String) -> Bool {
            let folder = Self.absolute(folder)
            let domains = Self.domains.map { name in
                let pair = CertificatePair(
                    certificate: "\(folder)/\(name)/fullchain.pem", privateKey: "\(folder)/\(name)/privkey.pem")
                let tls = TLSSettings(binds: [], certificates: [pair])
                let outbound = OutboundSettings(authorities: .file("\(folder)/ca.pem"))
                return DomainConfiguration(
                    name: name, tls: tls, core: DomainCoreSettings(targets: []), outbound: outbound)
            }
            return CertificateStore.lint(domains).allSatisfy { $0.severity == .warning && $0.kind != .expired }
        }

        private static func absolute(_ path: String) -> String {
            path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
        }

        private static func temporaryFolder() -> String {
            getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        }
    }

    /// The wanted port of 127.0.0.1, or another where that is taken.
    private static func freeEndpoint(_ port: UInt16, _ type: __socket_type) throws(Failure) -> Endpoint {
        let loopback = IPAddress(v4: 0x7F00_0001)
        for candidate in [port, 0] {
            let descriptor = socket(AF_INET, Int32(type.rawValue), 0)
            guard descriptor >= 0 else { break }
            defer { close(descriptor) }
            // struct sockaddr_in byte for byte: Swift attributes its fields to whichever C module it meets first.
            var address = [UInt8](repeating: 0, count: 16)
            address.withUnsafeMutableBytes { bytes in
                bytes.storeBytes(of: UInt16(AF_INET), as: UInt16.self)
                bytes.storeBytes(of: candidate.bigEndian, toByteOffset: 2, as: UInt16.self)
                bytes.storeBytes(of: UInt32(0x7F00_0001).bigEndian, toByteOffset: 4, as: UInt32.self)
            }
            var length = socklen_t(address.count)
            var yes: Int32 = 1
            if type == SOCK_STREAM {  // a port whose connections have just ended is free
                setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
            }
            let bound = address.withUnsafeMutableBytes { bytes -> UInt16? in
                guard let base = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                    bind(descriptor, base, length) == 0, getsockname(descriptor, base, &length) == 0
                else { return nil }
                return UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
            }
            if let bound { return Endpoint(address: loopback, port: bound) }
        }
        throw Failure("no free port on 127.0.0.1: \(String(cString: strerror(errno)))")
    }
}
