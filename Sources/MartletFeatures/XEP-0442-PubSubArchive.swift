package import MartletCore
package import MartletXML
package import MartletXMPP

/// What a node has, read as an archive of what was told of it: by time and by pages, each item as the message that told of it. The items that the node keeps
/// are the archive, and who may read them may read it; an item's place is its name there.
package enum PubSubArchive {
    package static let specification = Specification.xep(
        442, "Pubsub Message Archive Management", version: "0.2.0", note: "of the items that nodes keep; without metadata")

    /// A page of the archive: what is to be read, and how it is answered.
    struct Page: ItemsAnswer {
        let node: NodeID
        let name: String
        /// The owner's.
        let address: BareJID
        let recipient: FullJID
        let query: ArchiveQuery
        /// In order.
        let marks: [NodeItemMark]
        let isComplete: Bool
        /// Items that pass the filters, on whatever page.
        let count: Int
        let type: MessageType
        let style: ItemStyle

        var which: ItemsReading.Which { .names(marks.map(\.name)) }
    }
}

extension PubSubRequest {
    /// §2. A node's archive is asked as XEP-0313 has it, with the node's name.
    package static func archive(_ query: ElementView, _ kind: IQType) throws(PubSubError) -> PubSubRequest {
        // Neither an account's messages are anybody's, nor has a service any.
        guard let node = query.attribute("node"), !node.isEmpty else { throw PubSubError(.serviceUnavailable) }
        guard kind == .set else { return .archiveForm(node: node) }
        return .archive(node: node, try asPubSub { () throws(StanzaError) in try ArchiveQuery(ofItems: query) })
    }
}

extension PubSubNodes {
    func answerArchiveForm(_ name: String, _ actor: JID, _ audience: some NodeAudience, _ effects: inout NodeEffects) throws(PubSubError) {
        _ = try archivedNode(name, actor, audience)
        effects.answer = .reply(ArchiveAnswers.form(ofNode: name))
    }

    func readArchive(
        _ name: String, _ query: ArchiveQuery, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let node = try archivedNode(name, actor, audience)
        guard case .full(let recipient) = actor else { throw .badRequest("who asks an archive has a resource") }
        guard let known = marks[node.id] else { return effects.needsMarks = node.id }
        let page = try NodeArchivePage(query, known, bytesMax: settings.pageBytesMax)
        effects.answer = .read(
            PubSubArchive.Page(
                node: node.id, name: node.name, address: address, recipient: recipient, query: query, marks: page.marks, isComplete: page.isComplete,
                count: page.count, type: type(of: node), style: style(of: node, hasPayload: node.configuration.deliversPayloads)))
    }

    /// A node that has items, for one who may read them (XEP-0060 §6.5).
    private func archivedNode(_ name: String, _ actor: JID, _ audience: some NodeAudience) throws(PubSubError) -> PubSubNode {
        let node = try node(name)
        if let refusal = access(to: node).refusal(ofReading: actor.bare, affiliation(of: actor, at: node, audience), audience) { throw refusal }
        guard node.configuration.persistsItems else { throw .unsupported("persistent-items") }
        return node
    }
}

/// Which items of a node a query finds, and which of them are on the page that is asked for.
struct NodeArchivePage: Hashable {
    /// In order.
    let marks: [NodeItemMark]
    /// Whether nothing more would pass in the direction of the query.
    let isComplete: Bool
    let count: Int

    /// - Parameter bytesMax: of payloads on the page; one item is on it in any case.
    init(_ query: ArchiveQuery, _ all: NodeItemMarks, bytesMax: Int) throws(PubSubError) {
        let request = query.request
        // Whatever is named has to be there (XEP-0313 §4.1.3, §4.3.2).
        guard request.named.allSatisfy(all.contains) else { throw .itemNotFound }
        var whole = query
        whole.page = .first
        count = Self.found(whole.request, in: all).count
        let found = Self.found(request, in: all)
        let asked = request.isBackwards ? Array(found.suffix(request.limit).reversed()) : Array(found.prefix(request.limit))
        var bytes = 0
        let fitting = asked.enumerated().prefix { index, mark in
            bytes += mark.byteCount
            return index == 0 || bytes <= bytesMax
        }.map(\.element)
        marks = request.isBackwards ? fitting.reversed() : fitting
        isComplete = fitting.count == found.count
    }

    /// Only times and lists of names make it necessary to look at each item.
    private static func found(_ request: ArchiveRequest, in all: NodeItemMarks) -> ArraySlice<NodeItemMark> {
        let end = request.before.map(all.index(from:)) ?? all.count
        let first = request.after.map { all.index(from: $0 + 1) } ?? 0
        let between = all.inOrder[min(first, end)..<end]
        return request.isByName ? between : between.filter(request.passes)[...]
    }
}

extension ArchiveRequest {
    /// Whether an item passes that is where it may be.
    fileprivate func passes(_ mark: NodeItemMark) -> Bool {
        if let start, mark.time < start { return false }
        if let end, mark.time > end { return false }
        return ids?.contains(mark.place) ?? true
    }
}

extension PubSubArchive.Page {
    /// - Parameter items: as they are read. Those that were published anew meanwhile are elsewhere in the archive.
    func reply(_ items: [NodeItem]) -> IQReply {
        let read = Dictionary(items.map { ($0.place, $0) }) { first, _ in first }
        let messages = marks.compactMap { read[$0.place] }.map { LoggedMessage(view: $0.place, time: $0.time, stanza: message($0)) }
        var reply = ArchiveAnswers.fin(ArchivePage(messages: messages, isComplete: isComplete, count: count))
        reply.before = (query.isFlipped ? messages.reversed() : messages).compactMap { message in
            ArchiveAnswers.result(message, of: address, to: recipient, queryID: query.queryID)
        }
        return reply
    }

    /// §3: as it was told, one item in each.
    private func message(_ item: NodeItem) -> EncodedStanza {
        StanzaBuilder.message(type, from: .bare(address), to: nil) { writer in
            writer.event("items", name) { style.write(item, to: &$0, .pubsubEvent) }
        }
    }
}
