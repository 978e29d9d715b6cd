package import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

/// What is asked of nodes, read from `<pubsub/>` of either namespace.
package enum PubSubRequest: Sendable {
    // What everybody may ask (§5, §6, §7).
    case subscriptions(node: String?, ResultSetRequest)
    case affiliations(node: String?, ResultSetRequest)
    case subscribe(node: String, JID, options: DataForm?)
    case unsubscribe(Subscriber)
    case options(Subscriber)
    case setOptions(Subscriber, DataForm)
    case defaultOptions(node: String?)
    case items(ItemsQuery)
    case publish(Publication)
    case retract(node: String, items: [String], notifies: Bool)
    /// An instant node if there is no name (§8.1.1).
    case create(node: String?, DataForm?)
    // What owners may ask (§8).
    case configuration(node: String)
    case configure(node: String, DataForm)
    case defaultConfiguration
    case delete(node: String, redirect: String?)
    case purge(node: String)
    case listSubscriptions(node: String, ResultSetRequest)
    case changeSubscriptions(node: String, [SubscriptionChange])
    case listAffiliations(node: String, ResultSetRequest)
    case changeAffiliations(node: String, [AffiliationChange])
    /// What a node has (XEP-0442), and how that is asked for.
    case archive(node: String, ArchiveQuery)
    case archiveForm(node: String)
    /// A command (XEP-0050), of those that nodes have (§8.7).
    case command(CommandRequest)
    /// Of the server itself; nobody can ask it.
    case replace(Replacement)

    /// Whose subscription it is about.
    package struct Subscriber: Hashable, Sendable {
        package var node: String
        package var address: JID
        package var id: String?
    }

    /// §6.5.
    package struct ItemsQuery: Hashable, Sendable {
        package var node: String
        /// Empty: all of them.
        package var names: [String] = []
        /// The latest so many (§6.5.7).
        package var latest: Int?
        package var page: ResultSetRequest?
        package var subscriptionID: String?
    }

    /// §7.1.
    package struct Publication: Sendable {
        package struct Item: Hashable, Sendable {
            /// `nil`: the service gives it one.
            package var name: String?
            /// The one element in it, written so that it means the same in whatever stands around it; empty if there is none.
            package var payload: ByteBuffer
            /// What it says to those who do not know the payload (§12.7).
            package var body: String?
        }
        package var node: String
        package var items: [Item]
        package var options: DataForm?
    }

    /// Items come and go at once.
    package struct Replacement: Sendable {
        package var node: String
        /// Fields that the node has to have; one that has others is configured anew.
        package var configuration: [String: String] = [:]
        /// Names of items that go, as far as they are there.
        package var retracted: [String] = []
        /// Published in this order, each name once.
        package var items: [Publication.Item] = []
        /// On disk in the same commit.
        package var beside: [Write] = []
    }

    /// `nil` keeps it as it is (§8.8.2.1).
    package struct SubscriptionChange: Hashable, Sendable {
        package enum State: String, Hashable, Sendable { case none, subscribed }
        package var address: JID
        package var id: String?
        package var state: State?
    }

    package struct AffiliationChange: Hashable, Sendable {
        package var address: BareJID
        package var affiliation: NodeAffiliation?
    }

    /// The node that it is about, if it is about one.
    package var node: String? {
        switch self {
        case .subscriptions(let node, _), .affiliations(let node, _), .defaultOptions(let node), .create(let node, _): node
        case .subscribe(let node, _, _), .retract(let node, _, _), .configuration(let node), .configure(let node, _), .delete(let node, _),
            .purge(let node), .listSubscriptions(let node, _), .changeSubscriptions(let node, _), .listAffiliations(let node, _),
            .changeAffiliations(let node, _), .archive(let node, _), .archiveForm(let node):
            node
        case .unsubscribe(let subscriber), .options(let subscriber), .setOptions(let subscriber, _): subscriber.node
        case .items(let query): query.node
        case .publish(let publication): publication.node
        case .replace(let replacement): replacement.node
        case .defaultConfiguration, .command: nil
        }
    }
}

/// One kind of request, how it is read, and what service discovery says of it (§10).
struct PubSubRoute: Sendable {
    typealias Reading = @Sendable (_ child: ElementView, _ pubsub: ElementView) throws(PubSubError) -> PubSubRequest
    let kind: IQType
    let local: StaticString
    let namespace: Namespace
    /// Without `http://jabber.org/protocol/pubsub#`.
    let features: [String]
    let read: Reading

