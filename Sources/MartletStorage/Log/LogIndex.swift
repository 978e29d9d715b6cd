internal import MartletCore
internal import NIOCore

/// Keeps the message log's index and forgets what has been delivered; on the writer's thread, in small steps between
/// commits.
///
/// Only the append of an entry is part of the commit that acknowledges it: one page at the end of the log. The index by
/// owner touches as many pages as a message has views, so postings are collected (``LogTail``), sorted by owner, and put
/// into the table many at a time. `meta.indexed_up_to` says up to which entry that has happened; what is beyond is read
/// from the log's end at start.
///
/// An entry goes when every owner's cursor has passed its view. Most go before they were ever indexed: the recipients
/// were online.
final class LogIndex {
    /// Postings or entries that one step works on: a few milliseconds.
    static let stepMax = 2_048
    /// Owners whose cursor has moved are remembered up to this many; beyond, all are looked through.
    static let movedOwnersMax = 65_536
    /// A purge waits for so many moves of cursors if there is nothing else to do…
    static let idlePurgeThreshold = 256
    /// …and for so many while writes are waiting.
    static let purgeThreshold = 16_384

    private let statements: Statements
    private let connection: any SQLConnection
    private let tail: LogTail
    /// A merge begins when the tail has so many postings; at half of them if there is nothing else to do. The more there are, the
    /// more of them share a page of the table.
    private let mergeThreshold: Int
    private var merge: Merge?
    /// The last entry in the log.
    private(set) var lastEntry: Int64 = 0
    private var movedOwners: Set<AccountID> = []
    /// Moves of cursors since `movedOwners` was last empty.
    private var cursorMoves = 0
    /// Where a look through all cursors has come to.
    private var sweep: Int64?
    private var hasDeletedOwners = true
    /// What ``delivered(of:)`` has found in the present step.
    private var cursors: [AccountID: UInt64] = [:]

    private struct Merge {
        var postings: [Posting]
        /// How far `postings` have been dealt with.
        var position = 0
        var upTo: Int64
        /// Entries that somebody still waits for.
        var kept: Set<Int64> = []
        /// Entries that nobody waits for; known when `position` has come to the end.
        var unwanted: [Int64]?
    }

    private final class Statements {
        let delivered, insertPosting, setIndexed, deleteEntry, entryViews, ownerPostings, deletePostings, deletedOwner, forgetOwner,
            sweepOwners: any SQLStatement

        init(_ connection: any SQLConnection) throws(SQLError) {
            delivered = try connection.prepare(
                "SELECT COALESCE(c.delivered, 0) FROM account a LEFT JOIN cursor c ON c.owner = a.id WHERE a.id = $1")
            insertPosting = try connection.prepare(
                "INSERT INTO posting (owner, view_id, log, size) VALUES ($1, $2, $3, $4) ON CONFLICT (owner, view_id) DO NOTHING")
            setIndexed = try connection.prepare("UPDATE meta SET value = $1 WHERE name = 'indexed_up_to'")
            deleteEntry = try connection.prepare("DELETE FROM log WHERE id = $1")
            entryViews = try connection.prepare("SELECT views FROM log WHERE id = $1")
            ownerPostings = try connection.prepare(
                "SELECT view_id, log FROM posting WHERE owner = $1 AND view_id <= $2 ORDER BY view_id LIMIT $3")
            deletePostings = try connection.prepare("DELETE FROM posting WHERE owner = $1 AND view_id <= $2")
            deletedOwner = try connection.prepare("SELECT owner FROM purge LIMIT 1")
            forgetOwner = try connection.prepare("DELETE FROM purge WHERE owner = $1")
            sweepOwners = try connection.prepare(
                """
                SELECT c.owner, EXISTS (SELECT 1 FROM posting p WHERE p.owner = c.owner AND p.view_id <= c.delivered)
                FROM cursor c WHERE c.owner > $1 ORDER BY c.owner LIMIT $2
                """)
        }
    }

    init(_ connection: any SQLConnection, tail: LogTail, mergeThreshold: Int) throws(SQLError) {
        self.connection = connection
        self.tail = tail
        self.mergeThreshold = mergeThreshold
        statements = try Statements(connection)
        sweep = 0
        try readTail()
    }

