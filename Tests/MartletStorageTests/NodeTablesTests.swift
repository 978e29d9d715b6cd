import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

private let service = NodeOwner.service("pubsub.shakespeare.example")

/// Nodes in the embedded store: what only SQLite has.
@Suite("The tables of nodes")
struct NodeTablesTests {
    private let folder = TemporaryFolder()

    private func open(_ change: (inout SQLiteStore.Options) -> Void = { _ in }) throws -> SQLiteStore {
        try SQLiteStore.open(folder: folder.path, options: options(FatalErrors(), change))
    }

    private func read(_ sql: String) throws -> [Int64] {
        let reader = try SQLiteDriver(file: folder.path + "/martlet.db").openReader()
        defer { reader.close() }
        return try reader.rows(sql) { $0.integer(0) }
    }

    private func problems() throws -> [String] { try SQLiteStore.verify(folder: folder.path).problems }

    /// A node of an account's and one of a service's, with a line and three items each.
    private func fill(_ store: SQLiteStore) async throws {
        let account = NodeOwner.account(try await store.create(juliet))
        for (number, owner) in [(1, account), (2, service)] as [(UInt64, NodeOwner)] {
            let node = try await store.open(number, "a", of: owner, expiry: 60) {
                $0.affiliations = [StoredNodeAffiliation(address: romeo, affiliation: 1)]
                $0.subscriptions = [StoredNodeSubscription(id: "s", address: .bare(romeo), content: ByteBuffer(string: "c"))]
            }
            try await store.commit((1...3).map { .node(.publish(node, item("i\($0)", $0, publisher: .bare(juliet)))) })
        }
    }

    @Test("nodes are there after a restart, with their items and how many they are")
    func restart() async throws {
        var store = try open()
        try await fill(store)
        try await store.commit([.node(.retract(NodeID(raw: 2), names: ["i2"]))])
        store.close()
        store = try open()
        let node = try #require(try await store.nodes(of: service).first)
        #expect(node.id == NodeID(raw: 2) && node.record.itemExpiry == 60 && node.itemCount == 2 && node.itemBytes == 8)
        #expect(node.affiliations.map(\.address) == [romeo] && node.subscriptions.map(\.content) == [ByteBuffer(string: "c")])
        #expect(try await store.marks(of: node.id).map(\.name) == ["i1", "i3"])
        store.close()
        #expect(try problems() == [])
    }

    @Test("nothing of an account's nodes stays in a table when the account goes")
    func accountRemoval() async throws {
        let store = try open()
        try await fill(store)
        try await store.delete(juliet)
        store.close()
        for table in ["node", "node_affiliation", "node_subscription"] { #expect(try read("SELECT COUNT(*) FROM \(table)") == [1], "\(table)") }
        #expect(try read("SELECT node FROM node_item") == [2, 2, 2])
        #expect(try problems() == [])
    }

    @Test("a commit that fails leaves nodes as they were, also after a restart")
    func failedCommit() async throws {
        let faults = FaultyDriver.Faults()
        var store = try open { $0.driver = { FaultyDriver(base: SQLiteDriver(file: $0), faults: faults) } }
        try await fill(store)
        faults.fail(with: SQLError(.io, "dies"))
        await #expect(throws: StoreError.self) {
            try await store.commit([
                .node(.publish(NodeID(raw: 2), item("i4", 4))), .node(.retract(NodeID(raw: 2), names: ["i1"])), .node(.delete(NodeID(raw: 1))),
            ])
        }
        store.close()
        store = try open()
        #expect(try await store.nodes(of: service).map(\.itemCount) == [3])
        #expect(try await store.marks(of: NodeID(raw: 2)).map(\.name) == ["i1", "i2", "i3"])
        #expect(try await store.marks(of: NodeID(raw: 1)).count == 3)
        store.close()
        #expect(try problems() == [])
    }

    // MARK: The database