    init(_ kind: IQType, _ local: StaticString, _ namespace: Namespace, _ features: [String], _ read: @escaping Reading) {
        self.kind = kind
        self.local = local
        self.namespace = namespace
        self.features = features
        self.read = read
    }
}

extension PubSubRequest {
    /// Everything that is handled: what is announced comes from here.
    static let routes: [PubSubRoute] = everybodys + owners

    private static let everybodys: [PubSubRoute] = [
        PubSubRoute(.get, "subscriptions", .pubsub, ["retrieve-subscriptions"]) { child, pubsub throws(PubSubError) in
            .subscriptions(node: child.nodeIfAny, try pubsub.page())
        },
        PubSubRoute(.get, "affiliations", .pubsub, ["retrieve-affiliations"]) { child, pubsub throws(PubSubError) in
            .affiliations(node: child.nodeIfAny, try pubsub.page())
        },
        PubSubRoute(.set, "subscribe", .pubsub, ["subscribe", "subscription-notifications"]) { child, pubsub throws(PubSubError) in
            .subscribe(node: try child.node(), try child.address(.invalidJID), options: try options(beside: child, in: pubsub))
        },
        PubSubRoute(.set, "unsubscribe", .pubsub, ["subscribe"]) { child, _ throws(PubSubError) in
            .unsubscribe(try child.subscriber(.jidRequired))
        },
        PubSubRoute(.get, "options", .pubsub, ["subscription-options"]) { child, _ throws(PubSubError) in
            .options(try child.subscriber(.jidRequired))
        },
        PubSubRoute(.set, "options", .pubsub, ["subscription-options", "leased-subscription"]) { child, _ throws(PubSubError) in
            guard let form = try child.form() else { throw .invalidOptions("a form is expected") }
            return .setOptions(try child.subscriber(.jidRequired), form)
        },
        PubSubRoute(.get, "default", .pubsub, ["retrieve-default-sub"]) { child, _ throws(PubSubError) in .defaultOptions(node: child.nodeIfAny) },
        PubSubRoute(.get, "items", .pubsub, ["retrieve-items", "persistent-items", "rsm"]) { child, pubsub throws(PubSubError) in
            .items(try ItemsQuery(child, pubsub))
        },
        PubSubRoute(.set, "publish", .pubsub, ["publish", "publish-options", "item-ids", "multi-items"]) { child, pubsub throws(PubSubError) in
            .publish(try Publication(child, pubsub))
        },
        PubSubRoute(.set, "retract", .pubsub, ["delete-items", "retract-items"]) { child, _ throws(PubSubError) in try retraction(child) },
        PubSubRoute(.set, "create", .pubsub, ["create-nodes", "create-and-configure", "instant-nodes"]) { child, pubsub throws(PubSubError) in
            .create(node: child.nodeIfAny, try configuration(beside: child, in: pubsub))
        },
    ]

    private static let owners: [PubSubRoute] = [
        PubSubRoute(.get, "configure", .pubsubOwner, ["config-node", "config-node-max"]) { child, _ throws(PubSubError) in
            .configuration(node: try child.node())
        },
        PubSubRoute(.set, "configure", .pubsubOwner, ["config-node"]) { child, _ throws(PubSubError) in
            guard let form = try child.form() else { throw .badRequest("a form is expected") }
            return .configure(node: try child.node(), form)
        },
        PubSubRoute(.get, "default", .pubsubOwner, ["retrieve-default"]) { child, _ throws(PubSubError) in
            if let type = child.attribute("type"), type != "leaf" { throw .unsupported("collections") }
            return .defaultConfiguration
        },
        PubSubRoute(.set, "delete", .pubsubOwner, ["delete-nodes"]) { child, _ throws(PubSubError) in
            .delete(node: try child.node(), redirect: child.firstChild("redirect", .pubsubOwner)?.attribute("uri").flatMap { $0.isEmpty ? nil : $0 })
        },
        PubSubRoute(.set, "purge", .pubsubOwner, ["purge-nodes"]) { child, _ throws(PubSubError) in .purge(node: try child.node()) },
        PubSubRoute(.get, "subscriptions", .pubsubOwner, ["manage-subscriptions"]) { child, pubsub throws(PubSubError) in
            .listSubscriptions(node: try child.node(), try pubsub.page())
        },
        PubSubRoute(.set, "subscriptions", .pubsubOwner, ["manage-subscriptions"]) { child, _ throws(PubSubError) in
            .changeSubscriptions(node: try child.node(), try subscriptionChanges(child))
        },
        PubSubRoute(.get, "affiliations", .pubsubOwner, ["modify-affiliations"]) { child, pubsub throws(PubSubError) in
            .listAffiliations(node: try child.node(), try pubsub.page())
        },
        PubSubRoute(.set, "affiliations", .pubsubOwner, affiliationFeatures) { child, _ throws(PubSubError) in
            .changeAffiliations(node: try child.node(), try affiliationChanges(child))
        },
    ]

