extension URI {
    /// A text that is the same for SIP URIs that RFC 3261 §19.1.4 calls equal: scheme, host and parameters without regard to
    /// case, parameters without regard to order, and `%61` as good as `a`. `sip:` and `sips:` are never equal.
    ///
    /// Of any other scheme, the URI as it is written.
    public func comparableText(in bytes: [UInt8]) -> [UInt8] {
        guard self.isSIP else { return self.whole.bytes(in: bytes) }
        var text = Array((self.scheme == .sips ? "sips:" : "sip:").utf8)
        text.append(contentsOf: URI.unescaped(self.userInfo.bytes(in: bytes)))
        text.append(contentsOf: self.hostPort.lowercasedBytes(in: bytes))
        let unescaped = URI.unescaped(self.parameters.bytes(in: bytes))
        let parameters = ByteRange(0, unescaped.count).lowercasedBytes(in: unescaped).split(separator: .semicolon)
        for parameter in parameters.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            text.append(.semicolon)
            text.append(contentsOf: parameter)
        }
        text.append(contentsOf: self.headers.bytes(in: bytes))
        return text
    }

    /// Undoes the escapes of characters that need none (`unreserved`, RFC 3261 §25.1), and writes others in upper case.
    private static func unescaped(_ bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            guard bytes[index] == .percent, index + 2 < bytes.count, let high = digit(bytes[index + 1]),
                let low = digit(bytes[index + 2])
            else {
                text.append(bytes[index])
                index += 1
                continue
            }
            let byte = high << 4 | low
            if isUnreserved(byte) {
                text.append(byte)
            } else {
                text.append(.percent)
                for nibble in [high, low] { text.append(nibble < 10 ? 0x30 &+ nibble : 0x37 &+ nibble) }
            }
            index += 3
        }
        return text
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte &- 0x30
        case 0x41...0x46: byte &- 0x37
        case 0x61...0x66: byte &- 0x57
        default: nil
        }
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: "-_.!~*'()".utf8.contains(byte)
        }
    }
}
