package import MartletXMPP
internal import NIOCore

/// All nodes of a store, as plain values: what each ``NodeChange`` means and what each read of nodes answers.
package struct NodeContents: Sendable {
    private var nodes: [NodeID: Node] = [:]
    private var ids: [Key: NodeID] = [:]

    package init() {}

    /// Nodes that a submit touched, as they were before it.
    package typealias Before = [NodeID: Node?]

    /// Names are compared octet by octet, as databases do: to Swift, two spellings of a character are the same.
    fileprivate typealias Octets = [UInt8]

    fileprivate struct Key: Hashable, Sendable {
        var owner: NodeOwner
        var name: Octets
    }

    package struct Node: Sendable {
        package var id: NodeID
        package var owner: NodeOwner
        package var name: String
        package var created: Int64
        package var record: NodeRecord
        fileprivate var affiliations: [BareJID: StoredNodeAffiliation] = [:]
        fileprivate var subscriptions: [Octets: StoredNodeSubscription] = [:]
        fileprivate var items: [Octets: NodeItem] = [:]

        fileprivate init(_ stored: StoredNode, of owner: NodeOwner) {
            id = stored.id
            self.owner = owner
            name = stored.name
            created = stored.created
            record = stored.record
            for affiliation in stored.affiliations { set(affiliation) }
            for subscription in stored.subscriptions { set(subscription) }
        }

        fileprivate var key: Key { Key(owner: owner, name: Octets(name.utf8)) }

        fileprivate mutating func set(_ affiliation: StoredNodeAffiliation) {
            affiliations[affiliation.address] = affiliation.affiliation == 0 ? nil : affiliation
        }

        fileprivate mutating func set(_ subscription: StoredNodeSubscription) { subscriptions[Octets(subscription.id.utf8)] = subscription }
    }
}

// MARK: Changes

extension NodeContents {
    /// - Parameter before: where what the change touches is noted, for ``restore(_:)``.
    package mutating func apply(_ change: NodeChange, _ before: inout Before) throws(StoreError) {
        switch change {
        case .create(let owner, let node):
            try create(node, of: owner, &before)
        case .setRecord(let id, let record):
            self.change(id, &before) { $0.record = record }
        case .delete(let id):
            remove(id, &before)
        case .setAffiliation(let id, let affiliation):
            self.change(id, &before) { $0.set(affiliation) }
        case .setSubscription(let id, let subscription):
            self.change(id, &before) { $0.set(subscription) }
        case .removeSubscription(let id, let subscription):
            self.change(id, &before) { $0.subscriptions[Octets(subscription.utf8)] = nil }
        case .publish(let id, let item):
            guard Int64(exactly: item.place) != nil else { throw .constraint("the number is beyond 2⁶³ − 1: \(item.place)") }
            self.change(id, &before) { $0.items[Octets(item.name.utf8)] = item }
        case .retract(let id, let names):
            self.change(id, &before) { for name in names { $0.items[Octets(name.utf8)] = nil } }
        case .forget(let id, let place):
            self.change(id, &before) { $0.items = $0.items.filter { $0.value.place > place } }
        case .expire(let now):
            for node in nodes.values { expire(node, at: now, &before) }
        }
    }

    private mutating func create(_ stored: StoredNode, of owner: NodeOwner, _ before: inout Before) throws(StoreError) {
        guard Int64(exactly: stored.id.raw) != nil else { throw .constraint("the number is beyond 2⁶³ − 1: \(stored.id.raw)") }
        let node = Node(stored, of: owner)
        guard nodes[node.id] == nil, ids[node.key] == nil else { throw .constraint("the node exists: \(node.name)") }
        remember(node.id, &before)
        nodes[node.id] = node
        ids[node.key] = node.id
    }

    private mutating func expire(_ node: Node, at now: Int64, _ before: inout Before) {
        guard let end = node.record.expiry(at: now) else { return }
        change(node.id, &before) { $0.items = $0.items.filter { $0.value.time >= end } }
    }

