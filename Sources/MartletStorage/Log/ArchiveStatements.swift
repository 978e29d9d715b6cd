internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// A reader's statements about archives. What is merged and the tail are read together, in one snapshot that begins after the tail was
/// copied (``LogTail``): a view may be found in both, never in none.
final class ArchiveStatements {
    /// Rows that are read at once where only the messages themselves tell which pass.
    private static let scanRows = 256

    private let slice: ArchiveSearch.Slice
    private let floor, view, names, first, last, latest, entry: any SQLStatement
    /// By what ``Order`` says.
    private var inOrder: [Order: any SQLStatement] = [:]
    private var stretches: [Order: any SQLStatement] = [:]

    /// Which way, and what is filtered by.
    private struct Order: Hashable {
        var isBackwards: Bool
        var isWithPeer: Bool
        var isWithText: Bool

        init(isBackwards: Bool, isWithPeer: Bool, isWithText: Bool) {
            self.isBackwards = isBackwards
            self.isWithPeer = isWithPeer
            self.isWithText = isWithText
        }

        init(_ request: ArchiveRequest) {
            self.init(isBackwards: request.isBackwards, isWithPeer: request.peer != nil, isWithText: request.text != nil)
        }

        static let all = [false, true].flatMap { isBackwards in
            [false, true].flatMap { isWithPeer in
                [false, true].map { Order(isBackwards: isBackwards, isWithPeer: isWithPeer, isWithText: $0) }
            }
        }

        /// What is not in the table of words yet is let through: the messages themselves tell. The table is asked for the entries of one
        /// slice, from $9 to $10.
        var sql: String {
            let words = """
                AND (a.log > (SELECT value FROM meta WHERE name = 'text_indexed_up_to')
                    OR a.log IN (SELECT rowid FROM archive_text WHERE archive_text MATCH $8 AND rowid >= $9 AND rowid <= $10))
                """
            return """
                \(ArchiveStatements.columns) AND a.view_id >= $2 AND a.view_id <= $3 AND l.time >= $4 AND l.time <= $5
                \(isWithPeer ? "AND a.peer = $7" : "") \(isWithText ? words : "") ORDER BY a.view_id \(isBackwards ? "DESC" : "") LIMIT $6
                """
        }

        /// What is looked through by words in one slice, without looking at it: its names and its entries.
        var stretch: String {
            """
            SELECT COUNT(*), MIN(view_id), MAX(view_id), MIN(log), MAX(log) FROM (
                SELECT view_id, log FROM archive WHERE owner = $1 AND view_id >= $2 AND view_id <= $3
                \(isWithPeer ? "AND peer = $5" : "") ORDER BY view_id \(isBackwards ? "DESC" : "") LIMIT $4)
            """
        }
    }

    private static let columns =
        "SELECT a.view_id, l.time, l.stanza, a.peer, a.sent FROM archive a CROSS JOIN log l WHERE l.id = a.log AND a.owner = $1"

    init(_ connection: any SQLConnection, slice: ArchiveSearch.Slice) throws(SQLError) {
        self.slice = slice
        floor = try connection.prepare(
            """
            SELECT COALESCE((SELECT floor FROM archive_account WHERE owner = a.id), 0),
                COALESCE((SELECT value FROM meta WHERE name = 'archive_floor'), 0)
            FROM log_owner a WHERE a.id = $1
            """)
        view = try connection.prepare("\(Self.columns) AND a.view_id = $2")
        names = try connection.prepare(
            "SELECT view_id FROM archive WHERE owner = $1 AND view_id >= $2 AND view_id <= $3 ORDER BY view_id LIMIT $4")
        for order in Order.all {
            inOrder[order] = try connection.prepare(order.sql)
            if order.isWithText { stretches[order] = try connection.prepare(order.stretch) }
        }
        let end = "SELECT a.view_id, l.time FROM archive a CROSS JOIN log l WHERE l.id = a.log AND a.owner = $1 AND a.view_id > $2 ORDER BY a.view_id"
        first = try connection.prepare("\(end) LIMIT 1")
        last = try connection.prepare("\(end) DESC LIMIT 1")
        latest = try connection.prepare("SELECT view_id, log FROM archive WHERE owner = $1 AND view_id > $2 ORDER BY view_id DESC LIMIT $3")
        entry = try connection.prepare("SELECT time, stanza FROM log WHERE id = $1")
    }

