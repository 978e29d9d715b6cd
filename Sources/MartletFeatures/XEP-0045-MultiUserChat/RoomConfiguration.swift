import MartletCore
import MartletXMPP

/// What a room's owners decide about it (§10.2, §16.4): the fields of its form, with what they mean.
package struct RoomConfiguration: Hashable, Sendable {
    /// Whose addresses occupants see (`muc#roomconfig_whois`).
    package enum AddressVisibility: String, Hashable, Sendable, CaseIterable { case moderators, anyone }
    /// Who may send private messages (`muc#roomconfig_allowpm`).
    package enum PrivateMessages: String, Hashable, Sendable, CaseIterable { case anyone, participants, moderators, nobody = "none" }
    /// Of what members learn who are not there.
    package enum MemberNotices: String, Hashable, Sendable, CaseIterable { case nothing = "none", mentions, all }

    package var name = ""
    package var description = ""
    /// As in `xml:lang`; empty if nobody has said so.
    package var language = ""
    /// Whether the room stays when its last occupant leaves (§4.2).
    package var isPersistent = false
    /// Whether others than its members are told of it.
    package var isPublic = true
    package var isMembersOnly = false
    package var isModerated = false
    package var password: String?
    package var whois = AddressVisibility.moderators
    package var occupantsMax = 200
    /// Whether members, and not only administrators, may invite into a room for members.
    package var allowsInvitations = false
    package var allowsSubjectChange = false
    package var privateMessages = PrivateMessages.anyone
    /// The roles of those whose coming and going everybody is told of.
    package var presenceBroadcast: Set<RoomRole> = [.visitor, .participant, .moderator]
    /// The roles of those who may ask for the list of members.
    package var memberListRoles: Set<RoomRole> = [.participant, .moderator]
    package var isArchived = true
    /// For how many days the archive keeps messages; 0: for as long as the server does.
    package var archiveDays = 0
    /// Messages that a new occupant gets at most.
    package var historyLength = 20
    /// Seconds between two messages of one occupant (XEP-0500); 0: none.
    package var slowModeSeconds = 0
    package var memberNotices = MemberNotices.mentions
    package var contacts: [String] = []

    package init() {}

    /// Whether addresses are no secret here (§4.2, "non-anonymous").
    package var showsAddresses: Bool { whois == .anyone }

    /// Whether anybody may enter, and is heard.
    package var isOpenToAll: Bool { !isMembersOnly && !isModerated && secret == nil }

    /// Whether messages are archived, as far as that is the owners' to say.
    func isArchived(within limits: RoomLimits) -> Bool {
        switch limits.archiving {
        case .allowed: isArchived
        case .always: true
        case .never: false
        }
    }

    package var secret: String? { password?.isEmpty == false ? password : nil }
}

/// What the operator decides for every room.
package struct RoomLimits: Hashable, Sendable {
    /// Whether the archive is the owners' affair.
    package enum Archiving: Hashable, Sendable { case allowed, always, never }

    package var archiving = Archiving.allowed
    /// Occupants that an owner may allow, at most.
    package var occupantsMax = 5_000
    /// Affiliations of one room, but for `none`.
    package var affiliationsMax = 100_000
    /// Those who have no affiliation any more and are remembered for those who knew of it (XEP-0463). Beyond, half of them are forgotten.
    package var formerMax = 1_000
    /// Rooms that one account has created by entering them and that are still there, whoever owns them now.
    package var perAccountMax = 100
    /// Sessions of one account under one nickname.
    package var sessionsMax = 16
    /// Messages that are kept in memory for those who come.
    package var historyMax = 50
    /// Bytes of them.
    package var historyBytesMax = 256 * 1024
    package var subjectBytesMax = 4_096
    package var nicknameBytesMax = 255
    /// Of a room's name and of what else is one line.
    package var textBytesMax = 1_024
    package var descriptionBytesMax = 8_192
    /// Of what is said beside a change, such as why somebody was banned.
    package var reasonBytesMax = 2_048
    /// Of a presence: everybody who enters is shown that of everybody.
    package var presenceBytesMax = 8_192
    /// Changes in one request of administrators.
    package var changesMax = 256
    /// Affiliations on one page (XEP-0059).
    package var pageMax = 1_000
    /// Bytes of items on a page.
    package var pageBytesMax = 256 * 1024
    /// Requests of one session to other occupants that wait for an answer.
    package var relayedMax = 64
    /// Stanzas that wait while a room is read.
    package var parkedMax = 1_000
    package var parkedBytesMax = 4 * 1024 * 1024
    package var slowModeSecondsMax = 3_600
    /// Members who are told of one message while they are not in the room. Those who are mentioned come first; of those who want to hear of
    /// every message as many do as are left.
    package var noticesMax = 1_000
    /// Occupants of other servers from whom nothing has come for so long are asked whether they are there; zero: nobody is.
    package var pingAfter = Duration.seconds(900)
    /// Occupants that one room asks at once; the others have their turn a minute later.
    package var pingsMax = 200
    /// For how long nobody else enters a new room whose owner does not say what it is to be.
    package var lockedSecondsMax = 300
    /// Of the room's vCard.
    package var vCardBytesMax = 128 * 1024
    package init() {}
}
