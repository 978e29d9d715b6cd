internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// What commits leave to do in memory, once they are on disk.
struct CommitEffects {
    var postings: [Posting] = []
    var positions: [LoggedPosition] = []
    var lastEntry: Int64
    var movedCursors: [AccountID] = []
    /// What every archive has forgotten, if that has changed.
    var archiveFloor: UInt64?
    var deletesOwners = false
    /// Something was noted about a roster that is copied.
    var hasRosterNotes = false
    /// Rows of the table of words that were deleted.
    var deletedWords: Int64 = 0
}

/// The writer's prepared statements: one ``Write`` in, rows changed.
///
/// Called within a transaction. A write that contradicts what is there throws ``SQLError/Kind/constraint``; which ones do
/// is said by `StoreContents`.
final class WriteStatements {
    private let putRosterItem, deleteRosterItem, putRosterRemoval, trimRosterRemovals, putRosterVersion, putDocument, deleteDocument,
        document, appendEntry, putCursor, putArchiveFloor, raiseArchiveFloors, putLastActivity, raiseCeiling, nextAccount, insertAccount, findAccount, insertCredential,
        addCredential, findCredential,
        deleteCredentials, setPasswordTime, setEnabled, setAddress, deleteAccount, deleteCursor, deleteLastActivity, purgeLater: any SQLStatement
    private let rooms: RoomWrites
    private let nodes: NodeWrites
    private let invitations: InvitationWrites
    private let uploads: UploadWrites
    private let cards: CardIndex
    private let reports: ReportWrites
    private let sharedLists: SharedListWrites
    private let devices: DeviceWrites
    private let applicationPasswords: ApplicationPasswordWrites
    private let certificates: AccountCertificateWrites
    private let directoryLinks: DirectoryLinkWrites
    private let rosterNotes: RosterNoteWrites
    private let replacement: StanzaReplacement
    /// Used for every entry, so that it grows once.
    private var encodedViews = ByteBuffer()

