import Testing

@testable import GatehouseConfig

struct YAMLTests {
    private func fault(_ text: String, limits: YAMLLimits = YAMLLimits()) -> YAMLFault? {
        do throws(YAMLFault) {
            _ = try YAMLComposer.compose(Array(text.utf8), limits: limits)
            return nil
        } catch {
            return error
        }
    }

    @Test("CONFIG: nodes know their line and column, in characters")
    func positions() throws {
        let node = try #require(try YAMLComposer.compose(Array("é: [ö, {ü: \"x\"}]\nb:\n  - c\n".utf8)))
        guard case .mapping(let entries) = node.content, case .sequence(let list) = entries[0].value.content,
            case .mapping(let inner) = list[1].content, case .sequence(let second) = entries[1].value.content
        else {
            Issue.record("\(node)")
            return
        }
        #expect(entries[0].keyPosition == YAMLPosition(line: 1, column: 1))
        #expect(list[0].position == YAMLPosition(line: 1, column: 5))
        #expect(inner[0].value.position == YAMLPosition(line: 1, column: 12))
        #expect(entries[1].keyPosition == YAMLPosition(line: 2, column: 1))
        #expect(second[0].position == YAMLPosition(line: 3, column: 5))
    }

    @Test("CONFIG: a document of white space and comments is none", arguments: ["", " ", "# x\n", "\n\n", "\u{FEFF}"])
    func empty(text: String) throws {
        #expect(try YAMLComposer.compose(Array(text.utf8)) == nil)
    }

    @Test("CONFIG: a byte order mark and UTF-16 are taken")
    func encodings() throws {
        #expect(try YAMLComposer.compose(Array("\u{FEFF}a: b".utf8))?.kindName == "a mapping")
        var utf16: [UInt8] = [0xFF, 0xFE]
        for unit in "a: b".utf16 { utf16 += [UInt8(unit & 0xFF), UInt8(unit >> 8)] }
        #expect(try YAMLComposer.compose(utf16)?.kindName == "a mapping")
    }

    @Test("CONFIG: nesting has a limit", arguments: [("[", "]"), ("{a: ", "}"), ("[[{a: ", "}]]")])
    func depth(open: String, close: String) {
        let levels = open.filter { $0 != " " && $0 != "a" && $0 != ":" }.count
        func nested(_ depth: Int) -> String {
            String(repeating: open, count: depth / levels) + "x" + String(repeating: close, count: depth / levels)
        }
        let allowed = 32 / levels * levels
        #expect(fault(nested(allowed)) == nil)
        #expect(fault(nested(allowed + levels))?.problem == "nested more than 32 levels deep")
        #expect(fault(String(repeating: open, count: 100_000))?.problem == "nested more than 32 levels deep")
    }

    @Test("CONFIG: aliases cannot make a small file a large tree")
    func billionLaughs() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...12 {
            let alias = "*a\(level - 1)"
            text += "a\(level): &a\(level) [\(Array(repeating: alias, count: 10).joined(separator: ", "))]\n"
        }
        let fault = fault(text)
        #expect(fault?.problem == "aliases repeat more than 1000000 values")
        #expect(fault.map { $0.position.line } == 6)
    }

    @Test("CONFIG: aliased nodes are counted to the limit, and not beyond")
    func aliasLimit() {
        let limits = YAMLLimits(depth: 32, aliasedNodes: 9)
        #expect(fault("a: &a [x, y]\nb: [*a, *a, *a]", limits: limits) == nil)
        #expect(fault("a: &a [x, y]\nb: [*a, *a, *a, *a]", limits: limits)?.text == "*a")
        #expect(fault("a: &a {x: y}\nb: {<<: *a}\nc: {<<: *a}\nd: {<<: *a}", limits: limits) == nil)
        #expect(fault("a: &a {x: y}\nb: {<<: [*a, *a]}\nc: {<<: [*a, *a]}", limits: limits) != nil)
    }

    @Test("CONFIG: what is written beats what is merged, and an earlier merged mapping a later one")
    func merges() throws {
        let text = "p: &p {a: 1, b: 1}\nq: &q {b: 2, c: 2}\nr: {<<: [*p, *q], a: 0, d: 0}\n"
        let node = try #require(try YAMLComposer.compose(Array(text.utf8)))
        guard case .mapping(let entries) = node.content, case .mapping(let merged) = entries[2].value.content else {
            Issue.record("\(node)")
            return
        }
        #expect(merged.map { "\($0.key)=\($0.value.text ?? "")" } == ["a=0", "d=0", "b=1", "c=2"])
    }

    @Test("CONFIG: a quoted << is an ordinary key")
    func quotedMergeKey() throws {
        let node = try #require(try YAMLComposer.compose(Array("\"<<\": x".utf8)))
        guard case .mapping(let entries) = node.content else { return }
        #expect(entries.map(\.key) == ["<<"])
    }

    @Test("CONFIG: an anchor may be defined anew, and counts from there")
    func redefinedAnchor() throws {
        let node = try #require(try YAMLComposer.compose(Array("[&a x, *a, &a y, *a]".utf8)))
        guard case .sequence(let list) = node.content else { return }
        #expect(list.map(\.text) == ["x", "x", "y", "y"])
    }
}
