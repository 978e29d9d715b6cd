import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

@Suite("The contract of a store: who has given something to an account")
struct GrantContractTests {
    private func grantors(_ store: any Store, to account: BareJID = romeo) async throws -> Set<String> {
        let found = try await withCheckedContinuation { continuation in store.loadGrantors(to: account) { continuation.resume(returning: $0) } }.get()
        return Set(found.map(\.description))
    }

    private func room(_ name: String, _ address: String, _ affiliation: UInt8 = 2) -> Write {
        let lines = [StoredAffiliation(address: try! JID(address), affiliation: affiliation, version: 1)]
        return .room(.create(jid("\(name)@chat.shakespeare.example"), RoomRecord(isPersistent: true, isPublic: true), lines))
    }

    @Test("rooms, services and accounts that have the account or a session of it in a list, and nobody else", arguments: StoreKind.allCases)
    func grantors(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let hers = NodeOwner.account(try await store.create(juliet))
            _ = try await store.create(romeo)
            #expect(try await grantors(store).isEmpty)
            // Addresses that are around it in every order of octets.
            let others = ["x\(romeo)", "\(romeo)x", "\(romeo).example", "\(romeo)0", romeo.domainpart, "\(romeo.domainpart)/x"]
            for (number, other) in others.enumerated() { try await store.commit([room("other\(number)", other)]) }
            try await store.commit([room("member", "\(romeo)"), room("banned", "\(romeo)/orchard"), room("former", "\(romeo)", 0)])
            try await store.open(1, "list", of: .service("pubsub.a.example")) {
                $0.affiliations = [StoredNodeAffiliation(address: romeo, affiliation: 1), StoredNodeAffiliation(address: juliet, affiliation: 1)]
            }
            try await store.open(2, "mood", of: hers) { $0.subscriptions = [StoredNodeSubscription(id: "1", address: try! JID("\(romeo)/orchard"))] }
            try await store.open(3, "other", of: .service("pubsub.b.example")) {
                $0.subscriptions = others.enumerated().map { StoredNodeSubscription(id: "\($0)", address: try! JID($1)) }
            }
            #expect(
                try await grantors(store) == [
                    "member@chat.shakespeare.example", "banned@chat.shakespeare.example", "pubsub.a.example", "\(juliet)",
                ])
            #expect(try await grantors(store, to: juliet) == ["pubsub.a.example"])
        }
    }
}
