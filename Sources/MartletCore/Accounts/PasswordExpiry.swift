package import MartletXMPP

/// Tells until when the passwords of accounts are good, so that people hear of it in time: the database by ``PasswordLifetime``, and whoever keeps passwords
/// elsewhere by what it is told there.
package protocol PasswordExpiry: Sendable {
    /// Whether there may be an account whose password has an end: where there is none nobody is asked. Called under locks: memory only.
    var isPossible: Bool { get }
    /// In milliseconds since 1970; `nil` if it has no end, or if that cannot be found out now: nobody is told what is not known.
    func passwordEnd(of account: BareJID) async -> Int64?
}

/// The same of accounts in the server's own database.
package struct EmbeddedPasswordExpiry: PasswordExpiry {
    private let store: any Store
    private let lifetime: PasswordLifetime

    package init(store: any Store, lifetime: PasswordLifetime) {
        self.store = store
        self.lifetime = lifetime
    }

    package var isPossible: Bool { lifetime.isLimited }

    package func passwordEnd(of account: BareJID) async -> Int64? {
        // Whoever has no keys has no password.
        guard let identity = try? await store.credentials(of: account), !identity.credentials.isEmpty else { return nil }
        return lifetime.end(ofPasswordSetAt: identity.passwordSet)
    }
}
