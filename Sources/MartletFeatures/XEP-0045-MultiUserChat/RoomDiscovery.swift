import MartletCore
import MartletXML
import MartletXMPP

/// What a room says of itself (§6.3 to §6.6).
extension Room {
    static let nicknameNode = "x-roomuser-item"
    static let trafficNode = "http://jabber.org/protocol/muc#traffic"

    func info(for actor: RoomStanding, address: JID, node: String?, _ limits: RoomLimits) throws(StanzaError) -> IQReply {
        switch node {
        case nil: return try info(for: actor, limits)
        // §6.6: which nickname is reserved for who asks.
        case Self.nicknameNode?:
            let nickname = affiliations.reservedNickname(of: address.bare)
            let identities = nickname.map { [DiscoInfo.Identity("conference", "text", name: $0)] } ?? []
            return DiscoInfo(identities: identities, features: []).reply(node: node)
        // §18.1.1: everything is passed on.
        case Self.trafficNode?: throw .serviceUnavailable
        case let node?:
            guard let info = try commandInfo(node, for: actor) else { throw .itemNotFound() }
            return info
        }
    }

    /// A room that is not listed is told to whoever knows its address, as it must be to enter it; what it is about is not.
    private func info(for actor: RoomStanding, _ limits: RoomLimits) throws(StanzaError) -> IQReply {
        guard !isLocked || actor.affiliation == .owner else { throw .itemNotFound() }
        let identity = DiscoInfo.Identity("conference", "text", name: configuration.name.isEmpty ? address.localpart : configuration.name)
        let features = (configuration.types.map { "muc_\($0)" } + RoomRequests.namespaces(limits).map(\.name)).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        return IQReply { writer in
            writer.element("query", .discoInfo) { writer in
                writer.element(
                    "identity", .discoInfo, ["category": identity.category, "type": identity.type, "name": identity.name])
                for feature in features { writer.element("feature", .discoInfo, ["var": feature]) }
                form(for: actor).write(to: &writer)
            }
        }
    }

    private func form(for actor: RoomStanding) -> DataForm {
        let isInside = configuration.permits(.seeOccupants, by: actor)
        var fields: [DataForm.Field] = [
            .info("muc#roominfo_description", .textSingle, [configuration.description]), .info("muc#roominfo_lang", .textSingle, [configuration.language]),
            .info("muc#roominfo_contactjid", .jidMulti, configuration.contacts), .info("muc#maxhistoryfetch", .textSingle, [String(configuration.historyLength)]),
            .info("muc#roominfo_subjectmod", .boolean, [configuration.allowsSubjectChange ? "1" : "0"]),
            .info("muc#roominfo_slow_mode_duration", .textSingle, [String(configuration.slowModeSeconds)]),
            .info("muc#roominfo_avatarhash", .textMulti, avatarHashes), .info("hats#hash", .textSingle, hatsHash.map { [$0] } ?? []),
            .info("muc#roomconfig_allowinvites", .boolean, [configuration.allowsInvitations ? "1" : "0"]),
            .info("muc#roomconfig_changesubject", .boolean, [configuration.allowsSubjectChange ? "1" : "0"]),
            .info("muc#roomconfig_allowpm", .listSingle, [configuration.privateMessages.rawValue]),
        ]
        if isInside {
            fields.append(.info("muc#roominfo_occupants", .textSingle, [String(occupants.count)]))
            fields.append(.info("muc#roominfo_subject", .textSingle, [subject?.text ?? ""]))
        }
        return DataForm(.result, type: "http://jabber.org/protocol/muc#roominfo", fields: fields.filter { $0.values != [""] && !$0.values.isEmpty })
    }

    /// §6.5: who is here, for those who may know, in the order of nicknames, by pages (XEP-0059).
    func items(for actor: RoomStanding, _ query: ElementView, _ limits: RoomLimits) throws(StanzaError) -> IQReply {
        guard !isLocked || actor.affiliation == .owner else { throw .itemNotFound() }
        let request = try ResultSetRequest(in: query)
        let isOpen = actor.role != .none || (configuration.isPublic && configuration.permits(.seeOccupants, by: actor))
        let announced = isOpen ? occupants.all.filter(\.isAnnounced).map { JID.full($0.address) } : []
        let page = SortedAddresses(sorted: announced.sorted { $0.precedes($1) })
            .page(request.page, limit: request.limit(usual: limits.pageMax, most: limits.pageMax))
        let isWhole = request == ResultSetRequest() && page.addresses.count == page.count
        return IQReply { writer in
            writer.element("query", .discoItems) { writer in
                for case .full(let occupant) in page.addresses {
                    writer.element("item", .discoItems, ["jid": occupant.description, "name": occupant.resourcepart])
                }
                if isWhole { return }
                ResultSetPage(
                    first: page.addresses.first?.description, last: page.addresses.last?.description, index: page.first, count: page.count
                ).write(to: &writer)
            }
        }
    }
}

extension RoomConfiguration {
    /// What kind of room it is (§4.2), in the words of the service's features (§16.1).
    package var types: [String] {
        [
            isPublic ? "public" : "hidden", isMembersOnly ? "membersonly" : "open", isModerated ? "moderated" : "unmoderated",
            showsAddresses ? "nonanonymous" : "semianonymous", secret == nil ? "unsecured" : "passwordprotected",
            isPersistent ? "persistent" : "temporary",
        ]
    }
}

extension DataForm.Field {
    fileprivate static func info(_ name: String, _ kind: Kind, _ values: [String]) -> Self { .init(name, kind, values) }
}
