package import MartletXMPP
package import NIOCore

/// A room as it is on disk (XEP-0045).
///
/// Its number comes from the same sequence as those of accounts: it owns views of the message log, which are its archive, as they do, and
/// documents. It takes delivery of nothing: a view of a room's keeps an entry of the log only where the archive has it.
package struct StoredRoom: Sendable {
    package var id: AccountID
    package var record: RoomRecord
    /// Milliseconds since 1970.
    package var created: Int64
    /// In the order of their addresses' octets.
    package var affiliations: [StoredAffiliation]
    /// The highest name ever given in this room's view, 0 if none.
    package var lastViewID: UInt64
    /// The last messages of the archive, in order, at most as many as were asked for.
    package var history: [LoggedMessage]

    package init(
        id: AccountID, record: RoomRecord, created: Int64, affiliations: [StoredAffiliation] = [], lastViewID: UInt64 = 0,
        history: [LoggedMessage] = []
    ) {
        self.id = id
        self.record = record
        self.created = created
        self.affiliations = affiliations
        self.lastViewID = lastViewID
        self.history = history
    }
}

/// What is one value for the whole room.
package struct RoomRecord: Hashable, Sendable {
    /// Whether the room stays when its last occupant leaves (XEP-0045 §4.2, "persistent").
    package var isPersistent: Bool
    /// Whether the room is in the service's list (XEP-0045 §4.2, "public").
    package var isPublic: Bool
    /// For lists and searches; may be empty.
    package var name: String
    /// For searches; may be empty.
    package var description: String
    /// The configuration and the subject, in the feature's own form.
    package var content: ByteBuffer

    package init(isPersistent: Bool, isPublic: Bool, name: String = "", description: String = "", content: ByteBuffer = ByteBuffer()) {
        self.isPersistent = isPersistent
        self.isPublic = isPublic
        self.name = name
        self.description = description
        self.content = content
    }
}

/// A line of a room's list of affiliations (XEP-0045 §5.2).
package struct StoredAffiliation: Hashable, Sendable {
    /// A domain, a bare or a full address. A room has one line for each.
    package var address: JID
    /// The feature's own number; 0 is none.
    package var affiliation: UInt8
    /// The reserved nickname (XEP-0045 §7.12).
    package var nickname: String?
    package var reason: String?
    /// That of the list when this line last changed; at most 2⁶³ − 1.
    package var version: UInt64
    /// In the feature's own form.
    package var details: ByteBuffer?

    package init(
        address: JID, affiliation: UInt8, nickname: String? = nil, reason: String? = nil, version: UInt64 = 0, details: ByteBuffer? = nil
    ) {
        self.address = address
        self.affiliation = affiliation
        self.nickname = nickname
        self.reason = reason
        self.version = version
        self.details = details
    }
}

/// One change to a room. What is to become of a room that is gone is dropped: nobody is left to be told.
package enum RoomChange: Sendable {
    /// Refused with ``StoreError/constraint(_:)`` if the address has a room, or no localpart, and if its creator has too many. Of two lines for
    /// one address the later counts.
    case create(BareJID, RoomRecord, [StoredAffiliation], by: RoomCreator? = nil)
    case setRecord(AccountID, RoomRecord)
    /// Inserts a line, or replaces the one that the address has.
    case setAffiliation(AccountID, StoredAffiliation)
    case removeAffiliation(AccountID, JID)
    /// Removes the room with its affiliations, its documents and its archive. The address may be given to a new room, which inherits nothing.
    case delete(AccountID)
}

/// Who creates a room. Rooms without one, such as those that operators make, count for nobody.
package struct RoomCreator: Hashable, Sendable {
    package var account: BareJID
    /// Rooms that the account may have created and that are still there, the new one included.
    package var roomsMax: Int

    package init(_ account: BareJID, roomsMax: Int) {
        self.account = account
        self.roomsMax = roomsMax
    }
}

/// What a search for rooms looks at.
package struct RoomTexts: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let name = RoomTexts(rawValue: 1)
    package static let localpart = RoomTexts(rawValue: 2)
    package static let description = RoomTexts(rawValue: 4)
    package static let all: RoomTexts = [.name, .localpart, .description]
}

