package import MartletCore
package import MartletXML
import MartletXMPP
import NIOCore

extension Namespace {
    package static let bookmarks: Namespace = "urn:xmpp:bookmarks:1"
    package static let bookmarkStorage: Namespace = "storage:bookmarks"
}

/// Bookmarks are items of a node of the account's. Clients that know only the older list in private storage (XEP-0048, XEP-0049) read and write
/// the same ones (§5.3): what is not told in the older form, such as extensions, stays as it is, and so does what only the older form can say.
package struct Bookmarks: Feature {
    package static let specification = Specification.xep(
        402, "PEP Native Bookmarks", version: "1.2.0", note: "also as private storage (XEP-0049) and as the node of XEP-0048")
    package let disco: DiscoFeatures
    package init() {
        var disco = DiscoFeatures()
        disco.accountNames = ["\(Namespace.bookmarks.name)#compat", "\(Namespace.bookmarks.name)#compat-pep", "urn:xmpp:bookmarks-conversion:0"]
        self.disco = disco
    }

    /// How the node is made, if nobody has made it before (§4.3).
    static let configuration = [
        "pubsub#persist_items": "true", "pubsub#max_items": "max", "pubsub#send_last_published_item": "never", "pubsub#access_model": "whitelist",
    ]

    /// Whether an element of private storage is the list of bookmarks.
    static func isList(_ element: ElementView) -> Bool { element.isNamed("storage", .bookmarkStorage) }

    // MARK: The older list

    /// The list, which whoever asks has seen then.
    static func list(_ nodes: OwnNodes, for session: JID) async throws(StanzaError) -> ByteBuffer {
        let list = try await BookmarkList(nodes)
        let bytes = list.encoded
        nodes.note(list.shown(as: bytes), to: session)
        return bytes
    }

    /// What is new in a whole list, or another one than before, is published; what is not in it goes, but only if who sends it has seen it: what another
    /// client has added meanwhile is nothing that this one wants gone. One commit.
    static func setList(_ element: ElementView, _ nodes: OwnNodes, by session: JID) async throws(StanzaError) {
        let (old, new) = (try await BookmarkList(nodes), BookmarkList(reading: element))
        guard new.rooms.count <= nodes.eventing.itemsMax else { throw .policyViolation("there may be \(nodes.eventing.itemsMax) bookmarks") }
        let seen = nodes.shown(to: session)?.parts ?? []
        let rest = new.rest(keeping: old, besides: seen)
        guard rest?.readableBytes ?? 0 <= BookmarkList.restBytesMax else {
            throw .resourceConstraint("what is no bookmark of a room may have \(BookmarkList.restBytesMax) bytes")
        }
        var replacement = PubSubRequest.Replacement(node: Namespace.bookmarks.name, configuration: configuration)
        replacement.retracted = old.rooms.filter { !new.has($0.bookmark.room) && seen.contains($0.bookmark.part) }.map(\.name)
        replacement.items = new.rooms.compactMap { entry in
            let known = old.entry(of: entry.bookmark.room)
            guard known?.bookmark.isSame(as: entry.bookmark) != true else { return nil }
            return .init(name: known?.name ?? entry.name, payload: entry.bookmark.payload(extensions: known?.bookmark.extensions))
        }
        if rest != old.restBytes { replacement.beside = [.document(nodes.id, BookmarkList.restKey, rest)] }
        if !replacement.isEmpty { try await nodes.replace(replacement) }
        nodes.note(new.shown(as: nil), to: session)
    }
}

extension PubSubRequest.Replacement {
    fileprivate var isEmpty: Bool { items.isEmpty && retracted.isEmpty && beside.isEmpty }
}

extension OwnNodes {
    fileprivate func shown(to session: JID) -> ShownList? {
        router.withResidentHome(account) { home in home.sessions.first { .full($0.address) == session }?.shownBookmarks } ?? nil
    }

    fileprivate func note(_ list: ShownList, to session: JID) {
        _ = router.withResidentHome(account) { home in
            guard let index = home.sessions.firstIndex(where: { .full($0.address) == session }) else { return }
            home.sessions[index].shownBookmarks = list
        }
    }
}

// MARK: Moving accounts (XEP-0227)

extension Bookmarks {
    /// The items that an older list stands for, each room once.
    static func items(of list: ElementView) -> [(name: String, payload: ByteBuffer)] {
        BookmarkList(reading: list).rooms.map { ($0.name, $0.bookmark.payload(extensions: nil)) }
    }

    /// What an account keeps of an older list that are no items.
    static func rest(of list: ElementView) -> ByteBuffer? {
        BookmarkList(reading: list).rest(keeping: nil, besides: []).flatMap { $0.readableBytes <= BookmarkList.restBytesMax ? $0 : nil }
    }
}
