internal import MartletCore
internal import MartletXMPP

/// The tables of rosters that are copied to a directory: of which domains they are, and what was not said there yet.
///
/// Notes do not refer to their accounts: that one is gone has to be said as well.
enum RosterNoteTables {
    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            "CREATE TABLE roster_copy (domainpart \(d.text) PRIMARY KEY NOT NULL) \(d.clusteredTableOptions)",
            """
            CREATE TABLE roster_note (
                sequence \(d.integer) PRIMARY KEY NOT NULL, domainpart \(d.text) NOT NULL, localpart \(d.text) NOT NULL, kind \(d.integer) NOT NULL,
                contact \(d.text) NOT NULL, time \(d.integer) NOT NULL, UNIQUE (domainpart, localpart, kind, contact)) \(d.tableOptions)
            """,
            "INSERT INTO meta (name, value) VALUES ('last_roster_note', 0)",
        ]
    }

    /// Notes that could not be read, and numbers that would be given twice.
    static func problems(_ connection: any SQLConnection) throws(SQLError) -> [String] {
        let notes = try connection.rows("SELECT domainpart, localpart, kind, contact, sequence FROM roster_note") { row throws(SQLError) -> String? in
            let isRead = (try? row.address(parts: 0)) != nil && (try? RosterNote.Subject(row, at: 2)) != nil
            return isRead ? nil : "the note \(row.integer(4)) about a roster is none"
        }.compactMap { $0 }
        let last = try connection.rows(
            "SELECT 1 FROM meta WHERE name = 'last_roster_note' AND value < (SELECT COALESCE(MAX(sequence), 0) FROM roster_note)"
        ) { _ in "a note about a roster has a number that is given again" }
        return notes + last
    }
}

extension RosterNote.Subject {
    /// As it is stored.
    fileprivate var kind: Int64 {
        switch self {
        case .departure: 0
        case .arrival: 1
        case .roster: 2
        case .item: 3
        }
    }

    fileprivate static let itemKind: Int64 = 3

    /// The kind in one column, the contact in the next.
    fileprivate init(_ row: any SQLStatement, at column: Int) throws(SQLError) {
        switch row.integer(column) {
        case 0: self = .departure
        case 1: self = .arrival
        case 2: self = .roster
        case 3: self = .item(try row.address(column + 1))
        default: throw SQLError(.corrupt, "a note about a roster is of no known kind: \(row.integer(column))")
        }
    }
}

/// The writer's statements about them. Called within a transaction.
final class RosterNoteWrites {
    private let domains, addDomain, removeDomain, accounts, next, put, putItem, touchRoster, count, removeItems, removeAll, removeDomainNotes,
        settle: any SQLStatement
    /// Whether there may be a domain whose rosters are copied: where there is none nothing is looked up.
    private var isNeeded: Bool

    init(_ connection: any SQLConnection) throws(SQLError) {
        domains = try connection.prepare("SELECT domainpart FROM roster_copy ORDER BY domainpart")
        addDomain = try connection.prepare("INSERT INTO roster_copy (domainpart) VALUES ($1) ON CONFLICT (domainpart) DO NOTHING")
        removeDomain = try connection.prepare("DELETE FROM roster_copy WHERE domainpart = $1")
        accounts = try connection.prepare("SELECT domainpart, localpart FROM account WHERE domainpart = $1 ORDER BY localpart")
        next = try connection.prepare("UPDATE meta SET value = value + 1 WHERE name = 'last_roster_note' RETURNING value")
        let conflict = "ON CONFLICT (domainpart, localpart, kind, contact) DO UPDATE SET sequence = excluded.sequence, time = excluded.time"
        put = try connection.prepare(
            """
            INSERT INTO roster_note (sequence, time, domainpart, localpart, kind, contact)
            SELECT $1, $2, domainpart, $4, $5, $6 FROM roster_copy WHERE domainpart = $3 \(conflict)
            """)
        putItem = try connection.prepare(
            """
            INSERT INTO roster_note (sequence, time, domainpart, localpart, kind, contact)
            SELECT $1, $2, a.domainpart, a.localpart, $4, $5 FROM account a JOIN roster_copy c ON c.domainpart = a.domainpart
            WHERE a.id = $3 \(conflict)
            RETURNING domainpart, localpart
            """)
        touchRoster = try connection.prepare(
            """
            UPDATE roster_note SET sequence = $1, time = $2
            WHERE kind = 2 AND (domainpart, localpart) = (SELECT domainpart, localpart FROM account WHERE id = $3) RETURNING 1
            """)
        let items = "FROM roster_note WHERE domainpart = $1 AND localpart = $2 AND kind = \(RosterNote.Subject.itemKind)"
        count = try connection.prepare("SELECT COUNT(*) \(items)")
        removeItems = try connection.prepare("DELETE \(items)")
        removeAll = try connection.prepare("DELETE FROM roster_note WHERE domainpart = $1 AND localpart = $2")
        removeDomainNotes = try connection.prepare("DELETE FROM roster_note WHERE domainpart = $1")
        settle = try connection.prepare("DELETE FROM roster_note WHERE sequence = $1")
        isNeeded = try domains.first { $0.text(0) } != nil
    }

