package import MartletXMPP
package import NIOCore

/// What is in a store, as plain values: what each ``Write`` means and what each read answers.
///
/// Writes that name an account which is gone are of two kinds. What somebody waits for (roster, documents) is refused
/// with ``StoreError/constraint(_:)``. What the server notes in passing (views of a log entry, cursors, last activity)
/// is dropped, so that the other accounts in the same submit do not suffer. What changes a room is of the second kind, but for its documents, and so
/// is what changes a node, but for its creation.
package struct StoreContents: Sendable {
    /// How many tickets back a refusal is remembered.
    package static let outcomesKept: UInt64 = 65_536

    private var accounts: [AccountID: Account] = [:]
    private var ids: [BareJID: AccountID] = [:]
    private(set) var rooms: [AccountID: Room] = [:]
    private(set) package var nodes = NodeContents()
    private(set) package var invitations = InvitationContents()
    private(set) package var uploads = UploadContents()
    private(set) package var reports = ReportContents()
    private(set) package var sharedLists = SharedListContents()
    private(set) package var rosterNotes = RosterNoteContents()
    /// For other servers.
    private var queues: [AccountID: Queue] = [:]
    private var roomIDs: [BareJID: AccountID] = [:]
    /// Of accounts and rooms.
    private var lastID: Int64 = 0
    /// Entries of the log are numbered, so that all views of one are known.
    private var lastEntry: UInt64 = 0
    private(set) package var idCeiling: UInt64 = 0
    /// What every archive has forgotten.
    private var archiveFloor: UInt64 = 0

    package init() {}

    package struct Account: Sendable {
        package var id: AccountID
        package var address: BareJID
        package var created: Int64
        package var isAdmin: Bool
        package var credentials: [ScramKeys]
        package var isEnabled = true
        package var roster: [BareJID: RosterItem] = [:]
        package var rosterRemovals: [RosterRemoval] = []
        package var rosterVersion: UInt64 = 0
        package var documents: [DocumentKey: ByteBuffer] = [:]
        fileprivate var deliveries = Deliveries()
        package var deliveredUpTo: UInt64 { deliveries.upTo }
        package var archive = StoredArchive()
        /// By stream: stanzas that are handled.
        package var positions: [UInt64: UInt32] = [:]
        package var lastActivity: LastActivity?
        package var devices = DeviceContents()
        package var applicationPasswords = ApplicationPasswordContents()
        /// When the password was set, in milliseconds since 1970.
        package var passwordSet: Int64
        package var certificates = AccountCertificateContents()
        package var link: DirectoryLink?
    }

    /// What waits for another server, and how far streams from it had come.
    private struct Queue: Sendable {
        var deliveries = Deliveries()
        var positions: [UInt64: UInt32] = [:]
    }

    fileprivate struct Deliveries: Sendable {
        /// Undelivered messages by view, with the numbers of their entries.
        var messages: [(message: LoggedMessage, entry: UInt64)] = []
        var upTo: UInt64 = 0
    }

    package subscript(id: AccountID) -> Account? { accounts[id] }
    package subscript(address: BareJID) -> Account? { ids[address].flatMap { accounts[$0] } }
    package subscript(room address: BareJID) -> Room? { roomIDs[address].flatMap { rooms[$0] } }
    package func archive(of owner: AccountID) -> StoredArchive? { accounts[owner]?.archive ?? rooms[owner]?.archive }

    package func document(_ owner: AccountID, _ key: DocumentKey) -> ByteBuffer? {
        accounts[owner]?.documents[key] ?? rooms[owner]?.documents[key]
    }
}

extension StoreContents {
    /// By view, which is by time: which entries are the same is not known here.
    package func latestMessages(limit: Int) -> [LoggedMessage] {
        let waiting = accounts.values.map(\.deliveries) + queues.values.map(\.deliveries)
        let archived = accounts.values.map(\.archive) + rooms.values.map(\.archive)
        let received = waiting.flatMap { $0.messages.map(\.message) } + archived.flatMap(\.received)
        return received.sorted { $0.view < $1.view }.suffix(limit)
    }
}

// MARK: Writes

extension StoreContents {
    /// All of `writes`, or, when one of them is refused, none.
    package mutating func apply(_ writes: [Write], now: Int64) throws(StoreError) {
        var undo = Undo(
            invitations: invitations, reports: reports, sharedLists: sharedLists, rosterNotes: rosterNotes, idCeiling: idCeiling, archiveFloor: archiveFloor)
        do throws(StoreError) {
            for write in writes { try apply(write, now: now, &undo) }
        } catch {
            restore(undo)
            throw error
        }
    }

