internal import GatehousePolicy

/// A kind of value that a key takes: how it is read, and how the documentation calls it.
struct Kind<Value>: Sendable {
    /// As in `docs/configuration.md`: `duration`, ``list of host names``.
    let name: String
    /// Rows of the documentation for the keys inside the value, relative to it.
    let rows: [KeyDocumentation]
    /// Returns nil after it has reported what is wrong.
    let read: @Sendable (YAMLNode, inout Reader) -> Value?

    init(
        _ name: String, rows: [KeyDocumentation] = [],
        read: @escaping @Sendable (YAMLNode, inout Reader) -> Value?
    ) {
        self.name = name
        self.rows = rows
        self.read = read
    }

    /// A value that a scalar's text holds, with or without quotes.
    static func text(
        _ name: String, _ parse: @escaping @Sendable (String) throws(ValueFault) -> Value
    ) -> Kind {
        Kind(name) { node, reader in
            guard let text = reader.text(of: node, expecting: name) else { return nil }
            return reader.value(at: node, text) { text throws(ValueFault) in try parse(text) }
        }
    }

    func map<Result>(
        _ transform: @escaping @Sendable (Value, YAMLNode, Reader) -> Result
    ) -> Kind<Result> {
        Kind<Result>(self.name, rows: self.rows) { node, reader in
            self.read(node, &reader).map { transform($0, node, reader) }
        }
    }

    /// This kind, or a word that stands for none.
    func or(_ word: String, alias: String? = nil) -> Kind<Value?> {
        Kind<Value?>("\(self.name) or `\(word)`", rows: self.rows) { node, reader in
            if case .scalar(let text, let isPlain) = node.content, text == word || isPlain && text.lowercased() == alias
            {
                return .some(nil)
            }
            return self.read(node, &reader).map { .some($0) }
        }
    }

    /// This kind, or YAML's `null` for none.
    var orNull: Kind<Value?> {
        Kind<Value?>(self.name, rows: self.rows) { node, reader in
            node.isNull ? .some(nil) : self.read(node, &reader).map { .some($0) }
        }
    }
}

extension Kind where Value == String {
    static let anyText = Kind.nonEmpty("text")

    /// A path, made absolute against the folder of the file that it stands in.
    static let path = Kind.nonEmpty("path").map { path, _, reader in absolutePath(path, from: reader.directory) }

    private static func nonEmpty(_ name: String) -> Kind {
        .text(name) { text throws(ValueFault) in
            guard !text.isEmpty else {
                throw ValueFault(problem: "is empty", cure: "write a \(name)")
            }
            return text
        }
    }
}

extension Kind where Value == Bool {
    /// The words of YAML 1.1, without quotes.
    static let boolean = Kind("`true` or `false`") { node, reader in
        guard let text = reader.plainText(of: node, expecting: "true or false") else { return nil }
        switch text.lowercased() {
        case "true", "yes", "on": return true
        case "false", "no", "off": return false
        default:
            reader.fail(at: node.position, "is neither true nor false", text: text, cure: "write true or false")
            return nil
        }
    }
}

extension Kind where Value == Int {
    static func count(_ range: ClosedRange<Int>) -> Kind {
        Kind("number") { node, reader in
            guard let text = reader.plainText(of: node, expecting: "a number") else { return nil }
            return reader.value(at: node, text) { text throws(ValueFault) in try parseCount(text, in: range) }
        }
    }

    static func size(_ range: ClosedRange<Int>) -> Kind {
        .text("size") { text throws(ValueFault) in try parseSize(text, in: range) }
    }
}

extension Kind where Value == Duration {
    static func duration(_ range: ClosedRange<Duration>) -> Kind {
        .text("duration") { text throws(ValueFault) in try parseDuration(text, in: range) }
    }
}

extension Kind where Value: RawRepresentable & CaseIterable & Sendable, Value.RawValue == String {
    /// One of the words of an enumeration.
    static var choice: Kind {
        let words = Value.allCases.map(\.rawValue)
        return .text(words.map { "`\($0)`" }.joinedAsAlternatives()) { text throws(ValueFault) in
            if let value = Value(rawValue: text) { return value }
            let isWord = text.unicodeScalars.contains { $0.properties.isAlphabetic }
            let meant = isWord ? nearest(to: text, among: words).map { "did you mean \($0)?" } : nil
            throw ValueFault(
                problem: "is not one of its values", cure: meant ?? "write \(words.joinedAsAlternatives())")
        }
    }
}

