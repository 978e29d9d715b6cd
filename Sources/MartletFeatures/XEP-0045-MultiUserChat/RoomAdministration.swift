import MartletCore
import MartletXML
import MartletXMPP

/// Roles and affiliations: who has them, and who gets them (§8, §9, §10.3 to §10.8).
extension Room {
    // MARK: Lists

    /// Answers `<query xmlns='http://jabber.org/protocol/muc#admin'/>` of type `get`. Long lists come by pages (XEP-0059).
    func list(_ query: ElementView, for actor: RoomStanding, _ limits: RoomLimits) throws(StanzaError) -> IQReply {
        guard let item = query.firstChild("item", .mucAdmin) else { throw .badRequest("a list is of a role or an affiliation") }
        if let name = item.attribute("affiliation") {
            guard let affiliation = RoomAffiliation(named: name), affiliation != .none else { throw .badRequest("no such list") }
            if let refusal = configuration.refusal(of: .listAffiliation(affiliation), by: actor) { throw refusal }
            return list(affiliation, try ResultSetRequest(in: query), limits)
        }
        guard let role = item.attribute("role").flatMap(RoomRole.init(named:)), role != .none else { throw .badRequest("no such list") }
        if let refusal = configuration.refusal(of: .listRole(role), by: actor) { throw refusal }
        return list(role, seesAddresses(actor))
    }

    private func list(_ affiliation: RoomAffiliation, _ request: ResultSetRequest, _ limits: RoomLimits) -> IQReply {
        var page = affiliations.page(of: affiliation, request.page, limit: request.limit(usual: limits.pageMax, most: limits.pageMax))
        shorten(&page, fromItsEnd: request.page.countsForwards, limits.pageBytesMax)
        let isWhole = request == ResultSetRequest() && page.addresses.count == page.count
        return IQReply { writer in
            writer.element("query", .mucAdmin) { writer in
                for address in page.addresses { write(address, affiliations[address], to: &writer) }
                if isWhole { return }
                ResultSetPage(
                    first: page.addresses.first?.description, last: page.addresses.last?.description, index: page.first, count: page.count
                ).write(to: &writer)
            }
        }
    }

    /// A page is of as many items as fit, and of one at least.
    private func shorten(_ page: inout RoomAffiliationPage, fromItsEnd isFromEnd: Bool, _ bytesMax: Int) {
        var bytes = 0
        let kept = (isFromEnd ? page.addresses : page.addresses.reversed()).prefix { address in
            bytes += 128 + address.withUTF8 { $0.count } + (affiliations[address]?.reason?.utf8.count ?? 0)
            return bytes <= bytesMax
        }
        let count = max(kept.count, min(1, page.addresses.count))
        if isFromEnd { page.addresses.removeLast(page.addresses.count - count) }
        else {
            page.first += page.addresses.count - count
            page.addresses.removeFirst(page.addresses.count - count)
        }
    }

    private func write(_ address: JID, _ entry: RoomAffiliations.Entry?, to writer: inout XMLWriter) {
        guard let entry else { return }
        let present = occupants.keys(ofAccount: address.bare).first.flatMap { occupants[$0] }
        writer.element(
            "item", .mucAdmin,
            [
                "affiliation": entry.affiliation.name, "jid": address.description, "nick": present?.nickname ?? entry.nickname,
                "role": entry.affiliation == .member ? present?.role.name : nil,
            ]
        ) { writer in
            if let reason = entry.reason { writer.element("reason", .mucAdmin, text: reason) }
        }
    }

    private func list(_ role: RoomRole, _ seesAddresses: Bool) -> IQReply {
        IQReply { writer in
            writer.element("query", .mucAdmin) { writer in
                for occupant in occupants.all where occupant.role == role {
                    writer.element(
                        "item", .mucAdmin,
                        [
                            "affiliation": occupant.affiliation.name, "role": role.name, "nick": occupant.nickname,
                            "jid": seesAddresses ? occupant.shownSession.address.description : nil,
                        ])
                }
            }
        }
    }

    // MARK: Changes

    /// Carries out a `set`: all items or none (§9.5).
    mutating func change(
        _ query: ElementView, by address: JID, _ actor: RoomStanding, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) throws(StanzaError) {
        let items = query.children.filter { $0.isNamed("item", .mucAdmin) }
        guard !items.isEmpty else { throw .badRequest("nothing to change") }
        guard items.count <= moment.limits.changesMax else { throw .policyViolation("at most \(moment.limits.changesMax) changes at a time") }
        var changes: [RoomStandingChange] = []
        for item in items { changes.append(try change(item, by: address, actor, moment)) }
        try checkOwnersRemain(after: changes)
        try checkAffiliationsFit(changes, moment.limits)
        for change in changes {
            if case .affiliation(let guest, .member, _, let reason) = change { invite(guest, by: address.bare, reason, &effects) }
        }
        carryOut(changes, by: address, moment, &effects)
    }