    /// The accounts, rooms and nodes that a submit touched, as they were before it.
    private struct Undo {
        var before: [AccountID: Account?] = [:]
        var roomsBefore: [AccountID: Room?] = [:]
        var queuesBefore: [AccountID: Queue?] = [:]
        var nodesBefore: NodeContents.Before = [:]
        let invitations: InvitationContents
        let reports: ReportContents
        let sharedLists: SharedListContents
        let rosterNotes: RosterNoteContents
        var uploadsBefore: UploadContents.Before = [:]
        var idCeiling: UInt64
        var archiveFloor: UInt64
    }

    private mutating func restore(_ undo: Undo) {
        idCeiling = undo.idCeiling
        archiveFloor = undo.archiveFloor
        invitations = undo.invitations
        reports = undo.reports
        sharedLists = undo.sharedLists
        rosterNotes = undo.rosterNotes
        for id in undo.before.keys {
            if let address = accounts[id]?.address { ids[address] = nil }
        }
        for (id, account) in undo.before {
            accounts[id] = account
            if let account { ids[account.address] = id }
        }
        for (id, queue) in undo.queuesBefore { queues[id] = queue }
        nodes.restore(undo.nodesBefore)
        uploads.restore(undo.uploadsBefore)
        for id in undo.roomsBefore.keys {
            if let address = rooms[id]?.address { roomIDs[address] = nil }
        }
        for (id, room) in undo.roomsBefore {
            rooms[id] = room
            if let room { roomIDs[room.address] = id }
        }
    }

    private mutating func apply(_ write: Write, now: Int64, _ undo: inout Undo) throws(StoreError) {
        switch write {
        case .rosterItem(let id, let item):
            try Self.check(item.version)
            try change(id, &undo) { $0.setRosterItem(item) }
            noteItem(item.contact, of: id, now: now)
        case .rosterRemoval(let id, let contact, let version):
            try Self.check(version)
            try change(id, &undo) { $0.removeRosterItem(contact, version: version) }
            noteItem(contact, of: id, now: now)
        case .document(let id, let key, let bytes):
            if bytes != nil, rooms[id] == nil { try check(id) }
            changeIfPresent(id, &undo) { $0.documents[key] = bytes }
            changeRoom(id, &undo) { $0.documents[key] = bytes }
        case .unchanged(let id, let key, let bytes):
            try check(id)
            guard accounts[id]?.documents[key] == bytes else { throw .constraint("the document \(key.namespace) is another one") }
        case .log(let entry):
            for view in entry.views { try Self.check(view.id) }
            if let position = entry.position { note(position, &undo) }
            append(entry, &undo)
        case .replaceStanza(let owner, let view, let stanza):
            try Self.check(view)
            replaceStanza(of: owner, view, by: stanza, &undo)
        case .cursor(let id, let view):
            try Self.check(view)
            changeDeliveries(of: id, &undo) { $0.deliver(upTo: view) }
        case .archiveFloor(let id, let view):
            try Self.check(view)
            changeArchive(of: id, &undo) { $0.raiseFloor(to: view) }
        case .archiveFloors(let view):
            try Self.check(view)
            archiveFloor = max(archiveFloor, view)
            for id in Array(accounts.keys) + rooms.keys { changeArchive(of: id, &undo) { $0.forget(upTo: view) } }
        case .lastActivity(let id, let time, let status):
            changeIfPresent(id, &undo) { $0.lastActivity = LastActivity(time: time, status: status) }
        case .idCeiling(let ceiling):
            try Self.check(ceiling)
            idCeiling = max(idCeiling, ceiling)
        case .account(let change):
            try apply(change, now: now, &undo)
        case .room(let change):
            try apply(change, now: now, &undo)
        case .node(let change):
            if case .create(.account(let owner), _) = change { try check(owner) }
            try nodes.apply(change, &undo.nodesBefore)
        case .invitation(let change):
            try invitations.apply(change)
        case .upload(let change):
            try uploads.apply(change, exists: { accounts[$0] != nil }, &undo.uploadsBefore)
        case .report(let change):
            try reports.apply(change) { accounts[$0]?.address }
        case .sharedList(let change):
            sharedLists.apply(change)
        case .device(let change):
            try apply(change, &undo)
        case .certificate(let change):
            try apply(change, &undo)
        case .rosterCopy(let change):
            rosterNotes.apply(change, accounts: ids.keys, now: now)
        }
    }

