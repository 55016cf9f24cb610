/// Start line and header section of one message, as offsets from its first byte.
struct Head {
    var startLine = Message.StartLine.request(.other)
    /// Method of a request, version of a response.
    var firstPart = ByteRange(0, 0)
    /// Request-URI, or status code.
    var secondPart = ByteRange(0, 0)
    /// Version of a request, reason phrase of a response.
    var thirdPart = ByteRange(0, 0)
    var startLineEnd = 0
    var fields = ContiguousArray<HeaderField>()
    var index = HeaderIndex()
    /// The first byte of the body.
    var end = 0
    /// nil where there is no Content-Length or `problem` says what is wrong with it.
    var contentLength: Int?
    /// The first thing that is wrong with the section as such; values are judged later.
    var problem: ParseError?
    /// Whether CR, LF or NUL stands where none may, whatever was wrong first: rows are not to be copied as they are.
    var isRagged = false
    /// Whether one of its problems, not only the first, is of those after which a stream cannot go on.
    var losesFraming = false

    @inline(__always)
    mutating func note(_ problem: ParseError.Problem, at offset: Int) {
        if self.problem == nil { self.problem = ParseError(problem, at: offset) }
        if problem.losesFraming { self.losesFraming = true }
        switch problem {
        case .bareCarriageReturn, .bareLineFeed, .null, .headerSectionEnd: self.isRagged = true
        default: break
        }
    }
}

extension ParseError.Problem {
    /// What a request with this problem is answered (RFC 3261 §21.4, §21.5); 0: nothing.
    var status: Int {
        switch self {
        case .version: 505
        case .requestURISize: 414
        case .messageSize: 413
        case .headerSectionSize, .headerFieldCount, .viaCount: 513
        case .cseqUnknownMethod: 501
        case .missingVia: 0
        default: 400
        }
    }

    /// Whether a stream is of no use after this: where lines do not end as they should, bodies may not either.
    var losesFraming: Bool {
        switch self {
        case .bareCarriageReturn, .bareLineFeed, .null, .headerSectionEnd, .headerSectionSize, .headerFieldCount,
            .messageSize, .contentLength, .contentLengthMissing, .contentLengthRepeated, .bodyShort:
            true
        default:
            false
        }
    }
}
