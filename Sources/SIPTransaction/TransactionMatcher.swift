public import SIPMessage

/// Makes the keys and loop digests of requests, with a secret of its own.
///
/// One serves the whole process. Its methods read a request as it was received, before anything is added to its top Via.
public struct TransactionMatcher: Sendable {
    private let secret: KeyedHash.Key

    /// - Parameter generator: gives the secret, so not one that a peer can predict.
    public init(using generator: inout some RandomNumberGenerator) {
        self.secret = KeyedHash.Key(using: &generator)
    }

    /// The key of a request; an ACK has that of its INVITE (RFC 3261 §17.2.3).
    ///
    /// - Returns: nil where a part is missing or malformed that `Message.checkSyntax` demands.
    public func key(of request: Message) -> TransactionKey? {
        switch request.method {
        case .invite, .ack: self.key(of: request, as: .invite)
        default: self.key(of: request, as: .other(request.methodRange))
        }
    }

    /// The key of the INVITE that a CANCEL would cancel (RFC 3261 §9.2): that of no other method.
    public func keyOfInvite(cancelledBy cancel: Message) -> TransactionKey? {
        self.key(of: cancel, as: .invite)
    }

    /// The methods as matching tells them apart.
    private enum MatchedMethod {
        case invite
        /// By the name as written: methods compare with case (RFC 3261 §7.1).
        case other(ByteRange)
    }

    private func key(of request: Message, as method: MatchedMethod) -> TransactionKey? {
        guard let via = request.topVia else { return nil }
        let bytes = request.bytes
        var hash = KeyedHash(self.secret)
        switch method {
        case .invite: hash.combine(0)
        case .other(let name): hash.combine(name.range, of: bytes)
        }
        guard via.hasMagicCookie, let branch = via.branch else {
            return self.key2543(of: request, as: method, via: via, hash)
        }
        // Host and branch are tokens, which compare without case (§7.3.1).
        hash.combineIgnoringCase(branch.range, of: bytes)
        hash.combineIgnoringCase(via.sentByHost.range, of: bytes)
        hash.combine(UInt64(via.sentByPort ?? 0))
        return TransactionKey(hash.finish())
    }

    /// Without the magic cookie the branch says nothing, and the whole request counts (RFC 3261 §17.2.3).
    ///
    /// The To tag is left out for INVITE, ACK and CANCEL, where it may be that of our response: an ACK that differs from
    /// one to our response in nothing else is one to a 2xx, which the transaction's state tells.
    private func key2543(
        of request: Message, as method: MatchedMethod, via: Via, _ start: consuming KeyedHash
    ) -> TransactionKey? {
        guard let from = request.from, let to = request.to, let callID = request.callID, let cseq = request.cseq else {
            return nil
        }
        let bytes = request.bytes
        var hash = start
        hash.combineIgnoringCase(via.value.range, of: bytes)
        hash.combine(request.requestURI.range, of: bytes)
        hash.combine(callID.range, of: bytes)
        hash.combine(UInt64(cseq.number))
        hash.combineTag(from.tag, of: bytes)
        switch method {
        case .invite: break
        case .other: hash.combineTag(to.tag, of: bytes)
        }
        return TransactionKey(hash.finish())
    }

    /// The digest of everything in a request that decides where it goes (RFC 3261 §16.6 item 8, RFC 5393 §4.2).
    ///
    /// The method is not in it, and neither is the Via stack, which differs with every round.
    public func loopDigest(of request: Message) -> LoopDigest {
        let bytes = request.bytes
        var hash = KeyedHash(self.secret)
        hash.combine(request.requestURI.range, of: bytes)
        if let callID = request.callID { hash.combine(callID.range, of: bytes) }
        hash.combineTag(request.from?.tag, of: bytes)
        hash.combineTag(request.to?.tag, of: bytes)
        hash.combine(UInt64(request.cseq?.number ?? 0))
        for name in [.route, .proxyRequire, .proxyAuthorization] as [HeaderName] where request.first(name) != nil {
            hash.combine(UInt64(name.rawValue))
            for value in request.values(of: name) { hash.combine(value.range, of: bytes) }
        }
        return LoopDigest(rawValue: hash.finish().0)
    }

    /// Whether a request went through this process before and came back unchanged (RFC 3261 §16.3 item 4): one of its Via
    /// values has a branch of ours with its own digest.
    ///
    /// A branch that somebody else wrote can't pass: the digest depends on the secret.
    public func isLooped(_ request: Message, digest: LoopDigest) -> Bool {
        let bytes = request.bytes
        for value in request.values(of: .via) where value.count > Branch.length {
            guard let via = try? Via.parse(bytes, value), let range = via.branch,
                let branch = Branch(bytes, range.range)
            else { continue }
            if branch.loop == digest { return true }
        }
        return false
    }
}

extension KeyedHash {
    /// Tags are tokens, which compare without case; an absent one counts as empty.
    fileprivate mutating func combineTag(_ tag: ByteRange?, of bytes: [UInt8]) {
        self.combineIgnoringCase(tag?.range ?? 0..<0, of: bytes)
    }
}
