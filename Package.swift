// swift-tools-version: 6.2
import PackageDescription

// What the whole package is compiled with. `-enable-testing` is not needed: tests use what is `package` or `public`,
// so that one release build serves the server, its tests and its measurements.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("ExistentialAny"),
]

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

extension Target.Dependency {
    static let nioCore = product(name: "NIOCore", package: "swift-nio")
    static let nioConcurrency = product(name: "NIOConcurrencyHelpers", package: "swift-nio")
    static let nioPosix = product(name: "NIOPosix", package: "swift-nio")
    static let nioEmbedded = product(name: "NIOEmbedded", package: "swift-nio")
    static let nioHTTP1 = product(name: "NIOHTTP1", package: "swift-nio")
    static let nioTLS = product(name: "NIOTLS", package: "swift-nio")
    static let nioSSL = product(name: "NIOSSL", package: "swift-nio-ssl")
    static let crypto = product(name: "Crypto", package: "swift-crypto")
    static let cryptoExtras = product(name: "CryptoExtras", package: "swift-crypto")
    static let x509 = product(name: "X509", package: "swift-certificates")
    static let asn1 = product(name: "SwiftASN1", package: "swift-asn1")
    static let logging = product(name: "Logging", package: "swift-log")
    static let metrics = product(name: "Metrics", package: "swift-metrics")
    static let coreMetrics = product(name: "CoreMetrics", package: "swift-metrics")
    static let lifecycle = product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
    static let arguments = product(name: "ArgumentParser", package: "swift-argument-parser")
    static let jwtKit = product(name: "JWTKit", package: "jwt-kit")
    static let yams = product(name: "Yams", package: "Yams")
}

var targets: [Target] = [
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CExpat", pkgConfig: "expat", providers: [.apt(["libexpat1-dev"])]),
    .systemLibrary(name: "CIDN", pkgConfig: "libidn", providers: [.apt(["libidn-dev"])]),
    // Not through pkg-config: Debian's file asks for the development files of what the library was built with.
    .systemLibrary(name: "CUnbound", providers: [.apt(["libunbound-dev"])]),
    .target(name: "CMartletScan"),
    // Loads the system's library for Kerberos if the server is to use it; no headers of it are needed.
    .target(name: "CMartletGSS", linkerSettings: [.linkedLibrary("dl", .when(platforms: [.linux]))]),
    module("MartletXML", ["CMartletScan", .nioCore]),
    module("MartletXMPP", ["MartletXML", .nioCore, .crypto, .cryptoExtras]),
    module("MartletLDAP", [.nioCore, .asn1]),
    module("MartletCore", ["MartletXML", "MartletXMPP", .nioCore, .nioConcurrency, .logging, .coreMetrics]),
    module("MartletFeatures", ["MartletXML", "MartletXMPP", "MartletCore", .nioCore]),
    module("MartletStorage", ["MartletXML", "MartletXMPP", "MartletCore", "CSQLite", .nioCore, .nioConcurrency, .crypto, .logging]),
    module(
        "MartletNetwork",
        [
            "MartletXML", "MartletXMPP", "MartletCore", "CUnbound", "CMartletGSS", .nioCore, .nioPosix, .nioTLS, .nioSSL, .nioHTTP1, .crypto,
            .cryptoExtras, .x509, .asn1, .jwtKit, .logging,
        ]),
    module(
        "MartletDirectory",
        [
            "MartletLDAP", "MartletXML", "MartletXMPP", "MartletCore", .nioCore, .nioPosix, .nioTLS, .nioSSL, .nioConcurrency, .crypto, .cryptoExtras, .x509,
            .asn1, .logging,
        ]),
    module("MartletTesting", ["MartletXML", "MartletXMPP", "MartletCore", "MartletFeatures", .nioCore, .nioEmbedded, .logging]),
    .executableTarget(
        name: "martlet",
        dependencies: [
            "MartletXML", "MartletXMPP", "MartletCore", "MartletFeatures", "MartletStorage", "MartletNetwork", "MartletLDAP", "MartletDirectory",
            .nioCore, .nioPosix, .nioSSL, .crypto, .x509, .asn1, .logging, .metrics, .coreMetrics, .lifecycle, .arguments, .yams,
        ],
        swiftSettings: settings),
    .executableTarget(
        name: "martlet-converse",
        dependencies: ["MartletTesting", "MartletXML", "MartletXMPP", .nioCore, .arguments], swiftSettings: settings),
    tests("MartletXMLTests", ["MartletXML", "CExpat", .nioCore]),
    tests("MartletXMPPTests", ["MartletXMPP", "MartletXML", "CIDN", .nioCore]),
    tests("MartletCoreTests", ["MartletCore", "MartletXMPP", "MartletXML", "MartletTesting", .nioCore]),
    tests("MartletFeaturesTests", ["MartletFeatures", "MartletCore", "MartletXMPP", "MartletXML", "MartletTesting", .nioCore]),
    tests("MartletStorageTests", ["MartletStorage", "MartletCore", "MartletXMPP", "MartletXML", "MartletTesting", "CSQLite", .nioCore, .logging]),
    tests(
        "MartletNetworkTests",
        [
            "MartletNetwork", "MartletCore", "MartletXMPP", "MartletXML", .nioCore, .nioPosix, .nioEmbedded, .nioTLS, .nioSSL, .nioHTTP1,
            .crypto, .cryptoExtras, .x509, .asn1, .logging,
        ]),
    tests("MartletLDAPTests", ["MartletLDAP", .nioCore]),
    tests(
        "MartletDirectoryTests",
        [
            "MartletDirectory", "MartletLDAP", "MartletCore", "MartletFeatures", "MartletXMPP", "MartletXML", "MartletTesting", .nioCore, .nioPosix, .nioEmbedded,
            .nioSSL, .crypto, .logging,
        ]),
    tests("MartletTestingTests", ["MartletTesting", "MartletXMPP", "MartletXML", .nioCore]),
    tests("MartletTests", ["martlet"]),
]

