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

    /// How many bytes of CR and of LF stand in `start..<end`, and whether a NUL does: sixteen bytes at a time.
    func countControls(_ start: Int, _ end: Int) -> ControlCount {
        let none = SIMD16<UInt8>(repeating: 0)
        let carriageReturn = SIMD16<UInt8>(repeating: .cr)
        let lineFeed = SIMD16<UInt8>(repeating: .lf)
        var nulls = none
        var count = ControlCount()
        var index = start
        while index &+ 16 <= end {
            // Counters of one byte, emptied before they can run over. A lane that compares equal has all bits set.
            var carriageReturns = none
            var lineFeeds = none
            let blockEnd = min(end &- 15, index &+ 16 &* 255)
            while index < blockEnd {
                let block = self.unsafeLoadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
                carriageReturns =
                    carriageReturns &- unsafeBitCast(block .== carriageReturn, to: SIMD16<UInt8>.self)
                lineFeeds = lineFeeds &- unsafeBitCast(block .== lineFeed, to: SIMD16<UInt8>.self)
                nulls = nulls | unsafeBitCast(block .== none, to: SIMD16<UInt8>.self)
                index &+= 16
            }
            for lane in 0..<16 {
                count.carriageReturns &+= Int(carriageReturns[lane])
                count.lineFeeds &+= Int(lineFeeds[lane])
            }
        }
        let nullHalves = unsafeBitCast(nulls, to: SIMD2<UInt64>.self)
        count.hasNull = nullHalves.x | nullHalves.y != 0
        while index < end {
            switch self.byte(index) {
            case .cr: count.carriageReturns &+= 1
            case .lf: count.lineFeeds &+= 1
            case 0: count.hasNull = true
            default: break
            }
            index &+= 1
        }
        return count
    }
}

/// The bytes that part header fields, or that no header field may hold.
struct ControlCount {
    var carriageReturns = 0
    var lineFeeds = 0
    var hasNull = false

    mutating func add(_ other: ControlCount) {
        self.carriageReturns &+= other.carriageReturns
        self.lineFeeds &+= other.lineFeeds
        self.hasNull = self.hasNull || other.hasNull
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

/// As `append(contentsOf:)`, without counting a reference to `source`.
@inline(__always)
func appendAll(_ source: [UInt8], to bytes: inout [UInt8]) {
    append(source.span.bytes, 0, source.count, to: &bytes)
}

/// Copies pieces one behind the other into memory of fixed size; what does not fit traps before it is written.
struct PieceWriter {
    private let buffer: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ buffer: UnsafeMutableRawBufferPointer) {
        self.buffer = buffer
    }

    @inline(__always)
    mutating func write(_ span: RawSpan, _ start: Int, _ end: Int) {
        let piece = span.extracting(start..<end)
        precondition(piece.byteCount <= self.buffer.count &- self.count)
        piece.withUnsafeBytes { bytes in
            guard let source = bytes.baseAddress, let target = self.buffer.baseAddress else { return }
            (target + self.count).copyMemory(from: source, byteCount: bytes.count)
        }
        self.count &+= piece.byteCount
    }
}
