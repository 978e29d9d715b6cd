import MartletCore
import MartletXML
import MartletXMPP

/// What only owners do: configure and destroy (§10.1, §10.2, §10.9).
extension Room {
    /// Answers `<query xmlns='http://jabber.org/protocol/muc#owner'/>` of type `get`.
    func configurationForm(for actor: RoomStanding, _ limits: RoomLimits) throws(StanzaError) -> IQReply {
        if let refusal = configuration.refusal(of: .configure, by: actor) { throw refusal }
        var form = configuration.form(.form, limits: limits)
        form.fields += listFields
        return IQReply { writer in
            writer.element("query", .mucOwner) { form.write(to: &$0) }
        }
    }

    /// Carries out a `set`.
    mutating func decide(
        _ query: ElementView, by address: JID, _ actor: RoomStanding, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) throws(StanzaError) {
        if let element = query.firstChild("destroy", .mucOwner) {
            try destroy(element, by: actor, moment.limits, &effects)
            return effects.audits.append(.roomDestroyed(self.address, by: address.bare.description))
        }
        guard let x = query.firstChild("x", .dataForms) else { throw .badRequest("a form or a wish to destroy is expected") }
        if let refusal = configuration.refusal(of: .configure, by: actor) { throw refusal }
        let form = try DataForm(x)
        switch form.kind {
        // §10.1.3: whoever does not want the room after all has none.
        case .cancel:
            guard isLocked else { return }
            destroy(RoomDestruction(), &effects)
            effects.audits.append(.roomDestroyed(self.address, by: address.bare.description))
        case .submit: try submit(form, by: address, actor, moment, &effects)
        case .form, .result: throw .badRequest("the form is no submission")
        }
    }

    private mutating func submit(
        _ form: DataForm, by address: JID, _ actor: RoomStanding, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) throws(StanzaError) {
        // An empty form takes the room as it is (§10.1.2).
        effects.audits.append(.roomConfigured(self.address, by: address.bare.description))
        guard !form.fields.isEmpty else { return apply(configuration, moment, &effects) }
        var new = configuration
        try new.take(form, limits: moment.limits)
        let changes = try listChanges(form, by: actor, moment.limits)
        // Whoever becomes an administrator of a room that is for members from now on stays in it.
        carryOut(changes, by: address, moment, &effects)
        for case .affiliation(let target, let affiliation, _, _) in changes {
            effects.audits.append(.roomAffiliationSet(self.address, target, affiliation: affiliation.name, by: address.bare.description))
        }
        apply(new, moment, &effects)
    }

    /// A new configuration, whoever wants it; occupants are told what changes for them (§10.2.1).
    package mutating func apply(_ new: RoomConfiguration, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        let (old, wasLocked) = (configuration, isLocked)
        guard old != new || wasLocked else { return }
        configuration = new
        isLocked = false
        store(&effects)
        if new.memberNotices != old.memberNotices { reviewAllNotices() }
        if new.isMembersOnly, !old.isMembersOnly { expelStrangers(&effects) }
        if new.showsAddresses != old.showsAddresses { occupants.regroup { new.permits(.seeAddresses, by: $0.standing) } }
        if new.presenceBroadcast != old.presenceBroadcast { announceAnew(&effects) }
        if !wasLocked { tellStatuses(Self.statuses(from: old, to: new, moment.limits), &effects) }
    }

    private static func statuses(from old: RoomConfiguration, to new: RoomConfiguration, _ limits: RoomLimits) -> [Int] {
        var statuses: [Int] = []
        let isArchived = new.isArchived(within: limits)
        if old.isArchived(within: limits) != isArchived { statuses.append(isArchived ? RoomStatus.archived : RoomStatus.notArchived) }
        if old.showsAddresses != new.showsAddresses {
            statuses.append(new.showsAddresses ? RoomStatus.nonAnonymous : RoomStatus.semiAnonymous)
        }
        return [RoomStatus.configurationChanged] + statuses
    }

    private mutating func expelStrangers(_ effects: inout RoomEffects) {
        for key in occupants.keys where (occupants[key]?.affiliation ?? .member) < .member {
            expel(key, RoomNote([RoomStatus.membersOnlyNow]), &effects)
        }
    }

    /// Others see those now whose coming is told, and see the rest go.
    private mutating func announceAnew(_ effects: inout RoomEffects) {
        for key in occupants.keys {
            guard let before = occupants[key] else { continue }
            let isAnnounced = configuration.presenceBroadcast.contains(before.role)
            guard isAnnounced != before.isAnnounced else { continue }
            occupants.update(key) { $0.isAnnounced = isAnnounced }
            let type: PresenceType = isAnnounced ? .available : .unavailable
            for (audience, isOpen) in [(occupants.open, true), (occupants.hidden, false)] {
                let stanza = presence(of: before, type, base: isAnnounced ? before.presence : nil, isOpen: isOpen)
                effects.multicast(SharedStanza(stanza), to: audience.without(before.sessions))
            }
        }
    }

    // MARK: The end

    /// §10.9.
    private mutating func destroy(
        _ element: ElementView, by actor: RoomStanding, _ limits: RoomLimits, _ effects: inout RoomEffects
    ) throws(StanzaError) {
        if let refusal = configuration.refusal(of: .destroy, by: actor) { throw refusal }
        var destruction = RoomDestruction()
        if let venue = element.attribute("jid") {
            guard let address = try? JID(venue) else { throw .jidMalformed }
            destruction.venue = address.bare
        }
        destruction.password = element.firstChild("password", .mucOwner)?.text
        destruction.reason = element.firstChild("reason", .mucOwner)?.text
        for text in [destruction.password, destruction.reason] where text?.utf8.count ?? 0 > limits.reasonBytesMax {
            throw .notAcceptable("a reason may have \(limits.reasonBytesMax) bytes")
        }
        destroy(destruction, &effects)
    }

    mutating func destroy(_ destruction: RoomDestruction, _ effects: inout RoomEffects) {
        var note = RoomNote()
        note.destruction = destruction
        for occupant in occupants.all {
            var gone = occupant
            gone.affiliation = .none
            for session in occupant.sessions { tellOwn(session, of: gone, .unavailable, base: nil, note, [], &effects) }
        }
        occupants = RoomOccupants()
        effects.writes.append(.room(.delete(id)))
        effects.isDestroyed = true
    }
}