    /// Whoever is made a member of a room for members, and is not there, is asked in (§9.3).
    private func invite(_ guest: JID, by host: BareJID, _ reason: String?, _ effects: inout RoomEffects) {
        guard configuration.isMembersOnly, !guest.bare.isDomain, affiliations.affiliation(of: guest) < .member,
            occupants.keys(ofAccount: guest.bare).isEmpty
        else { return }
        effects.actions.append(.deliver(invitation(of: .bare(guest.bare), from: host, reason: reason), .normal, to: .bare(guest.bare)))
    }

    private func occupant(at address: JID) -> RoomOccupant? {
        if case .full(let session) = address { return occupants.occupant(ofSession: session) }
        return occupants.keys(ofAccount: address.bare).first.flatMap { occupants[$0] }
    }

    private func change(_ item: ElementView, by address: JID, _ actor: RoomStanding, _ moment: RoomMoment) throws(StanzaError) -> RoomStandingChange {
        let reason = item.firstChild("reason", .mucAdmin)?.text
        guard reason?.utf8.count ?? 0 <= moment.limits.reasonBytesMax else { throw .notAcceptable("a reason may have \(moment.limits.reasonBytesMax) bytes") }
        if item.hasAttribute("affiliation"), item.hasAttribute("role") { throw .badRequest("a role or an affiliation, one at a time") }
        if let name = item.attribute("affiliation") {
            guard let affiliation = RoomAffiliation(named: name) else { throw .badRequest("no such affiliation") }
            return try affiliationChange(item, to: affiliation, reason, by: address, actor, moment)
        }
        guard let role = item.attribute("role").flatMap(RoomRole.init(named:)) else { throw .badRequest("no such role") }
        guard let key = item.attribute("nick").flatMap({ occupants.key(ofNickname: $0) }), let target = occupants[key] else { throw .itemNotFound() }
        if let refusal = configuration.refusal(of: .setRole(target.standing, to: role), by: actor) { throw refusal }
        return .role(key, role, reason)
    }

    private func affiliationChange(
        _ item: ElementView, to affiliation: RoomAffiliation, _ reason: String?, by actorsAddress: JID, _ actor: RoomStanding, _ moment: RoomMoment
    ) throws(StanzaError) -> RoomStandingChange {
        let target: JID
        if let text = item.attribute("jid") {
            guard let address = try? JID(text) else { throw .jidMalformed }
            // Only bans are for single sessions and domains (§9.1).
            target = affiliation == .outcast || affiliations[address] != nil ? address : .bare(address.bare)
        } else if let occupant = item.attribute("nick").flatMap({ occupants.occupant(ofNickname: $0) }) {
            target = .bare(occupant.account)
        } else {
            throw .itemNotFound()
        }
        let old = affiliations.affiliation(of: target)
        // §9.1: nobody bans himself.
        if affiliation == .outcast, target == actorsAddress || target == .bare(actorsAddress.bare) { throw StanzaError(.conflict) }
        if let refusal = configuration.refusal(of: .setAffiliation(old, to: affiliation), by: actor) { throw refusal }
        // §9.1: a domain is banned, or is not; a whole server is nobody's member.
        guard !target.bare.isDomain || affiliation == .outcast || affiliation == .none else { throw .notAllowed }
        let nickname = affiliation >= .member ? item.attribute("nick") : nil
        if let nickname { try checkReservation(of: nickname, for: target.bare, moment) }
        return .affiliation(target, affiliation, nickname: nickname, reason)
    }

    /// A nickname is reserved as it can be used, and not for one while another has it.
    func checkReservation(of nickname: String, for account: BareJID, _ moment: RoomMoment) throws(StanzaError) {
        guard let full = address(of: nickname), full.resourcepart == nickname else { throw .notAcceptable("this cannot be a nickname") }
        try checkNickname(nickname, for: account, moment)
    }

    /// A room has so many affiliations and no more; those that there are may change, and end, however many they are.
    func checkAffiliationsFit(_ changes: [RoomStandingChange], _ limits: RoomLimits) throws(StanzaError) {
        let new = changes.count { change in
            guard case .affiliation(let address, let affiliation, _, _) = change, affiliation != .none else { return false }
            return (affiliations[address]?.affiliation ?? RoomAffiliation.none) == RoomAffiliation.none
        }
        guard new == 0 || affiliations.count + new <= limits.affiliationsMax else { throw .resourceConstraint("too many affiliations") }
    }

