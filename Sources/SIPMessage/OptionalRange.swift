/// A range that may be absent, in the eight bytes of a range: the types of this module hold many, and messages move.
@usableFromInline
struct OptionalRange: Hashable, Sendable {
    @usableFromInline var lower: UInt32
    @usableFromInline var upper: UInt32

    @usableFromInline static var none: OptionalRange { OptionalRange(nil) }

    @inlinable init(_ range: ByteRange?) {
        // No message reaches this length, so it can mean that there is none.
        self.lower = range?.lower ?? .max
        self.upper = range?.upper ?? .max
    }

    @inlinable var range: ByteRange? {
        self.lower == .max ? nil : ByteRange(Int(self.lower), Int(self.upper))
    }
}
