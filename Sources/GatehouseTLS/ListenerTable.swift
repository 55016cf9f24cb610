internal import GatehousePolicy

/// The domains bound to one address, by the name that a client asks for.
struct ListenerTable: Sendable {
    enum Answer {
        case domain(ServedDomain)
        /// The client named a host that nobody here serves.
        case unknownName
        /// The client named none, and no domain answers for the address.
        case missingName
    }

    private var exact: [String: ServedDomain] = [:]
    /// By what follows the `*.`.
    private var wildcard: [String: ServedDomain] = [:]
    private var defaultDomain: ServedDomain?
    private var only: ServedDomain?
    private var count = 0

    mutating func add(_ domain: ServedDomain, names: [String], isDefault: Bool) {
        for name in names {
            if name.hasPrefix("*.") {
                self.wildcard[String(name.dropFirst(2))] = domain
            } else {
                self.exact[name] = domain
            }
        }
        if isDefault { self.defaultDomain = domain }
        self.count += 1
        self.only = self.count == 1 ? domain : nil
    }

    func answer(to serverName: ClientHello.ServerName) -> Answer {
        let fallback = self.defaultDomain ?? self.only
        switch serverName {
        case .none: return fallback.map { .domain($0) } ?? .missingName
        case .host(let name): if let domain = self.domain(named: name) { return .domain(domain) }
        case .other: break
        }
        guard let fallback, fallback.unknownSNI == .default else { return .unknownName }
        return .domain(fallback)
    }

    /// - Parameter name: in lower case.
    func domain(named name: String) -> ServedDomain? {
        if let domain = self.exact[name] { return domain }
        guard !self.wildcard.isEmpty, let dot = name.utf8.firstIndex(of: UInt8(ascii: ".")), dot > name.startIndex
        else { return nil }
        return self.wildcard[String(name[name.utf8.index(after: dot)...])]
    }
}