    private mutating func noteItem(_ contact: BareJID, of id: AccountID, now: Int64) {
        if let account = accounts[id]?.address { rosterNotes.changed(contact, of: account, now: now) }
    }

    private mutating func apply(_ change: AccountCertificateChange, _ undo: inout Undo) throws(StoreError) {
        switch change {
        case .add(let id, let certificate, let certificatesMax):
            var certificates = try certificates(of: id)
            try certificates.add(certificate, certificatesMax: certificatesMax)
            changeIfPresent(id, &undo) { $0.certificates = certificates }
        case .remove(let id, let name):
            var certificates = try certificates(of: id)
            try certificates.remove(named: name)
            changeIfPresent(id, &undo) { $0.certificates = certificates }
        }
    }

    private func certificates(of id: AccountID) throws(StoreError) -> AccountCertificateContents {
        try check(id)
        return accounts[id]?.certificates ?? AccountCertificateContents()
    }

    package func holders(of certificate: CertificateFingerprint, domain: String, limit: Int) -> [BareJID] {
        let holders = accounts.values.filter { $0.address.domainpart == domain && $0.certificates.has(certificate) }
        return Array(holders.map(\.address).sorted { $0.precedes($1) }.prefix(max(0, limit)))
    }

    private mutating func apply(_ change: DeviceChange, _ undo: inout Undo) throws(StoreError) {
        switch change {
        case .seen(let id, let sighting, let devicesMax):
            changeIfPresent(id, &undo) {
                var sighting = sighting
                if let name = sighting.applicationPassword, !$0.applicationPasswords.use(name, at: sighting.time) { sighting.applicationPassword = nil }
                $0.devices.see(sighting, devicesMax: devicesMax)
            }
        case .left(let id, let device, let time): changeIfPresent(id, &undo) { $0.devices.leave(device, at: time) }
        case .proved(let id, let device, let proofs): changeIfPresent(id, &undo) { $0.devices.prove(proofs, by: device) }
        case .label(let id, let device, let label):
            var devices = try devices(of: id)
            try devices.label(device, label)
            changeIfPresent(id, &undo) { $0.devices = devices }
        case .give(let id, let device, let token):
            var devices = try devices(of: id)
            try devices.give(token, to: device)
            changeIfPresent(id, &undo) { $0.devices = devices }
        case .use(let id, let device, let seed, let count):
            var devices = try devices(of: id)
            try devices.use(seed, of: device, count: count)
            changeIfPresent(id, &undo) { $0.devices = devices }
        case .withdrawTokens(let id, let device): changeIfPresent(id, &undo) { $0.devices.withdrawTokens(of: device) }
        case .remove(let id, let device): changeIfPresent(id, &undo) { $0.devices.remove(device) }
        case .removeUnseen(let time):
            for id in accounts.keys { changeIfPresent(id, &undo) { $0.devices.removeUnseen(before: time) } }
        }
    }

    private func devices(of id: AccountID) throws(StoreError) -> DeviceContents {
        try check(id)
        return accounts[id]?.devices ?? DeviceContents()
    }

    private mutating func note(_ position: StreamPosition, _ undo: inout Undo) {
        changeIfPresent(position.account, &undo) { $0.positions[position.stream] = position.handled }
        changeQueue(position.account, &undo) { $0.positions[position.stream] = position.handled }
    }

    private mutating func append(_ entry: LogEntry, _ undo: inout Undo) {
        lastEntry += 1
        let (number, floor) = (lastEntry, archiveFloor)
        for view in entry.views {
            let message = LoggedMessage(view: view.id, time: entry.time, stanza: entry.stanza, isArchived: view.archived != nil)
            if view.awaitsDelivery { changeDeliveries(of: view.owner, &undo) { $0.append(message, number) } }
            if let mark = view.archived { changeArchive(of: view.owner, &undo) { $0.append(message, mark, number, archiveFloor: floor) } }
        }
    }

