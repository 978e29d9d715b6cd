internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// One reader's prepared statements. Used by one thread.
final class ReadStatements {
    private let connection: any SQLConnection
    private let tail: LogTail
    private let accountNumber, standing, rosterItems, rosterRemovals, rosterVersion, documentNames, delivered, undelivered, queuesWithPostings, lastActivity,
        position, lastArchived, messages, entry, document, identity, credentialsOf, allAccounts, domainAccounts, ceiling, latest: any SQLStatement
    private let archive: ArchiveStatements
    private let rooms: RoomReads
    private let nodes: NodeReads
    private let grants: GrantReads
    let invitations: InvitationReads
    private let uploads: UploadReads
    let cards: CardReads
    let reports: ReportReads
    let sharedLists: SharedListReads
    let devices: DeviceReads
    private let applicationPasswords: ApplicationPasswordReads
    let certificates: AccountCertificateReads
    let directoryLinks: DirectoryLinkReads
    let rosterNotes: RosterNoteReads
    private let slice: ArchiveSearch.Slice

    /// Up to where an owner's archive has forgotten, and the last view in there.
    static let lastArchived = """
        SELECT COALESCE((SELECT floor FROM archive_account WHERE owner = $1), 0), COALESCE((SELECT MAX(view_id) FROM archive WHERE owner = $1), 0)
        """

    init(_ connection: any SQLConnection, tail: LogTail, slice: ArchiveSearch.Slice) throws(SQLError) {
        self.connection = connection
        self.tail = tail
        self.slice = slice
        rooms = try RoomReads(connection)
        nodes = try NodeReads(connection)
        grants = try GrantReads(connection)
        invitations = try InvitationReads(connection)
        uploads = try UploadReads(connection)
        cards = try CardReads(connection)
        reports = try ReportReads(connection)
        sharedLists = try SharedListReads(connection)
        devices = try DeviceReads(connection)
        applicationPasswords = try ApplicationPasswordReads(connection)
        certificates = try AccountCertificateReads(connection)
        directoryLinks = try DirectoryLinkReads(connection)
        rosterNotes = try RosterNoteReads(connection)
        accountNumber = try connection.prepare("SELECT id FROM account WHERE domainpart = $1 AND localpart = $2")
        standing = try connection.prepare("SELECT enabled, admin FROM account WHERE id = $1")
        rosterItems = try connection.prepare(
            "SELECT contact, name, group_names, subscription, request, version FROM roster WHERE account = $1 ORDER BY contact")
        rosterRemovals = try connection.prepare("SELECT contact, version FROM roster_removal WHERE account = $1 ORDER BY version")
        rosterVersion = try connection.prepare("SELECT version FROM roster_version WHERE account = $1")
        documentNames = try connection.prepare("SELECT name FROM document WHERE account = $1 AND namespace = $2 ORDER BY name")
        delivered = try connection.prepare(
            """
            SELECT COALESCE((SELECT delivered FROM cursor WHERE owner = $1), 0)
            WHERE $1 < 0 OR EXISTS (SELECT 1 FROM account WHERE id = $1)
            """)
        queuesWithPostings = try connection.prepare("SELECT DISTINCT owner FROM posting WHERE owner < 0")
        undelivered = try connection.prepare("SELECT view_id, size FROM posting WHERE owner = $1 AND view_id > $2 ORDER BY view_id")
        lastActivity = try connection.prepare("SELECT time, status FROM last_activity WHERE account = $1")
        lastArchived = try connection.prepare(Self.lastArchived)
        latest = try connection.prepare("SELECT views, time, stanza FROM log ORDER BY id DESC LIMIT $1")
        archive = try ArchiveStatements(connection, slice: slice)
        messages = try connection.prepare(
            """
            SELECT p.view_id, l.time, l.stanza, EXISTS (SELECT 1 FROM archive a WHERE a.owner = p.owner AND a.view_id = p.view_id)
            FROM posting p JOIN log l ON l.id = p.log
            WHERE p.owner = $1 AND p.view_id > $2 ORDER BY p.view_id LIMIT $3
            """)
        entry = try connection.prepare("SELECT time, stanza FROM log WHERE id = $1")
        position = try connection.prepare("SELECT handled FROM stream_position WHERE owner = $1 AND stream = $2")
        document = try connection.prepare(
            """
            SELECT content FROM document WHERE account = $1 AND namespace = $2 AND name = $3
            UNION ALL SELECT content FROM room_document WHERE room = $1 AND namespace = $2 AND name = $3
            """)
        identity = try connection.prepare("SELECT id, enabled, admin, password_set FROM account WHERE domainpart = $1 AND localpart = $2")
        credentialsOf = try connection.prepare(
            "SELECT hash, salt, iterations, stored_key, server_key FROM credential WHERE account = $1 ORDER BY hash")
        let summary =
            "SELECT a.domainpart, a.localpart, a.enabled, a.admin, a.created, t.time, a.password_set FROM account a LEFT JOIN last_activity t ON t.account = a.id"
        allAccounts = try connection.prepare(
            "\(summary) WHERE (a.domainpart, a.localpart) > ($1, $2) ORDER BY a.domainpart, a.localpart LIMIT $3")
        domainAccounts = try connection.prepare(
            "\(summary) WHERE a.domainpart = $4 AND (a.domainpart, a.localpart) > ($1, $2) ORDER BY a.domainpart, a.localpart LIMIT $3")
        ceiling = try connection.prepare("SELECT value FROM meta WHERE name = 'id_ceiling'")
    }

