import ArgumentParser
import GatehouseConfig
import GatehousePolicy
import GatehouseTLS

/// `gatehouse check`
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check a configuration, its certificates and keys, without serving.",
        discussion: """
            Everything that a start checks, but for opening the addresses, and what a careful reader would notice: chain \
            order, names that a certificate does not cover, expiry that is near, settings without effect. Each override is \
            listed with its reason and the days that it has left.

            Exit code: 0 without errors, 1 with errors; with --strict 2 where there are warnings alone.
            """)
    @Argument(help: ArgumentHelp("The configuration file.", valueName: "FILE"))
    var file: String
    @Flag(help: "Exit with 2 where there are warnings alone.")
    var strict = false

    func run() throws {
        let load = ConfigurationLoader.load(path: self.file)
        var errors = load.errors.map(\.description)
        var warnings = load.warnings.map(\.description)
        if let configuration = load.configuration {
            for problem in CertificateStore.lint(configuration.domains) {
                if problem.severity == .error {
                    errors.append("\(problem)")
                } else {
                    warnings.append("\(problem)")
                }
            }
            errors += Self.secretProblem(configuration.edge)
        }
        for domain in load.configuration?.domains ?? [] {
            for entry in domain.security.overrides { print(Self.line(of: entry, domain.name, today: load.today)) }
        }
        for warning in warnings { printError("warning: \(warning)") }
        for error in errors { printError("error: \(error)") }
        guard errors.isEmpty else {
            printError("\(self.file): \(count(errors, "error")), \(count(warnings, "warning"))")
            throw ExitCode(1)
        }
        let domains = load.configuration?.domains ?? []
        print("\(self.file): \(count(domains, "domain")), no errors, \(count(warnings, "warning"))")
        if self.strict, !warnings.isEmpty { throw ExitCode(2) }
    }

    /// What an override allows, why, and for how long.
    private static func line(of entry: SecurityOverride, _ domain: String, today: CalendarDate?) -> String {
        let to =
            switch entry.to {
            case .host(let pattern): pattern
            case .network(let block): block.description
            }
        var end = "without end"
        if let until = entry.until {
            end = "until \(until)"
            if let days = today?.days(until: until) {
                switch days {
                case ..<0: end += ", which is past"
                case 0: end += ", its last day"
                case 1: end += ", 1 day left"
                default: end += ", \(days) days left"
                }
            }
        }
        let place = "\(entry.location.file):\(entry.location.line):\(entry.location.column)"
        return "override: \(place): \(domain) may reach \(to) \(entry.allow), \(end): \(entry.reason)"
    }

    /// What keeps the secret from being read. A missing one is made at the first start.
    private static func secretProblem(_ edge: EdgeSettings) -> [String] {
        do throws(EdgeSecretError) {
            _ = try EdgeSecret.load(path: edge.secretFile, create: false)
        } catch {
            if error.problem != .missing { return ["\(error)"] }
        }
        return []
    }
}

/// `1 error`, `2 errors`, `no errors`
private func count(_ items: [some Any], _ noun: String) -> String {
    switch items.count {
    case 0: "no \(noun)s"
    case 1: "1 \(noun)"
    default: "\(items.count) \(noun)s"
    }
}
