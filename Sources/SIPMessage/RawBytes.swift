internal import Glibc

// Bounds-checked reading of raw bytes, and the C library's search where it is faster than a loop.

extension RawSpan {
    @inline(__always)
    func byte(_ index: Int) -> UInt8 { self.unsafeLoad(fromByteOffset: index, as: UInt8.self) }

    /// Eight bytes, the first lowest.
    @inline(__always)
    func word(_ index: Int) -> UInt64 {
        UInt64(littleEndian: self.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
    }

    /// The index of the first `byte` in `start..<end`; -1 where there is none.
    @inline(__always)
    func firstIndex(of byte: UInt8, _ start: Int, _ end: Int) -> Int {
        precondition(start >= 0 && end <= self.byteCount)
        guard start < end else { return -1 }
        return self.withUnsafeBytes { buffer in
            // Not empty, so it has an address, and the search stays in its bounds by the precondition.
            guard let base = buffer.baseAddress, let found = memchr(base + start, Int32(byte), end &- start) else {
                return -1
            }
            return UnsafeRawPointer(found) - base
        }
    }

    /// How many carriage returns stand in `start..<end`, and whether a NUL does: sixteen bytes at a time.
    func countControls(_ start: Int, _ end: Int) -> (carriageReturns: Int, hasNull: Bool) {
        let none = SIMD16<UInt8>(repeating: 0)
        let carriageReturn = SIMD16<UInt8>(repeating: .cr)
        var nulls = none
        var carriageReturns = 0
        var index = start
        while index &+ 16 <= end {
            // Counters of one byte, emptied before they can run over. A lane that compares equal has all bits set.
            var counters = none
            let blockEnd = min(end &- 15, index &+ 16 &* 255)
            while index < blockEnd {
                let block = self.unsafeLoadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
                counters = counters &- unsafeBitCast(block .== carriageReturn, to: SIMD16<UInt8>.self)
                nulls = nulls | unsafeBitCast(block .== none, to: SIMD16<UInt8>.self)
                index &+= 16
            }
            for lane in 0..<16 { carriageReturns &+= Int(counters[lane]) }
        }
        let nullHalves = unsafeBitCast(nulls, to: SIMD2<UInt64>.self)
        var hasNull = nullHalves.x | nullHalves.y != 0
        while index < end {
            let byte = self.byte(index)
            if byte == .cr { carriageReturns &+= 1 }
            if byte == 0 { hasNull = true }
            index &+= 1
        }
        return (carriageReturns, hasNull)
    }
}

/// A copy of `start..<end`.
@inline(__always)
func copy(_ span: RawSpan, _ start: Int, _ end: Int) -> [UInt8] {
    span.extracting(start..<end).withUnsafeBytes { [UInt8]($0) }
}

@inline(__always)
func append(_ span: RawSpan, _ start: Int, _ end: Int, to bytes: inout [UInt8]) {
    span.extracting(start..<end).withUnsafeBytes { bytes.append(contentsOf: $0) }
}