    /// The same for one account that becomes a member, or stays what it is.
    func checkMemberFits(_ account: BareJID, _ limits: RoomLimits) throws(StanzaError) {
        try checkAffiliationsFit([.affiliation(.bare(account), .member, nickname: nil, nil)], limits)
    }

    /// §10.4: a room has an owner.
    func checkOwnersRemain(after changes: [RoomStandingChange]) throws(StanzaError) {
        var owners = Set(affiliations.count(of: .owner) > changes.count ? [] : affiliations.all(.owner))
        guard !owners.isEmpty else { return }
        for case .affiliation(let address, let affiliation, _, _) in changes {
            if affiliation == .owner { owners.insert(address) } else { owners.remove(address) }
        }
        if owners.isEmpty { throw StanzaError(.conflict, text: "a room needs an owner") }
    }

    /// - Parameter changes: checked.
    mutating func carryOut(_ changes: [RoomStandingChange], by address: JID, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        let name = occupant(at: address)?.nickname
        for change in changes { carryOut(change, by: name, moment, &effects) }
    }

    private mutating func carryOut(_ change: RoomStandingChange, by name: String?, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        switch change {
        case .role(let key, let role, let reason): setRole(role, of: key, RoomNote(actor: name, reason: reason), &effects)
        case .affiliation(let address, let affiliation, let nickname, let reason):
            self.change(address, to: affiliation, reason, nickname: nickname, by: name, moment, &effects)
        }
    }

    mutating func setRole(_ role: RoomRole, of key: RoomOccupants.Key, _ note: RoomNote, _ effects: inout RoomEffects) {
        guard let occupant = occupants[key], occupant.role != role else { return }
        guard role != .none else {
            var note = note
            note.statuses.append(RoomStatus.kicked)
            return expel(key, note, &effects)
        }
        setStanding(RoomStanding(occupant.affiliation, role), of: key, note, &effects)
    }

    /// An occupant is somebody else to the room now, and everybody is told (§8.3, §9.3, §9.6).
    private mutating func setStanding(_ standing: RoomStanding, of key: RoomOccupants.Key, _ note: RoomNote, _ effects: inout RoomEffects) {
        guard let before = occupants[key], before.standing != standing else { return }
        let sawAddresses = seesAddresses(before.standing)
        occupants.setStanding(standing, of: key, seesAddresses: seesAddresses(standing))
        occupants.update(key) { $0.isAnnounced = configuration.presenceBroadcast.contains(standing.role) }
        guard let occupant = occupants[key] else { return }
        // Who is to be seen no more leaves, to the others.
        if before.isAnnounced, !occupant.isAnnounced {
            for (audience, isOpen) in [(occupants.open, true), (occupants.hidden, false)] {
                let gone = presence(of: occupant, .unavailable, base: nil, note, isOpen: isOpen)
                effects.multicast(SharedStanza(gone), to: audience.without(occupant.sessions))
            }
        }
        tell(of: occupant, .available, base: occupant.presence, note, isAnnounced: occupant.isAnnounced, &effects)
        // What was hidden from a moderator of today he sees now (§9.6).
        if !sawAddresses, seesAddresses(standing) { tellAddresses(to: occupant, key, &effects) }
    }

    private mutating func tellAddresses(to occupant: RoomOccupant, _ key: RoomOccupants.Key, _ effects: inout RoomEffects) {
        var presences: [SharedStanza] = []
        for other in occupants.keys where other != key && occupants[other]?.isAnnounced == true {
            if let presence = shared(other, isOpen: true) { presences.append(presence) }
        }
        guard !presences.isEmpty else { return }
        for session in occupant.sessions { effects.actions.append(.sendAll(presences, to: session)) }
    }

    /// Sets an affiliation, whoever wants it; everybody whom it concerns is told.
    ///
    /// - Parameters:
    ///   - name: who wants it, by nickname.
    ///   - keepsRole: whether who is here says no more than before.
    mutating func change(
        _ address: JID, to affiliation: RoomAffiliation, _ reason: String?, nickname: String? = nil, by name: String?, keepsRole: Bool = false,
        _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        let since = affiliations.version
        let reserved = nickname.flatMap { free(nickname: $0, for: address.bare) }
        let stored = affiliations.set(address) { entry in
            entry.affiliation = affiliation
            entry.reason = reason
            if affiliation == .outcast { entry.details = RoomMemberDetails() }
            if affiliation == .outcast || affiliation == .none { entry.nickname = nil } else if let reserved { entry.nickname = reserved }
        }
        effects.writes.append(.room(.setAffiliation(id, stored)))
        if affiliations.formerCount > moment.limits.formerMax { forgetFormer(keeping: moment.limits.formerMax / 2, &effects) }
        reviewNotices(for: address.bare)
        var note = RoomNote(actor: name, reason: reason)
        note.versions = AffiliationVersions(since: since, until: affiliations.version)
        let present = occupants.keys.filter { key in occupants[key].map { concerns(address, $0) } ?? false }
        if present.isEmpty { tellOfAbsent(address, affiliation, note, &effects) }
        for key in present { apply(affiliation, to: key, note, keepsRole: keepsRole, &effects) }
    }

