public import SIPMessage

/// What RFC 5630 demands of the URIs of one request, where the edge is the place to hold a device to it.
public enum SchemeRules {
    /// Refuses a request from outside whose Contact takes back what its Request-URI promises.
    ///
    /// A `sips:` request that forms a dialog or moves its target has a `sips:` Contact (§5.1.1, §5.3; SIPS-11). A REGISTER
    /// with a `sips:` Contact has a `sips:` Request-URI and no `sip:` Contact beside it (§5.2; REG-11). What does not parse is
    /// not judged here.
    ///
    /// - Parameter requestURI: after route processing.
    public static func check(_ message: Message, requestURI: URI) throws(Refusal) {
        switch message.method {
        case .register:
            let contacts = Self.contactSchemes(of: message)
            guard contacts.hasSIPS, contacts.hasSIP || requestURI.scheme == .sip else { return }
            throw Refusal(
                400, .mixedSchemes,
                warning: "a sips Contact takes a sips Request-URI, and no sip Contact beside it")
        case .invite, .subscribe, .refer, .update, .notify:
            guard requestURI.scheme == .sips, Self.contactSchemes(of: message).hasSIP else { return }
            throw Refusal(400, .mixedSchemes, warning: "a sips Request-URI takes a sips Contact")
        case .ack, .bye, .cancel, .options, .publish, .info, .message, .prack, .other:
            return
        }
    }

    /// Whether a response that sets a dialog up names a `sip:` Contact.
    public static func hasSIPContact(_ message: Message) -> Bool { Self.contactSchemes(of: message).hasSIP }

    private static func contactSchemes(of message: Message) -> (hasSIP: Bool, hasSIPS: Bool) {
        var found = (hasSIP: false, hasSIPS: false)
        for value in message.values(of: .contact) {
            switch (try? NameAddr.parse(message.bytes, value))?.uri.scheme {
            case .sip: found.hasSIP = true
            case .sips: found.hasSIPS = true
            case .tel, .other, nil: break
            }
        }
        return found
    }
}
