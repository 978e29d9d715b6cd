import MartletCore
import MartletXMPP
import NIOCore
import Testing

private func entry(_ number: UInt8) -> EntryUUID { EntryUUID(Array(repeating: number, count: 16))! }

/// What every store has to do with accounts of a directory, asked of each.
@Suite("The contract of a store: accounts of a directory, and accounts that get another address")
struct DirectoryLinkContractTests {
    @Test("an account is an entry's until the link is taken away", arguments: StoreKind.allCases)
    func life(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for address in [juliet, nurse] { _ = try await store.create(address) }
            #expect(try await store.directoryLink(of: juliet) == nil)
            try await store.commit([.account(.link(juliet, DirectoryLink(entry(1))))])
            #expect(try await store.directoryLink(of: juliet) == DirectoryLink(entry(1)))
            try await store.commit([.account(.link(juliet, DirectoryLink(entry(1), gone: 77)))])
            #expect(try await store.directoryLink(of: juliet) == DirectoryLink(entry(1), gone: 77))
            try await store.commit([.account(.link(juliet, nil))])
            #expect(try await store.directoryLink(of: juliet) == nil)
            await #expect(throws: StoreError.self) { try await store.commit([.account(.link(jid("nobody@capulet.example"), DirectoryLink(entry(1))))]) }
        }
    }

    @Test("an entry has one account that is not gone", arguments: StoreKind.allCases)
    func unique(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for address in [juliet, nurse] { _ = try await store.create(address) }
            try await store.commit([.account(.link(juliet, DirectoryLink(entry(1))))])
            await #expect(throws: StoreError.self) { try await store.commit([.account(.link(nurse, DirectoryLink(entry(1))))]) }
            try await store.commit([.account(.link(juliet, DirectoryLink(entry(1), gone: 5))), .account(.link(nurse, DirectoryLink(entry(1))))])
            await #expect(throws: StoreError.self) { try await store.commit([.account(.link(juliet, DirectoryLink(entry(1))))]) }
            #expect(try await store.directoryLink(of: juliet) == DirectoryLink(entry(1), gone: 5))
        }
    }

    @Test("they are listed by address, page by page", arguments: StoreKind.allCases)
    func pages(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            for address in [romeo, nurse, juliet] { _ = try await store.create(address) }
            try await store.commit([
                .account(.link(juliet, DirectoryLink(entry(1)))), .account(.link(romeo, DirectoryLink(entry(3), gone: 9))), .account(.setEnabled(romeo, false)),
            ])
            let all = [
                LinkedAccount(address: juliet, isEnabled: true, link: DirectoryLink(entry(1))),
                LinkedAccount(address: romeo, isEnabled: false, link: DirectoryLink(entry(3), gone: 9)),
            ]
            #expect(try await store.linkedAccounts(after: nil, limit: 10) == all)
            #expect(try await store.linkedAccounts(after: nil, limit: 1) == [all[0]])
            #expect(try await store.linkedAccounts(after: juliet, limit: 1) == [all[1]])
            #expect(try await store.linkedAccounts(after: romeo, limit: 1) == [])
        }
    }

    @Test("the link goes with the account", arguments: StoreKind.allCases)
    func deletion(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            _ = try await store.create(juliet)
            try await store.commit([.account(.link(juliet, DirectoryLink(entry(1)))), .account(.delete(juliet))])
            #expect(try await store.linkedAccounts(after: nil, limit: 1) == [])
            let again = try await store.create(juliet)
            #expect(again.raw > 1)
            try await store.commit([.account(.link(juliet, DirectoryLink(entry(1))))])
        }
    }

    @Test("an account with another address is the same one, and its old address is free", arguments: StoreKind.allCases)
    func rename(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let capulet = jid("j.capulet@1.quarantine.invalid")
            let key = DocumentKey(namespace: "urn:x")
            try await store.commit([.account(.link(juliet, DirectoryLink(entry(1)))), .document(id, key, .init(string: "kept"))])
            try await store.commit([.account(.rename(juliet, to: capulet))])
            #expect(try await store.credentials(of: juliet) == nil)
            #expect(try await store.credentials(of: capulet)?.id == id)
            #expect(try await store.directoryLink(of: capulet) == DirectoryLink(entry(1)))
            let new = try await store.create(juliet)
            #expect(new != id)
            #expect(try await store.document(new, key) == nil)
            #expect(try await store.document(id, key).map(String.init(buffer:)) == "kept")
            #expect(try await store.accounts(domain: nil, after: nil, limit: 10).map(\.address) == [capulet, juliet])
        }
    }

    @Test("no account takes an address away from another, and what is refused with a new address leaves the old one", arguments: StoreKind.allCases)
    func taken(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            _ = try await store.create(nurse)
            await #expect(throws: StoreError.self) { try await store.commit([.account(.rename(juliet, to: nurse))]) }
            await #expect(throws: StoreError.self) { try await store.commit([.account(.rename(romeo, to: jid("r@capulet.example")))]) }
            let other = jid("j@capulet.example")
            await #expect(throws: StoreError.self) { try await store.commit([.account(.rename(juliet, to: other)), .account(.setEnabled(juliet, false))]) }
            #expect(try await store.credentials(of: juliet)?.id == id)
            #expect(try await store.credentials(of: other) == nil)
        }
    }
}
