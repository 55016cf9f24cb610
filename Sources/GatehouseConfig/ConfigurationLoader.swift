public import GatehousePolicy
internal import SIPMessage

/// What came of reading a configuration.
public struct LoadResult: Sendable {
    /// nil where there are errors.
    public var configuration: Configuration?
    /// All of them, sorted by file, line and column.
    public var errors: [ConfigurationError]
    /// What is allowed and probably not meant, sorted alike.
    public var warnings: [ConfigurationError]
    /// The absolute paths of the files that were read: the main one, then those that it includes.
    public var files: [String]
    /// The day that the ends of overrides were compared with, in UTC; nil where the clock is beyond the calendar.
    public var today: CalendarDate?
}

/// Reads a configuration: YAML files in, a ``Configuration`` or all errors out.
///
/// Nothing but these files is read: whether certificates exist and fit is for their own loader to say. The calls block
/// on files, so an event loop must not make them.
public enum ConfigurationLoader {
    /// Reads a file and what it includes.
    ///
    /// - Parameter path: absolute, or from the working directory; messages name files the same way.
    public static func load(path: String) -> LoadResult {
        Load(file: path).run()
    }

    /// Reads a text in place of a file. Relative paths, those of included files too, begin at the folder of `file`.
    public static func load(text: String, file: String = "gatehouse.yaml") -> LoadResult {
        Load(file: file).run(bytes: Array(text.utf8))
    }
}

/// One load, from the main file to the checks of the whole.
struct Load {
    /// As the operator named it.
    let file: String
    /// In UTC.
    var today = Host.today()
    var limitInBytes = ConfigurationFile.limitInBytes

    private var errors: [ConfigurationError] = []
    private var warnings: [ConfigurationError] = []
    private var files: [String] = []

    init(file: String) {
        self.file = file
    }

    /// - Parameter bytes: the main file where it is not to be read.
    consuming func run(bytes: [UInt8]? = nil) -> LoadResult {
        var configuration = self.configuration(bytes)
        if !self.errors.isEmpty { configuration = nil }
        return LoadResult(
            configuration: configuration, errors: self.errors.sortedByPlace(),
            warnings: self.warnings.sortedByPlace(), files: self.files, today: self.today)
    }

    private mutating func configuration(_ bytes: [UInt8]?) -> Configuration? {
        let path = absolutePath(self.file, from: ConfigurationFile.workingDirectory())
        self.files.append(path)
        guard let (root, sources) = self.mainFile(bytes, path: path) else { return nil }
        var domains = root.domains
        for (shown, path, include) in self.includedFiles(root.includes, by: path) {
            if let domain = self.domain(in: shown, path: path, include) { domains.append(domain) }
        }
        let configuration = Configuration(
            edge: root.edge, core: root.core, dns: root.dns, domains: domains.map(\.configuration), file: self.file,
            sources: sources)
        self.check(configuration, domains, root.position)
        return configuration
    }

    private mutating func mainFile(_ bytes: [UInt8]?, path: String) -> (Schema.Root, SourceMap)? {
        let contents: [UInt8]
        do throws(ValueFault) {
            if let bytes {
                contents = bytes
            } else {
                contents = try ConfigurationFile.read(path, limitInBytes: self.limitInBytes)
            }
        } catch {
            self.fail(self.file, .init(line: 0, column: 0), error.problem, cure: error.cure)
            return nil
        }
        let cure = "begin with core and domains; docs/configuration.md has an example"
        guard let node = self.tree(contents, self.file, cureWhereEmpty: cure) else { return nil }
        let directory = folder(of: path)
        var reader = Reader(file: self.file, directory: directory)
        var root = Schema.Root(
            position: node.position,
            edge: EdgeSettings(
                name: Host.name(), secretFile: "", stateDirectory: absolutePath("state", from: directory),
                admin: Endpoint(address: IPAddress(v4: 0x7F00_0001), port: 8061)))
        let (_, sources) = reader.collectingSources { reader in Schema.root.read(node, into: &root, &reader) }
        if root.edge.secretFile.isEmpty { root.edge.secretFile = root.edge.stateDirectory + "/secret" }
        self.take(reader)
        return (root, sources)
    }

    // MARK: Included files