extension Kind where Value: Sendable {
    /// A list whose entries are of one kind; what `identity` finds equal is a duplicate.
    static func list<Element: Sendable, Identity: Hashable & SendableMetatype>(
        of element: Kind<Element>, named name: String, identity: @escaping @Sendable (Element) -> Identity
    ) -> Kind where Value == [Element] {
        let rows = element.rows.map { $0.moved(below: "[]") }
        return Kind("list of \(name)", rows: rows) { node, reader in
            guard case .sequence(let nodes) = node.content else {
                let text = node.isNull ? nil : node.text
                reader.fail(
                    at: node.position, "expected a list, found \(node.kindName)", text: text,
                    cure: text.map { "write [\($0)]" } ?? "write [] for none, or entries that begin with a hyphen")
                return nil
            }
            var elements: [Element] = []
            elements.reserveCapacity(nodes.count)
            var lines: [Identity: Int] = [:]
            var isValid = true
            for (index, node) in nodes.enumerated() {
                reader.descend(into: index, at: node.position) { reader in
                    guard let element = element.read(node, &reader) else {
                        isValid = false
                        return
                    }
                    if let line = lines.updateValue(node.position.line, forKey: identity(element)) {
                        reader.fail(
                            at: node.position, "is in the list twice, first in line \(line)", text: node.text,
                            cure: "remove one of them")
                    }
                    elements.append(element)
                }
            }
            return isValid ? elements : nil
        }
    }

    static func list<Element: Sendable & Hashable>(
        of element: Kind<Element>, named name: String
    ) -> Kind where Value == [Element] {
        .list(of: element, named: name) { $0 }
    }
}

extension Kind where Value: Collection & Sendable {
    /// This kind, with at least one entry.
    var notEmpty: Kind {
        Kind(self.name, rows: self.rows) { node, reader in
            guard let list = self.read(node, &reader) else { return nil }
            guard !list.isEmpty else {
                reader.fail(at: node.position, "is an empty list", cure: "give at least one entry")
                return nil
            }
            return list
        }
    }
}

extension Reader {
    /// The text of a scalar that is not null; nil after a report.
    mutating func text(of node: YAMLNode, expecting name: String) -> String? {
        guard !node.isNull, let text = node.text else {
            self.fail(
                at: node.position, "expected one value, found \(node.kindName)",
                cure: "give it (\(name.withoutBackquotes))\(node.isNull ? ", or remove the key" : "")")
            return nil
        }
        let hasControls = text.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F }
        guard !hasControls else {
            self.fail(
                at: node.position, "holds a line break or another control character", text: text,
                cure: "write it in one line, without escapes")
            return nil
        }
        return text
    }

    /// The text of a scalar without quotes, as numbers and booleans are written; nil after a report.
    mutating func plainText(of node: YAMLNode, expecting name: String) -> String? {
        guard let text = self.text(of: node, expecting: name) else { return nil }
        guard case .scalar(_, isPlain: true) = node.content else {
            self.fail(at: node.position, "expected \(name), found a quoted text", text: text, cure: "remove the quotes")
            return nil
        }
        return text
    }

    /// What `parse` makes of a text; nil after a report.
    mutating func value<Value>(
        at node: YAMLNode, _ text: String, _ parse: (String) throws(ValueFault) -> Value
    ) -> Value? {
        do throws(ValueFault) {
            return try parse(text)
        } catch {
            self.fail(at: node.position, error.problem, text: text, cure: error.cure)
            return nil
        }
    }
}

extension String {
    /// The name of a kind as messages have it.
    var withoutBackquotes: String { self.filter { $0 != "`" } }
}

extension [String] {
    /// `a, b or c`.
    func joinedAsAlternatives() -> String {
        guard let last = self.last, self.count > 1 else { return self.first ?? "" }
        return self.dropLast().joined(separator: ", ") + " or " + last
    }
}

/// A path without `.` steps, taken from `directory` where it is relative; `..` stays, for a link may stand before it.
func absolutePath(_ path: String, from directory: String) -> String {
    let full = path.hasPrefix("/") ? path : "\(directory)/\(path)"
    return "/" + full.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
}

/// The folder that a file with an absolute path stands in.
func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
    return String(path[..<slash])
}
