import MartletCore
import MartletXMPP

/// What members are told of while they are not in the room. The room has a rule for all (`muc#roomconfig_membernotices`), and each member may
/// have another one.
enum MemberNotices {
    static let formType = "urn:x-martlet:room:notices"
    /// As the room has it.
    private static let usual = "room"

    static let command = RoomCommand(formType, "What to be told of while away", for: .chooseNotices) { call, room, effects throws(StanzaError) in
        let account = call.actor.bare
        guard let answer = call.answers.first else { return .ask(form(for: room.affiliations[.bare(account)]?.details.notices), isLast: true) }
        var fields = try FormSubmission(answer, type: formType)
        guard let choice = try fields.text("notices") else { throw .badRequest("of what?") }
        let notices = RoomConfiguration.MemberNotices(rawValue: choice)
        guard notices != nil || choice == usual else { throw .badRequest("no such choice") }
        room.setDetails(of: account, &effects) { $0.notices = notices }
        return .done()
    }

    private static func form(for notices: RoomConfiguration.MemberNotices?) -> DataForm {
        var field = DataForm.Field("notices", .listSingle, [notices?.rawValue ?? usual])
        field.label = "What to be told of"
        field.options = [
            .init(usual, label: "As the room has it for everybody"), .init("none", label: "Nothing"),
            .init("mentions", label: "Messages that mention you"), .init("all", label: "All messages"),
        ]
        return RoomForm.request(formType, title: "While you are not in the room", [field])
    }
}

extension Room {
    /// Changes what the room knows of an account; the list of affiliations is what it was.
    mutating func setDetails(of account: BareJID, _ effects: inout RoomEffects, _ change: (inout RoomMemberDetails) -> Void) {
        let address = JID.bare(account)
        defer { reviewNotices(for: account) }
        if let stored = affiliations.setDetails(address, change) {
            effects.writes.append(.room(.setAffiliation(id, stored)))
        } else {
            effects.writes.append(.room(.removeAffiliation(id, address)))
        }
    }
}
