import MartletCore
package import MartletXMPP

/// The form by which owners configure a node (§8.2, §16.4.4; XEP-0004, XEP-0068, XEP-0122), and the preconditions of a publication, which are
/// fields of the same names (§7.1.5). A configuration is stored as the same form.
extension NodeConfiguration {
    package static let formType = "http://jabber.org/protocol/pubsub#node_config"
    static let publishOptionsType = "http://jabber.org/protocol/pubsub#publish-options"

    package func form(_ kind: DataForm.Kind, _ settings: PubSubSettings) -> DataForm {
        var form = DataForm(kind, type: Self.formType, fields: texts + switches + choices(settings) + numbers(settings))
        if kind == .form { form.title = "Configuration of the node" } else { form.fields = form.fields.map(\.submitted) }
        return form
    }

    private var texts: [DataForm.Field] {
        [
            .text("pubsub#title", "Title", title), .text("pubsub#description", "Description", description),
            .text("pubsub#type", "Namespace of the payloads", payloadType),
        ]
    }

    private var switches: [DataForm.Field] {
        [
            .flag("pubsub#deliver_notifications", "Subscribers are told of what happens here", deliversNotifications),
            .flag("pubsub#deliver_payloads", "They are sent what is published", deliversPayloads),
            .flag("pubsub#notify_config", "They are told of a new configuration", notifiesConfiguration),
            .flag("pubsub#notify_delete", "They are told when the node is deleted", notifiesDeletion),
            .flag("pubsub#notify_retract", "They are told when items are deleted", notifiesRetraction),
            .flag("pubsub#notify_sub", "Owners are told who subscribes and unsubscribes", notifiesSubscription),
            .flag("pubsub#persist_items", "Items are kept", persistsItems),
            .flag("pubsub#subscribe", "Others may subscribe", allowsSubscriptions),
            .flag("pubsub#presence_based_delivery", "Only subscribers who are available are told", isPresenceBased),
        ]
    }

    private func choices(_ settings: PubSubSettings) -> [DataForm.Field] {
        let access: [(AccessModel, String)] = [
            (.authorize, "Those whom an owner has approved"), (.open, "Everybody"), (.presence, "Those who see the owner's presence"),
            (.roster, "Those in certain groups of the owner's roster"), (.whitelist, "Members"),
        ]
        let models = access.filter { settings.accessModels.contains($0.0) }.map { ($0.0.rawValue, $0.1) }
        return [
            .choice("pubsub#access_model", "Who may subscribe and read", accessModel.rawValue, models),
            .choice(
                "pubsub#publish_model", "Who may publish", publishModel.rawValue,
                [("publishers", "Publishers"), ("subscribers", "Subscribers"), ("open", "Everybody")]),
            .choice(
                "pubsub#send_last_published_item", "Who is sent the last item", lastItem.rawValue,
                [("never", "Nobody"), ("on_sub", "Who subscribes"), ("on_sub_and_presence", "Who subscribes, and who comes online")]),
            .choice(
                "pubsub#notification_type", "Type of the messages to subscribers", notificationType.rawValue,
                [("normal", "Messages that are kept"), ("headline", "Messages for those who are online")]),
            .choice(
                "pubsub#itemreply", "Whom items name", itemReply.rawValue,
                [("owner", "Nobody; replies go to the owner"), ("publisher", "Their publisher"), ("none", "Nobody")]),
        ] + (settings.isPersonal ? [.init("pubsub#roster_groups_allowed", .listMulti, "Groups of the roster", rosterGroups.sorted())] : [])
    }

    private func numbers(_ settings: PubSubSettings) -> [DataForm.Field] {
        [
            .maximum("pubsub#max_items", "Items that are kept; max is as many as the server allows", itemsMax, 1...settings.itemsMax),
            .maximum(
                "pubsub#item_expire", "Seconds for which items are kept; max is for ever", itemExpiry == 0 ? nil : itemExpiry,
                1...settings.itemExpirySecondsMax),
            .number(
                "pubsub#max_payload_size", "Bytes of an item", payloadBytesMax(within: settings), 1...settings.payloadBytesMax),
        ]
    }

    // MARK: Reading

    /// Takes over what a submission says; fields that it leaves out stay as they are, and those that are not known here count for nothing.
    ///
    /// Throws `bad-request` for what is no such value and `not-acceptable` for what the operator does not allow.
    package mutating func take(_ form: DataForm, _ settings: PubSubSettings) throws(StanzaError) {
        var fields = try FormSubmission(form, type: Self.formType)
        try take(&fields, settings)
    }

    /// Takes over the preconditions of a publication, of which none may be unknown (§7.1.5).
    mutating func take(preconditions form: DataForm, _ settings: PubSubSettings) throws(StanzaError) {
        var fields = try FormSubmission(form, type: Self.publishOptionsType)
        try take(&fields, settings)
        try fields.finish { PubSubError.preconditionNotMet("\($0) is not known").stanza }
    }

