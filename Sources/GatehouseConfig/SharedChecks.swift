internal import GatehousePolicy
internal import SIPMessage

// What the parts of a configuration mean together: names and addresses that more than one of them wants. Each check is
// one pass over the domains with a table.
extension Findings {
    // MARK: Names

    /// A name belongs to one domain: a request from the core is matched to its domain by nothing else.
    mutating func checkNames(_ domains: [Schema.DomainDraft]) {
        struct Owner {
            var domain: Int
            var key: String
        }
        var owners: [String: Owner] = [:]
        owners.reserveCapacity(domains.count * 2)
        func forEachName(_ body: (_ name: String, _ domain: Int, _ key: String) -> Void) {
            for (index, domain) in domains.enumerated() {
                let settings = domain.configuration
                if !settings.name.isEmpty { body(settings.name, index, "name") }
                for (position, alias) in settings.aliases.enumerated() { body(alias, index, "aliases[\(position)]") }
            }
        }
        forEachName { name, index, key in
            guard let owner = owners[name] else {
                owners[name] = Owner(domain: index, key: key)
                return
            }
            let location = domains[owner.domain].configuration.location(of: owner.key)
            if owner.domain == index {
                guard owner.key == "name" else { return }  // a list that has one twice is reported already
                self.fail(
                    domains[index], key, "is the domain's own name already", text: name, cure: "remove it")
            } else {
                self.fail(
                    domains[index], key, "belongs to another domain, at \(location)", text: name,
                    cure: "leave it to one of them")
            }
        }
        forEachName { name, index, key in
            guard !name.hasPrefix("*"), let parent = parentName(name), let wildcard = owners["*.\(parent)"] else {
                return
            }
            if wildcard.domain == index {
                guard key != "name" else { return }
                self.warn(
                    domains[index], key, "adds nothing: *.\(parent) covers it", text: name,
                    cure: "remove one of the two")
            } else {
                let other = domains[wildcard.domain].configuration
                self.warn(
                    domains[index], key,
                    "takes a name out of *.\(parent) of \(other.name), at \(other.location(of: wildcard.key))",
                    text: name, cure: "nothing, if this is meant: an exact name beats a wildcard")
            }
        }
    }

    // MARK: Addresses

    /// Something that wants to listen.
    private struct Listener {
        /// What it is, in the words of a message.
        var role: String
        var endpoint: Endpoint
        var location: SourceLocation
        var key: String
        /// The TCP listener that comes with a UDP one.
        var isBesideUDP = false
    }

    /// Addresses that can't both be listened on: the same one in two roles, or all addresses of a port and one of them.
    mutating func checkAddresses(_ configuration: Configuration, _ domains: [Schema.DomainDraft]) {
        var streams: [Listener] = []
        var datagrams: [Listener] = []
        for (index, bind) in configuration.core.binds.enumerated() {
            let key = "core.bind[\(index)]"
            var listener = Listener(
                role: "the core side", endpoint: bind.endpoint,
                location: configuration.location(of: key), key: key)
            if bind.transport == .udp {
                datagrams.append(listener)
                listener.isBesideUDP = true
            }
            streams.append(listener)
        }
        if let admin = configuration.edge.admin {
            streams.append(
                Listener(
                    role: "the admin endpoint", endpoint: admin,
                    location: configuration.location(of: "edge.admin.bind"), key: "edge.admin.bind"))
        }
        for domain in domains {
            func listeners(
                _ role: String, _ name: String, _ endpoints: [Endpoint], besideUDP: Bool = false
            ) -> [Listener] {
                endpoints.enumerated().map { index, endpoint in
                    let key = "\(name).bind[\(index)]"
                    return Listener(
                        role: role, endpoint: endpoint,
                        location: domain.configuration.location(of: key), key: domain.fullKey(key),
                        isBesideUDP: besideUDP)
                }
            }
            streams += listeners("a TLS listener", "tls", domain.configuration.tls?.binds ?? [])
            // Without TLS there is no SNI to tell domains apart, so a plain listener belongs to one.
            let plain = domain.configuration
            streams += listeners("the plain TCP listener of \(plain.name)", "tcp", plain.tcpBinds)
            datagrams += listeners("the UDP listener of \(plain.name)", "udp", plain.udpBinds)
            guard plain.bindsTCPBesideUDP else { continue }
            streams += listeners("the plain TCP listener of \(plain.name)", "udp", plain.udpBinds, besideUDP: true)
        }
        self.checkClashes(streams)
        self.checkClashes(datagrams)
    }

    private mutating func checkClashes(_ listeners: [Listener]) {
        var first: [Endpoint: Listener] = [:]
        for listener in listeners where listener.endpoint.port != 0 {
            guard let other = first[listener.endpoint] else {
                first[listener.endpoint] = listener
                continue
            }
            // Domains share addresses; a list that has one twice is reported already.
            guard listener.role != other.role else { continue }
            // Their UDP clashes too, and that is reported.
            guard !listener.isBesideUDP || !other.isBesideUDP else { continue }
            self.clash(listener, other, "is taken by \(other.role)")
        }
        for listener in first.values where !listener.endpoint.address.isUnspecified {
            let address = listener.endpoint.address
            let every = Endpoint(
                address: address.isIPv6 ? IPAddress(v6High: 0, v6Low: 0) : IPAddress(v4: 0),
                port: listener.endpoint.port)
            guard let other = first[every], !listener.isBesideUDP || !other.isBesideUDP else { continue }
            self.clash(listener, other, "is among the addresses of \(every), which \(other.role) takes")
        }
    }

    private mutating func clash(_ listener: Listener, _ other: Listener, _ problem: String) {
        // A default has no line of its own to point at: the other's has.
        let (place, elsewhere) = listener.location.line > 0 ? (listener, other) : (other, listener)
        var problem = place.key == listener.key ? problem : "takes the address of \(listener.role) (\(listener.key))"
        var cure = "give one of them another address or port"
        if place.isBesideUDP {
            problem = "opens TCP too, whose address \(problem)"
            if place.key.contains("udp.") { cure += ", or add tcp: false" }
        }
        let reference = elsewhere.location.line > 0 ? ", at \(elsewhere.location)" : ""
        self.fail(
            at: place.location, place.key, problem + reference, text: place.endpoint.description,
            cure: cure)
    }

    // MARK: SNI

    /// One domain an address answers clients that name none.
    mutating func checkDefaults(_ domains: [Schema.DomainDraft]) {
        var count: [Endpoint: Int] = [:]
        var defaults: [Endpoint: Int] = [:]
        for (index, domain) in domains.enumerated() {
            guard let tls = domain.configuration.tls else { continue }
            for endpoint in tls.binds {
                count[endpoint, default: 0] += 1
                guard tls.isDefault else { continue }
                guard let other = defaults[endpoint] else {
                    defaults[endpoint] = index
                    continue
                }
                let location = domains[other].configuration.location(of: "tls.default")
                self.fail(
                    domain, "tls.default",
                    "\(endpoint) has a default already: \(domains[other].configuration.name), at \(location)",
                    text: "true",
                    cure: "keep one default an address")
            }
        }
        for domain in domains {
            guard let tls = domain.configuration.tls, tls.unknownSNI == .default, !tls.isDefault,
                let endpoint = tls.binds.first(where: { count[$0] != 1 })
            else { continue }
            self.fail(
                domain, "tls.unknown_sni", "asks a domain to answer that is not the default of \(endpoint)",
                text: "default", cure: "add default: true, or write it at the domain that is")
        }
    }
}
