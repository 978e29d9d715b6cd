internal import MartletCore

/// How much an account's archive may hold; beyond, the oldest goes.
struct ArchiveQuota: Hashable, Sendable {
    var messagesMax: Int
    /// Bytes of stanzas.
    var bytesMax: Int
}

/// The tables of the archives, which ``LogIndex`` fills and clears, on the writer's thread and in its transactions.
final class ArchiveIndex {
    private let connection: any SQLConnection
    private let quota: ArchiveQuota
    private let insertView, addUse, use, oldest, deleteViews, subtractUse, setFloor, deleteAccount, sweepAccounts: any SQLStatement

    /// What a step has put into one archive.
    struct Addition {
        var owner: AccountID?
        var messages = 0
        var bytes = 0
        /// The last of the views that were not put in because every archive has forgotten them. Its name was given, and is not given again.
        var forgotten: UInt64 = 0
    }

    init(_ connection: any SQLConnection, quota: ArchiveQuota) throws(SQLError) {
        self.connection = connection
        self.quota = quota
        insertView = try connection.prepare(
            """
            INSERT INTO archive (owner, view_id, log, size, peer, sent) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (owner, view_id) DO NOTHING
            """)
        addUse = try connection.prepare(
            """
            INSERT INTO archive_account (owner, floor, messages, bytes) VALUES ($1, $4, $2, $3) ON CONFLICT (owner) DO UPDATE
            SET messages = archive_account.messages + excluded.messages, bytes = archive_account.bytes + excluded.bytes,
                floor = CASE WHEN excluded.floor > archive_account.floor THEN excluded.floor ELSE archive_account.floor END
            RETURNING messages, bytes
            """)
        use = try connection.prepare("SELECT messages, bytes FROM archive_account WHERE owner = $1")
        oldest = try connection.prepare(
            "SELECT view_id, log, size FROM archive WHERE owner = $1 AND view_id <= $2 ORDER BY view_id LIMIT $3")
        deleteViews = try connection.prepare("DELETE FROM archive WHERE owner = $1 AND view_id <= $2")
        subtractUse = try connection.prepare(
            """
            UPDATE archive_account SET messages = messages - $2, bytes = bytes - $3, floor = CASE WHEN floor < $4 THEN $4 ELSE floor END
            WHERE owner = $1
            """)
        setFloor = try connection.prepare("UPDATE archive_account SET floor = $2 WHERE owner = $1 AND floor < $2")
        deleteAccount = try connection.prepare("DELETE FROM archive_account WHERE owner = $1")
        sweepAccounts = try connection.prepare(
            """
            SELECT r.owner, r.messages, r.bytes, EXISTS (SELECT 1 FROM archive a WHERE a.owner = r.owner
                AND a.view_id <= CASE WHEN r.floor > $3 THEN r.floor ELSE $3 END)
            FROM archive_account r WHERE r.owner > $1 ORDER BY r.owner LIMIT $2
            """)
    }

    // MARK: Filling

    /// A view that is there already stays: a merge that is done again after a crash counts nothing twice.
    func insert(_ posting: Posting, _ mark: ArchiveMark, _ added: inout Addition) throws(SQLError) {
        try insertView.run {
            $0.bind(posting.owner.raw, at: 1)
            $0.bind(Int64(clamping: posting.view), at: 2)
            $0.bind(posting.log, at: 3)
            $0.bind(Int64(posting.size), at: 4)
            $0.bind(Int64(mark.peerHash), at: 5)
            $0.bind(mark.isSent, at: 6)
        }
        guard connection.changes > 0 else { return }
        added.messages += 1
        added.bytes += posting.size
    }

