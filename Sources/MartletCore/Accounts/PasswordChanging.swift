package import MartletXMPP

/// Changes passwords that are kept elsewhere, at the wish of whose they are.
package protocol PasswordChanging: Sendable {
    /// The account's other sessions end when it is done.
    ///
    /// - Parameters:
    ///   - old: the password so far, if he has said it.
    ///   - session: goes on.
    /// - Throws: why it was not changed.
    func setPassword(
        _ password: PreparedPassword, replacing old: PreparedPassword?, of account: BareJID, sparing session: FullJID
    ) async throws(StanzaError)
}
