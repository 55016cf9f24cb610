public import SIPMessage

/// The header field `X-Gatehouse-Session` as the core sends it back: which session a new leg belongs to.
///
/// The signature covers `id;arrived;domain;expires` as they are written, so that what verifies is what was signed. The
/// other parameters are for the dial plan to read; nothing is decided by them.
public struct SessionTag: Equatable, Sendable {
    public static let name: StaticString = "X-Gatehouse-Session"
    /// The value of `refer` on a REFER whose target is `sips:` (REFER-03).
    public static let referralToSIPS: StaticString = "sips"

    /// Why a tag does not count; each is an attack, or a core that altered what it copied.
    public enum Fault: Error, Equatable, Sendable {
        case malformed
        case forged
        case expired
    }

    public var session: Session
    /// The domain that the session arrived on.
    public var domain: DomainKey
    /// Whether `refer=sips` says that the leg leads to a `sips:` URI, which a `pbx` core sees as `sip:`. It is not signed: it
    /// can only ask for more than the session does.
    public var refersToSIPS = false

    /// The session of the leg that carries the tag.
    public var legSession: Session {
        var session = self.session
        if self.refersToSIPS { session.arrival = .sips }
        return session
    }

    /// What the signature is made over.
    public static func signedText(session: Session, domain: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(40 + domain.count)
        session.id.append(to: &text)
        text.append(0x3B)
        text.append(session.arrival.word)
        text.append(0x3B)
        text.append(contentsOf: domain)
        text.append(0x3B)
        text.append(decimal: UInt64(session.expires))
        return text
    }

    /// The header's value.
    ///
    /// - Parameters:
    ///   - facts: the parameters that describe the arrival, ready to be written, from `transport=` to `verified=`.
    ///   - refer: what the tag says of a REFER's target, if anything.
    ///   - code: the first 16 bytes of the HMAC over `signedText`.
    public static func value(
        session: Session, facts: [UInt8], refer: StaticString? = nil, code: [UInt8]
    ) -> [UInt8] {
        var value: [UInt8] = []
        value.reserveCapacity(96 + facts.count)
        session.id.append(to: &value)
        value.append("; arrived=")
        value.append(session.arrival.word)
        value.append("; ")
        value.append(contentsOf: facts)
        if let refer {
            value.append("; refer=")
            value.append(refer)
        }
        value.append("; expires=")
        value.append(decimal: UInt64(session.expires))
        value.append("; sig=")
        TokenText.append(base64url: code, to: &value)
        return value
    }

    /// Reads and verifies a header's value.
    ///
    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - verify: whether the code is that of the text, in constant time.
    public static func read(
        _ bytes: [UInt8], _ value: ByteRange, now: UInt32, verify: (_ code: [UInt8], _ text: [UInt8]) -> Bool
    ) throws(Fault) -> SessionTag {
        var id: [UInt8]?
        var arrived: [UInt8]?
        var domain: [UInt8]?
        var expires: [UInt8]?
        var code: [UInt8]?
        var refer: [UInt8]?
        var index = 0
        for part in bytes[value.range].split(separator: 0x3B, omittingEmptySubsequences: false) {
            let part = part.trimmingWhiteSpace()
            defer { index += 1 }
            guard index > 0 else {
                id = Array(part)
                continue
            }
            guard let equals = part.firstIndex(of: 0x3D) else { continue }
            let text = Array(part[part.index(after: equals)...].trimmingWhiteSpace())
            switch String(decoding: part[..<equals].trimmingWhiteSpace(), as: UTF8.self).lowercased() {
            case "arrived": try Self.set(&arrived, text)
            case "domain": try Self.set(&domain, text)
            case "refer": try Self.set(&refer, text)
            case "expires": try Self.set(&expires, text)
            case "sig": try Self.set(&code, TokenText.decode(base64url: text, text.indices))
            default: break
            }
        }
        guard let id, let arrived, let domain, let expires, let code, code.count == 16 else { throw .malformed }
        let text = Array([id, arrived, domain, expires].joined(separator: [0x3B]))
        guard verify(code, text) else { throw .forged }
        guard let bits = UInt64(String(decoding: id, as: UTF8.self), radix: 16),
            let arrival = Arrival.allCases.first(where: { arrived.elementsEqual($0.word.description.utf8) }),
            let deadline = UInt32(String(decoding: expires, as: UTF8.self))
        else { throw .malformed }
        guard deadline > now else { throw .expired }
        return SessionTag(
            session: Session(id: SessionID(bits), arrival: arrival, expires: deadline),
            domain: DomainKey(name: String(decoding: domain, as: UTF8.self)),
            refersToSIPS: refer?.elementsEqual(Self.referralToSIPS.description.utf8) ?? false)
    }

