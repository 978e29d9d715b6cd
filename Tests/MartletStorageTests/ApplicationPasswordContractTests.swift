import MartletCore
import MartletStorage
import MartletXMPP
import Testing

private let phone = DeviceID(resource: "phone")
private let day = StoredApplicationPassword.useGranularity

/// Keys with the salt that ``credentials(_:_:)`` has for `salt`.
private func keys(_ hash: ScramHash, _ byte: UInt8, salt: UInt8 = 7) -> ScramKeys {
    let own = credentials(hash, salt)
    let key = [UInt8](repeating: byte, count: hash.byteCount)
    return try! ScramKeys(hash: hash, salt: own.salt, iterations: own.iterations, storedKey: key, serverKey: key)
}

private func password(_ name: String, _ byte: UInt8 = 50, salt: UInt8 = 7, lastUsed: Int64? = nil) -> StoredApplicationPassword {
    StoredApplicationPassword(name: name, keys: [keys(.sha256, byte, salt: salt), keys(.sha512, byte, salt: salt)], created: 5, lastUsed: lastUsed)
}

private func seen(_ account: AccountID, _ name: String?, at time: Int64, on device: DeviceID = phone) -> Write {
    var sighting = DeviceSighting(device, by: [], at: time)
    sighting.applicationPassword = name
    return .device(.seen(account, sighting))
}

/// What every store has to do with them, asked of each.
@Suite("The contract of a store: passwords for applications, and when passwords were set")
struct ApplicationPasswordContractTests {
    private func passwords(_ store: any Store) async throws -> [StoredApplicationPassword]? {
        try await store.credentials(of: juliet)?.applicationPasswords
    }

    private func add(_ password: StoredApplicationPassword) -> [Write] { [.account(.addApplicationPassword(juliet, password))] }

    @Test("they are there with their keys, in the order of their names, until they are taken away", arguments: StoreKind.allCases)
    func life(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.create(juliet, [credentials(.sha256), credentials(.sha512)])
            #expect(try await passwords(store) == [])
            try await store.commit(add(password("phone", 51)) + add(password("mail", lastUsed: day)))
            #expect(try await passwords(store) == [password("mail", lastUsed: day), password("phone", 51)])
            try await store.commit([.account(.removeApplicationPassword(juliet, name: "phone"))])
            #expect(try await passwords(store) == [password("mail", lastUsed: day)])
            await #expect(throws: StoreError.self) { try await store.commit([.account(.removeApplicationPassword(juliet, name: "phone"))]) }
            await #expect(throws: StoreError.self) { try await store.commit(add(password("mail"))) }
            await #expect(throws: StoreError.self) { try await store.commit([.account(.addApplicationPassword(romeo, password("mail")))]) }
        }
    }

    @Test("as many as there may be, and no more", arguments: StoreKind.allCases)
    func limit(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.create(juliet, [credentials(.sha256), credentials(.sha512)])
            for number in 0..<StoredApplicationPassword.perAccountMax { try await store.commit(add(password("\(number)"))) }
            await #expect(throws: StoreError.self) { try await store.commit(add(password("more"))) }
            #expect(try await passwords(store)?.count == StoredApplicationPassword.perAccountMax)
        }
    }

    @Test("one that was made with other salts than the account has now is refused whole", arguments: StoreKind.allCases)
    func salts(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.create(juliet, [credentials(.sha256)])
            for wrong in [password("mail", salt: 8), password("mail"), StoredApplicationPassword(name: "mail", keys: [], created: 5)] {
                await #expect(throws: StoreError.self) { try await store.commit(add(wrong)) }
            }
            #expect(try await passwords(store) == [])
        }
    }

    @Test("a new password of the account ends them all, and says when it was set", arguments: StoreKind.allCases)
    func newPassword(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet, [credentials(.sha256), credentials(.sha512)])
            let set = try #require(try await store.credentials(of: juliet)?.passwordSet)
            #expect(set > 0)
            try await store.commit(add(password("mail")) + [seen(id, "mail", at: 3)])
            #expect(try await store.device(phone, of: id)?.applicationPasswords.latest == "mail")
            try await store.commit([.account(.setCredentials(juliet, [credentials(.sha256), credentials(.sha512)]))])
            #expect(try await passwords(store) == [])
            #expect(try await store.device(phone, of: id)?.applicationPasswords.latest == nil)
            let identity = try #require(try await store.credentials(of: juliet))
            #expect(identity.passwordSet >= set)
            #expect(try await store.accounts(domain: nil, after: nil, limit: 9).map(\.passwordSet) == [identity.passwordSet])
        }
    }

    @Test("the day of the last use is noted with the device, and a device forgets one that is gone", arguments: StoreKind.allCases)
    func use(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet, [credentials(.sha256), credentials(.sha512)])
            try await store.commit(add(password("mail")) + add(password("other")) + [seen(id, "mail", at: 3 * day + 17)])
            #expect(try await passwords(store)?.map(\.lastUsed) == [3 * day, nil])
            try await store.commit([seen(id, "mail", at: 3 * day + 18), seen(id, "mail", at: day)])
            #expect(try await passwords(store)?.map(\.lastUsed) == [3 * day, nil])
            try await store.commit([.account(.removeApplicationPassword(juliet, name: "other"))])
            #expect(try await store.device(phone, of: id)?.applicationPasswords.latest == "mail")
            try await store.commit([.account(.removeApplicationPassword(juliet, name: "mail"))])
            #expect(try await store.device(phone, of: id)?.applicationPasswords.latest == nil)
            try await store.commit([seen(id, "gone", at: 4 * day), seen(id, nil, at: 5 * day)])
            #expect(try await store.device(phone, of: id)?.applicationPasswords.latest == nil)
        }
    }

    @Test("a device is known by all that it was the last to use, and by the one that it used last", arguments: StoreKind.allCases)
    func lastUser(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet, [credentials(.sha256), credentials(.sha512)])
            let tablet = DeviceID(resource: "tablet")
            func used(_ device: DeviceID) async throws -> [String]? { try await store.device(device, of: id)?.applicationPasswords.names }
            try await store.commit(add(password("a")) + add(password("b")) + [seen(id, "a", at: 1), seen(id, "b", at: 2)])
            #expect(try await used(phone) == ["a", "b"])
            // Another device uses one that this one has left, and one by which it still comes in.
            try await store.commit([seen(id, "a", at: 3, on: tablet), seen(id, "b", at: 4, on: tablet)])
            #expect(try await used(phone) == ["b"])
            #expect(try await used(tablet) == ["a", "b"])
            try await store.commit([seen(id, nil, at: 5)])
            #expect(try await used(phone) == [])
            try await store.commit([seen(id, nil, at: 6, on: tablet)])
            #expect(try await store.devices(of: id).flatMap(\.applicationPasswords.names) == ["a", "b"])
            try await store.commit([.account(.removeApplicationPassword(juliet, name: "a"))])
            #expect(try await used(tablet) == ["b"])
            // Who comes in by one that is gone has not used the next of that name.
            try await store.commit([seen(id, "a", at: 7)] + add(password("a")))
            #expect(try await used(phone) == [])
        }
    }

    @Test("they go with the account", arguments: StoreKind.allCases)
    func deletion(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            try await store.create(juliet, [credentials(.sha256), credentials(.sha512)])
            try await store.commit(add(password("mail")))
            try await store.delete(juliet)
            try await store.create(juliet, [credentials(.sha256), credentials(.sha512)])
            #expect(try await passwords(store) == [])
        }
    }
}
