/// A branch of a request, counted from 0 within its response context.
public struct BranchNumber: Sendable, Hashable, CustomStringConvertible {
    @usableFromInline let rawValue: UInt8

    @inlinable init(rawValue: UInt8) { self.rawValue = rawValue }

    /// From 0 to `ResponseContext.branchLimit` - 1, for use as an index.
    @inlinable public var index: Int { Int(self.rawValue) }

    public var description: String { "branch \(self.rawValue)" }
}

/// Some branches of one response context; iterates in the order in which they were opened.
public struct BranchSet: Sendable, Hashable, Sequence, ExpressibleByArrayLiteral {
    @usableFromInline var bits: UInt64

    @inlinable init(bits: UInt64) { self.bits = bits }

    @inlinable public init() { self.bits = 0 }

    @inlinable
    public init(arrayLiteral elements: BranchNumber...) {
        self.bits = 0
        for element in elements { self.insert(element) }
    }

    @inlinable public var isEmpty: Bool { self.bits == 0 }
    @inlinable public var count: Int { self.bits.nonzeroBitCount }

    @inlinable
    public func contains(_ branch: BranchNumber) -> Bool {
        self.bits & Self.bit(branch) != 0
    }

    @inlinable
    mutating func insert(_ branch: BranchNumber) {
        self.bits |= Self.bit(branch)
    }

    @inlinable
    mutating func remove(_ branch: BranchNumber) {
        self.bits &= ~Self.bit(branch)
    }

    @inlinable static func bit(_ branch: BranchNumber) -> UInt64 { 1 &<< UInt64(branch.rawValue) }

    @inlinable public func makeIterator() -> Iterator { Iterator(bits: self.bits) }

    public struct Iterator: IteratorProtocol {
        @usableFromInline var bits: UInt64

        @inlinable init(bits: UInt64) { self.bits = bits }

        @inlinable
        public mutating func next() -> BranchNumber? {
            guard self.bits != 0 else { return nil }
            let index = self.bits.trailingZeroBitCount
            self.bits &= self.bits &- 1
            return BranchNumber(rawValue: UInt8(truncatingIfNeeded: index))
        }
    }
}
