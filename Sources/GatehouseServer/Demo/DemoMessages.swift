internal import SIPMessage

extension Demo {
    /// A letter-and-digit text of 64 random bits, for tags, branches and Call-IDs.
    static func random() -> String { String(UInt64.random(in: .min ... .max), radix: 36) }

    /// One end of a dialog, as requests within it are written (RFC 3261 §12.2.1.1).
    struct Dialog {
        var callID: [UInt8]
        /// From and To of the requests that we send, tags included.
        var local: [UInt8]
        var remote: [UInt8]
        /// Our Contact as a URI.
        var contact: String
        var remoteTarget: [UInt8]
        var routes: [[UInt8]]
        var cseq: UInt32

        /// The caller's end, from the answer to its INVITE.
        init?(caller invite: Message, answer: Message, contact: String) {
            guard let target = answer.contactURI, let cseq = invite.cseq else { return nil }
            self.callID = invite.value(.callID)
            self.local = invite.value(.from)
            self.remote = answer.value(.to)
            self.contact = contact
            self.remoteTarget = target
            self.routes = answer.list(.recordRoute).reversed()
            self.cseq = cseq.number
        }

        /// The callee's end, from the INVITE that it answers with the tag `tag`.
        init?(callee invite: Message, tag: String, contact: String) {
            guard let target = invite.contactURI else { return nil }
            self.callID = invite.value(.callID)
            self.local = invite.value(.to) + Array(";tag=\(tag)".utf8)
            self.remote = invite.value(.from)
            self.contact = contact
            self.remoteTarget = target
            self.routes = invite.list(.recordRoute)
            self.cseq = .random(in: 1...1_000_000)
        }

        /// A request within the dialog. All our peers are loose routers, so the Request-URI is the remote target.
        ///
        /// - Parameters:
        ///   - via: the whole Via value.
        ///   - cseq: nil: the next number.
        mutating func request(
            _ method: Method, via: String, cseq: UInt32? = nil, headers: [(StaticString, [UInt8])] = [],
            body: [UInt8] = []
        ) throws(WriteError) -> [UInt8] {
            if cseq == nil { self.cseq += 1 }
            var writer = MessageWriter()
            writer.requestLine(method: method.text, uri: self.remoteTarget)
            writer.header("Via", Array(via.utf8))
            writer.header("Max-Forwards", 70)
            for route in self.routes { writer.header("Route", route) }
            writer.header("From", self.local)
            writer.header("To", self.remote)
            writer.header("Call-ID", self.callID)
            writer.header("CSeq", Array("\(cseq ?? self.cseq) \(method.text)".utf8))
            writer.header("Contact", Array("<\(self.contact)>".utf8))
            for (name, value) in headers { writer.header(name, value) }
            writer.endHeaders(body: body)
            return try writer.finish()
        }
    }
}

extension Message {
    /// The first value of a name on one line; empty where there is none.
    func value(_ name: HeaderName) -> [UInt8] {
        self.first(name).map { self.unfolded($0.value) } ?? []
    }

    /// All values of a name that is a comma list.
    func list(_ name: HeaderName) -> [[UInt8]] {
        self.values(of: name).map { self.unfolded($0) }
    }

    func text(_ range: ByteRange?) -> String {
        range.map { $0.text(in: self.bytes) } ?? ""
    }

    /// The URI of the first Contact.
    var contactURI: [UInt8]? {
        for range in self.values(of: .contact) {
            return (try? NameAddr.parse(self.bytes, range))?.addrSpec.bytes(in: self.bytes)
        }
        return nil
    }

    /// `INVITE sips:bob@alpha.example`, `200 (INVITE)`
    var summary: String {
        guard self.isRequest else { return "\(self.status) (\(self.method.text))" }
        switch self.method {
        case .invite: return "INVITE \(self.uri.map { $0.scheme == .sips ? "sips:" : "sip:" } ?? "")\(self.userPart)"
        default: return "\(self.text(self.methodRange))"
        }
    }

    /// The user of the Request-URI; tokens, which are long, by their beginning.
    private var userPart: String {
        let user = self.text(self.uri?.user)
        return user.count > 8 ? "\(user.prefix(7))…" : user
    }
}