    private struct Candidate {
        var message: LoggedMessage
        var mark: ArchiveMark
    }

    // MARK: Pages

    /// Looks at the next slice.
    ///
    /// - Parameter tail: postings that may pass or are named in the request.
    /// - Returns: `nil` if one of the messages that the request names is not in the archive.
    func step(_ search: ArchiveSearch, of owner: AccountID, _ tail: [Posting]) throws(SQLError) -> ArchiveSearch? {
        var search = search
        let request = search.request
        let forgotten = try forgotten(by: owner)
        if !search.hasBegun {
            guard try isKnown(request.named, to: owner, after: forgotten, tail) else { return nil }
            search.hasBegun = true
        }
        guard let rest = search.rest, rest.upperBound > forgotten else {
            search.rest = nil
            return search
        }
        let wanted = max(rest.lowerBound, forgotten + 1)...rest.upperBound
        if request.isCount, request.isByName {
            try count(wanted, of: owner, tail, &search)
            return search
        }
        let stretch = try stretch(of: wanted, search, owner)
        search.rest = stretch.beyond
        let later = tail.filter { posting in
            stretch.views.contains(posting.view) && posting.archived.map { request.mayPass(posting.view, $0) } ?? false
        }
        let merged = try Merged(self, owner, search, stretch)
        if let last = try merge(request.isBackwards ? later.reversed() : later, merged, &search) {
            search.rest = search.part(of: wanted, beyond: last)
        }
        return search
    }

    private func isKnown(_ names: Set<UInt64>, to owner: AccountID, after forgotten: UInt64, _ tail: [Posting]) throws(SQLError) -> Bool {
        let known = Set(names.isEmpty ? [] : tail.map(\.view))
        for name in names {
            guard name > forgotten else { return false }
            if known.contains(name) { continue }
            if try candidate(name, of: owner) == nil { return false }
        }
        return true
    }

