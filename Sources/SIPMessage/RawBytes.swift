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

    /// How many carriage returns stand in `start..<end`, and whether a NUL does.
    @inline(__always)
    func countControls(_ start: Int, _ end: Int) -> (carriageReturns: Int, hasNull: Bool) {
        var index = start
        var carriageReturns = 0
        var hasNull = false
        while index &+ 16 <= end {
            // Sixteen counters of one byte each, emptied before they can run over.
            var counters = SIMD16<UInt8>(repeating: 0)
            var nulls = SIMDMask<SIMD16<Int8>>(repeating: false)
            let blockEnd = min(end, index &+ 16 &* 255)
            while index &+ 16 <= blockEnd {
                let block = self.unsafeLoadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
                counters = counters &+ SIMD16(repeating: 0).replacing(with: 1, where: block .== UInt8.cr)
                nulls = nulls .| (block .== 0)
                index &+= 16
            }
            for lane in 0..<16 { carriageReturns &+= Int(counters[lane]) }
            hasNull = hasNull || any(nulls)
        }
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