    func apply(_ change: RosterCopyChange, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        switch change {
        case .domains(let wanted): try copy(wanted, now: now, &effects)
        case .settled(let sequence):
            let sequence = try WriteStatements.signed(sequence)
            try settle.run { $0.bind(sequence, at: 1) }
        }
    }

    private func copy(_ wanted: Set<String>, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        let known = Set(try domains.rows { $0.text(0) })
        // Whether it is taken back with the transaction or not: it is only about what is looked up.
        if !wanted.isEmpty { isNeeded = true }
        for domain in known.subtracting(wanted).sorted() {
            for statement in [removeDomain, removeDomainNotes] { try statement.run { $0.bind(domain, at: 1) } }
        }
        for domain in wanted.subtracting(known).sorted() {
            try addDomain.run { $0.bind(domain, at: 1) }
            let arrived = try accounts.rows({ $0.bind(domain, at: 1) }) { row throws(SQLError) in try row.address(parts: 0) }
            for account in arrived { try add(.arrival, account, now: now, &effects) }
        }
    }

    /// The account's item of a contact has changed.
    func changed(_ contact: BareJID, of id: Int64, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        guard isNeeded else { return }
        let sequence = try nextSequence()
        let isKnown = try touchRoster.first({ $0.bind(sequence, time: now, id) }) { _ in true }
        if isKnown == true { return effects.hasRosterNotes = true }
        let account = try putItem.first({
            $0.bind(sequence, time: now, id)
            $0.bind(RosterNote.Subject.itemKind, at: 4)
            $0.bind(contact, at: 5)
        }) { row throws(SQLError) in try row.address(parts: 0) }
        guard let account else { return }
        effects.hasRosterNotes = true
        guard try count.first({ $0.bind(partsOf: account, at: 1) }, { $0.integer(0) }) ?? 0 > RosterNote.itemsMax else { return }
        try removeItems.run { $0.bind(partsOf: account, at: 1) }
        try add(.roster, account, now: now, &effects)
    }

    func arrived(_ account: BareJID, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        if isNeeded { try add(.arrival, account, now: now, &effects) }
    }

    func departed(_ account: BareJID, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        guard isNeeded else { return }
        try removeAll.run { $0.bind(partsOf: account, at: 1) }
        try add(.departure, account, now: now, &effects)
    }

    /// Nothing is noted of an account of another domain.
    private func add(_ subject: RosterNote.Subject, _ account: BareJID, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        let sequence = try nextSequence()
        try put.run {
            $0.bind(sequence, at: 1)
            $0.bind(now, at: 2)
            $0.bind(partsOf: account, at: 3)
            $0.bind(subject.kind, at: 5)
            $0.bind("", at: 6)
        }
        effects.hasRosterNotes = true
    }

    private func nextSequence() throws(SQLError) -> Int64 {
        guard let sequence = try next.first({ _ in }, { $0.integer(0) }) else { throw SQLError(.corrupt, "meta has no last_roster_note") }
        return sequence
    }
}

extension SQLStatement {
    fileprivate func bind(_ sequence: Int64, time: Int64, _ account: Int64) {
        bind(sequence, at: 1)
        bind(time, at: 2)
        bind(account, at: 3)
    }
}

/// A reader's statements about them.
final class RosterNoteReads {
    private let page, one, count: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        let columns = "sequence, domainpart, localpart, kind, contact, time"
        // In the order of the key: looked for by domain, all of it would be sorted for each page.
        page = try connection.prepare("SELECT \(columns) FROM roster_note WHERE domainpart || '' = $1 AND sequence > $2 ORDER BY sequence LIMIT $3")
        one = try connection.prepare("SELECT \(columns) FROM roster_note WHERE domainpart = $1 AND localpart = $2 ORDER BY sequence")
        count = try connection.prepare("SELECT COUNT(*) FROM roster_note WHERE domainpart = $1")
    }

    func notes(domain: String, after: UInt64, limit: Int) throws(SQLError) -> [RosterNote] {
        try page.rows({
            $0.bind(domain, at: 1)
            $0.bind(Int64(clamping: after), at: 2)
            $0.bind(Int64(max(0, limit)), at: 3)
        }, Self.note)
    }

    func notes(of account: BareJID) throws(SQLError) -> [RosterNote] { try one.rows({ $0.bind(partsOf: account, at: 1) }, Self.note) }

    func count(domain: String) throws(SQLError) -> Int { try count.first({ $0.bind(domain, at: 1) }) { Int($0.integer(0)) } ?? 0 }

    private static func note(_ row: any SQLStatement) throws(SQLError) -> RosterNote {
        RosterNote(sequence: row.unsigned(0), account: try row.address(parts: 1), subject: try RosterNote.Subject(row, at: 3), time: row.integer(5))
    }
}
