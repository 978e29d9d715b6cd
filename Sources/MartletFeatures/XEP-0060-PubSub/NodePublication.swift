import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// Items are published (§7.1).
extension PubSubNodes {
    mutating func publish(
        _ publication: PubSubRequest.Publication, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        // Everything that may be refused is refused before there is a new node.
        let known = nodes[OctetName(publication.node)]
        if let known {
            guard mayPublish(actor, at: known, audience) else { throw .forbidden }
            try checkPreconditions(publication.options, of: known.configuration)
        } else if actor.bare != account {
            throw .itemNotFound
        }
        let configuration = if let known { known.configuration } else { try configurationForPublication(publication.options) }
        try check(publication, configuration)
        let keeps = configuration.persistsItems
        let itemsMax = configuration.itemsMax(within: settings)
        // A node of one item has the new one afterwards, whatever it had.
        if let known, keeps, itemsMax > 1, marks[known.id] == nil { return effects.needsMarks = known.id }
        if keeps { try checkBytes(publication, at: known, itemsMax) }

        let node = if let known { known } else {
            try createForPublication(publication.node, publication.options, actor, moment, &effects)
        }
        let items = publication.items.map { item in
            NodeItem(name: item.name ?? moment.token(), place: nextPlace(moment), time: moment.now, publisher: actor, payload: item.payload)
        }
        answer(items, at: node, &effects)
        if configuration.deliversNotifications {
            effects.notices.append(itemsNotice(items, node, actor, body: publication.items.lazy.compactMap(\.body).first))
        }
        guard keeps else { return }
        for item in items { effects.writes.append(.publish(node.id, item)) }
        keep(items, at: node, itemsMax, actor, &effects)
    }

    private func mayPublish(_ actor: JID, at node: PubSubNode, _ audience: some NodeAudience) -> Bool {
        if let may = affiliation(of: actor, at: node, audience).mayPublish { return may }
        return switch node.configuration.publishModel {
        case .publishers: false
        case .subscribers: node.subscriptions.isSubscribed(actor.bare)
        case .open: true
        }
    }

    /// The node is as the publisher believes (§7.1.5).
    private func checkPreconditions(_ options: DataForm?, of configuration: NodeConfiguration) throws(PubSubError) {
        guard let options else { return }
        let settings = settings
        var wanted = configuration
        try asPubSub { () throws(StanzaError) in try wanted.take(preconditions: options, settings) }
        guard wanted.resolved(within: settings) == configuration.resolved(within: settings) else { throw .preconditionNotMet(nil) }
    }

    /// The publication is of the kind that the node is for (§4.3, §7.1.3), and within its limits.
    func check(_ publication: PubSubRequest.Publication, _ configuration: NodeConfiguration) throws(PubSubError) {
        let items = publication.items
        let isOfItems = configuration.persistsItems || configuration.deliversPayloads
        guard isOfItems || items.isEmpty else { throw .itemForbidden }
        guard !isOfItems || !items.isEmpty else { throw .itemRequired }
        guard items.count <= configuration.itemsMax(within: settings) else { throw .maxItemsExceeded }
        let payloadBytesMax = configuration.payloadBytesMax(within: settings)
        for item in items {
            guard item.payload.readableBytes <= payloadBytesMax else { throw .payloadTooBig(bytesMax: payloadBytesMax) }
            if configuration.deliversPayloads, item.payload.readableBytes == 0 { throw .payloadRequired }
            guard item.name?.utf8.count ?? 0 <= settings.itemNameBytesMax else {
                throw .notAcceptable("the name of an item may have \(settings.itemNameBytesMax) bytes")
            }
        }
    }

    /// What the owner has is within bounds afterwards.
    private func checkBytes(_ publication: PubSubRequest.Publication, at node: PubSubNode?, _ itemsMax: Int) throws(PubSubError) {
        let new = publication.items.reduce(0) { $0 + $1.payload.readableBytes }
        let gone = node.map { itemsMax == 1 ? $0.itemBytes : goneBytes(publication, $0, itemsMax) } ?? 0
        guard byteCount - gone + new <= settings.bytesMax else {
            throw PubSubError(.resourceConstraint, text: "items may have \(settings.bytesMax) bytes in all")
        }
    }

    /// Of items that are replaced, and of the oldest, which go where there are too many.
    private func goneBytes(_ publication: PubSubRequest.Publication, _ node: PubSubNode, _ itemsMax: Int) -> Int {
        guard let marks = marks[node.id] else { return 0 }
        let names = Set(publication.items.compactMap(\.name).map(OctetName.init))
        let replaced = names.compactMap { marks[$0.text] }
        let tooMany = max(0, marks.count - replaced.count + publication.items.count - itemsMax)
        let oldest = marks.inOrder.lazy.filter { !names.contains(OctetName($0.name)) }.prefix(tooMany)
        return replaced.reduce(0) { $0 + $1.byteCount } + oldest.reduce(0) { $0 + $1.byteCount }
    }

    private func answer(_ items: [NodeItem], at node: PubSubNode, _ effects: inout NodeEffects) {
        effects.reply { writer in
            writer.element("pubsub", .pubsub) { writer in
                writer.element("publish", .pubsub, ["node": node.name]) { writer in
                    for item in items { writer.element("item", .pubsub, ["id": item.name]) }
                }
            }
        }
    }

    /// Takes the items in. The oldest go where there are too many (§7.1.2.5), and those who are told of retractions are told; where there is
    /// one item at most, the new one says enough.
    private mutating func keep(_ items: [NodeItem], at node: PubSubNode, _ itemsMax: Int, _ actor: JID, _ effects: inout NodeEffects) {
        if itemsMax == 1, let item = items.first {
            effects.writes.append(.forget(node.id, upTo: item.place - 1))
            return setMarks(NodeItemMarks([item.mark]), of: node.id)
        }
        let gone = changeMarks(of: node.id) { marks in
            for item in items { marks.publish(item.mark) }
            return marks.trim(to: itemsMax)
        }
        guard let last = gone.last else { return }
        effects.writes.append(.forget(node.id, upTo: last.place))
        guard node.configuration.notifiesRetraction, node.configuration.deliversNotifications else { return }
        effects.notices.append(retractionNotice(gone.map(\.name), node, actor))
    }
}
