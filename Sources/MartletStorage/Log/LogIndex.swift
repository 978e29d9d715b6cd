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
/// A view is wanted until its owner has taken delivery of it, if it is one to deliver, and until its owner's archive has forgotten it, if
/// it is in there. An entry goes with its last wanted view; where there are no archives that is mostly before it was ever indexed:
/// the recipients were online. Both ends are numbers that are raised in commits; what they leave behind is cleared here. The words of what
/// archives hold follow the index at a distance (``TextIndex``).
final class LogIndex {
    /// Postings or entries that one step works on: a few milliseconds.
    static let stepMax = 2_048
    /// Owners whose cursor has moved are remembered up to this many; beyond, all are looked through.
    static let movedOwnersMax = 65_536
    /// A purge waits for so many moves of cursors if there is nothing else to do…
    static let idlePurgeThreshold = 256
    /// …and for so many while writes are waiting.
    static let purgeThreshold = 16_384

    /// Archives that hold more than they may are left alone up to so many while writes are waiting.
    static let fullArchivesMax = 1_024

    private let statements: Statements
    private let connection: any SQLConnection
    private let tail: LogTail
    /// A merge begins when the tail has so many postings; at half of them if there is nothing else to do. The more there are, the
    /// more of them share a page of the table.
    private let mergeThreshold: Int
    private var merge: Merge?
    /// The last entry in the log.
    private(set) var lastEntry: Int64 = 0
    /// The last entry that is in the tables.
    private var indexedUpTo: Int64 = 0
    private var movedOwners: Set<AccountID> = []
    /// Moves of cursors since `movedOwners` was last empty.
    private var cursorMoves = 0
    /// Where a look through all cursors has come to.
    private var sweep: Int64?
    private var hasDeletedOwners = true
    /// What ``ends(of:)`` has found in the present step.
    private var ends: [AccountID: Ends] = [:]
    private let archive: ArchiveIndex
    /// What every archive has forgotten.
    private var archiveFloor: UInt64 = 0
    /// Where a look through all archives has come to.
    private var archiveSweep: Int64?
    /// Accounts whose archives have to forget something because there is no more room for them.
    private var fullArchives: Set<AccountID> = []
    private let text: TextIndex
    let replacement: StanzaReplacement
    /// Has nothing to do with the log, but its steps are done in the same moments.
    let cards: CardIndex
    private let time: any TimeSource
    private var lastPositionsPurge: Int64 = 0
    /// How often positions are looked for that are too old, in milliseconds.
    private static let positionsPurgeInterval: Int64 = 3_600_000
    /// When the words of what is deleted may be cleaned away again.
    private var cleaningTime = NIODeadline.distantPast

    /// Up to where an owner wants nothing any more.
    private struct Ends {
        var delivered: UInt64
        var forgotten: UInt64
        /// Of an owner that is gone.
        static let gone = Ends(delivered: .max, forgotten: .max)
        var isGone: Bool { forgotten == .max }
    }

    private struct Merge {
        /// Of entries `first` and later, up to `upTo`.
        let postings: [Posting]
        /// How far `postings` have been dealt with.
        var position = 0
        let first: Int64
        let upTo: Int64
        /// Whether somebody still waits for an entry, from `first` on.
        var isKept: [Bool]
        /// Entries that nobody waits for; known when `position` has come to the end.
        var unwanted: [Int64]?

        init(_ postings: [Posting], first: Int64, upTo: Int64) {
            self.postings = postings
            self.first = first
            self.upTo = upTo
            isKept = Array(repeating: false, count: Int(max(0, upTo - first + 1)))
        }

        mutating func keep(_ log: Int64) { isKept[Int(log - first)] = true }

        /// Every entry has been looked at. Those without postings are gone already.
        mutating func findUnwanted() {
            var unwanted: [Int64] = []
            for posting in postings where !isKept[Int(posting.log - first)] {
                keep(posting.log)
                unwanted.append(posting.log)
            }
            self.unwanted = unwanted.sorted()
            isKept = []
        }
    }

    /// Up to where an owner has taken delivery, his archive has forgotten, and every archive has. Rooms take delivery of nothing; queues, below
    /// zero, are always there; of another owner that is gone there is no row.
    static let ends = """
        SELECT COALESCE(c.delivered, 0), COALESCE(r.floor, 0), (SELECT value FROM meta WHERE name = 'archive_floor')
        FROM account a LEFT JOIN cursor c ON c.owner = a.id LEFT JOIN archive_account r ON r.owner = a.id WHERE a.id = $1
        UNION ALL SELECT \(Int64.max), COALESCE(r.floor, 0), (SELECT value FROM meta WHERE name = 'archive_floor')
        FROM room m LEFT JOIN archive_account r ON r.owner = m.id WHERE m.id = $1
        UNION ALL SELECT COALESCE((SELECT delivered FROM cursor WHERE owner = $1), 0), 0, 0 WHERE $1 < 0
        """

