import Glibc
import Testing

@testable import GatehouseServer

@Suite("docs/operations.md")
struct MetricsDocumentTests {
    private static let document = text(of: "docs/operations.md")

    /// A file of the repository.
    private static func text(of path: String) -> String {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        guard let file = fopen("/\(root)/\(path)", "r") else { return "" }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("the table of metrics is the process's own")
    func metricsTable() {
        let documented = Self.document.split(separator: "\n")
            .filter { $0.hasPrefix("| `gatehouse_") || $0.hasPrefix("| `process_") }.map(String.init)
        let own = MetricFamily.allCases.map(\.description).map { family in
            "| `\(family.name)` | \(family.kind.rawValue) | \(family.labels.joined(separator: " ")) | \(family.help) |"
        }
        #expect(documented == own)
    }

    @Test("every path of the admin endpoint is described, and no other")
    func adminTable() {
        let documented = Self.document.split(separator: "\n")
            .filter { $0.hasPrefix("| `/") }.compactMap { $0.split(separator: "`").dropFirst().first.map(String.init) }
        #expect(documented == AdminRouter.paths)
    }
}
