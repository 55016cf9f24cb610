// swift-tools-version: 6.2
// What the message layer costs, apart from the product so that its build stays small. `Sources/SIPMessage` is a link.
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "benchmarks",
    targets: [
        .target(name: "SIPMessage", swiftSettings: settings),
        .executableTarget(name: "MessageBenchmark", dependencies: ["SIPMessage"], swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
