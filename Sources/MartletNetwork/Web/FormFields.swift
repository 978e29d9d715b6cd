import MartletCore
import NIOCore

/// What a form was filled in with, or what is asked for behind a path: `application/x-www-form-urlencoded`. Pure.
struct FormFields: Hashable, Sendable {
    private let values: [String: String]

    /// - Returns: `nil` if it is written otherwise, or says one thing twice.
    init?(_ bytes: some Sequence<UInt8>) {
        var values: [String: String] = [:]
        for pair in Array(bytes).split(separator: UInt8(ascii: "&")) {
            let halves = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard halves.count == 2, let name = Self.decoded(halves[0]), let value = Self.decoded(halves[1]), values[name] == nil else { return nil }
            values[name] = value
        }
        self.values = values
    }

    subscript(name: String) -> String? { values[name] }

    /// A plus is a space; everything else is percent-encoding.
    private static func decoded(_ bytes: ArraySlice<UInt8>) -> String? {
        let bytes = PercentEncoding.decoded(bytes.lazy.map { $0 == UInt8(ascii: "+") ? 0x20 : $0 })
        return bytes.flatMap { String(validating: $0, as: UTF8.self) }
    }
}
