/// Where a setting was written, so that a later error or verdict can name the line that decided.
public struct SourceLocation: Hashable, Sendable, CustomStringConvertible {
    /// As the operator named it: the path given on the command line, or one that an `include` led to.
    public var file: String
    /// Both count from 1, the column in characters; 0 where the value is a default that no line wrote.
    public var line: Int
    public var column: Int

    public init(file: String, line: Int, column: Int) {
        self.file = file
        self.line = line
        self.column = column
    }

    /// `config/gatehouse.yaml:14:10`, or the file alone where no line wrote the value.
    public var description: String {
        self.line == 0 ? self.file : "\(self.file):\(self.line):\(self.column)"
    }
}

/// Something that takes no part in comparisons: two settings are equal if they say the same, wherever they were written.
///
/// A reload that moves a line therefore changes nothing, and a core target keeps its state.
@propertyWrapper
public struct NotCompared<Value: Sendable>: Hashable, Sendable {
    public var wrappedValue: Value

    @inlinable public init(wrappedValue: Value) {
        self.wrappedValue = wrappedValue
    }

    @inlinable public static func == (left: Self, right: Self) -> Bool { true }
    @inlinable public func hash(into hasher: inout Hasher) {}
}

/// Where each key of a part of the configuration was written: `tls.bind[0]` → line 14, column 10.
public struct SourceMap: Sendable {
    private struct Entry: Sendable {
        var key: String
        var line: UInt32
        var column: UInt32
    }

    private var entries: [Entry] = []

    public init() {}

    /// Notes where the value of `key` begins; a key is noted once.
    public mutating func record(_ key: String, line: Int, column: Int) {
        self.entries.append(
            Entry(key: key, line: UInt32(truncatingIfNeeded: line), column: UInt32(truncatingIfNeeded: column)))
    }

    /// Whether a line wrote `key` itself.
    public func contains(_ key: String) -> Bool {
        self.entries.contains { $0.key == key }
    }

    /// Where the value of `key` begins, or that of the nearest key above it; nil where no line wrote any of them.
    public func position(of key: String) -> (line: Int, column: Int)? {
        var key = Substring(key)
        while true {
            if let entry = self.entries.first(where: { $0.key == key }) {
                return (Int(entry.line), Int(entry.column))
            }
            guard let end = key.lastIndex(where: { $0 == "." || $0 == "[" }) else { return nil }
            key = key[..<end]
        }
    }
}
