import MartletCore
package import MartletXMPP

/// The form by which owners configure a room (§10.2, §16.4; XEP-0004, XEP-0068, XEP-0122). A configuration is stored as the same form.
extension RoomConfiguration {
    package static let formType = "http://jabber.org/protocol/muc#roomconfig"

    package func form(_ kind: DataForm.Kind, limits: RoomLimits) -> DataForm {
        var form = DataForm(kind, type: Self.formType, fields: texts + switches + archive(limits) + choices + numbers(limits))
        if kind == .form { form.title = "Configuration of the room" } else { form.fields = form.fields.map(\.submitted) }
        return form
    }

    private var texts: [DataForm.Field] {
        [
            .text("muc#roomconfig_roomname", "Name", name), .text("muc#roomconfig_roomdesc", "Description", description),
            .text("muc#roomconfig_lang", "Language of the conversation, such as en", language),
            .init("muc#roomconfig_contactjid", .jidMulti, "Addresses of those who are responsible", contacts),
        ]
    }

    private var switches: [DataForm.Field] {
        [
            .flag("muc#roomconfig_persistentroom", "The room stays when nobody is in it", isPersistent),
            .flag("muc#roomconfig_publicroom", "The room is listed", isPublic),
            .flag("muc#roomconfig_membersonly", "Only members may enter", isMembersOnly),
            .flag("muc#roomconfig_allowinvites", "Members may invite others", allowsInvitations),
            .flag("muc#roomconfig_moderatedroom", "Who has no affiliation enters without voice", isModerated),
            .flag("muc#roomconfig_changesubject", "Participants may change the subject", allowsSubjectChange),
            .flag("muc#roomconfig_passwordprotectedroom", "A password is needed", password != nil),
            .init("muc#roomconfig_roomsecret", .textPrivate, "The password", password.map { [$0] } ?? []),
            .flag("muc#roomconfig_forwardmentions", "Members who are not in the room are told of what mentions them", memberNotices != .nothing),
        ]
    }

    /// What is not the owners' to say they read.
    private func archive(_ limits: RoomLimits) -> [DataForm.Field] {
        let days = DataForm.Field.number(
            "muc#roomconfig_archive_days", "Days for which the archive keeps messages; 0 is as long as the server does", archiveDays, 0...36_500)
        return switch limits.archiving {
        case .allowed: [.flag("muc#roomconfig_enablearchiving", "Messages are kept in the room's archive", isArchived), days]
        case .always: [.init(nil, .fixed, ["Messages are kept in the room's archive, as in every room of this server."]), days]
        case .never: [.init(nil, .fixed, ["This server keeps no archives of rooms."])]
        }
    }

    private var choices: [DataForm.Field] {
        let roles = [("moderator", "Moderators"), ("participant", "Participants"), ("visitor", "Visitors")]
        return [
            .choice("muc#roomconfig_whois", "Who sees the addresses of occupants", whois.rawValue, [("moderators", "Moderators only"), ("anyone", "Everybody")]),
            .choice(
                "muc#roomconfig_allowpm", "Who may send private messages", privateMessages.rawValue,
                [("anyone", "Everybody"), ("participants", "Those with voice"), ("moderators", "Moderators"), ("none", "Nobody")]),
            .choices("muc#roomconfig_presencebroadcast", "Whose coming and going everybody is told of", presenceBroadcast, roles),
            .choices("muc#roomconfig_getmemberlist", "Who may ask for the list of members", memberListRoles, roles),
            .choice(
                "muc#roomconfig_membernotices", "What members learn who are not in the room", memberNotices.rawValue,
                [("none", "Nothing"), ("mentions", "Messages that mention them"), ("all", "All messages")]),
        ]
    }

    private func numbers(_ limits: RoomLimits) -> [DataForm.Field] {
        [
            .number("muc#roomconfig_maxusers", "Occupants at most", occupantsMax, 1...limits.occupantsMax),
            .number("muc#maxhistoryfetch", "Messages that who enters is shown", historyLength, 0...limits.historyMax),
            .number("muc#roomconfig_slow_mode_duration", "Seconds between two messages of one occupant; 0 is none", slowModeSeconds, 0...limits.slowModeSecondsMax),
        ]
    }

    // MARK: Reading

