/// The values of one header name over all rows, in order (RFC 3261 §7.3.1).
///
/// A row of a list header (``HeaderName/isList``) is cut at commas that stand outside quoted strings and angle brackets;
/// any other row is one value. White space around a value is not part of it; a value may be empty.
public struct HeaderValues: Sequence, Sendable {
    let bytes: [UInt8]
    let fields: ContiguousArray<HeaderField>
    let name: HeaderName
    let firstRow: Int

    public struct Iterator: IteratorProtocol {
        private let bytes: [UInt8]
        private let fields: ContiguousArray<HeaderField>
        private let name: HeaderName
        /// The row after the current one.
        private var row: Int
        /// What is left of the current row; nil where it is used up.
        private var rest: ByteRange?

        init(_ values: HeaderValues) {
            self.bytes = values.bytes
            self.fields = values.fields
            self.name = values.name
            self.row = values.firstRow
        }

        public mutating func next() -> ByteRange? {
            if let rest = self.rest {
                let (value, following) = cutValue(self.bytes, rest)
                self.rest = following
                return value
            }
            while self.row < self.fields.count {
                let field = self.fields[self.row]
                self.row &+= 1
                guard field.name == self.name else { continue }
                guard self.name.isList else { return field.value }
                let (value, following) = cutValue(self.bytes, field.value)
                self.rest = following
                return value
            }
            return nil
        }
    }

    public func makeIterator() -> Iterator { Iterator(self) }
}

extension Message {
    /// All values of a name.
    public func values(of name: HeaderName) -> HeaderValues {
        let firstRow = self.index.startOfSearch(name) ?? self.fields.count
        return HeaderValues(bytes: self.bytes, fields: self.fields, name: name, firstRow: firstRow)
    }

    /// The values of one row, cut as ``HeaderValues`` does.
    public func values(in field: HeaderField) -> HeaderValues {
        HeaderValues(bytes: self.bytes, fields: [field], name: field.name, firstRow: 0)
    }

    /// All rows of a name.
    public func rows(of name: HeaderName) -> some Sequence<HeaderField> {
        self.fields[(self.index.startOfSearch(name) ?? self.fields.count)...].lazy.filter { $0.name == name }
    }
}

/// Cuts the first value off a comma-separated list; `following` is nil where there was no comma.
private func cutValue(_ bytes: [UInt8], _ range: ByteRange) -> (value: ByteRange, following: ByteRange?) {
    let span = bytes.span
    let start = skipLWS(span, range.start, range.end)
    var index = start
    var isInBrackets = false
    while index < range.end {
        switch span[index] {
        case .comma where !isInBrackets:
            return (trimmed(span, start, index), ByteRange(index &+ 1, range.end))
        case .quote where !isInBrackets:
            // A string that does not end takes the rest; the gate refuses it.
            index = skipQuotedString(span, index, range.end) ?? range.end
            continue
        case .less:
            isInBrackets = true
        case .greater:
            isInBrackets = false
        default:
            break
        }
        index &+= 1
    }
    return (trimmed(span, start, range.end), nil)
}

private func trimmed(_ span: Span<UInt8>, _ start: Int, _ end: Int) -> ByteRange {
    var end = end
    while end > start, isLWS(span[end &- 1]) { end &-= 1 }
    return ByteRange(start, end)
}
