import MartletCore
import MartletXML
package import MartletXMPP

/// Coming, going, and what occupants say of themselves (§7.2, §7.6, §7.7, §7.14).
extension Room {
    /// - Parameter nickname: the resource that the presence is for.
    package mutating func presence(
        _ stanza: Stanza, _ type: PresenceType, to nickname: String?, from session: RoomSession, _ moment: RoomMoment,
        _ effects: inout RoomEffects
    ) {
        let key = occupants.key(ofSession: session.address)
        if let key, let ref = session.ref { occupants.setRef(ref, of: session.address, key) }
        // What an account says for its session comes without one.
        let session = key.flatMap { occupants[$0]?.session(at: session.address) } ?? session
        switch type {
        case .available where stanza.element.byteCount > moment.limits.presenceBytesMax:
            effects.actions.append(.refuse(.notAcceptable("a presence in a room may have \(moment.limits.presenceBytesMax) bytes")))
        case .available:
            // §7.2.1: nobody is in a room without a nickname.
            guard let nickname else { return effects.actions.append(.refuse(StanzaError(.jidMalformed, .modify, text: "a nickname is needed"))) }
            if let key { return update(key, stanza, nickname, session, moment, &effects) }
            guard let request = stanza.element.root.firstChild("x", .muc) else { return tellOutside(stanza, nickname, session, &effects) }
            enter(stanza, RoomEntry(request), nickname, session, moment, &effects)
        case .unavailable:
            // A farewell that is too long is said shorter.
            let base = stanza.element.byteCount > moment.limits.presenceBytesMax ? nil : stanza
            if let key { leave(key, session, base: base, RoomNote(), &effects) }
        // Whoever answers with an error does not get what the room sends (§7.2.2).
        case .error: if let key { lose(key, session, &effects) }
        case .subscribe, .subscribed, .unsubscribe, .unsubscribed, .probe: break
        }
    }

    // MARK: Entering

    private mutating func enter(
        _ stanza: Stanza, _ entry: RoomEntry, _ nickname: String, _ session: RoomSession, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        let affiliation = affiliations.affiliation(of: .full(session.address))
        if affiliation != .owner, isLocked, moment.now - created >= Int64(moment.limits.lockedSecondsMax) * 1_000 {
            // There are clients that never say what the room is to be: then it is as any new one (§10.1.1).
            apply(configuration, moment, &effects)
        }
        do throws(StanzaError) {
            try admit(session, affiliation, nickname, entry, moment)
            guard let address = address(of: nickname) else { throw .jidMalformed }
            let standing = RoomStanding(affiliation, configuration.role(of: affiliation))
            if let key = occupants.key(ofNickname: nickname) {
                join(key, as: address.resourcepart, stanza, session, entry, moment, &effects)
            } else {
                let occupant = RoomOccupant(
                    nickname: nickname, address: address, id: moment.identities.id(of: session.address.bare, in: self.address), standing, session,
                    stanza)
                admit(occupant, entry, moment, &effects)
            }
        } catch {
            effects.actions.append(.refuse(error))
        }
    }

    /// Whether somebody may enter (§7.2.4 to §7.2.11).
    private func admit(
        _ session: RoomSession, _ affiliation: RoomAffiliation, _ nickname: String, _ entry: RoomEntry, _ moment: RoomMoment
    ) throws(StanzaError) {
        if isLocked, affiliation != .owner { throw .itemNotFound("the room is not ready yet") }
        if let refusal = configuration.refusal(of: .enter, by: RoomStanding(affiliation, .none)) { throw refusal }
        if affiliation == .none, let lists = moment.blockLists, lists.contains(session.address.bare) {
            lists.countRefusal()
            throw .forbidden("you are on a block list that this server goes by")
        }
        if let secret = configuration.secret, entry.password != secret { throw StanzaError(.notAuthorized, text: "the password is wrong") }
        try checkNickname(nickname, for: session.address.bare, moment)
        if let key = occupants.key(ofNickname: nickname) {
            guard let count = occupants[key]?.sessions.count, count < moment.limits.sessionsMax else {
                throw .resourceConstraint("too many sessions under one nickname")
            }
        } else if occupants.count >= configuration.occupantsMax, affiliation < .admin {
            throw StanzaError(.serviceUnavailable, .wait, text: "the room is full")
        }
    }

    /// A nickname that somebody else uses or has reserved is taken (§7.2.8).
    func checkNickname(_ nickname: String, for account: BareJID, _ moment: RoomMoment) throws(StanzaError) {
        guard nickname.utf8.count <= moment.limits.nicknameBytesMax, !RoomNickname.folded(nickname).isEmpty else {
            throw .notAcceptable("a nickname may have \(moment.limits.nicknameBytesMax) bytes")
        }
        let holder = occupants.occupant(ofNickname: nickname)?.account ?? affiliations.owner(ofNickname: nickname)
        if let holder, holder != account { throw StanzaError(.conflict, text: "the nickname is taken") }
        if let reserved = affiliations.owner(ofNickname: nickname), reserved != account { throw StanzaError(.conflict, text: "the nickname is reserved") }
    }

