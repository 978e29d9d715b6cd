package import MartletCore
import MartletXML
package import MartletXMPP

/// All nodes of one owner, an account or a service: requests in, effects out. They know no sockets, no clock and no store.
///
/// The files beside this one have one part of it each: `NodeCreation`, `NodeRelocation`, `NodePublication`, `NodeItems`, `NodeSubscribing`,
/// `NodeApproval`, `NodePending`, `NodeOwnership`, `NodeLists`, `NodeDiscovery`; who is told of what is in `NodeNotices`.
package struct PubSubNodes: Sendable {
    package let address: BareJID
    /// Those of a reload hold for what comes from then on.
    package var settings: PubSubSettings
    private(set) var nodes: [OctetName: PubSubNode] = [:]
    /// Those that are elsewhere now (``PubSubNode/movedTo``).
    var moved: [OctetName: PubSubNode] = [:]
    private var names: [NodeID: OctetName] = [:]
    private var sorted = SortedNames()
    /// Which items there are, of the nodes where somebody has needed to know.
    private(set) var marks: [NodeID: NodeItemMarks] = [:]
    /// Bytes of all items of this owner.
    package private(set) var byteCount = 0
    private var lastPlace: UInt64
    /// Those that somebody has begun.
    var commands = CommandSessions()

    /// - Parameter usedNames: the highest one that may have been given to a node or an item before (``StanzaIDSource/used``).
    package init(_ address: BareJID, _ settings: PubSubSettings, usedNames: UInt64 = 0) {
        self.address = address
        self.settings = settings
        lastPlace = usedNames
    }

    /// Takes over what is on disk, in place of what is known.
    package mutating func install(_ stored: [StoredNode]) {
        (nodes, moved, names, sorted, marks, byteCount) = ([:], [:], [:], SortedNames(), [:], 0)
        for node in stored.map({ PubSubNode($0, settings) }) {
            if node.movedTo == nil { set(node) } else { moved[OctetName(node.name)] = node }
        }
    }

    /// Takes over which items a node has.
    ///
    /// - Parameter marks: in the order of their places.
    package mutating func install(_ marks: [NodeItemMark], of node: NodeID) {
        guard names[node] != nil else { return }
        lastPlace = max(lastPlace, marks.last?.place ?? 0)
        setMarks(NodeItemMarks(marks), of: node)
    }

    /// Carries out a request, or says what has to be known first (``NodeEffects/needsMarks``). What is refused has no effects.
    ///
    /// - Parameter actor: who asks, as authenticated.
    package mutating func take(
        _ request: PubSubRequest, by actor: JID, _ audience: some NodeAudience, _ moment: NodeMoment, _ effects: inout NodeEffects
    ) throws(PubSubError) {
        if let node = request.node {
            refresh(node, moment, &effects)
            if !mayCreate(by: request, actor) { try checkMoved(node, actor, audience) }
        }
        switch request {
        case .subscriptions(let node, let page): try listOwnSubscriptions(node, page, actor, &effects)
        case .affiliations(let node, let page): try listOwnAffiliations(node, page, actor, &effects)
        case .subscribe(let node, let address, let options): try subscribe(address, to: node, options, actor, audience, moment, &effects)
        case .unsubscribe(let subscriber): try unsubscribe(subscriber, actor, &effects)
        case .options(let subscriber): try answerOptions(subscriber, actor, &effects)
        case .setOptions(let subscriber, let form): try setOptions(subscriber, form, actor, moment, &effects)
        case .defaultOptions(let node): try answerDefaultOptions(node, &effects)
        case .items(let query): try read(query, actor, audience, moment, &effects)
        case .publish(let publication): try publish(publication, actor, audience, moment, &effects)
        case .retract(let node, let items, let notifies): try retract(items, from: node, notifies: notifies, actor, audience, &effects)
        case .create(let node, let form): try create(node, form, actor, audience, moment, &effects)
        case .configuration(let node): try answerConfiguration(node, actor, audience, &effects)
        case .configure(let node, let form): try configure(node, form, actor, audience, moment, &effects)
        case .defaultConfiguration: answerDefaultConfiguration(&effects)
        case .delete(let node, let redirect): try delete(node, redirect, actor, audience, moment, &effects)
        case .purge(let node): try purge(node, actor, audience, moment, &effects)
        case .listSubscriptions(let node, let page): try listSubscriptions(node, page, actor, audience, &effects)
        case .changeSubscriptions(let node, let changes): try change(changes, at: node, actor, audience, moment, &effects)
        case .listAffiliations(let node, let page): try listAffiliations(node, page, actor, audience, &effects)
        case .changeAffiliations(let node, let changes): try change(changes, at: node, actor, audience, &effects)
        case .archive(let node, let query): try readArchive(node, query, actor, audience, moment, &effects)
        case .archiveForm(let node): try answerArchiveForm(node, actor, audience, &effects)
        case .replace(let replacement): try replace(replacement, actor, audience, moment, &effects)
        case .command(let wish): try execute(wish, actor, audience, moment, &effects)
        }
    }

    /// What has ended by itself since counts as gone.
    private mutating func refresh(_ name: String, _ moment: NodeMoment, _ effects: inout NodeEffects) {
        guard var node = nodes[OctetName(name)] else { return }
        if let time = node.configuration.expiry(at: moment.now), let first = marks[node.id]?.inOrder.first, first.time < time {
            changeMarks(of: node.id) { $0.expire(before: time) }
        }
        guard node.subscriptions.haveEnds else { return }
        for subscription in Array(node.subscriptions.all) where subscription.isOver(at: moment.now) {
            node.subscriptions.remove(subscription.address)
            effects.writes.append(.removeSubscription(node.id, id: subscription.id))
        }
        nodes[OctetName(name)]?.subscriptions = node.subscriptions
    }

    // MARK: Who is who

    var owner: NodeOwner {
        switch settings.kind {
        case .personal(let account): .account(account)
        case .service: .service(address.domainpart)
        }
    }

    /// The account whose nodes they are; `nil` at a service.
    var account: BareJID? { settings.isPersonal ? address : nil }

    /// What somebody who asks is to a node.
    func affiliation(of actor: JID, at node: PubSubNode, _ audience: some NodeAudience) -> NodeAffiliation {
        if account == nil, audience.isAdmin { return .owner }
        return actor.bare == account ? .owner : node.affiliations[actor.bare] ?? .none
    }

    func node(_ name: String) throws(PubSubError) -> PubSubNode {
        guard let node = nodes[OctetName(name)] else { throw .itemNotFound }
        return node
    }

    /// The node, for one who may everything with it.
    func ownedNode(_ name: String, _ actor: JID, _ audience: some NodeAudience) throws(PubSubError) -> PubSubNode {
        let node = try node(name)
        guard affiliation(of: actor, at: node, audience) == .owner else { throw .forbidden }
        return node
    }

    // MARK: What is kept

    package var nodeCount: Int { nodes.count }
    /// The nodes of which something is true, in the order of their names' octets.
    func names(where isWanted: (PubSubNode) -> Bool) -> [OctetName] { sorted.all.filter { nodes[$0].map(isWanted) ?? false } }

    /// A node that has changed, or a new one. How many items it has is not what the change says, but what is known here.
    mutating func set(_ changed: PubSubNode) {
        let name = OctetName(changed.name)
        var node = changed
        if let old = nodes[name] { (node.itemCount, node.itemBytes) = (old.itemCount, old.itemBytes) } else { byteCount += node.itemBytes }
        nodes[name] = node
        names[node.id] = name
        sorted.insert(name)
        if node.itemCount == 0 { marks[node.id] = NodeItemMarks() }
    }

    mutating func remove(_ node: PubSubNode) {
        byteCount -= node.itemBytes
        nodes[OctetName(node.name)] = nil
        names[node.id] = nil
        sorted.remove(OctetName(node.name))
        marks[node.id] = nil
    }

    mutating func setMarks(_ new: NodeItemMarks, of node: NodeID) {
        marks[node] = new
        count(node)
    }

    /// In place: a node may have thousands of items.
    mutating func changeMarks<Result>(of node: NodeID, _ change: (inout NodeItemMarks) -> Result) -> Result {
        defer { count(node) }
        return change(&marks[node, default: NodeItemMarks()])
    }

    private mutating func count(_ id: NodeID) {
        guard let name = names[id], let known = marks[id], let old = nodes[name]?.itemBytes else { return }
        byteCount += known.byteCount - old
        nodes[name]?.itemCount = known.count
        nodes[name]?.itemBytes = known.byteCount
    }

    /// The next number of a node, or place of an item.
    mutating func nextPlace(_ moment: NodeMoment) -> UInt64 {
        lastPlace = moment.ids.next(after: lastPlace, wallMilliseconds: moment.now)
        return lastPlace
    }
}
