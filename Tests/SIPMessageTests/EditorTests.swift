import SIPMessage
import TestSupport
import Testing

@Suite struct EditorTests {
    private let routes = [
        "Route: <sip:one.example;lr> , <sip:two.example;lr>,\r\n <sip:three.example;lr>",
        "Route: <sip:four.example;lr>",
    ]

    private func edited(_ bytes: [UInt8], _ body: (inout MessageEditor, Message) -> Void) throws -> [String] {
        let message = try message(bytes)
        var editor = MessageEditor(message)
        body(&editor, message)
        let result = try editor.finish()
        _ = try Message(result)
        return result.lines
    }

    @Test("FWD-02: without edits the copy is the same, octet for octet")
    func unchanged() throws {
        let bytes = invite(adding: routes + ["X-Odd  :\t a\r\n\t b"], body: "")
        let editor = MessageEditor(try message(bytes))
        #expect(try editor.finish() == bytes)
    }

    @Test("FWD-02: edits change what they name and nothing else, in any order of calls")
    func edits() throws {
        let bytes = invite(changing: ["Content-Length": "4"], adding: ["X-A: y", "Supported: a"], body: "body")
        let lines = try edited(bytes) { editor, message in
            editor.append("X-Last", Array("1".utf8))
            editor.replace(message.requestURI, with: Array("sip:bob@10.0.0.1".utf8))
            editor.insertAtTop("Record-Route", Array("<sip:edge;lr>".utf8))
            if let field = message.first(.maxForwards) { editor.replace(field.value, with: Array("69".utf8)) }
            if let field = message.first(named: "x-a") { editor.remove(field) }
            editor.insertAtTop("Via", Array("SIP/2.0/UDP edge".utf8))
            if let field = message.first(.to) {
                editor.insert(before: field, "X-First", Array("a".utf8))
                editor.insert(before: field, "X-Second", Array("b".utf8))
            }
            editor.append("X-Very-Last", Array("2".utf8))
        }
        var expected = inviteLines(
            startLine: "INVITE sip:bob@10.0.0.1 SIP/2.0", changing: ["Max-Forwards": "69", "Content-Length": "4"])
        expected.insert("X-First: a", at: 4)
        expected.insert("X-Second: b", at: 5)
        expected.insert(contentsOf: ["Via: SIP/2.0/UDP edge", "Record-Route: <sip:edge;lr>"], at: 1)
        #expect(lines == expected + ["Supported: a", "X-Last: 1", "X-Very-Last: 2", "", "body"])
    }

    @Test(
        "RT-01: a value leaves its list with its comma, a row with its last value",
        arguments: [
            ([0], ["<sip:two.example;lr>", "<sip:three.example;lr>", "<sip:four.example;lr>"]),
            ([1], ["<sip:one.example;lr>", "<sip:three.example;lr>", "<sip:four.example;lr>"]),
            ([2], ["<sip:one.example;lr>", "<sip:two.example;lr>", "<sip:four.example;lr>"]),
            ([0, 1], ["<sip:three.example;lr>", "<sip:four.example;lr>"]),
            ([1, 2], ["<sip:one.example;lr>", "<sip:four.example;lr>"]),
            ([0, 2], ["<sip:two.example;lr>", "<sip:four.example;lr>"]), ([2, 1, 0], ["<sip:four.example;lr>"]),
            ([3], ["<sip:one.example;lr>", "<sip:two.example;lr>", "<sip:three.example;lr>"]), ([0, 1, 2, 3], []),
            ([1, 1, 3], ["<sip:one.example;lr>", "<sip:three.example;lr>"]),
        ])
    func removeValues(indexes: [Int], expected: [String]) throws {
        let message = try message(invite(adding: routes))
        let values = Array(message.values(of: .route))
        var editor = MessageEditor(message)
        for index in indexes { editor.remove(value: values[index], of: .route) }
        let result = try Message(editor.finish())
        #expect(result.text(.route) == expected)
        #expect(result.checkSyntax() == nil)
        #expect(result.fields.count == 8 + (expected.isEmpty ? 0 : indexes.contains(3) || indexes.count == 3 ? 1 : 2))
    }

    @Test("The larger cut wins, and of two for one range the later")
    func overlaps() throws {
        let bytes = invite(adding: ["X-A: y", "Subject: abc"])
        let lines = try edited(bytes) { editor, message in
            guard let x = message.first(named: "x-a"), let subject = message.first(named: "Subject") else { return }
            editor.replace(x.value, with: [0x31])
            editor.remove(x)
            editor.replace(x.value, with: [0x32])
            editor.replace(subject.value, with: [0x33])
            editor.replace(subject.value, with: [0x34])
            editor.insert([0x35], at: subject.value.start)
        }
        #expect(lines == inviteLines(adding: ["Subject: 54", "", ""]))
    }

