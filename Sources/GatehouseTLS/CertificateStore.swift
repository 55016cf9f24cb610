public import GatehousePolicy
internal import SIPMessage

/// The certificates, keys and TLS rules of all domains: one immutable value a configuration.
///
/// A connection finds its domain here by the address that it came in on and the name that it asks for.
public final class CertificateStore: Sendable {
    private let listeners: [Endpoint: ListenerTable]
    private let outbound: [String: OutboundCredentials]
    private let clientTrust: [String: [UInt8]]
    private let files: CertificateFiles
    private let facts: [CertificateFacts]
    /// What `check` would warn of, and this load let pass.
    public let warnings: [CertificateProblem]

    /// How many files this load read, the others being unchanged since the previous one.
    public var filesRead: Int { self.files.filesRead }

    /// Reads, parses and checks on several threads; blocks, so not for an event loop.
    ///
    /// - Parameter previous: the store in force: its unchanged files are not read again, and an expired certificate is refused
    ///   unless it is served already. nil at a start, where one is served with a warning, so that it harms its domain alone.
    /// - Throws: every error of every domain; then `previous` stays in force.
    public static func load(
        _ domains: [DomainConfiguration], reusing previous: CertificateStore?
    ) throws(CertificateErrors) -> CertificateStore {
        let draft = Draft(domains, previous)
        let errors = draft.problems.filter { $0.severity == .error }
        guard errors.isEmpty else { throw CertificateErrors(problems: errors) }
        return CertificateStore(draft)
    }

    /// Every error and warning of the domains' certificates, keys and TLS settings, in the order of the domains.
    public static func lint(_ domains: [DomainConfiguration]) -> [CertificateProblem] {
        Draft(domains, nil).problems
    }

    private init(_ draft: Draft) {
        self.listeners = draft.listeners
        self.outbound = draft.outbound
        self.clientTrust = draft.clientTrust
        self.files = draft.files
        self.facts = draft.facts
        self.warnings = draft.problems
    }

    /// All certificates that domains serve, in the order of the domains.
    public func certificates() -> [CertificateFacts] { self.facts }

    /// How the certificates differ from those of an earlier store, by domain and key type.
    public func changes(since previous: CertificateStore) -> [CertificateChange] {
        struct Key: Hashable {
            var domain: String
            var keyType: String
        }
        func index(_ facts: [CertificateFacts]) -> [Key: CertificateFacts] {
            Dictionary(facts.map { (Key(domain: $0.domain, keyType: $0.keyFamily), $0) }, uniquingKeysWith: { $1 })
        }
        let old = index(previous.facts)
        let new = index(self.facts)
        var changes: [CertificateChange] = []
        for (key, facts) in new where old[key]?.fingerprint != facts.fingerprint {
            changes.append(
                CertificateChange(
                    domain: key.domain, keyType: key.keyType, oldFingerprint: old[key]?.fingerprint,
                    newFingerprint: facts.fingerprint, notAfter: facts.notAfter))
        }
        for (key, facts) in old where new[key] == nil {
            changes.append(
                CertificateChange(
                    domain: key.domain, keyType: key.keyType, oldFingerprint: facts.fingerprint, newFingerprint: nil,
                    notAfter: nil))
        }
        return changes.sorted { ($0.domain, $0.keyType) < ($1.domain, $1.keyType) }
    }

    /// What the domain shows and demands on connections that it opens; nil for a domain that this store doesn't know.
    public func outboundCredentials(of domain: String) -> OutboundCredentials? { self.outbound[domain] }

    /// SHA-256 over what the domain judges client certificates by; nil for a domain without TLS.
    public func clientTrust(of domain: String) -> [UInt8]? { self.clientTrust[domain] }

    /// Which domain answers on an address.
    func answer(on listener: Endpoint, to serverName: ClientHello.ServerName) -> ListenerTable.Answer {
        (self.listeners[listener] ?? ListenerTable()).answer(to: serverName)
    }

    /// Whether any address serves the name.
    func serves(_ serverName: ClientHello.ServerName) -> Bool {
        guard case .host(let name) = serverName else { return false }
        return self.listeners.values.contains { $0.domain(named: name) != nil }
    }
}

