internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// The writer's statements about nodes. Called within a transaction.
///
/// How many items a node has, and of how many bytes, is kept in its row: whoever takes items away says of what size they were.
final class NodeWrites {
    private let connection: any SQLConnection
    private let insertNode, setRecord, deleteNode, putAffiliation, deleteAffiliation, putSubscription, deleteSubscription, sizeOfItem, putItem,
        deleteItem, forgetItems, addToSize, expiringNodes, expireItems: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        insertNode = try connection.prepare(
            """
            INSERT INTO node (id, account, service, name, created, item_expiry, item_count, item_bytes, content)
            VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $7) ON CONFLICT DO NOTHING
            """)
        setRecord = try connection.prepare("UPDATE node SET item_expiry = $2, content = $3 WHERE id = $1")
        deleteNode = try connection.prepare("DELETE FROM node WHERE id = $1")
        putAffiliation = try connection.prepare(
            """
            INSERT INTO node_affiliation (node, address, affiliation) SELECT id, $2, $3 FROM node WHERE id = $1
            ON CONFLICT (node, address) DO UPDATE SET affiliation = excluded.affiliation
            """)
        deleteAffiliation = try connection.prepare("DELETE FROM node_affiliation WHERE node = $1 AND address = $2")
        putSubscription = try connection.prepare(
            """
            INSERT INTO node_subscription (node, id, address, content) SELECT id, $2, $3, $4 FROM node WHERE id = $1
            ON CONFLICT (node, id) DO UPDATE SET address = excluded.address, content = excluded.content
            """)
        deleteSubscription = try connection.prepare("DELETE FROM node_subscription WHERE node = $1 AND id = $2")
        sizeOfItem = try connection.prepare("SELECT size FROM node_item WHERE node = $1 AND name = $2")
        putItem = try connection.prepare(
            """
            INSERT INTO node_item (node, name, place, time, publisher, size, payload) VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (node, name) DO UPDATE SET place = excluded.place, time = excluded.time, publisher = excluded.publisher,
                size = excluded.size, payload = excluded.payload
            """)
        deleteItem = try connection.prepare("DELETE FROM node_item WHERE node = $1 AND name = $2 RETURNING size")
        forgetItems = try connection.prepare("DELETE FROM node_item WHERE node = $1 AND place <= $2 RETURNING size")
        addToSize = try connection.prepare("UPDATE node SET item_count = item_count + $2, item_bytes = item_bytes + $3 WHERE id = $1")
        expiringNodes = try connection.prepare("SELECT id, item_expiry FROM node WHERE item_expiry > 0")
        expireItems = try connection.prepare("DELETE FROM node_item WHERE node = $1 AND time < $2 RETURNING size")
    }

    func apply(_ change: NodeChange) throws(SQLError) {
        switch change {
        case .create(let owner, let node): try create(node, of: owner)
        case .setRecord(let id, let record): try set(record, of: id)
        case .delete(let id): try deleteNode.run { $0.bind(id, at: 1) }
        case .setAffiliation(let id, let affiliation): try set(affiliation, in: id)
        case .setSubscription(let id, let subscription): try set(subscription, in: id)
        case .removeSubscription(let id, let subscription):
            try deleteSubscription.run {
                $0.bind(id, at: 1)
                $0.bind(subscription, at: 2)
            }
        case .publish(let id, let item): try publish(item, in: id)
        case .retract(let id, let names): try retract(names, from: id)
        case .forget(let id, let place): try forget(upTo: place, in: id)
        case .expire(let now): try expire(at: now)
        }
    }

    // MARK: Nodes

    private func create(_ node: StoredNode, of owner: NodeOwner) throws(SQLError) {
        _ = try WriteStatements.signed(node.id.raw)
        try insertNode.run {
            $0.bind(node.id, at: 1)
            $0.bind(owner, at: 2)
            $0.bind(node.name, at: 4)
            $0.bind(node.created, at: 5)
            $0.bind(node.record.itemExpiry, at: 6)
            $0.bind(node.record.content, at: 7)
        }
        guard connection.changes > 0 else { throw SQLError(.constraint, "the node exists: \(node.name)") }
        for affiliation in node.affiliations { try set(affiliation, in: node.id) }
        for subscription in node.subscriptions { try set(subscription, in: node.id) }
    }

    private func set(_ record: NodeRecord, of node: NodeID) throws(SQLError) {
        try setRecord.run {
            $0.bind(node, at: 1)
            $0.bind(record.itemExpiry, at: 2)
            $0.bind(record.content, at: 3)
        }
    }

    private func set(_ affiliation: StoredNodeAffiliation, in node: NodeID) throws(SQLError) {
        let isNone = affiliation.affiliation == 0
        try (isNone ? deleteAffiliation : putAffiliation).run {
            $0.bind(node, at: 1)
            $0.bind(affiliation.address, at: 2)
            if !isNone { $0.bind(Int64(affiliation.affiliation), at: 3) }
        }
    }

    private func set(_ subscription: StoredNodeSubscription, in node: NodeID) throws(SQLError) {
        try putSubscription.run {
            $0.bind(node, at: 1)
            $0.bind(subscription.id, at: 2)
            $0.bind(subscription.address, at: 3)
            $0.bind(subscription.content, at: 4)
        }
    }

    // MARK: Items

    private func publish(_ item: NodeItem, in node: NodeID) throws(SQLError) {
        let place = try WriteStatements.signed(item.place)
        let size = Int64(item.payload.readableBytes)
        let replaced = try sizeOfItem.first({
            $0.bind(node, at: 1)
            $0.bind(item.name, at: 2)
        }) { $0.integer(0) }
        try add(count: replaced == nil ? 1 : 0, bytes: size - (replaced ?? 0), to: node)
        // There is no such node.
        guard connection.changes > 0 else { return }
        try putItem.run {
            $0.bind(node, at: 1)
            $0.bind(item.name, at: 2)
            $0.bind(place, at: 3)
            $0.bind(item.time, at: 4)
            if let publisher = item.publisher { $0.bind(publisher, at: 5) } else { $0.bindNull(at: 5) }
            $0.bind(size, at: 6)
            $0.bind(item.payload, at: 7)
        }
    }

    private func retract(_ names: [String], from node: NodeID) throws(SQLError) {
        var sizes: [Int64] = []
        for name in names {
            sizes += try deleteItem.rows({
                $0.bind(node, at: 1)
                $0.bind(name, at: 2)
            }) { $0.integer(0) }
        }
        try subtract(sizes, from: node)
    }

    private func forget(upTo place: UInt64, in node: NodeID) throws(SQLError) {
        let sizes = try forgetItems.rows({
            $0.bind(node, at: 1)
            $0.bind(Int64(clamping: place), at: 2)
        }) { $0.integer(0) }
        try subtract(sizes, from: node)
    }

    /// Looks at the nodes that have an expiry, and there at the index of their items.
    private func expire(at now: Int64) throws(SQLError) {
        let nodes = try expiringNodes.rows { row in (id: row.nodeID(0), record: NodeRecord(itemExpiry: row.integer(1))) }
        for node in nodes {
            guard let end = node.record.expiry(at: now) else { continue }
            let sizes = try expireItems.rows({
                $0.bind(node.id, at: 1)
                $0.bind(end, at: 2)
            }) { $0.integer(0) }
            try subtract(sizes, from: node.id)
        }
    }

    private func subtract(_ sizes: [Int64], from node: NodeID) throws(SQLError) {
        guard !sizes.isEmpty else { return }
        try add(count: -sizes.count, bytes: -sizes.reduce(0, +), to: node)
    }

    private func add(count: Int, bytes: Int64, to node: NodeID) throws(SQLError) {
        try addToSize.run {
            $0.bind(node, at: 1)
            $0.bind(Int64(count), at: 2)
            $0.bind(bytes, at: 3)
        }
    }
}

extension SQLStatement {
    /// No node has a number beyond 2⁶³ − 1: such a one is negative here, and found nowhere.
    func bind(_ node: NodeID, at parameter: Int) { bind(Int64(bitPattern: node.raw), at: parameter) }

    func nodeID(_ column: Int) -> NodeID { NodeID(raw: UInt64(bitPattern: integer(column))) }

    /// The account at `parameter`, the service after it.
    fileprivate func bind(_ owner: NodeOwner, at parameter: Int) {
        switch owner {
        case .account(let id):
            bind(id.raw, at: parameter)
            bindNull(at: parameter + 1)
        case .service(let domain):
            bindNull(at: parameter)
            bind(domain, at: parameter + 1)
        }
    }
}