    private mutating func replaceStanza(of owner: AccountID, _ view: UInt64, by stanza: EncodedStanza, _ undo: inout Undo) {
        let waiting = deliveries(of: owner)?.messages.first { $0.message.view == view }?.entry
        guard let entry = archive(of: owner)?.entry(of: view) ?? waiting else { return }
        for id in Array(accounts.keys) + queues.keys { changeDeliveries(of: id, &undo) { $0.replaceStanza(of: entry, by: stanza) } }
        for id in Array(accounts.keys) + rooms.keys { changeArchive(of: id, &undo) { $0.replaceStanza(of: entry, by: stanza) } }
    }

    private mutating func apply(_ change: AccountChange, now: Int64, _ undo: inout Undo) throws(StoreError) {
        switch change {
        case .create(let address, let credentials, let isAdmin):
            guard ids[address] == nil else { throw .constraint("the account exists: \(address)") }
            try Self.check(credentials)
            let id = nextID()
            undo.before[id] = .some(nil)
            ids[address] = id
            accounts[id] = Account(id: id, address: address, created: now, isAdmin: isAdmin, credentials: credentials, passwordSet: now)
            rosterNotes.arrived(address, now: now)
        case .setCredentials(let address, let credentials):
            try Self.check(credentials)
            try self.change(try id(of: address), &undo) {
                $0.credentials = credentials
                $0.passwordSet = now
                $0.applicationPasswords = ApplicationPasswordContents()
                $0.devices.credentialsChanged()
            }
        case .addCredentials(let address, let keys, let proved):
            let id = try id(of: address)
            guard accounts[id]?.credentials.contains(proved) == true else { throw .constraint("the credentials are others: \(address)") }
            try self.change(id, &undo) { account in
                for keys in keys where !account.credentials.contains(where: { $0.hash == keys.hash }) { account.credentials.append(keys) }
            }
        case .addApplicationPassword(let address, let password):
            let id = try id(of: address)
            var passwords = accounts[id]?.applicationPasswords ?? ApplicationPasswordContents()
            try passwords.add(password, beside: accounts[id]?.credentials ?? [])
            try self.change(id, &undo) { $0.applicationPasswords = passwords }
        case .removeApplicationPassword(let address, let name):
            let id = try id(of: address)
            var passwords = accounts[id]?.applicationPasswords ?? ApplicationPasswordContents()
            try passwords.remove(name)
            try self.change(id, &undo) {
                $0.applicationPasswords = passwords
                $0.devices.applicationPasswordEnded(name)
            }
        case .setEnabled(let address, let isEnabled):
            try self.change(try id(of: address), &undo) { $0.isEnabled = isEnabled }
        case .link(let address, let link):
            let id = try id(of: address)
            if let link, link.gone == nil, accounts.values.contains(where: { $0.id != id && $0.link == link }) {
                throw .constraint("the entry has another account")
            }
            try self.change(id, &undo) { $0.link = link }
        case .rename(let address, let new):
            let id = try id(of: address)
            guard ids[new] == nil else { throw .constraint("the account exists: \(new)") }
            try self.change(id, &undo) { $0.address = new }
            (ids[address], ids[new]) = (nil, id)
            invitations.remove(by: address)
            rosterNotes.departed(address, now: now)
            rosterNotes.arrived(new, now: now)
        case .delete(let address):
            let id = try id(of: address)
            remember(id, &undo)
            accounts[id] = nil
            ids[address] = nil
            nodes.removeAll(of: .account(id), &undo.nodesBefore)
            invitations.remove(by: address)
            uploads.removeAll(of: id, &undo.uploadsBefore)
            reports.removeAll(of: id)
            rosterNotes.departed(address, now: now)
        }
    }

    private mutating func apply(_ change: RoomChange, now: Int64, _ undo: inout Undo) throws(StoreError) {
        switch change {
        case .create(let address, let record, let affiliations, let creator):
            guard !address.isDomain else { throw .constraint("a room has a localpart: \(address)") }
            guard roomIDs[address] == nil else { throw .constraint("the room exists: \(address)") }
            for affiliation in affiliations { try Self.check(affiliation.version) }
            if let creator, rooms.values.count(where: { $0.creator == creator.account }) >= creator.roomsMax {
                throw .constraint("\(creator.account) has \(creator.roomsMax) rooms")
            }
            let id = nextID()
            undo.roomsBefore[id] = .some(nil)
            roomIDs[address] = id
            rooms[id] = Room(id: id, address: address, created: now, record: record, affiliations: affiliations, creator: creator?.account)
        case .setRecord(let id, let record):
            changeRoom(id, &undo) { $0.record = record }
        case .setAffiliation(let id, let affiliation):
            try Self.check(affiliation.version)
            changeRoom(id, &undo) { $0.affiliations[affiliation.address] = affiliation }
        case .removeAffiliation(let id, let address):
            changeRoom(id, &undo) { $0.affiliations[address] = nil }
        case .delete(let id):
            guard let room = rooms[id] else { return }
            remember(room, &undo)
            rooms[id] = nil
            roomIDs[room.address] = nil
        }
    }

