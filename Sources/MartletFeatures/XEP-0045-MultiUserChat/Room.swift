package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let muc: Namespace = "http://jabber.org/protocol/muc"
    package static let mucUser: Namespace = "http://jabber.org/protocol/muc#user"
    package static let mucAdmin: Namespace = "http://jabber.org/protocol/muc#admin"
    package static let mucOwner: Namespace = "http://jabber.org/protocol/muc#owner"
}

/// One room: stanzas in, effects out. It knows no sockets, no clock and no store; what it decides is carried out by ``RoomHome``.
///
/// The files beside this one have one part of a room's life each: `RoomEntering`, `RoomMessages`, `RoomPrivateMessages`, `RoomInvitations`,
/// `RoomAdministration`, `RoomOwnership`, `RoomRegistration`, `RoomRequests`; how it looks on the wire is in `RoomStanzas`.
package struct Room: Sendable {
    package let address: BareJID
    /// Under which it owns its archive.
    package let id: AccountID
    package internal(set) var configuration: RoomConfiguration
    package internal(set) var affiliations: RoomAffiliations
    package internal(set) var occupants = RoomOccupants()
    package internal(set) var subject: RoomSubject?
    package internal(set) var history: RoomHistory
    /// It was created and its owner has not said yet what it is to be (§10.1): nobody else enters.
    package internal(set) var isLocked: Bool
    /// Of its picture (XEP-0486), as it is stored in several formats.
    package internal(set) var avatarHashes: [String]
    /// Those that somebody may be given (XEP-0317).
    package internal(set) var hats: [Hat]
    /// The highest name given to a message of the room.
    package internal(set) var lastViewID: UInt64
    /// Requests between occupants that wait for an answer.
    var relayed = RelayedRequests()
    var slowMode = SlowMode()
    var letters = RelayedLetters()
    var invitations = RoomInvitations()
    var commands = CommandSessions()
    var silence = RoomSilence()
    package let created: Int64

    /// - Parameter stored: as it is on disk.
    package init(_ address: BareJID, _ stored: StoredRoom, usedNames: UInt64, _ limits: RoomLimits = RoomLimits()) {
        self.address = address
        id = stored.id
        created = stored.created
        let content = RoomContent(stored.record)
        configuration = content.configuration
        subject = content.subject
        isLocked = content.isLocked
        avatarHashes = content.avatarHashes
        hats = content.hats
        affiliations = RoomAffiliations(stored.affiliations, forgottenVersion: content.forgottenVersion)
        lastViewID = max(stored.lastViewID, usedNames)
        history = RoomHistory(stored.history, of: address, limits)
        reviewAllNotices()
    }

    /// Takes over what is on disk, where what is in memory was ahead of it; occupants stay, as what they are now.
    package mutating func restore(_ stored: StoredRoom, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        let content = RoomContent(stored.record)
        (configuration, subject, isLocked) = (content.configuration, content.subject, content.isLocked)
        (avatarHashes, hats) = (content.avatarHashes, content.hats)
        affiliations = RoomAffiliations(stored.affiliations, forgottenVersion: content.forgottenVersion)
        for key in occupants.keys { reconsider(key) }
        reviewAllNotices()
        occupants.regroup { [configuration] in configuration.permits(.seeAddresses, by: $0.standing) }
    }

    private mutating func reconsider(_ key: RoomOccupants.Key) {
        guard let occupant = occupants[key] else { return }
        let affiliation = affiliations.affiliation(of: .full(occupant.shownSession.address))
        guard affiliation != occupant.affiliation else { return }
        occupants.update(key) { $0.affiliation = affiliation }
    }

    // MARK: Who is who

    /// What somebody is to the room.
    package func standing(of address: JID) -> RoomStanding {
        if case .full(let session) = address, let occupant = occupants.occupant(ofSession: session) { return occupant.standing }
        return RoomStanding(affiliations.affiliation(of: address), .none)
    }

    func seesAddresses(_ standing: RoomStanding) -> Bool { configuration.permits(.seeAddresses, by: standing) }

    /// An address of the room.
    func address(of nickname: String) -> FullJID? { try? address.with(resourcepart: nickname) }

    // MARK: What is stored

    package var record: RoomRecord {
        var content = RoomContent(configuration: configuration, subject: subject, isLocked: isLocked)
        (content.avatarHashes, content.hats, content.forgottenVersion) = (avatarHashes, hats, affiliations.forgottenVersion)
        return content.record
    }

    mutating func store(_ effects: inout RoomEffects) { effects.writes.append(.room(.setRecord(id, record))) }

    /// Whether nothing keeps it any more: it goes with its last occupant (§4.2).
    package var isOver: Bool { occupants.isEmpty && (!configuration.isPersistent || isLocked) }
}

/// What a room needs of the world around it to decide.
package struct RoomMoment {
    /// Milliseconds since 1970.
    package var now: Int64
    package var ids: StanzaIDSource
    package var random: any RandomSource
    package var limits: RoomLimits
    package var identities: OccupantIDs
    /// Who is not let in, if nobody in the room has said otherwise.
    package var blockLists: SharedBlockLists?

    package init(now: Int64, ids: StanzaIDSource, random: any RandomSource, limits: RoomLimits, identities: OccupantIDs) {
        self.now = now
        self.ids = ids
        self.random = random
        self.limits = limits
        self.identities = identities
    }
}

/// What comes of a stanza.
package struct RoomEffects {
    package enum Action {
        /// To one session, of an occupant or of somebody who is none.
        case send(EncodedStanza, to: RoomSession)
        /// In order.
        case sendAll([SharedStanza], to: RoomSession)
        case multicast(SharedStanza, to: RoomAudience)
        /// To whoever sent the stanza.
        case answer(EncodedStanza)
        case refuse(StanzaError)
        /// Through the account of the addressee, as any message.
        case deliver(Stanza, MessageType, to: JID)
        /// The same, of type `normal`, where nobody waits for what becomes of it.
        case notify(Stanza, to: BareJID)
        /// A request or an answer, to a session, or to an account of another server.
        case pass(Stanza, IQType, to: JID)
    }
    package var actions: [Action] = []
    /// On disk before anything is done or told.
    package var writes: [Write] = []
    /// Of the room's archive. Telling does not wait for it.
    package var entries: [LogEntry] = []
    /// What was taken back, for the archive.
    package var retractions: [RoomRetraction] = []
    /// What is recorded of it, once it is on disk.
    package var audits: [AuditEvent] = []
    /// The room exists no longer.
    package var isDestroyed = false

    package init() {}

    mutating func multicast(_ stanza: SharedStanza, to audience: RoomAudience) {
        if !audience.isEmpty { actions.append(.multicast(stanza, to: audience)) }
    }
}
