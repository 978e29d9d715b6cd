import MartletCore
import MartletXML
import MartletXMPP

/// What is said about an occupant beside his presence (§15.6.2).
struct RoomNote: Hashable, Sendable {
    /// Status codes, for everybody.
    var statuses: [Int] = []
    /// Who did it, by nickname.
    var actor: String?
    var reason: String?
    /// The new nickname (§7.6).
    var nickname: String?
    /// The room is gone (§10.9).
    var destruction: RoomDestruction?
    /// Versions of the list of affiliations before and after (XEP-0463).
    var versions: AffiliationVersions?

    init(_ statuses: [Int] = [], actor: String? = nil, reason: String? = nil) {
        self.statuses = statuses
        self.actor = actor
        self.reason = reason
    }
}

/// Where to go when a room is gone (§10.9).
struct RoomDestruction: Hashable, Sendable {
    var venue: BareJID?
    var password: String?
    var reason: String?
}

/// Status codes (§15.6.2).
enum RoomStatus {
    static let showsAddresses = 100
    static let configurationChanged = 104
    static let own = 110
    static let archived = 170
    static let notArchived = 171
    static let nonAnonymous = 172
    static let semiAnonymous = 173
    static let created = 201
    /// Not the nickname that was asked for (§7.2.3).
    static let nicknameChanged = 210
    static let banned = 301
    static let newNickname = 303
    static let kicked = 307
    static let noMemberAnyMore = 321
    static let membersOnlyNow = 322
    static let shutdown = 332
    static let unreachable = 333
}

/// How an occupant looks to others.
extension Room {
    /// A presence of an occupant.
    ///
    /// - Parameters:
    ///   - base: what he said himself; `nil` is the server's own.
    ///   - isOpen: whether his address is in it.
    func presence(
        of occupant: RoomOccupant, _ type: PresenceType, base: Stanza?, _ note: RoomNote = RoomNote(), isOpen: Bool
    ) -> Stanza {
        var stanza = base ?? .bare(presence: type, from: .full(occupant.address))
        stanza.from = .full(occupant.address)
        stanza.to = nil
        stanza.omitChildren("x", .muc)
        stanza.omitChildren("x", .mucUser)
        stanza.omitChildren("occupant-id", .occupantIDs)
        stanza.omitChildren("hats", .hats)
        stanza.add { writer in
            writer.element("x", .mucUser) { writer in
                writer.item(
                    affiliation: occupant.affiliation, role: type == .unavailable && note.nickname == nil ? .none : occupant.role,
                    address: isOpen ? .full(occupant.shownSession.address) : nil, note)
                if let destruction = note.destruction { writer.destruction(destruction) }
                for status in note.statuses { writer.status(status) }
                if let versions = note.versions { writer.versions(versions) }
            }
            OccupantIDs.write(occupant.id, to: &writer)
            writer.hats(hats(of: occupant.account))
        }
        return stanza
    }

    /// The same as others get it, made once.
    mutating func shared(_ key: RoomOccupants.Key, isOpen: Bool) -> SharedStanza? {
        if let known = occupants.encodedPresence(of: key, isOpen: isOpen) { return known }
        guard let occupant = occupants[key] else { return nil }
        let made = SharedStanza(presence(of: occupant, .available, base: occupant.presence, isOpen: isOpen))
        occupants.keep(made, of: key, isOpen: isOpen)
        return made
    }

    /// Tells everybody of an occupant, himself too, as ``RoomConfiguration/presenceBroadcast`` has it.
    ///
    /// - Parameters:
    ///   - isAnnounced: whether others are told.
    ///   - session: which of his sessions knows already.
    func tell(
        of occupant: RoomOccupant, _ type: PresenceType, base: Stanza?, _ note: RoomNote = RoomNote(), isAnnounced: Bool,
        except session: RoomSession? = nil, _ effects: inout RoomEffects
    ) {
        if isAnnounced {
            for (audience, isOpen) in [(occupants.open, true), (occupants.hidden, false)] {
                let others = audience.without(occupant.sessions)
                if others.isEmpty { continue }
                effects.multicast(SharedStanza(presence(of: occupant, type, base: base, note, isOpen: isOpen)), to: others)
            }
        }
        for own in occupant.sessions where own.address != session?.address { tellOwn(own, of: occupant, type, base: base, note, [], &effects) }
    }

    /// What a session is told of its own occupant (§7.2.2).
    func tellOwn(
        _ session: RoomSession, of occupant: RoomOccupant, _ type: PresenceType, base: Stanza?, _ note: RoomNote = RoomNote(),
        _ statuses: [Int] = [], _ effects: inout RoomEffects
    ) {
        var own = note
        own.statuses = (note.statuses + statuses + [RoomStatus.own]).sorted()
        let stanza = presence(of: occupant, type, base: base, own, isOpen: seesAddresses(occupant.standing))
        effects.actions.append(.send(stanza.encoded(to: .full(session.address)), to: session))
    }

    /// A message of the room's own to everybody, such as that its configuration has changed (§10.2.1).
    func tellStatuses(_ statuses: [Int], _ effects: inout RoomEffects) {
        guard !statuses.isEmpty else { return }
        let message = StanzaBuilder.message(.groupchat, from: .bare(address), to: nil) { writer in
            writer.element("x", .mucUser) { writer in
                for status in statuses { writer.status(status) }
            }
        }
        tellAll(SharedStanza(message, kind: .message(.groupchat), from: .bare(address)), &effects)
    }

    func tellAll(_ stanza: SharedStanza, _ effects: inout RoomEffects) {
        effects.multicast(stanza, to: occupants.hidden)
        effects.multicast(stanza, to: occupants.open)
    }
}

extension RoomAudience {
    func without(_ sessions: [RoomSession]) -> RoomAudience {
        var others = self
        for session in sessions { others.remove(session) }
        return others
    }
}

extension Stanza {
    /// A presence without content.
    static func bare(presence type: PresenceType, from: JID) -> Stanza {
        guard let stanza = Stanza(sent: StanzaBuilder.presence(type, from: from, to: nil)) else {
            preconditionFailure("the writer writes what the parser reads")
        }
        return stanza
    }
}

extension XMLWriter {
    mutating func status(_ code: Int) { element("status", .mucUser, ["code": String(code)]) }

    mutating func item(affiliation: RoomAffiliation, role: RoomRole, address: JID?, _ note: RoomNote = RoomNote()) {
        open("item", .mucUser)
        attribute("affiliation", affiliation.name)
        attribute("role", role.name)
        if let address { attribute("jid", address) }
        attribute("nick", note.nickname)
        if let actor = note.actor { element("actor", .mucUser, ["nick": actor]) }
        if let reason = note.reason { element("reason", .mucUser, text: reason) }
        close()
    }

    mutating func destruction(_ destruction: RoomDestruction) {
        element("destroy", .mucUser, ["jid": destruction.venue?.description]) { writer in
            if let password = destruction.password { writer.element("password", .mucUser, text: password) }
            if let reason = destruction.reason { writer.element("reason", .mucUser, text: reason) }
        }
    }
}
