internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// Puts another text in the place of what a view shows (XEP-0425). On the writer's thread, in the transactions of commits.
///
/// The bytes of the entry are overwritten, for all its views; SQLite overwrites what they leave (`secure_delete`). In the table of words the
/// entry's row is written anew; the old words themselves go with the next cleaning (``TextIndex``). `size` in the tables of the index stays
/// what it was: it says what a message counts for in an archive that may only hold so much, and there it counts as it came.
final class StanzaReplacement {
    private let tail: LogTail
    private let text: TextIndex
    private let ends, indexed, setStanza: any SQLStatement

    init(_ connection: any SQLConnection, tail: LogTail, text: TextIndex) throws(SQLError) {
        self.tail = tail
        self.text = text
        ends = try connection.prepare(LogIndex.ends)
        indexed = try connection.prepare(
            """
            SELECT log FROM archive WHERE owner = $1 AND view_id = $2 AND view_id > $4
            UNION ALL SELECT log FROM posting WHERE owner = $1 AND view_id = $2 AND view_id > $3 LIMIT 1
            """)
        setStanza = try connection.prepare("UPDATE log SET stanza = $2 WHERE id = $1")
    }

    /// - Parameter postings: those of the present transaction, which are not in the tail yet.
    /// - Returns: how many rows of the table of words were deleted.
    func replace(_ view: UInt64, of owner: AccountID, by stanza: EncodedStanza, _ postings: [Posting]) throws(SQLError) -> Int64 {
        guard let entry = try entry(of: view, of: owner, postings) else { return 0 }
        let deleted = try text.replace(entry, by: stanza)
        try setStanza.run {
            $0.bind(entry, at: 1)
            $0.bind(stanza.bytes, at: 2)
        }
        return deleted
    }

    /// `nil` if there is no such view, or its owner does not want it any more.
    private func entry(of view: UInt64, of owner: AccountID, _ postings: [Posting]) throws(SQLError) -> Int64? {
        let ends = try ends.first({ $0.bind(owner.raw, at: 1) }) { (delivered: $0.unsigned(0), forgotten: max($0.unsigned(1), $0.unsigned(2))) }
        guard let ends else { return nil }
        let indexed = try indexed.first({
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: view), at: 2)
            $0.bind(Int64(clamping: ends.delivered), at: 3)
            $0.bind(Int64(clamping: ends.forgotten), at: 4)
        }) { $0.integer(0) }
        if let indexed { return indexed }
        let posting = tail.posting(of: owner, view) ?? postings.first { $0.owner == owner && $0.view == view }
        guard let posting else { return nil }
        let isWanted = (posting.awaitsDelivery && view > ends.delivered) || (posting.archived != nil && view > ends.forgotten)
        return isWanted ? posting.log : nil
    }
}
