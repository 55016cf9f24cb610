private import CYAML

/// Where something stands in a file; both count from 1, the column in characters.
struct YAMLPosition: Hashable, Comparable, Sendable {
    var line: Int
    var column: Int

    static let start = YAMLPosition(line: 1, column: 1)

    static func < (left: YAMLPosition, right: YAMLPosition) -> Bool {
        (left.line, left.column) < (right.line, right.column)
    }
}

/// Why a text is not a YAML document that we take, and where. Nothing after it was read.
struct YAMLFault: Error, Equatable {
    var position: YAMLPosition
    var problem: String
    /// The text that is wrong, where it is known.
    var text: String?
    var cure: String
}

/// A step of a YAML document as libyaml reports it.
enum YAMLEvent {
    case documentStart
    case documentEnd
    case streamEnd
    case alias(name: String)
    case scalar(text: String, isPlain: Bool, anchor: String?, tag: String?)
    case sequenceStart(anchor: String?, tag: String?)
    case sequenceEnd
    case mappingStart(anchor: String?, tag: String?)
    case mappingEnd
}

/// Turns bytes into YAML events: the owner of libyaml's parser, and the one place where libyaml is called.
///
/// libyaml reads UTF-8, or UTF-16 with a byte order mark, refuses control characters, and does not recurse.
struct YAMLEvents: ~Copyable {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    /// What the parser reads from; it does not copy.
    private let input: UnsafeMutableBufferPointer<UInt8>

    /// - Throws: where libyaml gets no memory.
    init(_ bytes: [UInt8]) throws(YAMLFault) {
        let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
        parser.initialize(to: yaml_parser_t())
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            throw YAMLFault(
                position: .start, problem: "there is no memory to read the file", text: nil, cure: "free some")
        }
        self.parser = parser
        self.input = .allocate(capacity: bytes.count)
        _ = self.input.initialize(fromContentsOf: bytes)
        yaml_parser_set_input_string(parser, self.input.baseAddress, bytes.count)
    }

    deinit {
        yaml_parser_delete(self.parser)
        self.parser.deallocate()
        self.input.deallocate()
    }

    /// The next event and where it begins. After ``YAMLEvent/streamEnd`` or an error there is none to ask for.
    mutating func next() throws(YAMLFault) -> (event: YAMLEvent, position: YAMLPosition) {
        while true {
            var event = yaml_event_t()
            guard yaml_parser_parse(self.parser, &event) == 1 else { throw self.fault() }
            defer { yaml_event_delete(&event) }
            if let translated = YAMLEvents.translate(event) {
                return (translated, YAMLPosition(event.start_mark))
            }
        }
    }

    /// nil for what carries nothing: the start of the stream.
    private static func translate(_ event: yaml_event_t) -> YAMLEvent? {
        switch event.type {
        case YAML_DOCUMENT_START_EVENT: return .documentStart
        case YAML_DOCUMENT_END_EVENT: return .documentEnd
        case YAML_ALIAS_EVENT: return .alias(name: text(event.data.alias.anchor) ?? "")
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            return .scalar(
                text: String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self),
                isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE, anchor: text(scalar.anchor), tag: text(scalar.tag))
        case YAML_SEQUENCE_START_EVENT:
            let sequence = event.data.sequence_start
            return .sequenceStart(anchor: text(sequence.anchor), tag: text(sequence.tag))
        case YAML_SEQUENCE_END_EVENT: return .sequenceEnd
        case YAML_MAPPING_START_EVENT:
            let mapping = event.data.mapping_start
            return .mappingStart(anchor: text(mapping.anchor), tag: text(mapping.tag))
        case YAML_MAPPING_END_EVENT: return .mappingEnd
        case YAML_STREAM_START_EVENT: return nil
        default: return .streamEnd  // also libyaml's "no event", which it gives after the end
        }
    }

    private static func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        pointer.map { String(cString: $0) }
    }

    /// What libyaml found wrong, in its words and ours.
    private func fault() -> YAMLFault {
        let parser = self.parser.pointee
        var problem = parser.problem.map { String(cString: $0) } ?? "libyaml failed"
        var position = YAMLPosition(parser.problem_mark)
        switch parser.error {
        case YAML_MEMORY_ERROR:
            return YAMLFault(position: .start, problem: "there is no memory to read the file", cure: "free some")
        case YAML_READER_ERROR:
            // libyaml decodes ahead of its mark, so the place follows from the offset alone.
            position = self.position(ofByte: parser.problem_offset)
            return YAMLFault(
                position: position, problem: "not text: \(problem)",
                cure: "save the file as UTF-8 without control characters")
        default: break
        }
        if let context = parser.context { problem += " " + String(cString: context) }
        if parser.context_mark.line != parser.problem_mark.line, parser.context != nil {
            problem += " that begins at line \(parser.context_mark.line + 1)"
        }
        return YAMLFault(position: position, problem: "not valid YAML: \(problem)", cure: YAMLEvents.cure(for: problem))
    }

    private static func cure(for problem: String) -> String {
        let cures = [
            ("cannot start any token", "indent with spaces, and quote a value that begins with @, ` or %"),
            (
                "mapping values are not allowed",
                "check the indentation, and quote a value that holds a colon and a space"
            ),
            ("could not find expected ':'", "check the indentation, and put a colon after the key"),
            ("did not find expected key", "give the keys of one mapping the same indentation"),
            ("did not find expected '-'", "give the entries of one list the same indentation"),
            ("did not find expected ',' or", "close the bracket, and put commas between the entries"),
            ("unexpected end of stream", "close the quote or bracket"),
            ("found undefined tag handle", "quote a value that begins with an exclamation mark"),
        ]
        return cures.first { problem.contains($0.0) }?.1 ?? "check the indentation and quotes here"
    }

    private func position(ofByte offset: Int) -> YAMLPosition {
        var position = YAMLPosition.start
        for byte in self.input.prefix(offset) {
            if byte == UInt8(ascii: "\n") {
                position = YAMLPosition(line: position.line + 1, column: 1)
            } else if byte & 0xC0 != 0x80 {  // not inside a character
                position.column += 1
            }
        }
        return position
    }
}

extension YAMLPosition {
    fileprivate init(_ mark: yaml_mark_t) {
        self.init(line: mark.line + 1, column: mark.column + 1)
    }
}
