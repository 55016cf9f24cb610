/// An address in a header field: `name-addr` or `addr-spec`, and the parameters behind it (RFC 3261 §20.10, §25.1).
public struct NameAddr: Hashable, Sendable {
    /// With the quotes of a quoted-string; empty where there is none.
    public var displayName: ByteRange
    public var uri: URI
    /// Header parameters from the first semicolon on, with it; empty where there are none.
    public var parameters: ByteRange
    @usableFromInline var optionalTag: OptionalRange
    /// Whether the URI stands in angle brackets. Without them all parameters are the header's (RFC 3261 §20.10).
    public var hasAngles: Bool

    /// The URI without its brackets.
    @inlinable public var addrSpec: ByteRange { self.uri.whole }
    @inlinable public var tag: ByteRange? { self.optionalTag.range }

    /// Display name, URI with its brackets and parameters, without white space around them.
    @inlinable public var whole: ByteRange {
        let start =
            !self.displayName.isEmpty
            ? self.displayName.start : self.hasAngles ? self.uri.whole.start &- 1 : self.uri.whole.start
        let uriEnd = self.hasAngles ? self.uri.whole.end &+ 1 : self.uri.whole.end
        return ByteRange(start, self.parameters.isEmpty ? uriEnd : self.parameters.end)
    }
}

extension NameAddr {
    /// Parses the one value that fills `range`, strictly; white space may surround it.
    ///
    /// - Throws: what is wrong and where, in bytes from the start of `bytes`.
    public static func parse(_ bytes: [UInt8], _ range: ByteRange) throws(ParseError) -> NameAddr {
        guard range.end <= bytes.count else { throw ParseError(.emptyValue, at: range.start) }
        var index = range.start
        let value = try NameAddr.parse(bytes.span, &index, range.end)
        guard index == range.end else { throw ParseError(.trailingBytes, at: index) }
        return value
    }

    /// Parses one value from `index` on and leaves `index` at the comma behind it, or at `end`.
    static func parse(_ span: Span<UInt8>, _ index: inout Int, _ end: Int) throws(ParseError) -> NameAddr {
        index = skipLWS(span, index, end)
        guard index < end else { throw ParseError(.emptyValue, at: index) }
        let start = index
        var displayName = ByteRange(start, start)
        if span[index] == .quote {
            guard let close = skipQuotedString(span, index, end) else { throw ParseError(.quotedString, at: index) }
            displayName = ByteRange(start, close)
            index = skipLWS(span, close, end)
            guard index < end, span[index] == .less else { throw ParseError(.angleBrackets, at: index) }
        } else {
            // Tokens up to `<` are a display name (RFC 4475 §3.1.1.6: also with no space before it).
            var nameEnd = index
            while true {
                let tokenEnd = skip(.token, span, index, end)
                guard tokenEnd > index else { break }
                nameEnd = tokenEnd
                index = skipLWS(span, tokenEnd, end)
            }
            if index < end, span[index] == .less {
                displayName = ByteRange(start, nameEnd)
            } else if index == end || span[index] != .colon || nameEnd != index {
                throw ParseError(.displayName, at: index)
            } else {
                return try NameAddr.parseBare(span, &index, start, end)
            }
        }
        let uriStart = index &+ 1
        index = uriStart
        while index < end, span[index] != .greater { index &+= 1 }
        guard index < end else { throw ParseError(.angleBrackets, at: end) }
        let uri = try URI.parse(span, uriStart, index)
        index = skipLWS(span, index &+ 1, end)
        let (parameters, tag) = try parseHeaderParameters(span, &index, end)
        return NameAddr(displayName: displayName, uri: uri, parameters: parameters, optionalTag: tag, hasAngles: true)
    }

    /// An `addr-spec` without brackets: it ends at white space or the first semicolon, and holds neither comma nor
    /// question mark (RFC 3261 §20).
    private static func parseBare(
        _ span: Span<UInt8>, _ index: inout Int, _ start: Int, _ end: Int
    ) throws(ParseError) -> NameAddr {
        index = start
        while index < end, span[index] != .semicolon, span[index] != .comma, !isLWS(span[index]) {
            guard span[index] != .question else { throw ParseError(.addressWithoutBrackets, at: index) }
            index &+= 1
        }
        let uri = try URI.parse(span, start, index)
        index = skipLWS(span, index, end)
        let (parameters, tag) = try parseHeaderParameters(span, &index, end)
        let none = ByteRange(start, start)
        return NameAddr(displayName: none, uri: uri, parameters: parameters, optionalTag: tag, hasAngles: false)
    }
}

/// Walks `*( SEMI generic-param )` up to a comma or `end`; each name at most once. The range ends without white space.
private func parseHeaderParameters(
    _ span: Span<UInt8>, _ index: inout Int, _ end: Int
) throws(ParseError) -> (range: ByteRange, tag: OptionalRange) {
    let start = index
    var last = start
    var tag = OptionalRange.none
    if index < end, span[index] == .semicolon {
        var names = ParameterNames(from: index, .header)
        repeat {
            let (parameter, token) = try scanParameter(.header, span, &index, end)
            try names.insert(parameter.name, token, span)
            if token == .tag {
                guard parameter.value != nil else { throw ParseError(.parameter, at: parameter.name.start) }
                tag = parameter.optionalValue
            }
            last = index
            index = skipLWS(span, index, end)
        } while index < end && span[index] == .semicolon
    }
    guard index == end || span[index] == .comma else { throw ParseError(.parameter, at: index) }
    return (ByteRange(start, last), tag)
}

extension NameAddr {
    /// A header parameter's value: empty where it has none, nil where the parameter is absent.
    public func parameter(_ name: StaticString, in bytes: [UInt8]) -> ByteRange? {
        guard !self.parameters.isEmpty, let parameter = self.parameterList(in: bytes).first(name) else { return nil }
        return parameter.value ?? ByteRange(parameter.name.end, parameter.name.end)
    }

    /// All header parameters in their order.
    public func parameterList(in bytes: [UInt8]) -> ParameterList {
        ParameterList(bytes: bytes, range: self.parameters, grammar: .header)
    }
}
