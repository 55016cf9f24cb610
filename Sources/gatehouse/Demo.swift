import ArgumentParser
import GatehouseServer
import Glibc
import UnixSignals

/// `gatehouse demo`
struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Show one call through two domains, then serve until Ctrl-C.",
        discussion: """
            Starts an edge with two domains, a small PBX and two phones on loopback, makes a call between them, and \
            prints its ladder. Nothing has to be configured, and nothing is left behind.
            """)
    @Option(
        help: ArgumentHelp(
            "Development certificates; without them, some are made for the run.", valueName: "FOLDER"))
    var certificates = "certs/dev"
    @Flag(help: "End after the call.")
    var once = false

    func run() async throws {
        let output = LogOutput.standardError
        let signals = await UnixSignalsSequence(trapping: .sighup, .sigterm, .sigint)
        let demo: GatehouseServer.Demo.Running
        do {
            demo = try await GatehouseServer.Demo.run(
                certificates: self.certificates, output: output, isFinal: self.once
            ) { paragraph in
                print(paragraph + "\n")
                fflush(nil)  // to be read now, also where it is piped
            }
        } catch {
            output.close()
            throw CommandFailure("the demonstration failed: \(error)")
        }
        if self.once {
            await demo.edge.stop()
        } else {
            await Lifecycle(edge: demo.edge, log: output.logger()).run(
                signals.map { $0 == .sighup ? EdgeSignal.reload : EdgeSignal.terminate })
        }
        await demo.end()
        output.close()
    }
}
