/// Edits a received message into the copy that goes out (RFC 3261 §16.6 item 1): what no call names leaves octet for
/// octet, and in its order.
///
/// Calls only note what to do; ``finish()`` makes the copy in one pass. Where calls overlap, the larger cut wins, and of two
/// for the same range the later. The body cannot be edited.
public struct MessageEditor: ~Copyable {
    /// Replaces `start..<end` by a part of `text`; an insertion where both are equal.
    private struct Edit {
        var start: Int
        var end: Int
        var text: Range<Int>
        /// Among insertions at one place, the lower stands first.
        var order: Int

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
    private var topInsertions = 0
    private var error: WriteError?

    public init(_ message: Message) {
        self.message = message
        self.edits.reserveCapacity(12)
        self.text.reserveCapacity(512)
    }

    /// Replaces any bytes of the start line or of a header value.
    public mutating func replace(_ range: ByteRange, with bytes: [UInt8]) {
        self.check(bytes, part: "replacement")
        guard range.end <= self.message.headerSectionEnd else {
            self.fail(.outOfBounds, part: "replacement")
            return
        }
        let start = self.text.count
        self.text.append(contentsOf: bytes)
        self.note(range.start, range.end, textStart: start)
    }

    /// Puts bytes before `offset`, inside the start line or a header value; several calls for one place stand in order.
    public mutating func insert(_ bytes: [UInt8], at offset: Int) {
        self.replace(ByteRange(offset, offset), with: bytes)
    }

    /// Removes a whole row.
    public mutating func remove(_ field: HeaderField) {
        guard field.line.end <= self.message.headerSectionEnd else {
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
        guard field.line.end <= self.message.headerSectionEnd else {
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
        var edits = self.edits
        self.edits = []
        sort(&edits)
        let source = self.message.bytes
        var capacity = source.count
        for edit in edits { capacity &+= edit.text.count }
        var result: [UInt8] = []
        result.reserveCapacity(capacity)
        let sourceBytes = source.span.bytes
        let textBytes = self.text.span.bytes
        var position = 0
        for edit in edits where edit.start >= position {
            SIPMessage.append(sourceBytes, position, edit.start, to: &result)
            SIPMessage.append(textBytes, edit.text.lowerBound, edit.text.upperBound, to: &result)
            position = edit.end
        }
        SIPMessage.append(sourceBytes, position, source.count, to: &result)
        return result
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
    /// Where the first row begins.
    private var top: Int { self.message.startLineEnd }

    /// Where the empty line begins.
    private var bottom: Int { self.message.fields.last?.line.end ?? self.message.startLineEnd }

    private mutating func note(_ start: Int, _ end: Int, textStart: Int, order: Int? = nil) {
        self.edits.append(
            Edit(start: start, end: end, text: textStart..<self.text.count, order: order ?? self.edits.count))
    }

    private mutating func fail(_ problem: WriteError.Problem, part: String) {
        if self.error == nil { self.error = WriteError(problem: problem, part: part) }
    }

    private mutating func check(_ bytes: [UInt8], part: StaticString) {
        if holdsForbiddenByte(bytes) { self.fail(.forbiddenByte, part: part.description) }
    }

    /// Adds `name: value CRLF` to the text; returns where it begins.
    private mutating func appendRow(_ name: StaticString, _ value: [UInt8]) -> Int {
        self.check(value, part: name)
        let start = self.text.count
        self.text.append(contentsOf: name.utf8Bytes)
        self.text.append(.colon)
        self.text.append(.space)
        self.text.append(contentsOf: value)
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