    /// Reads what the last process had not indexed.
    private func readTail() throws(SQLError) {
        lastEntry = try connection.prepare("SELECT value FROM meta WHERE name = 'indexed_up_to'").first { $0.integer(0) } ?? 0
        let unread = try connection.prepare("SELECT id, views, LENGTH(stanza) FROM log WHERE id > $1 ORDER BY id")
        defer { unread.reset() }
        unread.bind(lastEntry, at: 1)
        while try unread.step() {
            lastEntry = unread.integer(0)
            let size = Int(unread.integer(2))
            tail.append(unread.withBytes(1) { LogEntry.View.decode($0) }.map {
                Posting(owner: $0.owner, view: $0.id, log: lastEntry, size: size)
            })
        }
    }

    // MARK: What commits tell

    /// A commit wrote these.
    func committed(_ postings: [Posting], lastEntry: Int64) {
        self.lastEntry = lastEntry
        if !postings.isEmpty { tail.append(postings) }
    }

    func cursorMoved(of owner: AccountID) {
        movedOwners.insert(owner)
        cursorMoves += 1
        if movedOwners.count > Self.movedOwnersMax {
            movedOwners = []
            cursorMoves = 0
            sweep = 0
        }
    }

    /// What the account had in the tail goes with the next merge.
    func accountDeleted() { hasDeletedOwners = true }

    // MARK: Steps

    /// Whether a step is due even while writes are waiting.
    var isDue: Bool { merge != nil || tail.count >= mergeThreshold || cursorMoves >= Self.purgeThreshold }

    /// Whether there is something to do while no writes are waiting.
    var hasWork: Bool {
        merge != nil || sweep != nil || hasDeletedOwners || cursorMoves >= Self.idlePurgeThreshold
            || tail.count >= max(1, mergeThreshold / 2)
    }

    /// Does one step in one transaction. A step that fails is done again later.
    func step() throws(SQLError) {
        if merge != nil || tail.count >= max(1, mergeThreshold / 2) { return try stepMerge() }
        if hasDeletedOwners { return try stepDeletedOwner() }
        if cursorMoves >= Self.idlePurgeThreshold { return try stepMovedOwners() }
        if let position = sweep { return try stepSweep(after: position) }
    }

    /// Merges and purges everything, whatever the thresholds.
    func finish() throws(SQLError) {
        if tail.count > 0, merge == nil { begin() }
        while merge != nil { try stepMerge() }
        while hasDeletedOwners { try stepDeletedOwner() }
        while let position = sweep { try stepSweep(after: position) }
        while !movedOwners.isEmpty { try stepMovedOwners() }
    }

    private func transaction<Result>(_ body: () throws(SQLError) -> Result) throws(SQLError) -> Result {
        cursors.removeAll(keepingCapacity: true)
        return try connection.transaction(body)
    }

    // MARK: Merging

    private func begin() { merge = Merge(postings: tail.sorted(), upTo: lastEntry) }

    private func stepMerge() throws(SQLError) {
        if merge == nil { begin() }
        guard var merge else { return }
        if merge.unwanted == nil {
            try transaction { () throws(SQLError) in try mergePostings(&merge) }
        } else if merge.unwanted?.isEmpty == false {
            try transaction { () throws(SQLError) in try deleteUnwanted(&merge) }
        } else {
            return try finishMerge(merge)
        }
        self.merge = merge
    }

    private func mergePostings(_ merge: inout Merge) throws(SQLError) {
        let end = min(merge.position + Self.stepMax, merge.postings.count)
        for posting in merge.postings[merge.position..<end] {
            guard posting.view > (try delivered(of: posting.owner)) else { continue }
            merge.kept.insert(posting.log)
            try statements.insertPosting.run {
                $0.bind(posting.owner.raw, at: 1)
                $0.bind(Int64(clamping: posting.view), at: 2)
                $0.bind(posting.log, at: 3)
                $0.bind(Int64(posting.size), at: 4)
            }
        }
        merge.position = end
        if end == merge.postings.count {
            merge.unwanted = Set(merge.postings.lazy.map(\.log)).subtracting(merge.kept).sorted()
        }
    }

    private func deleteUnwanted(_ merge: inout Merge) throws(SQLError) {
        guard let unwanted = merge.unwanted else { return }
        for entry in unwanted.prefix(Self.stepMax) { try statements.deleteEntry.run { $0.bind(entry, at: 1) } }
        merge.unwanted = Array(unwanted.dropFirst(Self.stepMax))
    }

