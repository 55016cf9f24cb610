/// One parameter: of a header field's value, or of a URI.
public struct Parameter: Hashable, Sendable {
    public var name: ByteRange
    @usableFromInline var optionalValue: OptionalRange
    /// From the semicolon to the end of the value: what to cut to remove the parameter.
    public var whole: ByteRange

    /// Behind the `=`, with the quotes of a quoted-string; nil where there is no `=`.
    @inlinable public var value: ByteRange? { self.optionalValue.range }
}

/// The grammar that a list of parameters follows.
@usableFromInline
enum ParameterGrammar: Sendable {
    /// `generic-param` of header fields: tokens, quoted strings, white space round the separators.
    case header
    /// `uri-parameter`: escapes, and no white space at all.
    case uri

    /// More parameters than this in one value are refused: no one sends them, and names are compared pairwise.
    static var limit: Int { 64 }
}

/// Walks one parameter with its semicolon, on which `index` stands.
@inline(__always)
func scanParameter(
    _ grammar: ParameterGrammar, _ span: Span<UInt8>, _ index: inout Int, _ end: Int
) throws(ParseError) -> (parameter: Parameter, token: PackedToken) {
    let start = index
    index &+= 1
    switch grammar {
    case .header:
        index = skipLWS(span, index, end)
        let nameStart = index
        let token = packToken(.token, span, &index, end)
        guard token.count > 0 else { throw ParseError(.parameter, at: nameStart) }
        let name = ByteRange(nameStart, index)
        let equals = skipLWS(span, index, end)
        guard equals < end, span[equals] == .equals else {
            let whole = ByteRange(start, index)
            return (Parameter(name: name, optionalValue: .none, whole: whole), token)
        }
        let valueStart = skipLWS(span, equals &+ 1, end)
        if valueStart < end, span[valueStart] == .quote {
            guard let close = skipQuotedString(span, valueStart, end) else {
                throw ParseError(.quotedString, at: valueStart)
            }
            index = close
        } else {
            index = skip(.parameterValue, span, valueStart, end)
        }
        guard index > valueStart else { throw ParseError(.parameter, at: valueStart) }
        let value = OptionalRange(ByteRange(valueStart, index))
        return (Parameter(name: name, optionalValue: value, whole: ByteRange(start, index)), token)
    case .uri:
        let nameStart = index
        var token = packToken(.uriParameter, span, &index, end)
        if index < end, span[index] == .percent {
            index = skipWithEscapes(.uriParameter, span, index, end)
            token.count = index &- nameStart
        }
        guard index > nameStart else { throw ParseError(.uriParameter, at: nameStart) }
        let name = ByteRange(nameStart, index)
        guard index < end, span[index] == .equals else {
            let whole = ByteRange(start, index)
            return (Parameter(name: name, optionalValue: .none, whole: whole), token)
        }
        let valueStart = index &+ 1
        index = skipWithEscapes(.uriParameter, span, valueStart, end)
        guard index > valueStart else { throw ParseError(.uriParameter, at: valueStart) }
        let value = OptionalRange(ByteRange(valueStart, index))
        return (Parameter(name: name, optionalValue: value, whole: ByteRange(start, index)), token)
    }
}

/// Keeps the names of one list apart: the same name twice is an error (RFC 3261 §7.3.1, §19.1.1).
struct ParameterNames {
    private let listStart: Int
    private let grammar: ParameterGrammar
    private var bits: UInt64 = 0
    private var count = 0

    init(from listStart: Int, _ grammar: ParameterGrammar) {
        self.listStart = listStart
        self.grammar = grammar
    }

    @inline(__always)
    mutating func insert(_ name: ByteRange, _ token: PackedToken, _ span: Span<UInt8>) throws(ParseError) {
        self.count &+= 1
        guard self.count <= ParameterGrammar.limit else { throw ParseError(.tooManyParameters, at: name.start) }
        let bit = token.bit
        if self.bits & bit != 0 { try self.compare(name, span) }
        self.bits |= bit
    }

    /// Walks the list again up to `name`.
    @inline(never)
    private func compare(_ name: ByteRange, _ span: Span<UInt8>) throws(ParseError) {
        var index = self.listStart
        while index < name.start {
            if self.grammar == .header { index = skipLWS(span, index, name.start) }
            guard index < name.start, span[index] == .semicolon else { return }
            let earlier = try scanParameter(self.grammar, span, &index, name.end).parameter.name
            guard earlier.start < name.start else { return }
            if SIPMessage.equalsIgnoringCase(span, earlier, name) {
                throw ParseError(.repeatedParameter, at: name.start)
            }
        }
    }
}

/// The parameters of a value in their order.
public struct ParameterList: Sequence, Sendable {
    let bytes: [UInt8]
    let range: ByteRange
    let grammar: ParameterGrammar

    public struct Iterator: IteratorProtocol {
        private let bytes: [UInt8]
        private var index: Int
        private let end: Int
        private let grammar: ParameterGrammar

        init(_ list: ParameterList) {
            self.bytes = list.bytes
            self.index = list.range.start
            self.end = list.range.end
            self.grammar = list.grammar
        }

        /// The next parameter; nil at the end, and at a malformed one, which a parsed value does not have.
        public mutating func next() -> Parameter? {
            let bytes = self.bytes
            let span = bytes.span
            var index = self.index
            if self.grammar == .header { index = skipLWS(span, index, self.end) }
            guard index < self.end, span[index] == .semicolon else { return nil }
            do throws(ParseError) {
                let parameter = try scanParameter(self.grammar, span, &index, self.end).parameter
                self.index = index
                return parameter
            } catch {
                self.index = self.end
                return nil
            }
        }
    }

    public func makeIterator() -> Iterator { Iterator(self) }

    /// The first parameter of this name, in any case.
    public func first(_ name: StaticString) -> Parameter? {
        for parameter in self where parameter.name.equalsIgnoringCase(name, in: self.bytes) { return parameter }
        return nil
    }
}
