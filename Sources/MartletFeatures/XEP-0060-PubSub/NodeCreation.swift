import MartletCore
import MartletXML
import MartletXMPP

/// Nodes come, are configured, and go (§8.1 to §8.5).
extension PubSubNodes {
    // MARK: Creation (§8.1)

    mutating func create(
        _ name: String?, _ form: DataForm?, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        guard mayCreate(actor, audience), audience.isAdmin || name.map(settings.reservedNames.contains) != true else { throw .forbidden }
        if let name, nodes[OctetName(name)] != nil { throw PubSubError(.conflict) }
        var configuration = NodeConfiguration(defaultsOf: settings)
        if let form, form.kind != .cancel { configuration = try self.configuration(configuration, taking: form) }
        let made = try add(name ?? moment.token(), configuration, actor, moment, &effects)
        effects.reply { writer in
            writer.element("pubsub", .pubsub) { $0.element("create", .pubsub, ["node": made.name]) }
        }
    }

    /// At an account only the account; at a service whom the operator lets.
    private func mayCreate(_ actor: JID, _ audience: some NodeAudience) -> Bool {
        if let account { return actor.bare == account }
        if audience.isAdmin { return true }
        return switch settings.creators {
        case .administrators: false
        case .localAccounts: audience.isLocal(actor.bare)
        }
    }

    /// The node that a publication makes (§7.1.4): only at an account, by the account.
    mutating func createForPublication(
        _ name: String, _ options: DataForm?, _ actor: JID, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) -> PubSubNode {
        guard let account, actor.bare == account else { throw .itemNotFound }
        return try add(name, try configurationForPublication(options), actor, moment, &effects)
    }

    /// The same before it is decided that there will be a node.
    func configurationForPublication(_ options: DataForm?) throws(PubSubError) -> NodeConfiguration {
        var configuration = NodeConfiguration(defaultsOf: settings)
        guard let options else { return configuration }
        let settings = settings
        try asPubSub { () throws(StanzaError) in try configuration.take(preconditions: options, settings) }
        return configuration
    }

    private mutating func add(
        _ name: String, _ configuration: NodeConfiguration, _ actor: JID, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) -> PubSubNode {
        guard name.utf8.count <= settings.nodeNameBytesMax else {
            throw .notAcceptable("the name of a node may have \(settings.nodeNameBytesMax) bytes")
        }
        guard nodes.count < settings.nodesMax else {
            throw PubSubError(.resourceConstraint, text: "there may be \(settings.nodesMax) nodes")
        }
        var node = PubSubNode(NodeID(raw: nextPlace(moment)), name, created: moment.now, by: actor.bare, configuration)
        // An account owns its nodes anyway.
        if account == nil { node.affiliations[actor.bare] = .owner }
        forgetMoved(name, &effects)
        set(node)
        effects.writes.append(.create(owner, node.stored(settings)))
        return node
    }

    // MARK: Configuration (§8.2, §8.3)

    func answerConfiguration(_ name: String, _ actor: JID, _ audience: some NodeAudience, _ effects: inout NodeEffects) throws(PubSubError) {
        let form = try ownedNode(name, actor, audience).configuration.form(.form, settings)
        effects.reply { writer in
            writer.element("pubsub", .pubsubOwner) { writer in
                writer.element("configure", .pubsubOwner, ["node": name]) { form.write(to: &$0) }
            }
        }
    }

    func answerDefaultConfiguration(_ effects: inout NodeEffects) {
        let form = NodeConfiguration(defaultsOf: settings).form(.form, settings)
        effects.reply { writer in
            writer.element("pubsub", .pubsubOwner) { writer in
                writer.element("default", .pubsubOwner) { form.write(to: &$0) }
            }
        }
    }

    mutating func configure(
        _ name: String, _ form: DataForm, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        var node = try ownedNode(name, actor, audience)
        if form.kind == .cancel { return }
        let old = node.configuration
        let new = try configuration(old, taking: form)
        guard new != old else { return }
        let itemsMax = new.persistsItems ? new.itemsMax(within: settings) : 0
        if itemsMax > 0, node.itemCount > itemsMax, marks[node.id] == nil { return effects.needsMarks = node.id }
        node.configuration = new
        set(node)
        effects.writes.append(.setRecord(node.id, node.record(settings)))
        forget(allBut: itemsMax, of: node, moment, &effects)
        if new.notifiesConfiguration { effects.notices.append(configurationNotice(node, actor)) }
        if new.accessModel != old.accessModel || new.rosterGroups != old.rosterGroups {
            reviewSubscriptions(of: node, actor, audience, &effects)
        }
    }

    /// A configuration with what a form says.
    func configuration(_ old: NodeConfiguration, taking form: DataForm) throws(PubSubError) -> NodeConfiguration {
        var new = old
        let settings = settings
        try asPubSub { () throws(StanzaError) in try new.take(form, settings) }
        return new
    }

    /// The latest items stay.
    private mutating func forget(allBut count: Int, of node: PubSubNode, _ moment: NodeMoment, _ effects: inout NodeEffects) {
        guard node.itemCount > count else { return }
        if count == 0 { return forgetAll(of: node, moment, &effects) }
        let gone = changeMarks(of: node.id) { $0.trim(to: count) }
        if let last = gone.last { effects.writes.append(.forget(node.id, upTo: last.place)) }
    }

    private mutating func forgetAll(of node: PubSubNode, _ moment: NodeMoment, _ effects: inout NodeEffects) {
        effects.writes.append(.forget(node.id, upTo: nextPlace(moment)))
        setMarks(NodeItemMarks(), of: node.id)
    }

    // MARK: The end (§8.4, §8.5)

    mutating func delete(
        _ name: String, _ redirect: String?, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let node = try ownedNode(name, actor, audience)
        guard redirect?.utf8.count ?? 0 <= settings.textBytesMax else {
            throw .notAcceptable("the address of another node may have \(settings.textBytesMax) bytes")
        }
        discard(node, redirect, by: actor, &effects)
        if let redirect { note(node, movedTo: redirect, moment, &effects) }
    }

    /// A node with all that is in it, which those are told who are subscribed to it.
    mutating func discard(_ node: PubSubNode, _ redirect: String? = nil, by actor: JID, _ effects: inout NodeEffects) {
        effects.writes.append(.delete(node.id))
        if node.configuration.notifiesDeletion { effects.notices.append(deletionNotice(node, redirect, actor)) }
        remove(node)
    }

    mutating func purge(
        _ name: String, _ actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        let node = try ownedNode(name, actor, audience)
        guard node.configuration.persistsItems else { throw .unsupported("persistent-items") }
        forgetAll(of: node, moment, &effects)
        // §8.5.2: one notice instead of one for each item.
        if node.configuration.notifiesRetraction { effects.notices.append(notice(.purge, node, actor) { $0.event("purge", name) }) }
    }
}
