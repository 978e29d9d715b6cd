import MartletCore
import MartletXMPP
import Testing

private let duke = jid("duke@capulet.example")

private func certificate(_ name: String, _ content: [UInt8] = [0x30, 1, 7], manages: Bool = true, added: Int64 = 5) -> AccountCertificate {
    AccountCertificate(name: name, content: content, managesCertificates: manages, added: added, expires: 1_000)
}

private func add(_ account: AccountID, _ certificate: AccountCertificate, most: Int = AccountCertificate.perAccountMax) -> Write {
    .certificate(.add(account, certificate, certificatesMax: most))
}

/// What every store has to do with certificates of accounts, asked of each.
@Suite("The contract of a store: certificates that accounts add for themselves (XEP-0257)")
struct AccountCertificateContractTests {
    @Test("a certificate is there until it is removed, as it was added", arguments: StoreKind.allCases)
    func life(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let (phone, bot) = (certificate("phone", added: 9), certificate("bot", [0x30, 2, 1, 2], manages: false))
            try await store.commit([add(id, phone), add(id, bot)])
            #expect(try await store.certificates(of: id) == [bot, phone])
            try await store.commit([.certificate(.remove(id, name: "bot"))])
            #expect(try await store.certificates(of: id) == [phone])
            await #expect(throws: StoreError.self) { try await store.commit([.certificate(.remove(id, name: "bot"))]) }
        }
    }

    @Test("an account has a certificate once, each by a name of its own", arguments: StoreKind.allCases)
    func unique(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([add(id, certificate("phone"))])
            await #expect(throws: StoreError.self) { try await store.commit([add(id, certificate("phone", [9]))]) }
            await #expect(throws: StoreError.self) { try await store.commit([add(id, certificate("laptop"))]) }
            #expect(try await store.certificates(of: id) == [certificate("phone")])
        }
    }

    @Test("an account has so many certificates, and no more", arguments: StoreKind.allCases)
    func limit(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            for number in 1...2 { try await store.commit([add(id, certificate("\(number)", [UInt8(number)]), most: 2)]) }
            await #expect(throws: StoreError.self) { try await store.commit([add(id, certificate("3", [3]), most: 2)]) }
            try await store.commit([.certificate(.remove(id, name: "1"))])
            try await store.commit([add(id, certificate("3", [3]), most: 2)])
            #expect(try await store.certificates(of: id).map(\.name) == ["2", "3"])
        }
    }

    @Test("who has a certificate is found by its bytes, at one domain, and so many of them", arguments: StoreKind.allCases)
    func holders(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let shared = certificate("shared")
            for address in [nurse, juliet, romeo, duke] { try await store.commit([add(try await store.create(address), shared)]) }
            #expect(try await store.holders(of: shared.fingerprint, domain: "capulet.example", limit: 8) == [duke, juliet, nurse])
            #expect(try await store.holders(of: shared.fingerprint, domain: "capulet.example", limit: 2) == [duke, juliet])
            #expect(try await store.holders(of: shared.fingerprint, domain: "montague.example", limit: 8) == [romeo])
            #expect(try await store.holders(of: CertificateFingerprint(of: [1]), domain: "capulet.example", limit: 8) == [])
        }
    }

    @Test("certificates go with their account, and nobody's are refused", arguments: StoreKind.allCases)
    func accounts(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([add(id, certificate("phone"))])
            try await store.delete(juliet)
            #expect(try await store.certificates(of: id) == [])
            #expect(try await store.holders(of: certificate("").fingerprint, domain: juliet.domainpart, limit: 8) == [])
            await #expect(throws: StoreError.self) { try await store.commit([add(id, certificate("phone"))]) }
            let anew = try await store.create(juliet)
            #expect(try await store.certificates(of: anew) == [])
        }
    }

    @Test("what is refused with something else leaves nothing behind", arguments: StoreKind.allCases)
    func atomic(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            await #expect(throws: StoreError.self) { try await store.commit([add(id, certificate("phone")), add(id, certificate("phone"))]) }
            #expect(try await store.certificates(of: id) == [])
        }
    }
}
