import MartletCore
import MartletXMPP
import Testing

private let phone = DeviceID(userAgent: "d4565fa7-4d72-4749-b3d3-740edbf87770")
private let laptop = DeviceID(resource: "balcony")

private func seen(_ account: AccountID, _ id: DeviceID, at time: Int64, name: String? = nil, by proofs: DeviceProofs = [], most: Int = 64) -> Write {
    .device(.seen(account, DeviceSighting(id, software: name.map { "client of \($0)" }, name: name, by: proofs, at: time), devicesMax: most))
}

private func token(_ seed: UInt8, expires: Int64 = 1_000, count: Int64 = 0) -> StoredToken {
    StoredToken(mechanism: .exporter, seed: [UInt8](repeating: seed, count: StoredToken.seedBytes), issued: 7, expires: expires, count: count)
}

private func use(_ seed: UInt8, _ account: AccountID, count: Int64? = nil) -> Write {
    .device(.use(account, phone, seed: [UInt8](repeating: seed, count: StoredToken.seedBytes), count: count))
}

/// What every store has to do with devices, asked of each.
@Suite("The contract of a store: devices (XEP-0494) and their tokens (XEP-0484)")
struct DeviceContractTests {
    private func tokens(_ store: any Store, _ account: AccountID) async throws -> [TokenSlot: StoredToken]? {
        try await store.device(phone, of: account)?.tokens
    }

