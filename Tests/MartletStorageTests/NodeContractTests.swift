import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

private let service = NodeOwner.service("pubsub.shakespeare.example")
private let princely = "princely_musings"

extension Store {
    func nodes(of owner: NodeOwner) async throws -> [StoredNode] {
        try await withCheckedContinuation { continuation in loadNodes(of: owner) { continuation.resume(returning: $0) } }.get()
    }

    func marks(of node: NodeID) async throws -> [NodeItemMark] {
        try await withCheckedContinuation { continuation in loadMarks(of: node) { continuation.resume(returning: $0) } }.get()
    }

    func lastItems(of nodes: [NodeID]) async throws -> [NodeID: NodeItem] {
        try await withCheckedContinuation { continuation in loadLastItems(of: nodes) { continuation.resume(returning: $0) } }.get()
    }

    /// Makes a node.
    @discardableResult
    func open(
        _ number: UInt64, _ name: String = princely, of owner: NodeOwner = service, expiry: Int64 = 0, _ change: (inout StoredNode) -> Void = { _ in }
    ) async throws -> NodeID {
        var node = StoredNode(id: NodeID(raw: number), name: name, created: 7, record: NodeRecord(itemExpiry: expiry))
        change(&node)
        try await commit([.node(.create(owner, node))])
        return node.id
    }

    fileprivate func places(_ node: NodeID, limit: Int = 100, _ change: (inout NodeItemsRequest) -> Void = { _ in }) async throws -> [UInt64] {
        var request = NodeItemsRequest(limit: limit)
        change(&request)
        return try await items(of: node, request).map(\.place)
    }

    /// Of the one node that there is: its items in numbers.
    fileprivate func size(of owner: NodeOwner = service) async throws -> [Int] {
        let node = try #require(try await nodes(of: owner).first)
        return [node.itemCount, node.itemBytes]
    }
}

func item(_ name: String, _ place: UInt64, time: Int64 = 1, publisher: JID? = nil, _ payload: String = "<x/>") -> NodeItem {
    NodeItem(name: name, place: place, time: time, publisher: publisher, payload: ByteBuffer(string: payload))
}

private func published(_ node: NodeID, _ item: NodeItem) -> Write { .node(.publish(node, item)) }

private func affiliation(_ address: String, _ affiliation: UInt8) -> StoredNodeAffiliation {
    StoredNodeAffiliation(address: jid(address), affiliation: affiliation)
}

private func subscription(_ id: String, _ address: String, _ content: String = "") -> StoredNodeSubscription {
    StoredNodeSubscription(id: id, address: try! JID(address), content: ByteBuffer(string: content))
}

/// What every store has to do with nodes, asked of each.
@Suite("The contract of a store: nodes (XEP-0060)")
struct NodeContractTests {
    // MARK: Nodes

