import MartletCore
import MartletXML
import MartletXMPP

/// Becoming a member, and having a nickname to oneself (§7.10, §9.9). In a room where everybody may enter and speak,
/// whoever registers is a member at once; for others administrators are asked.
extension Room {
    func registrationForm(for address: JID) throws(StanzaError) -> IQReply {
        try checkRegistration(affiliations.affiliation(of: address))
        let nickname = affiliations.reservedNickname(of: address.bare)
        var field = DataForm.Field("muc#register_roomnick", .textSingle, nickname.map { [$0] } ?? [])
        field.label = "Nickname"
        field.isRequired = true
        let form = RoomForm.request(RoomForm.registration, title: "Registration with the room", [field])
        return IQReply { writer in
            writer.element("query", .register) { writer in
                if let nickname {
                    writer.element("registered", .register)
                    writer.element("username", .register, text: nickname)
                }
                form.write(to: &writer)
            }
        }
    }

    private func checkRegistration(_ affiliation: RoomAffiliation) throws(StanzaError) {
        if isLocked, affiliation != .owner { throw .itemNotFound("the room is not ready yet") }
        if let refusal = configuration.refusal(of: .register, by: RoomStanding(affiliation, .none)) { throw refusal }
    }

    mutating func register(_ query: ElementView, by address: JID, _ moment: RoomMoment, _ effects: inout RoomEffects) throws(StanzaError) {
        let account = address.bare
        let affiliation = affiliations.affiliation(of: address)
        try checkRegistration(affiliation)
        if query.hasChild("remove", .register) { return unregister(account, moment, &effects) }
        guard let x = query.firstChild("x", .dataForms) else { throw .badRequest("a form is expected") }
        var fields = try FormSubmission(try DataForm(x), type: RoomForm.registration)
        guard let text = try fields.text("muc#register_roomnick"), let full = self.address(of: text) else { throw .notAcceptable("a nickname is needed") }
        let nickname = full.resourcepart
        try checkNickname(nickname, for: account, moment)
        try checkMemberFits(account, moment.limits)
        if !configuration.isOpenToAll, affiliation < .member { return askAdministrators(account, nickname, &effects) }
        change(.bare(account), to: max(affiliation, .member), nil, nickname: nickname, by: nil, keepsRole: true, moment, &effects)
    }

    /// The nickname is free again; a member who became one by registering is one no more.
    private mutating func unregister(_ account: BareJID, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        guard let entry = affiliations[.bare(account)], entry.nickname != nil else { return }
        let stored = affiliations.set(.bare(account)) { $0.nickname = nil }
        effects.writes.append(.room(.setAffiliation(id, stored)))
        reviewNotices(for: account)
        if entry.affiliation == .member { change(.bare(account), to: .none, nil, by: nil, moment, &effects) }
    }

    private func askAdministrators(_ account: BareJID, _ nickname: String, _ effects: inout RoomEffects) {
        let form = RoomForm.request(
            RoomForm.registration, title: "Request for membership", [
                .init("muc#jid", .jidSingle, [account.description]), .init("muc#register_roomnick", .textSingle, [nickname]),
                .init("muc#register_allow", .boolean, ["0"]),
            ])
        send(form, toAll: { $0.affiliation >= .admin }, &effects)
    }

    /// An administrator has decided about a request (§9.9).
    mutating func membership(_ form: DataForm, _ key: RoomOccupants.Key?, _ moment: RoomMoment, _ effects: inout RoomEffects) {
        guard let key, let occupant = occupants[key] else { return effects.actions.append(.refuse(.notAcceptable("only occupants"))) }
        do throws(StanzaError) {
            var fields = try FormSubmission(form, type: RoomForm.registration)
            guard try fields.boolean("muc#register_allow") == true else { return }
            guard let address = try fields.address("muc#jid") else { throw .badRequest("whose request?") }
            let nickname = try fields.text("muc#register_roomnick")
            let old = affiliations.affiliation(of: address)
            if let refusal = configuration.refusal(of: .setAffiliation(old, to: .member), by: occupant.standing) { throw refusal }
            try checkMemberFits(address.bare, moment.limits)
            guard !address.bare.isDomain else { throw .notAllowed }
            if let nickname { try checkReservation(of: nickname, for: address.bare, moment) }
            change(.bare(address.bare), to: max(old, .member), nil, nickname: nickname, by: occupant.nickname, moment, &effects)
        } catch {
            effects.actions.append(.refuse(error))
        }
    }
}
