/// Where a header section that is not whole yet ends: how much of an empty line has come.
enum LineTail: Sendable {
    case insideLine, lineStart, carriageReturn

    init(endOf span: RawSpan) {
        let count = span.byteCount
        if count > 0, span.byte(count &- 1) == .lf {
            self = .lineStart
        } else if count > 1, span.byte(count &- 1) == .cr, span.byte(count &- 2) == .lf {
            self = .carriageReturn
        } else {
            self = .insideLine
        }
    }

    /// Goes on from `offset` to behind the empty line, or to the end; returns whether the empty line has come.
    mutating func skipToEmptyLine(_ span: RawSpan, _ offset: inout Int) -> Bool {
        while offset < span.byteCount {
            switch self {
            case .insideLine:
                let feed = span.firstIndex(of: .lf, offset, span.byteCount)
                guard feed >= 0 else {
                    offset = span.byteCount
                    return false
                }
                offset = feed &+ 1
                self = .lineStart
            case .lineStart where span.byte(offset) == .cr:
                offset &+= 1
                self = .carriageReturn
            case .lineStart, .carriageReturn:
                guard span.byte(offset) != .lf else {
                    offset &+= 1
                    return true
                }
                self = .insideLine
            }
        }
        return false
    }
}

/// Whether the first line ends by a CR alone.
func hasBareStartLine(_ span: RawSpan) -> Bool {
    let carriageReturn = span.firstIndex(of: .cr, 0, span.byteCount)
    guard carriageReturn >= 0, carriageReturn &+ 1 < span.byteCount else { return false }
    let feed = span.firstIndex(of: .lf, 0, carriageReturn &+ 2)
    return feed < 0
}