    func close() { connection.close() }

    /// Runs `body` on one state of the database.
    private func snapshot<Result>(_ body: () throws(SQLError) -> Result) throws(SQLError) -> Result {
        try connection.transaction(body)
    }

    // MARK: Accounts

    /// The number is found first: the tail has to be copied before the snapshot begins (``LogTail``). Numbers are never
    /// given again, so the account is the same in both or gone.
    ///
    /// Where there is no account everything is looked up all the same: how long the answer takes must not tell (`reliability.md` rule 23).
    func account(_ address: BareJID) throws(SQLError) -> StoredAccount? {
        let id = try accountNumber.first({ $0.bind(partsOf: address, at: 1) }, { AccountID(raw: $0.integer(0)) }) ?? .nobody
        let postings = tail.postings(of: id, after: 0)
        return try snapshot { () throws(SQLError) in try account(id, postings) }
    }

    private func account(_ id: AccountID, _ tail: [Posting]) throws(SQLError) -> StoredAccount? {
        let standing = try standing.first({ $0.bind(id.raw, at: 1) }, { (isEnabled: $0.flag(0), isAdmin: $0.flag(1)) })
        var account = StoredAccount(id: id)
        account.roster = try rosterItems.rows({ $0.bind(id.raw, at: 1) }, Self.rosterItem)
        account.rosterRemovals = try rosterRemovals.rows({ $0.bind(id.raw, at: 1) }) { row throws(SQLError) in
            RosterRemoval(contact: try row.address(0), version: row.unsigned(1))
        }
        account.rosterVersion = try rosterVersion.first({ $0.bind(id.raw, at: 1) }) { $0.unsigned(0) } ?? 0
        account.blocked = try blocked(by: id)
        account.lastActivity = try lastActivity.first({ $0.bind(id.raw, at: 1) }) {
            LastActivity(time: $0.integer(0), status: $0.optionalText(1))
        }
        for key in DocumentKey.resident { account.documents[key] = try document(id, key) }
        account.devices = try devices.sightings(of: id)
        try readLog(into: &account, tail)
        guard let standing else { return nil }
        account.isEnabled = standing.isEnabled
        account.isAdmin = standing.isAdmin
        return account
    }

    private static func rosterItem(_ row: any SQLStatement) throws(SQLError) -> RosterItem {
        guard let groups = RosterItem.decodeGroups(row.buffer(2)) else { throw SQLError(.corrupt, "the groups of a roster item") }
        return RosterItem(
            contact: try row.address(0), name: row.optionalText(1), groups: groups,
            subscription: SubscriptionState(bits: row.integer(3)), request: row.isNull(4) ? nil : EncodedStanza(row.buffer(4)),
            version: row.unsigned(5))
    }

