package import MartletCore
import MartletXML
import MartletXMPP

/// What the service says of itself and of its rooms (§6.1 to §6.3).
package struct RoomDirectory: IQResponder {
    package static let specification = MultiUserChat.specification
    package var disco: DiscoFeatures { DiscoFeatures(host: [.muc, .discoInfo, .discoItems, .resultSets, .uniqueStableIDs] + RoomAvatars.namespaces) }
    private let name: String

    package init(name: String) { self.name = name }

    package var routes: [IQRoute] {
        [
            .immediate(.get, "query", .discoInfo, at: .host) { request, host throws(StanzaError) in
                if request.child.hasAttribute("node") { throw .itemNotFound() }
                var info = DiscoInfo(ofHost: host)
                info.identities = [.init("conference", "text", name: name)]
                return info.reply(node: nil)
            },
            .concurrent(.get, "query", .discoItems, at: .host) { request, router throws(StanzaError) in try await Self.rooms(request, router) },
        ]
    }

    /// Rooms on a page that asks for none in particular.
    package static let pageMax = 200

    /// Only those that may be known (§6.3).
    private static func rooms(_ request: IQRequest, _ router: Router) async throws(StanzaError) -> IQReply {
        if request.child.hasAttribute("node") { throw .itemNotFound() }
        let page = try ResultSetRequest(in: request.child)
        let domain = request.owner.domainpart
        var list = RoomListRequest(domain: domain, limit: page.limit(usual: pageMax, most: pageMax))
        list.isPublic = true
        try list.take(page, domain)
        do throws(StoreError) {
            let found = list.limit > 0 ? try await router.store.rooms(list).rooms : []
            let count = try await router.store.roomCount(domain: domain, isPublic: true)
            let isWhole = page == ResultSetRequest() && found.count == count
            return IQReply { writer in
                writer.element("query", .discoItems) { writer in
                    for room in found {
                        writer.element(
                            "item", .discoItems,
                            ["jid": room.address.description, "name": room.name.isEmpty ? room.address.localpart : room.name])
                    }
                    if isWhole { return }
                    ResultSetPage(first: found.first?.address.description, last: found.last?.address.description, count: count).write(to: &writer)
                }
            }
        } catch {
            throw StanzaError(.internalServerError, .wait)
        }
    }
}

extension RoomListRequest {
    /// - Throws: `item-not-found` for names that no room has, and `feature-not-implemented` for pages by number.
    mutating func take(_ page: ResultSetRequest, _ domain: String) throws(StanzaError) {
        switch page.page {
        case .first: break
        case .last: isBackwards = true
        case .after(let name): after = try Self.room(name, domain)
        case .before(let name):
            before = try Self.room(name, domain)
            isBackwards = true
        case .index: throw StanzaError(.featureNotImplemented, text: "pages are asked for by name")
        }
    }

    private static func room(_ name: String, _ domain: String) throws(StanzaError) -> BareJID {
        guard let address = try? BareJID(parsing: name), address.domainpart == domain, !address.isDomain else { throw .itemNotFound() }
        return address
    }
}

extension Namespace {
    fileprivate static let uniqueStableIDs: Namespace = "http://jabber.org/protocol/muc#stable_id"
}
