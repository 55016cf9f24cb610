extension Message {
    /// The strict gate: whether all that a proxy reads in this message is well-formed (RFC 3261 §16.3 item 1).
    ///
    /// It judges the start line, Via, From, To, Call-ID, CSeq and Max-Forwards; in requests also Route, Proxy-Require, and
    /// the Contact of methods that make it a remote target or a binding. Other header fields are not a proxy's to judge.
    /// Routing and trust come later, ``proxyValidation(of:supportedExtensions:acceptsTel:)`` among them.
    ///
    /// - Returns: nil where the message may pass; else what to answer, whose status is 0 for a response or ACK. The
    ///   stream that it came on may go on.
    public func checkSyntax(_ limits: MessageLimits = MessageLimits()) -> SyntaxFault? {
        do throws(ParseError) {
            try self.checkVias(limits)
            try self.checkCore()
            if self.isRequest { try self.checkRequest() }
            return nil
        } catch {
            return SyntaxFault(error, status: error.problem.status, message: self)
        }
    }

    /// Every Via value, from the second on after what ``topVia`` already is.
    private func checkVias(_ limits: MessageLimits) throws(ParseError) {
        guard let first = self.first(.via) else { throw ParseError(.missingVia, at: self.startLineEnd) }
        let span = self.bytes.span
        guard let topVia = self.topVia else {
            var position = first.value.start
            _ = try Via.parse(span, &position, first.value.end)
            throw ParseError(.via, at: first.value.start)
        }
        if let branch = topVia.branch, branch.count == 7, topVia.hasMagicCookie {
            throw ParseError(.viaBranch, at: branch.start)  // RFC 4475 §3.2.1
        }
        var count = 1
        var position = skipLWS(span, topVia.value.end, first.value.end)
        try self.checkList(span, &position, first.value.end, &count, limits)
        guard self.index.isRepeated(.via) else { return }
        var isFirst = true
        for field in self.fields where field.name == .via {
            guard !isFirst else {
                isFirst = false
                continue
            }
            position = field.value.start
            count &+= 1
            _ = try Via.parse(span, &position, field.value.end)
            try self.checkList(span, &position, field.value.end, &count, limits)
        }
    }

    /// The values behind one that was just parsed.
    @inline(__always)
    private func checkList(
        _ span: Span<UInt8>, _ position: inout Int, _ end: Int, _ count: inout Int, _ limits: MessageLimits
    ) throws(ParseError) {
        while position < end {
            guard span[position] == .comma else { throw ParseError(.via, at: position) }
            position &+= 1
            count &+= 1
            _ = try Via.parse(span, &position, end)
        }
        guard count <= limits.vias else { throw ParseError(.viaCount, at: position) }
    }

    /// From, To, Call-ID and CSeq: each once and well-formed, in requests and responses.
    private func checkCore() throws(ParseError) {
        let span = self.bytes.span
        let from = try self.single(.from, orThrow: .missingFrom)
        if self.from == nil { try malformedAddress(span, from.value) }
        let to = try self.single(.to, orThrow: .missingTo)
        if self.to == nil { try malformedAddress(span, to.value) }
        let callID = try self.single(.callID, orThrow: .missingCallID)
        guard self.callID != nil else { throw ParseError(.callID, at: callID.value.start) }
        let cseqRow = try self.single(.cseq, orThrow: .missingCSeq)
        guard let cseq = self.cseq else { throw ParseError(.cseq, at: cseqRow.value.start) }
        guard case .request(let method) = self.startLine else { return }
        let isSame =
            method != .other
            ? method == cseq.method : self.methodRange.equals(cseq.methodRange, in: self.bytes, own: self.bytes)
        guard isSame else {
            throw ParseError(method == .other ? .cseqUnknownMethod : .cseqMethod, at: cseq.methodRange.start)
        }
    }

    /// The one row of a name that has exactly one.
    @inline(__always)
    private func single(
        _ name: HeaderName, orThrow missing: ParseError.Problem
    ) throws(ParseError) -> HeaderField {
        guard let field = self.first(name) else { throw ParseError(missing, at: self.startLineEnd) }
        guard !self.index.isRepeated(name) else { throw ParseError(.repeatedHeader, at: field.line.start) }
        return field
    }

    private func checkRequest() throws(ParseError) {
        let span = self.bytes.span
        guard let uri = self.uri else {
            _ = try URI.parse(span, self.requestURI.start, self.requestURI.end)
            throw ParseError(.uriCharacter, at: self.requestURI.start)
        }
        // RFC 3261 §19.1.1 Table 1; a header escaped there must never become one of ours (RFC 4475 §3.1.2.11).
        guard uri.headers.isEmpty else { throw ParseError(.uriHeadersInRequestURI, at: uri.headers.start) }
        if let field = self.first(.maxForwards) {
            guard !self.index.isRepeated(.maxForwards) else {
                throw ParseError(.repeatedHeader, at: field.line.start)
            }
            guard self.maxForwards != nil else { throw ParseError(.maxForwards, at: field.value.start) }
        }
        if self.index.isPresent(.route) {
            for field in self.fields where field.name == .route { try checkRoute(span, field.value) }
        }
        if self.index.isPresent(.proxyRequire) {
            for field in self.fields where field.name == .proxyRequire { try checkOptionTags(span, field.value) }
        }
        if self.index.isPresent(.contact), self.methodUsesContact { try self.checkContacts(span) }
    }

    /// Methods whose Contact is a binding (RFC 3261 §10) or a remote target (§12; RFC 3311, 3515, 6665).
    private var methodUsesContact: Bool {
        switch self.method {
        case .register, .invite, .subscribe, .notify, .refer, .update: true
        case .ack, .bye, .cancel, .options, .publish, .info, .message, .prack, .other: false
        }
    }

    private func checkContacts(_ span: Span<UInt8>) throws(ParseError) {
        var hasWildcard = false
        var count = 0
        for field in self.fields where field.name == .contact {
            var position = field.value.start
            count &+= 1
            if field.value.count == 1, span[position] == .asterisk {
                hasWildcard = true
            } else {
                _ = try NameAddr.parse(span, &position, field.value.end)
                while position < field.value.end {
                    position &+= 1  // the comma that the parser stopped at
                    count &+= 1
                    _ = try NameAddr.parse(span, &position, field.value.end)
                }
            }
            guard !hasWildcard || count == 1 && self.method == .register else {
                throw ParseError(.contactWildcard, at: field.value.start)
            }
        }
    }
}

/// Throws what is wrong with a From or To that did not parse.
private func malformedAddress(_ span: Span<UInt8>, _ range: ByteRange) throws(ParseError) {
    var position = range.start
    _ = try NameAddr.parse(span, &position, range.end)
    throw ParseError(.fromTo, at: position)
}

/// `name-addr` values alone (RFC 3261 §20.34): brackets, or `;lr` would be the header's.
private func checkRoute(_ span: Span<UInt8>, _ range: ByteRange) throws(ParseError) {
    var position = range.start
    while true {
        let start = position
        let value = try NameAddr.parse(span, &position, range.end)
        guard value.hasAngles else { throw ParseError(.route, at: start) }
        guard position < range.end else { return }
        position &+= 1  // the comma that the parser stopped at
    }
}

private func checkOptionTags(_ span: Span<UInt8>, _ range: ByteRange) throws(ParseError) {
    var position = range.start
    while true {
        let start = skipLWS(span, position, range.end)
        let end = skip(.token, span, start, range.end)
        position = skipLWS(span, end, range.end)
        guard end > start, position == range.end || span[position] == .comma else {
            throw ParseError(.optionTag, at: end)
        }
        guard position < range.end else { return }
        position &+= 1
    }
}
