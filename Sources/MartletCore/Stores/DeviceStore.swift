package import MartletXMPP

/// Names a device of an account, for as long as the device says the same of itself: 64 bits of a digest of that. So nothing is kept of what a
/// client is known by, and whoever sees the name of a device cannot log in as it.
package struct DeviceID: Hashable, Sendable, Comparable {
    package let raw: Int64

    package init(raw: Int64) { self.raw = raw }

    /// A client that says which one it is, by the `id` of its `<user-agent/>` (XEP-0388 §2.4.1).
    package init(userAgent id: String) { self.init(of: "user-agent", id) }

    /// A client that logs in as RFC 6120 has it says nothing of itself but the resource that it wants, and mostly wants the same one again.
    package init(resource: String) { self.init(of: "resource", resource) }

    /// All clients that let the server choose their resource: nobody can tell them apart.
    package static let unnamed = DeviceID(of: "unnamed", "")

    private init(of kind: String, _ name: String) {
        let digest = ScramHash.sha256.digest(Array(kind.utf8) + [0] + Array(name.utf8))
        raw = Int64(bitPattern: digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
    }

    /// 16 hexadecimal digits.
    package var text: String {
        let digits = String(UInt64(bitPattern: raw), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// `nil` for anything but what ``text`` gives.
    package init?(text: String) {
        guard text.utf8.count == 16, let bits = UInt64(text, radix: 16) else { return nil }
        raw = Int64(bitPattern: bits)
        guard self.text == text else { return nil }
    }

    package static func < (a: Self, b: Self) -> Bool { a.raw < b.raw }
}

/// By what a device has shown that it may use the account, and may show again. The bits are on disk.
package struct DeviceProofs: OptionSet, Hashable, Sendable {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }

    /// The account's password, which has not been changed since.
    package static let password = DeviceProofs(rawValue: 1)
    /// A certificate that stands for the account. A new password does not end it.
    package static let certificate = DeviceProofs(rawValue: 2)
    /// A token of an authorization server, which can be good for as long as that says. A new password does not end it.
    package static let grant = DeviceProofs(rawValue: 8)
}

/// A device that logs in, as it says itself.
package struct DeviceSighting: Hashable, Sendable {
    /// Longest of the texts, in bytes; the rest of a longer one is left out.
    package static let textBytesMax = 128

    package var id: DeviceID
    /// What the client calls itself, and the device that it runs on; `nil` if it says nothing.
    package var software: String?
    package var name: String?
    package var proofs: DeviceProofs
    /// By which of the account's passwords for applications it has come in, if by one. One that is gone meanwhile is not noted.
    package var applicationPassword: String?
    /// Milliseconds since 1970.
    package var time: Int64

    package init(_ id: DeviceID, software: String? = nil, name: String? = nil, by proofs: DeviceProofs, at time: Int64) {
        self.id = id
        self.software = Self.cut(software)
        self.name = Self.cut(name)
        self.proofs = proofs
        self.time = time
    }

    /// A client that has proved to know the password, and says nothing of itself but the resource that it wants, if it wants one (RFC 6120 §7).
    package init(resource: String?, at time: Int64) {
        self.init(resource.map(DeviceID.init(resource:)) ?? .unnamed, name: resource, by: .password, at: time)
    }

    /// A client as it says of itself in its log-in (XEP-0388 §2.3), or as one of RFC 6120 if it does not say which one it is.
    package init(_ userAgent: UserAgent?, resource: String? = nil, by proofs: DeviceProofs, at time: Int64) {
        let id = userAgent?.id.map(DeviceID.init(userAgent:)) ?? resource.map(DeviceID.init(resource:)) ?? .unnamed
        self.init(id, software: userAgent?.software, name: userAgent?.device ?? resource, by: proofs, at: time)
    }

    /// One that is stored, as it would be seen without saying anything new.
    package init(_ stored: StoredDevice) {
        id = stored.id
        software = stored.software
        name = stored.name
        proofs = stored.proofs
        // Of one that another device has used since, it would be news if it were used again: this is no password's name.
        applicationPassword = stored.applicationPasswords.latest.map { stored.applicationPasswords.isOwn($0) ? $0 : "" }
        time = stored.lastSeen
    }

    /// In one line.
    private static func cut(_ text: String?) -> String? {
        guard let text else { return nil }
        var bytes = 0
        let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ").prefix { character in
            bytes += character.utf8.count
            return bytes <= textBytesMax
        }
        return line.isEmpty ? nil : String(line)
    }
}

/// A token of a device, as far as it is kept: by ``DeviceTokens`` it is made of this and of a secret that is not in the store, so that nobody can log in
/// with what is in a database, or in a copy of one.
package struct StoredToken: Hashable, Sendable {
    package static let seedBytes = 32

    /// The only one that it is good for (XEP-0484 §3.4).
    package var mechanism: HashedTokenMechanism
    package var seed: [UInt8]
    /// Milliseconds since 1970.
    package var issued: Int64
    package var expires: Int64
    /// The highest number that its client has counted to (XEP-0484 §3.4).
    package var count: Int64

    package init(mechanism: HashedTokenMechanism, seed: [UInt8], issued: Int64, expires: Int64, count: Int64 = 0) {
        self.mechanism = mechanism
        self.seed = seed
        self.issued = issued
        self.expires = expires
        self.count = count
    }
}

/// A device of an account.
package struct StoredDevice: Hashable, Sendable {
    /// Devices that are remembered of one account. Beyond, one gives way to the one that comes: of those without a token the one that was seen longest
    /// ago, then of the others.
    package static let perAccountMax = 64
    /// How exactly it is remembered when a device was seen last, in milliseconds: of the log-ins and the ends of sessions within so long, which say nothing
    /// else that is new, the first is written.
    package static let seenGranularity: Int64 = 3_600_000

    package var id: DeviceID
    package var software: String?
    package var name: String?
    /// What an operator calls it, whatever it says itself.
    package var label: String?
    /// Milliseconds since 1970: when it logged in first, and when it logged in or left last, which may be ``seenGranularity`` too early.
    package var firstSeen: Int64
    package var lastSeen: Int64
    package var proofs: DeviceProofs
    package var applicationPasswords = UsedApplicationPasswords()
    package var tokens: [TokenSlot: StoredToken] = [:]

    package init(
        id: DeviceID, software: String? = nil, name: String? = nil, label: String? = nil, firstSeen: Int64, lastSeen: Int64, proofs: DeviceProofs,
        tokens: [TokenSlot: StoredToken] = [:]
    ) {
        self.id = id
        self.software = software
        self.name = name
        self.label = label
        self.firstSeen = firstSeen
        self.lastSeen = lastSeen
        self.proofs = proofs
        self.tokens = tokens
    }

    /// Whether it has a token that is still good.
    package func hasToken(at time: Int64) -> Bool { tokens.values.contains { $0.expires > time } }
}

/// What becomes of an account's devices. What the server notes in passing is dropped if there is no such account, or device; what somebody waits for is
/// refused with ``StoreError/constraint(_:)``. New credentials of an account (``AccountChange/setCredentials(_:_:)``) take all tokens of all devices away,
/// and what these have shown before.
package enum DeviceChange: Hashable, Sendable {
    /// Noted in passing: a device has logged in. What it says of itself replaces what it said before; what it has shown adds up.
    case seen(AccountID, DeviceSighting, devicesMax: Int = StoredDevice.perAccountMax)
    /// Noted in passing: its last session has ended.
    case left(AccountID, DeviceID, time: Int64)
    /// Noted in passing: it has shown more than it had when it logged in.
    case proved(AccountID, DeviceID, DeviceProofs)
    /// An operator calls it so from now on; `nil`: by what it says itself. Refused if there is no such device.
    case label(AccountID, DeviceID, String?)
    /// Gives the device a new token, which takes the place of one that it has never used. Refused if there is no such device.
    case give(AccountID, DeviceID, StoredToken)
    /// The token with this seed was used: it is the current one from now on, and the one before is gone (XEP-0484 §3.5). Refused if the device has no such
    /// token, or if its client has counted as far before.
    case use(AccountID, DeviceID, seed: [UInt8], count: Int64?)
    /// Takes its tokens away, as far as there are any.
    case withdrawTokens(AccountID, DeviceID)
    /// Takes its tokens away and forgets it, if it is there.
    case remove(AccountID, DeviceID)
    /// Forgets devices that were seen last before this time, and tokens that were too old then, in milliseconds since 1970.
    case removeUnseen(before: Int64)
}

/// Which devices use accounts, and their tokens (XEP-0494, XEP-0484). They go with their account.
package protocol DeviceStore: Sendable {
    /// In the order of their names. Including whatever was submitted before the call.
    func devices(of account: AccountID) async throws(StoreError) -> [StoredDevice]
    func device(_ id: DeviceID, of account: AccountID) async throws(StoreError) -> StoredDevice?
}

/// The same as plain values, of one account.
package struct DeviceContents: Sendable {
    private var all: [DeviceID: StoredDevice] = [:]

    package init() {}

    package subscript(id: DeviceID) -> StoredDevice? { all[id] }
    package var devices: [StoredDevice] { all.values.sorted { $0.id < $1.id } }

    mutating func see(_ sighting: DeviceSighting, devicesMax: Int) {
        guard var device = all[sighting.id] else {
            all[sighting.id] = StoredDevice(
                id: sighting.id, software: sighting.software, name: sighting.name, firstSeen: sighting.time, lastSeen: sighting.time, proofs: sighting.proofs)
            noteApplicationPassword(of: sighting)
            return makeRoom(for: sighting.id, devicesMax)
        }
        (device.software, device.name) = (sighting.software, sighting.name)
        device.proofs.formUnion(sighting.proofs)
        device.lastSeen = max(device.lastSeen, sighting.time)
        all[sighting.id] = device
        noteApplicationPassword(of: sighting)
    }

    private mutating func noteApplicationPassword(of sighting: DeviceSighting) {
        all[sighting.id]?.applicationPasswords.logIn(by: sighting.applicationPassword)
        guard let name = sighting.applicationPassword else { return }
        for id in all.keys where id != sighting.id { all[id]?.applicationPasswords.anotherDeviceLogsIn(by: name) }
    }

    private mutating func makeRoom(for new: DeviceID, _ devicesMax: Int) {
        let others = all.values.filter { $0.id != new }.sorted { a, b in
            if a.tokens.isEmpty != b.tokens.isEmpty { return b.tokens.isEmpty }
            return a.lastSeen != b.lastSeen ? a.lastSeen > b.lastSeen : a.id < b.id
        }
        for device in others.dropFirst(max(0, devicesMax - 1)) { all[device.id] = nil }
    }

    mutating func leave(_ id: DeviceID, at time: Int64) {
        guard let lastSeen = all[id]?.lastSeen else { return }
        all[id]?.lastSeen = max(lastSeen, time)
    }

    mutating func prove(_ proofs: DeviceProofs, by id: DeviceID) { all[id]?.proofs.formUnion(proofs) }

    mutating func label(_ id: DeviceID, _ label: String?) throws(StoreError) {
        guard all[id] != nil else { throw .constraint("there is no such device") }
        all[id]?.label = label
    }

    mutating func give(_ token: StoredToken, to id: DeviceID) throws(StoreError) {
        guard all[id] != nil else { throw .constraint("there is no such device") }
        all[id]?.tokens[.new] = token
    }

    mutating func use(_ seed: [UInt8], of id: DeviceID, count: Int64?) throws(StoreError) {
        guard let (slot, token) = all[id]?.tokens.first(where: { $0.value.seed == seed }) else { throw .constraint("the device has no such token") }
        guard count.map({ $0 > token.count }) ?? true else { throw .constraint("the token was used with that count before") }
        var used = token
        used.count = count ?? token.count
        if slot == .new { all[id]?.tokens[.new] = nil }
        all[id]?.tokens[.current] = used
    }

    mutating func withdrawTokens(of id: DeviceID) { all[id]?.tokens = [:] }

    mutating func remove(_ id: DeviceID) { all[id] = nil }

    mutating func removeUnseen(before time: Int64) {
        all = all.filter { $0.value.lastSeen >= time }.mapValues { device in
            var device = device
            device.tokens = device.tokens.filter { $0.value.expires >= time }
            return device
        }
    }

    /// The account's password is another one.
    mutating func credentialsChanged() {
        for id in all.keys {
            all[id]?.tokens = [:]
            all[id]?.proofs.remove(.password)
            all[id]?.applicationPasswords = UsedApplicationPasswords()
        }
    }

    /// One of the account's passwords for applications is gone.
    mutating func applicationPasswordEnded(_ name: String) {
        for id in all.keys { all[id]?.applicationPasswords.end(name) }
    }
}