    /// Last, so that a process that dies before it finds the same entries beyond `indexed_up_to` and merges them again.
    private func finishMerge(_ merge: Merge) throws(SQLError) {
        try statements.setIndexed.run { $0.bind(merge.upTo, at: 1) }
        tail.removeAll(upTo: merge.upTo)
        self.merge = nil
    }

    // MARK: Purging

    /// Up to where an account has taken delivery; everything, if it is gone.
    private func delivered(of owner: AccountID) throws(SQLError) -> UInt64 {
        if let known = cursors[owner] { return known }
        let delivered = try statements.delivered.first({ $0.bind(owner.raw, at: 1) }) { $0.unsigned(0) } ?? .max
        cursors[owner] = delivered
        return delivered
    }

    private func stepDeletedOwner() throws(SQLError) {
        guard let owner = try statements.deletedOwner.first({ _ in }, { AccountID(raw: $0.integer(0)) }) else {
            hasDeletedOwners = false
            return
        }
        try transaction { () throws(SQLError) in
            if try purge(owner) < Self.stepMax { try statements.forgetOwner.run { $0.bind(owner.raw, at: 1) } }
        }
    }

    private func stepMovedOwners() throws(SQLError) {
        let done = try transaction { () throws(SQLError) in
            var (done, count) = ([AccountID](), 0)
            for owner in movedOwners.prefix(Self.stepMax) where count < Self.stepMax {
                let purged = try purge(owner)
                count += purged
                if purged < Self.stepMax { done.append(owner) }
            }
            return done
        }
        movedOwners.subtract(done)
        if movedOwners.isEmpty { cursorMoves = 0 }
    }

    private func stepSweep(after position: Int64) throws(SQLError) {
        let owners = try statements.sweepOwners.rows {
            $0.bind(position, at: 1)
            $0.bind(Int64(Self.stepMax), at: 2)
        } _: { (id: AccountID(raw: $0.integer(0)), hasDelivered: $0.flag(1)) }
        for owner in owners where owner.hasDelivered { movedOwners.insert(owner.id) }
        if !movedOwners.isEmpty { cursorMoves = max(cursorMoves, Self.idlePurgeThreshold) }
        sweep = owners.count < Self.stepMax ? nil : owners.last?.id.raw
    }

    /// Removes an owner's delivered postings, at most ``stepMax``, and the entries that nobody else waits for.
    /// - Returns: how many postings.
    private func purge(_ owner: AccountID) throws(SQLError) -> Int {
        let delivered = try delivered(of: owner)
        let postings = try statements.ownerPostings.rows {
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: delivered), at: 2)
            $0.bind(Int64(Self.stepMax), at: 3)
        } _: { (view: $0.integer(0), log: $0.integer(1)) }
        guard let last = postings.last else { return 0 }
        for posting in postings where try isDelivered(posting.log) {
            try statements.deleteEntry.run { $0.bind(posting.log, at: 1) }
        }
        try statements.deletePostings.run {
            $0.bind(owner.raw, at: 1)
            $0.bind(last.view, at: 2)
        }
        return postings.count
    }

    /// Whether every owner of a view of the entry has taken delivery of it.
    private func isDelivered(_ entry: Int64) throws(SQLError) -> Bool {
        let views = try statements.entryViews.first({ $0.bind(entry, at: 1) }) { $0.withBytes(0) { LogEntry.View.decode($0) } }
        for view in views ?? [] where try delivered(of: view.owner) < view.id { return false }
        return true
    }
}

extension LogEntry.View {
    /// Bytes of a view in `log.views`: owner and name, big-endian.
    static let encodedBytes = 16

    static func encode(_ views: [LogEntry.View], into buffer: inout ByteBuffer) {
        for view in views {
            buffer.writeInteger(view.owner.raw)
            buffer.writeInteger(view.id)
        }
    }

    static func decode(_ bytes: UnsafeRawBufferPointer) -> [LogEntry.View] {
        stride(from: 0, to: bytes.count - bytes.count % encodedBytes, by: encodedBytes).map { place in
            LogEntry.View(
                owner: AccountID(raw: Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: Int64.self))),
                id: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: place + 8, as: UInt64.self)))
        }
    }
}
