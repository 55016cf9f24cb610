import ArgumentParser
import GatehouseServer

/// `gatehouse reload`
struct Reload: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Have the running process read its configuration and certificates again.",
        discussion: """
            The whole configuration is checked first. If anything is wrong, nothing changes, each error is printed, \
            and the exit code is 1.
            """)
    @OptionGroup var admin: AdminOptions
    @Flag(help: "Say what would change, and change nothing.")
    var dryRun = false

    func run() async throws {
        let answer = try await self.admin.client().post(self.dryRun ? "/api/reload?dry_run=1" : "/api/reload")
        guard answer.status == 200 || answer.status == 422 else { throw CommandFailure(answer, from: self.admin.admin) }
        let report = try AdminJSON.decode(ReloadReport.self, from: answer.body)
        for warning in report.warnings { printError("warning: \(visible(warning))") }
        for error in report.errors { printError("error: \(visible(error))") }
        guard report.errors.isEmpty else {
            throw CommandFailure(
                "\(report.errors.count) errors: nothing changed, generation \(report.generation) stays in force")
        }
        for change in report.changes { print(visible(change)) }
        if self.dryRun {
            print(report.changes.isEmpty ? "nothing would change" : "nothing was changed: this was a dry run")
        } else {
            print("generation \(report.generation) is in force")
        }
    }
}
