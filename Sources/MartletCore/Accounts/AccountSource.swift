package import MartletXMPP

/// What became of an attempt to authenticate. Only `ok` lets anybody in; a check that cannot be made is `unavailable`,
/// never `badCredentials` and never `ok`.
package enum AccountVerdict: String, Hashable, Sendable {
    case ok, badCredentials, disabled, expired, mechanismTooWeak, unavailable
}

/// Answers for the existence, standing and credentials of accounts: the database by default, a directory otherwise.
/// It never sees an authorization identity: that is checked before (`reliability.md` rule 12).
package protocol AccountSource: Sendable {
    /// The keys with which a SCRAM exchange of `hash` goes on. An account that does not exist gets keys that look real and
    /// never match (rule 13).
    func scramKeys(of account: BareJID, _ hash: ScramHash) async -> ScramAnswer
    /// Whether `password` is the account's, or one of those that it has for applications. Takes as long for an account that does not exist. `ok` and
    /// `disabled` are told apart only after the password was right.
    func verify(_ password: PreparedPassword, of account: BareJID) async -> PasswordVerdict
    /// Whether the account may come in that has proved otherwise who it is: `badCredentials` if it does not exist. For whoever holds a certificate that
    /// stands for it; strangers are told nothing of it.
    func standing(of account: BareJID) async -> AccountVerdict
    /// The same where the database has just said what it has of the account, if anything: who has its accounts from there asks no further.
    func standing(of account: BareJID, as stored: StoredIdentity?) async -> AccountVerdict

    // MARK: Keys that an account lacks (XEP-0480)

    /// Of which of `hashes` the account lacks keys that whoever knows its password can make up. None if `proved`, by which somebody has just proved to know it,
    /// are not the account's own keys.
    func missingKeys(of account: BareJID, _ hashes: [ScramHash], provedBy proved: ScramKeys) async -> [ScramUpgrade]
    /// Adds such keys: `ok` if they are on disk, `badCredentials` if `proved` are not the account's own any more.
    func add(_ keys: ScramKeys, to account: BareJID, provedBy proved: ScramKeys) async -> AccountVerdict
    /// Makes up such keys of a password that was verified.
    ///
    /// - Returns: the hashes of those that were added. That none could be is no reason to keep anybody out: they are made up next time.
    func addKeys(of password: PreparedPassword, to account: BareJID, _ hashes: [ScramHash]) async -> [ScramHash]
}

extension AccountSource {
    package func standing(of account: BareJID, as stored: StoredIdentity?) async -> AccountVerdict { await standing(of: account) }
}

/// Where keys are kept elsewhere, none are added.
extension AccountSource {
    package func missingKeys(of account: BareJID, _ hashes: [ScramHash], provedBy proved: ScramKeys) async -> [ScramUpgrade] { [] }
    package func add(_ keys: ScramKeys, to account: BareJID, provedBy proved: ScramKeys) async -> AccountVerdict { .unavailable }
    package func addKeys(of password: PreparedPassword, to account: BareJID, _ hashes: [ScramHash]) async -> [ScramHash] { [] }
}

package enum ScramAnswer: Sendable {
    /// The keys, and whether the account may come in once it has proved to know its password; and the keys of its passwords for applications.
    case keys(ScramKeys, standing: AccountVerdict, others: [ApplicationKeys] = [])
    case refused(AccountVerdict)
}

/// What became of a password.
package struct PasswordVerdict: Hashable, Sendable {
    package var verdict: AccountVerdict
    /// Of which application it is, if it is right and not the account's own.
    package var application: String?

    package init(_ verdict: AccountVerdict, application: String? = nil) {
        self.verdict = verdict
        self.application = application
    }
}
