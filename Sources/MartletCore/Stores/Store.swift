package import MartletXMPP
package import NIOCore

/// Names an account or a room for as long as the database lives. Never given twice: an address that is created anew is another one
/// and inherits nothing.
package struct AccountID: Hashable, Sendable, Comparable {
    package let raw: Int64
    package init(raw: Int64) { self.raw = raw }
    package static func < (a: Self, b: Self) -> Bool { a.raw < b.raw }
    /// Numbers count from 1: nothing is kept under this one.
    package static let nobody = AccountID(raw: 0)

    /// Under which the log keeps what waits for another server, by the pair of domains (P10): below zero, and the same in every process.
    package init(queueFor pair: DomainPair) { self.init(raw: Int64(bitPattern: pair.fingerprint | 1 << 63)) }
    /// Whether it is a queue for another server, which nothing else is known of than what waits in it.
    package var isQueue: Bool { raw < 0 }
}

/// A place in the store's commit order.
package struct CommitTicket: Comparable, Hashable, Sendable {
    package var sequence: UInt64
    package init(sequence: UInt64) { self.sequence = sequence }
    package static func < (a: Self, b: Self) -> Bool { a.sequence < b.sequence }
    /// Nothing to wait for.
    package static let none = CommitTicket(sequence: 0)
}

package enum StoreError: Error, Hashable, Sendable {
    /// Cannot be reached or did not answer in time; may come back.
    case unavailable(String)
    /// The disk or a quota is full. Nothing was written; may come back.
    case full
    case constraint(String)
    case corrupt(String)
}

/// One message in the log: the bytes once, and the view of every local account, or of the room, that has it (`architecture.md` §1.4).
package struct LogEntry: Sendable {
    package struct View: Hashable, Sendable {
        package var owner: AccountID
        /// The account's own name for the message: sorts by time, never repeats; the stanza-id of XEP-0359.
        package var id: UInt64
        /// Whether the account, or another server, is still to take delivery of it: then it stays until the cursor has passed it. Rooms take none.
        package var awaitsDelivery: Bool
        /// Set where the account's archive keeps it: then it stays until that is told to forget it.
        package var archived: ArchiveMark?

        package init(owner: AccountID, id: UInt64, awaitsDelivery: Bool = true, archived: ArchiveMark? = nil) {
            self.owner = owner
            self.id = id
            self.awaitsDelivery = awaitsDelivery
            self.archived = archived
        }
    }

    /// As it is delivered, but for `to` and the stanza-ids, which are the views'.
    package var stanza: EncodedStanza
    package var views: [View]
    /// When the server took the message, in milliseconds since 1970.
    package var time: Int64
    /// Where the stream stands that it came on, if that can be resumed.
    package var position: StreamPosition?

    package init(stanza: EncodedStanza, views: [View], time: Int64, position: StreamPosition? = nil) {
        self.stanza = stanza
        self.views = views
        self.time = time
        self.position = position
    }
}

