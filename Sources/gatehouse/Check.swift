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
            order, names that a certificate does not cover, expiry that is near, settings without effect.

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
