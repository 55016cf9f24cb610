import GatehousePolicy
import SIPMessage
import Testing

@testable import GatehouseConfig

/// Each `Cases/x.yaml` is loaded, and what comes of it is compared with `Cases/x.expected`: the snapshot, or the errors as
/// they are printed, and the warnings. With `UPDATE_EXPECTED=1` in the environment the files are written; read the diff.
///
/// It is 24 November 2026.
struct GoldenTests {
    static let folder = TestFiles.besideTests("Cases")
    static let cases = TestFiles.names(in: folder).filter { $0.hasSuffix(".yaml") }

    @Test("CONFIG: a file gives its snapshot, or all of its errors", arguments: cases)
    func loads(name: String) throws {
        let path = "\(Self.folder)/\(name)"
        var load = Load(file: path)
        load.today = CalendarDate(year: 2026, month: 11, day: 24)
        let printed = describe(load.run()).replacing(Self.folder + "/", with: "")

        let expectedPath = path.replacing(".yaml", with: ".expected")
        if TestFiles.isUpdating { TestFiles.write(printed, to: expectedPath) }
        let expected = TestFiles.read(expectedPath) ?? ""
        #expect(printed == expected, "UPDATE_EXPECTED=1 writes what came out; read the diff")
    }

    @Test("CONFIG: each expected outcome has its file")
    func hasNoLeftovers() {
        let outcomes = TestFiles.names(in: Self.folder).filter { $0.hasSuffix(".expected") }
        #expect(outcomes.map { $0.replacing(".expected", with: ".yaml") } == Self.cases)
        #expect(Self.cases.count >= 10)
    }

    private func describe(_ result: LoadResult) -> String {
        #expect((result.configuration == nil) == !result.errors.isEmpty)
        var lines = result.errors.map { "\($0)" }
        if let configuration = result.configuration { lines += SnapshotText.lines(of: configuration) }
        lines += result.warnings.map { "warning: \($0)" }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// A configuration as lines of `path = value`, by reflection: a new property shows up by itself.
enum SnapshotText {
    static func lines(of configuration: Configuration) -> [String] {
        var lines: [String] = []
        append(configuration, at: "", to: &lines)
        return lines
    }

    private static func append(_ value: Any, at path: String, to lines: inout [String]) {
        if let text = leaf(value) {
            if !text.isEmpty { lines.append("\(path) = \(text)") }
            return
        }
        let mirror = Mirror(reflecting: value)
        switch mirror.displayStyle {
        case .optional:
            if let child = mirror.children.first {
                append(child.value, at: path, to: &lines)
            } else {
                lines.append("\(path) = none")
            }
        case .collection:
            if mirror.children.isEmpty { lines.append("\(path) = []") }
            for (index, child) in mirror.children.enumerated() {
                append(child.value, at: "\(path)[\(index)]", to: &lines)
            }
        default:
            guard !mirror.children.isEmpty else {
                lines.append("\(path) = \(value)")
                return
            }
            for child in mirror.children {
                let label = child.label ?? "?"
                append(child.value, at: path.isEmpty ? label : "\(path).\(label)", to: &lines)
            }
        }
    }

    private static func leaf(_ value: Any) -> String? {
        switch value {
        case let text as String: "\"\(text)\""
        case let duration as Duration: duration.text
        case let endpoint as Endpoint: endpoint.description
        case let network as Network: network.description
        case let target as CoreTarget: "\(target) from line \(target.location.line)"
        case let date as CalendarDate: date.description
        case let location as NotCompared<GatehousePolicy.SourceLocation>:
            "\(location.wrappedValue.line):\(location.wrappedValue.column)"
        case is NotCompared<SourceMap>: ""
        case let file as NotCompared<String>: "\"\(file.wrappedValue)\""
        default: nil
        }
    }
}