// Fuzz targets and benchmarks exist only while `scripts/fuzz` and `scripts/bench` build them.
var products: [Product] = [.executable(name: "martlet", targets: ["martlet"])]
let fuzzing: [String: [Target.Dependency]] = [
    "XML": ["MartletXML", .nioCore],
    "JID": ["MartletXMPP", .nioCore],
    "SASL": ["MartletXMPP", .nioCore],
    "Proxy": ["MartletNetwork", .nioCore],
    "DNS": ["MartletNetwork"],
    "Revocation": ["MartletNetwork"],
    "Hello": ["MartletNetwork", .nioCore],
    "Certificate": ["MartletNetwork", "MartletXMPP"],
    "Peer": ["MartletXMPP", "MartletXML", .nioCore],
    "LDAP": ["MartletLDAP", .nioCore],
    "Configuration": ["martlet"],
    "WebSocket": ["MartletNetwork", .nioCore],
    "BOSH": ["MartletXMPP", "MartletXML", .nioCore],
    "Bytestream": ["MartletNetwork", .nioCore],
    "Web": ["MartletNetwork", "MartletCore", .nioCore, .nioHTTP1],
    "LDAPText": ["MartletLDAP"],
]
if let name = Context.environment["MARTLET_FUZZ"], let dependencies = fuzzing[name] {
    targets.append(
        .target(
            name: name + "Fuzz", dependencies: dependencies, path: "Fuzzing/" + name,
            exclude: ["corpus", "crashers", name + ".dict"], swiftSettings: settings))
    products.append(.library(name: name + "Fuzz", type: .static, targets: [name + "Fuzz"]))
}
if Context.environment["MARTLET_BENCH"] != nil {
    targets += [
        .executableTarget(
            name: "XMLBenchmark", dependencies: ["MartletXML", .nioCore], path: "Benchmarks/XMLBenchmark", swiftSettings: settings),
        .executableTarget(
            name: "RouteBenchmark",
            dependencies: ["MartletTesting", "MartletFeatures", "MartletCore", "MartletXMPP", "MartletXML", .nioCore, .nioEmbedded],
            path: "Benchmarks/RouteBenchmark", swiftSettings: settings),
        .executableTarget(
            name: "StorageBenchmark", dependencies: ["MartletStorage", "MartletCore", "MartletXMPP", .nioCore, .logging],
            path: "Benchmarks/StorageBenchmark", swiftSettings: settings),
    ]
}

let package = Package(
    name: "martlet",
    platforms: [.macOS(.v15)],
    products: products,
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: targets
)
