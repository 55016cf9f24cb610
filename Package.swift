// swift-tools-version: 6.2
// The targets are the layers of docs/architecture.md: a target imports only what stands below it.
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]

let package = Package(
    name: "gatehouse",
    products: [.executable(name: "gatehouse", targets: ["gatehouse"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // The system's libraries: module maps and the C macros that Swift cannot see.
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CAres", pkgConfig: "libcares", providers: [.apt(["libc-ares-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        // System calls that Swift's Glibc module hides.
        .target(name: "CSocket"),

        // Core: values in, values out. The standard library alone.
        .target(name: "SIPMessage", swiftSettings: settings),
        .target(name: "SIPTransaction", dependencies: ["SIPMessage"], swiftSettings: settings),
        .target(name: "GatehousePolicy", dependencies: ["SIPMessage"], swiftSettings: settings),

        // Rim: sockets, timers, files, C libraries.
        .target(
            name: "GatehouseConfig", dependencies: ["CYAML", "SIPMessage", "GatehousePolicy"], swiftSettings: settings),
        .target(
            name: "GatehouseTLS", dependencies: ["COpenSSL", "SIPMessage", "GatehousePolicy"] + nio,
            swiftSettings: settings),
        .target(
            name: "GatehouseNet",
            dependencies: ["CAres", "CSocket", "SIPMessage", "GatehousePolicy", "GatehouseTLS"] + nio,
            swiftSettings: settings),
        .target(name: "GatehouseStore", dependencies: ["CSQLite", "GatehousePolicy"], swiftSettings: settings),
        .target(
            name: "GatehouseServer",
            dependencies: [
                "CSocket", "GatehouseStore", "SIPMessage", "SIPTransaction", "GatehousePolicy", "GatehouseConfig",
                "GatehouseTLS",
                "GatehouseNet", .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ] + nio,
            swiftSettings: settings),
        .executableTarget(
            name: "gatehouse",
            dependencies: [
                "SIPMessage", "GatehousePolicy", "GatehouseConfig", "GatehouseTLS", "GatehouseServer",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ] + nio,
            swiftSettings: settings),

        // What tests of several targets use.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
        .target(
            name: "TestCertificates", dependencies: ["COpenSSL", "GatehousePolicy", "TestSupport"],
            path: "Tests/TestCertificates", swiftSettings: settings),

        .testTarget(name: "SIPMessageTests", dependencies: ["SIPMessage", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "SIPTransactionTests", dependencies: ["SIPTransaction", "SIPMessage", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "GatehousePolicyTests", dependencies: ["GatehousePolicy", "SIPMessage", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "GatehouseConfigTests",
            dependencies: ["GatehouseConfig", "GatehousePolicy", "SIPMessage", "TestSupport"],
            exclude: ["Cases"], swiftSettings: settings),
        .testTarget(
            name: "GatehouseTLSTests",
            dependencies: [
                "GatehouseTLS", "GatehousePolicy", "SIPMessage", "COpenSSL", "TestCertificates", "TestSupport",
            ] + nio,
            swiftSettings: settings),
        .testTarget(
            name: "GatehouseNetTests",
            dependencies: [
                "GatehouseNet", "GatehouseTLS", "GatehousePolicy", "SIPMessage", "COpenSSL", "TestCertificates",
                "TestSupport",
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ] + nio,
            swiftSettings: settings),
        .testTarget(
            name: "GatehouseStoreTests", dependencies: ["GatehouseStore", "GatehousePolicy", "TestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "GatehouseServerTests",
            dependencies: [
                "GatehouseStore",
                "GatehouseServer", "GatehousePolicy", "GatehouseConfig", "GatehouseTLS", "GatehouseNet", "SIPMessage",
                "SIPTransaction", "TestSupport",
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ] + nio,
            swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