    /// Takes over what a submission says; fields that it leaves out stay as they are, and those that are not known here count for nothing.
    ///
    /// Throws `bad-request` for what is no such value and `not-acceptable` for what the operator does not allow.
    package mutating func take(_ form: DataForm, limits: RoomLimits) throws(StanzaError) {
        var fields = try FormSubmission(form, type: Self.formType)
        try takeTexts(&fields, limits)
        try takeSwitches(&fields, limits)
        try takePassword(&fields, limits)
        whois = try fields.choice("muc#roomconfig_whois") ?? whois
        privateMessages = try fields.choice("muc#roomconfig_allowpm") ?? privateMessages
        try takeNotices(&fields)
        presenceBroadcast = try fields.roles("muc#roomconfig_presencebroadcast") ?? presenceBroadcast
        memberListRoles = try fields.roles("muc#roomconfig_getmemberlist") ?? memberListRoles
        occupantsMax = try fields.number("muc#roomconfig_maxusers", 1...limits.occupantsMax, "none") ?? occupantsMax
        historyLength = try fields.number("muc#maxhistoryfetch", 0...limits.historyMax) ?? historyLength
        if limits.archiving != .never { archiveDays = try fields.number("muc#roomconfig_archive_days", 0...36_500) ?? archiveDays }
        slowModeSeconds = try fields.number("muc#roomconfig_slow_mode_duration", 0...limits.slowModeSecondsMax) ?? slowModeSeconds
    }

    private mutating func takeTexts(_ fields: inout FormSubmission, _ limits: RoomLimits) throws(StanzaError) {
        name = try fields.text("muc#roomconfig_roomname", bytesMax: limits.textBytesMax) ?? name
        description = try fields.text("muc#roomconfig_roomdesc", bytesMax: limits.descriptionBytesMax) ?? description
        language = try fields.text("muc#roomconfig_lang", bytesMax: 64) ?? language
        if let addresses = try fields.textsIfAny("muc#roomconfig_contactjid") {
            guard addresses.count <= 16 else { throw .notAcceptable("at most 16 addresses") }
            for address in addresses where (try? JID(address)) == nil { throw .jidMalformed }
            contacts = addresses
        }
    }

    private mutating func takeSwitches(_ fields: inout FormSubmission, _ limits: RoomLimits) throws(StanzaError) {
        isPersistent = try fields.boolean("muc#roomconfig_persistentroom") ?? isPersistent
        isPublic = try fields.boolean("muc#roomconfig_publicroom") ?? isPublic
        isMembersOnly = try fields.boolean("muc#roomconfig_membersonly") ?? isMembersOnly
        allowsInvitations = try fields.boolean("muc#roomconfig_allowinvites") ?? allowsInvitations
        isModerated = try fields.boolean("muc#roomconfig_moderatedroom") ?? isModerated
        allowsSubjectChange = try fields.boolean("muc#roomconfig_changesubject") ?? allowsSubjectChange
        if limits.archiving == .allowed { isArchived = try fields.boolean("muc#roomconfig_enablearchiving") ?? isArchived }
    }

    /// The switch of XEP-0452 and the choice are two views of one thing: what differs from what it was is what somebody wants.
    private mutating func takeNotices(_ fields: inout FormSubmission) throws(StanzaError) {
        let choice: MemberNotices? = try fields.choice("muc#roomconfig_membernotices")
        let forwards = try fields.boolean("muc#roomconfig_forwardmentions")
        if let choice, choice != memberNotices { return memberNotices = choice }
        if let forwards, forwards != (memberNotices != .nothing) { memberNotices = forwards ? .mentions : .nothing }
    }

    /// A password is wanted by its switch, or, where that is left out, by being there.
    private mutating func takePassword(_ fields: inout FormSubmission, _ limits: RoomLimits) throws(StanzaError) {
        let isWanted = try fields.boolean("muc#roomconfig_passwordprotectedroom")
        let secret = try fields.text("muc#roomconfig_roomsecret", bytesMax: limits.textBytesMax)
        switch (isWanted, secret) {
        case (false?, _): password = nil
        case (_, let secret?) where !secret.isEmpty: password = secret
        case (true?, _) where password == nil: throw .notAcceptable("a password is needed")
        case (nil, ""?): password = nil
        case (true?, _), (nil, _): break
        }
    }
}

extension DataForm.Field {
    fileprivate static func choices(_ name: String, _ label: String, _ roles: Set<RoomRole>, _ options: [(String, String)]) -> Self {
        var field = DataForm.Field(name, .listMulti, label, roles.map(\.name).sorted())
        field.options = options.map { Option($0.0, label: $0.1) }
        return field
    }
}

extension FormSubmission {
    fileprivate mutating func roles(_ name: String) throws(StanzaError) -> Set<RoomRole>? {
        guard let names = try textsIfAny(name) else { return nil }
        let roles = names.compactMap(RoomRole.init(named:)).filter { $0 != .none }
        guard roles.count == names.count else { throw .badRequest("\(name) has an unknown role") }
        return Set(roles)
    }
}
