/// What tells a loop from a spiral when a request comes back (RFC 5393 §4.2): a hash of all that decides where we send it.
///
/// Equal digests in the request and in the branch of one of our own Via values below mean that nothing changed on the way,
/// so that it would go round again.
public struct LoopDigest: Sendable, Hashable {
    @usableFromInline let rawValue: UInt64

    @inlinable init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Of a request that the edge makes itself.
    public static let none = LoopDigest(rawValue: 0)
}
