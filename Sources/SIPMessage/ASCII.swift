// The bytes that the grammar of RFC 3261 §25.1 speaks of, as functions of one byte each.

/// The ASCII letter in lower case; any other byte as it is.
@inlinable func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- 0x41 < 26 ? byte | 0x20 : byte
}

/// 0 to 9, or nil.
@inlinable func decimalDigit(_ byte: UInt8) -> Int? {
    let value = byte &- 0x30
    return value < 10 ? Int(value) : nil
}

/// 0 to 15, or nil.
@inlinable func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    let digit = byte &- 0x30
    if digit < 10 { return digit }
    let letter = (byte | 0x20) &- 0x61
    return letter < 6 ? letter &+ 10 : nil
}

extension UInt8 {
    @inlinable static var htab: UInt8 { 0x09 }
    @inlinable static var lf: UInt8 { 0x0A }
    @inlinable static var cr: UInt8 { 0x0D }
    @inlinable static var space: UInt8 { 0x20 }
    @inlinable static var quote: UInt8 { 0x22 }
    @inlinable static var percent: UInt8 { 0x25 }
    @inlinable static var leftParenthesis: UInt8 { 0x28 }
    @inlinable static var rightParenthesis: UInt8 { 0x29 }
    @inlinable static var asterisk: UInt8 { 0x2A }
    @inlinable static var comma: UInt8 { 0x2C }
    @inlinable static var hyphen: UInt8 { 0x2D }
    @inlinable static var dot: UInt8 { 0x2E }
    @inlinable static var slash: UInt8 { 0x2F }
    @inlinable static var zero: UInt8 { 0x30 }
    @inlinable static var colon: UInt8 { 0x3A }
    @inlinable static var semicolon: UInt8 { 0x3B }
    @inlinable static var less: UInt8 { 0x3C }
    @inlinable static var equals: UInt8 { 0x3D }
    @inlinable static var greater: UInt8 { 0x3E }
    @inlinable static var question: UInt8 { 0x3F }
    @inlinable static var at: UInt8 { 0x40 }
    @inlinable static var leftBracket: UInt8 { 0x5B }
    @inlinable static var backslash: UInt8 { 0x5C }
    @inlinable static var rightBracket: UInt8 { 0x5D }
}