    @Test("TRUST-01: all rows of a name go")
    func removeAll() throws {
        let lines = try edited(
            invite(adding: ["P-Asserted-Identity: <sip:a@b>", "X: y", "p-asserted-identity:\r\n <tel:+1>"])
        ) { editor, _ in
            editor.removeAll(.pAssertedIdentity)
            editor.removeAll(.privacy)
        }
        #expect(lines == inviteLines(adding: ["X: y", "", ""]))
    }

    @Test("FRAME-08: Content-Length is added, kept or put right")
    func contentLength() throws {
        for (bytes, expected) in [
            (invite(changing: ["Content-Length": nil], body: "four"), "Content-Length: 4"),
            (invite(), "Content-Length: 0"),
            (invite(changing: ["Content-Length": nil], adding: ["l: 0004"], body: "four"), "l: 0004"),
        ] {
            let lines = try edited(bytes) { editor, _ in editor.setContentLength() }
            #expect(lines.filter { $0.hasPrefix("l:") || $0.hasPrefix("Content-Length") } == [expected])
        }
    }

    @Test(
        "SEC-02: CR, LF and NUL never get into a message by an edit",
        arguments: ["\r", "\n", "\0", "a\r\nRoute: <sip:x>", "a\r\n b"])
    func forbidden(text: String) throws {
        let message = try message(invite())
        let bytes = Array(text.utf8)
        func refuses(_ body: (inout MessageEditor) -> Void) -> Bool {
            var editor = MessageEditor(message)
            editor.append("X-Good", Array("fine".utf8))
            body(&editor)
            editor.append("X-Good", Array("fine".utf8))
            return (try? editor.finish()) == nil
        }
        let to = try #require(message.first(.to))
        #expect(refuses { $0.replace(message.requestURI, with: bytes) })
        #expect(refuses { $0.insertAtTop("X", bytes) })
        #expect(refuses { $0.append("X", bytes) })
        #expect(refuses { $0.insert(before: to, "X", bytes) })
        #expect(refuses { $0.insert(bytes, at: to.value.end) })
        #expect(!refuses { $0.append("X", Array("ok".utf8)) })
        var writer = MessageWriter()
        writer.requestLine(method: "INVITE", uri: Array("sip:a".utf8))
        writer.header("X", bytes)
        #expect((try? writer.finish()) == nil)
        var line = MessageWriter()
        line.requestLine(method: "INVITE", uri: bytes)
        #expect((try? line.finish()) == nil)
        #expect(ResponseWriter.make(status: 200, to: message, toTag: bytes) == nil)
        #expect(ResponseWriter.make(status: 200, to: message, extra: [("Warning", bytes)]) == nil)
    }

    @Test("Rows of another message are copied octet for octet, folds and quoted NULs too")
    func copiedRows() throws {
        let other = try message(invite(adding: ["Reason: Q.850\r\n ;cause=16;text=\"a\\\0b\""]))
        let lines = try edited(invite()) { editor, _ in
            editor.append("X-Before", Array("1".utf8))
            if let reason = other.first(.reason) { editor.append(reason, of: other) }
            editor.append("X-After", Array("2".utf8))
        }
        #expect(
            lines
                == inviteLines(adding: [
                    "X-Before: 1", "Reason: Q.850", " ;cause=16;text=\"a\\\0b\"", "X-After: 2", "", "",
                ]))
    }

    @Test("A range of another message is refused")
    func outOfBounds() throws {
        let short = try message(invite())
        let long = try message(invite(adding: ["X: " + String(repeating: "x", count: 5000)]))
        let field = try #require(long.fields.last)
        #expect(throws: WriteError.self) {
            var editor = MessageEditor(short)
            editor.remove(field)
            return try editor.finish()
        }
        #expect(throws: WriteError.self) {
            var editor = MessageEditor(short)
            editor.remove(value: field.value, of: .route)
            return try editor.finish()
        }
    }

    @Test("Random edits keep every row that they do not name, in order")
    func randomEdits() throws {
        var generator = SeededGenerator(seed: 7)
        let rows = (0..<20).map { "X-\($0): value \($0)" }
        let message = try message(invite(adding: rows))
        for round in 0..<500 {
            var editor = MessageEditor(message)
            var expected: [Int: String] = [:]
            for index in 0..<20 { expected[index] = rows[index] }
            for _ in 0..<Int.random(in: 0..<12, using: &generator) {
                let index = Int.random(in: 0..<20, using: &generator)
                let field = message.fields[8 + index]
                if Bool.random(using: &generator) {
                    editor.remove(field)
                    expected[index] = nil
                } else {
                    editor.replace(field.value, with: Array("new".utf8))
                    if expected[index] != nil { expected[index] = "X-\(index): new" }
                }
            }
            let lines = try editor.finish().lines
            #expect(lines == inviteLines(adding: (0..<20).compactMap { expected[$0] } + ["", ""]), "round \(round)")
        }
    }
}
