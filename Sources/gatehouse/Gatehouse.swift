import ArgumentParser
import GatehouseServer

/// The command `gatehouse`. Each subcommand is a file; docs/operations.md tells what they are for.
@main
struct Gatehouse: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gatehouse",
        abstract: "A multi-domain TLS edge for PBXs that speak plain SIP.",
        version: "gatehouse \(BuildInfo.version)",
        subcommands: [
            Run.self, Check.self, Reload.self, Status.self, Domains.self, Certificates.self, Connections.self,
            Bindings.self, Cores.self, Explain.self, Demo.self, Version.self,
        ])
}

/// `gatehouse version`
struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    func run() {
        print("gatehouse \(BuildInfo.version)")
    }
}
