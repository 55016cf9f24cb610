/// One row of the header section.
public struct HeaderField: Hashable, Sendable {
    /// From the name to the line end, folds and the final CRLF included.
    public var line: ByteRange
    /// Without white space around it; may hold folds. Empty where the row has no value.
    public var value: ByteRange
    @usableFromInline var nameEnd: UInt32
    public var name: HeaderName

    /// The name as written, without the colon.
    @inlinable public var nameRange: ByteRange { ByteRange(self.line.start, Int(self.nameEnd)) }

    @inlinable init(line: ByteRange, value: ByteRange, nameEnd: Int, name: HeaderName) {
        self.line = line
        self.value = value
        self.nameEnd = UInt32(truncatingIfNeeded: nameEnd)
        self.name = name
    }
}

/// Where the first row of each name is, and which names have more than one.
struct HeaderIndex: Sendable {
    /// By raw value of the name: the row's position plus 1; 0 where there is none, or it is past the 255th row.
    private var firstRow = InlineArray<49, UInt8>(repeating: 0)
    /// Bit n: the name with raw value n has more than one row.
    private var repeated: UInt64 = 0

    @inline(__always)
    mutating func note(_ name: HeaderName, row: Int) {
        let slot = Int(name.rawValue)
        if self.firstRow[slot] == 0 {
            self.firstRow[slot] = UInt8(clamping: row &+ 1)
        } else {
            self.repeated |= 1 &<< UInt64(slot)
        }
    }

    @inline(__always)
    func isPresent(_ name: HeaderName) -> Bool { self.firstRow[Int(name.rawValue)] != 0 }

    /// Where to start looking for the first row; nil where there is none.
    @inline(__always)
    func startOfSearch(_ name: HeaderName) -> Int? {
        let row = Int(self.firstRow[Int(name.rawValue)])
        return row == 0 ? nil : row &- 1
    }

    @inline(__always)
    func first(_ name: HeaderName, in fields: ContiguousArray<HeaderField>) -> HeaderField? {
        guard var row = self.startOfSearch(name) else { return nil }
        // A row past the 255th is found by walking.
        while row < fields.count {
            if fields[row].name == name { return fields[row] }
            row &+= 1
        }
        return nil
    }

    @inline(__always)
    func isRepeated(_ name: HeaderName) -> Bool { self.repeated & (1 &<< UInt64(name.rawValue)) != 0 }
}
