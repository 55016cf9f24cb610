/// Why a part of a message is not what the grammar of RFC 3261 §25 says, and where.
public struct ParseError: Error, Hashable, Sendable {
    public enum Problem: UInt8, Sendable, CaseIterable {
        // Start line
        case startLine, version, statusCode, method
        // Lines of the header section
        case headerName, bareCarriageReturn, bareLineFeed, null, headerSectionEnd
        case headerSectionSize, headerFieldCount, requestURISize, viaCount, messageSize
        // Presence
        case missingVia, missingFrom, missingTo, missingCallID, missingCSeq
        case repeatedHeader
        // Values
        case via, viaBranch, fromTo, callID, cseq, cseqMethod, cseqUnknownMethod, maxForwards, contentLength
        case contentLengthMissing, contentLengthRepeated, bodyShort
        case route, contact, contactWildcard, emptyValue, optionTag
        // Parts of values
        case uriScheme, uriUser, host, port, uriParameter, uriHeaders, uriHeadersInRequestURI, uriCharacter
        case displayName, quotedString, angleBrackets, addressWithoutBrackets
        case parameter, repeatedParameter, tooManyParameters, trailingBytes
    }

    public var problem: Problem
    @usableFromInline var position: UInt32

    /// Counted in bytes from the first byte of the start line.
    @inlinable public var offset: Int { Int(self.position) }

    @inlinable public init(_ problem: Problem, at offset: Int) {
        self.problem = problem
        self.position = UInt32(truncatingIfNeeded: offset)
    }
}

extension ParseError: CustomStringConvertible {
    /// A sentence for the log; it goes to no peer.
    public var description: String { "\(self.problem.reason) (at byte \(self.offset))" }
}

extension ParseError.Problem {
    /// What is wrong, as a fixed text for the log.
    public var reason: StaticString {
        switch self {
        case .startLine: "the start line is neither a request line nor a status line"
        case .version: "the SIP version is not 2.0"
        case .statusCode: "the status code is not a number from 100 to 699"
        case .method: "the method is not a token"
        case .headerName: "a header line has no name, or no colon behind it"
        case .bareCarriageReturn: "a carriage return stands without a line feed"
        case .bareLineFeed: "a line ends without a carriage return"
        case .null: "a NUL stands outside a quoted pair"
        case .headerSectionEnd: "the header section does not end"
        case .headerSectionSize: "the header section is over the limit"
        case .headerFieldCount: "there are more header fields than the limit"
        case .requestURISize: "the Request-URI is over the limit"
        case .viaCount: "there are more Via values than the limit"
        case .messageSize: "the message is over the size limit"
        case .missingVia: "there is no Via"
        case .missingFrom: "there is no From"
        case .missingTo: "there is no To"
        case .missingCallID: "there is no Call-ID"
        case .missingCSeq: "there is no CSeq"
        case .repeatedHeader: "a header field that has one value stands there twice"
        case .via: "a Via value is malformed"
        case .viaBranch: "the branch of the top Via is the magic cookie alone"
        case .fromTo: "From or To is malformed"
        case .callID: "Call-ID is malformed"
        case .cseq: "CSeq is malformed or over 4294967295"
        case .cseqMethod: "the CSeq method differs from the start line"
        case .cseqUnknownMethod: "the CSeq method differs from the unknown one of the start line"
        case .maxForwards: "Max-Forwards is not a number from 0 to 255"
        case .contentLength: "Content-Length is not a number"
        case .contentLengthMissing: "there is no Content-Length on a stream"
        case .contentLengthRepeated: "there is more than one Content-Length"
        case .bodyShort: "the body is shorter than Content-Length"
        case .route: "a Route value is malformed"
        case .contact: "a Contact value is malformed"
        case .contactWildcard: "Contact: * does not stand alone in a REGISTER"
        case .emptyValue: "a value is empty"
        case .optionTag: "an option tag is not a token"
        case .uriScheme: "a URI has no scheme"
        case .uriUser: "the user part of a URI is empty or holds a byte that must be escaped"
        case .host: "a host is neither a name nor an address"
        case .port: "a port is not a number from 1 to 65535"
        case .uriParameter: "a URI parameter is malformed"
        case .uriHeaders: "the header part of a URI is malformed"
        case .uriHeadersInRequestURI: "the Request-URI has a header part"
        case .uriCharacter: "a URI holds a byte that must be escaped"
        case .displayName: "a display name is neither tokens nor a quoted string"
        case .quotedString: "a quoted string does not end or holds a control byte"
        case .angleBrackets: "an angle bracket is missing"
        case .addressWithoutBrackets: "a URI with a comma or question mark stands without angle brackets"
        case .parameter: "a parameter is malformed"
        case .repeatedParameter: "a parameter stands there twice"
        case .tooManyParameters: "one value has more parameters than the limit"
        case .trailingBytes: "bytes are left behind a value"
        }
    }
}
