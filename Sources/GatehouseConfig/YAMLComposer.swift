/// Bounds on a document, so that a small file cannot become a large tree.
struct YAMLLimits: Sendable {
    /// Lists and mappings inside each other.
    var depth = 32
    /// Nodes that aliases repeat.
    var aliasedNodes = 1_000_000
}

/// Makes a tree out of events: resolves anchors, aliases and merge keys.
struct YAMLComposer: ~Copyable {
    private var events: YAMLEvents
    private let limits: YAMLLimits
    /// Complete nodes by anchor, with the number of nodes in each; an alias inside its own anchor finds none.
    private var anchors: [String: (node: YAMLNode, count: Int)] = [:]
    private var aliasedNodes = 0
    /// Nodes composed so far, repeated ones included.
    private var nodes = 0

    /// Reads the one document of a file.
    ///
    /// - Returns: nil where the file holds nothing but white space and comments.
    static func compose(_ bytes: [UInt8], limits: YAMLLimits = YAMLLimits()) throws(YAMLFault) -> YAMLNode? {
        var composer = YAMLComposer(events: try YAMLEvents(bytes), limits: limits)
        return try composer.document()
    }

    private init(events: consuming YAMLEvents, limits: YAMLLimits) {
        self.events = events
        self.limits = limits
    }

    private mutating func document() throws(YAMLFault) -> YAMLNode? {
        var root: YAMLNode?
        while true {
            let (event, position) = try self.events.next()
            switch event {
            case .streamEnd: return root
            case .documentEnd: continue
            case .documentStart:
                guard root == nil else {
                    throw YAMLFault(
                        position: position, problem: "a second document begins", text: "---",
                        cure: "keep one document a file; give each domain a file of its own and name it under include")
                }
                let (first, start) = try self.events.next()
                root = try self.node(first, at: start, depth: 0)
            case .alias, .scalar, .sequenceStart, .sequenceEnd, .mappingStart, .mappingEnd:
                throw YAMLFault(position: position, problem: "not valid YAML", cure: "check the indentation here")
            }
        }
    }

    private mutating func node(
        _ event: YAMLEvent, at position: YAMLPosition, depth: Int
    ) throws(YAMLFault) -> YAMLNode {
        guard depth <= self.limits.depth else {
            throw YAMLFault(
                position: position, problem: "nested more than \(self.limits.depth) levels deep",
                cure: "no part of a configuration is")
        }
        let before = self.nodes
        self.nodes += 1
        let node: YAMLNode
        let name: String?
        switch event {
        case .alias(let name):
            return try self.resolve(name, at: position)
        case .scalar(let text, let isPlain, let anchor, let tag):
            let isText = try self.isText(tag, at: position)
            node = YAMLNode(content: .scalar(text, isPlain: isPlain && !isText), position: position)
            name = anchor
        case .sequenceStart(let anchor, let tag):
            _ = try self.isText(tag, at: position)
            node = YAMLNode(content: .sequence(try self.elements(depth: depth)), position: position)
            name = anchor
        case .mappingStart(let anchor, let tag):
            _ = try self.isText(tag, at: position)
            node = YAMLNode(content: .mapping(try self.entries(depth: depth)), position: position)
            name = anchor
        case .documentStart, .documentEnd, .streamEnd, .sequenceEnd, .mappingEnd:
            throw YAMLFault(position: position, problem: "not valid YAML", cure: "check the indentation here")
        }
        if let name { self.anchors[name] = (node, self.nodes - before) }
        return node
    }

    private mutating func resolve(_ name: String, at position: YAMLPosition) throws(YAMLFault) -> YAMLNode {
        guard let anchor = self.anchors[name] else {
            throw YAMLFault(
                position: position, problem: "no anchor of this name stands before it", text: "*\(name)",
                cure: "define it with &\(name) further up in this file, or quote a value that begins with *")
        }
        self.aliasedNodes += anchor.count
        self.nodes += anchor.count - 1
        guard self.aliasedNodes <= self.limits.aliasedNodes else {
            throw YAMLFault(
                position: position, problem: "aliases repeat more than \(self.limits.aliasedNodes) values",
                text: "*\(name)", cure: "use fewer of them")
        }
        return anchor.node
    }

    /// Whether the tag makes a scalar a text whatever it looks like.
    private func isText(_ tag: String?, at position: YAMLPosition) throws(YAMLFault) -> Bool {
        switch tag {
        case nil, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq": return false
        case "!", "tag:yaml.org,2002:str": return true
        case .some(let tag):
            throw YAMLFault(
                position: position, problem: "tags have no meaning here", text: tag,
                cure: "remove the tag; quote a value that begins with an exclamation mark")
        }
    }

    private mutating func elements(depth: Int) throws(YAMLFault) -> [YAMLNode] {
        var elements: [YAMLNode] = []
        while true {
            let (event, position) = try self.events.next()
            if case .sequenceEnd = event { return elements }
            elements.append(try self.node(event, at: position, depth: depth + 1))
        }
    }

    private mutating func entries(depth: Int) throws(YAMLFault) -> [YAMLNode.Entry] {
        var entries: [YAMLNode.Entry] = []
        var merges: YAMLNode?
        while true {
            let (event, position) = try self.events.next()
            if case .mappingEnd = event { break }
            let keyNode = try self.node(event, at: position, depth: depth + 1)
            guard case .scalar(let key, let isPlain) = keyNode.content else {
                throw YAMLFault(
                    position: position, problem: "\(keyNode.kindName) stands where a key should",
                    cure: "write a word as the key; quote a value that begins with [, { or *")
            }
            let (valueEvent, valuePosition) = try self.events.next()
            let value = try self.node(valueEvent, at: valuePosition, depth: depth + 1)
            if key == "<<" && isPlain {
                guard merges == nil else {
                    throw YAMLFault(
                        position: position, problem: "a second merge key in one mapping", text: "<<",
                        cure: "write one, with a list: <<: [*first, *second]")
                }
                merges = value
            } else {
                entries.append(YAMLNode.Entry(key: key, keyPosition: position, value: value))
            }
        }
        if let merges { try YAMLComposer.merge(merges, into: &entries) }
        return entries
    }

    /// Adds what `entries` lack: what is written beats what is merged, and an earlier merged mapping a later one.
    private static func merge(_ merges: YAMLNode, into entries: inout [YAMLNode.Entry]) throws(YAMLFault) {
        let sources: [YAMLNode]
        if case .sequence(let list) = merges.content { sources = list } else { sources = [merges] }
        var present = Set(entries.map(\.key))
        for source in sources {
            guard case .mapping(let merged) = source.content else {
                throw YAMLFault(
                    position: source.position, problem: "a merge key takes mappings", text: source.text,
                    cure: "write <<: *anchor, where the anchor names a mapping")
            }
            for entry in merged where present.insert(entry.key).inserted {
                entries.append(entry)
            }
        }
    }
}
