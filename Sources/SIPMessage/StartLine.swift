// Request-Line and Status-Line (RFC 3261 §7.1, §7.2): single spaces and nothing else, since an edge element has no reason
// to guess (RFC 4475 §3.1.2.8 to §3.1.2.10).

extension Head {
    /// Reads the start line in `0..<end`; false where it is not SIP at all.
    @inline(__always)
    mutating func parseStartLine(_ span: RawSpan, _ end: Int, _ limits: MessageLimits) -> Bool {
        if end >= 4,
            (UInt32(littleEndian: span.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt32.self)) | 0x0020_2020)
                == 0x2F70_6973
        {
            self.parseStatusLine(span, end)
            return true
        }
        let firstSpace = span.firstIndex(of: .space, 0, end)
        let versionStart = end &- 7
        guard firstSpace >= 0, firstSpace < versionStart, span.byte(versionStart &- 1) == .space,
            isVersion2(span, versionStart)
        else {
            return self.parseBadRequestLine(span, end)
        }
        self.firstPart = ByteRange(0, firstSpace)
        self.secondPart = ByteRange(firstSpace &+ 1, versionStart &- 1)
        self.thirdPart = ByteRange(versionStart, end)
        self.startLine = .request(self.method(span))
        if self.secondPart.isEmpty { self.note(.startLine, at: firstSpace) }
        if self.secondPart.count > limits.requestURI { self.note(.requestURISize, at: self.secondPart.start) }
        return true
    }

    /// The method, noted as a problem where it is no token.
    @inline(__always)
    private mutating func method(_ span: RawSpan) -> Method {
        var key: UInt64 = 0
        for index in self.firstPart.range {
            let byte = span.byte(index)
            guard ByteSet.token.contains(byte) else {
                self.note(.method, at: index)
                return .other
            }
            key = key &<< 8 | UInt64(byte)
        }
        guard !self.firstPart.isEmpty else {
            self.note(.method, at: 0)
            return .other
        }
        let method = Method(key: key, count: self.firstPart.count)
        return method == .subscribe && span.byte(0) != 0x53 ? .other : method
    }

    /// A request line with another version, white space where none belongs, or no version; false without a version.
    @inline(never)
    private mutating func parseBadRequestLine(_ span: RawSpan, _ end: Int) -> Bool {
        var trimmedEnd = end
        while trimmedEnd > 0, isLWS(span.byte(trimmedEnd &- 1)) { trimmedEnd &-= 1 }
        var start = trimmedEnd
        while start > 0, !isLWS(span.byte(start &- 1)) { start &-= 1 }
        guard start > 0, trimmedEnd &- start >= 4, span.byte(start &+ 3) == .slash,
            lowercased(span.byte(start)) == 0x73, lowercased(span.byte(start &+ 1)) == 0x69,
            lowercased(span.byte(start &+ 2)) == 0x70
        else { return false }
        let firstSpace = span.firstIndex(of: .space, 0, end)
        self.firstPart = ByteRange(0, max(0, firstSpace))
        self.secondPart = ByteRange(min(self.firstPart.end &+ 1, start &- 1), start &- 1)
        self.thirdPart = ByteRange(start, trimmedEnd)
        self.startLine = .request(self.method(span))
        let isWellFormed = trimmedEnd == end && firstSpace >= 0 && !self.secondPart.isEmpty
        let isOtherVersion = isVersion(span, self.thirdPart) && (self.thirdPart.count != 7 || !isVersion2(span, start))
        self.note(isWellFormed && isOtherVersion ? .version : .startLine, at: start)
        return true
    }

    /// A status line; whatever is wrong with it, nobody is told.
    private mutating func parseStatusLine(_ span: RawSpan, _ end: Int) {
        self.startLine = .response(status: 0)
        let space = span.firstIndex(of: .space, 0, end)
        self.firstPart = ByteRange(0, space < 0 ? end : space)
        guard self.firstPart.count == 7, isVersion2(span, 0) else {
            self.note(.version, at: 0)
            return
        }
        guard end >= 12, span.byte(11) == .space, let hundreds = decimalDigit(span.byte(8)),
            let tens = decimalDigit(span.byte(9)), let ones = decimalDigit(span.byte(10)), 1...6 ~= hundreds
        else {
            self.note(.statusCode, at: 7)
            return
        }
        self.secondPart = ByteRange(8, 11)
        self.thirdPart = ByteRange(12, end)
        self.startLine = .response(status: hundreds &* 100 &+ tens &* 10 &+ ones)
    }
}

/// Whether `SIP/2.0` stands at `start`, in any case; seven bytes must be there.
@inline(__always)
private func isVersion2(_ span: RawSpan, _ start: Int) -> Bool {
    span.byte(start &+ 3) == .slash && span.byte(start &+ 4) == 0x32 && span.byte(start &+ 5) == .dot
        && span.byte(start &+ 6) == .zero && span.byte(start) | 0x20 == 0x73 && span.byte(start &+ 1) | 0x20 == 0x69
        && span.byte(start &+ 2) | 0x20 == 0x70
}

/// Whether a part that starts with `SIP/` goes on with digits, a dot and digits.
private func isVersion(_ span: RawSpan, _ range: ByteRange) -> Bool {
    var index = range.start &+ 4
    let major = index
    while index < range.end, decimalDigit(span.byte(index)) != nil { index &+= 1 }
    guard index > major, index < range.end, span.byte(index) == .dot else { return false }
    index &+= 1
    let minor = index
    while index < range.end, decimalDigit(span.byte(index)) != nil { index &+= 1 }
    return index > minor && index == range.end
}