    /// Counts names only. What is in both, the table and the tail, is one message.
    private func count(_ wanted: ClosedRange<UInt64>, of owner: AccountID, _ tail: [Posting], _ search: inout ArchiveSearch) throws(SQLError) {
        let merged = try names.rows({
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: wanted.lowerBound), at: 2)
            $0.bind(Int64(clamping: wanted.upperBound), at: 3)
            $0.bind(Int64(slice.countedRows), at: 4)
        }) { $0.unsigned(0) }
        var views = wanted
        search.rest = nil
        if merged.count >= slice.countedRows, let last = merged.last {
            views = wanted.lowerBound...last
            search.rest = last < wanted.upperBound ? (last + 1)...wanted.upperBound : nil
        }
        let known = Set(tail.isEmpty ? [] : merged)
        let later = tail.count { $0.archived != nil && views.contains($0.view) && !known.contains($0.view) }
        search.builder.count(merged.count + later)
    }

    /// What is read for a slice.
    private struct Stretch {
        var views: ClosedRange<UInt64>
        var entries = Int64.min...Int64.max
        /// What comes behind it.
        var beyond: ClosedRange<UInt64>?
    }

    /// All that is wanted, where every row that is read is looked at: then the rows are counted (``merge(_:_:_:)``). The table of words passes
    /// over rows unseen, so there it is said before what a slice has.
    private func stretch(of wanted: ClosedRange<UInt64>, _ search: ArchiveSearch, _ owner: AccountID) throws(SQLError) -> Stretch {
        var stretch = Stretch(views: wanted)
        guard search.request.ids == nil, let statement = stretches[Order(search.request)] else { return stretch }
        let ends = try statement.first({
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: wanted.lowerBound), at: 2)
            $0.bind(Int64(clamping: wanted.upperBound), at: 3)
            $0.bind(Int64(slice.rows), at: 4)
            if let peer = search.request.peer { $0.bind(Int64(peer.bare.shardHash), at: 5) }
        }) { (count: $0.integer(0), first: $0.unsigned(1), last: $0.unsigned(2), entries: ($0.integer(3), $0.integer(4))) }
        guard let ends, ends.count > 0 else { return stretch }
        stretch.entries = ends.entries.0...ends.entries.1
        guard ends.count >= slice.rows else { return stretch }
        let end = search.request.isBackwards ? ends.first : ends.last
        stretch.views = search.part(of: wanted, upTo: end)
        stretch.beyond = search.part(of: wanted, beyond: end)
        return stretch
    }

    /// Looks at what the two have, in order, each view once.
    ///
    /// - Returns: what was looked at last, if that is enough for a slice and there may be more.
    private func merge(_ tail: [Posting], _ merged: Merged, _ search: inout ArchiveSearch) throws(SQLError) -> UInt64? {
        var (tail, left) = (tail[...], slice)
        var next = try merged.next()
        while !search.builder.isDone {
            let place = next?.message.view
            let looked: Candidate?
            let view: UInt64
            if let posting = tail.first, place.map({ search.request.isBackwards ? posting.view > $0 : posting.view < $0 }) ?? true {
                tail.removeFirst()
                view = posting.view
                looked = try candidate(posting)
            } else if let candidate = next {
                if tail.first?.view == place { tail.removeFirst() }
                view = candidate.message.view
                looked = candidate
                next = nil
            } else {
                return nil
            }
            if let looked { search.builder.look(at: looked.message, looked.mark) }
            left.rows -= 1
            left.bytes -= looked?.message.stanza.bytes.readableBytes ?? 0
            if left.rows <= 0 || left.bytes <= 0 { return view }
            if next == nil { next = try merged.next() }
        }
        return nil
    }

    /// `nil` if it was forgotten since the tail was copied.
    private func candidate(_ posting: Posting) throws(SQLError) -> Candidate? {
        guard let mark = posting.archived else { return nil }
        return try entry.first({ $0.bind(posting.log, at: 1) }) {
            Candidate(message: LoggedMessage(view: posting.view, time: $0.integer(0), stanza: EncodedStanza($0.buffer(1))), mark: mark)
        }
    }

    private func candidate(_ view: UInt64, of owner: AccountID) throws(SQLError) -> Candidate? {
        try self.view.first({
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: view), at: 2)
        }, Self.candidate)
    }

    private static func candidate(_ row: any SQLStatement) -> Candidate {
        Candidate(
            message: LoggedMessage(view: row.unsigned(0), time: row.integer(1), stanza: EncodedStanza(row.buffer(2))),
            mark: ArchiveMark(peerHash: UInt32(truncatingIfNeeded: row.integer(3)), isSent: row.flag(4)))
    }

    /// What the table has of a stretch, in the order of the request, read a few rows at a time.
    private final class Merged {
        private let statements: ArchiveStatements
        private let owner: AccountID
        private let search: ArchiveSearch
        private let entries: ClosedRange<Int64>
        private var rest: ClosedRange<UInt64>?
        private var rows: ArraySlice<Candidate> = []

        private var request: ArchiveRequest { search.request }

        init(_ statements: ArchiveStatements, _ owner: AccountID, _ search: ArchiveSearch, _ stretch: Stretch) throws(SQLError) {
            self.statements = statements
            self.owner = owner
            self.search = search
            entries = stretch.entries
            rest = stretch.views
            guard let ids = search.request.ids else { return }
            rest = nil
            let wanted = ids.filter { stretch.views.contains($0) }.sorted()
            for id in request.isBackwards ? wanted.reversed() : wanted {
                if let candidate = try statements.candidate(id, of: owner), request.mayPass(id, candidate.mark) { rows.append(candidate) }
            }
        }

        func next() throws(SQLError) -> Candidate? {
            if rows.isEmpty { try read() }
            return rows.popFirst()
        }

        private func read() throws(SQLError) {
            guard let views = rest, let statement = statements.inOrder[Order(request)] else { return }
            // With a bare address nearly every row passes, with a full one or a text perhaps few.
            let isScan = request.peer?.resourcepart != nil || request.text != nil
            let limit = min(max(request.limit + 1, isScan ? ArchiveStatements.scanRows : 1), statements.slice.rows)
            let isComplete = try read(statement, views, limit: limit)
            rest = nil
            guard !isComplete, let last = rows.last?.message.view else { return }
            rest = search.part(of: views, beyond: last)
        }

        /// - Returns: whether there are no more rows. Otherwise there are `limit` of them, or more bytes than a page may have.
        private func read(_ statement: any SQLStatement, _ views: ClosedRange<UInt64>, limit: Int) throws(SQLError) -> Bool {
            defer { statement.reset() }
            bind(statement, views, limit: limit)
            var (found, bytes) = ([Candidate](), 0)
            while bytes <= request.bytesMax, try statement.step() {
                found.append(ArchiveStatements.candidate(statement))
                bytes += found.last?.message.stanza.bytes.readableBytes ?? 0
            }
            rows = found[...]
            return found.count < limit && bytes <= request.bytesMax
        }

        private func bind(_ statement: any SQLStatement, _ views: ClosedRange<UInt64>, limit: Int) {
            statement.bind(owner.raw, at: 1)
            statement.bind(Int64(clamping: views.lowerBound), at: 2)
            statement.bind(Int64(clamping: views.upperBound), at: 3)
            statement.bind(request.start ?? .min, at: 4)
            statement.bind(request.end ?? .max, at: 5)
            statement.bind(Int64(limit), at: 6)
            if let peer = request.peer { statement.bind(Int64(peer.bare.shardHash), at: 7) }
            guard let text = request.text else { return }
            statement.bind(TextIndex.expression(owner, SearchWords.words(text)), at: 8)
            statement.bind(entries.lowerBound, at: 9)
            statement.bind(entries.upperBound, at: 10)
        }
    }

    // MARK: What there is

    /// Up to where an archive has forgotten; everything, if the owner is gone.
    private func forgotten(by owner: AccountID) throws(SQLError) -> UInt64 {
        try floor.first({ $0.bind(owner.raw, at: 1) }) { max($0.unsigned(0), $0.unsigned(1)) } ?? UInt64(Int64.max)
    }

    func ends(of owner: AccountID, _ tail: [Posting]) throws(SQLError) -> ArchiveEnds? {
        let forgotten = try forgotten(by: owner)
        let tail = tail.filter { $0.view > forgotten }
        var first = try end(first, owner, after: forgotten)
        var last = try end(last, owner, after: forgotten)
        // Entries of the tail are not read but for these two.
        if let posting = tail.first, posting.view < first?.view ?? .max { first = try end(posting) }
        if let posting = tail.last, posting.view > last?.view ?? 0 { last = try end(posting) }
        guard let first, let last else { return nil }
        return ArchiveEnds(first: first, last: last)
    }

    /// The last messages of an archive, in order, at most `count`.
    ///
    /// - Parameter tail: the owner's postings.
    func latest(_ count: Int, of owner: AccountID, _ tail: [Posting]) throws(SQLError) -> [LoggedMessage] {
        guard count > 0 else { return [] }
        let forgotten = try forgotten(by: owner)
        var places = try latest.rows {
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: forgotten), at: 2)
            $0.bind(Int64(count), at: 3)
        } _: { (view: $0.unsigned(0), log: $0.integer(1)) }
        let merged = Set(places.map(\.view))
        places += tail.filter { $0.archived != nil && $0.view > forgotten && !merged.contains($0.view) }.suffix(count).map { ($0.view, $0.log) }
        var messages: [LoggedMessage] = []
        for place in places.sorted(by: { $0.view < $1.view }).suffix(count) {
            let message = try entry.first({ $0.bind(place.log, at: 1) }) {
                LoggedMessage(view: place.view, time: $0.integer(0), stanza: EncodedStanza($0.buffer(1)))
            }
            if let message { messages.append(message) }
        }
        return messages
    }

    private func end(_ statement: any SQLStatement, _ owner: AccountID, after floor: UInt64) throws(SQLError) -> ArchiveEnds.End? {
        try statement.first({
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: floor), at: 2)
        }) { ArchiveEnds.End(view: $0.unsigned(0), time: $0.integer(1)) }
    }

    private func end(_ posting: Posting) throws(SQLError) -> ArchiveEnds.End? {
        try entry.first({ $0.bind(posting.log, at: 1) }) { ArchiveEnds.End(view: posting.view, time: $0.integer(0)) }
    }
}
