package import MartletXMPP

/// What a directory holds by which a password can be checked here.
package struct PersonCredentials: Hashable, Sendable {
    /// `authPassword` (RFC 5803), unless a newer password has made it stale.
    package var published: [ScramKeys] = []
    /// What follows from a `userPassword` that was hashed by PBKDF2.
    package var derived: [ScramKeys] = []
    /// There are keys that a newer password has made stale.
    package var hasStaleKeys = false

    init(_ reader: EntryReader, _ mark: CredentialMark?) {
        let keys = reader.texts(PersonAttributes.keys).compactMap(Self.published)
        hasStaleKeys = mark?.keysAreStale == true
        if !hasStaleKeys { published = keys }
        // Of several passwords each is right: only the directory knows that of all of them.
        let passwords = reader.values(PersonAttributes.password)
        if passwords.count == 1, let text = String(validating: passwords[0], as: UTF8.self), let keys = Self.derived(text) { derived = [keys] }
    }

    /// RFC 5803 §2, RFC 3112 §3: there may be spaces around it, and around each `$`.
    private static func published(_ text: String) -> ScramKeys? {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false).map { part in
            String(String(part.drop { $0 == " " }.reversed()).drop { $0 == " " }.reversed())
        }
        return try? ScramKeys(parsing: parts.joined(separator: "$"))
    }

    /// `{PBKDF2-SHA256}iterations$salt$key`, of OpenLDAP's pw-pbkdf2 and the 389 Directory Server: the key is the SaltedPassword of RFC 5802 §3 if it is as long as the
    /// hash. `nil` for other schemes, and for what is outside of what clients accept.
    static func derived(_ text: String) -> ScramKeys? {
        guard text.utf8.count <= valueBytesMax, text.hasPrefix("{"), let end = text.firstIndex(of: "}"),
            let hash = hash(ofScheme: text[text.index(after: text.startIndex)..<end])
        else { return nil }
        let fields = text[text.index(after: end)...].split(separator: "$", omittingEmptySubsequences: false)
        guard fields.count == 3, fields[0].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let iterations = Int(fields[0]),
            let salt = decode(fields[1]), let salted = decode(fields[2]), salted.count == hash.byteCount
        else { return nil }
        return try? ScramKeys(hash: hash, salt: salt, iterations: iterations, saltedPassword: salted)
    }

    private static let valueBytesMax = 1024

    private static func hash(ofScheme scheme: Substring) -> ScramHash? {
        switch scheme.uppercased() {
        case "PBKDF2", "PBKDF2-SHA1": .sha1
        case "PBKDF2-SHA256": .sha256
        case "PBKDF2-SHA512": .sha512
        default: nil
        }
    }

    /// Base64 with `.` for `+` and without padding, as Python's passlib began to write it; or the ordinary one.
    private static func decode(_ text: Substring) -> [UInt8]? {
        var digits = text.utf8.map { $0 == UInt8(ascii: ".") ? UInt8(ascii: "+") : $0 }
        while digits.count % 4 != 0 { digits.append(UInt8(ascii: "=")) }
        return Base64.decode(digits)
    }
}
