internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// A reader's statements about archives. What is merged and the tail are read together, in one snapshot that begins after the tail was
/// copied (``LogTail``): a view may be found in both, never in none.
final class ArchiveStatements {
    /// Rows that are read at once where only the messages themselves tell which pass.
    private static let scanRows = 256

    private let floor, view, first, last, entry: any SQLStatement
    /// By what ``Order`` says.
    private var inOrder: [Order: any SQLStatement] = [:]

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

        /// What is not in the table of words yet is let through: the messages themselves tell.
        var sql: String {
            let words = """
                AND (a.log > (SELECT value FROM meta WHERE name = 'text_indexed_up_to')
                    OR a.log IN (SELECT rowid FROM archive_text WHERE archive_text MATCH $8))
                """
            return """
                \(ArchiveStatements.columns) AND a.view_id >= $2 AND a.view_id <= $3 AND l.time >= $4 AND l.time <= $5
                \(isWithPeer ? "AND a.peer = $7" : "") \(isWithText ? words : "") ORDER BY a.view_id \(isBackwards ? "DESC" : "") LIMIT $6
                """
        }
    }

    private static let columns =
        "SELECT a.view_id, l.time, l.stanza, a.peer, a.sent FROM archive a CROSS JOIN log l WHERE l.id = a.log AND a.owner = $1"

    init(_ connection: any SQLConnection) throws(SQLError) {
        floor = try connection.prepare(
            """
            SELECT COALESCE((SELECT floor FROM archive_account WHERE owner = a.id), 0),
                COALESCE((SELECT value FROM meta WHERE name = 'archive_floor'), 0)
            FROM account a WHERE a.id = $1
            """)
        view = try connection.prepare("\(Self.columns) AND a.view_id = $2")
        for order in Order.all { inOrder[order] = try connection.prepare(order.sql) }
        let end = "SELECT a.view_id, l.time FROM archive a CROSS JOIN log l WHERE l.id = a.log AND a.owner = $1 AND a.view_id > $2 ORDER BY a.view_id"
        first = try connection.prepare("\(end) LIMIT 1")
        last = try connection.prepare("\(end) DESC LIMIT 1")
        entry = try connection.prepare("SELECT time, stanza FROM log WHERE id = $1")
    }

    private struct Candidate {
        var message: LoggedMessage
        var mark: ArchiveMark
    }

    // MARK: Pages

    /// - Parameter tail: postings that may pass or are named in the request.
    func page(of owner: AccountID, _ request: ArchiveRequest, _ tail: [Posting]) throws(SQLError) -> ArchivePage? {
        let forgotten = try forgotten(by: owner)
        let known = Set(tail.lazy.map(\.view))
        for name in request.named {
            guard name > forgotten else { return nil }
            if known.contains(name) { continue }
            if try candidate(name, of: owner) == nil { return nil }
        }
        var builder = ArchivePageBuilder(request)
        guard let views = request.views, views.upperBound > forgotten else { return builder.page() }
        let wanted = max(views.lowerBound, forgotten + 1)...views.upperBound
        let later = tail.filter { posting in
            wanted.contains(posting.view) && posting.archived.map { request.mayPass(posting.view, $0) } ?? false
        }
        try merge(
            request.isBackwards ? later.reversed() : later, try Merged(self, owner, request, wanted), isBackwards: request.isBackwards, &builder)
        return builder.page()
    }

    /// Looks at what the two have, in order, each view once.
    private func merge(_ tail: [Posting], _ merged: Merged, isBackwards: Bool, _ builder: inout ArchivePageBuilder) throws(SQLError) {
        var tail = tail[...]
        var next = try merged.next()
        while !builder.isDone {
            let place = next?.message.view
            if let posting = tail.first, place.map({ isBackwards ? posting.view > $0 : posting.view < $0 }) ?? true {
                tail.removeFirst()
                if let mark = posting.archived, let message = try message(posting) { builder.look(at: message, mark) }
            } else if let candidate = next {
                if tail.first?.view == place { tail.removeFirst() }
                builder.look(at: candidate.message, candidate.mark)
                next = try merged.next()
            } else {
                return
            }
        }
    }

    /// `nil` if it was forgotten since the tail was copied.
    private func message(_ posting: Posting) throws(SQLError) -> LoggedMessage? {
        try entry.first({ $0.bind(posting.log, at: 1) }) {
            LoggedMessage(view: posting.view, time: $0.integer(0), stanza: EncodedStanza($0.buffer(1)))
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

    /// What the table has of a request, in its order, read a few rows at a time.
    private final class Merged {
        private let statements: ArchiveStatements
        private let owner: AccountID
        private let request: ArchiveRequest
        private var rest: ClosedRange<UInt64>?
        private var rows: ArraySlice<Candidate> = []

        init(_ statements: ArchiveStatements, _ owner: AccountID, _ request: ArchiveRequest, _ views: ClosedRange<UInt64>) throws(SQLError) {
            self.statements = statements
            self.owner = owner
            self.request = request
            rest = views
            guard let ids = request.ids else { return }
            rest = nil
            let wanted = ids.filter { views.contains($0) }.sorted()
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
            let limit = max(request.limit + 1, isScan ? ArchiveStatements.scanRows : 1)
            let isComplete = try read(statement, views, limit: limit)
            rest = nil
            guard !isComplete, let last = rows.last?.message.view else { return }
            if request.isBackwards {
                if last > views.lowerBound { rest = views.lowerBound...(last - 1) }
            } else if last < views.upperBound {
                rest = (last + 1)...views.upperBound
            }
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
            if let text = request.text { statement.bind(TextIndex.expression(owner, SearchWords.words(text)), at: 8) }
        }
    }

    // MARK: What there is

    /// Up to where an archive has forgotten; everything, if the account is gone.
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