    private mutating func nextID() -> AccountID {
        lastID += 1
        return AccountID(raw: lastID)
    }

    private func id(of address: BareJID) throws(StoreError) -> AccountID {
        guard let id = ids[address] else { throw .constraint("no such account: \(address)") }
        return id
    }

    private func check(_ id: AccountID) throws(StoreError) {
        guard accounts[id] != nil else { throw .constraint("no account has the number \(id.raw)") }
    }

    private mutating func change(_ id: AccountID, _ undo: inout Undo, _ body: (inout Account) -> Void) throws(StoreError) {
        try check(id)
        changeIfPresent(id, &undo, body)
    }

    private mutating func changeRoom(_ id: AccountID, _ undo: inout Undo, _ body: (inout Room) -> Void) {
        guard var room = rooms[id] else { return }
        remember(room, &undo)
        body(&room)
        rooms[id] = room
    }

    /// A queue is there as soon as something is put in.
    private mutating func changeQueue(_ id: AccountID, _ undo: inout Undo, _ body: (inout Queue) -> Void) {
        guard id.isQueue else { return }
        if undo.queuesBefore[id] == nil { undo.queuesBefore[id] = .some(queues[id]) }
        body(&queues[id, default: Queue()])
    }

    private mutating func changeDeliveries(of owner: AccountID, _ undo: inout Undo, _ body: (inout Deliveries) -> Void) {
        changeIfPresent(owner, &undo) { body(&$0.deliveries) }
        changeQueue(owner, &undo) { body(&$0.deliveries) }
    }

    private mutating func changeArchive(of owner: AccountID, _ undo: inout Undo, _ body: (inout StoredArchive) -> Void) {
        changeIfPresent(owner, &undo) { body(&$0.archive) }
        changeRoom(owner, &undo) { body(&$0.archive) }
    }

    private mutating func changeIfPresent(_ id: AccountID, _ undo: inout Undo, _ body: (inout Account) -> Void) {
        guard var account = accounts[id] else { return }
        remember(id, &undo)
        body(&account)
        accounts[id] = account
    }

    private func remember(_ id: AccountID, _ undo: inout Undo) {
        if undo.before[id] == nil { undo.before[id] = .some(accounts[id]) }
    }

    private func remember(_ room: Room, _ undo: inout Undo) {
        if undo.roomsBefore[room.id] == nil { undo.roomsBefore[room.id] = .some(room) }
    }

    /// Databases count to 2⁶³ − 1.
    private static func check(_ number: UInt64) throws(StoreError) {
        guard Int64(exactly: number) != nil else { throw .constraint("the number is beyond 2⁶³ − 1: \(number)") }
    }

    /// One credential for each hash.
    private static func check(_ credentials: [ScramKeys]) throws(StoreError) {
        guard Set(credentials.map(\.hash)).count == credentials.count else { throw .constraint("two credentials for one hash") }
    }
}

extension StoreContents.Account {
    fileprivate mutating func setRosterItem(_ item: RosterItem) {
        roster[item.contact] = item
        rosterVersion = max(rosterVersion, item.version)
    }

    fileprivate mutating func removeRosterItem(_ contact: BareJID, version: UInt64) {
        roster[contact] = nil
        rosterVersion = max(rosterVersion, version)
        rosterRemovals.removeAll { $0.version == version }
        rosterRemovals.append(RosterRemoval(contact: contact, version: version))
        rosterRemovals.sort { $0.version < $1.version }
        rosterRemovals.removeFirst(max(0, rosterRemovals.count - StoredAccount.rosterRemovalsMax))
    }
}

extension StoreContents.Deliveries {
    /// A view that is there already, or delivered, stays as it is: an entry that is submitted again changes nothing.
    fileprivate mutating func append(_ message: LoggedMessage, _ entry: UInt64) {
        guard message.view > upTo else { return }
        let place = messages.lastIndex { $0.message.view <= message.view }.map { $0 + 1 } ?? 0
        if place > 0, messages[place - 1].message.view == message.view { return }
        messages.insert((message, entry), at: place)
    }