    private func blocked(by id: AccountID) throws(SQLError) -> [JID] {
        try documentNames.rows {
            $0.bind(id.raw, at: 1)
            $0.bind(DocumentKey.blockList, at: 2)
        } _: { row throws(SQLError) in
            do throws(JIDError) { return try row.withBytes(0, JID.init(parsing:)) } catch {
                // Left out, it would let through what the user has blocked.
                throw SQLError(.corrupt, "the block list has what is no address")
            }
        }
    }

    private func readLog(into account: inout StoredAccount, _ tail: [Posting]) throws(SQLError) {
        account.deliveredUpTo = try cursor(of: account.id) ?? 0
        let sizes = try undelivered(of: account.id, after: account.deliveredUpTo, tail)
        account.undelivered = sizes.count
        account.undeliveredBytes = sizes.reduce(0) { $0 + $1.size }
        let lastArchived = try lastArchived.first({ $0.bind(account.id.raw, at: 1) }) { max($0.unsigned(0), $0.unsigned(1)) } ?? 0
        account.lastViewID = sizes.reduce(max(account.deliveredUpTo, lastArchived, tail.last?.view ?? 0)) { max($0, $1.view) }
    }

    private func undelivered(
        of owner: AccountID, after delivered: UInt64, _ tail: [Posting]
    ) throws(SQLError) -> [(view: UInt64, size: Int)] {
        var sizes = try undelivered.rows {
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: delivered), at: 2)
        } _: { (view: $0.unsigned(0), size: Int($0.integer(1))) }
        let merged = Set(tail.isEmpty ? [] : sizes.map(\.view))
        for posting in tail where posting.awaitsDelivery && posting.view > delivered && !merged.contains(posting.view) {
            sizes.append((posting.view, posting.size))
        }
        return sizes
    }

    /// `nil` if there is no such account.
    private func cursor(of owner: AccountID) throws(SQLError) -> UInt64? {
        try delivered.first({ $0.bind(owner.raw, at: 1) }) { $0.unsigned(0) }
    }

    // MARK: Rooms

    /// The number is found first, as with ``account(_:)``.
    func room(_ address: BareJID, history: Int) throws(SQLError) -> StoredRoom? {
        guard let id = try rooms.number(of: address) else { return nil }
        let postings = tail.postings(of: id, after: 0)
        return try snapshot { () throws(SQLError) in
            var room = try rooms.room(id, postings)
            if room != nil { room?.history = try archive.latest(history, of: id, postings) }
            return room
        }
    }

    func step(_ search: RoomSearch) throws(SQLError) -> RoomSearch { try rooms.step(search, rows: slice.rows) }

    func roomCount(domain: String, isPublic: Bool?) throws(SQLError) -> Int {
        try snapshot { () throws(SQLError) in try rooms.count(domain: domain, isPublic: isPublic) }
    }

    // MARK: Nodes

    func nodes(of owner: NodeOwner) throws(SQLError) -> [StoredNode] {
        try snapshot { () throws(SQLError) in try nodes.nodes(of: owner) }
    }

    func marks(of node: NodeID) throws(SQLError) -> [NodeItemMark] { try nodes.marks(of: node) }

    func items(of node: NodeID, _ request: NodeItemsRequest) throws(SQLError) -> [NodeItem] { try nodes.items(of: node, request) }

    func items(of node: NodeID, named names: [String]) throws(SQLError) -> [NodeItem] {
        try snapshot { () throws(SQLError) in try nodes.items(of: node, named: names) }
    }

    func lastItems(of ids: [NodeID]) throws(SQLError) -> [NodeID: NodeItem] {
        try snapshot { () throws(SQLError) in try nodes.lastItems(of: ids) }
    }

    // MARK: Uploads

    func upload(named name: String) throws(SQLError) -> StoredUpload? { try uploads.upload(named: name) }

    func uploads(of account: AccountID?, after: String, limit: Int) throws(SQLError) -> [StoredUpload] {
        try uploads.uploads(of: account, after: after, limit: limit)
    }

    func uploadOwners() throws(SQLError) -> [AccountID] { try uploads.owners() }

    func uploadUsage(of scope: UploadScope, now: Int64, since: Int64) throws(SQLError) -> UploadUsage {
        try uploads.usage(of: scope, now: now, since: since)
    }

    // MARK: The log

    func messages(of owner: AccountID, after view: UInt64, limit: Int) throws(SQLError) -> [LoggedMessage] {
        let postings = tail.postings(of: owner, after: view)
        return try snapshot { () throws(SQLError) in
            guard let delivered = try cursor(of: owner) else { return [] }
            let after = max(view, delivered)
            let merged = try mergedMessages(of: owner, after: after, limit: limit)
            return try add(postings.filter { $0.awaitsDelivery && $0.view > after }, to: merged, limit: limit)
        }
    }

    func queues() throws(SQLError) -> [StoredQueue] {
        let unmerged = Set(tail.sorted().map(\.owner).filter(\.isQueue))
        let merged = try queuesWithPostings.rows { AccountID(raw: $0.integer(0)) }
        var queues: [StoredQueue] = []
        for id in unmerged.union(merged) {
            guard let first = try messages(of: id, after: 0, limit: 1).first else { continue }
            let postings = tail.postings(of: id, after: 0)
            let sizes = try snapshot { () throws(SQLError) in try undelivered(of: id, after: try cursor(of: id) ?? 0, postings) }
            let last = sizes.reduce(first.view) { max($0, $1.view) }
            queues.append(StoredQueue(id: id, count: sizes.count, bytes: sizes.reduce(0) { $0 + $1.size }, lastView: last, first: first))
        }
        return queues
    }

    private func mergedMessages(of owner: AccountID, after view: UInt64, limit: Int) throws(SQLError) -> [LoggedMessage] {
        try messages.rows {
            $0.bind(owner.raw, at: 1)
            $0.bind(Int64(clamping: view), at: 2)
            $0.bind(Int64(max(0, limit)), at: 3)
        } _: { LoggedMessage(view: $0.unsigned(0), time: $0.integer(1), stanza: EncodedStanza($0.buffer(2)), isArchived: $0.flag(3)) }
    }

    /// Nearly always the tail comes after what is merged.
    private func add(_ tail: [Posting], to merged: [LoggedMessage], limit: Int) throws(SQLError) -> [LoggedMessage] {
        var result: [LoggedMessage] = []
        var (rest, later) = (merged[...], tail[...])
        while result.count < limit {
            if let posting = later.first, posting.view <= rest.first?.view ?? .max {
                later.removeFirst()
                if posting.view == rest.first?.view { continue }
                if let message = try message(posting) { result.append(message) }
            } else if let message = rest.popFirst() {
                result.append(message)
            } else {
                break
            }
        }
        return result
    }

    /// `nil` if it was delivered and forgotten since the tail was copied.
    private func message(_ posting: Posting) throws(SQLError) -> LoggedMessage? {
        try entry.first({ $0.bind(posting.log, at: 1) }) {
            LoggedMessage(view: posting.view, time: $0.integer(0), stanza: EncodedStanza($0.buffer(1)), isArchived: posting.archived != nil)
        }
    }

    // MARK: Archives

    /// Looks at the next slice of an archive; `nil` if a message that the request names is not in there.
    func step(_ search: ArchiveSearch, of owner: AccountID) throws(SQLError) -> ArchiveSearch? {
        let request = search.request
        let tail = tail.archived(of: owner) { posting, mark in
            if !search.hasBegun, request.named.contains(posting.view) { return true }
            return search.rest?.contains(posting.view) ?? false && request.mayPass(posting.view, mark)
        }
        return try snapshot { () throws(SQLError) in try archive.step(search, of: owner, tail) }
    }

    func archiveEnds(of owner: AccountID) throws(SQLError) -> ArchiveEnds? {
        let tail = tail.archived(of: owner) { _, _ in true }
        return try snapshot { () throws(SQLError) in try archive.ends(of: owner, tail) }
    }

    func handled(on stream: UInt64, of account: AccountID) throws(SQLError) -> UInt32? {
        if let handled = tail.handled(on: stream, of: account) { return handled }
        return try position.first({
            $0.bind(account.raw, at: 1)
            $0.bind(Int64(bitPattern: stream), at: 2)
        }) { UInt32(truncatingIfNeeded: $0.integer(0)) }
    }

    // MARK: Documents, credentials, lists

    func document(_ owner: AccountID, _ key: DocumentKey) throws(SQLError) -> ByteBuffer? {
        try document.first({ $0.bind(key, of: owner) }) { $0.buffer(0) }
    }

    func grantors(to account: BareJID) throws(SQLError) -> Set<BareJID> { try grants.grantors(to: account) }

    func identity(of address: BareJID) throws(SQLError) -> StoredIdentity? {
        try snapshot { () throws(SQLError) in try found(address) }
    }

    func identity(of address: BareJID, with device: DeviceID) throws(SQLError) -> (identity: StoredIdentity?, device: StoredDevice?) {
        try snapshot { () throws(SQLError) in
            let found = try found(address)
            return (found, try devices.device(device, of: found?.id ?? .nobody))
        }
    }

    /// Within a snapshot.
    private func found(_ address: BareJID) throws(SQLError) -> StoredIdentity? {
        var found = try identity.first({ $0.bind(partsOf: address, at: 1) }) {
            StoredIdentity(
                id: AccountID(raw: $0.integer(0)), isEnabled: $0.flag(1), isAdmin: $0.flag(2), credentials: [], passwordSet: $0.integer(3))
        }
        if let id = found?.id {
            found?.credentials = try credentialsOf.rows({ $0.bind(id.raw, at: 1) }) { row throws(SQLError) in
                try ApplicationPasswordTable.keys(row, from: 0)
            }
            found?.applicationPasswords = try applicationPasswords.passwords(of: id)
        }
        return found
    }

    func accounts(domain: String?, after: BareJID?, limit: Int) throws(SQLError) -> [AccountSummary] {
        try (domain == nil ? allAccounts : domainAccounts).rows {
            if let after { $0.bind(partsOf: after, at: 1) } else { $0.bind("", at: 1); $0.bind("", at: 2) }
            $0.bind(Int64(max(0, limit)), at: 3)
            if let domain { $0.bind(domain, at: 4) }
        } _: { row throws(SQLError) in
            AccountSummary(
                address: try row.address(parts: 0), isEnabled: row.flag(2), isAdmin: row.flag(3), created: row.integer(4),
                lastActivity: row.isNull(5) ? nil : row.integer(5), passwordSet: row.integer(6))
        }
    }

    func latestMessages(limit: Int) throws(SQLError) -> [LoggedMessage] {
        let rows = try latest.rows { $0.bind(Int64(max(0, limit)), at: 1) } _: { row -> LoggedMessage? in
            let views = row.withBytes(0) { EncodedViews.decode($0) }
            guard let received = views.first(where: { $0.awaitsDelivery || $0.archived?.isSent == false }) else { return nil }
            return LoggedMessage(view: received.id, time: row.integer(1), stanza: EncodedStanza(row.buffer(2)))
        }
        return rows.compactMap(\.self)
    }

    func idCeiling() throws(SQLError) -> UInt64 {
        try ceiling.first({ _ in }) { $0.unsigned(0) } ?? 0
    }
}

extension SQLStatement {
    /// An address that was prepared before it was stored.
    func address(_ column: Int) throws(SQLError) -> BareJID {
        do throws(JIDError) { return try withBytes(column, BareJID.init(parsing:)) } catch {
            throw SQLError(.corrupt, "a stored address is none: \(text(column))")
        }
    }

    func anyAddress(_ column: Int) throws(SQLError) -> JID {
        do throws(JIDError) { return try withBytes(column, JID.init(parsing:)) } catch {
            throw SQLError(.corrupt, "a stored address is none: \(text(column))")
        }
    }

    /// The domainpart in `column`, the localpart in the next.
    func address(parts column: Int) throws(SQLError) -> BareJID {
        let localpart = text(column + 1)
        do throws(JIDError) {
            return try BareJID(localpart: localpart.isEmpty ? nil : localpart, domainpart: text(column))
        } catch {
            throw SQLError(.corrupt, "a stored address is none: \(localpart)@\(text(column))")
        }
    }
}
