import MartletCore
import MartletStorage
import MartletXMPP
import Testing

private let domain = "capulet.example"

private func invitation(
    _ token: String, inviter: String? = nil, localpart: String? = nil, uses: Int = 1, by creator: String = "nurse", at domain: String = domain,
    created: Int64 = 10, expires: Int64 = 1_000
) -> StoredInvitation {
    StoredInvitation(
        key: InvitationKey(token: token), domain: domain, inviter: inviter.map { jid($0) }, localpart: localpart, makesAccounts: true, usesLeft: uses,
        creator: creator, created: created, expires: expires)
}

private func create(_ invitation: StoredInvitation, openMax: Int = 100) -> Write { .invitation(.create(invitation, openMax: openMax)) }
private func use(_ token: String) -> Write { .invitation(.use(InvitationKey(token: token))) }

/// What every store has to do with invitations, asked of each.
@Suite("The contract of a store: invitations (XEP-0401)")
struct InvitationContractTests {
    private func tokens(_ store: any Store, _ tokens: [String]) async throws -> [String] {
        var found: [String] = []
        for token in tokens where try await store.invitation(InvitationKey(token: token)) != nil { found.append(token) }
        return found
    }

    @Test("an invitation is there as it was made, and by its token only", arguments: StoreKind.allCases)
    func creation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let full = invitation("a", inviter: "romeo@capulet.example", localpart: "juliet", uses: 3)
            try await store.commit([create(full), create(invitation("b"))])
            #expect(try await store.invitation(InvitationKey(token: "a")) == full)
            #expect(try await store.invitation(InvitationKey(token: "b")) == invitation("b"))
            #expect(try await store.invitation(InvitationKey(token: "c")) == nil)
            await #expect(throws: StoreError.self) { try await store.commit([create(full)]) }
        }
    }

    @Test("it is used so often and no more, and what is written with a use that is refused is not written", arguments: StoreKind.allCases)
    func uses(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.commit([create(invitation("a", uses: 2))])
            try await store.commit([use("a")])
            #expect(try await store.invitation(InvitationKey(token: "a"))?.usesLeft == 1)
            try await store.commit([use("a")])
            #expect(try await store.invitation(InvitationKey(token: "a")) == nil)
            let juliet = jid("juliet@capulet.example")
            await #expect(throws: StoreError.self) {
                try await store.commit([.account(.create(juliet, credentials: [], isAdmin: false)), use("a")])
            }
            #expect(try await store.credentials(of: juliet) == nil)
        }
    }

    @Test("somebody has so many that are not too old, in each domain", arguments: StoreKind.allCases)
    func openMax(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.commit([create(invitation("a", expires: 50), openMax: 2), create(invitation("b"), openMax: 2)])
            await #expect(throws: StoreError.self) { try await store.commit([create(invitation("c"), openMax: 2)]) }
            try await store.commit([create(invitation("d", by: "romeo"), openMax: 2), create(invitation("e", at: "montague.example"), openMax: 2)])
            try await store.commit([create(invitation("f", created: 50), openMax: 2)])
            #expect(try await tokens(store, ["a", "b", "c", "d", "e", "f"]) == ["a", "b", "d", "e", "f"])
        }
    }

    @Test("a name is kept for one invitation until that is used, revoked, or too old", arguments: StoreKind.allCases)
    func reservation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let juliet = jid("juliet@capulet.example")
            try await store.commit([create(invitation("a", localpart: "juliet"))])
            #expect(try await store.invitation(reserving: juliet, now: 999)?.key == InvitationKey(token: "a"))
            #expect(try await store.invitation(reserving: juliet, now: 1_000) == nil)
            #expect(try await store.invitation(reserving: jid("juliet@montague.example"), now: 10) == nil)
            #expect(try await store.invitation(reserving: jid("capulet.example"), now: 10) == nil)
            await #expect(throws: StoreError.self) { try await store.commit([create(invitation("b", localpart: "juliet"))]) }
            try await store.commit([create(invitation("c", localpart: "juliet", created: 1_000, expires: 2_000))])
            try await store.commit([.invitation(.revoke(InvitationKey(token: "c")))])
            #expect(try await store.invitation(reserving: juliet, now: 1_500) == nil)
        }
    }

    @Test("those go whose time is over, and those of an inviter whose account goes", arguments: StoreKind.allCases)
    func gone(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let romeo = jid("romeo@capulet.example")
            try await store.commit([
                .account(.create(romeo, credentials: [], isAdmin: false)), create(invitation("a", inviter: "romeo@capulet.example")),
                create(invitation("b", expires: 500)), create(invitation("c", expires: 501)),
            ])
            try await store.commit([.invitation(.removeExpired(now: 500))])
            #expect(try await tokens(store, ["a", "b", "c"]) == ["a", "c"])
            try await store.commit([.account(.delete(romeo))])
            #expect(try await tokens(store, ["a", "b", "c"]) == ["c"])
        }
    }

    @Test("a list goes on after any of them, and is of one domain or of all", arguments: StoreKind.allCases)
    func lists(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let all = ["a", "b", "c", "d"].map { invitation($0, at: $0 == "d" ? "montague.example" : domain) }
            try await store.commit(all.map { create($0) })
            let sorted = all.sorted { $0.key < $1.key }
            #expect(try await store.invitations(domain: nil, after: nil, limit: 10) == sorted)
            #expect(try await store.invitations(domain: nil, after: sorted[0].key, limit: 2) == Array(sorted[1...2]))
            #expect(try await store.invitations(domain: domain, after: nil, limit: 10) == sorted.filter { $0.domain == domain })
            #expect(try await store.invitations(domain: nil, after: sorted[3].key, limit: 10).isEmpty)
        }
    }
}
