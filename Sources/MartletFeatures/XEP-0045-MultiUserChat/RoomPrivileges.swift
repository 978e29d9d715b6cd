package import MartletXMPP

/// A lasting relation to a room (§5.2). The numbers are what is stored.
package enum RoomAffiliation: UInt8, Hashable, Sendable, Comparable, CaseIterable {
    case none = 0, outcast = 1, member = 2, admin = 3, owner = 4

    /// From an outcast up to an owner.
    private var rank: Int {
        switch self {
        case .outcast: 0
        case .none: 1
        case .member: 2
        case .admin: 3
        case .owner: 4
        }
    }
    package static func < (a: Self, b: Self) -> Bool { a.rank < b.rank }

    package var name: String {
        switch self {
        case .none: "none"
        case .outcast: "outcast"
        case .member: "member"
        case .admin: "admin"
        case .owner: "owner"
        }
    }
    package init?(named name: String) {
        guard let affiliation = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = affiliation
    }
}

/// What an occupant may do while he is in the room (§5.1).
package enum RoomRole: UInt8, Hashable, Sendable, Comparable, CaseIterable {
    case none, visitor, participant, moderator
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    package var name: String {
        switch self {
        case .none: "none"
        case .visitor: "visitor"
        case .participant: "participant"
        case .moderator: "moderator"
        }
    }
    package init?(named name: String) {
        guard let role = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = role
    }
}

/// Who somebody is to a room when he asks for something.
package struct RoomStanding: Hashable, Sendable {
    package var affiliation: RoomAffiliation
    /// `none` for one who is not in the room.
    package var role: RoomRole

    package init(_ affiliation: RoomAffiliation, _ role: RoomRole) {
        self.affiliation = affiliation
        self.role = role
    }
}

/// Everything that somebody may want to do to a room, or learn of it.
package enum RoomDeed: Hashable, Sendable {
    /// §7.2.
    case enter
    /// A message to all (§7.4).
    case speak
    /// §8.1.
    case changeSubject
    /// §7.5.
    case sayPrivately
    /// §7.8.2.
    case invite
    /// Kicking is a change to `none` (§8.2), granting voice one to `participant` (§8.3); the target as it is.
    case setRole(RoomStanding, to: RoomRole)
    /// §8.5, §9.8.
    case listRole(RoomRole)
    /// §9, §10; the target as it is.
    case setAffiliation(RoomAffiliation, to: RoomAffiliation)
    /// §9.2, §9.5, §10.5, §10.8.
    case listAffiliation(RoomAffiliation)
    /// §10.2, §10.9.
    case configure, destroy
    /// XEP-0425.
    case moderateMessages
    /// Addresses behind nicknames (§5.2, `muc#roomconfig_whois`).
    case seeAddresses
    /// Who is there, and what the room is like inside.
    case seeOccupants
    /// XEP-0313.
    case readArchive
    /// §7.10.
    case register
    /// XEP-0317.
    case manageHats
    /// What a member is told of who is not there.
    case chooseNotices
}

extension RoomConfiguration {
    /// Whether somebody may do something; if not, the error that says so. The only place where that is decided.
    package func refusal(of deed: RoomDeed, by actor: RoomStanding) -> StanzaError? {
        switch deed {
        case .enter: entering(actor.affiliation)
        case .speak: actor.role >= .participant ? nil : Self.forbidden("visitors of this room do not speak")
        case .changeSubject:
            actor.role >= .moderator || (actor.role == .participant && allowsSubjectChange) ? nil : Self.forbidden("moderators change the subject")
        case .sayPrivately: sayingPrivately(actor.role)
        case .invite:
            actor.role == .none ? Self.outside : !isMembersOnly || allowsInvitations || actor.affiliation >= .admin ? nil : Self.forbidden("administrators invite")
        case .setRole(let target, let role): settingRole(of: target, to: role, by: actor)
        case .listRole: actor.role == .moderator ? nil : Self.forbidden("moderators see roles")
        case .setAffiliation(let old, let new): settingAffiliation(old, to: new, by: actor.affiliation)
        case .listAffiliation(let affiliation): listing(affiliation, actor)
        case .configure, .destroy: actor.affiliation == .owner ? nil : Self.forbidden("owners only")
        case .moderateMessages: actor.role == .moderator ? nil : Self.forbidden("moderators only")
        case .seeAddresses: showsAddresses || actor.role == .moderator ? nil : Self.forbidden("moderators only")
        case .seeOccupants, .readArchive: lookingIn(actor)
        case .manageHats: actor.affiliation >= .admin ? nil : Self.forbidden("administrators only")
        case .chooseNotices: actor.affiliation >= .member ? nil : Self.forbidden("members only")
        case .register: actor.affiliation == .outcast ? Self.forbidden("banned") : nil
        }
    }

