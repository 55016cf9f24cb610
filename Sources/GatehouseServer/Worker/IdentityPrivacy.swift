internal import SIPMessage

extension Message {
    enum IdentityPrivacy {
        /// `Privacy: id`: the asserted identity stays inside.
        case asked
        /// `Privacy: none`: it is to be shown.
        case declined
    }

    /// What Privacy says of the asserted identity (RFC 3325 §7, RFC 3323 §4.2); nil where it says nothing.
    var identityPrivacy: IdentityPrivacy? {
        guard self.first(.privacy) != nil else { return nil }
        var found: IdentityPrivacy?
        for value in self.values(of: .privacy) {
            for word in self.bytes[value.range].split(separator: 0x3B) {
                switch String(decoding: word, as: UTF8.self).lowercased().filter({ $0 != " " && $0 != "\t" }) {
                case "id": return .asked
                case "none": found = .declined
                default: break
                }
            }
        }
        return found
    }
}
