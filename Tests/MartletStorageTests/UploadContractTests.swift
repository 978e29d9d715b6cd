import MartletCore
import MartletStorage
import MartletXMPP
import NIOCore
import Testing

private func name(_ number: Int) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 32 - digits.count) + digits
}

private func slot(
    _ number: Int, _ account: AccountID, _ owner: BareJID = juliet, bytes: Int = 10, purpose: UploadPurpose = .message, created: Int64 = 100,
    expireBefore: Int64? = nil, ends: Int64 = 1_000
) -> StoredUpload {
    StoredUpload(
        name: name(number), account: account, owner: owner, fileName: "très cool.jpg", type: "image/jpeg", bytes: bytes, purpose: purpose, created: created,
        expireBefore: expireBefore, state: .open(token: Array(repeating: 7, count: 32), ends: ends))
}

private let sha256 = Array(repeating: UInt8(9), count: 32)

private func keep(_ number: Int, since: Int64) -> Write { .upload(.keep(name(number), since: since, sha256: sha256)) }

/// What every store has to do with uploaded files, asked of each.
@Suite("The contract of a store: uploads (XEP-0363)")
struct UploadContractTests {
    private func isRefused(_ store: any Store, _ writes: [Write]) async -> Bool {
        do throws(StoreError) { try await store.commit(writes) } catch {
            if case .constraint = error { return true }
        }
        return false
    }

    @Test("a slot becomes a file, and both are found by their name with all that was said of them", arguments: StoreKind.allCases)
    func life(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            var upload = slot(1, id, purpose: .ephemeral, expireBefore: 5_000)
            try await store.commit([.upload(.open(upload))])
            #expect(try await store.upload(named: name(1)) == upload)
            try await store.commit([keep(1, since: 200)])
            upload.state = .kept(since: 200, sha256: sha256)
            #expect(try await store.upload(named: name(1)) == upload)
            try await store.commit([.upload(.remove([name(1), name(2)]))])
            #expect(try await store.upload(named: name(1)) == nil)
            var untyped = slot(3, id)
            untyped.type = nil
            try await store.commit([.upload(.open(untyped))])
            #expect(try await store.upload(named: name(3)) == untyped)
        }
    }

    @Test("a name is taken once, a slot is used once, and nobody's slots are none", arguments: StoreKind.allCases)
    func refusals(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([.upload(.open(slot(1, id)))])
            #expect(await isRefused(store, [.upload(.open(slot(1, id)))]))
            #expect(await isRefused(store, [.upload(.open(slot(2, AccountID(raw: 999))))]))
            #expect(await isRefused(store, [keep(2, since: 1)]))
            try await store.commit([keep(1, since: 200)])
            #expect(await isRefused(store, [keep(1, since: 300)]))
            // What is refused changes nothing.
            #expect(await isRefused(store, [.upload(.remove([name(1)])), keep(2, since: 1)]))
            #expect(try await store.upload(named: name(1))?.state == .kept(since: 200, sha256: sha256))
        }
    }

    @Test("what an account has uploaded goes with it", arguments: StoreKind.allCases)
    func deletedAccount(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, second) = (try await store.create(juliet), try await store.create(romeo))
            try await store.commit([.upload(.open(slot(1, first))), .upload(.open(slot(2, second, romeo))), keep(1, since: 1)])
            #expect(Set(try await store.uploadOwners()) == [first, second])
            try await store.delete(juliet)
            #expect(try await store.upload(named: name(1)) == nil)
            #expect(try await store.uploadOwners() == [second])
            #expect(await isRefused(store, [keep(1, since: 1)]))
        }
    }

    @Test("slots end, files end by their purpose or at a moment of their own", arguments: StoreKind.allCases)
    func expiry(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let slots = [
                slot(1, id, ends: 1_000), slot(2, id, ends: 1_001), slot(3, id), slot(4, id), slot(5, id, purpose: .permanent),
                slot(6, id, purpose: .ephemeral, expireBefore: 1_000), slot(7, id, purpose: .ephemeral, expireBefore: 1_001),
                slot(8, id, purpose: .ephemeral, expireBefore: 1_000, ends: 1_001),
            ]
            try await store.commit(slots.map { .upload(.open($0)) })
            try await store.commit([keep(3, since: 500), keep(4, since: 501), keep(5, since: 1), keep(6, since: 900), keep(7, since: 900)])
            try await store.commit([.upload(.expire(now: 1_000, keptSince: [.message: 500]))])
            #expect(try await store.uploads(of: nil, after: "", limit: 100).map(\.name) == [2, 4, 5, 7, 8].map(name))
        }
    }

    @Test("uploads are listed a page at a time, of one account or of all", arguments: StoreKind.allCases)
    func lists(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, second) = (try await store.create(juliet), try await store.create(romeo))
            for number in 1...5 {
                let isFirst = number % 2 == 1
                try await store.commit([.upload(.open(slot(number, isFirst ? first : second, isFirst ? juliet : romeo)))])
            }
            #expect(try await store.uploads(of: nil, after: "", limit: 3).map(\.name) == [1, 2, 3].map(name))
            #expect(try await store.uploads(of: nil, after: name(3), limit: 3).map(\.name) == [4, 5].map(name))
            #expect(try await store.uploads(of: second, after: name(2), limit: 3).map(\.name) == [name(4)])
            #expect(try await store.uploads(of: second, after: "", limit: 3).map(\.owner) == [romeo, romeo])
            #expect(try await store.uploads(of: first, after: "", limit: 0).isEmpty)
        }
    }

    @Test("usage is that of an account or a domain: files, slots that have not ended, and what is recent", arguments: StoreKind.allCases)
    func usage(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, second, third) = (try await store.create(juliet), try await store.create(nurse), try await store.create(romeo))
            #expect(try await store.uploadUsage(of: .account(first), now: 0, since: 0) == UploadUsage())
            try await store.commit([
                .upload(.open(slot(1, first, bytes: 1, created: 100))), .upload(.open(slot(2, first, bytes: 10, created: 200, ends: 1_000))),
                .upload(.open(slot(3, first, bytes: 100, created: 300, ends: 1_001))), .upload(.open(slot(4, first, bytes: 1_000, created: 199, ends: 2_000))),
                .upload(.open(slot(5, second, nurse, bytes: 10_000, created: 400))), .upload(.open(slot(6, third, romeo, bytes: 100_000))),
                keep(1, since: 150), keep(5, since: 450), keep(6, since: 1),
            ])
            var expected = UploadUsage()
            (expected.files, expected.openSlots, expected.bytes, expected.firstEnd) = (1, 2, 1_101, 1_001)
            (expected.recentBytes, expected.firstRecent) = (100, 300)
            #expect(try await store.uploadUsage(of: .account(first), now: 1_000, since: 200) == expected)
            (expected.files, expected.bytes, expected.recentBytes) = (2, 11_101, 10_100)
            #expect(try await store.uploadUsage(of: .domain("capulet.example"), now: 1_000, since: 200) == expected)
        }
    }
}