    init(_ connection: any SQLConnection, replacement: StanzaReplacement, cards: CardIndex) throws(SQLError) {
        self.replacement = replacement
        self.cards = cards
        rooms = try RoomWrites(connection)
        nodes = try NodeWrites(connection)
        invitations = try InvitationWrites(connection)
        uploads = try UploadWrites(connection)
        reports = try ReportWrites(connection)
        sharedLists = try SharedListWrites(connection)
        devices = try DeviceWrites(connection)
        applicationPasswords = try ApplicationPasswordWrites(connection)
        certificates = try AccountCertificateWrites(connection)
        directoryLinks = try DirectoryLinkWrites(connection)
        rosterNotes = try RosterNoteWrites(connection)
        putRosterItem = try connection.prepare(
            """
            INSERT INTO roster (account, contact, name, group_names, subscription, request, version) VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (account, contact) DO UPDATE SET name = excluded.name, group_names = excluded.group_names,
                subscription = excluded.subscription, request = excluded.request, version = excluded.version
            """)
        deleteRosterItem = try connection.prepare("DELETE FROM roster WHERE account = $1 AND contact = $2")
        putRosterRemoval = try connection.prepare(
            """
            INSERT INTO roster_removal (account, version, contact) VALUES ($1, $2, $3)
            ON CONFLICT (account, version) DO UPDATE SET contact = excluded.contact
            """)
        trimRosterRemovals = try connection.prepare(
            """
            DELETE FROM roster_removal WHERE account = $1 AND version <=
                (SELECT version FROM roster_removal WHERE account = $1 ORDER BY version DESC LIMIT 1 OFFSET $2)
            """)
        putRosterVersion = try connection.prepare(
            """
            INSERT INTO roster_version (account, version) VALUES ($1, $2)
            ON CONFLICT (account) DO UPDATE SET version = excluded.version WHERE excluded.version > roster_version.version
            """)
        putDocument = try connection.prepare(
            """
            INSERT INTO document (account, namespace, name, content) VALUES ($1, $2, $3, $4)
            ON CONFLICT (account, namespace, name) DO UPDATE SET content = excluded.content
            """)
        deleteDocument = try connection.prepare("DELETE FROM document WHERE account = $1 AND namespace = $2 AND name = $3")
        document = try connection.prepare(
            """
            SELECT d.content FROM account a LEFT JOIN document d ON d.account = a.id AND d.namespace = $2 AND d.name = $3 WHERE a.id = $1
            """)
        appendEntry = try connection.prepare("INSERT INTO log (id, time, views, stanza) VALUES ($1, $2, $3, $4)")
        putCursor = try connection.prepare(
            """
            INSERT INTO cursor (owner, delivered) SELECT $1, $2 WHERE $1 < 0 OR EXISTS (SELECT 1 FROM account WHERE id = $1)
            ON CONFLICT (owner) DO UPDATE SET delivered = excluded.delivered WHERE excluded.delivered > cursor.delivered
            """)
        putArchiveFloor = try connection.prepare(
            """
            INSERT INTO archive_account (owner, floor, messages, bytes) SELECT $1, $2, 0, 0 FROM log_owner WHERE id = $1
            ON CONFLICT (owner) DO UPDATE SET floor = excluded.floor WHERE excluded.floor > archive_account.floor
            """)
        raiseArchiveFloors = try connection.prepare("UPDATE meta SET value = $1 WHERE name = 'archive_floor' AND value < $1")
        putLastActivity = try connection.prepare(
            """
            INSERT INTO last_activity (account, time, status) SELECT $1, $2, $3 FROM account WHERE id = $1
            ON CONFLICT (account) DO UPDATE SET time = excluded.time, status = excluded.status
            """)
        raiseCeiling = try connection.prepare("UPDATE meta SET value = $1 WHERE name = 'id_ceiling' AND value < $1")
        nextAccount = try connection.prepare("UPDATE meta SET value = value + 1 WHERE name = 'last_account' RETURNING value")
        insertAccount = try connection.prepare(
            """
            INSERT INTO account (id, domainpart, localpart, created, enabled, admin, password_set) VALUES ($1, $2, $3, $4, 1, $5, $4)
            ON CONFLICT (domainpart, localpart) DO NOTHING RETURNING id
            """)
        findAccount = try connection.prepare("SELECT id FROM account WHERE domainpart = $1 AND localpart = $2")
        insertCredential = try connection.prepare(
            "INSERT INTO credential (account, hash, salt, iterations, stored_key, server_key) VALUES ($1, $2, $3, $4, $5, $6)")
        addCredential = try connection.prepare(
            """
            INSERT INTO credential (account, hash, salt, iterations, stored_key, server_key) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (account, hash) DO NOTHING
            """)
        findCredential = try connection.prepare(
            """
            SELECT 1 FROM credential
            WHERE account = $1 AND hash = $2 AND salt = $3 AND iterations = $4 AND stored_key = $5 AND server_key = $6
            """)
        deleteCredentials = try connection.prepare("DELETE FROM credential WHERE account = $1")
        setPasswordTime = try connection.prepare("UPDATE account SET password_set = $2 WHERE id = $1")
        setEnabled = try connection.prepare("UPDATE account SET enabled = $2 WHERE id = $1")
        setAddress = try connection.prepare("UPDATE account SET domainpart = $2, localpart = $3 WHERE id = $1")
        deleteAccount = try connection.prepare("DELETE FROM account WHERE id = $1")
        deleteCursor = try connection.prepare("DELETE FROM cursor WHERE owner = $1")
        deleteLastActivity = try connection.prepare("DELETE FROM last_activity WHERE account = $1")
        purgeLater = try connection.prepare("INSERT INTO purge (owner) VALUES ($1) ON CONFLICT (owner) DO NOTHING")
    }