    private static func set(_ slot: inout [UInt8]?, _ value: [UInt8]?) throws(Fault) {
        guard slot == nil, let value else { throw .malformed }
        slot = value
    }
}

/// What the outside flow says of itself in each tag: written once a connection, copied into every request.
public struct ArrivalFacts: Sendable {
    public var transport: Transport
    public var domain: String
    public var tlsVersion: String?
    public var cipher: String?
    public var peer: Endpoint
    /// A name that the client's certificate proves.
    public var verified: String?

    public init(
        transport: Transport, domain: String, tlsVersion: String?, cipher: String?, peer: Endpoint, verified: String?
    ) {
        self.transport = transport
        self.domain = domain
        self.tlsVersion = tlsVersion
        self.cipher = cipher
        self.peer = peer
        self.verified = verified
    }

    /// The tag's parameters from `transport=` to `verified=`.
    public var text: [UInt8] {
        var text: [UInt8] = []
        text.append("transport=")
        switch self.transport {
        case .udp: text.append("udp")
        case .tcp: text.append("tcp")
        case .tls: text.append("tls")
        }
        text.append("; domain=")
        text.append(contentsOf: self.domain.utf8)
        if let tlsVersion = self.tlsVersion {
            text.append("; tls=")
            text.append(contentsOf: tlsVersion.utf8)
        }
        if let cipher = self.cipher {
            text.append("; cipher=")
            text.append(contentsOf: cipher.utf8)
        }
        text.append("; peer=")
        text.append(contentsOf: self.peer.description.utf8)
        if let verified = self.verified {
            text.append("; verified=\"")
            text.append(quotable: verified)
            text.append(0x22)
        }
        return text
    }

    /// What is kept of an arrival beside a registration: the tag's parameters, and those that a dial plan has no use for.
    ///
    /// - Parameters:
    ///   - text: from `transport=` to `verified=`.
    ///   - serverName: what the client asked for in its handshake.
    ///   - listener: where it connected to.
    public static func record(_ text: [UInt8], serverName: String?, listener: Endpoint) -> [UInt8] {
        var record = text
        if let serverName {
            record.append("; sni=\"")
            record.append(quotable: serverName)
            record.append(0x22)
        }
        record.append("; listener=")
        record.append(contentsOf: listener.description.utf8)
        return record
    }
}

extension [UInt8] {
    /// Appends what a peer chose to a quoted string: without what would end the string, the parameter or the line.
    fileprivate mutating func append(quotable text: String) {
        self.append(
            contentsOf: text.utf8.filter { $0 >= 0x20 && $0 != 0x7F && $0 != 0x22 && $0 != 0x5C && $0 != 0x3B })
    }
}

extension [UInt8] {
    /// Appends the text's bytes.
    @inlinable public mutating func append(_ text: StaticString) {
        guard text.hasPointerRepresentation else { return }
        self.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends the number's decimal digits.
    public mutating func append(decimal number: UInt64) {
        if number >= 10 { self.append(decimal: number / 10) }
        self.append(0x30 &+ UInt8(truncatingIfNeeded: number % 10))
    }
}

extension ArraySlice<UInt8> {
    fileprivate func trimmingWhiteSpace() -> ArraySlice<UInt8> {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A }
        guard let first = self.firstIndex(where: { !isBlank($0) }), let last = self.lastIndex(where: { !isBlank($0) })
        else { return self[self.endIndex...] }
        return self[first...last]
    }
}
