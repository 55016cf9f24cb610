/// One Via value (RFC 3261 §20.42, RFC 3581 §3).
public struct Via: Hashable, Sendable {
    /// This one value, without white space around it.
    public var value: ByteRange
    /// `UDP`, `TCP`, `TLS` or any other token, as written.
    public var transport: ByteRange
    /// Without brackets.
    public var sentByHost: ByteRange
    /// From the first semicolon on, with it; empty where there are none.
    public var parameters: ByteRange
    @usableFromInline var optionalBranch: OptionalRange
    @usableFromInline var optionalReceived: OptionalRange
    @usableFromInline var optionalRport: OptionalRange
    @usableFromInline var optionalMaddr: OptionalRange
    /// 0: none.
    @usableFromInline var writtenPort: UInt16
    public var isIPv6Reference: Bool
    /// Whether the branch starts with `z9hG4bK` in any case (RFC 3261 §8.1.1.7; tokens compare without case).
    public var hasMagicCookie: Bool

    @inlinable public var sentByPort: UInt16? { self.writtenPort == 0 ? nil : self.writtenPort }
    @inlinable public var branch: ByteRange? { self.optionalBranch.range }
    /// As the peer wrote it, perhaps in brackets (RFC 5118 §4.5).
    @inlinable public var received: ByteRange? { self.optionalReceived.range }
    /// Empty where it has no value, nil where it is absent.
    @inlinable public var rport: ByteRange? { self.optionalRport.range }
    @inlinable public var maddr: ByteRange? { self.optionalMaddr.range }

    /// The sent-by as an address; nil where it is a name.
    public func sentByAddress(in bytes: [UInt8]) -> IPAddress? {
        IPAddress(bytes: bytes, range: self.sentByHost)
    }

    /// A parameter's value: empty where it has none, nil where the parameter is absent.
    public func parameter(_ name: StaticString, in bytes: [UInt8]) -> ByteRange? {
        guard !self.parameters.isEmpty, let parameter = self.parameterList(in: bytes).first(name) else { return nil }
        return parameter.value ?? ByteRange(parameter.name.end, parameter.name.end)
    }

    /// All parameters in their order.
    public func parameterList(in bytes: [UInt8]) -> ParameterList {
        ParameterList(bytes: bytes, range: self.parameters, grammar: .header)
    }
}

extension Via {
    /// Parses the one value that fills `range`, strictly; white space may surround it.
    ///
    /// - Throws: what is wrong and where, in bytes from the start of `bytes`.
    public static func parse(_ bytes: [UInt8], _ range: ByteRange) throws(ParseError) -> Via {
        guard range.end <= bytes.count else { throw ParseError(.via, at: range.start) }
        var index = range.start
        let value = try Via.parse(bytes.span, &index, range.end)
        guard index == range.end else { throw ParseError(.trailingBytes, at: index) }
        return value
    }

    /// Parses one value from `index` on and leaves `index` at the comma behind it, or at `end`.
    static func parse(_ span: Span<UInt8>, _ index: inout Int, _ end: Int) throws(ParseError) -> Via {
        index = skipLWS(span, index, end)
        let start = index
        // sent-protocol: protocol-name / protocol-version / transport
        for _ in 0..<2 {
            let partEnd = skip(.token, span, index, end)
            let slash = skipLWS(span, partEnd, end)
            guard partEnd > index, slash < end, span[slash] == .slash else { throw ParseError(.via, at: partEnd) }
            index = skipLWS(span, slash &+ 1, end)
        }
        let transportEnd = skip(.token, span, index, end)
        let transport = ByteRange(index, transportEnd)
        let hostStart = skipLWS(span, transportEnd, end)
        guard !transport.isEmpty, hostStart > transportEnd else { throw ParseError(.via, at: transportEnd) }
        index = hostStart
        let host = try scanHost(span, &index, end)
        var last = index
        index = skipLWS(span, index, end)
        var port: UInt16 = 0
        if index < end, span[index] == .colon {
            index = skipLWS(span, index &+ 1, end)
            port = try scanPort(span, &index, end)
            last = index
            index = skipLWS(span, index, end)
        }
        var via = Via(
            value: ByteRange(start, last), transport: transport, sentByHost: host.range,
            parameters: ByteRange(index, index), optionalBranch: .none, optionalReceived: .none, optionalRport: .none,
            optionalMaddr: .none, writtenPort: port, isIPv6Reference: host.isIPv6Reference, hasMagicCookie: false)
        if index < end, span[index] == .semicolon {
            try via.parseParameters(span, &index, end)
        }
        guard index == end || span[index] == .comma else { throw ParseError(.via, at: index) }
        return via
    }

    @inline(__always)
    private mutating func parseParameters(
        _ span: Span<UInt8>, _ index: inout Int, _ end: Int
    ) throws(ParseError) {
        let start = index
        var names = ParameterNames(from: index, .header)
        repeat {
            let (parameter, token) = try scanParameter(.header, span, &index, end)
            try names.insert(parameter.name, token, span)
            switch token {
            case .branch:
                guard let branch = parameter.value else { throw ParseError(.parameter, at: parameter.name.start) }
                self.optionalBranch = parameter.optionalValue
                self.hasMagicCookie = startsWithMagicCookie(span, branch)
            case .received:
                guard parameter.value != nil else { throw ParseError(.parameter, at: parameter.name.start) }
                self.optionalReceived = parameter.optionalValue
            case .rport:
                self.optionalRport = OptionalRange(parameter.value ?? ByteRange(parameter.name.end, parameter.name.end))
            case .maddr:
                guard parameter.value != nil else { throw ParseError(.parameter, at: parameter.name.start) }
                self.optionalMaddr = parameter.optionalValue
            default:
                break
            }
            self.value = ByteRange(self.value.start, index)
            self.parameters = ByteRange(start, index)
            index = skipLWS(span, index, end)
        } while index < end && span[index] == .semicolon
    }
}

/// Whether a branch starts with `z9hG4bK` in any case.
private func startsWithMagicCookie(_ span: Span<UInt8>, _ branch: ByteRange) -> Bool {
    guard branch.count >= 7 else { return false }
    var key: UInt64 = 0
    for index in branch.start..<branch.start &+ 7 { key = key &<< 8 | UInt64(lowercased(span[index])) }
    return key == 0x7A_3968_6734_626B
}