    private static let affiliationFeatures = [
        "modify-affiliations", "member-affiliation", "outcast-affiliation", "publisher-affiliation", "publish-only-affiliation",
    ]

    /// - Parameters:
    ///   - pubsub: `<pubsub/>` in one of the two namespaces that requests have.
    ///   - kind: `get` or `set`.
    package init(_ pubsub: ElementView, _ kind: IQType) throws(PubSubError) {
        guard let child = pubsub.children.first(where: { $0.isIn(.pubsub) || $0.isIn(.pubsubOwner) }) else {
            throw .badRequest("nothing is asked for")
        }
        // What is asked is in the namespace of the element around it.
        guard child.namespaceName == pubsub.namespaceName else { throw .badRequest("what is asked for is in another namespace") }
        for route in Self.routes where route.kind == kind && child.isNamed(route.local, route.namespace) {
            self = try route.read(child, pubsub)
            return
        }
        throw PubSubError(.featureNotImplemented, .cancel)
    }
}

// MARK: Parts

extension ElementView {
    /// An empty name would be that of the root collection (XEP-0248), which there is not.
    fileprivate var nodeIfAny: String? { attribute("node").flatMap { $0.isEmpty ? nil : $0 } }

    fileprivate func node() throws(PubSubError) -> String {
        guard let node = nodeIfAny else { throw .nodeRequired }
        return node
    }

    fileprivate func address(_ missing: PubSubError) throws(PubSubError) -> JID {
        guard let text = attribute("jid") else { throw missing }
        guard let address = try? JID(text) else { throw .invalidJID }
        return address
    }

    fileprivate func subscriber(_ missing: PubSubError) throws(PubSubError) -> PubSubRequest.Subscriber {
        PubSubRequest.Subscriber(node: try node(), address: try address(missing), id: attribute("subid"))
    }

    fileprivate func form() throws(PubSubError) -> DataForm? {
        guard let x = firstChild("x", .dataForms) else { return nil }
        return try asPubSub { () throws(StanzaError) in try DataForm(x) }
    }

    fileprivate func page() throws(PubSubError) -> ResultSetRequest {
        try asPubSub { () throws(StanzaError) in try ResultSetRequest(in: self) }
    }
}

extension PubSubRequest {
    /// Options follow `<subscribe/>`, and name neither node nor address (§6.3.7).
    private static func options(beside subscribe: ElementView, in pubsub: ElementView) throws(PubSubError) -> DataForm? {
        guard let options = pubsub.firstChild("options", .pubsub) else { return nil }
        guard !options.hasAttribute("node"), !options.hasAttribute("jid") else { throw .badRequest("options of a new subscription name no node") }
        return try options.form()
    }

    /// The configuration follows `<create/>`, and names no node (§8.1.3).
    private static func configuration(beside create: ElementView, in pubsub: ElementView) throws(PubSubError) -> DataForm? {
        guard let configure = pubsub.firstChild("configure", .pubsub) else { return nil }
        guard !configure.hasAttribute("node") else { throw .badRequest("the configuration of a new node names none") }
        return try configure.form()
    }

