/// Cuts a start line and header section into rows: one pass, every line touched once (RFC 3261 §7).
extension Head {
    enum Outcome {
        case complete
        /// The empty line has not come yet.
        case incomplete
        /// The first line is no SIP start line, so there is nobody to answer.
        case notSIP
    }

    /// How lines may end. A section that ends its lines otherwise than by CRLF is refused in any case; the loose way only
    /// finds what an answer needs.
    enum Mode {
        /// By LF, with or without its CR.
        case strict
        /// By CR, LF or both, and the end of the data ends the section.
        case loose
    }

    /// Parses the section at the start of `span`, which may have more behind it.
    mutating func parse(_ span: RawSpan, limits: MessageLimits, mode: Mode = .strict) -> Outcome {
        // Line ends that have both bytes; every CR beyond them stands alone.
        var lineEnds = 0
        guard let first = self.lineEnd(span, 0, mode, &lineEnds) else { return .incomplete }
        self.startLineEnd = first.next
        guard self.parseStartLine(span, first.content, limits) else { return .notSIP }
        self.fields.reserveCapacity(24)
        var position = first.next
        if position < span.byteCount, isBlank(span.byte(position)) { self.note(.headerName, at: position) }
        while true {
            guard position < span.byteCount else {
                guard mode == .loose else { return .incomplete }
                self.note(.headerSectionEnd, at: position)
                break
            }
            if let bodyStart = self.emptyLine(span, position, mode, &lineEnds) {
                guard bodyStart <= span.byteCount else { return .incomplete }
                position = bodyStart
                break
            }
            guard let next = self.parseRow(span, position, limits, mode, &lineEnds) else { return .incomplete }
            position = next
        }
        self.end = position
        if position &- self.startLineEnd > limits.headerSection { self.note(.headerSectionSize, at: self.startLineEnd) }
        self.checkControls(span, lineEnds)
        self.parseContentLength(span)
        return .complete
    }

    private struct Line {
        /// One past the last byte before the line end.
        var content: Int
        /// The first byte of the next line.
        var next: Int
    }

    /// Finds the end of the line that goes on at `start`; nil where it has not come.
    @inline(__always)
    private mutating func lineEnd(_ span: RawSpan, _ start: Int, _ mode: Mode, _ lineEnds: inout Int) -> Line? {
        if mode == .loose { return self.looseLineEnd(span, start, &lineEnds) }
        let feed = span.firstIndex(of: .lf, start, span.byteCount)
        guard feed >= 0 else { return nil }
        guard feed > start, span.byte(feed &- 1) == .cr else {
            self.note(.bareLineFeed, at: feed)
            return Line(content: feed, next: feed &+ 1)
        }
        lineEnds &+= 1
        return Line(content: feed &- 1, next: feed &+ 1)
    }

    @inline(never)
    private mutating func looseLineEnd(_ span: RawSpan, _ start: Int, _ lineEnds: inout Int) -> Line? {
        var index = start
        while index < span.byteCount, span.byte(index) != .cr, span.byte(index) != .lf { index &+= 1 }
        guard index < span.byteCount else {
            self.note(.headerSectionEnd, at: index)
            return Line(content: index, next: index)
        }
        guard span.byte(index) == .cr else {
            self.note(.bareLineFeed, at: index)
            return Line(content: index, next: index &+ 1)
        }
        guard index &+ 1 < span.byteCount, span.byte(index &+ 1) == .lf else {
            self.note(.bareCarriageReturn, at: index)
            return Line(content: index, next: index &+ 1)
        }
        lineEnds &+= 1
        return Line(content: index, next: index &+ 2)
    }

    /// Where the body begins, if an empty line stands at `position`: past the end of `span` where half of it has come.
    @inline(__always)
    private mutating func emptyLine(_ span: RawSpan, _ position: Int, _ mode: Mode, _ lineEnds: inout Int) -> Int? {
        let byte = span.byte(position)
        if byte == .lf {
            self.note(.bareLineFeed, at: position)
            return position &+ 1
        }
        guard byte == .cr else { return nil }
        if position &+ 1 < span.byteCount, span.byte(position &+ 1) == .lf {
            lineEnds &+= 1
            return position &+ 2
        }
        if mode == .loose { return position &+ 1 }
        return position &+ 1 < span.byteCount ? nil : position &+ 2
    }

    /// Notes the row that begins at `start`, with its folds; returns where the next line begins, nil where that has not
    /// come.
    @inline(__always)
    private mutating func parseRow(
        _ span: RawSpan, _ start: Int, _ limits: MessageLimits, _ mode: Mode, _ lineEnds: inout Int
    ) -> Int? {
        let known = knownName(span, start)
        var line = Line(content: start, next: known?.colon ?? start)
        repeat {
            guard let end = self.lineEnd(span, line.next, mode, &lineEnds) else { return nil }
            line = end
            guard line.next < span.byteCount || mode == .loose else { return nil }
        } while line.next < span.byteCount && isBlank(span.byte(line.next))
        let name: HeaderName
        let nameEnd: Int
        let colon: Int
        if let known, known.colon < line.content {
            (name, nameEnd, colon) = (known.name, known.colon, known.colon)
        } else if let found = uncommonName(span, start, line.content) {
            (name, nameEnd, colon) = found
        } else {
            self.note(.headerName, at: start)
            return line.next
        }
        guard self.fields.count < limits.headerFields else {
            self.note(.headerFieldCount, at: start)
            return line.next
        }
        var valueStart = colon &+ 1
        var valueEnd = line.content
        while valueStart < valueEnd, isLWS(span.byte(valueStart)) { valueStart &+= 1 }
        while valueEnd > valueStart, isLWS(span.byte(valueEnd &- 1)) { valueEnd &-= 1 }
        self.index.note(name, row: self.fields.count)
        self.fields.append(
            HeaderField(
                line: ByteRange(start, line.next), value: ByteRange(valueStart, valueEnd), nameEnd: nameEnd, name: name)
        )
        return line.next
    }

