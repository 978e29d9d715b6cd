import MartletCore
import MartletXML
package import MartletXMPP

/// A request to a room's own address, and who asks.
struct RoomRequest {
    let stanza: Stanza
    let child: ElementView
    let actor: JID
    let standing: RoomStanding
}

/// One kind of request to a room, and what answers it.
struct RoomRoute: Sendable {
    typealias Handler = @Sendable (RoomRequest, inout Room, RoomMoment, inout RoomEffects) throws(StanzaError) -> IQReply
    var kind: IQType
    var local: StaticString
    var namespace: Namespace
    var handler: Handler

    init(_ kind: IQType, _ local: StaticString, _ namespace: Namespace, _ handler: @escaping Handler) {
        self.kind = kind
        self.local = local
        self.namespace = namespace
        self.handler = handler
    }
}

/// Every request that a room itself answers; what waits for the disk is answered elsewhere (`RoomArchive`).
enum RoomRequests {
    static let routes: [RoomRoute] = [
        RoomRoute(.get, "query", .discoInfo) { request, room, moment, _ throws(StanzaError) in
            try room.info(for: request.standing, address: request.actor, node: request.child.attribute("node"), moment.limits)
        },
        RoomRoute(.get, "query", .discoItems) { request, room, moment, _ throws(StanzaError) in
            let isForCommands = request.child.attributeEquals("node", "http://jabber.org/protocol/commands")
            return isForCommands ? room.commandList(for: request.standing) : try room.items(for: request.standing, request.child, moment.limits)
        },
        RoomRoute(.get, "ping", .ping) { _, _, _, _ throws(StanzaError) in .empty },
        RoomRoute(.get, "query", .mucAdmin) { request, room, moment, _ throws(StanzaError) in
            try room.list(request.child, for: request.standing, moment.limits)
        },
        RoomRoute(.set, "query", .mucAdmin) { request, room, moment, effects throws(StanzaError) in
            try room.change(request.child, by: request.actor, request.standing, moment, &effects)
            return .empty
        },
        RoomRoute(.get, "query", .mucOwner) { request, room, moment, _ throws(StanzaError) in
            try room.configurationForm(for: request.standing, moment.limits)
        },
        RoomRoute(.set, "query", .mucOwner) { request, room, moment, effects throws(StanzaError) in
            try room.decide(request.child, by: request.actor, request.standing, moment, &effects)
            return .empty
        },
        RoomRoute(.get, "query", .register) { request, room, _, _ throws(StanzaError) in try room.registrationForm(for: request.actor) },
        RoomRoute(.set, "query", .register) { request, room, moment, effects throws(StanzaError) in
            try room.register(request.child, by: request.actor, moment, &effects)
            return .empty
        },
        RoomRoute(.set, "command", .commands) { request, room, moment, effects throws(StanzaError) in
            try room.execute(request, moment, &effects)
        },
        RoomRoute(.set, "vCard", .vCard) { request, room, moment, effects throws(StanzaError) in
            try room.setCard(request.child, by: request.standing, moment, &effects)
            return .empty
        },
    ]

    /// What a room announces besides its type (§6.4).
    static func namespaces(_ limits: RoomLimits) -> [Namespace] {
        limits.archiving == .never ? always : always + [.archive, .archiveExtended, .archiveFullText]
    }

    private static let always: [Namespace] = [
        .muc, .discoInfo, .discoItems, .resultSets, .ping, .stanzaIDs, .occupantIDs, .register, .affiliationVersions, .selfPing,
        "http://jabber.org/protocol/muc#stable_id", "http://jabber.org/protocol/muc#request",
    ] + MessageModeration.namespaces + MessageRetraction.namespaces + RoomAvatars.namespaces + Hats.namespaces + [.commands, .dataForms]

    static func route(_ kind: IQType, _ child: ElementView) -> RoomRoute? {
        routes.first { $0.kind == kind && child.isNamed($0.local, $0.namespace) }
    }
}

extension Namespace {
    /// XEP-0410 §3.
    static let selfPing: Namespace = "http://jabber.org/protocol/muc#self-ping-optimization"
}

extension Room {
    /// Answers a request to the room's own address.
    package mutating func request(
        _ stanza: Stanza, _ type: IQType, from actor: JID, _ moment: RoomMoment, _ effects: inout RoomEffects
    ) {
        var children = stanza.element.root.children.makeIterator()
        guard let child = children.next(), children.next() == nil else {
            return effects.actions.append(.refuse(.badRequest("a request has exactly one child")))
        }
        guard let route = RoomRequests.route(type, child) else { return effects.actions.append(.refuse(.serviceUnavailable)) }
        let request = RoomRequest(stanza: stanza, child: child, actor: actor, standing: standing(of: actor))
        do throws(StanzaError) {
            let reply = try route.handler(request, &self, moment, &effects)
            // §9, §10: who asked knows before everybody else is told.
            effects.actions.insert(.answer(reply.encoded(answering: stanza)), at: 0)
        } catch {
            effects = RoomEffects()
            effects.actions.append(.refuse(error))
        }
    }
}
