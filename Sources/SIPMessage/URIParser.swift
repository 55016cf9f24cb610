extension URI {
    /// Parses the URI that fills `range`, strictly (RFC 3261 §25.1, with the IPv6 addresses of RFC 5954).
    ///
    /// - Throws: what is wrong and where, in bytes from the start of `bytes`.
    public static func parse(_ bytes: [UInt8], _ range: ByteRange) throws(ParseError) -> URI {
        guard range.end <= bytes.count else { throw ParseError(.uriScheme, at: range.start) }
        return try URI.parse(bytes.span, range.start, range.end)
    }

    static func parse(_ span: Span<UInt8>, _ start: Int, _ end: Int) throws(ParseError) -> URI {
        var index = start
        let token = packToken(.scheme, span, &index, end)
        guard token.count > 0, index < end, span[index] == .colon, lowercased(span[start]) &- 0x61 < 26 else {
            throw ParseError(.uriScheme, at: start)
        }
        index &+= 1
        switch (token.key, token.count) {
        case (0x73_6970, 3): return try URI.parseSIP(.sip, span, start, index, end)
        case (0x7369_7073, 4): return try URI.parseSIP(.sips, span, start, index, end)
        case (0x74_656C, 3): return try URI.parseOpaque(.tel, span, start, index, end)
        default: return try URI.parseOpaque(.other, span, start, index, end)
        }
    }

    private static func parseSIP(
        _ scheme: Scheme, _ span: Span<UInt8>, _ start: Int, _ afterScheme: Int, _ end: Int
    ) throws(ParseError) -> URI {
        var index = afterScheme
        var user = OptionalRange.none
        var password = OptionalRange.none
        // An @ stands nowhere else in a SIP URI, so one says that there is a user.
        var at = index
        while at < end, span[at] != .at { at &+= 1 }
        if at < end {
            index = skipWithEscapes(.user, span, index, at)
            guard index > afterScheme else { throw ParseError(.uriUser, at: index) }
            user = OptionalRange(ByteRange(afterScheme, index))
            if index < at, span[index] == .colon {
                let passwordStart = index &+ 1
                index = skipWithEscapes(.password, span, passwordStart, at)
                password = OptionalRange(ByteRange(passwordStart, index))
            }
            guard index == at else { throw ParseError(.uriUser, at: index) }
            index &+= 1
        }
        let host = try scanHost(span, &index, end)
        var port: UInt16 = 0
        if index < end, span[index] == .colon {
            index &+= 1
            port = try scanPort(span, &index, end)
        }
        let parametersStart = index
        if index < end, span[index] == .semicolon {
            var names = ParameterNames(from: index, .uri)
            repeat {
                let (parameter, token) = try scanParameter(.uri, span, &index, end)
                try names.insert(parameter.name, token, span)
            } while index < end && span[index] == .semicolon
        }
        let headersStart = index
        if index < end, span[index] == .question {
            index = try URI.skipHeaders(span, index, end)
        }
        guard index == end else { throw ParseError(.uriCharacter, at: index) }
        return URI(
            whole: ByteRange(start, end), host: host.range, parameters: ByteRange(parametersStart, headersStart),
            headers: ByteRange(headersStart, end), optionalUser: user, optionalPassword: password, writtenPort: port,
            scheme: scheme, isIPv6Reference: host.isIPv6Reference)
    }

    /// `headers`: ? name=value and more behind &; names are not empty, values may be.
    private static func skipHeaders(_ span: Span<UInt8>, _ question: Int, _ end: Int) throws(ParseError) -> Int {
        var index = question
        repeat {
            let nameStart = index &+ 1
            index = skipWithEscapes(.uriHeader, span, nameStart, end)
            guard index > nameStart, index < end, span[index] == .equals else {
                throw ParseError(.uriHeaders, at: index)
            }
            index = skipWithEscapes(.uriHeader, span, index &+ 1, end)
        } while index < end && span[index] == 0x26  // &
        return index
    }

    private static func parseOpaque(
        _ scheme: Scheme, _ span: Span<UInt8>, _ start: Int, _ afterScheme: Int, _ end: Int
    ) throws(ParseError) -> URI {
        let index = skipWithEscapes(.absoluteURI, span, afterScheme, end)
        guard index == end else { throw ParseError(.uriCharacter, at: index) }
        guard afterScheme < end else { throw ParseError(.uriScheme, at: start) }
        var user = OptionalRange.none
        var parametersStart = end
        if scheme == .tel {
            parametersStart = afterScheme
            while parametersStart < end, span[parametersStart] != .semicolon { parametersStart &+= 1 }
            user = OptionalRange(ByteRange(afterScheme, parametersStart))
        }
        let none = ByteRange(end, end)
        return URI(
            whole: ByteRange(start, end), host: none, parameters: ByteRange(parametersStart, end), headers: none,
            optionalUser: user, optionalPassword: .none, writtenPort: 0, scheme: scheme, isIPv6Reference: false)
    }
}
