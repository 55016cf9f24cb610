/// What the schema has and this build lacks: a key that asks for it is an error, never ignored.
///
/// When a feature is built, its line goes, and nothing else has to change: the keys are read and checked already.
struct UnbuiltFeatures: Sendable {
    /// By the path of a key in the schema, which stands for all keys below it: the feature, as a plural.
    private let features: [String: String]

    static let ofThisBuild = UnbuiltFeatures([
        "domains[].udp.bind": "UDP listeners towards the outside",
        "domains[].outbound": "settings for outbound legs",
        "domains[].security.overrides": "overrides",
    ])
    static let none = UnbuiltFeatures([:])

    init(_ features: [String: String]) {
        self.features = features
    }

    var isEmpty: Bool { self.features.isEmpty }

    /// - Parameter path: of a key in the schema: `domains[].outbound.proxy`. Keys inside the entries of a list need
    ///   nothing: the list itself does.
    func feature(neededBy path: String) -> String? {
        var path = path[...]
        while true {
            if let feature = self.features[String(path)] { return feature }
            guard let end = path.lastIndex(where: { $0 == "." || $0 == "[" }), path[end] == "." else { return nil }
            path = path[..<end]
        }
    }
}