    @Test("a node that was created is among its owner's, with all that was said of it", arguments: StoreKind.allCases)
    func creation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let record = NodeRecord(itemExpiry: 60, content: ByteBuffer(bytes: 0...255))
            let affiliations = [
                affiliation("hamlet@denmark.example", 1), affiliation("denmark.example", 255), affiliation("ä@denmark.example", 3),
                affiliation("gone@denmark.example", 0), affiliation("hamlet@denmark.example", 2),
            ]
            let subscriptions = [
                subscription("b", "francisco@denmark.example/a", "old"), subscription("ab", "denmark.example"), subscription("", "x@denmark.example"),
                subscription("b", "bernardo@denmark.example", "new"),
            ]
            try await store.open(UInt64(Int64.max)) {
                ($0.record, $0.affiliations, $0.subscriptions, $0.itemCount, $0.itemBytes) = (record, affiliations, subscriptions, 5, 5)
            }
            let node = try #require(try await store.nodes(of: service).first)
            #expect(node.id == NodeID(raw: UInt64(Int64.max)) && node.name == princely && node.created == 7 && node.record == record)
            #expect(node.affiliations == [affiliations[1], affiliations[4], affiliations[2]])
            #expect(node.subscriptions == [subscriptions[2], subscriptions[1], subscriptions[3]])
            #expect(node.itemCount == 0 && node.itemBytes == 0)
        }
    }

    @Test("an owner's nodes come in the order of their names' octets, and no other's", arguments: StoreKind.allCases)
    func owners(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (NodeOwner.account(try await store.create(juliet)), NodeOwner.account(try await store.create(romeo)))
            let names = ["愛", "b", "", "a.b", "ä", "a\u{308}", "A", "a"]
            for (place, name) in names.enumerated() { try await store.open(UInt64(100 - place), name, of: a) }
            try await store.open(1, "a", of: b)
            try await store.open(2, "a")
            try await store.open(3, "a", of: .service("pubsub.x.example"))
            #expect(try await store.nodes(of: a).map { Array($0.name.utf8) } == names.map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) })
            #expect(try await store.nodes(of: b).map(\.id.raw) == [1])
            #expect(try await store.nodes(of: service).map(\.id.raw) == [2])
            #expect(try await store.nodes(of: .service("pubsub.x.example")).map(\.id.raw) == [3])
            #expect(try await store.nodes(of: .service("x.example")).isEmpty)
            #expect(try await store.nodes(of: .account(.nobody)).isEmpty)
        }
    }

    @Test("each node has its own lines, whichever was made first", arguments: StoreKind.allCases)
    func lines(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for (number, name) in [(9, "a"), (5, "b"), (7, "c")] as [(UInt64, String)] {
                try await store.open(number, name) {
                    $0.affiliations = [affiliation("x\(number)@x.example", 1), affiliation("a@x.example", UInt8(number))]
                    $0.subscriptions = [subscription("z", "x\(number)@x.example"), subscription("y", "a@x.example")]
                }
            }
            let nodes = try await store.nodes(of: service)
            #expect(nodes.map(\.id.raw) == [9, 5, 7])
            for node in nodes {
                #expect(node.affiliations == [affiliation("a@x.example", UInt8(node.id.raw)), affiliation("x\(node.id.raw)@x.example", 1)])
                #expect(node.subscriptions == [subscription("y", "a@x.example"), subscription("z", "x\(node.id.raw)@x.example")])
            }
        }
    }

    @Test("a node is refused if its owner has one of that name, its number was given, or its account is none", arguments: StoreKind.allCases)
    func refusedCreation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let account = try await store.create(juliet)
            let owner = NodeOwner.account(account)
            try await store.open(1, of: owner)
            try await store.open(2)
            for (owner, number) in [(owner, 3), (service, 3), (service, 1), (.account(AccountID(raw: 99)), 3)] as [(NodeOwner, UInt64)] {
                let name = number == 1 || owner == .account(AccountID(raw: 99)) ? "other" : princely
                let node = StoredNode(id: NodeID(raw: number), name: name, created: 8, record: NodeRecord(), affiliations: [affiliation("a@x.example", 1)])
                let error = await #expect(throws: StoreError.self) { try await store.commit([.node(.create(owner, node))]) }
                if case .constraint? = error {} else { Issue.record("refused with \(String(describing: error))") }
            }
            await #expect(throws: StoreError.constraint("the node exists: princely_musings")) { try await store.open(3) }
            await #expect(throws: StoreError.constraint("the number is beyond 2⁶³ − 1: 9223372036854775808")) { try await store.open(1 << 63, "other") }
            #expect(try await store.nodes(of: owner).map(\.created) == [7])
            #expect(try await store.nodes(of: service).map(\.affiliations) == [[]])
        }
    }

    @Test("what is said of a node is said anew, of that node only", arguments: StoreKind.allCases)
    func records(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1, "a", expiry: 5)
            try await store.open(2, "b", expiry: 5)
            try await store.commit([published(node, item("i", 1))])
            let record = NodeRecord(itemExpiry: 0, content: ByteBuffer(string: "new"))
            try await store.commit([.node(.setRecord(node, record))])
            #expect(try await store.nodes(of: service).map(\.record) == [record, NodeRecord(itemExpiry: 5)])
            #expect(try await store.size() == [1, 4])
        }
    }

    @Test("affiliations are set, replaced and, with none, removed (XEP-0060 §8.9)", arguments: StoreKind.allCases)
    func affiliations(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1) { $0.affiliations = [affiliation("a@x.example", 1), affiliation("b@x.example", 1)] }
            try await store.commit([
                .node(.setAffiliation(node, affiliation("a@x.example", 255))), .node(.setAffiliation(node, affiliation("c@x.example", 2))),
                .node(.setAffiliation(node, affiliation("b@x.example", 0))), .node(.setAffiliation(node, affiliation("d@x.example", 0))),
            ])
            #expect(try await store.nodes(of: service)[0].affiliations == [affiliation("a@x.example", 255), affiliation("c@x.example", 2)])
        }
    }

    @Test("subscriptions are set, replaced and removed by their identifiers (XEP-0060 §6)", arguments: StoreKind.allCases)
    func subscriptions(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1)
            try await store.commit(["a", "b", "c"].map { .node(.setSubscription(node, subscription($0, "same@x.example/r", "1"))) })
            try await store.commit([
                .node(.setSubscription(node, subscription("b", "x.example", "2"))), .node(.removeSubscription(node, id: "a")),
                .node(.removeSubscription(node, id: "z")),
            ])
            let expected = [subscription("b", "x.example", "2"), subscription("c", "same@x.example/r", "1")]
            #expect(try await store.nodes(of: service)[0].subscriptions == expected)
        }
    }

    @Test("a node goes with everything in it, and its name with nothing of it to another one (XEP-0060 §8.4)", arguments: StoreKind.allCases)
    func deletion(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, other) = (try await store.open(1), try await store.open(2, "other"))
            try await store.commit([
                .node(.setAffiliation(first, affiliation("a@x.example", 1))), .node(.setSubscription(first, subscription("s", "a@x.example"))),
                published(first, item("i", 1)), published(other, item("i", 2)),
            ])
            try await store.commit([.node(.delete(first))])
            let second = try await store.open(3)
            let node = try #require(try await store.nodes(of: service).last)
            #expect(node.id == second && node.affiliations.isEmpty && node.subscriptions.isEmpty && node.itemCount == 0 && node.itemBytes == 0)
            for id in [first, second] {
                #expect(try await store.places(id) == [])
                #expect(try await store.marks(of: id) == [])
            }
            #expect(try await store.places(other) == [2])
        }
    }

    @Test("what is to become of a node that is gone is dropped, and the rest of the submit is not", arguments: StoreKind.allCases)
    func gone(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let other = try await store.open(2)
            for gone in [NodeID(raw: 1), NodeID(raw: .max), NodeID(raw: 1 << 63)] {
                try await store.commit([
                    .node(.setRecord(gone, NodeRecord())), .node(.setAffiliation(gone, affiliation("a@x.example", 1))),
                    .node(.setAffiliation(gone, affiliation("a@x.example", 0))), .node(.setSubscription(gone, subscription("s", "a@x.example"))),
                    .node(.removeSubscription(gone, id: "s")), .node(.retract(gone, names: ["i"])), .node(.forget(gone, upTo: 5)),
                    .node(.delete(gone)), published(gone, item("i", 1)), published(other, item("i", gone.raw >> 40 + 1)),
                ])
                #expect(try await store.places(gone) == [])
                #expect(try await store.marks(of: gone) == [])
                #expect(try await store.lastItems(of: [gone]) == [:])
                #expect(try await store.items(of: gone, named: ["i"]) == [])
            }
            #expect(try await store.nodes(of: service).map(\.id) == [other])
            #expect(try await store.places(other) == [1 << 23 + 1])
        }
    }

    @Test("an account's nodes go with it, and nobody else's", arguments: StoreKind.allCases)
    func accountRemoval(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (a, b) = (try await store.create(juliet), try await store.create(romeo))
            let (first, second) = (try await store.open(1, "a", of: .account(a)), try await store.open(2, "b", of: .account(a)))
            let (other, served) = (try await store.open(3, "a", of: .account(b)), try await store.open(4, "a"))
            let all = [first, second, other, served]
            try await store.commit(all.map { published($0, item("i", $0.raw)) } + all.map { .node(.setAffiliation($0, affiliation("a@x.example", 1))) })
            try await store.delete(juliet)
            #expect(try await store.nodes(of: .account(a)).isEmpty)
            #expect(try await store.lastItems(of: all).mapValues(\.place) == [other: 3, served: 4])
            let again = try await store.create(juliet)
            #expect(try await store.nodes(of: .account(again)).isEmpty)
            try await store.open(5, "a", of: .account(again))
            #expect(try await store.nodes(of: .account(again)).map(\.id.raw) == [5])
        }
    }

    @Test("a submit that is refused leaves nodes as they were", arguments: StoreKind.allCases)
    func refusals(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let account = NodeOwner.account(try await store.create(juliet))
            let node = try await store.open(1, expiry: 1)
            let mine = try await store.open(2, of: account)
            try await store.commit([published(node, item("a", 1)), published(mine, item("a", 1))])
            await #expect(throws: StoreError.self) {
                try await store.commit([
                    .node(.setRecord(node, NodeRecord(itemExpiry: 2))), published(node, item("b", 2)), .node(.retract(node, names: ["a"])),
                    .account(.delete(juliet)), .node(.delete(node)),
                    .node(.create(service, StoredNode(id: NodeID(raw: 3), name: princely, created: 0, record: NodeRecord()))),
                    .node(.create(service, StoredNode(id: NodeID(raw: 4), name: princely, created: 0, record: NodeRecord()))),
                ])
            }
            await #expect(throws: StoreError.constraint("the number is beyond 2⁶³ − 1: 9223372036854775808")) {
                try await store.commit([.node(.expire(at: .max)), published(node, item("b", 1 << 63))])
            }
            let found = try #require(try await store.nodes(of: service).first)
            #expect(found.id == node && found.record == NodeRecord(itemExpiry: 1) && found.itemCount == 1 && found.itemBytes == 4)
            #expect(try await store.lastItems(of: [node, mine, NodeID(raw: 3)]) == [node: item("a", 1), mine: item("a", 1)])
            #expect(try await store.nodes(of: account).map(\.id) == [mine])
        }
    }

    @Test("of submits that are committed together, only the one that is refused is", arguments: StoreKind.allCases)
    func refusalInGroup(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1)
            let again = Write.node(.create(service, StoredNode(id: NodeID(raw: 2), name: princely, created: 0, record: NodeRecord())))
            let tickets = (1...9 as ClosedRange<UInt64>).map { store.submit($0 == 5 ? [published(node, item("\($0)", $0)), again] : [published(node, item("\($0)", $0))]) }
            #expect(try await store.places(node) == [1, 2, 3, 4, 6, 7, 8, 9])
            #expect(try await store.size() == [8, 32])
            #expect(tickets.map { (try? store.outcome(of: $0).get()) != nil } == [true, true, true, true, false, true, true, true, true])
        }
    }

    // MARK: Items

    @Test("an item is kept with all that belongs to it, at the highest place there is", arguments: StoreKind.allCases)
    func publication(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1)
            let items = [
                item("ä", 1, time: .min, publisher: try JID("hamlet@denmark.example/elsinore")), item("a\u{308}", 2, time: .max, ""), item("", 3),
                NodeItem(name: "i", place: UInt64(Int64.max), time: 5, publisher: try JID("denmark.example"), payload: ByteBuffer(bytes: 0...255)),
            ]
            try await store.commit(items.map { published(node, $0) })
            #expect(try await store.items(of: node, NodeItemsRequest(limit: 9)) == items)
            #expect(try await store.marks(of: node) == items.map(\.mark))
            #expect(try await store.size() == [4, 264])
            await #expect(throws: StoreError.self) { try await store.commit([published(node, item("b", UInt64(Int64.max) + 1))]) }
        }
    }

    @Test("an item of the same name takes the earlier one's stead, at its own place (XEP-0060 §7.1.2)", arguments: StoreKind.allCases)
    func replacement(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (node, other) = (try await store.open(1), try await store.open(2, "z"))
            try await store.commit([
                published(node, item("a", 1)), published(node, item("b", 2, publisher: .bare(juliet))), published(other, item("a", 3, "<longer/>")),
            ])
            let anew = item("a", 9, time: 7, publisher: .bare(romeo), "<rather-long/>")
            try await store.commit([published(node, anew)])
            #expect(try await store.items(of: node, NodeItemsRequest(limit: 9)) == [item("b", 2, publisher: .bare(juliet)), anew])
            #expect(try await store.size() == [2, 18])
            try await store.commit([published(node, item("b", 10, "")), published(node, item("b", 11, "1"))])
            #expect(try await store.items(of: node, NodeItemsRequest(limit: 9)) == [anew, item("b", 11, "1")])
            #expect(try await store.size() == [2, 15])
            #expect(try await store.lastItems(of: [node, other]) == [node: item("b", 11, "1"), other: item("a", 3, "<longer/>")])
        }
    }

    @Test("items are retracted by name; what is not there is not missed (XEP-0060 §7.2)", arguments: StoreKind.allCases)
    func retraction(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (node, other) = (try await store.open(1), try await store.open(2, "z"))
            let names = ["a", "b", "c", "d"]
            try await store.commit(names.enumerated().flatMap { [published(node, item($1, UInt64($0) + 1, $1)), published(other, item($1, UInt64($0) + 1))] })
            try await store.commit([.node(.retract(node, names: ["c", "nothing", "a", "c"])), .node(.retract(node, names: []))])
            #expect(try await store.places(node) == [2, 4])
            #expect(try await store.size() == [2, 2])
            #expect(try await store.places(other) == [1, 2, 3, 4])
            try await store.commit([published(node, item("c", 7)), .node(.retract(node, names: names))])
            #expect(try await store.places(node) == [])
            #expect(try await store.size() == [0, 0])
        }
    }

    @Test("what is forgotten goes up to its place and no further", arguments: StoreKind.allCases)
    func forgetting(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (node, other) = (try await store.open(1), try await store.open(2, "z"))
            try await store.commit((1...5).flatMap { [published(node, item("\($0)", $0)), published(other, item("\($0)", $0))] })
            try await store.commit([.node(.forget(node, upTo: 0))])
            #expect(try await store.places(node) == [1, 2, 3, 4, 5])
            try await store.commit([.node(.forget(node, upTo: 3))])
            #expect(try await store.places(node) == [4, 5])
            #expect(try await store.size() == [2, 8])
            // An item that moved stays.
            try await store.commit([published(node, item("4", 8)), .node(.forget(node, upTo: 7))])
            #expect(try await store.places(node) == [8])
            #expect(try await store.size() == [1, 4])
            try await store.commit([.node(.forget(node, upTo: .max))])
            #expect(try await store.places(node) == [])
            #expect(try await store.size() == [0, 0])
            #expect(try await store.places(other) == [1, 2, 3, 4, 5])
        }
    }

    @Test("items expire when they are older than their node keeps them, whatever their places (pubsub#item_expire)", arguments: StoreKind.allCases)
    func expiry(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let expiries: [Int64] = [0, 10, 20, .max, -1]
            for (number, expiry) in expiries.enumerated() {
                let node = try await store.open(UInt64(number), "\(number)", expiry: expiry)
                let times: [Int64] = [70_000, 60_000, 59_999, 50_000, 49_999, .min]
                try await store.commit(times.enumerated().map { published(node, item("\($1)", UInt64($0) + 1, time: $1, "\($0)")) })
            }
            try await store.commit([.node(.expire(at: 70_000))])
            let nodes = try await store.nodes(of: service)
            var kept: [[UInt64]] = []
            for node in nodes { kept.append(try await store.places(node.id)) }
            let all: [UInt64] = [1, 2, 3, 4, 5, 6]
            #expect(kept == [all, [1, 2], [1, 2, 3, 4], all, all])
            #expect(nodes.map(\.itemCount) == kept.map(\.count) && nodes.map(\.itemBytes) == kept.map(\.count))
            try await store.commit([.node(.setRecord(nodes[0].id, NodeRecord(itemExpiry: 1))), .node(.expire(at: .min)), .node(.expire(at: 71_000))])
            #expect(try await store.places(nodes[0].id) == [1])
            #expect(try await store.places(nodes[2].id) == [1, 2, 3])
        }
    }

    // MARK: Reads of items

    @Test("items are read from either end of a span of places, in order all the same (XEP-0059)", arguments: StoreKind.allCases)
    func pages(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (node, other) = (try await store.open(1), try await store.open(2, "z"))
            for place in [40, 10, 30, 50, 20] as [UInt64] {
                try await store.commit([published(node, item("\(90 - place)", place)), published(other, item("x\(place)", place + 1))])
            }
            #expect(try await store.places(node) == [10, 20, 30, 40, 50])
            #expect(try await store.places(node, limit: 5) == [10, 20, 30, 40, 50])
            #expect(try await store.places(node, limit: 2) == [10, 20])
            #expect(try await store.places(node, limit: 2) { $0.isBackwards = true } == [40, 50])
            #expect(try await store.places(node, limit: 2) { $0.after = 20 } == [30, 40])
            #expect(try await store.places(node, limit: 2) { $0.after = 19 } == [20, 30])
            #expect(try await store.places(node, limit: 2) { ($0.after, $0.isBackwards) = (40, true) } == [50])
            #expect(try await store.places(node, limit: 2) { ($0.before, $0.isBackwards) = (40, true) } == [20, 30])
            #expect(try await store.places(node, limit: 2) { ($0.before, $0.isBackwards) = (41, true) } == [30, 40])
            #expect(try await store.places(node, limit: 2) { $0.before = 20 } == [10])
            #expect(try await store.places(node) { ($0.after, $0.before) = (10, 40) } == [20, 30])
            #expect(try await store.places(node) { ($0.after, $0.before) = (40, 20) } == [])
            #expect(try await store.places(node) { $0.after = 50 } == [])
            #expect(try await store.places(node) { $0.after = .max } == [])
            #expect(try await store.places(node) { $0.before = 0 } == [])
            #expect(try await store.places(node, limit: 0) == [])
            #expect(try await store.places(node) { $0.limit = -1 } == [])
        }
    }

    @Test("items are read by when they were published, both ends included", arguments: StoreKind.allCases)
    func spans(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1)
            // The clock was set back in between.
            try await store.commit([(1, 100), (2, 200), (3, 150), (4, 300)].map { published(node, item("\($0.0)", $0.0, time: $0.1)) })
            #expect(try await store.places(node) { $0.start = 150 } == [2, 3, 4])
            #expect(try await store.places(node) { $0.start = 151 } == [2, 4])
            #expect(try await store.places(node) { $0.end = 150 } == [1, 3])
            #expect(try await store.places(node) { $0.end = 149 } == [1])
            #expect(try await store.places(node) { ($0.start, $0.end) = (100, 200) } == [1, 2, 3])
            #expect(try await store.places(node) { ($0.start, $0.end) = (201, 200) } == [])
            #expect(try await store.places(node, limit: 1) { ($0.start, $0.isBackwards, $0.before) = (100, true, 4) } == [3])
            #expect(try await store.places(node, limit: 1) { ($0.end, $0.after) = (150, 1) } == [3])
        }
    }

    @Test("items are read by name, in the order in which they were asked for", arguments: StoreKind.allCases)
    func names(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1)
            let items = [item("a", 1), item("b", 2, publisher: .bare(juliet)), item("ä", 3)]
            try await store.commit(items.map { published(node, $0) })
            #expect(try await store.items(of: node, named: ["ä", "nothing", "a"]) == [items[2], items[0]])
            #expect(try await store.items(of: node, named: ["b"]) == [items[1]])
            #expect(try await store.items(of: node, named: ["a\u{308}"]) == [])
            #expect(try await store.items(of: node, named: []) == [])
        }
    }

    @Test("marks say of every item what it is called, where, of when and how long it is, in order", arguments: StoreKind.allCases)
    func marks(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1)
            try await store.commit([published(node, item("b", 1, time: 9, "12345")), published(node, item("a", 2, "")), published(node, item("b", 3))])
            let expected = [
                NodeItemMark(name: "a", place: 2, time: 1, byteCount: 0), NodeItemMark(name: "b", place: 3, time: 1, byteCount: 4),
            ]
            #expect(try await store.marks(of: node) == expected)
        }
    }

    @Test("the last item is that of the highest place, of every node that has one", arguments: StoreKind.allCases)
    func lastItems(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let nodes = [try await store.open(1, "a"), try await store.open(2, "b"), try await store.open(3, "c")]
            try await store.commit([(0, 5), (0, 9), (0, 7), (1, 8)].map { published(nodes[$0.0], item("i\($0.1)", UInt64($0.1))) })
            #expect(try await store.lastItems(of: nodes + [nodes[0]]) == [nodes[0]: item("i9", 9), nodes[1]: item("i8", 8)])
            #expect(try await store.lastItems(of: []) == [:])
            try await store.commit([.node(.retract(nodes[0], names: ["i9"]))])
            #expect(try await store.lastItems(of: [nodes[0]]) == [nodes[0]: item("i7", 7)])
        }
    }

    @Test("a read of nodes sees whatever was submitted before it", arguments: StoreKind.allCases)
    func readYourWrites(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let node = try await store.open(1)
            for place in 1...60 as ClosedRange<UInt64> {
                let last = item("\(place % 7)", place)
                _ = store.submit([published(node, last), .node(.setRecord(node, NodeRecord(itemExpiry: Int64(place))))])
                switch place % 5 {
                case 0: #expect(try await store.nodes(of: service).map(\.record.itemExpiry) == [Int64(place)])
                case 1: #expect(try await store.marks(of: node).last == last.mark)
                case 2: #expect(try await store.places(node, limit: 1) { $0.isBackwards = true } == [place])
                case 3: #expect(try await store.items(of: node, named: [last.name]) == [last])
                default: #expect(try await store.lastItems(of: [node]) == [node: last])
                }
            }
        }
    }
}