    private mutating func forgetFormer(keeping count: Int, _ effects: inout RoomEffects) {
        for address in affiliations.forgetFormer(keeping: count) {
            effects.writes.append(.room(.removeAffiliation(id, address)))
            reviewNotices(for: address.bare)
        }
        store(&effects)
    }

    private func free(nickname: String, for account: BareJID) -> String? {
        let holder = affiliations.owner(ofNickname: nickname)
        return holder == nil || holder == account ? nickname : nil
    }

    /// Whether an affiliation of `address` is that of an occupant.
    private func concerns(_ address: JID, _ occupant: RoomOccupant) -> Bool {
        if case .bare(let account) = address, !account.isDomain { return occupant.account == account }
        return occupant.sessions.contains { address.bans(.full($0.address)) }
    }

    private mutating func apply(
        _ affiliation: RoomAffiliation, to key: RoomOccupants.Key, _ note: RoomNote, keepsRole: Bool, _ effects: inout RoomEffects
    ) {
        var note = note
        if affiliation == .outcast {
            note.statuses.append(RoomStatus.banned)
            if expelSessions(of: key, note, &effects) { return }
        }
        guard let occupant = occupants[key] else { return }
        let actual = affiliations.affiliation(of: .full(occupant.shownSession.address))
        occupants.update(key) { $0.affiliation = actual }
        if actual == .outcast { return expel(key, note, &effects) }
        if configuration.isMembersOnly, actual < .member {
            note.statuses.append(RoomStatus.noMemberAnyMore)
            return expel(key, note, &effects)
        }
        occupants.update(key) { $0.affiliation = occupant.affiliation }
        setStanding(RoomStanding(actual, keepsRole ? occupant.role : role(of: occupant, as: actual)), of: key, note, &effects)
    }

    /// A ban of some of an occupant's sessions is none of the others (§9.1).
    ///
    /// - Returns: whether sessions are left.
    private mutating func expelSessions(of key: RoomOccupants.Key, _ note: RoomNote, _ effects: inout RoomEffects) -> Bool {
        guard let occupant = occupants[key] else { return true }
        let banned = occupant.sessions.filter { affiliations.affiliation(of: .full($0.address)) == .outcast }
        guard banned.count < occupant.sessions.count else { return false }
        for session in banned { part(key, session, base: nil, note, as: .outcast, &effects) }
        return true
    }

    /// Administrators are moderators; who is none any more is what he would enter as (§9.7), but nobody loses voice by becoming less of a
    /// member.
    private func role(of occupant: RoomOccupant, as affiliation: RoomAffiliation) -> RoomRole {
        let usual = configuration.role(of: affiliation)
        if affiliation >= .admin || occupant.affiliation >= .admin { return usual }
        return max(usual, occupant.role)
    }

    /// An affiliation of somebody who is not here, told to those who may see addresses (§9.3, XEP-0463 §3.4).
    private func tellOfAbsent(_ address: JID, _ affiliation: RoomAffiliation, _ note: RoomNote, _ effects: inout RoomEffects) {
        let message = StanzaBuilder.message(.normal, from: .bare(self.address), to: nil) { writer in
            writer.element("x", .mucUser) { writer in
                writer.item(affiliation: affiliation, role: .none, address: address, note)
                if let versions = note.versions { writer.versions(versions) }
            }
        }
        effects.multicast(SharedStanza(message, kind: .message(.normal), from: .bare(self.address)), to: occupants.open)
    }
}

/// One item of a request, checked.
enum RoomStandingChange {
    case role(RoomOccupants.Key, RoomRole, String?)
    case affiliation(JID, RoomAffiliation, nickname: String?, String?)
}

extension JID {
    /// Whether a ban of this address is one of the other (§9.1).
    fileprivate func bans(_ other: JID) -> Bool {
        switch self {
        case .bare(let bare) where bare.isDomain: bare == other.bare.domain
        case .bare(let bare): bare == other.bare
        case .full(let full) where full.bare.isDomain: full.bare == other.bare.domain && full.resourcepart == other.resourcepart
        case .full: self == other
        }
    }
}
