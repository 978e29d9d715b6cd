package import MartletXMPP

/// Of which entry of the directory an account is.
package struct DirectoryLink: Hashable, Sendable {
    package var entry: EntryUUID
    /// Since when the directory has no such entry any more, or none that may log in; milliseconds since 1970.
    package var gone: Int64?

    package init(_ entry: EntryUUID, gone: Int64? = nil) {
        self.entry = entry
        self.gone = gone
    }
}

/// An account that is an entry's.
package struct LinkedAccount: Hashable, Sendable {
    package var address: BareJID
    package var isEnabled: Bool
    package var link: DirectoryLink

    package init(address: BareJID, isEnabled: Bool, link: DirectoryLink) {
        self.address = address
        self.isEnabled = isEnabled
        self.link = link
    }
}

/// Which accounts are a directory's. The link goes with the account.
package protocol DirectoryLinkStore: Sendable {
    /// All of them by address, in order, after `after`; at most `limit`. Including whatever was submitted before the call.
    func linkedAccounts(after: BareJID?, limit: Int) async throws(StoreError) -> [LinkedAccount]
    /// Of which entry an account is; `nil` if it is none's, or not there.
    func directoryLink(of account: BareJID) async throws(StoreError) -> DirectoryLink?
}