    private static func retraction(_ retract: ElementView) throws(PubSubError) -> PubSubRequest {
        let node = try retract.node()
        var names: [String] = []
        for item in retract.children where item.isNamed("item", .pubsub) {
            guard let name = item.attribute("id"), !name.isEmpty else { throw .itemRequired }
            names.append(name)
        }
        guard !names.isEmpty else { throw .itemRequired }
        guard Set(names.map(OctetName.init)).count == names.count else { throw .badRequest("an item is there twice") }
        let notifies = retract.attributeEquals("notify", "true") || retract.attributeEquals("notify", "1")
        return .retract(node: node, items: names, notifies: notifies)
    }

    private static func subscriptionChanges(_ list: ElementView) throws(PubSubError) -> [SubscriptionChange] {
        var changes: [SubscriptionChange] = []
        for entry in list.children where entry.isNamed("subscription", .pubsubOwner) {
            let name = entry.attribute("subscription")
            let state = name.flatMap(SubscriptionChange.State.init(rawValue:))
            guard name == nil || state != nil else { throw .notAcceptable("a subscription is made subscribed, or none") }
            changes.append(SubscriptionChange(address: try entry.address(.jidRequired), id: entry.attribute("subid"), state: state))
        }
        guard Set(changes.map(\.address)).count == changes.count else { throw .badRequest("somebody is there twice") }
        return changes
    }

    private static func affiliationChanges(_ list: ElementView) throws(PubSubError) -> [AffiliationChange] {
        var changes: [AffiliationChange] = []
        for entry in list.children where entry.isNamed("affiliation", .pubsubOwner) {
            let name = entry.attribute("affiliation")
            let affiliation = name.flatMap(NodeAffiliation.init(named:))
            guard name == nil || affiliation != nil else { throw .badRequest("there is no such affiliation") }
            changes.append(AffiliationChange(address: try entry.address(.jidRequired).bare, affiliation: affiliation))
        }
        guard Set(changes.map(\.address)).count == changes.count else { throw .badRequest("somebody is there twice") }
        return changes
    }
}

extension PubSubRequest.ItemsQuery {
    fileprivate init(_ items: ElementView, _ pubsub: ElementView) throws(PubSubError) {
        node = try items.node()
        subscriptionID = items.attribute("subid")
        if let text = items.attribute("max_items") {
            guard let number = Int(text), number > 0 else { throw .badRequest("max_items is a number above 0") }
            latest = number
        }
        for item in items.children where item.isNamed("item", .pubsub) {
            guard let name = item.attribute("id"), !name.isEmpty else { throw .itemRequired }
            names.append(name)
        }
        if pubsub.hasChild("set", .resultSets) { page = try pubsub.page() }
    }
}

extension PubSubRequest.Publication {
    fileprivate init(_ publish: ElementView, _ pubsub: ElementView) throws(PubSubError) {
        node = try publish.node()
        items = []
        for item in publish.children where item.isNamed("item", .pubsub) { items.append(try Item(item)) }
        let names = items.compactMap(\.name)
        guard Set(names.map(OctetName.init)).count == names.count else { throw .badRequest("an item is there twice") }
        guard let element = pubsub.firstChild("publish-options", .pubsub) else { return }
        options = try element.form()
        guard options != nil else { throw .badRequest("options are a form") }
    }
}

extension PubSubRequest.Publication.Item {
    /// An item has one payload or none (§7.1.3.6).
    fileprivate init(_ item: ElementView) throws(PubSubError) {
        name = item.attribute("id").flatMap { $0.isEmpty ? nil : $0 }
        payload = ByteBuffer()
        var children = item.children.makeIterator()
        let element = children.next()
        // A payload in the namespace around it would lose its name where it is read or told (§17.1: `##other`).
        guard children.next() == nil, !item.hasText, element?.isIn(.pubsub) != true else { throw .invalidPayload }
        guard let element else { return }
        var writer = XMLWriter(contentNamespace: .pubsub)
        writer.append(element)
        payload = writer.buffer
        body = AtomEntry.summary(of: element)
    }
}

/// The one payload that this server understands well enough to say what it says (§12.7).
enum AtomEntry {
    private static let namespace: Namespace = "http://www.w3.org/2005/Atom"

    /// The title of an entry, or else its summary.
    static func summary(of entry: ElementView) -> String? {
        guard entry.isNamed("entry", namespace) else { return nil }
        return ["title", "summary"].lazy.compactMap { (name: StaticString) in entry.firstChild(name, namespace)?.text }.first { !$0.isEmpty }
    }
}
