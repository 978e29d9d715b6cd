package import MartletXMPP

/// Archives are read from the message log. A message between two accounts is appended once, in the order of the recipient's account, a
/// little after the sender's was given its name in the sender's: readers see the sender's archive up to the first name that is still on its
/// way, and no name that is given after they asked. Otherwise a client that has read up to a later one would never learn of an earlier.
extension Router {
    /// A page of an account's archive; `nil` if one of the messages that the request names is not in there.
    package func archive(
        of account: BareJID, _ id: AccountID, _ request: ArchiveRequest
    ) async throws(StoreError) -> ArchivePage? {
        var request = request
        if let end = endOfArchive(of: account) { request.before = min(request.before ?? .max, end) }
        return try await store.archive(of: id, request)
    }

    /// The first name that is not in the log yet; `nil` for an account that is not in use: nothing is given a name there.
    private func endOfArchive(of account: BareJID) -> UInt64? {
        let shard = placement.shard(of: account)
        return shard.withLock {
            guard let home = shard.home(account), home.isInMemory else { return nil }
            return home.openViews.first ?? home.lastViewID + 1
        }
    }
}
