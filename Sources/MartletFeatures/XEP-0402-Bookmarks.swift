package import MartletCore
package import MartletXML
import MartletXMPP
import NIOCore

extension Namespace {
    package static let bookmarks: Namespace = "urn:xmpp:bookmarks:1"
    package static let bookmarkStorage: Namespace = "storage:bookmarks"
}

/// Bookmarks are items of a node of the account's. Clients that know only the older list in private storage (XEP-0048, XEP-0049) read and write
/// the same ones (§6): what is not told in the older form, such as extensions, stays as it is.
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

    static func list(_ nodes: OwnNodes) async throws(StanzaError) -> ByteBuffer {
        let items = try await nodes.items(of: Namespace.bookmarks.name)
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("storage", .bookmarkStorage) { writer in
            for item in items { Bookmark(item)?.write(to: &writer) }
        }
        return writer.buffer
    }

    /// What is not in the new list goes; what is, is published where it is another one than before.
    static func setList(_ list: ElementView, _ nodes: OwnNodes) async throws(StanzaError) {
        let node = Namespace.bookmarks.name
        let old = Dictionary(try await nodes.items(of: node).map { ($0.name, $0) }) { first, _ in first }
        var bookmarks: [Bookmark] = []
        var names: Set<String> = []
        for element in list.children where element.isNamed("conference", .bookmarkStorage) {
            if let bookmark = Bookmark(element), names.insert(bookmark.room.description).inserted { bookmarks.append(bookmark) }
        }
        guard bookmarks.count <= nodes.eventing.itemsMax else { throw .policyViolation("there may be \(nodes.eventing.itemsMax) bookmarks") }
        // First, or the oldest would go where there are too many for a moment.
        try await nodes.retract(old.keys.filter { !names.contains($0) }.sorted(), from: node)
        for bookmark in bookmarks {
            let known = old[bookmark.room.description].flatMap(Bookmark.init)
            guard known?.isSame(as: bookmark) != true else { continue }
            try await nodes.publish(bookmark.room.description, bookmark.payload(extensions: known?.extensions), at: node, configuration)
        }
    }
}

// MARK: Moving accounts (XEP-0227)

extension Bookmarks {
    /// The items that an older list stands for, each room once.
    static func items(of list: ElementView) -> [(name: String, payload: ByteBuffer)] {
        var names: Set<String> = []
        return list.children.compactMap { element in
            guard element.isNamed("conference", .bookmarkStorage), let bookmark = Bookmark(element) else { return nil }
            let name = bookmark.room.description
            return names.insert(name).inserted ? (name, bookmark.payload(extensions: nil)) : nil
        }
    }
}

/// The older list at a node of its own (XEP-0048 §3), which clients read and write as if it were one: it is the same as the newer node and the list
/// in private storage (XEP-0411). Who wants to hear of changes has to know the newer node.
enum OlderBookmarks {
    static let specification = Specification.xep(411, "Bookmarks Conversion", version: "1.1.0", note: "events only of the newer node (XEP-0402)")
    private static let item = "current"

    /// Answers the account's own reading and writing of the list.
    ///
    /// - Returns: `false` for any other request.
    static func answer(_ request: PubSubRequest, _ held: HeldRequest, _ eventing: PersonalEventing, _ context: LoopContext) -> Bool {
        guard request.node == Namespace.bookmarkStorage.name else { return false }
        let nodes = eventing.ownNodes(of: held, context)
        switch request {
        case .items:
            held.answer(context) { _ async throws(StanzaError) in
                let list = try await Bookmarks.list(nodes)
                return reply { writer in
                    writer.element("items", .pubsub, ["node": Namespace.bookmarkStorage.name]) { writer in
                        writer.element("item", .pubsub, ["id": item]) { $0.raw(list) }
                    }
                }
            }
        case .publish(let publication):
            guard let payload = publication.items.first?.payload, let list = try? parseElement(payload, limits: .ownWriting, defaultNamespace: .none),
                Bookmarks.isList(list.root)
            else {
                held.refuse(.badRequest("a list of bookmarks is one element"), context)
                return true
            }
            held.answer(context) { _ async throws(StanzaError) in
                try await Bookmarks.setList(list.root, nodes)
                return reply { writer in
                    writer.element("publish", .pubsub, ["node": Namespace.bookmarkStorage.name]) { $0.element("item", .pubsub, ["id": item]) }
                }
            }
        default: return false
        }
        return true
    }

    private static func reply(_ content: (inout XMLWriter) -> Void) -> IQReply {
        IQReply { writer in writer.element("pubsub", .pubsub, [:], content) }
    }
}

/// A room somebody wants to find again.
private struct Bookmark {
    let room: BareJID
    let name: String?
    let isEnteredByItself: Bool
    let nickname: String?
    let password: String?
    /// `<extensions/>` (§4.1), as it is.
    let extensions: ByteBuffer?

    /// Of the newer kind.
    init?(_ item: NodeItem) {
        guard let room = try? BareJID(parsing: item.name), let element = try? parseElement(item.payload, limits: .ownWriting, defaultNamespace: .none),
            element.root.isNamed("conference", .bookmarks)
        else { return nil }
        self.init(element.root, room, .bookmarks)
    }

    /// Of the older kind.
    init?(_ element: ElementView) {
        guard let room = element.attribute("jid").flatMap({ try? BareJID(parsing: $0) }) else { return nil }
        self.init(element, room, .bookmarkStorage)
    }

    private init(_ element: ElementView, _ room: BareJID, _ namespace: Namespace) {
        self.room = room
        name = element.attribute("name")
        isEnteredByItself = ["true", "1"].contains(element.attribute("autojoin") ?? "")
        nickname = element.firstChild("nick", namespace)?.text
        password = element.firstChild("password", namespace)?.text
        extensions = element.firstChild("extensions", .bookmarks).map { element in
            var writer = XMLWriter(contentNamespace: .none)
            writer.append(element)
            return writer.buffer
        }
    }

    /// But for extensions, which the older kind need not know.
    func isSame(as other: Bookmark) -> Bool {
        room == other.room && name == other.name && isEnteredByItself == other.isEnteredByItself && nickname == other.nickname
            && password == other.password
    }

    func payload(extensions known: ByteBuffer?) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        write(.bookmarks, address: nil, extensions ?? known, to: &writer)
        return writer.buffer
    }

    /// As the older kind.
    func write(to writer: inout XMLWriter) { write(.bookmarkStorage, address: room.description, extensions, to: &writer) }

    private func write(_ namespace: Namespace, address: String?, _ extensions: ByteBuffer?, to writer: inout XMLWriter) {
        writer.element("conference", namespace, ["jid": address, "name": name, "autojoin": isEnteredByItself ? "true" : nil]) { writer in
            if let nickname { writer.element("nick", namespace, text: nickname) }
            if let password { writer.element("password", namespace, text: password) }
            if let extensions { writer.raw(extensions) }
        }
    }
}
