import ArgumentParser
import GatehouseServer

// The commands that show what the running process holds. Each is a path of the admin endpoint and a table.

/// A command that prints a list of the admin endpoint.
protocol ListCommand: AsyncParsableCommand {
    associatedtype Item: Codable & Sendable & Equatable
    static var path: String { get }
    static var columns: [String] { get }
    static func cells(of item: Item) -> [String]
    var options: ListOptions { get }
}

struct ListOptions: ParsableArguments {
    @OptionGroup var admin: AdminOptions
    @Flag(help: "Print the admin endpoint's JSON.")
    var json = false
    @Option(help: ArgumentHelp("Only entries of this domain.", valueName: "NAME"))
    var domain: String?
    @Option(help: ArgumentHelp("Most entries to print.", valueName: "N"))
    var limit = 1000

    func validate() throws {
        guard (1...AdminQuery.highestLimit).contains(self.limit) else {
            throw ValidationError("--limit is a number from 1 to \(AdminQuery.highestLimit)")
        }
        let allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"
        guard self.domain?.allSatisfy({ allowed.contains($0) }) != false else {
            throw ValidationError("--domain is a domain's name as in the configuration")
        }
    }
}

extension ListCommand {
    func run() async throws {
        var target = "\(Self.path)?limit=\(self.options.limit)"
        if let domain = self.options.domain { target += "&domain=\(domain)" }
        let body = try await self.options.admin.get(target)
        if self.options.json {
            print(String(decoding: body, as: UTF8.self), terminator: "")
            return
        }
        let list = try AdminJSON.decode(AdminList<Item>.self, from: body)
        var table = Table(Self.columns)
        for item in list.items { table.add(Self.cells(of: item)) }
        print(table.text())
        if list.total > list.items.count { print("… \(list.total - list.items.count) more: raise --limit") }
    }
}

struct Domains: ListCommand {
    static let configuration = CommandConfiguration(abstract: "List the domains that are served.")
    static let path = "/api/domains"
    static let columns = ["DOMAIN", "CORE", "UP", "CONNECTIONS", "BINDINGS", "LISTENERS", "ALIASES"]
    @OptionGroup var options: ListOptions

    static func cells(of domain: DomainStatus) -> [String] {
        [
            domain.name, domain.coreKind, "\(domain.coreTargetsUp)/\(domain.coreTargets)", "\(domain.connections)",
            "\(domain.bindings)", domain.listeners.joined(separator: " "), domain.aliases.joined(separator: " "),
        ]
    }
}

struct Certificates: ListCommand {
    static let configuration = CommandConfiguration(abstract: "List the certificates in use and when they expire.")
    static let path = "/api/certificates"
    static let columns = ["DOMAIN", "EXPIRES", "DAYS", "KEY", "FINGERPRINT", "FILE", "NAMES"]
    @OptionGroup var options: ListOptions

    static func cells(of certificate: CertificateStatus) -> [String] {
        let days = Int(((certificate.notAfter - secondsSince1970()) / 86_400).rounded(.down))
        return [
            certificate.domain, date(certificate.notAfter), "\(days)", certificate.key,
            String(certificate.fingerprint.prefix(16)), certificate.certificate,
            certificate.names.joined(separator: " "),
        ]
    }
}

struct Connections: ListCommand {
    static let configuration = CommandConfiguration(abstract: "List the connections that are open.")
    static let path = "/api/connections"
    static let columns = ["REMOTE", "DOMAIN", "TRANSPORT", "TLS", "OPENED", "REGISTERED", "VERIFIED", "FLOW"]
    @OptionGroup var options: ListOptions

    static func cells(of connection: ConnectionStatus) -> [String] {
        [
            connection.remote, connection.domain, connection.transport,
            [connection.tlsVersion, connection.cipher].compactMap { $0 }.joined(separator: " "),
            date(connection.openedAt), connection.isRegistered ? "yes" : "", connection.verified.joined(separator: " "),
            connection.flow,
        ]
    }
}

struct Bindings: ListCommand {
    static let configuration = CommandConfiguration(abstract: "List the registered contacts.")
    static let path = "/api/bindings"
    static let columns = ["ADDRESS OF RECORD", "CONTACT", "ARRIVED", "EXPIRES", "FLOW", "DOMAIN"]
    @OptionGroup var options: ListOptions

    static func cells(of binding: BindingStatus) -> [String] {
        [
            binding.addressOfRecord, binding.contact, binding.arrived, date(binding.expiresAt),
            binding.flow ?? "gone", binding.domain,
        ]
    }
}

struct Cores: ListCommand {
    static let configuration = CommandConfiguration(abstract: "List the core targets and their health.")
    static let path = "/api/cores"
    static let columns = ["DOMAIN", "TARGET", "HEALTH", "SINCE", "ROUND TRIP"]
    @OptionGroup var options: ListOptions

    static func cells(of core: CoreStatus) -> [String] {
        [
            core.domain, core.target, core.isUp ? "up" : "down", core.since.map(date) ?? "start",
            core.roundTripInMilliseconds.map { "\(($0 * 10).rounded() / 10) ms" } ?? "",
        ]
    }
}

/// `gatehouse status`
struct Status: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what the running process serves.")
    @OptionGroup var admin: AdminOptions
    @Flag(help: "Print the admin endpoint's JSON.")
    var json = false

    func run() async throws {
        let body = try await self.admin.get("/api/status")
        if self.json {
            print(String(decoding: body, as: UTF8.self), terminator: "")
            return
        }
        let status = try AdminJSON.decode(EdgeStatus.self, from: body)
        print(
            """
            \(visible(status.name)): \(status.state.rawValue) since \(date(status.startedAt)), \
            version \(visible(status.version))
            configuration \(visible(status.configuration)), generation \(status.generation)
            \(status.domains) domains, \(status.connections) connections, \(status.bindings) bindings, \
            \(status.transactions) transactions

            """)
        var table = Table(["LISTENER", "DOMAINS"])
        for listener in status.listeners {
            let names = listener.domains.prefix(5).joined(separator: " ")
            let more = listener.domains.count > 5 ? " and \(listener.domains.count - 5) more" : ""
            table.add([
                "\(listener.transport):\(listener.address)", listener.domains.isEmpty ? "(core)" : names + more,
            ])
        }
        print(table.text())
    }
}