    /// Somebody new (§7.2.2, §7.2.3).
    private mutating func admit(_ occupant: RoomOccupant, _ entry: RoomEntry, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        var occupant = occupant
        occupant.isAnnounced = configuration.presenceBroadcast.contains(occupant.role)
        guard let session = occupant.sessions.first else { return }
        tellAffiliations(entry, to: session, occupant.standing, &effects)
        introduceOthers(to: session, occupant.standing, except: nil, &effects)
        _ = occupants.add(occupant, seesAddresses: seesAddresses(occupant.standing))
        if occupant.isAnnounced {
            for (audience, isOpen) in [(occupants.open, true), (occupants.hidden, false)] {
                let others = audience.without(occupant.sessions)
                if !others.isEmpty {
                    effects.multicast(SharedStanza(presence(of: occupant, .available, base: occupant.presence, isOpen: isOpen)), to: others)
                }
            }
        }
        welcome(session, occupant, entry, moment, &effects)
    }

    /// A further session of somebody who is there (§7.2.9).
    private mutating func join(
        _ key: RoomOccupants.Key, as nickname: String, _ stanza: Stanza, _ session: RoomSession, _ entry: RoomEntry, _ moment: RoomMoment,
        _ effects: inout RoomEffects
    ) {
        guard let before = occupants[key] else { return }
        tellAffiliations(entry, to: session, before.standing, &effects)
        introduceOthers(to: session, before.standing, except: key, &effects)
        occupants.add(session, stanza, to: key, seesAddresses: seesAddresses(before.standing))
        guard let occupant = occupants[key] else { return }
        tell(of: occupant, .available, base: stanza, isAnnounced: occupant.isAnnounced, except: session, &effects)
        welcome(session, occupant, entry, moment, adding: nickname == occupant.nickname ? [] : [RoomStatus.nicknameChanged], &effects)
    }

    /// Its own presence comes after everybody else's, then what was said, then what the room is about (§7.2.2).
    private mutating func welcome(
        _ session: RoomSession, _ occupant: RoomOccupant, _ entry: RoomEntry, _ moment: RoomMoment, adding statuses: [Int] = [],
        _ effects: inout RoomEffects
    ) {
        var note = RoomNote()
        note.versions = AffiliationVersions(since: nil, until: affiliations.version)
        tellOwn(session, of: occupant, .available, base: occupant.presence, note, entranceStatuses(moment.limits) + statuses, &effects)
        tellAvatar(to: session, &effects)
        let old = history.selection(entry.history, countMax: min(configuration.historyLength, moment.limits.historyMax), of: address, now: moment.now)
        if !old.isEmpty { effects.actions.append(.sendAll(old, to: session)) }
        effects.actions.append(.sendAll([subjectMessage], to: session))
    }

    private func entranceStatuses(_ limits: RoomLimits) -> [Int] {
        var statuses: [Int] = []
        if configuration.showsAddresses { statuses.append(RoomStatus.showsAddresses) }
        if configuration.isArchived(within: limits) { statuses.append(RoomStatus.archived) }
        if isLocked { statuses.append(RoomStatus.created) }
        return statuses
    }

    private mutating func introduceOthers(
        to session: RoomSession, _ standing: RoomStanding, except own: RoomOccupants.Key?, _ effects: inout RoomEffects
    ) {
        let isOpen = seesAddresses(standing)
        var presences: [SharedStanza] = []
        presences.reserveCapacity(occupants.count)
        for key in occupants.keys where key != own && occupants[key]?.isAnnounced == true {
            if let presence = shared(key, isOpen: isOpen) { presences.append(presence) }
        }
        if !presences.isEmpty { effects.actions.append(.sendAll(presences, to: session)) }
    }

    /// Somebody who is not here says how he is: he believes that he is in the room, and is told that he is not.
    private func tellOutside(_ stanza: Stanza, _ nickname: String, _ session: RoomSession, _ effects: inout RoomEffects) {
        guard let address = address(of: nickname) else { return effects.actions.append(.refuse(.jidMalformed)) }
        let answer = StanzaBuilder.presence(.unavailable, from: .full(address), to: .full(session.address), id: stanza.id) { writer in
            writer.element("x", .mucUser) { writer in
                writer.item(affiliation: affiliations.affiliation(of: .full(session.address)), role: .none, address: nil)
                for status in [RoomStatus.own, RoomStatus.kicked, RoomStatus.unreachable] { writer.status(status) }
            }
        }
        effects.actions.append(.send(answer, to: session))
    }

    // MARK: Being there