    fileprivate mutating func replaceStanza(of entry: UInt64, by stanza: EncodedStanza) {
        for place in messages.indices where messages[place].entry == entry { messages[place].message.stanza = stanza }
    }

    fileprivate mutating func deliver(upTo view: UInt64) {
        upTo = max(upTo, view)
        messages.removeAll { $0.message.view <= upTo }
    }

    fileprivate func after(_ view: UInt64, limit: Int) -> [LoggedMessage] {
        messages.lazy.map(\.message).drop { $0.view <= view }.prefix(max(0, limit)).map(\.self)
    }

    fileprivate var bytes: Int { messages.reduce(0) { $0 + $1.message.stanza.bytes.readableBytes } }
}

/// The archive of an account or a room.
package struct StoredArchive: Sendable {
    /// By view.
    private var messages: [(message: LoggedMessage, mark: ArchiveMark, entry: UInt64)] = []
    private var floor: UInt64 = 0

    package init() {}

    fileprivate var received: [LoggedMessage] { messages.filter { !$0.mark.isSent }.map(\.message) }

    /// The highest name that it ever gave.
    var lastView: UInt64 { max(floor, messages.last?.message.view ?? 0) }

    func last(_ count: Int) -> [LoggedMessage] { messages.suffix(max(0, count)).map(\.message) }

    fileprivate func entry(of view: UInt64) -> UInt64? { messages.first { $0.message.view == view }?.entry }

    /// As for deliveries: what is there already, or forgotten, stays so.
    fileprivate mutating func append(_ message: LoggedMessage, _ mark: ArchiveMark, _ entry: UInt64, archiveFloor: UInt64) {
        guard message.view > archiveFloor else { return floor = max(floor, message.view) }
        guard message.view > floor else { return }
        let place = messages.lastIndex { $0.message.view <= message.view }.map { $0 + 1 } ?? 0
        if place > 0, messages[place - 1].message.view == message.view { return }
        messages.insert((message, mark, entry), at: place)
    }

    fileprivate mutating func replaceStanza(of entry: UInt64, by stanza: EncodedStanza) {
        for place in messages.indices where messages[place].entry == entry { messages[place].message.stanza = stanza }
    }

    fileprivate mutating func raiseFloor(to view: UInt64) {
        floor = max(floor, view)
        forget(upTo: view)
    }

    /// The last name that is forgotten is remembered: it is not given again.
    fileprivate mutating func forget(upTo view: UInt64) {
        let forgotten = messages.prefix { $0.message.view <= view }
        floor = max(floor, forgotten.last?.message.view ?? 0)
        messages.removeFirst(forgotten.count)
    }

    package func page(_ request: ArchiveRequest) -> ArchivePage? {
        guard request.named.isSubset(of: messages.lazy.map(\.message.view)) else { return nil }
        var builder = ArchivePageBuilder(request)
        guard let views = request.views else { return builder.page() }
        let candidates = messages.filter { views.contains($0.message.view) && request.mayPass($0.message.view, $0.mark) }
        for candidate in request.isBackwards ? candidates.reversed() : candidates {
            if builder.isDone { break }
            builder.look(at: candidate.message, candidate.mark)
        }
        return builder.page()
    }

    package var ends: ArchiveEnds? {
        guard let first = messages.first?.message, let last = messages.last?.message else { return nil }
        return ArchiveEnds(first: .init(view: first.view, time: first.time), last: .init(view: last.view, time: last.time))
    }
}

// MARK: Reads

extension StoreContents.Account {
    package func stored() throws(StoreError) -> StoredAccount {
        var stored = StoredAccount(id: id)
        stored.isEnabled = isEnabled
        stored.isAdmin = isAdmin
        stored.roster = roster.values.sorted { $0.contact.precedes($1.contact) }
        stored.rosterRemovals = rosterRemovals
        stored.rosterVersion = rosterVersion
        stored.blocked = try blocked()
        stored.lastViewID = max(deliveredUpTo, deliveries.messages.last?.message.view ?? 0, archive.lastView)
        stored.deliveredUpTo = deliveredUpTo
        stored.undelivered = deliveries.messages.count
        stored.undeliveredBytes = deliveries.bytes
        stored.lastActivity = lastActivity
        stored.documents = documents.filter { DocumentKey.resident.contains($0.key) }
        stored.devices = devices.devices.map { DeviceSighting($0) }
        return stored
    }

