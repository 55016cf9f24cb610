internal import SIPMessage

/// What a request matches a server transaction by (RFC 3261 §17.2.3), in 128 bits.
///
/// It stands for the parts that it was made of: two keys made with one `TransactionMatcher` are equal if and, for all that
/// a peer without its secret can do, only if those are.
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

/// The methods as matching tells them apart: an ACK has the key of its INVITE (RFC 3261 §17.2.3).
enum MatchedMethod {
    /// INVITE, its ACK, and the INVITE that a CANCEL means.
    case invite
    /// Any other, by the name as written, since methods compare with case (RFC 3261 §7.1).
    case other(ByteRange)
}

/// Makes keys and loop digests of requests, with a secret of its own.
///
/// One per process: all workers share it.
public struct TransactionMatcher: Sendable {
    let key: KeyedHash.Key

    public init(using generator: inout some RandomNumberGenerator) {
        self.key = KeyedHash.Key(using: &generator)
    }

    /// The key of a request whose branch has the magic cookie: branch and sent-by compare without case (RFC 3261 §7.3.1).
    func key(
        of method: MatchedMethod, branch: ByteRange, sentByHost: ByteRange, sentByPort: UInt16?, in bytes: [UInt8]
    ) -> TransactionKey {
        var hash = KeyedHash(self.key)
        hash.combine(method, in: bytes)
        hash.combine(UInt64(sentByPort.map { UInt32($0) } ?? UInt32.max))
        hash.combineIgnoringCase(sentByHost.range, of: bytes)
        hash.combineIgnoringCase(branch.range, of: bytes)
        return TransactionKey(hash.finish())
    }
}

extension KeyedHash {
    mutating func combine(_ method: MatchedMethod, in bytes: [UInt8]) {
        switch method {
        case .invite: self.combine(0)
        case .other(let name): self.combine(name.range, of: bytes)
        }
    }
}
