package import MartletXMPP

/// Accounts of which those of some domains are elsewhere.
package struct AccountSourceByDomain: AccountSource {
    private let sources: [BareJID: any AccountSource]
    private let others: any AccountSource

    /// - Parameters:
    ///   - sources: by domain.
    ///   - others: for the accounts of all other domains.
    package init(_ sources: [BareJID: any AccountSource], others: any AccountSource) {
        self.sources = sources
        self.others = others
    }

    private func source(of account: BareJID) -> any AccountSource {
        // Most servers have none.
        sources.isEmpty ? others : sources[account.domain] ?? others
    }

    package func scramKeys(of account: BareJID, _ hash: ScramHash) async -> ScramAnswer { await source(of: account).scramKeys(of: account, hash) }

    package func verify(_ password: PreparedPassword, of account: BareJID) async -> PasswordVerdict {
        await source(of: account).verify(password, of: account)
    }

    package func standing(of account: BareJID) async -> AccountVerdict { await source(of: account).standing(of: account) }

    package func missingKeys(of account: BareJID, _ hashes: [ScramHash], provedBy proved: ScramKeys) async -> [ScramUpgrade] {
        await source(of: account).missingKeys(of: account, hashes, provedBy: proved)
    }

    package func add(_ keys: ScramKeys, to account: BareJID, provedBy proved: ScramKeys) async -> AccountVerdict {
        await source(of: account).add(keys, to: account, provedBy: proved)
    }

    package func addKeys(of password: PreparedPassword, to account: BareJID, _ hashes: [ScramHash]) async -> [ScramHash] {
        await source(of: account).addKeys(of: password, to: account, hashes)
    }
}
