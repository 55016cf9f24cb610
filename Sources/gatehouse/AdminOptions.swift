import ArgumentParser
import GatehouseServer

/// Where a command finds the running process.
struct AdminOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Admin endpoint of the running process (edge.admin.bind).", valueName: "URL"))
    var admin = "http://127.0.0.1:8061"

    func validate() throws {
        do { _ = try self.client() } catch { throw ValidationError("\(error)") }
    }

    func client() throws -> AdminClient { try AdminClient(self.admin) }

    /// The answer's body.
    ///
    /// - Throws: what the process answered, where that is no success.
    func get(_ target: String) async throws -> [UInt8] {
        let answer = try await self.client().get(target)
        guard answer.status == 200 else { throw CommandFailure(answer, from: self.admin) }
        return answer.body
    }
}

/// Why a command did not do its work: a sentence for standard error, exit code 1.
struct CommandFailure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }

    init(_ answer: AdminClient.Answer, from admin: String) {
        let text = String(decoding: answer.body.prefix(500), as: UTF8.self)
        self.description = "\(admin) answered \(answer.status): \(visible(String(text.prefix { $0 != "\n" })))"
    }
}
