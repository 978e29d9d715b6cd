import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// The older list at a node of its own (XEP-0048 §3), which clients read, write and hear of as if it were one: it is the same as the newer node and the
/// list in private storage (XEP-0411).
enum OlderBookmarks {
    static let specification = Specification.xep(411, "Bookmarks Conversion", version: "1.1.0")
    static let node = Namespace.bookmarkStorage.name
    /// Longest list that is told in an event, in bytes: about what one stanza may have. Who wants to know a longer one has to ask.
    static let eventBytesMax = 256 * 1024
    private static let item = "current"

    /// Answers the account's own reading and writing of the list.
    ///
    /// - Returns: `false` for any other request.
    static func answer(_ request: PubSubRequest, _ held: HeldRequest, _ eventing: PersonalEventing, _ context: LoopContext) -> Bool {
        guard request.node == node else { return false }
        let (nodes, session) = (eventing.ownNodes(of: held, context), held.request.actor)
        switch request {
        case .items:
            held.answer(context) { _ async throws(StanzaError) in
                let list = try await Bookmarks.list(nodes, for: session)
                return reply { writer in
                    writer.element("items", .pubsub, ["node": node]) { writer in
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
                try await Bookmarks.setList(list.root, nodes, by: session)
                return reply { writer in
                    writer.element("publish", .pubsub, ["node": node]) { $0.element("item", .pubsub, ["id": item]) }
                }
            }
        default: return false
        }
        return true
    }

    private static func reply(_ content: (inout XMLWriter) -> Void) -> IQReply {
        IQReply { writer in writer.element("pubsub", .pubsub, [:], content) }
    }

    // MARK: Events (XEP-0411 §3)

    /// Whether somebody wants to hear of the list.
    static func isWanted(at home: AccountHome) -> Bool { home.sessions.contains(where: wants) }

    private static func wants(_ entry: SessionEntry) -> Bool { entry.isAvailable && entry.profile.interests.contains(node) }

    /// Tells the account's sessions that want to hear of the list, and have not seen it as it is. One that comes online hears nothing of an empty one.
    static func tell(_ nodes: OwnNodes) async {
        guard let list = try? await BookmarkList(nodes) else { return }
        let bytes = list.encoded
        guard bytes.readableBytes <= eventBytesMax else { return }
        let (shown, account, router) = (list.shown(as: bytes), nodes.account, nodes.router)
        nodes.mailbox.run { context in
            router.withHome(of: account, context) { home, context in
                guard home.isResident, let message = message(bytes, of: account, context) else { return }
                for index in home.sessions.indices where wants(home.sessions[index]) {
                    let known = home.sessions[index].shownBookmarks
                    if known?.content == shown.content || known == nil && shown.parts.isEmpty { continue }
                    home.sessions[index].shownBookmarks = shown
                    context.post(message.encoded(to: .full(home.sessions[index].address)), to: home.sessions[index].ref)
                }
            }
            context.runEffects()
        }
    }

    private static func message(_ list: ByteBuffer, of account: BareJID, _ context: LoopContext) -> Stanza? {
        let encoded = StanzaBuilder.message(.headline, from: .bare(account), to: nil, id: context.random.token()) { writer in
            writer.event("items", node) { writer in
                writer.element("item", .pubsubEvent, ["id": item]) { $0.raw(list) }
            }
        }
        return Stanza(sent: encoded)
    }
}
