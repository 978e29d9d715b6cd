import Foundation

/// What commands ask about uploaded files (XEP-0363).
package enum UploadOrder: Codable, Hashable, Sendable {
    /// A page, of one account or of all, in the order of the server's names for them.
    case list(of: String?, after: String)
    case show(String)
    case delete([String])
    /// Everything that an account has uploaded.
    case deleteAll(of: String)
}

/// An uploaded file, or a slot for one.
package struct UploadLine: Codable, Hashable, Sendable {
    /// The server's for it.
    package var name: String
    package var account: String
    package var fileName: String
    package var type: String
    package var bytes: Int
    package var purpose: String
    /// Milliseconds since 1970.
    package var created: Int64
    /// Absent for a slot whose file has not come.
    package var kept: Int64?
    /// When it goes.
    package var ends: Int64?
    package var sha256: String?

    /// For lists: the names say nothing.
    package static func isEarlier(_ a: Self, _ b: Self) -> Bool { (a.created, a.name) < (b.created, b.name) }

    package init(
        name: String, account: String, fileName: String, type: String, bytes: Int, purpose: String, created: Int64, kept: Int64? = nil, ends: Int64? = nil,
        sha256: String? = nil
    ) {
        self.name = name
        self.account = account
        self.fileName = fileName
        self.type = type
        self.bytes = bytes
        self.purpose = purpose
        self.created = created
        self.kept = kept
        self.ends = ends
        self.sha256 = sha256
    }

    /// As `martlet uploads list` prints it: one line, whatever is in it.
    package var text: String {
        let state = kept.map { Timestamp.text($0) } ?? "not there yet"
        return "\(name)  \(account)  \(bytes) bytes  \(state)  \(ConfigurationProblem.printable(fileName))"
    }

    /// As `martlet uploads show` prints it.
    package var lines: String {
        let fields: [(String, String?)] = [
            ("name", name), ("account", account), ("file", ConfigurationProblem.printable(fileName)), ("type", type), ("bytes", "\(bytes)"),
            ("purpose", purpose), ("asked for", Timestamp.text(created)), ("kept since", kept.map { Timestamp.text($0) } ?? "not there yet"),
            ("goes", ends.map { Timestamp.text($0) } ?? "never"), ("SHA-256", sha256),
        ]
        return fields.compactMap { name, value in value.map { name.padding(toLength: 12, withPad: " ", startingAt: 0) + $0 } }.joined(separator: "\n")
    }
}
