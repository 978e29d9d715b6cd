package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let channelSearch: Namespace = "urn:xmpp:channel-search:0:search"
    fileprivate static let channelSearchErrors: Namespace = "urn:xmpp:channel-search:0:error"
}

/// Whoever looks for a room finds it by words of its name, its description and its address, or has them all, page by page.
///
/// Found is what the service's list has too (XEP-0045 §6.3): public rooms. Rooms that somebody is in are in memory, and of those there is
/// more to tell, as far as they tell it to whoever asks.
package struct ChannelSearch: IQResponder {
    package static let specification = Specification.xep(433, "Extended Channel Search", version: "0.1.0", note: "ordered by address")
    package let disco = DiscoFeatures(host: [.channelSearch])
    package init() {}

    /// Rooms on one page.
    package static let pageMax = 100
    /// Of the words that are searched for, in bytes.
    package static let textBytesMax = 1_024

    package var routes: [IQRoute] {
        [
            .concurrent(.get, "search", .channelSearch, at: .host) { request, router throws(StanzaError) in
                guard let x = request.child.firstChild("x", .dataForms) else { return Self.form }
                return try await Self.search(try ChannelSearchTerms(try DataForm(x)), request, router)
            }
        ]
    }

    // MARK: The form (§4.2.1)

    static let formType = "urn:xmpp:channel-search:0:search-params"
    static let addressOrder = "{urn:xmpp:channel-search:0:order}address"
    static let roomType = "xep-0045"

    private static let form = IQReply { writer in
        writer.element("search", .channelSearch) { DataForm(.form, type: formType, fields: fields).write(to: &$0) }
    }

    private static var fields: [DataForm.Field] {
        [
            field("q", .textSingle, "Words to search for", []), field("all", .boolean, "All rooms, without a search", ["false"]),
            field("sinname", .boolean, "Search in names", ["true"]), field("sindescription", .boolean, "Search in descriptions", ["true"]),
            field("sinaddress", .boolean, "Search in addresses", ["true"]),
            field("types", .listMulti, "Kinds of service", [roomType], [.init(roomType, label: "Multi-user chat")]),
            field("key", .listSingle, "Order", [addressOrder], [.init(addressOrder, label: "Address")]),
        ]
    }

    private static func field(
        _ name: String, _ kind: DataForm.Field.Kind, _ label: String, _ values: [String], _ options: [DataForm.Field.Option] = []
    ) -> DataForm.Field {
        var field = DataForm.Field(name, kind, values)
        field.label = label
        field.options = options
        return field
    }

    // MARK: The search (§4.2.2)

    private static func search(_ terms: ChannelSearchTerms, _ request: IQRequest, _ router: Router) async throws(StanzaError) -> IQReply {
        let page = try ResultSetRequest(in: request.child)
        let domain = request.owner.domainpart
        var list = RoomListRequest(domain: domain, limit: page.limit(usual: pageMax, most: pageMax))
        list.isPublic = true
        (list.text, list.texts) = (terms.text, terms.texts)
        try list.take(page, domain)
        do throws(StoreError) {
            // How many there are is known without looking at each of them only where every one counts.
            let count = terms.text == nil && terms.includesRooms ? try await router.store.roomCount(domain: domain, isPublic: true) : nil
            let found = list.limit > 0 && terms.includesRooms ? try await router.store.rooms(list).rooms : []
            return answer(found, count: count, to: request.actor, router)
        } catch {
            throw StanzaError(.internalServerError, .wait)
        }
    }

    private static func answer(_ found: [RoomSummary], count: Int?, to actor: JID, _ router: Router) -> IQReply {
        IQReply { writer in
            writer.element("result", .channelSearch) { writer in
                for room in found { write(room, router.roomInUse(room.address, as: actor), to: &writer) }
                ResultSetPage(first: found.first?.address.description, last: found.last?.address.description, count: count).write(to: &writer)
            }
        }
    }

    /// §6.2. What is not known is left out.
    private static func write(_ room: RoomSummary, _ inUse: RoomInUse?, to writer: inout XMLWriter) {
        writer.element("item", .channelSearch, ["address": room.address.description]) { writer in
            let name = room.name.isEmpty ? room.address.localpart ?? "" : room.name
            writer.element("name", .channelSearch, text: name)
            if !room.description.isEmpty { writer.element("description", .channelSearch, text: room.description) }
            writer.element("service-type", .channelSearch, text: roomType)
            guard let inUse else { return }
            if !inUse.language.isEmpty { writer.element("language", .channelSearch, text: inUse.language) }
            if let count = inUse.occupants { writer.element("nusers", .channelSearch, text: String(count)) }
            writer.element("is-open", .channelSearch, text: inUse.isOpen ? "true" : "false")
            writer.element(
                "anonymity-mode", .channelSearch, text: inUse.showsAddresses ? "{urn:xmpp:channel-search:0:anonymity}none" : "muc_semianonymous")
        }
    }
}