    @Test("a device is there from its first log-in, and is what it says at the last", arguments: StoreKind.allCases)
    func life(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([seen(id, phone, at: 10, name: "phone", by: .password)])
            try await store.commit([seen(id, phone, at: 20, name: "new phone"), seen(id, laptop, at: 15)])
            let expected = StoredDevice(id: phone, software: "client of new phone", name: "new phone", firstSeen: 10, lastSeen: 20, proofs: .password)
            #expect(try await store.device(phone, of: id) == expected)
            let other = StoredDevice(id: laptop, firstSeen: 15, lastSeen: 15, proofs: [])
            #expect(try await store.devices(of: id) == [expected, other].sorted { $0.id < $1.id })
            try await store.commit([.device(.left(id, phone, time: 30)), .device(.left(id, phone, time: 5)), .device(.left(id, DeviceID(raw: 1), time: 5))])
            #expect(try await store.device(phone, of: id)?.lastSeen == 30)
            try await store.commit([.device(.remove(id, phone)), .device(.remove(id, phone))])
            #expect(try await store.devices(of: id) == [other])
        }
    }

    @Test("what an operator calls a device stays, and what it has shown adds up", arguments: StoreKind.allCases)
    func labels(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([seen(id, phone, at: 10), .device(.label(id, phone, "lost")), .device(.proved(id, phone, .password))])
            try await store.commit([seen(id, phone, at: 20, name: "phone"), .device(.proved(id, laptop, .password))])
            let device = try #require(try await store.device(phone, of: id))
            #expect(device.label == "lost" && device.name == "phone" && device.proofs == .password)
            try await store.commit([.device(.label(id, phone, nil))])
            #expect(try await store.devices(of: id).map(\.label) == [nil])
            await #expect(throws: StoreError.self) { try await store.commit([.device(.label(id, laptop, "mine"))]) }
        }
    }

    @Test("devices go with their account, and nobody's are none", arguments: StoreKind.allCases)
    func accounts(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, second) = (try await store.create(juliet), try await store.create(romeo))
            try await store.commit([seen(first, phone, at: 1), seen(second, phone, at: 2), .device(.give(first, phone, token(1)))])
            try await store.delete(juliet)
            #expect(try await store.devices(of: first).isEmpty)
            #expect(try await store.devices(of: second).map(\.lastSeen) == [2])
            // Noted in passing: dropped.
            try await store.commit([seen(first, phone, at: 3), .device(.left(first, phone, time: 4)), .device(.withdrawTokens(first, phone)), .device(.remove(first, phone))])
            #expect(try await store.devices(of: first).isEmpty)
            await #expect(throws: StoreError.self) { try await store.commit([.device(.give(first, phone, token(1)))]) }
            await #expect(throws: StoreError.self) { try await store.commit([use(1, first)]) }
        }
    }

    @Test("an account comes into use with what its devices said last, and its credentials come with one of them", arguments: StoreKind.allCases)
    func beside(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([seen(id, phone, at: 1, name: "phone", by: .password), seen(id, laptop, at: 2), .device(.give(id, phone, token(1)))])
            let devices = try await store.devices(of: id)
            #expect(try await store.load(juliet)?.devices == devices.map { DeviceSighting($0) })
            let (identity, device) = try await store.credentials(of: juliet, with: phone)
            #expect(identity?.id == id && device == devices.first { $0.id == phone } && device?.tokens.count == 1)
            let other = try await store.credentials(of: juliet, with: DeviceID(raw: 1))
            #expect(other.identity?.id == id && other.device == nil)
            let nobody = try await store.credentials(of: romeo, with: phone)
            #expect(nobody.identity == nil && nobody.device == nil)
        }
    }

    @Test("beyond the limit the one goes that was seen longest ago, those with tokens last", arguments: StoreKind.allCases)
    func limit(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            let devices = (0..<4).map { DeviceID(resource: "\($0)") }
            func names() async throws -> Set<DeviceID> { Set(try await store.devices(of: id).map(\.id)) }
            try await store.commit([seen(id, devices[0], at: 1, most: 3), .device(.give(id, devices[0], token(1)))])
            try await store.commit([seen(id, devices[1], at: 2, most: 3), seen(id, devices[2], at: 3, most: 3)])
            #expect(try await names() == Set(devices[0...2]))
            // One that is there already takes no place.
            try await store.commit([seen(id, devices[1], at: 4, most: 3)])
            #expect(try await names() == Set(devices[0...2]))
            try await store.commit([seen(id, devices[3], at: 0, most: 3)])
            #expect(try await names() == [devices[0], devices[1], devices[3]])
            try await store.commit([.device(.withdrawTokens(id, devices[0])), seen(id, devices[2], at: 5, most: 3)])
            #expect(try await names() == [devices[0], devices[1], devices[2]])
            try await store.commit([seen(id, devices[3], at: 6, most: 3)])
            #expect(try await names() == [devices[1], devices[2], devices[3]])
        }
    }

    @Test("a token that was never used gives way to the next, and the one in use stays until that is used (XEP-0484 §3.5)", arguments: StoreKind.allCases)
    func rotation(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([seen(id, phone, at: 1), .device(.give(id, phone, token(1)))])
            #expect(try await tokens(store, id) == [.new: token(1)])
            try await store.commit([.device(.give(id, phone, token(2)))])
            #expect(try await tokens(store, id) == [.new: token(2)])
            await #expect(throws: StoreError.self) { try await store.commit([use(1, id)]) }
            try await store.commit([use(2, id), .device(.give(id, phone, token(3)))])
            #expect(try await tokens(store, id) == [.current: token(2), .new: token(3)])
            // The client may never have got the new one.
            try await store.commit([use(2, id)])
            #expect(try await tokens(store, id) == [.current: token(2), .new: token(3)])
            try await store.commit([use(3, id)])
            #expect(try await tokens(store, id) == [.current: token(3)])
            await #expect(throws: StoreError.self) { try await store.commit([use(2, id)]) }
            #expect(try await store.devices(of: id).map(\.tokens) == [[.current: token(3)]])
            try await store.commit([.device(.withdrawTokens(id, phone))])
            #expect(try await tokens(store, id) == [:])
        }
    }

    @Test("a client that counts is not heard twice with one number (XEP-0484 §3.4)", arguments: StoreKind.allCases)
    func count(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([seen(id, phone, at: 1), .device(.give(id, phone, token(1)))])
            await #expect(throws: StoreError.self) { try await store.commit([use(1, id, count: 0)]) }
            #expect(try await tokens(store, id) == [.new: token(1)])
            try await store.commit([use(1, id, count: 5)])
            #expect(try await tokens(store, id) == [.current: token(1, count: 5)])
            for count: Int64 in [4, 5] { await #expect(throws: StoreError.self) { try await store.commit([use(1, id, count: count)]) } }
            try await store.commit([use(1, id, count: 6), use(1, id)])
            #expect(try await tokens(store, id) == [.current: token(1, count: 6)])
        }
    }

    @Test("a new password is not the end of a certificate that a device has shown", arguments: StoreKind.allCases)
    func newPasswordBesideCertificate(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([seen(id, phone, at: 1, by: [.password, .certificate]), .account(.setCredentials(juliet, []))])
            #expect(try await store.device(phone, of: id)?.proofs == .certificate)
        }
    }

    @Test("a new password takes all tokens away, and what devices have shown before", arguments: StoreKind.allCases)
    func newPassword(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let (first, second) = (try await store.create(juliet), try await store.create(romeo))
            for id in [first, second] { try await store.commit([seen(id, phone, at: 1, by: .password), .device(.give(id, phone, token(1)))]) }
            try await store.commit([.account(.setCredentials(juliet, []))])
            #expect(try await store.device(phone, of: first) == StoredDevice(id: phone, firstSeen: 1, lastSeen: 1, proofs: []))
            #expect(try await store.device(phone, of: second)?.tokens == [.new: token(1)])
            // An account that is disabled keeps them: it may be back tomorrow, and cannot be used until then.
            try await store.commit([.account(.setEnabled(romeo, false))])
            #expect(try await store.device(phone, of: second)?.tokens == [.new: token(1)])
        }
    }

    @Test("devices that were not seen for long are forgotten, and tokens that are too old", arguments: StoreKind.allCases)
    func age(_ kind: StoreKind) async throws {
        try await withStore(kind) { store in
            let id = try await store.create(juliet)
            try await store.commit([seen(id, phone, at: 100), seen(id, laptop, at: 99), .device(.give(id, phone, token(1, expires: 99)))])
            try await store.commit([.device(.removeUnseen(before: 99))])
            #expect(try await store.devices(of: id).count == 2)
            #expect(try await tokens(store, id)?.count == 1)
            try await store.commit([.device(.removeUnseen(before: 100))])
            #expect(try await store.devices(of: id).map(\.id) == [phone])
            #expect(try await tokens(store, id) == [:])
        }
    }

    @Test("what a device says of itself is one line of 128 bytes at most, and its name is 16 digits")
    func texts() {
        let long = DeviceSighting(phone, software: String(repeating: "x", count: 129), name: " my\n phone ", by: [], at: 0)
        #expect(long.software?.utf8.count == 128)
        #expect(DeviceSighting(phone, software: String(repeating: "x", count: 128), by: [], at: 0).software?.utf8.count == 128)
        #expect(long.name == "my phone")
        #expect(DeviceSighting(phone, name: " ", by: [], at: 0).name == nil)
        #expect(DeviceID(raw: 255).text == "00000000000000ff")
        for id in [phone, laptop, DeviceID(raw: -1), DeviceID(raw: 0)] { #expect(DeviceID(text: id.text) == id) }
        for text in ["", "ff", "00000000000000FF", "+00000000000000f", "000000000000000ff"] { #expect(DeviceID(text: text) == nil) }
        #expect(Set([DeviceID(userAgent: "a"), DeviceID(resource: "a"), .unnamed]).count == 3)
    }
}
