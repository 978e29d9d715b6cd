import MartletCore

/// Finds entries by keys that are in the entries, or follow from what is: names, addresses, log-ins.
///
/// It keeps a hash of each key and not the key, so that an entry costs it 24 octets and the room that a table leaves. Who asks looks at what is found whether it
/// is what was looked for. The hash has a seed of this process: nobody who chooses names can make them meet.
struct UUIDIndex: Sendable {
    private var uuids: [Int: EntryUUID] = [:]
    /// Of keys that several entries have.
    private var others: [Int: [EntryUUID]] = [:]

    mutating func insert(_ uuid: EntryUUID, _ key: [UInt8]) {
        let hash = Self.hash(key)
        guard let first = uuids[hash] else { return uuids[hash] = uuid }
        if first != uuid, others[hash]?.contains(uuid) != true { others[hash, default: []].append(uuid) }
    }

    mutating func remove(_ uuid: EntryUUID, _ key: [UInt8]) {
        let hash = Self.hash(key)
        var rest = others[hash] ?? []
        if uuids[hash] == uuid {
            uuids[hash] = rest.isEmpty ? nil : rest.removeFirst()
        } else {
            rest.removeAll { $0 == uuid }
        }
        others[hash] = rest.isEmpty ? nil : rest
    }

    /// Entries that may have that key.
    func candidates(_ key: [UInt8]) -> [EntryUUID] {
        let hash = Self.hash(key)
        return (uuids[hash].map { [$0] } ?? []) + (others[hash] ?? [])
    }

    mutating func reserve(_ count: Int) { uuids.reserveCapacity(count) }

    private static func hash(_ key: [UInt8]) -> Int {
        var hasher = Hasher()
        key.withUnsafeBytes { hasher.combine(bytes: $0) }
        return hasher.finalize()
    }
}
