package import MartletXMPP
package import NIOCore

/// Whose nodes (XEP-0060): an account's (XEP-0163), which go with the account, or a service's.
package enum NodeOwner: Hashable, Sendable {
    case account(AccountID)
    /// The service's domainpart.
    case service(String)
}

/// Names a node for as long as the database lives. Made as stanza-ids are (``StanzaIDSource``), and never given twice: a node that is created
/// anew is another one.
package struct NodeID: Hashable, Sendable {
    package let raw: UInt64
    package init(raw: UInt64) { self.raw = raw }
}

/// A node as it is on disk, without its items.
package struct StoredNode: Sendable {
    package var id: NodeID
    package var name: String
    /// Milliseconds since 1970.
    package var created: Int64
    package var record: NodeRecord
    /// In the order of their addresses' octets.
    package var affiliations: [StoredNodeAffiliation]
    /// In the order of their identifiers' octets.
    package var subscriptions: [StoredNodeSubscription]
    /// Of all its items.
    package var itemCount: Int
    package var itemBytes: Int

    package init(
        id: NodeID, name: String, created: Int64, record: NodeRecord, affiliations: [StoredNodeAffiliation] = [],
        subscriptions: [StoredNodeSubscription] = [], itemCount: Int = 0, itemBytes: Int = 0
    ) {
        self.id = id
        self.name = name
        self.created = created
        self.record = record
        self.affiliations = affiliations
        self.subscriptions = subscriptions
        self.itemCount = itemCount
        self.itemBytes = itemBytes
    }
}

/// What is one value for the whole node.
package struct NodeRecord: Hashable, Sendable {
    /// After how many seconds items go (`pubsub#item_expire`); 0 is never.
    package var itemExpiry: Int64
    /// The configuration, in the feature's own form.
    package var content: ByteBuffer

    package init(itemExpiry: Int64 = 0, content: ByteBuffer = ByteBuffer()) {
        self.itemExpiry = itemExpiry
        self.content = content
    }
}

package struct StoredNodeAffiliation: Hashable, Sendable {
    package var address: BareJID
    /// The feature's own number; 0 is none.
    package var affiliation: UInt8
    package init(address: BareJID, affiliation: UInt8) { self.address = address; self.affiliation = affiliation }
}

package struct StoredNodeSubscription: Hashable, Sendable {
    /// A node has one subscription of each identifier.
    package var id: String
    package var address: JID
    /// State and options, in the feature's own form.
    package var content: ByteBuffer
    package init(id: String, address: JID, content: ByteBuffer = ByteBuffer()) { self.id = id; self.address = address; self.content = content }
}

/// An item without its payload: what a home knows of it.
package struct NodeItemMark: Hashable, Sendable {
    package var name: String
    /// Its place: later publications have higher ones, also one that takes an earlier one's name. Made as stanza-ids are.
    package var place: UInt64
    /// Milliseconds since 1970.
    package var time: Int64
    package var byteCount: Int
    package init(name: String, place: UInt64, time: Int64, byteCount: Int) {
        self.name = name
        self.place = place
        self.time = time
        self.byteCount = byteCount
    }
}

package struct NodeItem: Hashable, Sendable {
    package var name: String
    package var place: UInt64
    /// Milliseconds since 1970.
    package var time: Int64
    package var publisher: JID?
    /// What is in the `<item/>`, serialised; empty for an item without payload.
    package var payload: ByteBuffer

    package init(name: String, place: UInt64, time: Int64, publisher: JID?, payload: ByteBuffer) {
        self.name = name
        self.place = place
        self.time = time
        self.publisher = publisher
        self.payload = payload
    }

    package var mark: NodeItemMark { NodeItemMark(name: name, place: place, time: time, byteCount: payload.readableBytes) }
}

/// One change to a node. What is to become of a node that is gone is dropped.
package enum NodeChange: Sendable {
    /// Refused with ``StoreError/constraint(_:)`` if the owner has a node of that name, or is an account that does not exist.
    case create(NodeOwner, StoredNode)
    case setRecord(NodeID, NodeRecord)
    /// Removes the node with everything in it.
    case delete(NodeID)
    /// Inserts a line, or replaces the one that the address has; with affiliation 0 it goes.
    case setAffiliation(NodeID, StoredNodeAffiliation)
    /// Inserts a subscription, or replaces the one of that identifier.
    case setSubscription(NodeID, StoredNodeSubscription)
    case removeSubscription(NodeID, id: String)
    /// Inserts an item, or replaces the one of that name, which moves to the new place.
    case publish(NodeID, NodeItem)
    case retract(NodeID, names: [String])
    /// Removes every item up to this place.
    case forget(NodeID, upTo: UInt64)
    /// In every node: items that are older than it keeps them (``NodeRecord/itemExpiry``) at this time, in milliseconds since 1970.
    case expire(at: Int64)
}

/// Which items of a node are read, in the order of their places.
package struct NodeItemsRequest: Hashable, Sendable {
    /// Only items of these places, both ends excluded.
    package var after: UInt64 = 0
    package var before: UInt64 = .max
    /// Only those published in this span, both ends included, in milliseconds since 1970.
    package var start: Int64?
    package var end: Int64?
    /// Whether the last that fit are read instead of the first. They are in order all the same.
    package var isBackwards = false
    package var limit: Int
    package init(limit: Int) { self.limit = max(0, limit) }
}

/// What features keep in nodes. Everything reads including whatever was submitted before the call.
package protocol NodeStore: Sendable {
    /// All nodes of an owner, in the order of their names' octets; `done` runs on some thread.
    func loadNodes(of owner: NodeOwner, _ done: @escaping @Sendable (Result<[StoredNode], StoreError>) -> Void)
    /// What items a node has, in the order of their places; `done` runs on some thread. Empty if there is no such node.
    func loadMarks(of node: NodeID, _ done: @escaping @Sendable (Result<[NodeItemMark], StoreError>) -> Void)
    func items(of node: NodeID, _ request: NodeItemsRequest) async throws(StoreError) -> [NodeItem]
    /// Those that there are, in the order of the names.
    func items(of node: NodeID, named names: [String]) async throws(StoreError) -> [NodeItem]
    /// The last item of each of these nodes that has one; `done` runs on some thread.
    func loadLastItems(of nodes: [NodeID], _ done: @escaping @Sendable (Result<[NodeID: NodeItem], StoreError>) -> Void)
}
