// How values are walked: functions over a span and an index, which stop at the first byte that does not belong.
//
// Inside a value, CR and LF are part of folds only (the header section was checked line by line), so they count as white
// space (RFC 3261 §25.1, LWS).

/// A name or token of up to eight bytes in a register, ASCII letters in lower case; longer ones keep their last eight.
struct PackedToken: Equatable {
    var key: UInt64
    var count: Int

    static var branch: PackedToken { PackedToken(key: 0x6272_616E_6368, count: 6) }
    static var received: PackedToken { PackedToken(key: 0x7265_6365_6976_6564, count: 8) }
    static var rport: PackedToken { PackedToken(key: 0x72_706F_7274, count: 5) }
    static var maddr: PackedToken { PackedToken(key: 0x6D_6164_6472, count: 5) }
    static var tag: PackedToken { PackedToken(key: 0x74_6167, count: 3) }

    /// A bit that says little about the token: enough to skip most comparisons.
    var bit: UInt64 { 1 &<< ((self.key ^ self.key &>> 7 ^ UInt64(truncatingIfNeeded: self.count)) & 63) }
}

/// The index of the first byte from `index` on that is no linear white space.
@inline(__always)
func skipLWS(_ span: Span<UInt8>, _ index: Int, _ end: Int) -> Int {
    var index = index
    while index < end, isLWS(span[index]) { index &+= 1 }
    return index
}

@inline(__always)
func isLWS(_ byte: UInt8) -> Bool {
    ByteSet.whiteSpace.contains(byte)
}

/// The index of the first byte from `index` on that is not in `set`.
@inline(__always)
func skip(_ set: ByteSet, _ span: Span<UInt8>, _ index: Int, _ end: Int) -> Int {
    var index = index
    while index < end, set.contains(span[index]) { index &+= 1 }
    return index
}

/// As ``skip``, and past escapes: % and two hexadecimal digits.
@inline(__always)
func skipWithEscapes(_ set: ByteSet, _ span: Span<UInt8>, _ index: Int, _ end: Int) -> Int {
    var index = index
    while index < end {
        let byte = span[index]
        if set.contains(byte) {
            index &+= 1
        } else if byte == .percent, index &+ 2 < end, hexadecimalDigit(span[index &+ 1]) != nil,
            hexadecimalDigit(span[index &+ 2]) != nil
        {
            index &+= 3
        } else {
            break
        }
    }
    return index
}

/// Walks a token and packs it. Among the bytes of a token or URI parameter, the bit 0x20 parts nothing but the case of
/// letters.
@inline(__always)
func packToken(_ set: ByteSet, _ span: Span<UInt8>, _ index: inout Int, _ end: Int) -> PackedToken {
    let start = index
    var key: UInt64 = 0
    while index < end {
        let byte = span[index]
        guard set.contains(byte) else { break }
        key = key &<< 8 | UInt64(byte | 0x20)
        index &+= 1
    }
    return PackedToken(key: key, count: index &- start)
}

/// The index behind the closing quote of the quoted-string that begins at `index`; nil where it does not end or holds a
/// control byte that no backslash quotes.
func skipQuotedString(_ span: Span<UInt8>, _ index: Int, _ end: Int) -> Int? {
    var index = index &+ 1
    while true {
        index = skip(.quotedText, span, index, end)
        guard index < end else { return nil }
        if span[index] == .quote { return index &+ 1 }
        // quoted-pair: any ASCII byte but CR and LF.
        guard span[index] == .backslash, index &+ 1 < end else { return nil }
        let quoted = span[index &+ 1]
        guard quoted < 0x80, quoted != .cr, quoted != .lf else { return nil }
        index &+= 2
    }
}

/// Whether two parts of a span are equal without regard to ASCII case.
func equalsIgnoringCase(_ span: Span<UInt8>, _ first: ByteRange, _ second: ByteRange) -> Bool {
    guard first.count == second.count else { return false }
    for offset in 0..<first.count
    where lowercased(span[first.start &+ offset]) != lowercased(span[second.start &+ offset]) {
        return false
    }
    return true
}

/// Where a host stands, and what it is.
struct ScannedHost {
    /// Without the brackets of an IPv6 reference.
    var range: ByteRange
    var isIPv6Reference: Bool
}

/// Walks `host` (RFC 3261 §25.1 with RFC 5954 §4.1): a name whose last label starts with a letter, an IPv4 address, or an
/// IPv6 address in brackets.
func scanHost(_ span: Span<UInt8>, _ index: inout Int, _ end: Int) throws(ParseError) -> ScannedHost {
    let start = index
    guard start < end else { throw ParseError(.host, at: start) }
    if span[start] == .leftBracket {
        var close = start &+ 1
        while close < end, span[close] != .rightBracket, close &- start <= 48 { close &+= 1 }
        guard close < end, span[close] == .rightBracket else { throw ParseError(.host, at: start) }
        let range = ByteRange(start &+ 1, close)
        guard IPAddress(span.extracting(range.range))?.isIPv6 == true else { throw ParseError(.host, at: start) }
        index = close &+ 1
        return ScannedHost(range: range, isIPv6Reference: true)
    }
    // Labels: none empty but a last one behind a trailing dot, none begun or ended by a hyphen.
    var lastLabelStartsWithLetter = false
    var current = start
    repeat {
        let labelStart = current
        var labelEnd = skip(.alphanum, span, current, end)
        guard labelEnd > labelStart else {
            guard labelStart > start else { throw ParseError(.host, at: labelStart) }
            break  // the trailing dot
        }
        lastLabelStartsWithLetter = span[labelStart] >= 0x41
        while labelEnd < end, span[labelEnd] == .hyphen {
            let afterHyphen = labelEnd &+ 1
            labelEnd = skip(.alphanum, span, afterHyphen, end)
            guard labelEnd > afterHyphen || labelEnd < end && span[labelEnd] == .hyphen else {
                throw ParseError(.host, at: afterHyphen)
            }
        }
        current = labelEnd
        guard current < end, span[current] == .dot else { break }
        current &+= 1
    } while true
    let range = ByteRange(start, current)
    if !lastLabelStartsWithLetter {
        guard IPAddress(span.extracting(range.range)) != nil else { throw ParseError(.host, at: start) }
    }
    index = current
    return ScannedHost(range: range, isIPv6Reference: false)
}

/// Walks the digits of a port, 1 to 65535. Leading zeros are digits too.
func scanPort(_ span: Span<UInt8>, _ index: inout Int, _ end: Int) throws(ParseError) -> UInt16 {
    let start = index
    var port = 0
    while index < end, let digit = decimalDigit(span[index]) {
        port = port &* 10 &+ digit
        guard port <= 65_535 else { throw ParseError(.port, at: start) }
        index &+= 1
    }
    guard port > 0 else { throw ParseError(.port, at: start) }
    return UInt16(truncatingIfNeeded: port)
}

/// A decimal number that fills `range`; nil where a byte is no digit, there is none, or it is over `limit`.
func decimalNumber(_ span: Span<UInt8>, _ range: ByteRange, limit: Int) -> Int? {
    guard !range.isEmpty, limit <= Int.max / 16 else { return nil }
    var value = 0
    for index in range.range {
        guard let digit = decimalDigit(span[index]) else { return nil }
        value = value &* 10 &+ digit
        guard value <= limit else { return nil }  // which also keeps `value` small
    }
    return value
}
