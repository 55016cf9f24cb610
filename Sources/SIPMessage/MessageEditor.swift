/// Edits a received message into the copy that goes out (RFC 3261 §16.6 item 1): what no call names leaves octet for
/// octet, and in its order.
///
/// Calls only note what to do; ``finish()`` makes the copy in one pass. Where calls overlap, the larger cut wins, and of two
/// for the same range the later. The body cannot be edited.
public struct MessageEditor: ~Copyable {
    /// Replaces `start..<end` by a part of `text`; an insertion where both are equal.
    private struct Edit {
        var start: UInt32
        var end: UInt32
        var textStart: UInt32
        var textEnd: UInt32
        /// Among insertions at one place, the lower stands first.
        var order: Int32

        /// Insertions stand before what is cut at their place; a larger cut hides a smaller one, a later an earlier.
        func precedes(_ other: Edit) -> Bool {
            if self.start != other.start { return self.start < other.start }
            let isInsertion = self.start == self.end
            let otherIsInsertion = other.start == other.end
            if isInsertion != otherIsInsertion { return isInsertion }
            if isInsertion { return self.order < other.order }
            return self.end != other.end ? self.end > other.end : self.order > other.order
        }
    }

    let message: Message
    private var edits: [Edit] = []
    /// All bytes that the edits put in.
    private var text: [UInt8] = []
    /// Values to cut out of lists, with the rows that hold them.
    private var removedValues: [(row: Int, value: ByteRange)] = []
    private var topInsertions: Int32 = 0
    /// The CRs, and as many LFs, that `text` rightly has: one pair for each row.
    private var lineEnds = 0
    /// The parts of `text` that were copied from a message and are not looked at again.
    private var verbatim: [Range<Int>] = []
    private var error: WriteError?
    /// Where the first row begins.
    private let top: Int
    /// Where the empty line begins.
    private let bottom: Int
    private let headerSectionEnd: Int

    public init(_ message: Message) {
        self.message = message
        self.top = message.startLineEnd
        self.bottom = message.storage.fields.last?.line.end ?? message.startLineEnd
        self.headerSectionEnd = message.headerSectionEnd
        self.edits.reserveCapacity(16)
        self.text.reserveCapacity(512)
    }

    /// Replaces any bytes of the start line or of a header value.
    public mutating func replace(_ range: ByteRange, with bytes: [UInt8]) {
        guard range.end <= self.headerSectionEnd else {
            self.fail(.outOfBounds, part: "replacement")
            return
        }
        let start = self.text.count
        appendAll(bytes, to: &self.text)
        self.note(range.start, range.end, textStart: start)
    }

    /// Puts bytes before `offset`, inside the start line or a header value; several calls for one place stand in order.
    public mutating func insert(_ bytes: [UInt8], at offset: Int) {
        self.replace(ByteRange(offset, offset), with: bytes)
    }

    /// Removes a whole row.
    public mutating func remove(_ field: HeaderField) {
        guard field.line.end <= self.headerSectionEnd else {
            self.fail(.outOfBounds, part: "row")
            return
        }
        self.note(field.line.start, field.line.end, textStart: self.text.count)
    }

    /// Removes every row of a name.
    public mutating func removeAll(_ name: HeaderName) {
        guard self.message.first(name) != nil else { return }
        for field in self.message.fields where field.name == name { self.remove(field) }
    }

    /// Removes one value of a comma-separated list, as ``Message/values(of:)`` gives it, with the comma that it no longer
    /// needs; the whole row where no value is left.
    public mutating func remove(value: ByteRange, of name: HeaderName) {
        let fields = self.message.fields
        guard let row = fields.indices.first(where: { fields[$0].name == name && fields[$0].value.contains(value) })
        else {
            self.fail(.outOfBounds, part: "value of \(name.text)")
            return
        }
        self.removedValues.append((row, value))
    }

    /// Puts a row above all others; of several calls the last stands topmost.
    public mutating func insertAtTop(_ name: StaticString, _ value: [UInt8]) {
        self.topInsertions &-= 1
        let start = self.appendRow(name, value)
        self.note(self.top, self.top, textStart: start, order: self.topInsertions)
    }

    /// Puts a row before another; several calls for one place stand in order.
    public mutating func insert(before field: HeaderField, _ name: StaticString, _ value: [UInt8]) {
        guard field.line.end <= self.headerSectionEnd else {
            self.fail(.outOfBounds, part: name.description)
            return
        }
        let start = self.appendRow(name, value)
        self.note(field.line.start, field.line.start, textStart: start)
    }

    /// Puts a row at the end of the header section; several calls stand in order.
    public mutating func append(_ name: StaticString, _ value: [UInt8]) {
        let start = self.appendRow(name, value)
        self.note(self.bottom, self.bottom, textStart: start)
    }

    /// Copies a row of another message to the end of the header section, octet for octet.
    public mutating func append(_ field: HeaderField, of other: Message) {
        let start = self.text.count
        copyRow(field, of: other, to: &self.text)
        // What was received has passed the parser: a fold is legal, and so is a NUL in a quoted pair.
        self.verbatim.append(start..<self.text.count)
        self.note(self.bottom, self.bottom, textStart: start)
    }