    package func permits(_ deed: RoomDeed, by actor: RoomStanding) -> Bool { refusal(of: deed, by: actor) == nil }

    private static func forbidden(_ text: String) -> StanzaError { .forbidden(text) }
    private static let outside = StanzaError.notAcceptable("only occupants")
    private static let notAllowed = StanzaError.notAllowed

    /// §7.2.6, §7.2.7.
    private func entering(_ affiliation: RoomAffiliation) -> StanzaError? {
        if affiliation == .outcast { return .forbidden("banned") }
        return isMembersOnly && affiliation < .member ? StanzaError(.registrationRequired, text: "members only") : nil
    }

    private func sayingPrivately(_ role: RoomRole) -> StanzaError? {
        guard role != .none else { return Self.outside }
        let may =
            switch privateMessages {
            case .anyone: true
            case .participants: role >= .participant
            case .moderators: role == .moderator
            case .nobody: false
            }
        return may ? nil : Self.forbidden("private messages are not for everybody here")
    }

    /// §8.2 to §8.4, §9.6, §9.7.
    private func settingRole(of target: RoomStanding, to role: RoomRole, by actor: RoomStanding) -> StanzaError? {
        guard actor.role == .moderator else { return Self.forbidden("moderators only") }
        if role == target.role { return nil }
        if role == .moderator || target.role == .moderator {
            guard actor.affiliation >= .admin else { return role == .none ? Self.notAllowed : Self.forbidden("administrators make moderators") }
        }
        if role == .none { return target.affiliation > actor.affiliation || (target.affiliation == .admin && actor.affiliation == .admin) ? Self.notAllowed : nil }
        // §8.4: voice is not taken from who is more to the room.
        if role == .visitor, target.affiliation > actor.affiliation { return Self.notAllowed }
        // Administrators and owners are moderators for as long as they are what they are.
        return target.affiliation >= .admin ? Self.notAllowed : nil
    }

    /// §9, §10: owners decide about everybody, administrators about those below them.
    private func settingAffiliation(_ old: RoomAffiliation, to new: RoomAffiliation, by actor: RoomAffiliation) -> StanzaError? {
        if actor == .owner { return nil }
        guard actor == .admin else { return Self.forbidden("administrators only") }
        if old >= .admin { return Self.notAllowed }
        return new >= .admin ? Self.forbidden("owners only") : nil
    }

    /// Lists are of addresses: where those are no secret, others than administrators see them too (§9.5, §10.5, §10.8,
    /// `muc#roomconfig_getmemberlist`).
    private func listing(_ affiliation: RoomAffiliation, _ actor: RoomStanding) -> StanzaError? {
        if actor.affiliation == .owner || (actor.affiliation == .admin && affiliation <= .member) { return nil }
        guard showsAddresses, affiliation >= .member, memberListRoles.contains(actor.role) || (isMembersOnly && actor.affiliation >= .member) else {
            return Self.forbidden("not for everybody here")
        }
        return nil
    }

    /// Members' rooms are closed to everybody else, and nobody looks into a room that he may not enter.
    private func lookingIn(_ actor: RoomStanding) -> StanzaError? {
        if actor.role != .none || actor.affiliation >= .member { return nil }
        if actor.affiliation == .outcast { return .forbidden("banned") }
        return isMembersOnly || password != nil ? .forbidden("only those who are in the room") : nil
    }

    /// With which role somebody enters (§5.1.2).
    package func role(of affiliation: RoomAffiliation) -> RoomRole {
        switch affiliation {
        case .outcast: .none
        case .owner, .admin: .moderator
        case .member: .participant
        case .none: isModerated ? .visitor : .participant
        }
    }
}