    /// Looks for what the pass over the lines could not see: a CR without LF, a NUL outside a quoted-pair.
    @inline(__always)
    private mutating func checkControls(_ span: RawSpan, _ lineEnds: Int) {
        let count = span.countControls(0, self.end)
        guard count.carriageReturns != lineEnds || count.hasNull else { return }
        self.findControl(span)
    }

    @inline(never)
    private mutating func findControl(_ span: RawSpan) {
        var isQuoted = false
        var index = 0
        while index < self.end {
            switch span.byte(index) {
            case .cr:
                guard index &+ 1 < self.end, span.byte(index &+ 1) == .lf else {
                    self.note(.bareCarriageReturn, at: index)
                    return
                }
                // A quoted string goes on over folds, not from row to row.
                if index &+ 2 >= self.end || !isBlank(span.byte(index &+ 2)) { isQuoted = false }
                index &+= 1
            case 0:
                self.note(.null, at: index)
                return
            case .quote:
                isQuoted.toggle()
            case .backslash where isQuoted && index &+ 1 < self.end && span.byte(index &+ 1) != .cr:
                index &+= 1
            default:
                break
            }
            index &+= 1
        }
    }

    /// One row of digits, or a problem (RFC 3261 §20.14; RFC 4475 §3.3.9).
    @inline(__always)
    private mutating func parseContentLength(_ span: RawSpan) {
        guard let value = self.index.first(.contentLength, in: self.fields)?.value else { return }
        guard !self.index.isRepeated(.contentLength) else {
            self.note(.contentLengthRepeated, at: value.start)
            return
        }
        var length = 0
        for index in value.range {
            guard let digit = decimalDigit(span.byte(index)), length < 1 << 40 else {
                self.note(.contentLength, at: index)
                return
            }
            length = length &* 10 &+ digit
        }
        guard !value.isEmpty else {
            self.note(.contentLength, at: value.start)
            return
        }
        self.contentLength = length
    }
}

@inline(__always)
private func isBlank(_ byte: UInt8) -> Bool { byte == .space || byte == .htab }

/// The name at `start` if it is one of the table's and a colon follows it at once: three words and one look-up.
@inline(__always)
private func knownName(_ span: RawSpan, _ start: Int) -> (name: HeaderName, colon: Int)? {
    guard start &+ 24 <= span.byteCount else { return nil }
    let first = span.word(start)
    if let count = firstColon(first) {
        return lookUp(cut(first, count), 0, 0).map { ($0, start &+ count) }
    }
    let second = span.word(start &+ 8)
    if let count = firstColon(second) {
        return lookUp(first, cut(second, count), 0).map { ($0, start &+ 8 &+ count) }
    }
    let third = span.word(start &+ 16)
    guard let count = firstColon(third) else { return nil }
    return lookUp(first, second, cut(third, count)).map { ($0, start &+ 16 &+ count) }
}

/// The first `count` bytes of a word, 0 to 7.
@inline(__always)
private func cut(_ word: UInt64, _ count: Int) -> UInt64 {
    word & ((1 &<< UInt64(8 &* count)) &- 1)
}

@inline(__always)
private func lookUp(_ first: UInt64, _ second: UInt64, _ third: UInt64) -> HeaderName? {
    func lowered(_ word: UInt64) -> UInt64 { word | (word & 0x4040_4040_4040_4040) &>> 1 }
    let key = HeaderNameTable.Key(first: lowered(first), second: lowered(second), third: lowered(third))
    return HeaderNameTable.shared.name(key)
}

/// The position of the first colon among eight bytes.
@inline(__always)
private func firstColon(_ word: UInt64) -> Int? {
    let difference = word ^ 0x3A3A_3A3A_3A3A_3A3A
    let zeros = (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
    return zeros == 0 ? nil : zeros.trailingZeroBitCount &>> 3
}

/// A name that is not in the table, or has white space before its colon, or stands near the end of the data; nil where
/// the line has no colon or what stands before it is no token.
@inline(never)
private func uncommonName(_ span: RawSpan, _ start: Int, _ end: Int) -> (HeaderName, Int, Int)? {
    var nameEnd = start
    while nameEnd < end, ByteSet.token.contains(span.byte(nameEnd)) { nameEnd &+= 1 }
    var colon = nameEnd
    while colon < end, isBlank(span.byte(colon)) { colon &+= 1 }
    guard nameEnd > start, colon < end, span.byte(colon) == .colon else { return nil }
    let name = span.withUnsafeBytes { buffer in
        HeaderNameTable.shared.name(
            Span(_unsafeElements: buffer.assumingMemoryBound(to: UInt8.self)), ByteRange(start, nameEnd))
    }
    return (name, nameEnd, colon)
}