    /// The files that `include` leads to, each once, with the name for messages, the path, and the entry that named it.
    private mutating func includedFiles(
        _ includes: [Schema.Include], by main: String
    ) -> [(shown: String, path: String, include: Schema.Include)] {
        var seen: Set = [main]
        var files: [(shown: String, path: String, include: Schema.Include)] = []
        for include in includes {
            let directory = folder(of: main)
            let matches = ConfigurationFile.matches(include.pattern, in: directory)
            if matches.isEmpty {
                self.warnings.append(
                    ConfigurationError(
                        location: SourceLocation(
                            file: self.file, line: include.position.line, column: include.position.column),
                        key: include.key, problem: "matches no file", text: include.pattern,
                        cure: "add a file there, or remove the entry"))
            }
            for path in matches {
                guard path != main else {
                    self.fail(
                        self.file, include.position, key: include.key, "includes the file that it stands in",
                        text: include.pattern, cure: "keep the domains in a folder of their own: domains/*.yaml")
                    continue
                }
                guard seen.insert(path).inserted else { continue }
                files.append((self.shownName(of: path, beside: directory), path, include))
            }
        }
        return files
    }

    /// Names an included file the way that the main one was named.
    private func shownName(of path: String, beside directory: String) -> String {
        guard !self.file.hasPrefix("/"), path.hasPrefix(directory + "/") else { return path }
        let inner = path.dropFirst(directory.utf8.count + 1)
        guard let slash = self.file.lastIndex(of: "/") else { return String(inner) }
        return String(self.file[...slash] + inner)
    }

    private mutating func domain(
        in shown: String, path: String, _ include: Schema.Include
    ) -> Schema.DomainDraft? {
        self.files.append(path)
        let contents: [UInt8]
        do throws(ValueFault) {
            contents = try ConfigurationFile.read(path, limitInBytes: self.limitInBytes)
        } catch {
            self.fail(self.file, include.position, key: include.key, error.problem, text: shown, cure: error.cure)
            return nil
        }
        guard let node = self.tree(contents, shown, cureWhereEmpty: "write a domain, or remove the file") else {
            return nil
        }
        if let misplaced = node.firstKey(of: ["domains", "include", "edge", "dns"]) {
            self.fail(
                shown, misplaced.position, key: misplaced.key, "is no key of an included file", text: misplaced.key,
                cure: "an included file is one entry of domains: write name, tls and core at its top level")
            return nil
        }
        var reader = Reader(file: shown, directory: folder(of: path))
        let domain = Schema.readDomain(node, &reader)
        self.take(reader)
        return domain
    }

    // MARK: Steps

    private mutating func tree(_ bytes: [UInt8], _ file: String, cureWhereEmpty: String) -> YAMLNode? {
        do throws(YAMLFault) {
            guard let node = try YAMLComposer.compose(bytes), !node.isNull else {
                self.fail(file, .start, "is empty", cure: cureWhereEmpty)
                return nil
            }
            return node
        } catch {
            self.fail(file, error.position, error.problem, text: error.text, cure: error.cure)
            return nil
        }
    }

    private mutating func check(
        _ configuration: Configuration, _ domains: [Schema.DomainDraft], _ start: YAMLPosition
    ) {
        var findings = Findings()
        // A domain that could not be read may be all there was meant to be.
        let isKnown = self.errors.contains { error in
            error.location.file != self.file || error.key.isEmpty
                || ["domains", "include"].contains { error.key.hasPrefix($0) }
        }
        if domains.isEmpty && !isKnown {
            let position = configuration.sources.position(of: "domains") ?? (start.line, start.column)
            findings.fail(
                at: SourceLocation(file: self.file, line: position.line, column: position.column), "domains",
                "there is no domain to serve",
                cure: "add an entry with name, tls and core, or a file of its own under include")
        }
        findings.checkEdge(configuration)
        for domain in domains { findings.check(domain, core: configuration.core, today: self.today) }
        findings.checkNames(domains)
        findings.checkAddresses(configuration, domains)
        findings.checkDefaults(domains)
        self.errors += findings.errors
        self.warnings += findings.warnings
    }

    private mutating func take(_ reader: Reader) {
        self.errors += reader.errors
    }

    private mutating func fail(
        _ file: String, _ position: YAMLPosition, key: String = "", _ problem: String, text: String? = nil, cure: String
    ) {
        self.errors.append(
            ConfigurationError(
                location: SourceLocation(file: file, line: position.line, column: position.column), key: key,
                problem: problem, text: text, cure: cure))
    }
}

extension YAMLNode {
    /// The first key of a mapping that is one of `names`.
    fileprivate func firstKey(of names: Set<String>) -> (key: String, position: YAMLPosition)? {
        guard case .mapping(let entries) = self.content else { return nil }
        return entries.first { names.contains($0.key) }.map { ($0.key, $0.keyPosition) }
    }
}