/// One page of a service's rooms: filters, where to begin, how many.
package struct RoomListRequest: Hashable, Sendable {
    /// The service's domainpart.
    package var domain: String
    /// `nil` for all.
    package var isPublic: Bool?
    /// `nil` for all.
    package var isPersistent: Bool?
    /// All words of it begin a word of the room's ``texts`` (``SearchWords``). A text without words is found nowhere.
    package var text: String?
    /// Where ``text`` is looked for.
    package var texts = RoomTexts.all
    /// Rooms whose localparts come behind this one's, and before that one's. They need not exist.
    package var after: BareJID?
    package var before: BareJID?
    /// Whether the page is the last one that fits instead of the first. Its rooms are in order all the same.
    package var isBackwards: Bool
    /// Most rooms on the page.
    package var limit: Int

    package init(
        domain: String, isPublic: Bool? = nil, isPersistent: Bool? = nil, text: String? = nil, after: BareJID? = nil, before: BareJID? = nil,
        isBackwards: Bool = false, limit: Int
    ) {
        self.domain = domain
        self.isPublic = isPublic
        self.isPersistent = isPersistent
        self.text = text
        self.after = after
        self.before = before
        self.isBackwards = isBackwards
        self.limit = max(0, limit)
    }
}

/// A room in a list.
package struct RoomSummary: Hashable, Sendable {
    package var id: AccountID
    package var address: BareJID
    package var isPersistent: Bool
    package var isPublic: Bool
    package var name: String
    package var description: String
    /// Milliseconds since 1970.
    package var created: Int64
    /// As in ``RoomRecord/content``.
    package var content: ByteBuffer

    package init(
        id: AccountID, address: BareJID, isPersistent: Bool, isPublic: Bool, name: String, description: String, created: Int64,
        content: ByteBuffer
    ) {
        self.id = id
        self.address = address
        self.isPersistent = isPersistent
        self.isPublic = isPublic
        self.name = name
        self.description = description
        self.created = created
        self.content = content
    }
}

package struct RoomPage: Hashable, Sendable {
    /// In the order of their localparts' octets.
    package var rooms: [RoomSummary]
    /// Whether nothing more would pass in the direction of the request.
    package var isComplete: Bool

    package init(rooms: [RoomSummary], isComplete: Bool) {
        self.rooms = rooms
        self.isComplete = isComplete
    }
}

/// Collects a page from candidates in the order in which they were asked for.
package struct RoomPageBuilder: Sendable {
    private let request: RoomListRequest
    private let words: Set<String>?
    private var rooms: [RoomSummary] = []

    package init(_ request: RoomListRequest) {
        self.request = request
        words = request.text.map(SearchWords.words)
    }

    /// Whether the page is full and known to have a successor.
    package var isDone: Bool { rooms.count > request.limit }

    /// - Parameter room: one of the request's domain, between ``RoomListRequest/after`` and ``RoomListRequest/before``.
    package mutating func look(at room: RoomSummary) {
        if passes(room) { rooms.append(room) }
    }

    /// Whether the request's filters let a room through.
    package func passes(_ room: RoomSummary) -> Bool {
        if let isPublic = request.isPublic, room.isPublic != isPublic { return false }
        if let isPersistent = request.isPersistent, room.isPersistent != isPersistent { return false }
        if let words { return has(room, words) }
        return true
    }

    private func has(_ room: RoomSummary, _ words: Set<String>) -> Bool {
        var text = ""
        // A line feed parts words.
        if request.texts.contains(.name) { text += room.name + "\n" }
        if request.texts.contains(.localpart) { text += (room.address.localpart ?? "") + "\n" }
        if request.texts.contains(.description) { text += room.description }
        return !words.isEmpty && SearchWords.areBegun(words, in: text)
    }

    package func page() -> RoomPage {
        let fitting = Array(rooms.prefix(request.limit))
        return RoomPage(rooms: request.isBackwards ? fitting.reversed() : fitting, isComplete: !isDone)
    }
}