    private mutating func update(
        _ key: RoomOccupants.Key, _ stanza: Stanza, _ nickname: String, _ session: RoomSession, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        guard let occupant = occupants[key] else { return }
        if nickname != occupant.nickname { return rename(key, to: nickname, stanza, session, moment, &effects) }
        occupants.setPresence(stanza, of: session.address, key)
        guard let occupant = occupants[key] else { return }
        guard let request = stanza.element.root.firstChild("x", .muc).map(RoomEntry.init) else {
            return tell(of: occupant, .available, base: stanza, isAnnounced: occupant.isAnnounced, &effects)
        }
        // It has lost track and begins anew: nobody else notices more than a presence.
        tell(of: occupant, .available, base: stanza, isAnnounced: occupant.isAnnounced, except: session, &effects)
        tellAffiliations(request, to: session, occupant.standing, &effects)
        introduceOthers(to: session, occupant.standing, except: key, &effects)
        welcome(session, occupant, request, moment, &effects)
    }

    /// §7.6.
    private mutating func rename(
        _ key: RoomOccupants.Key, to nickname: String, _ stanza: Stanza, _ session: RoomSession, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        guard let before = occupants[key] else { return }
        do throws(StanzaError) {
            if let other = occupants.key(ofNickname: nickname), other != key { throw StanzaError(.conflict, text: "the nickname is taken") }
            try checkNickname(nickname, for: before.account, moment)
            guard let address = address(of: nickname) else { throw .jidMalformed }
            var note = RoomNote([RoomStatus.newNickname])
            note.nickname = nickname
            tell(of: before, .unavailable, base: nil, note, isAnnounced: before.isAnnounced, &effects)
            occupants.rename(key, to: nickname, address)
            occupants.setPresence(stanza, of: session.address, key)
            guard let occupant = occupants[key] else { return }
            tell(of: occupant, .available, base: stanza, isAnnounced: occupant.isAnnounced, &effects)
        } catch {
            effects.actions.append(.refuse(error))
        }
    }

    // MARK: Leaving

    /// §7.14. The nickname stays as long as another session has it.
    mutating func leave(_ key: RoomOccupants.Key, _ session: RoomSession, base: Stanza?, _ note: RoomNote, _ effects: inout RoomEffects) {
        guard let occupant = occupants[key] else { return }
        guard occupant.sessions.count > 1 else {
            endRequests(to: session.address, &effects)
            tell(of: occupant, .unavailable, base: base, note, isAnnounced: occupant.isAnnounced, &effects)
            return forget(key, occupant)
        }
        part(key, session, base: base, note, as: occupant.affiliation, &effects)
    }

    /// One of an occupant's sessions leaves, and others stay.
    ///
    /// - Parameter affiliation: what the session is told that it has.
    mutating func part(
        _ key: RoomOccupants.Key, _ session: RoomSession, base: Stanza?, _ note: RoomNote, as affiliation: RoomAffiliation,
        _ effects: inout RoomEffects
    ) {
        guard var parting = occupants[key] else { return }
        endRequests(to: session.address, &effects)
        parting.affiliation = affiliation
        tellOwn(session, of: parting, .unavailable, base: base, note, [], &effects)
        _ = occupants.remove(session.address, of: key)
        guard let remaining = occupants[key] else { return }
        tell(of: remaining, .available, base: remaining.presence, isAnnounced: remaining.isAnnounced, &effects)
    }

    /// It cannot be reached any more.
    mutating func lose(_ key: RoomOccupants.Key, _ session: RoomSession, _ effects: inout RoomEffects) {
        leave(key, session, base: nil, RoomNote([RoomStatus.kicked, RoomStatus.unreachable]), &effects)
    }

    /// Takes an occupant out with all his sessions, whoever wants it (§8.2, §9.1, §9.4, §10.2.1).
    mutating func expel(_ key: RoomOccupants.Key, _ note: RoomNote, _ effects: inout RoomEffects) {
        guard let occupant = occupants[key] else { return }
        for session in occupant.sessions { endRequests(to: session.address, &effects) }
        tell(of: occupant, .unavailable, base: nil, note, isAnnounced: occupant.isAnnounced, &effects)
        forget(key, occupant)
    }

    private mutating func forget(_ key: RoomOccupants.Key, _ occupant: RoomOccupant) {
        occupants.removeAll(of: key)
        letters.forget(occupant.account)
    }

    /// Everybody leaves: the server stops, or the room is gone.
    package mutating func expelAll(_ statuses: [Int], _ effects: inout RoomEffects) { dismissAll(RoomNote(statuses), &effects) }

    mutating func dismissAll(_ note: RoomNote, _ effects: inout RoomEffects) {
        for occupant in occupants.all {
            for session in occupant.sessions { tellOwn(session, of: occupant, .unavailable, base: nil, note, [], &effects) }
        }
        occupants = RoomOccupants()
    }
}

/// What somebody says as he enters (§7.2): `<x xmlns='http://jabber.org/protocol/muc'/>`.
struct RoomEntry: Hashable, Sendable {
    var password: String?
    var history = RoomHistoryWish()
    /// XEP-0463: whether the list of affiliations is wanted, and since which version.
    var wantsAffiliations = false
    var since: String?

    init(_ x: ElementView) {
        password = x.firstChild("password", .muc)?.text
        if let wish = x.firstChild("history", .muc) { history = RoomHistoryWish(wish) }
        if let versions = x.firstChild("mav", .affiliationVersions) {
            wantsAffiliations = true
            since = versions.attribute("since")
        }
    }
}
