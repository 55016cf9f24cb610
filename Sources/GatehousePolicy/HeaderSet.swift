public import SIPMessage

/// Names of header fields, for a look at each row of a message.
public struct HeaderSet: Hashable, Sendable {
    /// A bit for each known name.
    private var known: UInt64 = 0
    /// The others, in lower case.
    private var others: [[UInt8]] = []

    /// - Parameter names: long or compact, in any case.
    public init(_ names: [String]) {
        for name in names {
            let bytes = Array(name.utf8)
            let header = HeaderName(bytes)
            switch header {
            case .other, .gatehouse: self.others.append(bytes.map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 })
            default: self.known |= 1 << UInt64(header.rawValue)
            }
        }
    }

    public func contains(_ field: HeaderField, in bytes: [UInt8]) -> Bool {
        guard field.name == .other else { return self.known >> UInt64(field.name.rawValue) & 1 == 1 }
        guard !self.others.isEmpty else { return false }
        return self.others.contains(field.nameRange.lowercasedBytes(in: bytes))
    }
}
