internal import GatehousePolicy

/// Every file that a configuration's TLS settings name, read and parsed once each, however many domains name it.
struct CertificateFiles: Sendable {
    private(set) var chains: [String: ParsedFile<CertificateChain>] = [:]
    private(set) var keys: [String: ParsedFile<PrivateKey>] = [:]
    private(set) var anchors: [String: ParsedFile<TrustAnchors>] = [:]
    private(set) var lists: [String: ParsedFile<RevocationLists>] = [:]
    private(set) var systemAnchors: Result<TrustAnchors, CertificateFileError>?
    /// Authorities with their revocation lists; there where both could be read.
    private(set) var listedAnchors: [ListedAuthorities: Result<TrustAnchors, CertificateFileError>] = [:]
    /// How many files this load read; the others were unchanged.
    private(set) var filesRead = 0

    /// Authorities and the path of their revocation lists.
    struct ListedAuthorities: Hashable {
        var authorities: OutboundSettings.Authorities
        var lists: String
    }

    /// Reads on several threads. A file that `previous` holds is taken over if its stamp is the same.
    init(for domains: [DomainConfiguration], reusing previous: CertificateFiles?) {
        var pairs: Set<CertificatePair> = []
        var authorities: Set<String> = []
        var needsSystem = false
        var listed: Set<ListedAuthorities> = []
        for domain in domains {
            if let tls = domain.tls {
                pairs.formUnion(tls.certificates)
                if let path = tls.clientCA {
                    authorities.insert(path)
                    if let lists = tls.clientCRL {
                        listed.insert(ListedAuthorities(authorities: .file(path), lists: lists))
                    }
                }
            }
            if case .pair(let pair) = domain.outbound.clientCertificate { pairs.insert(pair) }
            if let lists = domain.outbound.crl {
                listed.insert(ListedAuthorities(authorities: domain.outbound.authorities, lists: lists))
            }
            switch domain.outbound.authorities {
            case .system: needsSystem = true
            case .file(let path): authorities.insert(path)
            }
        }
        let pool = CertificatePool((previous?.chains.values.compactMap(\.content) ?? []).flatMap(\.certificates))
        self.chains = self.read(Set(pairs.map(\.certificate)), previous?.chains) { CertificateChain.load($0, pool) }
        self.keys = self.read(Set(pairs.map(\.privateKey)), previous?.keys, PrivateKey.load)
        self.anchors = self.read(authorities, previous?.anchors, TrustAnchors.load)
        self.lists = self.read(Set(listed.map(\.lists)), previous?.lists, RevocationLists.load)
        if needsSystem { self.systemAnchors = TrustAnchors.system() }
        for key in listed {
            guard let lists = self.lists[key.lists]?.content else { continue }
            let anchors: TrustAnchors? =
                switch key.authorities {
                case .system: try? self.systemAnchors?.get()
                case .file(let path): self.anchors[path]?.content
                }
            if let anchors { self.listedAnchors[key] = anchors.consulting(lists) }
        }
    }

    private mutating func read<Content: Sendable>(
        _ paths: Set<String>, _ previous: [String: ParsedFile<Content>]?,
        _ load: @Sendable (String) -> ParsedFile<Content>
    ) -> [String: ParsedFile<Content>] {
        let files = Array(paths).parallelMap { path in
            if let known = previous?[path], known.isCurrent(path) { return (path, known, false) }
            return (path, load(path), true)
        }
        self.filesRead += files.count { $0.2 }
        return Dictionary(uniqueKeysWithValues: files.map { ($0.0, $0.1) })
    }
}
