import ArgumentParser
import GatehouseConfig
import GatehousePolicy
import GatehouseServer
import SIPMessage

/// `gatehouse explain`
struct Explain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say where a request from the core would go, over what, and why.",
        discussion: """
            Takes the edge's decisions step by step without a running edge: the next hop, its NAPTR, SRV and address \
            records, the candidates in order, whether the session may use them, and the line of the configuration that \
            decided. Registrations and Route headers, which only a running edge sees, take no part.

            Exit code: 0 where the request would be sent, 1 where not.
            """)

    enum Arrived: String, ExpressibleByArgument, CaseIterable { case sips, tls, tcp }

    @Argument(help: ArgumentHelp("The Request-URI.", valueName: "URI"))
    var uri: String
    @Option(name: .shortAndLong, help: ArgumentHelp("The configuration file.", valueName: "FILE"))
    var config: String
    @Option(help: ArgumentHelp("The domain whose core sends the request; may be left out if it is the only one."))
    var domain: String?
    @Option(help: "How the session reached the edge; without it, the request carries no session tag.")
    var arrived: Arrived?
    @Flag(help: "The request belongs to a dialog.")
    var inDialog = false
    @Flag(help: "Connect to the candidates, until one answers.")
    var connect = false
    @Option(help: ArgumentHelp("Name server to ask in place of dns.servers.", valueName: "ADDRESS:PORT"))
    var dns: String?
    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        let bytes = Array(self.uri.utf8)
        let uri = try? URI.parse(bytes, ByteRange(0, bytes.count))
        guard uri?.isSIP == true else {
            throw ValidationError("\(visible(self.uri)) is no SIP URI: write sip:user@host or sips:user@host")
        }
        guard self.dns == nil || self.nameServer != nil else {
            throw ValidationError("--dns is an address, with a port where it is not 53: 10.0.0.53:5353")
        }
    }

    private var nameServer: Endpoint? {
        guard let text = self.dns else { return nil }
        return Endpoint(text) ?? IPAddress(text).map { Endpoint(address: $0, port: 53) }
    }

    func run() async throws {
        let load = ConfigurationLoader.load(path: self.config)
        guard let configuration = load.configuration else {
            for error in load.errors { printError("error: \(error)") }
            throw ExitCode.failure
        }
        let domain = try self.domain(of: configuration)
        let arrival: Arrival? =
            switch self.arrived {
            case .sips: .sips
            case .tls: .tls
            case .tcp: .plain
            case nil: nil
            }
        let explanation: Explanation
        do throws(Explainer.Failure) {
            explanation = try await Explainer.run(
                Explainer.Request(uri: self.uri, arrival: arrival, isInDialog: self.inDialog), in: configuration,
                domain: domain, nameServer: self.nameServer, connects: self.connect)
        } catch {
            for problem in error.problems { printError("error: \(problem)") }
            throw ExitCode.failure
        }
        if self.json {
            print(String(decoding: try AdminJSON.encode(explanation), as: UTF8.self), terminator: "")
        } else {
            print(ExplanationText(explanation).text)
        }
        if !explanation.verdict.goes { throw ExitCode.failure }
    }

    private func domain(of configuration: Configuration) throws -> DomainConfiguration {
        let names = configuration.domains.map(\.name).joined(separator: ", ")
        guard let wanted = self.domain?.lowercased() else {
            if configuration.domains.count == 1, let only = configuration.domains.first { return only }
            throw ValidationError("say which domain's core sends the request, with --domain: \(names)")
        }
        let table = DomainTable(configuration.domains)
        guard let index = table.domain(named: wanted) else {
            throw ValidationError("there is no domain \(visible(wanted)); there are: \(names)")
        }
        return configuration.domains[index]
    }
}
