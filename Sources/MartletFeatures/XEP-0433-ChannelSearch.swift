package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

extension Namespace {
    package static let channelSearch: Namespace = "urn:xmpp:channel-search:0:search"
    fileprivate static let channelSearchErrors: Namespace = "urn:xmpp:channel-search:0:error"
}

/// Whoever looks for a room finds it by words of its name, its description and its address, or has them all, page by page.
///
/// Found is what the service's list has too (XEP-0045 §6.3): public rooms. Rooms that somebody is in are in memory, and of those there is
/// more to tell, as far as they tell it to whoever asks. By how many are in them rooms are in order as far as that is told, too; those of which it is
/// not, and those that nobody is in, come behind them.
package struct ChannelSearch: IQResponder {
    package static let specification = Specification.xep(433, "Extended Channel Search", version: "0.1.0", note: "ordered by address or occupants")
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
    /// §6.1.
    enum Order: String, CaseIterable {
        case address = "{urn:xmpp:channel-search:0:order}address"
        case occupants = "{urn:xmpp:channel-search:0:order}nusers"
    }
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
            field(
                "key", .listSingle, "Order", [Order.address.rawValue],
                [.init(Order.address.rawValue, label: "Address"), .init(Order.occupants.rawValue, label: "Occupants, most first")]),
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
            let found = list.limit > 0 && terms.includesRooms ? try await rooms(list, in: terms.order, as: request.actor, router) : []
            return answer(found, count: count, to: request.actor, router)
        } catch {
            throw StanzaError(.internalServerError, .wait)
        }
    }

    private static func rooms(
        _ list: RoomListRequest, in order: Order, as actor: JID, _ router: Router
    ) async throws(StoreError) -> [RoomSummary] {
        switch order {
        case .address: try await router.store.rooms(list).rooms
        case .occupants: try await BusyRooms(list, as: actor, router).page(list, router.store)
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
    var order = ChannelSearch.Order.address
    /// Whether rooms are among the kinds of service that are asked for.
    package var includesRooms = true

    /// Fields that are not known here count for nothing (§5).
    package init(_ form: DataForm) throws(StanzaError) {
        var fields = try FormSubmission(form, type: ChannelSearch.formType)
        let text = try fields.text("q").flatMap { $0.isEmpty ? nil : $0 }
        let wantsAll = try fields.boolean("all") ?? false
        if let key = try fields.text("key") {
            guard let order = ChannelSearch.Order(rawValue: key) else { throw .search(.featureNotImplemented, "invalid-sort-key") }
            self.order = order
        }
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

/// The rooms of a service that somebody is in, those with most occupants first, as far as they tell that: the beginning of a list of all, which
/// goes on in the order of addresses.
///
/// Looked at anew for each page: a room that has come to other numbers in between may be on two pages, or on none (§6.1).
private struct BusyRooms {
    private let rooms: [RoomSummary]
    private let places: [BareJID: Int]

    init(_ list: RoomListRequest, as actor: JID, _ router: Router) {
        let filter = RoomPageBuilder(list)
        let found = Self.occupied(at: list.domain, as: actor, router).filter { filter.passes($0.room) }
        rooms = found.sorted { ($1.occupants, $0.room.address.description) < ($0.occupants, $1.room.address.description) }.map(\.room)
        places = Dictionary(rooms.enumerated().map { ($1.address, $0) }) { first, _ in first }
    }

    private static func occupied(at domain: String, as actor: JID, _ router: Router) -> [(room: RoomSummary, occupants: Int)] {
        var found: [(room: RoomSummary, occupants: Int)] = []
        router.placement.forEachShard { shard in
            shard.withLock {
                for case let home as RoomHome in shard.allServiceHomes() where home.address.domainpart == domain {
                    guard let room = home.room, room.configuration.isPublic, !room.isLocked, !room.occupants.isEmpty,
                        room.configuration.permits(.seeOccupants, by: room.standing(of: actor))
                    else { continue }
                    found.append((room.summary, room.occupants.count))
                }
            }
        }
        return found
    }

    func page(_ list: RoomListRequest, _ store: any Store) async throws(StoreError) -> [RoomSummary] {
        list.isBackwards ? try await last(list, store) : try await first(list, store)
    }

    private func first(_ list: RoomListRequest, _ store: any Store) async throws(StoreError) -> [RoomSummary] {
        var rest = list
        var page: [RoomSummary] = []
        if let place = list.after.flatMap({ places[$0] }) {
            page = Array(rooms[(place + 1)...].prefix(list.limit))
            rest.after = nil
        } else if list.after == nil {
            page = Array(rooms.prefix(list.limit))
        }
        rest.limit -= page.count
        return page + (try await others(rest, store))
    }

    private func last(_ list: RoomListRequest, _ store: any Store) async throws(StoreError) -> [RoomSummary] {
        if let place = list.before.flatMap({ places[$0] }) { return rooms[..<place].suffix(list.limit) }
        let others = try await others(list, store)
        return rooms.suffix(list.limit - others.count) + others
    }

    /// The rooms in the order of addresses, without those that are in the other one.
    private func others(_ list: RoomListRequest, _ store: any Store) async throws(StoreError) -> [RoomSummary] {
        var (list, found) = (list, [RoomSummary]())
        let wanted = list.limit
        while found.count < wanted {
            let page = try await store.rooms(list)
            let others = page.rooms.filter { places[$0.address] == nil }
            found = list.isBackwards ? others.suffix(wanted - found.count) + found : found + others.prefix(wanted - found.count)
            guard !page.isComplete else { break }
            if list.isBackwards { list.before = page.rooms.first?.address } else { list.after = page.rooms.last?.address }
        }
        return found
    }
}

extension Room {
    /// As the store's list has it, without its content.
    fileprivate var summary: RoomSummary {
        RoomSummary(
            id: id, address: address, isPersistent: configuration.isPersistent && !isLocked, isPublic: configuration.isPublic && !isLocked,
            name: configuration.name, description: configuration.description, created: created, content: ByteBuffer())
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