/// How many stanzas of a client are handled once a message of its is on disk (XEP-0198 §4). After a crash the client learns that by the
/// stream's name, and sends again only what came after (`reliability.md` P4).
package struct StreamPosition: Hashable, Sendable {
    /// For how long a store knows it at least, in milliseconds, also once the message is gone: far longer than clients wait before they come
    /// back after a crash. One who comes later is told nothing, and sends again what was not acknowledged.
    package static let ageMax: Int64 = 86_400_000

    package var account: AccountID
    /// Of the identifier by which the stream can be resumed.
    package var stream: UInt64
    /// Modulo 2³².
    package var handled: UInt32

    package init(account: AccountID, stream: UInt64, handled: UInt32) {
        self.account = account
        self.stream = stream
        self.handled = handled
    }

    /// A number for an identifier, the same in every process (FNV-1a). Identifiers are random: two of one account do not meet.
    package static func stream(named identifier: String) -> UInt64 {
        identifier.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}

/// One change to what is durable. A `submit` is atomic, whatever domains its writes touch.
package enum Write: Sendable {
    /// Inserts or replaces one roster item; `item.version` is the roster's new version.
    case rosterItem(AccountID, RosterItem)
    /// Removes an item; the removal is remembered under `version` for roster versioning.
    case rosterRemoval(AccountID, contact: BareJID, version: UInt64)
    /// Sets or, with `nil`, removes a document of an account or a room.
    case document(AccountID, DocumentKey, ByteBuffer?)
    /// Refuses everything that is submitted with it, with ``StoreError/constraint(_:)``, unless this is what the document of an account is (`nil`: there
    /// is none): for who has read it before.
    case unchanged(AccountID, DocumentKey, ByteBuffer?)
    /// Appends to the message log.
    case log(LogEntry)
    /// What the owner's view shows is this text from now on (XEP-0425). It takes the old one's place in the entry, of which nothing is kept:
    /// whoever else has a view of the entry sees the new one as well. Nothing happens if there is no such view, or no longer.
    case replaceStanza(AccountID, view: UInt64, EncodedStanza)
    /// The account, or another server, has taken delivery of everything up to and including this view.
    case cursor(AccountID, upTo: UInt64)
    /// The archive of the account or room forgets everything up to and including this view.
    case archiveFloor(AccountID, upTo: UInt64)
    /// Every archive does.
    case archiveFloors(upTo: UInt64)
    /// When the account was last online, and the status it left with (RFC 6121 §4.7.2.2, XEP-0012).
    case lastActivity(AccountID, time: Int64, status: String?)
    /// Names up to this one may be given out after a restart only beyond it (`StanzaIDSource`).
    case idCeiling(UInt64)
    case account(AccountChange)
    case room(RoomChange)
    case node(NodeChange)
    case invitation(InvitationChange)
    case upload(UploadChange)
    case report(ReportChange)
    case sharedList(SharedListChange)
    case device(DeviceChange)
    case certificate(AccountCertificateChange)
    case rosterCopy(RosterCopyChange)
}

/// Small data of an account or a room: vCards, private XML, the block list, preferences.
package struct DocumentKey: Hashable, Sendable {
    /// What kind of document: the namespace of its feature.
    package var namespace: String
    /// The namespace under which the block list is kept, one empty document per blocked address (XEP-0191).
    package static let blockList = "urn:xmpp:blocking"
    /// Which one of that kind; empty where there is only one.
    package var key: String
    package init(namespace: String, key: String = "") { self.namespace = namespace; self.key = key }
    /// Where an account's wishes about its archive are kept (XEP-0441).
    package static let archivePreferences = DocumentKey(namespace: "urn:xmpp:mam:2")
    /// Where an account's devices are registered that want to be woken (XEP-0357).
    package static let pushRegistrations = DocumentKey(namespace: "urn:xmpp:push:0")
    /// Where the digest of an account's avatar is kept that its presence has (XEP-0153).
    package static let avatarDigest = DocumentKey(namespace: "vcard-temp:x:update")
    /// Where it is kept what an account has been told by its domain (XEP-0133).
    package static let greetings = DocumentKey(namespace: "urn:x-martlet:greetings")
    /// Where it is kept what an account has changed at one place and is to be put at another (XEP-0292, XEP-0398).
    package static let conversions = DocumentKey(namespace: "urn:x-martlet:conversions")
    /// Documents that decide about stanzas: they are in memory while the account is (``StoredAccount/documents``).
    package static let resident = [archivePreferences, pushRegistrations, avatarDigest, greetings, conversions, directoryVisibility]
}

/// The documents of an account that decide about its stanzas, each read by the feature it belongs to when it is first wanted.
package struct ResidentDocuments {
    private var documents: [DocumentKey: ByteBuffer]
    private var read: [DocumentKey: any Sendable] = [:]

    package init(_ documents: [DocumentKey: ByteBuffer] = [:]) { self.documents = documents }

    /// Most accounts have none at all.
    package var isEmpty: Bool { documents.isEmpty }

    package subscript(key: DocumentKey) -> ByteBuffer? {
        get { documents[key] }
        set {
            documents[key] = newValue
            read[key] = nil
        }
    }

    package func has(_ key: DocumentKey) -> Bool { documents[key] != nil }

    /// Keeps what a document was read as, with what only memory knows besides, until the document is set anew or the account is read anew.
    package mutating func keep(_ value: some Sendable, as key: DocumentKey) { read[key] = value }

    /// What `read` makes of a document; `nil` where there is none.
    package mutating func value<Value: Sendable>(_ key: DocumentKey, _ read: (ByteBuffer) -> Value) -> Value? {
        guard let document = documents[key] else { return nil }
        if let known = self.read[key] as? Value { return known }
        let value = read(document)
        self.read[key] = value
        return value
    }
}

package enum AccountChange: Sendable {
    case create(BareJID, credentials: [ScramKeys], isAdmin: Bool)
    /// Takes all tokens of all devices and all passwords for applications away as well: whoever changes a password because somebody else knows it would
    /// not be rid of him otherwise.
    case setCredentials(BareJID, [ScramKeys])
    /// Adds keys of hashes of which the account has none; those of others are passed over. Refused unless the account still has the keys by which somebody has
    /// proved to know the password: they may have been replaced meanwhile.
    case addCredentials(BareJID, [ScramKeys], provedBy: ScramKeys)
    /// Refused if there is one of that name, if there are as many as there may be, or if it was not made with the salts that the account has now.
    case addApplicationPassword(BareJID, StoredApplicationPassword)
    /// Devices that came in by it have shown nothing any more. Refused if there is none of that name.
    case removeApplicationPassword(BareJID, name: String)
    case setEnabled(BareJID, Bool)
    /// Says of which entry of the directory the account is; `nil` for none. Refused if another account is that entry's now.
    case link(BareJID, DirectoryLink?)
    /// Gives the account another address, with everything that is keyed by it; its invitations are withdrawn. Refused if there is one of the new address.
    case rename(BareJID, to: BareJID)
    /// Removes the account and everything that is keyed by it.
    case delete(BareJID)
}

/// What a home needs of an account that comes into use.
package struct StoredAccount: Sendable {
    package var id: AccountID
    package var isEnabled: Bool
    package var isAdmin: Bool
    package var roster: [RosterItem]
    /// Contacts removed since the oldest version that can still be answered with pushes, with the version of the removal.
    package var rosterRemovals: [RosterRemoval]
    package var rosterVersion: UInt64
    package var blocked: [JID]
    /// The highest name ever given in this account's view, 0 if none.
    package var lastViewID: UInt64
    package var deliveredUpTo: UInt64
    /// Messages in the log beyond `deliveredUpTo`, and their bytes.
    package var undelivered: Int
    package var undeliveredBytes: Int
    package var lastActivity: LastActivity?
    /// Those of ``DocumentKey/resident``.
    package var documents: [DocumentKey: ByteBuffer] = [:]
    /// All of its devices, in the order of their names, each as it was seen last.
    package var devices: [DeviceSighting] = []

    package init(id: AccountID) {
        self.id = id
        isEnabled = true
        isAdmin = false
        roster = []
        rosterRemovals = []
        rosterVersion = 0
        blocked = []
        lastViewID = 0
        deliveredUpTo = 0
        undelivered = 0
        undeliveredBytes = 0
    }
}

package struct RosterRemoval: Hashable, Sendable {
    package var contact: BareJID
    package var version: UInt64
    package init(contact: BareJID, version: UInt64) { self.contact = contact; self.version = version }
}

package struct LastActivity: Hashable, Sendable {
    package var time: Int64
    package var status: String?
    package init(time: Int64, status: String?) { self.time = time; self.status = status }
}

/// A message of the log as one account sees it.
package struct LoggedMessage: Sendable {
    package var view: UInt64
    package var time: Int64
    package var stanza: EncodedStanza
    /// Whether the owner's archive has it under that name.
    package var isArchived: Bool

    package init(view: UInt64, time: Int64, stanza: EncodedStanza, isArchived: Bool = true) {
        self.view = view
        self.time = time
        self.stanza = stanza
        self.isArchived = isArchived
    }
}

/// What waits in the log for another server (P10).
package struct StoredQueue: Sendable {
    package var id: AccountID
    /// Messages that were not handed over, and their bytes.
    package var count: Int
    package var bytes: Int
    package var lastView: UInt64
    package var first: LoggedMessage

    package init(id: AccountID, count: Int, bytes: Int, lastView: UInt64, first: LoggedMessage) {
        self.id = id
        self.count = count
        self.bytes = bytes
        self.lastView = lastView
        self.first = first
    }
}

/// Durable truth. SQLite or memory now; the in-memory one is the reference meaning.
package protocol Store: NodeStore, InvitationStore, UploadStore, CardStore, ReportStore, SharedListStore, DeviceStore, AccountCertificateStore,
    DirectoryLinkStore, RosterNoteStore
{
    /// Queues writes for the next group commit and returns at once. First in, first out. Never blocks, never fails here:
    /// see ``outcome(of:)``.
    func submit(_ writes: [Write]) -> CommitTicket
    /// The same for the control plane: `done` runs on some thread once the writes are settled.
    func submit(_ writes: [Write], _ done: @escaping @Sendable (Result<Void, StoreError>) -> Void)
    /// Everything up to here is on disk, or has been refused by it.
    var settled: CommitTicket { get }
    /// What became of a settled ticket. Remembered for refused ones as long as somebody may ask (the last 65,536 tickets).
    func outcome(of ticket: CommitTicket) -> Result<Void, StoreError>
    /// Calls `handler` on some thread after commits that somebody expects, see ``expectSettlement(of:)``.
    func onSettled(_ handler: @escaping @Sendable () -> Void)
    /// Says that somebody waits for `ticket`; if it is settled already, handlers run as well.
    func expectSettlement(of ticket: CommitTicket)

    /// Reads an account by address, including whatever was submitted before the call. `done` runs on some thread;
    /// `nil` if there is no such account.
    func loadAccount(_ address: BareJID, _ done: @escaping @Sendable (Result<StoredAccount?, StoreError>) -> Void)
    /// At most `limit` messages that wait for the account, or in the queue for another server, after `after`, in order, including whatever was submitted before.
    func messages(of account: AccountID, after: UInt64, limit: Int, _ done: @escaping @Sendable (Result<[LoggedMessage], StoreError>) -> Void)
    /// Queues for other servers that something waits in, including whatever was submitted before; in no order.
    func queues() async throws(StoreError) -> [StoredQueue]
    /// What the latest logged message of a stream says of it, including whatever was submitted before; `nil` if there was none within
    /// the last day. `done` runs on some thread.
    func handled(
        on stream: UInt64, of account: AccountID, _ done: @escaping @Sendable (Result<UInt32?, StoreError>) -> Void)
    /// Reads a room by address, including whatever was submitted before the call. `done` runs on some thread; `nil` if there is none.
    ///
    /// - Parameter history: of the archive's last messages, how many are read as well.
    func loadRoom(_ address: BareJID, history: Int, _ done: @escaping @Sendable (Result<StoredRoom?, StoreError>) -> Void)
    /// Who has given something to an account: the addresses of rooms, services and accounts that have it, or a session of it, in a list of
    /// affiliations or of subscriptions. In no order, including whatever was submitted before the call. `done` runs on some thread.
    ///
    /// Looks through all such lists: it is asked when an account goes.
    func loadGrantors(to account: BareJID, _ done: @escaping @Sendable (Result<Set<BareJID>, StoreError>) -> Void)
    /// A page of a service's rooms, including whatever was submitted before.
    func rooms(_ request: RoomListRequest) async throws(StoreError) -> RoomPage
    /// How many rooms a service has, including whatever was submitted before.
    ///
    /// - Parameter isPublic: `nil` for all.
    func roomCount(domain: String, isPublic: Bool?) async throws(StoreError) -> Int
    /// A page of the archive of an account or a room, including whatever was submitted before; `nil` if one of `request.named` is not in it.
    func archive(of account: AccountID, _ request: ArchiveRequest) async throws(StoreError) -> ArchivePage?
    /// The first and the last message of the archive of an account or a room; `nil` if it is empty.
    func archiveEnds(of account: AccountID) async throws(StoreError) -> ArchiveEnds?
    /// One document of an account or a room, including whatever was submitted before.
    func document(_ account: AccountID, _ key: DocumentKey) async throws(StoreError) -> ByteBuffer?
    /// The credentials and standing of an account, for `EmbeddedAccountSource`.
    func credentials(of address: BareJID) async throws(StoreError) -> StoredIdentity?
    /// The same, and one of the account's devices, in one read. A device is looked for where there is no account as well.
    func credentials(of address: BareJID, with device: DeviceID) async throws(StoreError) -> (identity: StoredIdentity?, device: StoredDevice?)
    /// Accounts by address, in order, after `after`; at most `limit`.
    func accounts(domain: String?, after: BareJID?, limit: Int) async throws(StoreError) -> [AccountSummary]
    /// Of the last `limit` entries of the log, those that a recipient has a view of, in no order.
    func latestMessages(limit: Int) async throws(StoreError) -> [LoggedMessage]
    /// The ceiling under which names may have been given before this start; 0 on a new database.
    func idCeiling() async throws(StoreError) -> UInt64
}

package struct StoredIdentity: Sendable {
    package var id: AccountID
    package var isEnabled: Bool
    package var isAdmin: Bool
    package var credentials: [ScramKeys]
    /// In the order of their names.
    package var applicationPasswords: [StoredApplicationPassword]
    /// When the password was set, in milliseconds since 1970; of an account older than that this is known: since when it is.
    package var passwordSet: Int64

    package init(
        id: AccountID, isEnabled: Bool, isAdmin: Bool, credentials: [ScramKeys], applicationPasswords: [StoredApplicationPassword] = [],
        passwordSet: Int64 = 0
    ) {
        self.id = id
        self.isEnabled = isEnabled
        self.isAdmin = isAdmin
        self.credentials = credentials
        self.applicationPasswords = applicationPasswords
        self.passwordSet = passwordSet
    }
}

package struct AccountSummary: Hashable, Sendable {
    package var address: BareJID
    package var isEnabled: Bool
    package var isAdmin: Bool
    /// Milliseconds since 1970.
    package var created: Int64
    package var lastActivity: Int64?
    /// As ``StoredIdentity/passwordSet``.
    package var passwordSet: Int64
    package init(address: BareJID, isEnabled: Bool, isAdmin: Bool, created: Int64, lastActivity: Int64?, passwordSet: Int64 = 0) {
        self.address = address
        self.isEnabled = isEnabled
        self.isAdmin = isAdmin
        self.created = created
        self.lastActivity = lastActivity
        self.passwordSet = passwordSet
    }
}

extension Store {
    /// Submits and waits: for the control plane, never on a stanza's path.
    package func commit(_ writes: [Write]) async throws(StoreError) {
        let outcome = await withCheckedContinuation { continuation in
            submit(writes) { continuation.resume(returning: $0) }
        }
        try outcome.get()
    }
}
