/// What a request matches a server transaction by (RFC 3261 §17.2.3), in 128 bits.
///
/// It stands for the parts that it was made of: two keys of one `TransactionMatcher` are equal if those are, and only then
/// for all that a peer without the matcher's secret can do.
public struct TransactionKey: Sendable, Hashable {
    @usableFromInline let high: UInt64
    @usableFromInline let low: UInt64

    init(_ hash: (UInt64, UInt64)) {
        self.high = hash.0
        self.low = hash.1
    }

    @inlinable
    public func hash(into hasher: inout Hasher) {
        hasher.combine(self.low)
    }
}