extension CertificateStore {
    /// All of a load's work, whatever is wrong with it.
    private struct Draft {
        var files: CertificateFiles
        var listeners: [Endpoint: ListenerTable] = [:]
        var outbound: [String: OutboundCredentials] = [:]
        var clientTrust: [String: [UInt8]] = [:]
        var facts: [CertificateFacts] = []
        var problems: [CertificateProblem] = []

        init(_ domains: [DomainConfiguration], _ previous: CertificateStore?) {
            let files = CertificateFiles(for: domains, reusing: previous?.files)
            self.files = files
            let inForce = previous.map { Set($0.facts.map { [$0.domain, $0.fingerprint] }) }
            let checks = domains.parallelMap { DomainCheck($0, files, inForce: inForce) }
            var owners: [Endpoint: [String: String]] = [:]
            var defaults: [Endpoint: String] = [:]
            for (domain, check) in zip(domains, checks) {
                self.problems += check.problems
                self.facts += check.facts
                self.outbound[domain.name] = check.outbound
                self.clientTrust[domain.name] = check.served?.clientTrust
                guard let tls = domain.tls else { continue }
                for endpoint in Set(tls.binds) {
                    self.problems += Self.conflicts(
                        of: domain, tls, on: endpoint, &owners[endpoint, default: [:]], &defaults)
                    guard let served = check.served else { continue }
                    self.listeners[endpoint, default: ListenerTable()].add(
                        served, names: [domain.name] + domain.aliases, isDefault: tls.isDefault)
                }
            }
        }

        /// Names and defaults that an earlier domain on the address has already.
        private static func conflicts(
            of domain: DomainConfiguration, _ tls: TLSSettings, on endpoint: Endpoint, _ owners: inout [String: String],
            _ defaults: inout [Endpoint: String]
        ) -> [CertificateProblem] {
            var problems: [CertificateProblem] = []
            for name in Set([domain.name] + domain.aliases) {
                if let owner = owners[name] {
                    problems.append(
                        CertificateProblem(
                            severity: .error, kind: .nameShared, domain: domain.name, location: domain.location,
                            text: "\(name) on \(endpoint) belongs to \(owner) already",
                            cure: "give each name on an address to one domain"))
                } else {
                    owners[name] = domain.name
                }
            }
            guard tls.isDefault else { return problems }
            if let owner = defaults[endpoint] {
                problems.append(
                    CertificateProblem(
                        severity: .error, kind: .defaultShared, domain: domain.name,
                        location: domain.location(of: "tls.default"),
                        text: "\(owner) is the default of \(endpoint) already",
                        cure: "set tls.default: true in one domain an address"))
            } else {
                defaults[endpoint] = domain.name
            }
            return problems
        }
    }
}

/// What there is to know of a certificate that a domain serves.
public struct CertificateFacts: Hashable, Sendable {
    public var domain: String
    /// SAN values: DNS names, URIs and addresses as text; common names where there is no SAN.
    public var names: [String]
    /// Seconds since 1970.
    public var notBefore: Int64
    /// Seconds since 1970.
    public var notAfter: Int64
    /// SHA-256 in hexadecimal.
    public var fingerprint: String
    /// "RSA 2048", "ECDSA P-256".
    public var keyType: String
    /// "RSA", "ECDSA".
    public var keyFamily: String
    public var issuer: String
    public var file: String
}

/// A certificate that a load brought, replaced or took away.
public struct CertificateChange: Hashable, Sendable, CustomStringConvertible {
    public var domain: String
    /// "RSA", "ECDSA".
    public var keyType: String
    /// SHA-256 in hexadecimal; nil: there was none.
    public var oldFingerprint: String?
    /// nil: there is none now.
    public var newFingerprint: String?
    /// Of the new one, in seconds since 1970.
    public var notAfter: Int64?

    public var description: String {
        let expiry = self.notAfter.map { ", valid to \(CivilDate.text($0))" } ?? ""
        return "\(self.domain): \(self.keyType) certificate \(self.oldFingerprint?.prefix(16) ?? "none") → "
            + "\(self.newFingerprint?.prefix(16) ?? "none")\(expiry)"
    }
}