/// What somebody searches for, checked.
package struct ChannelSearchTerms: Hashable, Sendable {
    /// `nil`: all rooms.
    package var text: String?
    package var texts = RoomTexts.all
    /// Whether rooms are among the kinds of service that are asked for.
    package var includesRooms = true

    /// Fields that are not known here count for nothing (§5).
    package init(_ form: DataForm) throws(StanzaError) {
        var fields = try FormSubmission(form, type: ChannelSearch.formType)
        let text = try fields.text("q").flatMap { $0.isEmpty ? nil : $0 }
        let wantsAll = try fields.boolean("all") ?? false
        if let key = try fields.text("key"), key != ChannelSearch.addressOrder { throw .search(.featureNotImplemented, "invalid-sort-key") }
        try takeTexts(&fields)
        let types = try fields.texts("types")
        includesRooms = types.isEmpty || types.contains(ChannelSearch.roomType)
        switch (text, wantsAll) {
        case (_?, true): throw .search(.badRequest, "conflicting-fields", "all rooms, or those with some words")
        case (nil, false): throw .search(.badRequest, "no-search-conditions")
        case (nil, true): break
        case (let text?, false): self.text = try Self.checked(text)
        }
    }

    private mutating func takeTexts(_ fields: inout FormSubmission) throws(StanzaError) {
        for (name, part) in [("sinname", RoomTexts.name), ("sindescription", .description), ("sinaddress", .localpart)] {
            if try fields.boolean(name) == false { texts.remove(part) }
        }
        if texts.isEmpty { throw .search(.badRequest, "conflicting-fields", "a search looks at something") }
    }

    private static func checked(_ text: String) throws(StanzaError) -> String {
        guard text.utf8.count <= ChannelSearch.textBytesMax else {
            throw .search(.badRequest, "invalid-search-terms", "a search may have \(ChannelSearch.textBytesMax) bytes")
        }
        guard !SearchWords.words(text).isEmpty else { throw .search(.badRequest, "invalid-search-terms", "a search has letters or digits") }
        return text
    }
}

extension StanzaError {
    /// Each of type `modify` (§4.2.2; for the absence of conditions as the example has it).
    fileprivate static func search(_ condition: Condition, _ application: String, _ text: String? = nil) -> StanzaError {
        StanzaError(condition, .modify, text: text, application: QName(application, .channelSearchErrors))
    }
}

/// What a room in memory tells of itself.
private struct RoomInUse {
    var language: String
    /// `nil` for those who may not know.
    var occupants: Int?
    var isOpen: Bool
    var showsAddresses: Bool
}

extension Router {
    /// - Parameter actor: who asks.
    fileprivate func roomInUse(_ address: BareJID, as actor: JID) -> RoomInUse? {
        let shard = shard(of: address)
        return shard.withLock {
            guard let room = (shard.serviceHome(address) as? RoomHome)?.room else { return nil }
            let configuration = room.configuration
            return RoomInUse(
                language: configuration.language,
                occupants: configuration.permits(.seeOccupants, by: room.standing(of: actor)) ? room.occupants.count : nil,
                isOpen: !configuration.isMembersOnly && configuration.secret == nil, showsAddresses: configuration.showsAddresses)
        }
    }
}
