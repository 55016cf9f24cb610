internal import GatehousePolicy
internal import SIPMessage

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

    /// - Parameter serverName: in lower case; nil where the client sent none.
    func answer(to serverName: String?) -> Answer {
        let fallback = self.defaultDomain ?? self.only
        guard let serverName else { return fallback.map { .domain($0) } ?? .missingName }
        if let domain = self.domain(named: serverName) { return .domain(domain) }
        guard let fallback, fallback.unknownSNI == .default else { return .unknownName }
        return .domain(fallback)
    }

    func domain(named name: String) -> ServedDomain? {
        if let domain = self.exact[name] { return domain }
        guard !self.wildcard.isEmpty, let dot = name.utf8.firstIndex(of: UInt8(ascii: ".")), dot > name.startIndex,
            IPAddress(name) == nil
        else { return nil }
        return self.wildcard[String(name[name.utf8.index(after: dot)...])]
    }
}
