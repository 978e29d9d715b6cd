package import MartletCore
package import MartletXML
package import MartletXMPP

/// What nodes and those who have them say of themselves (§5.1 to §5.5).
extension PubSubNodes {
    /// What is announced of an account or a service besides what it is otherwise (§5.1, §10; XEP-0163 §6.1).
    package static func identity(_ settings: PubSubSettings) -> DiscoInfo.Identity {
        DiscoInfo.Identity("pubsub", settings.isPersonal ? "pep" : "service")
    }

    /// Names of features, from what is handled, in order.
    package static func features(_ settings: PubSubSettings) -> [String] {
        let handled = Set(PubSubRequest.routes.flatMap(\.features))
        let defaults = NodeConfiguration(defaultsOf: settings)
        let all = handled.union(always).union(settings.isPersonal ? personal : []).union(["access-\(defaults.accessModel.rawValue)"])
        return ([Namespace.pubsub.name] + all.map { "\(Namespace.pubsub.name)#\($0)" }).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// What no request of its own stands for.
    private static let always: Set<String> = ["meta-data", "get-pending"]
    /// What an account's nodes do besides. Whom they tell without being asked to is found by those who carry out a ``NodeNotice``.
    private static let personal: Set<String> = [
        "auto-create", "auto-subscribe", "filtered-notifications", "last-published", "presence-notifications", "presence-subscribe", "pubsub-on-a-jid",
    ]

    /// A node that somebody may know of: one that he may subscribe to, or ask to.
    func isVisible(_ node: PubSubNode, to actor: JID, _ audience: some NodeAudience) -> Bool {
        access(to: node).refusal(ofSubscribing: actor.bare, affiliation(of: actor, at: node, audience), audience) == nil
    }

    /// What is announced besides ``features(_:)``: what nodes do by protocols of their own.
    package static let namespaces: [Namespace] = [.commands, .headers]

    /// The answer to who wants to know of a node, or of one of those that there are by themselves: to those who may not know of it, it is not there.
    package func answer(toInfoOf name: String, for actor: JID, _ audience: some NodeAudience) throws(PubSubError) -> IQReply {
        switch name {
        case Namespace.headers.name where account == nil || audience.seesPresence(actor.bare): return SubscriptionHeaders.info
        case Namespace.commands.name where isOwner(actor, audience): return AdHocCommands.listInfo
        case Self.pendingCommand.node where isOwner(actor, audience): return AdHocCommands.info(Self.pendingCommand)
        default: return try info(of: name, for: actor, audience).reply(node: name)
        }
    }

    /// §5.3, §5.4. To those who may not know of it, a node is not there.
    package func info(of name: String, for actor: JID, _ audience: some NodeAudience) throws(PubSubError) -> DiscoInfo {
        try checkMoved(name, actor, audience)
        let node = try node(name)
        guard isVisible(node, to: actor, audience) else { throw .itemNotFound }
        let title = node.configuration.title
        let archive = node.configuration.persistsItems ? [Namespace.archive.name] : []
        return DiscoInfo(
            identities: [.init("pubsub", "leaf", name: title.isEmpty ? nil : title)], features: Self.features(settings) + archive, forms: [metadata(node)])
    }

    private func metadata(_ node: PubSubNode) -> DiscoForm {
        let configuration = node.configuration
        let publishers = node.affiliations.filter { $0.value == .publisher }.keys.map(\.description).sorted()
        let fields: [DiscoForm.Field] = [
            .init("pubsub#type", [configuration.payloadType]), .init("pubsub#creator", node.creator.map { [$0.description] } ?? [], .jidSingle),
            .init("pubsub#creation_date", [DateTime.text(milliseconds: node.created)]), .init("pubsub#title", [configuration.title]),
            .init("pubsub#description", [configuration.description]),
            .init("pubsub#access_model", [configuration.accessModel.rawValue], .listSingle),
            .init("pubsub#publish_model", [configuration.publishModel.rawValue], .listSingle),
            .init("pubsub#max_items", [String(configuration.itemsMax(within: settings))]),
            .init("pubsub#owner", owners(of: node).map(\.description), .jidMulti), .init("pubsub#publisher", publishers, .jidMulti),
            .init("pubsub#num_subscribers", [String(node.subscriptions.count)]),
        ]
        return DiscoForm(type: "http://jabber.org/protocol/pubsub#meta-data", fields: fields.filter { !$0.values.isEmpty && $0.values != [""] })
    }

    // MARK: Items

    /// The nodes that somebody may know of (§5.2), by pages (XEP-0059).
    package func items(for actor: JID, _ audience: some NodeAudience, _ query: ElementView) throws(PubSubError) -> IQReply {
        let request = try asPubSub { () throws(StanzaError) in try ResultSetRequest(in: query) }
        let page = NamePage(names { isVisible($0, to: actor, audience) }, request, settings.pageEntriesMax)
        return IQReply { writer in
            writer.element("query", .discoItems) { writer in
                for name in page.names {
                    let title = nodes[OctetName(name)]?.configuration.title ?? ""
                    writer.element("item", .discoItems, ["jid": address.description, "node": name, "name": title.isEmpty ? nil : title])
                }
                page.write(to: &writer)
            }
        }
    }

    /// The items of a node (§5.5), for those who may read them, by pages (XEP-0059). May need marks, as a request does.
    package func items(
        of name: String, for actor: JID, _ audience: some NodeAudience, _ query: ElementView, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        if name == Namespace.commands.name, isOwner(actor, audience) {
            return effects.answer = .reply(AdHocCommands.items([Self.pendingCommand], at: address))
        }
        try checkMoved(name, actor, audience)
        let node = try node(name)
        guard isVisible(node, to: actor, audience) else { throw .itemNotFound }
        if let refusal = access(to: node).refusal(ofReading: actor.bare, affiliation(of: actor, at: node, audience), audience) { throw refusal }
        guard let marks = marks[node.id] else { return effects.needsMarks = node.id }
        let request = try asPubSub { () throws(StanzaError) in try ResultSetRequest(in: query) }
        let page = NamePage(marks.inOrder.map { OctetName($0.name) }, request, settings.pageEntriesMax)
        effects.reply { writer in
            writer.element("query", .discoItems, ["node": name]) { writer in
                for item in page.names { writer.element("item", .discoItems, ["jid": address.description, "name": item]) }
                page.write(to: &writer)
            }
        }
    }
}
