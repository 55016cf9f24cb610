import GatehousePolicy
import Testing

@testable import GatehouseConfig

/// `docs/configuration.md` and the schema say the same.
struct DocumentationTests {
    static let path = TestFiles.repository + "/docs/configuration.md"

    @Test("CONFIG: every key is documented with its type, default and meaning, in the order of the schema")
    func documentsEveryKey() throws {
        let text = try #require(TestFiles.read(Self.path))
        let documented = text.split(separator: "\n").filter { $0.hasPrefix("| `") }.map(String.init)
        let expected = Schema.rows.map(Self.row)
        #expect(expected.count > 70)
        for (line, row) in zip(documented, expected) { #expect(line == row) }
        #expect(documented.count == expected.count)
    }

    /// A row of a table; below `domains` the keys stand without that part.
    static func row(_ key: KeyDocumentation) -> String {
        let path = key.path.replacing("domains[].", with: "")
        return "| `\(path)` | \(key.type) | \(key.defaultText) | \(key.meaning) |"
    }

    @Test("CONFIG: a file that writes every documented default means what the smallest file means")
    func defaultsAreTrue() throws {
        let smallest = """
            core: { bind: [udp:10.0.0.2:5060] }
            domains:
              - name: alpha.example
                tls: { bind: ["203.0.113.10:5061"], certificate: a.pem, private_key: a.key }
                core: { targets: [udp:10.0.0.10:5060] }
            """
        var tree = Mapping()
        for row in Schema.rows {
            let isLiteral = row.defaultText.hasPrefix("`") && row.defaultText.filter { $0 == "`" }.count == 2
            guard isLiteral, row.defaultText.hasSuffix("`"), row.path != "include" else { continue }
            let path = row.path.replacing("domains[].", with: "domains.")
            guard !path.contains("[") else { continue }
            let isText = row.path.hasSuffix("min_version")
            let value = row.defaultText.filter { $0 != "`" }
            tree.set(path.split(separator: ".")[...], to: isText ? "\"\(value)\"" : value)
        }
        tree.set(["core", "bind"], to: "[udp:10.0.0.2:5060]")
        tree.set(["domains", "name"], to: "alpha.example")
        tree.set(["domains", "tls", "bind"], to: "[\"203.0.113.10:5061\"]")
        tree.set(["domains", "tls", "certificate"], to: "a.pem")
        tree.set(["domains", "tls", "private_key"], to: "a.key")
        tree.set(["domains", "core", "targets"], to: "[udp:10.0.0.10:5060]")
        let full = tree.text(listing: "domains")

        let expected = try #require(ConfigurationLoader.load(text: smallest).configuration)
        let result = ConfigurationLoader.load(text: full)
        #expect(result.errors == [], "\(full)")
        #expect(result.configuration == expected)
    }

    @Test("CONFIG: the examples of the documentation load")
    func examplesLoad() throws {
        let text = try #require(TestFiles.read(Self.path))
        let blocks = text.split(separator: "```yaml\n").dropFirst().compactMap { $0.split(separator: "```").first }
        let whole = blocks.filter { $0.contains("domains:") && $0.contains("core:") }
        #expect(whole.count >= 2)
        for block in whole {
            #expect(Load(file: "gatehouse.yaml").run(bytes: Array(block.utf8)).errors == [], "\(block)")
        }
    }
}

/// Keys and values on their way to YAML's flow style.
private struct Mapping {
    var entries: [(key: Substring, value: Value)] = []

    indirect enum Value {
        case text(String)
        case mapping(Mapping)
    }

    mutating func set(_ path: ArraySlice<Substring>, to text: String) {
        guard let key = path.first else { return }
        let index = self.entries.firstIndex { $0.key == key } ?? self.entries.count
        if index == self.entries.count { self.entries.append((key, .mapping(Mapping()))) }
        guard path.count > 1, case .mapping(var inner) = self.entries[index].value else {
            self.entries[index].value = .text(text)
            return
        }
        inner.set(path.dropFirst(), to: text)
        self.entries[index].value = .mapping(inner)
    }

    /// - Parameter name: of the mapping that is the one entry of a list.
    func text(listing name: String) -> String {
        let parts = self.entries.map { key, value in
            switch value {
            case .text(let text): return "\(key): \(text)"
            case .mapping(let inner):
                let text = inner.text(listing: "")
                return "\(key): \(key == name ? "[\(text)]" : text)"
            }
        }
        return "{\(parts.joined(separator: ", "))}"
    }
}