    private final class Statements {
        let ends, archiveFloor, insertPosting, setIndexed, deleteEntry, entryViews, ownerPostings, deletePostings, deletedOwner, forgetOwner,
            sweepOwners, putPosition, forgetPositions, forgetOldPositions: any SQLStatement

        init(_ connection: any SQLConnection) throws(SQLError) {
            ends = try connection.prepare(LogIndex.ends)
            archiveFloor = try connection.prepare("SELECT value FROM meta WHERE name = 'archive_floor'")
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
            putPosition = try connection.prepare(
                """
                INSERT INTO stream_position (owner, stream, handled, time) VALUES ($1, $2, $3, $4)
                ON CONFLICT (owner, stream) DO UPDATE SET handled = excluded.handled, time = excluded.time
                """)
            forgetPositions = try connection.prepare("DELETE FROM stream_position WHERE owner = $1")
            forgetOldPositions = try connection.prepare("DELETE FROM stream_position WHERE time < $1")
            sweepOwners = try connection.prepare(
                """
                SELECT c.owner, EXISTS (SELECT 1 FROM posting p WHERE p.owner = c.owner AND p.view_id <= c.delivered)
                FROM cursor c WHERE c.owner > $1 ORDER BY c.owner LIMIT $2
                """)
        }
    }

    init(
        _ connection: any SQLConnection, tail: LogTail, mergeThreshold: Int, quota: ArchiveQuota, time: any TimeSource
    ) throws(SQLError) {
        self.connection = connection
        self.tail = tail
        self.mergeThreshold = mergeThreshold
        self.time = time
        statements = try Statements(connection)
        archive = try ArchiveIndex(connection, quota: quota)
        text = try TextIndex(connection)
        replacement = try StanzaReplacement(connection, tail: tail, text: text)
        cards = try CardIndex(connection)
        archiveFloor = try statements.archiveFloor.first({ _ in }) { $0.unsigned(0) } ?? 0
        sweep = .min
        archiveSweep = 0
        try readTail()
        try forgetEmptyQueues()
    }

    /// A queue that was empty when the last process ended is not remembered: names that are given from now on are beyond its cursor. What is
    /// in the tail may be delivered already, which only the cursor knows.
    private func forgetEmptyQueues() throws(SQLError) {
        let empty = try connection.prepare(
            "SELECT owner FROM cursor WHERE owner < 0 AND owner NOT IN (SELECT owner FROM posting WHERE owner < 0)"
        ).rows { AccountID(raw: $0.integer(0)) }
        let forget = try connection.prepare("DELETE FROM cursor WHERE owner = $1")
        let unknown = empty.filter { tail.postings(of: $0, after: 0).isEmpty }
        try connection.transaction { () throws(SQLError) in
            for queue in unknown { try forget.run { $0.bind(queue.raw, at: 1) } }
        }
    }

    /// Reads what the last process had not indexed.
    private func readTail() throws(SQLError) {
        lastEntry = try connection.prepare("SELECT value FROM meta WHERE name = 'indexed_up_to'").first { $0.integer(0) } ?? 0
        indexedUpTo = lastEntry
        let unread = try connection.prepare("SELECT id, views, LENGTH(stanza) FROM log WHERE id > $1 ORDER BY id")
        defer { unread.reset() }
        unread.bind(lastEntry, at: 1)
        while try unread.step() {
            lastEntry = unread.integer(0)
            let size = Int(unread.integer(2))
            tail.append(unread.withBytes(1) { EncodedViews.decode($0) }.map { Posting($0, log: lastEntry, size: size) })
            if let position = unread.withBytes(1, { EncodedViews.position($0) }) { tail.append([LoggedPosition(position, log: lastEntry)]) }
        }
    }

    // MARK: What commits tell

    /// A commit wrote these.
    func committed(_ postings: [Posting], _ positions: [LoggedPosition], lastEntry: Int64) {
        self.lastEntry = lastEntry
        if !positions.isEmpty { tail.append(positions) }
        if !postings.isEmpty { tail.append(postings) }
    }

    func cursorMoved(of owner: AccountID) {
        movedOwners.insert(owner)
        cursorMoves += 1
        if movedOwners.count > Self.movedOwnersMax {
            movedOwners = []
            cursorMoves = 0
            sweep = .min
        }
    }

    func archiveFloorRaised(to floor: UInt64) {
        guard floor > archiveFloor else { return }
        archiveFloor = floor
        archiveSweep = 0
    }

    /// What the owner had in the tail goes with the next merge.
    func ownerDeleted() { hasDeletedOwners = true }

    /// So many rows of the table of words were deleted, others put in their place.
    func wordsReplaced(_ rows: Int64) { text.replaced(rows) }