    func apply(_ write: Write, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        switch write {
        case .rosterItem(let id, let item):
            try put(item, of: id)
            try rosterNotes.changed(item.contact, of: id.raw, now: now, &effects)
        case .rosterRemoval(let id, let contact, let version):
            try remove(contact, of: id, version: version)
            try rosterNotes.changed(contact, of: id.raw, now: now, &effects)
        case .document(let id, let key, let content): try put(content, as: key, of: id)
        case .unchanged(let id, let key, let content): try check(content, as: key, of: id)
        case .log(let entry): try append(entry, &effects)
        case .replaceStanza(let id, let view, let stanza):
            _ = try Self.signed(view)
            effects.deletedWords += try replacement.replace(view, of: id, by: stanza, effects.postings)
        case .cursor(let id, let view): try move(id, upTo: view, &effects)
        case .archiveFloor(let id, let view): try raiseArchiveFloor(of: id, to: view, &effects)
        case .archiveFloors(let view): try raiseArchiveFloors(to: view, &effects)
        case .lastActivity(let id, let time, let status): try put(LastActivity(time: time, status: status), of: id)
        case .idCeiling(let ceiling):
            let ceiling = try Self.signed(ceiling)
            try raiseCeiling.run { $0.bind(ceiling, at: 1) }
        case .account(let change): try apply(change, now: now, &effects)
        case .room(let change): try apply(change, now: now, &effects)
        case .node(let change): try nodes.apply(change)
        case .invitation(let change): try invitations.apply(change)
        case .upload(let change): try uploads.apply(change)
        case .report(let change): try reports.apply(change)
        case .sharedList(let change): try sharedLists.apply(change)
        case .device(.seen(let id, var sighting, let devicesMax)):
            if let name = sighting.applicationPassword, try !applicationPasswords.used(name, of: id.raw, at: sighting.time) {
                sighting.applicationPassword = nil
            }
            try devices.apply(.seen(id, sighting, devicesMax: devicesMax))
        case .device(let change): try devices.apply(change)
        case .certificate(let change): try certificates.apply(change)
        case .rosterCopy(let change): try rosterNotes.apply(change, now: now, &effects)
        }
    }

    // MARK: Roster and documents

    private func put(_ item: RosterItem, of id: AccountID) throws(SQLError) {
        let version = try Self.signed(item.version)
        try putRosterItem.run {
            $0.bind(id.raw, at: 1)
            $0.bind(item.contact, at: 2)
            $0.bind(item.name, at: 3)
            $0.bind(RosterItem.encode(groups: item.groups), at: 4)
            $0.bind(item.subscription.bits, at: 5)
            if let request = item.request { $0.bind(request.bytes, at: 6) } else { $0.bindNull(at: 6) }
            $0.bind(version, at: 7)
        }
        try raiseRosterVersion(of: id, to: version)
    }

    private func remove(_ contact: BareJID, of id: AccountID, version: UInt64) throws(SQLError) {
        let version = try Self.signed(version)
        try deleteRosterItem.run {
            $0.bind(id.raw, at: 1)
            $0.bind(contact, at: 2)
        }
        try putRosterRemoval.run {
            $0.bind(id.raw, at: 1)
            $0.bind(version, at: 2)
            $0.bind(contact, at: 3)
        }
        try trimRosterRemovals.run {
            $0.bind(id.raw, at: 1)
            $0.bind(Int64(StoredAccount.rosterRemovalsMax), at: 2)
        }
        try raiseRosterVersion(of: id, to: version)
    }

    private func raiseRosterVersion(of id: AccountID, to version: Int64) throws(SQLError) {
        try putRosterVersion.run {
            $0.bind(id.raw, at: 1)
            $0.bind(version, at: 2)
        }
    }

    private func put(_ content: ByteBuffer?, as key: DocumentKey, of id: AccountID) throws(SQLError) {
        guard let content else {
            try deleteDocument.run { $0.bind(key, of: id) }
            try cards.changed(key, nil, of: id)
            return try rooms.removeDocument(key, of: id)
        }
        if try rooms.put(content, as: key, of: id) { return }
        try putDocument.run {
            $0.bind(key, of: id)
            $0.bind(content, at: 4)
        }
        try cards.changed(key, content, of: id)
    }

    private func check(_ content: ByteBuffer?, as key: DocumentKey, of id: AccountID) throws(SQLError) {
        guard try read(key, of: id) == content else { throw SQLError(.constraint, "the document \(key.namespace) is another one") }
    }

    private func read(_ key: DocumentKey, of id: AccountID) throws(SQLError) -> ByteBuffer? {
        let content: ByteBuffer?? = try document.first({ $0.bind(key, of: id) }) { $0.isNull(0) ? nil : $0.buffer(0) }
        guard let content else { throw SQLError(.constraint, "no account has the number \(id.raw)") }
        return content
    }

    // MARK: The log and what is noted in passing

    private func append(_ entry: LogEntry, _ effects: inout CommitEffects) throws(SQLError) {
        guard !entry.views.isEmpty else { return }
        for view in entry.views { _ = try Self.signed(view.id) }
        effects.lastEntry += 1
        let id = effects.lastEntry
        encodedViews.clear()
        EncodedViews.encode(entry.views, position: entry.position, to: &encodedViews)
        try appendEntry.run {
            $0.bind(id, at: 1)
            $0.bind(entry.time, at: 2)
            $0.bind(encodedViews, at: 3)
            $0.bind(entry.stanza.bytes, at: 4)
        }
        let size = entry.stanza.bytes.readableBytes
        for view in entry.views { effects.postings.append(Posting(view, log: id, size: size)) }
        if let position = entry.position { effects.positions.append(.init(position, log: id)) }
    }

