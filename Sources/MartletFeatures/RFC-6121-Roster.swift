package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let rosterVersioning: Namespace = "urn:xmpp:features:rosterver"
    package static let preApproval: Namespace = "urn:xmpp:features:pre-approval"
}

/// The contacts of an account, as its clients read and change them (RFC 6121 §2). Subscriptions are presence stanzas: see
/// `SubscriptionRouting`.
package struct RosterManagement: IQResponder, StreamFeatureProvider {
    package static let specification = Specification.rfc(6121, "Instant Messaging and Presence: managing the roster", sections: "2")
    package let disco = DiscoFeatures.everywhere(.roster)
    package init() {}

    package var routes: [IQRoute] {
        [
            .home(.get, "query", .roster) { request, home, context throws(StanzaError) in Self.get(request, home, context) },
            .home(.set, "query", .roster) { request, home, context throws(StanzaError) in try Self.set(request, home, context) },
        ]
    }

    /// RFC 6121 §2.6.1 and §3.4.
    package func writeStreamFeatures(to writer: inout XMLWriter, of host: Host) {
        writer.element("ver", .rosterVersioning)
        writer.element("sub", .preApproval)
    }

    // MARK: Get

    /// The whole roster, or what changed since the version that the client has (RFC 6121 §2.6.3).
    private static func get(_ request: IQRequest, _ home: AccountHome, _ context: LoopContext) -> HomeDecision {
        // Whoever asks in the account's name, and is not told of changes as its sessions are, gets the whole.
        guard case .full(let session) = request.actor, let index = home.index(of: session) else { return whole(home.roster) }
        home.sessions[index].flags.insert(.interested)
        switch home.roster.get(since: request.child.attribute("ver")) {
        case .unchanged: return HomeDecision(.empty)
        case .changes(let changes):
            let pushes = changes.map { RosterPush.encode($0, home.roster, to: session, id: context.random.token()) }
            return HomeDecision(.empty, pushes: pushes)
        case .full: return whole(home.roster)
        }
    }

    private static func whole(_ roster: Roster) -> HomeDecision {
        HomeDecision(IQReply { writer in
            writer.element("query", .roster, ["ver": roster.versionName]) { writer in
                for item in roster.shownItems { RosterPush.write(item, to: &writer) }
            }
        })
    }

    // MARK: Set

    private static func set(_ request: IQRequest, _ home: AccountHome, _ context: LoopContext) throws(StanzaError) -> HomeDecision {
        let item = try item(of: request.child)
        let contact = try contact(of: item)
        if item.attributeEquals("subscription", "remove") { return try remove(contact, home) }
        guard let limits = context.hosts.host(of: home.address)?.limits else { throw .serviceUnavailable }
        var groups: [String] = []
        for child in item.children where child.isNamed("group", .roster) { groups.append(child.text) }
        let former = home.roster[contact]?.groups ?? []
        let change = try home.roster.set(contact, name: item.attribute("name"), groups: groups, owner: home.address, limits: limits)
        // What groups say of a contact that they put there is so already.
        guard let change else { return HomeDecision(.empty) }
        let account = home.address
        let leavesGroup = !Set(former).isSubset(of: home.roster[contact]?.groups ?? [])
        return HomeDecision(.empty, writes: [change.write(home.id)], rosterChange: change) { router, context in
            if leavesGroup { router.leftGroup(contact, of: account, context) }
        }
    }

    /// RFC 6121 §2.5: who was removed hears that it is over, once the removal is on disk.
    private static func remove(_ contact: BareJID, _ home: AccountHome) throws(StanzaError) -> HomeDecision {
        let removal = try home.roster.remove(contact)
        let account = home.address
        return HomeDecision(.empty, writes: [removal.change.write(home.id)], rosterChange: removal.change) { router, context in
            router.dismiss(contact, removal, of: account, context)
        }
    }

    /// A set has one item (RFC 6121 §2.1.5).
    private static func item(of query: ElementView) throws(StanzaError) -> ElementView {
        var children = query.children
        guard let item = children.next(), children.next() == nil, item.isNamed("item", .roster) else {
            throw .badRequest("a roster set has exactly one item")
        }
        return item
    }

    private static func contact(of item: ElementView) throws(StanzaError) -> BareJID {
        guard let text = item.attribute("jid") else { throw .badRequest("an item has an address") }
        guard let address = try? JID(text) else { throw .jidMalformed }
        guard case .bare(let contact) = address else { throw .badRequest("an item's address has no resource") }
        return contact
    }
}