    // MARK: Steps

    /// Whether a step is due even while writes are waiting.
    var isDue: Bool {
        merge != nil || tail.count >= mergeThreshold || cursorMoves >= Self.purgeThreshold || archiveSweep != nil
            || fullArchives.count >= Self.fullArchivesMax || text.upTo < indexedUpTo
    }

    /// Whether there is something to do while no writes are waiting.
    var hasWork: Bool {
        merge != nil || sweep != nil || archiveSweep != nil || hasDeletedOwners || !fullArchives.isEmpty || cursorMoves >= Self.idlePurgeThreshold
            || tail.count >= max(1, mergeThreshold / 2) || text.upTo < indexedUpTo || isCleaningDue
            || cards.hasUnread
    }

    private var isCleaningDue: Bool { text.remains > 0 && time.monotonic >= cleaningTime }

    /// Does one step in one transaction. A step that fails is done again later.
    func step() throws(SQLError) {
        if merge != nil || tail.count >= max(1, mergeThreshold / 2) { return try stepMerge() }
        if hasDeletedOwners { return try stepDeletedOwner() }
        if cursorMoves >= Self.idlePurgeThreshold { return try stepMovedOwners() }
        if !fullArchives.isEmpty { return try stepFullArchives() }
        if let position = sweep { return try stepSweep(after: position) }
        if let position = archiveSweep { return try stepArchiveSweep(after: position) }
        if text.upTo < indexedUpTo { return try stepText() }
        if cards.hasUnread { return try stepCards() }
        if isCleaningDue { try stepCleaning() }
    }

    /// Merges, purges and cleans everything, whatever the thresholds.
    func finish() throws(SQLError) {
        // One merge may be under way, and what came since is for the next.
        while merge != nil || tail.count > 0 { try stepMerge() }
        while hasDeletedOwners { try stepDeletedOwner() }
        while let position = sweep { try stepSweep(after: position) }
        while let position = archiveSweep { try stepArchiveSweep(after: position) }
        while !fullArchives.isEmpty { try stepFullArchives() }
        while !movedOwners.isEmpty { try stepMovedOwners() }
        while text.upTo < indexedUpTo { try stepText() }
        while text.remains > 0 { try stepCleaning() }
        while cards.hasUnread { try stepCards() }
    }

    private func transaction<Result>(_ body: () throws(SQLError) -> Result) throws(SQLError) -> Result {
        ends.removeAll(keepingCapacity: true)
        return try connection.transaction(body)
    }

    // MARK: Merging

    private func stepMerge() throws(SQLError) {
        // Taken out, so that it changes in place: if a step fails, the merge begins anew, as it does after a crash.
        var merge = merge.take() ?? Merge(tail.sorted(), first: indexedUpTo + 1, upTo: lastEntry)
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
        // Before any entry goes that says it.
        if merge.position == 0 { try keep(tail.positions(upTo: merge.upTo)) }
        let end = min(merge.position + Self.stepMax, merge.postings.count)
        var added = ArchiveIndex.Addition()
        for posting in merge.postings[merge.position..<end] {
            let ends = try ends(of: posting.owner)
            if posting.awaitsDelivery, posting.view > ends.delivered {
                merge.keep(posting.log)
                try insert(posting)
            }
            guard let mark = posting.archived, !ends.isGone else { continue }
            if added.owner != posting.owner { try finish(&added, next: posting.owner) }
            if posting.view > ends.forgotten {
                merge.keep(posting.log)
                try archive.insert(posting, mark, &added)
            } else {
                added.forgotten = max(added.forgotten, posting.view)
            }
        }
        try finish(&added, next: nil)
        merge.position = end
        if end == merge.postings.count { merge.findUnwanted() }
    }

    private func insert(_ posting: Posting) throws(SQLError) {
        try statements.insertPosting.run {
            $0.bind(posting.owner.raw, at: 1)
            $0.bind(Int64(clamping: posting.view), at: 2)
            $0.bind(posting.log, at: 3)
            $0.bind(Int64(posting.size), at: 4)
        }
    }

    /// Postings come sorted by owner: what they add up to is noted once for each.
    private func finish(_ added: inout ArchiveIndex.Addition, next owner: AccountID?) throws(SQLError) {
        if let owner = added.owner, try archive.add(added) { fullArchives.insert(owner) }
        added = ArchiveIndex.Addition(owner: owner)
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
        indexedUpTo = merge.upTo
    }

    /// Streams outlive the entries that said how far they have come (``StreamPosition/ageMax``).
    private func keep(_ positions: [StreamPosition]) throws(SQLError) {
        let now = time.wallMilliseconds
        for position in positions {
            try statements.putPosition.run {
                $0.bind(position.account.raw, at: 1)
                $0.bind(Int64(bitPattern: position.stream), at: 2)
                $0.bind(Int64(position.handled), at: 3)
                $0.bind(now, at: 4)
            }
        }
        guard now - lastPositionsPurge >= Self.positionsPurgeInterval || now < lastPositionsPurge else { return }
        lastPositionsPurge = now
        try statements.forgetOldPositions.run { $0.bind(now - StreamPosition.ageMax, at: 1) }
    }

