/// Which part of a list is asked for.
public struct AdminQuery: Sendable, Equatable {
    /// Only entries of this domain; nil: of all.
    public var domain: String?
    /// Most entries in the answer.
    public var limit: Int

    public init(domain: String? = nil, limit: Int = 1000) {
        self.domain = domain
        self.limit = limit
    }

    /// Most entries that one request may ask for.
    public static let highestLimit = 100_000
}

/// Where the admin endpoint gets what it shows. A nil answer says that this process keeps no such list.
///
/// Called on no event loop; implementations hop to the workers where they must.
public protocol AdminSource: Sendable {
    /// Whether the process is listening and not draining.
    var isReady: Bool { get }
    func status() async -> EdgeStatus
    func domains(_ query: AdminQuery) async -> AdminList<DomainStatus>?
    func certificates(_ query: AdminQuery) async -> AdminList<CertificateStatus>?
    func connections(_ query: AdminQuery) async -> AdminList<ConnectionStatus>?
    func bindings(_ query: AdminQuery) async -> AdminList<BindingStatus>?
    func cores(_ query: AdminQuery) async -> AdminList<CoreStatus>?
    func reload(dryRun: Bool) async -> ReloadReport
}

extension AdminSource {
    public func domains(_ query: AdminQuery) async -> AdminList<DomainStatus>? { nil }
    public func certificates(_ query: AdminQuery) async -> AdminList<CertificateStatus>? { nil }
    public func connections(_ query: AdminQuery) async -> AdminList<ConnectionStatus>? { nil }
    public func bindings(_ query: AdminQuery) async -> AdminList<BindingStatus>? { nil }
    public func cores(_ query: AdminQuery) async -> AdminList<CoreStatus>? { nil }
}