    private mutating func take(_ fields: inout FormSubmission, _ settings: PubSubSettings) throws(StanzaError) {
        try takeTexts(&fields, settings)
        try takeSwitches(&fields)
        try takeAccess(&fields, settings)
        publishModel = try fields.choice("pubsub#publish_model") ?? publishModel
        lastItem = try fields.choice("pubsub#send_last_published_item") ?? lastItem
        notificationType = try fields.choice("pubsub#notification_type") ?? notificationType
        itemReply = try fields.choice("pubsub#itemreply") ?? itemReply
        itemsMax = try fields.maximum("pubsub#max_items", 1...settings.itemsMax, itemsMax)
        // 0 is what others write for items that stay.
        itemExpiry = try fields.maximum("pubsub#item_expire", 0...settings.itemExpirySecondsMax, itemExpiry) ?? 0
        payloadBytesMax = try fields.number("pubsub#max_payload_size", 1...settings.payloadBytesMax) ?? payloadBytesMax
        try refuseWhatIsLeftOut(&fields)
    }

    private mutating func takeTexts(_ fields: inout FormSubmission, _ settings: PubSubSettings) throws(StanzaError) {
        title = try fields.text("pubsub#title", bytesMax: settings.textBytesMax) ?? title
        description = try fields.text("pubsub#description", bytesMax: settings.descriptionBytesMax) ?? description
        payloadType = try fields.text("pubsub#type", bytesMax: settings.textBytesMax) ?? payloadType
    }

    private mutating func takeSwitches(_ fields: inout FormSubmission) throws(StanzaError) {
        deliversNotifications = try fields.boolean("pubsub#deliver_notifications") ?? deliversNotifications
        deliversPayloads = try fields.boolean("pubsub#deliver_payloads") ?? deliversPayloads
        notifiesConfiguration = try fields.boolean("pubsub#notify_config") ?? notifiesConfiguration
        notifiesDeletion = try fields.boolean("pubsub#notify_delete") ?? notifiesDeletion
        notifiesRetraction = try fields.boolean("pubsub#notify_retract") ?? notifiesRetraction
        notifiesSubscription = try fields.boolean("pubsub#notify_sub") ?? notifiesSubscription
        persistsItems = try fields.boolean("pubsub#persist_items") ?? persistsItems
        allowsSubscriptions = try fields.boolean("pubsub#subscribe") ?? allowsSubscriptions
        isPresenceBased = try fields.boolean("pubsub#presence_based_delivery") ?? isPresenceBased
    }

    private mutating func takeAccess(_ fields: inout FormSubmission, _ settings: PubSubSettings) throws(StanzaError) {
        if let name = try fields.text("pubsub#access_model") {
            guard let model = AccessModel(rawValue: name), settings.accessModels.contains(model) else {
                throw PubSubError.unsupportedAccessModel.stanza
            }
            accessModel = model
        }
        guard let groups = try fields.textsIfAny("pubsub#roster_groups_allowed") else { return }
        guard groups.count <= settings.rosterGroupsMax, groups.allSatisfy({ $0.utf8.count <= settings.textBytesMax }) else {
            throw .notAcceptable("there may be \(settings.rosterGroupsMax) groups, with names of \(settings.textBytesMax) bytes")
        }
        rosterGroups = Set(groups)
    }

    /// What would change what a node is, and is not done here, is refused; that it is not wanted is fine.
    private func refuseWhatIsLeftOut(_ fields: inout FormSubmission) throws(StanzaError) {
        if let type = try fields.text("pubsub#node_type"), type != "leaf" { throw PubSubError.unsupported("collections").stanza }
        for name in ["pubsub#purge_offline", "pubsub#tempsub"] {
            if try fields.boolean(name) == true { throw .notAcceptable("\(name) is not supported") }
        }
    }
}

extension DataForm.Field {
    /// A number, or `max` (§12.25).
    fileprivate static func maximum(_ name: String, _ label: String, _ value: Int?, _ range: ClosedRange<Int>) -> Self {
        var field = DataForm.Field.text(name, label, value.map(String.init) ?? "max")
        field.validation = Validation(datatype: "pubsub:integer-or-max", range: range)
        return field
    }
}

extension FormSubmission {
    /// A number, or `nil` for `max` (§12.25); `old` if the field is not there.
    fileprivate mutating func maximum(_ name: String, _ range: ClosedRange<Int>, _ old: Int?) throws(StanzaError) -> Int? {
        guard let text = try text(name), !text.isEmpty else { return old }
        if text == "max" { return nil }
        guard let number = Int(text) else { throw .badRequest("\(name) is a number, or max") }
        guard range.contains(number) else { throw .notAcceptable("\(name) is from \(range.lowerBound) to \(range.upperBound), or max") }
        return number
    }
}
