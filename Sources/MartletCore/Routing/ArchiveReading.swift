package import MartletXMPP

/// Archives are read from the message log. A message between two accounts is appended once, in the order of the recipient's account, a
/// little after the sender's was given its name in the sender's: readers see the sender's archive up to the first name that is still on its
/// way. Otherwise a client that has read up to a later one would never learn of it.
extension Router {
    /// A page of an account's archive; `nil` if one of the messages that the request names is not in there.
    package func archive(
        of account: BareJID, _ id: AccountID, _ request: ArchiveRequest
    ) async throws(StoreError) -> ArchivePage? {
        var request = request
        if let open = firstOpenView(of: account) { request.before = min(request.before ?? .max, open) }
        return try await store.archive(of: id, request)
    }

    private func firstOpenView(of account: BareJID) -> UInt64? {
        let shard = placement.shard(of: account)
        return shard.withLock { shard.home(account)?.openViews.first }
    }
}
