public import GatehousePolicy

/// Something that is wrong in the files of a configuration, or, among the warnings of a load, probably is.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Line 0 where the file as a whole is meant.
    public var location: SourceLocation
    /// The path of the key, like `domains[0].tls.bind[1]`, from the top of the file; empty where none is meant.
    public var key: String
    public var problem: String
    /// The text of the file that is wrong, where there is one.
    public var text: String?
    /// What to do.
    public var cure: String

    public init(location: SourceLocation, key: String, problem: String, text: String? = nil, cure: String) {
        self.location = location
        self.key = key
        self.problem = problem
        self.text = text
        self.cure = cure
    }

    /// `file:line:column: path.of.key: what is wrong ("offending text"): what to do`.
    public var description: String {
        var parts = ["\(self.location)"]
        if !self.key.isEmpty { parts.append(ConfigurationError.printable(self.key)) }
        let quoted = self.text.map { " (\"\(ConfigurationError.printable($0))\")" } ?? ""
        parts.append(self.problem + quoted)
        parts.append(self.cure)
        return parts.joined(separator: ": ")
    }

    /// Text from a file made fit for a terminal and a log: at most 120 characters, and no control characters.
    private static func printable(_ text: String) -> String {
        var result = ""
        for (count, scalar) in text.unicodeScalars.enumerated() {
            guard count < 120 else { return result + "…" }
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse:
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension [ConfigurationError] {
    /// By file, line and column; what two uses of one anchor report at one place is reported once.
    func sortedByPlace() -> [ConfigurationError] {
        var seen: [SourceLocation: Set<String>] = [:]
        return self.filter { error in
            let name = error.key.split(separator: ".").last ?? ""
            return seen[error.location, default: []].insert("\(name) \(error.problem)").inserted
        }
        .sorted { left, right in
            (left.location.file, left.location.line, left.location.column, left.key, left.problem)
                < (right.location.file, right.location.line, right.location.column, right.key, right.problem)
        }
    }
}