    /// An account goes with its nodes.
    package mutating func removeAll(of owner: NodeOwner, _ before: inout Before) {
        for node in nodes.values where node.owner == owner { remove(node.id, &before) }
    }

    private mutating func remove(_ id: NodeID, _ before: inout Before) {
        guard let node = nodes[id] else { return }
        remember(id, &before)
        nodes[id] = nil
        ids[node.key] = nil
    }

    private mutating func change(_ id: NodeID, _ before: inout Before, _ body: (inout Node) -> Void) {
        guard var node = nodes[id] else { return }
        remember(id, &before)
        body(&node)
        nodes[id] = node
    }

    private func remember(_ id: NodeID, _ before: inout Before) {
        if before[id] == nil { before[id] = .some(nodes[id]) }
    }

    package mutating func restore(_ before: Before) {
        for id in before.keys {
            if let node = nodes[id] { ids[node.key] = nil }
        }
        for (id, node) in before {
            nodes[id] = node
            if let node { ids[node.key] = id }
        }
    }
}

extension NodeRecord {
    /// Items that were published before this time are gone at `now`, both in milliseconds since 1970; `nil` where items stay.
    package func expiry(at now: Int64) -> Int64? {
        guard itemExpiry > 0 else { return nil }
        let (age, isEndless) = itemExpiry.multipliedReportingOverflow(by: 1_000)
        let (end, isBeforeAll) = now.subtractingReportingOverflow(age)
        return isEndless || isBeforeAll ? .min : end
    }
}

// MARK: Reads

extension NodeContents {
    package func nodes(of owner: NodeOwner) -> [StoredNode] {
        nodes.values.filter { $0.owner == owner }.sorted { $0.key.name.lexicographicallyPrecedes($1.key.name) }.map(\.stored)
    }

    package func grantors(to account: BareJID) -> Set<NodeOwner> {
        Set(nodes.values.filter { $0.affiliations[account] != nil || $0.subscriptions.values.contains { $0.address.bare == account } }.map(\.owner))
    }

    package func marks(of id: NodeID) -> [NodeItemMark] { nodes[id]?.inOrder.map(\.mark) ?? [] }

    package func items(of id: NodeID, _ request: NodeItemsRequest) -> [NodeItem] {
        let fitting = nodes[id]?.inOrder.filter(request.includes) ?? []
        let limit = max(0, request.limit)
        return Array(request.isBackwards ? fitting.suffix(limit) : fitting.prefix(limit))
    }

    package func items(of id: NodeID, named names: [String]) -> [NodeItem] {
        names.compactMap { nodes[id]?.items[Octets($0.utf8)] }
    }

    package func lastItems(of ids: [NodeID]) -> [NodeID: NodeItem] {
        var items: [NodeID: NodeItem] = [:]
        for id in ids { items[id] = nodes[id]?.inOrder.last }
        return items
    }
}

extension NodeItemsRequest {
    fileprivate func includes(_ item: NodeItem) -> Bool {
        item.place > after && item.place < before && item.time >= start ?? .min && item.time <= end ?? .max
    }
}

extension NodeContents.Node {
    fileprivate var stored: StoredNode {
        StoredNode(
            id: id, name: name, created: created, record: record,
            affiliations: affiliations.values.sorted { $0.address.description.utf8.lexicographicallyPrecedes($1.address.description.utf8) },
            subscriptions: subscriptions.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value), itemCount: items.count,
            itemBytes: items.values.reduce(0) { $0 + $1.payload.readableBytes })
    }

    /// By place; items that have the same one, which they should not, by name.
    fileprivate var inOrder: [NodeItem] {
        items.sorted { $0.value.place == $1.value.place ? $0.key.lexicographicallyPrecedes($1.key) : $0.value.place < $1.value.place }
            .map(\.value)
    }
}
