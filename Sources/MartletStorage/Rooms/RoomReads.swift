internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// A reader's statements about rooms.
final class RoomReads {
    private let number, record, affiliations, lastArchived, count, publicCount: any SQLStatement
    private var lists: [Order: any SQLStatement] = [:]

    /// Which way, and by which index. Everything else that is asked is seen in the rows, so that a slice is as long as it says.
    private struct Order: Hashable {
        enum Rooms: String, CaseIterable {
            case all = ""
            case shown = "AND public = 1"
            case temporary = "AND persistent = 0"
        }
        var rooms: Rooms
        var isBackwards: Bool

        init(rooms: Rooms, isBackwards: Bool) {
            self.rooms = rooms
            self.isBackwards = isBackwards
        }

        init(_ request: RoomListRequest) {
            self.init(
                rooms: request.isPublic == true ? .shown : request.isPersistent == false ? .temporary : .all, isBackwards: request.isBackwards)
        }

        static let each = Rooms.allCases.flatMap { rooms in [false, true].map { Order(rooms: rooms, isBackwards: $0) } }

        var sql: String {
            """
            SELECT domainpart, localpart, id, persistent, public, name, description, created, content FROM room
            WHERE domainpart = $1 AND localpart > $2 AND localpart < $3 \(rooms.rawValue)
            ORDER BY localpart \(isBackwards ? "DESC" : "") LIMIT $4
            """
        }
    }

    init(_ connection: any SQLConnection) throws(SQLError) {
        number = try connection.prepare("SELECT id FROM room WHERE domainpart = $1 AND localpart = $2")
        record = try connection.prepare("SELECT persistent, public, name, description, content, created FROM room WHERE id = $1")
        affiliations = try connection.prepare(
            "SELECT address, affiliation, nickname, reason, version, details FROM room_affiliation WHERE room = $1 ORDER BY address")
        lastArchived = try connection.prepare(ReadStatements.lastArchived)
        count = try connection.prepare("SELECT COUNT(*) FROM room WHERE domainpart = $1")
        publicCount = try connection.prepare("SELECT COUNT(*) FROM room WHERE domainpart = $1 AND public = 1")
        for order in Order.each { lists[order] = try connection.prepare(order.sql) }
    }

    // MARK: One room

    func number(of address: BareJID) throws(SQLError) -> AccountID? {
        try number.first({ $0.bind(partsOf: address, at: 1) }) { AccountID(raw: $0.integer(0)) }
    }

    /// All but the history. In one snapshot with it.
    ///
    /// - Parameter tail: the room's postings.
    func room(_ id: AccountID, _ tail: [Posting]) throws(SQLError) -> StoredRoom? {
        guard var room = try record.first({ $0.bind(id.raw, at: 1) }, { row in
            StoredRoom(
                id: id,
                record: RoomRecord(
                    isPersistent: row.flag(0), isPublic: row.flag(1), name: row.text(2), description: row.text(3), content: row.buffer(4)),
                created: row.integer(5))
        }) else { return nil }
        room.affiliations = try affiliations.rows({ $0.bind(id.raw, at: 1) }, Self.affiliation)
        let archived = try lastArchived.first({ $0.bind(id.raw, at: 1) }) { max($0.unsigned(0), $0.unsigned(1)) } ?? 0
        room.lastViewID = max(archived, tail.last?.view ?? 0)
        return room
    }

    private static func affiliation(_ row: any SQLStatement) throws(SQLError) -> StoredAffiliation {
        guard let affiliation = UInt8(exactly: row.integer(1)) else { throw SQLError(.corrupt, "the affiliations of a room") }
        return StoredAffiliation(
            address: try row.anyAddress(0), affiliation: affiliation, nickname: row.optionalText(2), reason: row.optionalText(3),
            version: row.unsigned(4), details: row.isNull(5) ? nil : row.buffer(5))
    }

    // MARK: Lists

    /// Looks at the next rooms of a list, at most `rows`.
    func step(_ search: RoomSearch, rows: Int) throws(SQLError) -> RoomSearch {
        var search = search
        search.hasBegun = true
        guard let statement = lists[Order(search.request)] else { return search }
        // A room more than the page has tells whether the page is the last.
        let limit = search.request.isFiltered ? rows : min(rows, search.request.limit + 1)
        let found = try statement.rows({ search.bind($0, limit: limit) }, Self.summary)
        for room in found where !search.builder.isDone { search.builder.look(at: room) }
        search.goOn(behind: found.count < limit ? nil : found.last?.address)
        return search
    }

    private static func summary(_ row: any SQLStatement) throws(SQLError) -> RoomSummary {
        RoomSummary(
            id: AccountID(raw: row.integer(2)), address: try row.address(parts: 0), isPersistent: row.flag(3), isPublic: row.flag(4),
            name: row.text(5), description: row.text(6), created: row.integer(7), content: row.buffer(8))
    }

    func count(domain: String, isPublic: Bool?) throws(SQLError) -> Int {
        let shown = try isPublic == nil ? 0 : publicCount.first({ $0.bind(domain, at: 1) }) { Int($0.integer(0)) } ?? 0
        if isPublic == true { return shown }
        return try (count.first({ $0.bind(domain, at: 1) }) { Int($0.integer(0)) } ?? 0) - shown
    }
}

/// How far a reader has come with a page of a service's rooms. It looks at a slice of them at a time and then lets others have their turn
/// (``TurnQueue``), as with archives (``ArchiveSearch``): a search for words looks at every room.
struct RoomSearch: Sendable {
    let request: RoomListRequest
    var builder: RoomPageBuilder
    var hasBegun = false
    private var after: String
    private var before: String
    private var hasCome = false

    init(_ request: RoomListRequest) {
        self.request = request
        builder = RoomPageBuilder(request)
        after = request.after?.localpart ?? ""
        // Behind every localpart: the last code point there is, which is no character and in none.
        before = request.before.map { $0.localpart ?? "" } ?? "\u{10FFFF}"
    }

    var isDone: Bool { hasCome || builder.isDone }

    /// To what is to come behind `address`; nothing, if that is `nil`.
    mutating func goOn(behind address: BareJID?) {
        guard let localpart = address?.localpart else { return hasCome = true }
        if request.isBackwards { before = localpart } else { after = localpart }
    }

    func bind(_ statement: any SQLStatement, limit: Int) {
        statement.bind(request.domain, at: 1)
        statement.bind(after, at: 2)
        statement.bind(before, at: 3)
        statement.bind(Int64(limit), at: 4)
    }
}

extension RoomListRequest {
    /// Whether not every room that the index has passes.
    fileprivate var isFiltered: Bool { text != nil || isPublic == false || (isPersistent ?? false) || (isPublic != nil && isPersistent != nil) }
}
