/// A value of a YAML file with its place.
///
/// What a scalar means is for the schema to say: nothing is a number, a date or a boolean by its looks, so `no`, `1.2`
/// and `5:30` are no traps.
struct YAMLNode: Sendable {
    struct Entry: Sendable {
        var key: String
        var keyPosition: YAMLPosition
        var value: YAMLNode
    }

    enum Content: Sendable {
        /// `isPlain`: written without quotes.
        case scalar(String, isPlain: Bool)
        case sequence([YAMLNode])
        /// In the order of the file; keys may repeat, which the reader reports. Entries of merge keys stand last.
        case mapping([Entry])
    }

    var content: Content
    var position: YAMLPosition

    /// Nothing at all, or one of YAML's words for it.
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = self.content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// What the value is, for messages.
    var kindName: String {
        switch self.content {
        case .scalar: self.isNull ? "nothing" : "a text"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }

    /// The scalar as written; nil for lists and mappings.
    var text: String? {
        guard case .scalar(let text, _) = self.content else { return nil }
        return text
    }
}
