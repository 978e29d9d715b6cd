internal import Crypto

/// What an entry had for a password and for keys of its own (`authPassword`) when they were seen last, so that it shows whether they were changed, and which.
///
/// A start without passwords and keys on disk knows by it whose are still the same: they keep their sessions. Who changes a password with a program that knows nothing
/// of the keys leaves the old password's keys there: the old password would go on to let people in by SCRAM. Such keys are not believed until they are written anew
/// (``keysAreStale``).
package struct CredentialMark: Hashable, Sendable {
    /// 64 bits of a keyed hash; 0 where there is nothing.
    package private(set) var password: UInt64
    package private(set) var keys: UInt64
    package private(set) var keysAreStale: Bool

    init(password: UInt64, keys: UInt64, keysAreStale: Bool = false) {
        self.password = password
        self.keys = keys
        self.keysAreStale = keysAreStale
    }

    /// What is to be believed after `before`, when the entry has this now.
    func after(_ before: CredentialMark?) -> CredentialMark {
        guard let before, keys != 0, keys == before.keys else { return self }
        // A password that is taken away makes no other one wrong.
        let isChanged = password != 0 && password != before.password
        return CredentialMark(password: password, keys: keys, keysAreStale: before.keysAreStale || isChanged)
    }

    /// Whether the entry has another password, or other keys, than it had.
    func differs(from before: CredentialMark?) -> Bool { password != before?.password ?? 0 || keys != before?.keys ?? 0 }

    /// - Returns: `nil` unless it was made by ``octets``.
    init?(octets: [UInt8]) {
        guard octets.count == 17, octets[16] <= 1 else { return nil }
        password = octets[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        keys = octets[8..<16].reduce(0) { $0 << 8 | UInt64($1) }
        keysAreStale = octets[16] == 1
    }

    var octets: [UInt8] {
        [password, keys].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } } + [keysAreStale ? 1 : 0]
    }
}

/// Makes marks. They are on disk also where passwords are not: without the secret nobody can try passwords against them.
package struct CredentialMarking: Sendable {
    private let secret: SymmetricKey

    /// - Parameter secret: of the server; the same after a restart.
    package init(secret: [UInt8]) {
        precondition(secret.count >= 32, "with a secret that can be guessed passwords can be tried")
        self.secret = SymmetricKey(data: secret)
    }

    /// The mark of an entry; `nil` if it has neither.
    func mark(of reader: EntryReader) -> CredentialMark? {
        let (passwords, keys) = (reader.values(PersonAttributes.password), reader.values(PersonAttributes.keys))
        guard !passwords.isEmpty || !keys.isEmpty else { return nil }
        return CredentialMark(password: hash("password", passwords), keys: hash("keys", keys))
    }

    /// Whatever the order of the values.
    private func hash(_ purpose: String, _ values: [ArraySlice<UInt8>]) -> UInt64 {
        guard !values.isEmpty else { return 0 }
        var code = HMAC<SHA256>(key: secret)
        code.update(data: Array(purpose.utf8))
        for digest in values.map({ Array(SHA256.hash(data: Array($0))) }).sorted(by: { $0.lexicographicallyPrecedes($1) }) { code.update(data: digest) }
        return max(1, Array(code.finalize()).prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
    }
}
