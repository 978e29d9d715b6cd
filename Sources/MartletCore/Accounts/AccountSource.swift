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
    /// Whether `password` is the account's. Takes as long for an account that does not exist. `ok` and `disabled` are told
    /// apart only after the password was right.
    func verify(_ password: PreparedPassword, of account: BareJID) async -> AccountVerdict
    /// Whether the account may come in that has proved otherwise who it is: `badCredentials` if it does not exist. For whoever holds a certificate that
    /// stands for it; strangers are told nothing of it.
    func standing(of account: BareJID) async -> AccountVerdict
}

package enum ScramAnswer: Sendable {
    /// The keys, and whether the account may come in once it has proved to know its password.
    case keys(ScramKeys, standing: AccountVerdict)
    case refused(AccountVerdict)
}