    private func move(_ id: AccountID, upTo view: UInt64, _ effects: inout CommitEffects) throws(SQLError) {
        let view = try Self.signed(view)
        try putCursor.run {
            $0.bind(id.raw, at: 1)
            $0.bind(view, at: 2)
        }
        effects.movedCursors.append(id)
    }

    private func raiseArchiveFloor(of id: AccountID, to view: UInt64, _ effects: inout CommitEffects) throws(SQLError) {
        let view = try Self.signed(view)
        try putArchiveFloor.run {
            $0.bind(id.raw, at: 1)
            $0.bind(view, at: 2)
        }
        effects.movedCursors.append(id)
    }

    private func raiseArchiveFloors(to view: UInt64, _ effects: inout CommitEffects) throws(SQLError) {
        let floor = try Self.signed(view)
        try raiseArchiveFloors.run { $0.bind(floor, at: 1) }
        effects.archiveFloor = max(effects.archiveFloor ?? 0, view)
    }

    private func put(_ activity: LastActivity, of id: AccountID) throws(SQLError) {
        try putLastActivity.run {
            $0.bind(id.raw, at: 1)
            $0.bind(activity.time, at: 2)
            $0.bind(activity.status, at: 3)
        }
    }

    // MARK: Accounts

    private func apply(_ change: AccountChange, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        switch change {
        case .create(let address, let credentials, let isAdmin):
            let id = try create(address, now: now, isAdmin: isAdmin)
            for credential in credentials { try insert(credential, of: id) }
            try rosterNotes.arrived(address, now: now, &effects)
        case .setCredentials(let address, let credentials):
            let id = try account(address)
            try deleteCredentials.run { $0.bind(id, at: 1) }
            for credential in credentials { try insert(credential, of: id) }
            try devices.credentialsChanged(of: id)
            try setPasswordTime.run {
                $0.bind(id, at: 1)
                $0.bind(now, at: 2)
            }
        case .addCredentials(let address, let keys, let proved):
            let id = try account(address)
            guard try has(proved, id) else { throw SQLError(.constraint, "the credentials are others: \(address)") }
            for credential in keys { try addCredential.run { Self.bind(credential, of: id, to: $0) } }
        case .addApplicationPassword(let address, let password): try applicationPasswords.add(password, to: try account(address))
        case .removeApplicationPassword(let address, let name):
            let id = try account(address)
            try applicationPasswords.remove(name, of: id)
            try devices.applicationPasswordEnded(name, of: id)
        case .setEnabled(let address, let isEnabled):
            let id = try account(address)
            try setEnabled.run {
                $0.bind(id, at: 1)
                $0.bind(isEnabled, at: 2)
            }
        case .link(let address, let link): try directoryLinks.set(link, of: try account(address))
        case .rename(let address, let new):
            try rename(address, to: new)
            try rosterNotes.departed(address, now: now, &effects)
            try rosterNotes.arrived(new, now: now, &effects)
        case .delete(let address):
            let id = try account(address)
            for statement in [deleteAccount, deleteCursor, deleteLastActivity, purgeLater] { try statement.run { $0.bind(id, at: 1) } }
            try invitations.remove(by: address)
            try rosterNotes.departed(address, now: now, &effects)
            effects.deletesOwners = true
        }
    }

    private func apply(_ change: RoomChange, now: Int64, _ effects: inout CommitEffects) throws(SQLError) {
        switch change {
        case .create(let address, let record, let affiliations, let creator):
            try rooms.create(address, record, affiliations, by: creator, as: try nextNumber(), now: now)
        case .setRecord(let id, let record): try rooms.set(record, of: id)
        case .setAffiliation(let id, let affiliation): try rooms.set(affiliation, in: id)
        case .removeAffiliation(let id, let address): try rooms.removeAffiliation(of: address, in: id)
        case .delete(let id):
            guard try rooms.delete(id) else { return }
            try purgeLater.run { $0.bind(id.raw, at: 1) }
            effects.deletesOwners = true
        }
    }

