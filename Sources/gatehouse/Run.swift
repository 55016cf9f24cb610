import ArgumentParser
import GatehouseServer
import UnixSignals

/// `gatehouse run`
struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve until told to stop.",
        discussion: """
            SIGHUP reads the configuration and certificates again; SIGTERM and SIGINT let calls end and then stop, a \
            second one stops at once.
            """)
    @Option(name: .shortAndLong, help: "The configuration file.")
    var config: String

    func run() async throws {
        let output = LogOutput.standardError
        // Trapped before anything is open, so that a signal that comes during start is not lost.
        let signals = await UnixSignalsSequence(trapping: .sighup, .sigterm, .sigint)
        let server: Server
        do throws(StartError) {
            server = try await Server.start(configurationPath: self.config, output: output)
        } catch {
            for problem in error.problems { printError("error: \(problem)") }
            printError("not started: mend the errors above")
            throw ExitCode.failure
        }
        await Lifecycle(edge: server, log: output.logger()).run(
            signals.map { $0 == .sighup ? EdgeSignal.reload : EdgeSignal.terminate })
        output.close()
    }
}
