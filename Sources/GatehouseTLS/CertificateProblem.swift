public import GatehousePolicy

/// Something wrong or doubtful about a domain's certificates, keys or TLS settings.
public struct CertificateProblem: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Severity: Int, Sendable, Comparable {
        case warning, error

        public static func < (left: Severity, right: Severity) -> Bool { left.rawValue < right.rawValue }
    }

    public enum Kind: String, Sendable, CaseIterable {
        case fileUnreadable = "file_unreadable"
        case fileMalformed = "file_malformed"
        case keyEncrypted = "key_encrypted"
        case keyMismatch = "key_mismatch"
        case keyExposed = "key_exposed"
        case weakKey = "weak_key"
        case weakSignature = "weak_signature"
        case expired
        case expiresSoon = "expires_soon"
        case notYetValid = "not_yet_valid"
        case nameMissing = "name_missing"
        case aliasMissing = "alias_missing"
        case nameByWildcard = "name_by_wildcard"
        case nameByCommonName = "name_by_common_name"
        case useForbidden = "use_forbidden"
        case chainOrder = "chain_order"
        case chainIncomplete = "chain_incomplete"
        case selfSigned = "self_signed"
        case sameKeyType = "same_key_type"
        case ciphers
        case clientAuthorities = "client_authorities"
        case revocationList = "revocation_list"
        case nameShared = "name_shared"
        case defaultShared = "default_shared"
        case unusable
    }

    public var severity: Severity
    public var kind: Kind
    public var domain: String
    public var location: SourceLocation
    /// What is wrong.
    public var text: String
    /// What to do.
    public var cure: String

    /// `domains/a.yaml:14:10: a.example: certs/a.pem expired on 2026-11-02: renew it`.
    public var description: String {
        "\(self.location): \(self.domain): \(self.text): \(self.cure)"
    }
}

/// Every error of one load; nothing was changed.
public struct CertificateErrors: Error, Sendable, CustomStringConvertible {
    /// At least one, in the order of the domains.
    public var problems: [CertificateProblem]

    /// A line a problem.
    public var description: String { self.problems.map(\.description).joined(separator: "\n") }
}
