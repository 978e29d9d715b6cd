import MartletCore
import MartletXMPP
import NIOCore

/// Several items of an account's node change at once, for the server itself: what clients of an older protocol keep as one list is one item each here.
extension PubSubNodes {
    /// All of it, or none: what may be refused is refused before anything changes, and what changes is one commit.
    mutating func replace(
        _ replacement: PubSubRequest.Replacement, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        guard actor.bare == account else { throw .forbidden }
        let known = nodes[OctetName(replacement.node)]
        if let known, marks[known.id] == nil { return effects.needsMarks = known.id }
        let form = replacement.form(NodeConfiguration.formType)
        let configuration = try configuration(known?.configuration ?? NodeConfiguration(defaultsOf: settings), taking: form)
        let publication = PubSubRequest.Publication(node: replacement.node, items: replacement.items)
        if !replacement.items.isEmpty { try check(publication, configuration) }
        let gone = replacement.retracted.filter { name in known.flatMap { marks[$0.id]?.place(of: name) } != nil }
        try checkRoom(for: replacement.items, besides: gone, at: known, configuration)

        effects.beside = replacement.beside
        if known != nil {
            try configure(replacement.node, form, actor, audience, moment, &effects)
        } else if !replacement.items.isEmpty {
            _ = try createForPublication(replacement.node, replacement.form(NodeConfiguration.publishOptionsType), actor, moment, &effects)
        }
        guard let node = nodes[OctetName(replacement.node)] else { return }
        retract(gone, from: node, actor, &effects)
        publish(replacement.items, at: node, actor, moment, &effects)
    }

    /// What there is afterwards is within bounds: nothing goes because there would be too much.
    private func checkRoom(
        for items: [PubSubRequest.Publication.Item], besides gone: [String], at node: PubSubNode?, _ configuration: NodeConfiguration
    ) throws(PubSubError) {
        let marks = node.flatMap { self.marks[$0.id] } ?? NodeItemMarks()
        let names = Set((gone + items.compactMap(\.name)).map(OctetName.init))
        let leaving = names.compactMap { marks[$0.text] }
        let itemsMax = configuration.itemsMax(within: settings)
        guard marks.count - leaving.count + items.count <= itemsMax else { throw .maxItemsExceeded }
        let new = items.reduce(0) { $0 + $1.payload.readableBytes }
        guard byteCount - leaving.reduce(0, { $0 + $1.byteCount }) + new <= settings.bytesMax else {
            throw PubSubError(.resourceConstraint, text: "items may have \(settings.bytesMax) bytes in all")
        }
    }

    private mutating func retract(_ names: [String], from node: PubSubNode, _ actor: JID, _ effects: inout NodeEffects) {
        guard !names.isEmpty else { return }
        changeMarks(of: node.id) { marks in
            for name in names { marks.remove(name) }
        }
        effects.writes.append(.retract(node.id, names: names))
        if node.configuration.deliversNotifications { effects.notices.append(retractionNotice(names, node, actor)) }
    }

    /// Each item is told of by itself, as clients know it.
    private mutating func publish(
        _ items: [PubSubRequest.Publication.Item], at node: PubSubNode, _ actor: JID, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) {
        for item in items {
            let made = NodeItem(
                name: item.name ?? moment.token(), place: nextPlace(moment), time: moment.now, publisher: actor, payload: item.payload)
            if node.configuration.deliversNotifications { effects.notices.append(itemsNotice([made], node, actor, body: item.body)) }
            guard node.configuration.persistsItems else { continue }
            effects.writes.append(.publish(node.id, made))
            changeMarks(of: node.id) { $0.publish(made.mark) }
        }
    }
}

extension PubSubRequest.Replacement {
    fileprivate func form(_ type: String) -> DataForm {
        var form = DataForm(.submit, type: type)
        form.fields += configuration.sorted { $0.key < $1.key }.map { DataForm.Field($0.key, nil, [$0.value]) }
        return form
    }
}
