internal import MartletCore
internal import MartletXMPP
internal import NIOCore

/// A reader's statements about nodes. What several of them say together is asked in one snapshot.
final class NodeReads {
    private let ofAccount, ofService: OwnerReads
    private let marks, forwards, backwards, named: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        ofAccount = try OwnerReads(connection, owner: "account")
        ofService = try OwnerReads(connection, owner: "service")
        marks = try connection.prepare("SELECT name, place, time, size FROM node_item WHERE node = $1 ORDER BY place, name")
        forwards = try connection.prepare(Self.page(""))
        backwards = try connection.prepare(Self.page("DESC"))
        named = try connection.prepare("SELECT name, place, time, publisher, payload FROM node_item WHERE node = $1 AND name = $2")
    }

    private static func page(_ order: String) -> String {
        """
        SELECT name, place, time, publisher, payload FROM node_item
        WHERE node = $1 AND place > $2 AND place <= $3 AND time >= $4 AND time <= $5 ORDER BY place \(order), name \(order) LIMIT $6
        """
    }

    func nodes(of owner: NodeOwner) throws(SQLError) -> [StoredNode] {
        switch owner {
        case .account(let id): try ofAccount.nodes { $0.bind(id.raw, at: 1) }
        case .service(let domain): try ofService.nodes { $0.bind(domain, at: 1) }
        }
    }

    func marks(of node: NodeID) throws(SQLError) -> [NodeItemMark] {
        try marks.rows({ $0.bind(node, at: 1) }) {
            NodeItemMark(name: $0.text(0), place: $0.unsigned(1), time: $0.integer(2), byteCount: Int($0.integer(3)))
        }
    }

    func items(of node: NodeID, _ request: NodeItemsRequest) throws(SQLError) -> [NodeItem] {
        let items = try (request.isBackwards ? backwards : forwards).rows({
            $0.bind(node, at: 1)
            $0.bind(Int64(clamping: request.after), at: 2)
            $0.bind(request.last, at: 3)
            $0.bind(request.start ?? .min, at: 4)
            $0.bind(request.end ?? .max, at: 5)
            $0.bind(Int64(max(0, request.limit)), at: 6)
        }, Self.item)
        return request.isBackwards ? items.reversed() : items
    }

    func items(of node: NodeID, named names: [String]) throws(SQLError) -> [NodeItem] {
        var items: [NodeItem] = []
        for name in names {
            items += try named.rows({
                $0.bind(node, at: 1)
                $0.bind(name, at: 2)
            }, Self.item)
        }
        return items
    }

    func lastItems(of nodes: [NodeID]) throws(SQLError) -> [NodeID: NodeItem] {
        var (items, request) = ([NodeID: NodeItem](), NodeItemsRequest(limit: 1))
        request.isBackwards = true
        for node in nodes { items[node] = try self.items(of: node, request).first }
        return items
    }

    private static func item(_ row: any SQLStatement) throws(SQLError) -> NodeItem {
        NodeItem(
            name: row.text(0), place: row.unsigned(1), time: row.integer(2), publisher: row.isNull(3) ? nil : try row.anyAddress(3),
            payload: row.buffer(4))
    }
}

/// All nodes of one kind of owner, in three questions, however many there are.
private final class OwnerReads {
    private let nodes, affiliations, subscriptions: any SQLStatement

    /// - Parameter owner: the column.
    init(_ connection: any SQLConnection, owner: String) throws(SQLError) {
        nodes = try connection.prepare(
            "SELECT id, name, created, item_expiry, content, item_count, item_bytes FROM node WHERE \(owner) = $1 ORDER BY name")
        affiliations = try connection.prepare(
            """
            SELECT a.node, a.address, a.affiliation FROM node n JOIN node_affiliation a ON a.node = n.id
            WHERE n.\(owner) = $1 ORDER BY n.name, a.address
            """)
        subscriptions = try connection.prepare(
            """
            SELECT s.node, s.id, s.address, s.content FROM node n JOIN node_subscription s ON s.node = n.id
            WHERE n.\(owner) = $1 ORDER BY n.name, s.id
            """)
    }

    /// - Parameter bind: binds the owner.
    func nodes(_ bind: (any SQLStatement) -> Void) throws(SQLError) -> [StoredNode] {
        var found = try nodes.rows(bind, Self.node)
        guard !found.isEmpty else { return [] }
        let places = Dictionary(found.enumerated().map { ($1.id, $0) }) { first, _ in first }
        for line in try affiliations.rows(bind, Self.affiliation) {
            if let place = places[line.node] { found[place].affiliations.append(line.affiliation) }
        }
        for line in try subscriptions.rows(bind, Self.subscription) {
            if let place = places[line.node] { found[place].subscriptions.append(line.subscription) }
        }
        return found
    }

    private static func node(_ row: any SQLStatement) -> StoredNode {
        StoredNode(
            id: row.nodeID(0), name: row.text(1), created: row.integer(2), record: NodeRecord(itemExpiry: row.integer(3), content: row.buffer(4)),
            itemCount: Int(row.integer(5)), itemBytes: Int(row.integer(6)))
    }

    private static func affiliation(_ row: any SQLStatement) throws(SQLError) -> (node: NodeID, affiliation: StoredNodeAffiliation) {
        guard let affiliation = UInt8(exactly: row.integer(2)) else { throw SQLError(.corrupt, "the affiliations of a node") }
        return (row.nodeID(0), StoredNodeAffiliation(address: try row.address(1), affiliation: affiliation))
    }

    private static func subscription(_ row: any SQLStatement) throws(SQLError) -> (node: NodeID, subscription: StoredNodeSubscription) {
        (row.nodeID(0), StoredNodeSubscription(id: row.text(1), address: try row.anyAddress(2), content: row.buffer(3)))
    }
}

extension NodeItemsRequest {
    /// The last place that fits: the one below ``before``, and every place there is where nothing is said.
    fileprivate var last: Int64 { Int64(exactly: before).map { $0 - 1 } ?? .max }
}
