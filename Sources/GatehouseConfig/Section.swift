internal import GatehousePolicy

/// A row of the tables in `docs/configuration.md`.
struct KeyDocumentation: Equatable, Sendable {
    /// From the top of the file, with `[]` for the entries of a list: `domains[].tls.bind`.
    var path: String
    var type: String
    /// The default as a file would write it, in backquotes; or what stands in for one, in words.
    var defaultText: String
    var meaning: String

    func moved(below prefix: String) -> KeyDocumentation {
        var row = self
        row.path = row.path.hasPrefix("[") ? prefix + row.path : "\(prefix).\(row.path)"
        return row
    }
}

/// A key of a mapping: how its value gets into the value of the mapping, and its rows in the documentation.
struct Key<Container>: Sendable {
    let name: String
    let isRequired: Bool
    let rows: [KeyDocumentation]
    fileprivate let read: @Sendable (YAMLNode, inout Container, inout Reader) -> Void

    /// A key with a value.
    ///
    /// - Parameter defaultText: nil for a key that must be there.
    static func value<Value: Sendable>(
        _ name: String, _ kind: Kind<Value>, into path: any WritableKeyPath<Container, Value> & Sendable,
        default defaultText: String?, _ meaning: String
    ) -> Key {
        let own = KeyDocumentation(
            path: name, type: kind.name, defaultText: defaultText ?? "required", meaning: meaning)
        return Key(
            name: name, isRequired: defaultText == nil, rows: [own] + kind.rows.map { $0.moved(below: name) }
        ) { node, container, reader in
            guard let value = kind.read(node, &reader) else { return }
            container[keyPath: path] = value
        }
    }

    /// A key with keys below it. A key with nothing below it, in a file that comments them all out, is all defaults.
    static func section<Value>(
        _ name: String, into path: any WritableKeyPath<Container, Value> & Sendable, _ section: Section<Value>
    ) -> Key {
        Key(
            name: name, isRequired: section.keys.contains(where: \.isRequired),
            rows: section.rows.map { $0.moved(below: name) }
        ) { node, container, reader in
            section.read(node, into: &container[keyPath: path], &reader)
        }
    }

    /// A key that is read in a way of its own.
    static func custom(
        _ name: String, rows: [KeyDocumentation], isRequired: Bool = false,
        read: @escaping @Sendable (YAMLNode, inout Container, inout Reader) -> Void
    ) -> Key {
        Key(name: name, isRequired: isRequired, rows: rows.map { $0.moved(below: name) }, read: read)
    }
}

/// A mapping whose keys are known: one table that reading, messages and documentation share.
struct Section<Value>: Sendable {
    let keys: [Key<Value>]
    private let indices: [String: Int]

    init(_ keys: [Key<Value>]) {
        self.keys = keys
        self.indices = Dictionary(uniqueKeysWithValues: keys.enumerated().map { ($1.name, $0) })
    }

    var rows: [KeyDocumentation] { self.keys.flatMap(\.rows) }

    /// Reads what the mapping has into `value`, which holds the defaults, and reports all that is wrong with it.
    func read(_ node: YAMLNode, into value: inout Value, _ reader: inout Reader) {
        let entries: [YAMLNode.Entry]
        if case .mapping(let present) = node.content {
            entries = present
        } else if node.isNull {
            entries = []
        } else {
            reader.fail(
                at: node.position, "expected keys below it, found \(node.kindName)", text: node.text,
                cure: "write \(self.keys.prefix(3).map(\.name).joinedAsAlternatives()) below it, each with a colon")
            return
        }
        var lines = [Int?](repeating: nil, count: self.keys.count)
        for entry in entries {
            guard let index = self.indices[entry.key] else {
                self.reportUnknown(entry, &reader)
                continue
            }
            if let line = lines[index] {
                reader.fail(
                    at: entry.keyPosition, key: entry.key, "is given twice, first in line \(line)", text: entry.key,
                    cure: "remove one of them")
                continue
            }
            lines[index] = entry.keyPosition.line
            reader.descend(into: entry.key, at: entry.value.position) { reader in
                self.keys[index].read(entry.value, &value, &reader)
            }
        }
        for (key, line) in zip(self.keys, lines) where key.isRequired && line == nil {
            reader.fail(at: node.position, key: key.name, "is missing", cure: key.cureWhereMissing)
        }
    }

    private func reportUnknown(_ entry: YAMLNode.Entry, _ reader: inout Reader) {
        let cure: String
        if let meant = nearest(to: entry.key, among: self.keys.lazy.map(\.name)) {
            cure = "did you mean \(meant)?"
        } else if let parent = self.keys.first(where: { $0.rows.contains { $0.isBelow(entry.key) } }) {
            cure = "it belongs below \(parent.name)"
        } else if let known = Schema.paths(of: entry.key).first {
            cure = "it belongs to \(known)"
        } else {
            cure = "the keys here are \(self.keys.map(\.name).joined(separator: ", "))"
        }
        reader.fail(at: entry.keyPosition, key: entry.key, "unknown key", text: entry.key, cure: cure)
    }
}

extension Key {
    fileprivate var cureWhereMissing: String {
        guard let row = self.rows.first(where: { $0.path == self.name }) else {
            let required = self.rows.filter { $0.defaultText == "required" && !$0.path.contains("[") }.map(\.path)
            return "give \(required.joined(separator: " and "))"
        }
        return "give it (\(row.type.withoutBackquotes))"
    }
}

extension KeyDocumentation {
    /// Whether this is a row of the key `name` below another.
    fileprivate func isBelow(_ name: String) -> Bool {
        self.path.hasSuffix(".\(name)")
    }
}
