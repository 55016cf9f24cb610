internal import GatehousePolicy

/// Walks the tree of one file by the schema: it knows where it is, and collects what is wrong and where keys stand.
struct Reader {
    private enum Step {
        case key(String)
        case index(Int)
    }

    /// As the operator named it.
    let file: String
    /// The file's folder, absolute: relative paths begin here.
    let directory: String

    private(set) var errors: [ConfigurationError] = []
    private var path: [Step] = []
    /// How much of the path the source map leaves out.
    private var sourceRoot = 0
    private var sources = SourceMap()

    init(file: String, directory: String) {
        self.file = file
        self.directory = directory
    }

    /// The path of the value being read, from the top of the file: `domains[0].tls.bind[1]`.
    var key: String { Reader.text(self.path[...]) }

    func location(_ position: YAMLPosition) -> SourceLocation {
        SourceLocation(file: self.file, line: position.line, column: position.column)
    }

    // MARK: Going down

    mutating func descend<Result>(
        into key: String, at position: YAMLPosition, _ body: (inout Reader) -> Result
    ) -> Result {
        self.descend(.key(key), at: position, body)
    }

    mutating func descend<Result>(
        into index: Int, at position: YAMLPosition, _ body: (inout Reader) -> Result
    ) -> Result {
        self.descend(.index(index), at: position, body)
    }

    private mutating func descend<Result>(
        _ step: Step, at position: YAMLPosition, _ body: (inout Reader) -> Result
    ) -> Result {
        self.path.append(step)
        self.sources.record(
            Reader.text(self.path[self.sourceRoot...]), line: position.line, column: position.column)
        defer { self.path.removeLast() }
        return body(&self)
    }

    /// Reads a part that has a source map of its own, whose keys begin below the present path.
    mutating func collectingSources<Result>(
        _ body: (inout Reader) -> Result
    ) -> (result: Result, sources: SourceMap) {
        let (outerSources, outerRoot) = (self.sources, self.sourceRoot)
        self.sources = SourceMap()
        self.sourceRoot = self.path.count
        let result = body(&self)
        let sources = self.sources
        (self.sources, self.sourceRoot) = (outerSources, outerRoot)
        return (result, sources)
    }

    // MARK: Findings

    /// - Parameter key: below the present path; empty for that itself.
    mutating func fail(
        at position: YAMLPosition, key: String = "", _ problem: String, text: String? = nil, cure: String
    ) {
        let path = self.key
        let full = key.isEmpty || path.isEmpty ? path + key : "\(path).\(key)"
        self.errors.append(
            ConfigurationError(
                location: self.location(position), key: full, problem: problem, text: text, cure: cure))
    }

    private static func text(_ path: ArraySlice<Step>) -> String {
        var text = ""
        for step in path {
            switch step {
            case .key(let key):
                if !text.isEmpty { text += "." }
                text += key
            case .index(let index): text += "[\(index)]"
            }
        }
        return text
    }
}
