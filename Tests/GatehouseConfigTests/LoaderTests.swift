import GatehousePolicy
import Glibc
import Testing

@testable import GatehouseConfig

struct LoaderTests {
    private static let core = "core: { bind: [udp:10.0.0.2:5060] }\n"

    private static func domain(_ name: String) -> String {
        """
        name: \(name)
        tls: { bind: ["203.0.113.10:5061"], certificate: a.pem, private_key: ../a.key }
        core: { targets: [udp:10.0.0.10:5060] }

        """
    }

    @Test("CONFIG: the files that run are right", arguments: [TestFiles.repository + "/config/gatehouse.yaml"])
    func repositoryConfiguration(path: String) throws {
        let result = ConfigurationLoader.load(path: path)
        #expect(result.errors == [])
        #expect(result.warnings == [])
        let configuration = try #require(result.configuration)
        let names = TestFiles.names(in: folder(of: path) + "/domains")
        #expect(!names.isEmpty)
        #expect(configuration.domains.map { $0.name + ".yaml" } == names)
        #expect(result.files == [path] + names.map { "\(folder(of: path))/domains/\($0)" })
    }

    @Test("CONFIG: paths begin at the file that they stand in, and the secret at the state")
    func relativePaths() throws {
        try TestFiles.withFolder([
            "main.yaml": Self.core + "edge: { state_dir: st }\ninclude: [sub/*.yaml]\n",
            "sub/a.yaml": Self.domain("a.example"),
        ]) { folder in
            let configuration = try #require(ConfigurationLoader.load(path: folder + "/main.yaml").configuration)
            #expect(configuration.edge.stateDirectory == folder + "/st")
            #expect(configuration.edge.secretFile == folder + "/st/secret")
            let pair = configuration.domains[0].tls?.certificates.first
            #expect(pair?.certificate == folder + "/sub/a.pem")
            #expect(pair?.privateKey == folder + "/sub/../a.key")
        }
    }

    @Test("CONFIG: an include keeps its order by name, whatever characters its folder has")
    func includeOrder() throws {
        let names = ["b", "a", "Z", "10", "9"]
        var files = ["x[1]*?\\y/main.yaml": Self.core + "include: [d/*.yaml]\n"]
        for name in names { files["x[1]*?\\y/d/\(name).yaml"] = Self.domain("\(name).example") }
        try TestFiles.withFolder(files) { folder in
            let result = ConfigurationLoader.load(path: folder + "/x[1]*?\\y/main.yaml")
            #expect(result.errors == [])
            let configuration = try #require(result.configuration)
            #expect(
                configuration.domains.map(\.name) == ["10.example", "9.example", "z.example", "a.example", "b.example"])
        }
    }

    @Test("CONFIG: every file with errors is named, as the operator names files")
    func errorsOfManyFiles() {
        TestFiles.withFolder([
            "main.yaml": "cor: 1\ninclude: [d/*.yaml]\n", "d/a.yaml": "nam: x\n", "d/b.yaml": "a: [\n",
            "d/c.yaml": Self.domain("c.example") + "udp: { bind: [x] }\n",
        ]) { folder in
            let files = Set(ConfigurationLoader.load(path: folder + "/main.yaml").errors.map(\.location.file))
            #expect(files == Set(["main.yaml", "d/a.yaml", "d/b.yaml", "d/c.yaml"].map { "\(folder)/\($0)" }))
        }
        // A relative name stays relative: the text stands in for the file, whose folder is the working one.
        let result = ConfigurationLoader.load(text: "include: [nothing.yaml]\ncore: {}\n", file: "sub/main.yaml")
        #expect(result.errors.allSatisfy { $0.location.file == "sub/main.yaml" })
        #expect(result.errors.contains { $0.text == "sub/nothing.yaml" })
    }

    @Test("CONFIG: a file that can't be read is an error with its reason")
    func unreadable() {
        TestFiles.withFolder(["folder/x": "", "large.yaml": String(repeating: "#", count: 2000)]) { folder in
            func problem(_ name: String, limit: Int = 1000) -> String? {
                var load = Load(file: "\(folder)/\(name)")
                load.limitInBytes = limit
                let result = load.run()
                #expect(result.configuration == nil && result.errors.count == 1)
                #expect(result.errors.first?.location.file == "\(folder)/\(name)")
                return result.errors.first?.problem
            }
            #expect(problem("missing.yaml") == "can't be read: No such file or directory")
            #expect(problem("folder") == "is a directory")
            #expect(problem("large.yaml") == "is larger than 1000B")
            #expect(problem("large.yaml", limit: 2000) == "is empty")
            #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
            #expect(problem("pipe") == "is no regular file")
            if geteuid() != 0 {
                #expect(chmod("\(folder)/large.yaml", 0) == 0)
                #expect(problem("large.yaml") == "can't be read: Permission denied")
            }
        }
    }

    @Test("CONFIG: the line that decided can be named")
    func locations() throws {
        let text = """
            core:
              bind: [udp:10.0.0.2:5060]
            domains:
              - name: a.example
                aliases:
                  - b.example
                tls:
                  bind: ["203.0.113.10:5061"]
                  certificate: a.pem
                  private_key: a.key
                core: { targets: [udp:10.0.0.10:5060] }
                security:
                  protect: all
            """
        let configuration = try #require(ConfigurationLoader.load(text: text, file: "x.yaml").configuration)
        let domain = configuration.domains[0]
        #expect(domain.location(of: "security.protect").description == "x.yaml:13:16")
        #expect(domain.location(of: "security.untagged").description == "x.yaml:13:7")
        #expect(domain.location(of: "limits.calls").description == "x.yaml:4:5")
        #expect(domain.location(of: "aliases[0]").description == "x.yaml:6:9")
        #expect(domain.core.targets[0].location.description == "x.yaml:11:23")
        #expect(configuration.location(of: "core.bind[0]").description == "x.yaml:2:10")
        #expect(configuration.location(of: "edge.drain").description == "x.yaml")
    }

    @Test("CONFIG: two files that say the same are equal, wherever their lines stand")
    func equality() throws {
        let text =
            Self.core + "domains: [{ \(Self.domain("a.example").split(separator: "\n").joined(separator: ", ")) }]"
        let first = try #require(ConfigurationLoader.load(text: text).configuration)
        let moved = try #require(ConfigurationLoader.load(text: "# moved\n\n" + text).configuration)
        let other = try #require(
            ConfigurationLoader.load(text: text.replacing("10.0.0.10", with: "10.0.0.11")).configuration)
        #expect(first == moved)
        #expect(Set(first.domains[0].core.targets) == Set(moved.domains[0].core.targets))
        #expect(first != other)
    }

    @Test("CONFIG: thousands of domains load, and one name too many among them is found")
    func manyDomains() throws {
        func text(_ names: [String]) -> String {
            Self.core + "domains:\n"
                + names.map { name in
                    "- " + Self.domain(name).split(separator: "\n").joined(separator: "\n  ") + "\n"
                }.joined()
        }
        let names = (0..<2000).map { "d\($0).example" }
        let configuration = try #require(ConfigurationLoader.load(text: text(names)).configuration)
        #expect(configuration.domains.map(\.name) == names)
        let errors = ConfigurationLoader.load(text: text(names + ["d7.example"])).errors
        #expect(errors.map(\.key) == ["domains[2000].name"])
    }
}