    /// What is no address is not left out: that would let through what the user has blocked.
    private func blocked() throws(StoreError) -> [JID] {
        let names = documents.keys.filter { $0.namespace == DocumentKey.blockList }.map(\.key)
        var blocked: [JID] = []
        for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            guard let address = try? JID(name) else { throw .corrupt("the block list has what is no address") }
            blocked.append(address)
        }
        return blocked
    }

    package var identity: StoredIdentity {
        StoredIdentity(
            id: id, isEnabled: isEnabled, isAdmin: isAdmin, credentials: credentials, applicationPasswords: applicationPasswords.passwords,
            passwordSet: passwordSet)
    }

    fileprivate var summary: AccountSummary {
        AccountSummary(
            address: address, isEnabled: isEnabled, isAdmin: isAdmin, created: created, lastActivity: lastActivity?.time, passwordSet: passwordSet)
    }
}

extension StoreContents {
    private func deliveries(of owner: AccountID) -> Deliveries? { accounts[owner]?.deliveries ?? queues[owner]?.deliveries }

    package func messages(of owner: AccountID, after view: UInt64, limit: Int) -> [LoggedMessage] {
        deliveries(of: owner)?.after(view, limit: limit) ?? []
    }

    package func handled(on stream: UInt64, of owner: AccountID) -> UInt32? {
        accounts[owner]?.positions[stream] ?? queues[owner]?.positions[stream]
    }

    package func storedQueues() -> [StoredQueue] {
        queues.compactMap { id, queue in
            let messages = queue.deliveries.messages
            guard let first = messages.first?.message, let last = messages.last?.message else { return nil }
            return StoredQueue(id: id, count: messages.count, bytes: queue.deliveries.bytes, lastView: last.view, first: first)
        }
    }

    /// Looks at every account there is: a store for many has an index.
    package func cards(_ search: CardSearch) -> [FoundCard] {
        let found = accounts.values.lazy.filter { $0.isEnabled && $0.address.domainpart == search.domain }.compactMap { account -> FoundCard? in
            let card = PublicCard(stored: account.documents[.vCard]) ?? PublicCard()
            guard !card.isEmpty || search.findsEmpty, search.finds(card.words(at: account.address.localpart ?? "")) else { return nil }
            let isBlocked = search.names.contains { account.documents[DocumentKey(namespace: DocumentKey.blockList, key: $0)] != nil }
            return isBlocked ? nil : FoundCard(account.address, card)
        }
        return Array(found.prefix(max(0, search.limit)))
    }

    package func summaries(domain: String?, after: BareJID?, limit: Int) -> [AccountSummary] {
        let chosen = accounts.values.filter { account in
            (domain.map { account.address.domainpart == $0 } ?? true) && (after.map { $0.precedes(account.address) } ?? true)
        }
        return chosen.sorted { $0.address.precedes($1.address) }.prefix(max(0, limit)).map(\.summary)
    }

    package func linkedAccounts(after: BareJID?, limit: Int) -> [LinkedAccount] {
        let linked = accounts.values.compactMap { account in
            account.link.map { LinkedAccount(address: account.address, isEnabled: account.isEnabled, link: $0) }
        }
        let chosen = linked.filter { account in after.map { $0.precedes(account.address) } ?? true }
        return Array(chosen.sorted { $0.address.precedes($1.address) }.prefix(max(0, limit)))
    }
}

extension StoredAccount {
    /// How many removals of roster items are remembered for an account; older ones are forgotten.
    package static let rosterRemovalsMax = 256

    /// A client whose roster is older than this version cannot be told what was removed since: it gets the whole roster
    /// (RFC 6121 §2.6.3). With a newer one it gets every item and every removal beyond its version, by version.
    package var oldestRosterVersion: UInt64 {
        rosterRemovals.count < Self.rosterRemovalsMax ? 0 : rosterRemovals.first?.version ?? 0
    }
}

extension BareJID {
    /// The order of addresses in lists: by domainpart, then localpart, octet by octet; the domain itself comes first.
    package func precedes(_ other: BareJID) -> Bool {
        let (a, b) = (domainpart, other.domainpart)
        if a != b { return a.utf8.lexicographicallyPrecedes(b.utf8) }
        return (localpart ?? "").utf8.lexicographicallyPrecedes((other.localpart ?? "").utf8)
    }
}
