/// The value of CSeq (RFC 3261 §20.16).
public struct CSeq: Hashable, Sendable {
    public var number: UInt32
    public var methodRange: ByteRange
    public var method: Method

    /// Parses the value that fills `range`: a number up to 2^32 - 1 and a method. RFC 3261 §8.1.1.5 ends at 2^31; the
    /// rest of the word is accepted too.
    static func parse(_ span: Span<UInt8>, _ range: ByteRange) throws(ParseError) -> CSeq {
        var index = range.start
        var number: UInt64 = 0
        while index < range.end, let digit = decimalDigit(span[index]) {
            number = number &* 10 &+ UInt64(digit)
            guard number <= UInt64(UInt32.max) else { throw ParseError(.cseq, at: range.start) }
            index &+= 1
        }
        let methodStart = skipLWS(span, index, range.end)
        let methodEnd = skip(.token, span, methodStart, range.end)
        guard index > range.start, methodStart > index, methodEnd > methodStart, methodEnd == range.end else {
            throw ParseError(.cseq, at: index)
        }
        let methodRange = ByteRange(methodStart, methodEnd)
        return CSeq(
            number: UInt32(truncatingIfNeeded: number), methodRange: methodRange, method: Method(span, methodRange))
    }
}

/// Whether `range` is a `callid`: word, or word @ word (RFC 3261 §25.1).
func isCallID(_ span: Span<UInt8>, _ range: ByteRange) -> Bool {
    var index = skip(.word, span, range.start, range.end)
    guard index > range.start else { return false }
    if index < range.end, span[index] == .at {
        let second = index &+ 1
        index = skip(.word, span, second, range.end)
        guard index > second else { return false }
    }
    return index == range.end
}
