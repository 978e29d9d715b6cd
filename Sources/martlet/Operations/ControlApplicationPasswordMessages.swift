package import MartletCore

/// What commands ask about the passwords that accounts have for applications.
package enum ApplicationPasswordOrder: Codable, Hashable, Sendable {
    case list(of: String)
    /// With which salts and iteration counts one is made: passwords never pass the socket.
    case salts(of: String)
    case add(to: String, name: String, keys: [String])
    case revoke(of: String, name: String)
}

package struct ApplicationPasswordLine: Codable, Hashable, Sendable {
    package var name: String
    /// Milliseconds since 1970.
    package var created: Int64
    /// The beginning of the day, the same.
    package var lastUsed: Int64?

    package init(_ password: StoredApplicationPassword) {
        name = password.name
        created = password.created
        lastUsed = password.lastUsed
    }

    /// As `martlet account app-password list` prints it.
    package var text: String {
        let used = lastUsed.map { "last used on \(Timestamp.text($0).prefix(10))" } ?? "never used"
        return "\(ConfigurationProblem.printable(name))  made on \(Timestamp.text(created).prefix(10))  \(used)"
    }
}