    /// - Returns: whether the archive holds more than it may.
    func add(_ added: Addition) throws(SQLError) -> Bool {
        guard let owner = added.owner, added.messages > 0 || added.forgotten > 0 else { return false }
        return try addUse.first({
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(added.messages), at: 2)
            $0.bind(Int64(added.bytes), at: 3)
            $0.bind(Int64(clamping: added.forgotten), at: 4)
        }) { excess(messages: $0.integer(0), bytes: $0.integer(1)) != nil } ?? false
    }

    private func excess(messages: Int64, bytes: Int64) -> (messages: Int64, bytes: Int64)? {
        let excess = (messages: messages - Int64(quota.messagesMax), bytes: bytes - Int64(quota.bytesMax))
        return excess.messages > 0 || excess.bytes > 0 ? excess : nil
    }

    // MARK: Clearing

    /// The views, in order, of which the archive has to forget the last and all before it, to hold no more than it may, or to come nearer to
    /// that; `nil` if it holds no more.
    func floorToFit(_ owner: AccountID, after floor: UInt64, rowsMax: Int) throws(SQLError) -> UInt64? {
        let use = try use.first({ $0.bind(owner.raw, at: 1) }) { (messages: $0.integer(0), bytes: $0.integer(1)) }
        guard let use, var excess = excess(messages: use.messages, bytes: use.bytes) else { return nil }
        var last: UInt64?
        // From the beginning: what is forgotten and still there counts as held.
        for row in try rows(of: owner, upTo: .max, limit: rowsMax) {
            if excess.messages <= 0, excess.bytes <= 0 { break }
            excess.messages -= 1
            excess.bytes -= row.size
            last = UInt64(clamping: row.view)
        }
        return last.map { max($0, floor) }
    }

    func raiseFloor(of owner: AccountID, to view: UInt64) throws(SQLError) {
        try setFloor.run {
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: view), at: 2)
        }
    }

    /// Removes the views up to `floor`, at most `rowsMax`. The last of them becomes the archive's own floor, if that is lower: its name was
    /// given, and is not given again.
    /// - Parameter isGone: called with the entries of what was removed.
    /// - Returns: how many.
    func purge(
        _ owner: AccountID, upTo floor: UInt64, rowsMax: Int, _ isGone: (_ entry: Int64) throws(SQLError) -> Void
    ) throws(SQLError) -> Int {
        guard floor > 0 else { return 0 }
        let rows = try rows(of: owner, upTo: floor, limit: rowsMax)
        guard let last = rows.last else { return 0 }
        for row in rows { try isGone(row.entry) }
        try deleteViews.run {
            $0.bind(owner.raw, at: 1)
            $0.bind(last.view, at: 2)
        }
        try subtractUse.run {
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(rows.count), at: 2)
            $0.bind(rows.reduce(0) { $0 + $1.size }, at: 3)
            $0.bind(last.view, at: 4)
        }
        return rows.count
    }

    private func rows(
        of owner: AccountID, upTo last: UInt64, limit: Int
    ) throws(SQLError) -> [(view: Int64, entry: Int64, size: Int64)] {
        try oldest.rows {
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: last), at: 2)
            $0.bind(Int64(limit), at: 3)
        } _: { (view: $0.integer(0), entry: $0.integer(1), size: $0.integer(2)) }
    }

    func removeAccount(_ owner: AccountID) throws(SQLError) {
        try deleteAccount.run { $0.bind(owner.raw, at: 1) }
    }

    // MARK: Looking through all

    /// Accounts with an archive, by number: whether it has forgotten what is still there, and whether it holds more than it may.
    func accounts(after owner: Int64, limit: Int, floor: UInt64) throws(SQLError) -> [(id: AccountID, hasForgotten: Bool, isFull: Bool)] {
        try sweepAccounts.rows {
            $0.bind(owner, at: 1)
            $0.bind(Int64(limit), at: 2)
            $0.bind(Int64(clamping: floor), at: 3)
        } _: {
            (AccountID(raw: $0.integer(0)), $0.flag(3), excess(messages: $0.integer(1), bytes: $0.integer(2)) != nil)
        }
    }
}