    // MARK: Words

    private func stepText() throws(SQLError) {
        try transaction { () throws(SQLError) in try text.fill(upTo: indexedUpTo) }
    }

    private func stepCards() throws(SQLError) {
        try transaction { () throws(SQLError) in try cards.step() }
    }

    private func stepCleaning() throws(SQLError) {
        let isClean = try transaction { () throws(SQLError) in try text.clean() }
        if isClean { cleaningTime = time.monotonic + TextIndex.cleaningInterval }
    }

    // MARK: Purging

    private func ends(of owner: AccountID) throws(SQLError) -> Ends {
        if let known = ends[owner] { return known }
        let found = try statements.ends.first({ $0.bind(owner.raw, at: 1) }) {
            Ends(delivered: $0.unsigned(0), forgotten: max($0.unsigned(1), $0.unsigned(2)))
        } ?? .gone
        ends[owner] = found
        return found
    }

    private func stepDeletedOwner() throws(SQLError) {
        guard let owner = try statements.deletedOwner.first({ _ in }, { AccountID(raw: $0.integer(0)) }) else {
            hasDeletedOwners = false
            return
        }
        try transaction { () throws(SQLError) in
            if try purge(owner) < Self.stepMax {
                try archive.removeAccount(owner)
                try statements.forgetPositions.run { $0.bind(owner.raw, at: 1) }
                try statements.forgetOwner.run { $0.bind(owner.raw, at: 1) }
            }
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

    private func stepArchiveSweep(after position: Int64) throws(SQLError) {
        let owners = try archive.accounts(after: position, limit: Self.stepMax, floor: archiveFloor)
        for owner in owners {
            if owner.hasForgotten { movedOwners.insert(owner.id) }
            if owner.isFull { fullArchives.insert(owner.id) }
        }
        if !movedOwners.isEmpty { cursorMoves = max(cursorMoves, Self.purgeThreshold) }
        archiveSweep = owners.count < Self.stepMax ? nil : owners.last?.id.raw
    }

    /// Makes archives forget their oldest messages, until there is room again.
    private func stepFullArchives() throws(SQLError) {
        let done = try transaction { () throws(SQLError) in
            var (done, count) = ([AccountID](), 0)
            for owner in fullArchives.prefix(Self.stepMax) where count < Self.stepMax {
                guard let floor = try archive.floorToFit(owner, after: try ends(of: owner).forgotten, rowsMax: Self.stepMax) else {
                    done.append(owner)
                    continue
                }
                try archive.raiseFloor(of: owner, to: floor)
                ends[owner] = nil
                count += try purge(owner)
            }
            return done
        }
        fullArchives.subtract(done)
    }

    /// Removes what an owner has taken delivery of, and what his archive has forgotten, at most ``stepMax`` of each, and the entries that
    /// nobody else wants.
    /// - Returns: how many of the more frequent kind.
    private func purge(_ owner: AccountID) throws(SQLError) -> Int {
        let ends = try ends(of: owner)
        let delivered = try purgePostings(of: owner, upTo: ends.delivered)
        let forgotten = try archive.purge(owner, upTo: ends.forgotten, rowsMax: Self.stepMax) { entry throws(SQLError) in
            try deleteUnlessWanted(entry)
        }
        return max(delivered, forgotten)
    }

    private func purgePostings(of owner: AccountID, upTo delivered: UInt64) throws(SQLError) -> Int {
        let postings = try statements.ownerPostings.rows {
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: delivered), at: 2)
            $0.bind(Int64(Self.stepMax), at: 3)
        } _: { (view: $0.integer(0), log: $0.integer(1)) }
        guard let last = postings.last else { return 0 }
        for posting in postings { try deleteUnlessWanted(posting.log) }
        try statements.deletePostings.run {
            $0.bind(owner.raw, at: 1)
            $0.bind(last.view, at: 2)
        }
        return postings.count
    }

    /// Deletes an entry that no owner of a view wants any more.
    private func deleteUnlessWanted(_ entry: Int64) throws(SQLError) {
        let views = try statements.entryViews.first({ $0.bind(entry, at: 1) }) { $0.withBytes(0) { EncodedViews.decode($0) } }
        for view in views ?? [] {
            let ends = try ends(of: view.owner)
            if view.awaitsDelivery, view.id > ends.delivered { return }
            if view.archived != nil, view.id > ends.forgotten { return }
        }
        try text.remove(entry)
        try statements.deleteEntry.run { $0.bind(entry, at: 1) }
    }
}
