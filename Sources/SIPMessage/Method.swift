/// A request's method. Methods compare with case (RFC 3261 §7.1): `invite` is ``other``.
public enum Method: UInt8, Sendable, Hashable, CaseIterable {
    case invite, ack, bye, cancel, register, options, subscribe, notify, publish, info, refer, message, update, prack
    /// Any other token: a proxy forwards it as a non-INVITE (RFC 3261 §16.2).
    case other

    /// As written on the wire; empty for ``other``, whose text stands in the message.
    public var text: StaticString {
        switch self {
        case .invite: "INVITE"
        case .ack: "ACK"
        case .bye: "BYE"
        case .cancel: "CANCEL"
        case .register: "REGISTER"
        case .options: "OPTIONS"
        case .subscribe: "SUBSCRIBE"
        case .notify: "NOTIFY"
        case .publish: "PUBLISH"
        case .info: "INFO"
        case .refer: "REFER"
        case .message: "MESSAGE"
        case .update: "UPDATE"
        case .prack: "PRACK"
        case .other: ""
        }
    }

    /// - Parameters:
    ///   - key: the last eight bytes as a number, the last lowest.
    ///   - count: how many bytes the method has.
    @inline(__always)
    init(key: UInt64, count: Int) {
        switch (key, count) {
        case (0x494E_5649_5445, 6): self = .invite
        case (0x41_434B, 3): self = .ack
        case (0x42_5945, 3): self = .bye
        case (0x4341_4E43_454C, 6): self = .cancel
        case (0x5245_4749_5354_4552, 8): self = .register
        case (0x4F_5054_494F_4E53, 7): self = .options
        // S and the eight bytes of UBSCRIBE: any ninth byte would do, so the caller's token may not have another.
        case (0x5542_5343_5249_4245, 9): self = .subscribe
        case (0x4E4F_5449_4659, 6): self = .notify
        case (0x50_5542_4C49_5348, 7): self = .publish
        case (0x494E_464F, 4): self = .info
        case (0x52_4546_4552, 5): self = .refer
        case (0x4D_4553_5341_4745, 7): self = .message
        case (0x5550_4441_5445, 6): self = .update
        case (0x50_5241_434B, 5): self = .prack
        default: self = .other
        }
    }

    /// The method that fills a token, which may be any bytes.
    init(_ span: Span<UInt8>, _ range: ByteRange) {
        guard range.count >= 3, range.count <= 9 else {
            self = .other
            return
        }
        var key: UInt64 = 0
        for index in range.range { key = key &<< 8 | UInt64(span[index]) }
        let method = Method(key: key, count: range.count)
        self = method == .subscribe && span[range.start] != 0x53 ? .other : method
    }
}
