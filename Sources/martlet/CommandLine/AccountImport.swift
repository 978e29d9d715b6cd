package import MartletXMPP

/// One line of an import: an account, and its password or its keys.
///
/// The fields are separated by tabs: the address, then either the password or SCRAM keys, one per field, each of the form
/// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` with base64 after the colons (RFC 5803 §2).
package struct ImportLine: Hashable, Sendable {
    package enum Secret: Hashable, Sendable {
        case password(PreparedPassword)
        case keys([ScramKeys])
    }

    package var number: Int
    package var address: BareJID
    package var secret: Secret
}

/// What is wrong with a line.
package struct ImportProblem: Hashable, Sendable, CustomStringConvertible {
    package var line: Int
    package var message: String
    package var description: String { "line \(line): \(message)" }
}

/// A whole file of accounts, read before anything is created.
package struct ImportFile: Sendable {
    /// Problems that are reported; one more ends the reading.
    package static let problemsMax = 20
    /// Largest file, in bytes.
    package static let bytesMax = 256 << 20

    package private(set) var lines: [ImportLine] = []
    package private(set) var problems: [ImportProblem] = []

    /// - Parameters:
    ///   - domains: those that the server hosts.
    ///   - existing: accounts that are there already; naming one is a mistake, unless `skipsExisting`.
    package init(_ bytes: [UInt8], domains: Set<String>, existing: Set<String>, skipsExisting: Bool = false) {
        var firstLines: [BareJID: Int] = [:]
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            guard problems.count < Self.problemsMax else { return }
            let number = index + 1
            let content = line.last == 0x0D ? line.dropLast() : line
            guard !content.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) else { continue }
            do throws(CommandFailure) {
                let entry = try Self.parse(content, number, domains)
                if let first = firstLines[entry.address] { throw CommandFailure(.data, "\(entry.address) is on line \(first) already") }
                firstLines[entry.address] = number
                if existing.contains(entry.address.description) {
                    guard skipsExisting else { throw CommandFailure(.data, "\(entry.address) exists already") }
                } else {
                    lines.append(entry)
                }
            } catch {
                problems.append(ImportProblem(line: number, message: error.message))
            }
        }
    }

    private static func parse(_ line: ArraySlice<UInt8>, _ number: Int, _ domains: Set<String>) throws(CommandFailure) -> ImportLine {
        guard let text = String(validating: line, as: UTF8.self) else { throw CommandFailure(.data, "not UTF-8") }
        let fields = text.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        guard fields.count >= 2 else { throw CommandFailure(.data, "an address, a tab and a password or keys are expected") }
        let address = try AccountAddress.hosted(fields[0], domains)
        if isKeys(fields[1]) {
            return ImportLine(number: number, address: address, secret: .keys(try keys(fields.dropFirst())))
        }
        guard fields.count == 2 else { throw CommandFailure(.data, "a password cannot contain a tab") }
        return ImportLine(number: number, address: address, secret: .password(try PasswordInput.prepared(fields[1])))
    }

    /// A password of this form cannot be imported: it would be taken for keys, and refused.
    private static func isKeys(_ field: String) -> Bool { field.hasPrefix("SCRAM-") && field.utf8.count { $0 == UInt8(ascii: "$") } == 2 }

    private static func keys(_ fields: ArraySlice<String>) throws(CommandFailure) -> [ScramKeys] {
        var keys: [ScramKeys] = []
        for field in fields {
            do throws(ScramKeysError) {
                keys.append(try ScramKeys(parsing: field))
            } catch {
                throw CommandFailure(.data, explain(error))
            }
        }
        guard Set(keys.map(\.hash)).count == keys.count else { throw CommandFailure(.data, "two keys of one hash") }
        return keys
    }

    static func explain(_ error: ScramKeysError) -> String {
        switch error {
        case .iterations(let count): "\(count) iterations; from \(ScramKeys.iterationRange.lowerBound) to \(ScramKeys.iterationRange.upperBound) are accepted"
        case .saltBytes(let count): "a salt of \(count) bytes; from \(ScramKeys.saltBytesRange.lowerBound) to \(ScramKeys.saltBytesRange.upperBound) are accepted"
        case .keyBytes(let count, let expected): "a key of \(count) bytes; this hash has \(expected)"
        case .format: "keys are written SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, with base64"
        case .mechanism(let name): "no mechanism here is called \(name.prefix(40))"
        case .derivation: "the keys cannot be made"
        }
    }
}
