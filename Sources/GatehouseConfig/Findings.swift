internal import GatehousePolicy

/// What the checks of a whole configuration find, and their words for places in it.
struct Findings {
    private(set) var errors: [ConfigurationError] = []
    private(set) var warnings: [ConfigurationError] = []

    /// - Parameter key: within the domain: `tls.default`.
    mutating func fail(
        _ domain: Schema.DomainDraft, _ key: String, _ problem: String, text: String? = nil, cure: String
    ) {
        self.errors.append(Findings.finding(domain, key, problem, text: text, cure: cure))
    }

    mutating func warn(
        _ domain: Schema.DomainDraft, _ key: String, _ problem: String, text: String? = nil, cure: String
    ) {
        self.warnings.append(Findings.finding(domain, key, problem, text: text, cure: cure))
    }

    mutating func fail(at location: SourceLocation, _ key: String, _ problem: String, text: String? = nil, cure: String)
    {
        self.errors.append(
            ConfigurationError(location: location, key: key, problem: problem, text: text, cure: cure))
    }

    mutating func warn(at location: SourceLocation, _ key: String, _ problem: String, text: String? = nil, cure: String)
    {
        self.warnings.append(
            ConfigurationError(location: location, key: key, problem: problem, text: text, cure: cure))
    }

    private static func finding(
        _ domain: Schema.DomainDraft, _ key: String, _ problem: String, text: String?, cure: String
    ) -> ConfigurationError {
        ConfigurationError(
            location: domain.configuration.location(of: key), key: domain.fullKey(key), problem: problem, text: text,
            cure: cure)
    }
}

extension Schema.DomainDraft {
    /// A key of the domain from the top of its file.
    func fullKey(_ key: String) -> String {
        if self.path.isEmpty || key.isEmpty { return self.path + key }
        return "\(self.path).\(key)"
    }
}