    @Test(
        "no question about nodes looks through a table, or sorts items",
        arguments: [
            ("SELECT id, content FROM node WHERE account = 1 ORDER BY name", ["node_of_account (account=?)"]),
            ("SELECT id, content FROM node WHERE service = 'x' ORDER BY name", ["node_of_service (service=?)"]),
            ("SELECT a.node FROM node n JOIN node_affiliation a ON a.node = n.id WHERE n.account = 1", ["node_of_account (account=?)", "a USING PRIMARY KEY (node=?)"]),
            ("SELECT s.node FROM node n JOIN node_subscription s ON s.node = n.id WHERE n.service = 'x'", ["node_of_service (service=?)", "s USING PRIMARY KEY (node=?)"]),
            ("SELECT name, place, time, size FROM node_item WHERE node = 1 ORDER BY place, name", ["COVERING INDEX node_item_place (node=?)"]),
            (
                "SELECT payload FROM node_item WHERE node = 1 AND place > 1 AND place <= 9 AND time >= 1 AND time <= 9 ORDER BY place, name LIMIT 5",
                ["node_item_place (node=? AND place>? AND place<?)"]
            ),
            (
                "SELECT payload FROM node_item WHERE node = 1 AND place > 1 AND place <= 9 AND time >= 1 AND time <= 9 ORDER BY place DESC, name DESC LIMIT 5",
                ["node_item_place (node=? AND place>? AND place<?)"]
            ),
            ("SELECT size FROM node_item WHERE node = 1 AND name = 'x'", ["node_item USING INDEX sqlite_autoindex_node_item_1 (node=? AND name=?)"]),
            ("SELECT id, item_expiry FROM node WHERE item_expiry > 0", ["COVERING INDEX node_expiring"]),
            ("DELETE FROM node_item WHERE node = 1 AND place <= 9", ["node_item_place (node=? AND place<?)"]),
            ("DELETE FROM node_item WHERE node = 1 AND time < 9", ["node_item_place (node=?)"]),
            ("DELETE FROM node WHERE account = 1", ["node_of_account (account=?)"]),
        ])
    func plans(_ sql: String, _ uses: [String]) throws {
        try open().close()
        let connection = try SQLiteDriver(file: folder.path + "/martlet.db").openReader()
        defer { connection.close() }
        let plan = try connection.rows("EXPLAIN QUERY PLAN " + sql) { $0.text(3) }
        for use in uses { #expect(plan.contains { $0.contains(use) }, "\(plan)") }
        #expect(!plan.contains { ($0.contains("SCAN") && !$0.contains("node_expiring")) || $0.contains("TEMP B-TREE") }, "\(plan)")
    }

    @Test("a database of before there were nodes is read on, and takes them")
    func migration() async throws {
        let driver = SQLiteDriver(file: folder.path + "/martlet.db")
        let connection = try driver.openWriter()
        try Schema.migrate(connection, dialect: driver.dialect, by: Array(Schema.migrations.prefix(6)))
        try connection.execute("INSERT INTO account VALUES (1, 'montague.example', 'romeo', 0, 1, 0); UPDATE meta SET value = 1 WHERE name = 'last_account'")
        connection.close()
        let store = try open()
        #expect(files(in: folder.path).contains("martlet.db.schema-6"))
        #expect(try await store.nodes(of: .account(AccountID(raw: 1))).isEmpty)
        try await fill(store)
        store.close()
        #expect(try problems() == [])
    }

    @Test("a backup has the nodes")
    func backup() async throws {
        let store = try open()
        try await fill(store)
        let target = TemporaryFolder()
        try await store.backup(to: target.path + "/backup")
        store.close()
        #expect(try SQLiteStore.verify(backup: target.path + "/backup").problems == [])
        try SQLiteStore.restore(from: target.path + "/backup", to: target.path + "/data", overwriting: false)
        let restored = try SQLiteStore.open(folder: target.path + "/data", options: options())
        #expect(try await restored.nodes(of: service).map(\.itemCount) == [3])
        #expect(try await restored.marks(of: NodeID(raw: 1)).map(\.name) == ["i1", "i2", "i3"])
        restored.close()
    }

    @Test(
        "the check finds what is wrong with nodes",
        arguments: [
            "UPDATE node SET service = 'Pubsub.Example' WHERE id = 2", "UPDATE node SET service = 'a@x.example' WHERE id = 2",
            "UPDATE node SET item_count = 2 WHERE id = 1", "UPDATE node SET item_bytes = 13 WHERE id = 2", "DELETE FROM node_item WHERE name = 'i2'",
            "UPDATE node_affiliation SET address = 'romeo@montague.example/x'", "UPDATE node_affiliation SET affiliation = 0",
            "UPDATE node_affiliation SET affiliation = 256", "UPDATE node_subscription SET address = 'a b@x.example'",
            "UPDATE node_item SET publisher = '@' WHERE place = 1", "UPDATE node_item SET size = 5; UPDATE node SET item_bytes = 15",
            "UPDATE node_item SET place = -1 WHERE place = 1", "PRAGMA foreign_keys = OFF; DELETE FROM node WHERE id = 1",
            "PRAGMA foreign_keys = OFF; INSERT INTO node_subscription VALUES (99, 's', 'x.example', x'')",
            "PRAGMA foreign_keys = OFF; UPDATE node SET account = 99 WHERE id = 1",
            "PRAGMA ignore_check_constraints = ON; UPDATE node SET service = 'x.example' WHERE id = 1",
        ])
    func damage(_ sql: String) async throws {
        let store = try open()
        try await fill(store)
        #expect(try problems() == [])
        try await store.execute(sql)
        store.close()
        #expect(try problems().isEmpty == false)
    }
}