    /// Numbers of accounts and rooms are one sequence.
    private func nextNumber() throws(SQLError) -> Int64 {
        guard let id = try nextAccount.first({ _ in }, { $0.integer(0) }) else { throw SQLError(.corrupt, "meta has no last_account") }
        return id
    }

    private func account(_ address: BareJID) throws(SQLError) -> Int64 {
        let id = try findAccount.first({ $0.bind(partsOf: address, at: 1) }) { $0.integer(0) }
        guard let id else { throw SQLError(.constraint, "no such account: \(address)") }
        return id
    }

    private func create(_ address: BareJID, now: Int64, isAdmin: Bool) throws(SQLError) -> Int64 {
        let id = try nextNumber()
        let created = try insertAccount.first({
            $0.bind(id, at: 1)
            $0.bind(partsOf: address, at: 2)
            $0.bind(now, at: 4)
            $0.bind(isAdmin, at: 5)
        }) { $0.integer(0) }
        guard created == id else { throw SQLError(.constraint, "the account exists: \(address)") }
        try cards.created(id, at: address)
        return id
    }

    private func rename(_ address: BareJID, to new: BareJID) throws(SQLError) {
        let id = AccountID(raw: try account(address))
        try setAddress.run {
            $0.bind(id.raw, at: 1)
            $0.bind(partsOf: new, at: 2)
        }
        try invitations.remove(by: address)
        try cards.changed(.vCard, try read(.vCard, of: id), of: id)
    }

    private func insert(_ credential: ScramKeys, of id: Int64) throws(SQLError) {
        try insertCredential.run { Self.bind(credential, of: id, to: $0) }
    }

    private func has(_ credential: ScramKeys, _ id: Int64) throws(SQLError) -> Bool {
        try findCredential.first({ Self.bind(credential, of: id, to: $0) }) { _ in true } ?? false
    }

    private static func bind(_ credential: ScramKeys, of id: Int64, to statement: any SQLStatement) {
        statement.bind(id, at: 1)
        statement.bind(credential.hash.mechanismName, at: 2)
        statement.bind(credential.salt, at: 3)
        statement.bind(Int64(credential.iterations), at: 4)
        statement.bind(credential.storedKey, at: 5)
        statement.bind(credential.serverKey, at: 6)
    }

    static func signed(_ number: UInt64) throws(SQLError) -> Int64 {
        guard let number = Int64(exactly: number) else { throw SQLError(.constraint, "the number is beyond 2⁶³ − 1: \(number)") }
        return number
    }
}

extension SQLStatement {
    func bind(_ address: BareJID, at parameter: Int) {
        address.withUTF8 { bind(text: $0, at: parameter) }
    }

    /// The domainpart at `parameter`, the localpart after it; empty in the address of a domain.
    func bind(partsOf address: BareJID, at parameter: Int) {
        address.withUTF8(of: .domainpart) { bind(text: $0, at: parameter) }
        address.withUTF8(of: .localpart) { bind(text: $0, at: parameter + 1) }
    }
}

extension SubscriptionState {
    /// As it is stored; bits are only ever added.
    var bits: Int64 {
        (to ? 1 : 0) | (from ? 2 : 0) | (pendingOut ? 4 : 0) | (pendingIn ? 8 : 0) | (approved ? 16 : 0) | (isInRoster ? 32 : 0)
    }

    init(bits: Int64) {
        self.init(
            to: bits & 1 != 0, from: bits & 2 != 0, pendingOut: bits & 4 != 0, pendingIn: bits & 8 != 0, approved: bits & 16 != 0,
            isInRoster: bits & 32 != 0)
    }
}

extension RosterItem {
    /// Each name after its length in four bytes, big-endian.
    static func encode(groups: [String]) -> ByteBuffer {
        var buffer = ByteBuffer()
        for group in groups {
            buffer.writeInteger(UInt32(clamping: group.utf8.count))
            buffer.writeString(group)
        }
        return buffer
    }

    /// `nil` if that is not what ``encode(groups:)`` writes.
    static func decodeGroups(_ buffer: ByteBuffer) -> [String]? {
        var (buffer, groups) = (buffer, [String]())
        while buffer.readableBytes > 0 {
            guard let length = buffer.readInteger(as: UInt32.self), let group = buffer.readString(length: Int(length)) else { return nil }
            groups.append(group)
        }
        return groups
    }
}
