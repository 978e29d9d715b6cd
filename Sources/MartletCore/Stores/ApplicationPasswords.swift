package import MartletXMPP

/// A password that an account has beside its own, for one application: a client that cannot do better, or that is not to know more. The server makes it, and
/// it ends with the account's own password.
package struct StoredApplicationPassword: Hashable, Sendable {
    package static let perAccountMax = ApplicationKeys.countMax
    /// Longest name, in bytes.
    package static let nameBytesMax = 64
    /// How exactly it is remembered when one was used, in milliseconds: of many log-ins in a day one is written.
    package static let useGranularity: Int64 = 86_400_000

    /// What its owner calls it: no two of an account are called the same.
    package var name: String
    /// One for each hash, made with the salt and the iteration count of the account's own keys for it.
    package var keys: [ScramKeys]
    /// Milliseconds since 1970.
    package var created: Int64
    /// The beginning of the day on which it was used last, the same.
    package var lastUsed: Int64?

    package init(name: String, keys: [ScramKeys], created: Int64, lastUsed: Int64? = nil) {
        self.name = name
        self.keys = keys
        self.created = created
        self.lastUsed = lastUsed
    }

    /// The day of a time, as it is remembered.
    package static func day(of time: Int64) -> Int64 { time - time % useGranularity }

    /// A name as it is kept (RFC 8265 §4.2), so that what looks the same is the same; `nil` for what is no name.
    package static func name(_ text: String) -> String? {
        guard text.utf8.count <= nameBytesMax, let name = try? PRECIS.opaqueString(text.split(separator: " ").joined(separator: " ")),
            !name.isEmpty, name.utf8.count <= nameBytesMax
        else { return nil }
        return name
    }
}

/// Which of an account's passwords for applications a device has used, as far as they have not ended: those that it takes to keep it out.
package struct UsedApplicationPasswords: Hashable, Sendable {
    /// By which it came in when it logged in last, if by one.
    package private(set) var latest: String?
    /// Those that no other device has used since.
    private var own: Set<String> = []

    package init(latest: String? = nil, own: Set<String> = []) {
        self.latest = latest
        self.own = own
    }

    package var isEmpty: Bool { latest == nil && own.isEmpty }

    /// All of them: the latest, although another device may use it as well, because this one would come in by it again; and those that it used last.
    package var names: [String] { own.union(latest.map { [$0] } ?? []).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

    /// Whether no other device has used it since.
    package func isOwn(_ name: String) -> Bool { own.contains(name) }

    /// The device has logged in, by one or otherwise.
    package mutating func logIn(by name: String?) {
        latest = name
        if let name { own.insert(name) }
    }

    package mutating func anotherDeviceLogsIn(by name: String) { own.remove(name) }

    package mutating func end(_ name: String) {
        own.remove(name)
        if latest == name { latest = nil }
    }
}

/// As it is kept: the latest, which is empty if there is none, and a line for each of the others. No name has a line break.
extension UsedApplicationPasswords {
    package init(line text: String?) {
        let lines = (text ?? "").split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        self.init(latest: lines.first.flatMap { $0.isEmpty ? nil : $0 }, own: Set(lines.dropFirst()))
    }

    /// `nil` if there are none.
    package var line: String? { isEmpty ? nil : ([latest ?? ""] + own.sorted()).joined(separator: "\n") }
}

/// Passwords for applications as they are made: 140 random bits in groups of four, easy to read out and to type.
package enum ApplicationPasswordText {
    /// Without those that look like others.
    private static let letters = Array("abcdefghijkmnpqrstuvwxyz23456789")
    private static let count = 28

    package static func make(_ random: any RandomSource = SystemRandom()) -> String {
        // 32 letters: each octet leaves one as likely as another.
        let characters = random.bytes(count).map { letters[Int($0) % letters.count] }
        return stride(from: 0, to: count, by: 4).map { String(characters[$0..<($0 + 4)]) }.joined(separator: "-")
    }
}

extension StoredIdentity {
    /// The keys that a password is held against: of the strongest hash that all of the account's passwords have keys of. The account's own may have come by
    /// a stronger one since the others were made.
    package var strongestKeys: ScramKeys? {
        let common = credentials.filter { keys in applicationPasswords.allSatisfy { $0.keys.contains { $0.hash == keys.hash } } }
        return (common.isEmpty ? credentials : common).max { $0.hash.byteCount < $1.hash.byteCount }
    }

    /// For what is derived from a password with these: the keys of one hash, those of the account's own password and of the others.
    package func others(beside keys: ScramKeys) -> [ApplicationKeys] {
        applicationPasswords.compactMap { password in
            password.keys.first { $0.hash == keys.hash }.map { ApplicationKeys(name: password.name, keys: $0) }
        }
    }
}

/// The same as plain values, of one account.
package struct ApplicationPasswordContents: Sendable {
    private var all: [String: StoredApplicationPassword] = [:]

    package init() {}

    /// In the order of their names.
    package var passwords: [StoredApplicationPassword] { all.values.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) } }

    /// - Parameter own: the keys of the account's own password.
    mutating func add(_ password: StoredApplicationPassword, beside own: [ScramKeys]) throws(StoreError) {
        guard all[password.name] == nil else { throw .constraint("there is a password of that name") }
        guard all.count < StoredApplicationPassword.perAccountMax else { throw .constraint("there are as many passwords as there may be") }
        guard !password.keys.isEmpty, password.keys.allSatisfy({ keys in own.contains { $0.salt == keys.salt && $0.hash == keys.hash && $0.iterations == keys.iterations } })
        else { throw .constraint("the account has another password by now") }
        all[password.name] = password
    }

    mutating func remove(_ name: String) throws(StoreError) {
        guard all.removeValue(forKey: name) != nil else { throw .constraint("there is no password of that name") }
    }

    /// - Returns: whether it is there.
    mutating func use(_ name: String, at time: Int64) -> Bool {
        let day = StoredApplicationPassword.day(of: time)
        guard var password = all[name] else { return false }
        password.lastUsed = max(password.lastUsed ?? day, day)
        all[name] = password
        return true
    }
}