    /// Makes Content-Length say how long the body is (RFC 3261 §18.3, §20.14), adding the row where there is none.
    public mutating func setContentLength() {
        let count = self.message.body.count
        guard let field = self.message.first(.contentLength) else {
            self.append("Content-Length", decimal(count))
            return
        }
        if self.message.contentLength != count { self.replace(field.value, with: decimal(count)) }
    }

    /// Makes the copy.
    ///
    /// - Throws: the first thing that a call asked for and that must not be.
    public consuming func finish() throws(WriteError) -> [UInt8] {
        if !self.removedValues.isEmpty { self.cutValues() }
        if let error = self.error { throw error }
        guard !self.holdsForbiddenText() else { throw WriteError(problem: .forbiddenByte, part: "an edit") }
        var edits = self.edits
        self.edits = []
        sort(&edits)
        let source = self.message.bytes
        var count = source.count
        var position = 0
        for edit in edits where Int(edit.start) >= position {
            count &+= Int(edit.textEnd &- edit.textStart) &- Int(edit.end &- edit.start)
            position = Int(edit.end)
        }
        let sourceBytes = source.span.bytes
        let textBytes = self.text.span.bytes
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, initializedCount in
            var writer = PieceWriter(UnsafeMutableRawBufferPointer(buffer))
            var position = 0
            for edit in edits where Int(edit.start) >= position {
                writer.write(sourceBytes, position, Int(edit.start))
                writer.write(textBytes, Int(edit.textStart), Int(edit.textEnd))
                position = Int(edit.end)
            }
            writer.write(sourceBytes, position, sourceBytes.byteCount)
            initializedCount = writer.count
        }
    }

    /// Whether the text holds a CR, LF or NUL beyond the line ends that this editor wrote.
    private func holdsForbiddenText() -> Bool {
        let span = self.text.span.bytes
        var position = 0
        var found = ControlCount()
        for part in self.verbatim {
            found.add(span.countControls(position, part.lowerBound))
            position = part.upperBound
        }
        found.add(span.countControls(position, span.byteCount))
        return found.hasNull || found.carriageReturns != self.lineEnds || found.lineFeeds != self.lineEnds
    }

    /// There are few edits, and they come nearly in order.
    private func sort(_ edits: inout [Edit]) {
        var next = 1
        while next < edits.count {
            let edit = edits[next]
            var position = next
            while position > 0, edit.precedes(edits[position &- 1]) {
                edits[position] = edits[position &- 1]
                position &-= 1
            }
            edits[position] = edit
            next &+= 1
        }
    }
}

extension MessageEditor {
    private mutating func note(_ start: Int, _ end: Int, textStart: Int, order: Int32? = nil) {
        // Offsets of a message and of what is put into it are far below 2^32.
        let edit = Edit(
            start: UInt32(truncatingIfNeeded: start), end: UInt32(truncatingIfNeeded: end),
            textStart: UInt32(truncatingIfNeeded: textStart), textEnd: UInt32(truncatingIfNeeded: self.text.count),
            order: order ?? Int32(truncatingIfNeeded: self.edits.count))
        self.edits.append(edit)
    }

    private mutating func fail(_ problem: WriteError.Problem, part: String) {
        if self.error == nil { self.error = WriteError(problem: problem, part: part) }
    }

    /// Adds `name: value CRLF` to the text; returns where it begins.
    private mutating func appendRow(_ name: StaticString, _ value: [UInt8]) -> Int {
        let start = self.text.count
        self.lineEnds &+= 1
        self.text.append(contentsOf: name.utf8Bytes)
        self.text.append(.colon)
        self.text.append(.space)
        appendAll(value, to: &self.text)
        self.text.append(.cr)
        self.text.append(.lf)
        return start
    }

    /// Turns the values to remove into cuts, row by row.
    private mutating func cutValues() {
        let removed = self.removedValues
        for row in Set(removed.map(\.row)) {
            let field = self.message.fields[row]
            let values = Array(self.message.values(in: field))
            let isRemoved = values.map { value in removed.contains { $0.row == row && $0.value == value } }
            if isRemoved.allSatisfy({ $0 }) {
                self.remove(field)
                continue
            }
            var index = 0
            while index < values.count {
                guard isRemoved[index] else {
                    index += 1
                    continue
                }
                let first = index
                while index < values.count, isRemoved[index] { index += 1 }
                // Up to the next value that stays, else from the end of the last one that does.
                let start = index < values.count ? values[first].start : values[first - 1].end
                let end = index < values.count ? values[index].start : values[index - 1].end
                self.note(start, end, textStart: self.text.count)
            }
        }
    }
}

/// A number in decimal.
func decimal(_ value: Int) -> [UInt8] {
    var text: [UInt8] = []
    appendDecimal(UInt64(max(0, value)), to: &text)
    return text
}

/// Copies a row octet for octet with its line end. Of a message that was refused for CR, LF or NUL in the wrong place, each
/// such byte becomes a space, so that an answer never repeats what may part it.
func copyRow(_ field: HeaderField, of message: Message, to bytes: inout [UInt8]) {
    guard message.isRagged else {
        append(message.bytes.span.bytes, field.line.start, field.line.end, to: &bytes)
        return
    }
    for byte in message.bytes[field.line.start..<field.value.end] {
        bytes.append(byte == .cr || byte == .lf || byte == 0 ? .space : byte)
    }
    bytes.append(.cr)
    bytes.append(.lf)
}
