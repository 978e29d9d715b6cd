package import MartletCore
internal import MartletLDAP

/// Prepares an entry's name so that equal names are equal octets (RFC 4514, RFC 4518); `nil` if it is none.
package typealias NamePreparation = @Sendable (String) -> [UInt8]?

/// What has become of an entry.
package struct MirrorChange: Hashable, Sendable {
    package let uuid: EntryUUID
    package let before: MirroredEntry?
    package let after: MirroredEntry?

    package init(_ uuid: EntryUUID, before: MirroredEntry?, after: MirroredEntry?) {
        self.uuid = uuid
        self.before = before
        self.after = after
    }
}

/// The entries of one search of a directory, by UUID and by name, in memory.
package struct DirectoryMirror: Sendable {
    package let attributes: MirroredAttributes
    package private(set) var entries: [EntryUUID: MirroredEntry] = [:]
    /// Entries that were too long to be mirrored, so that they are not there (``MirrorLimits/entryBytesMax``).
    package private(set) var tooLong: Set<EntryUUID> = []
    private var names = UUIDIndex()
    private let prepare: NamePreparation

    package init(_ attributes: MirroredAttributes, prepare: @escaping NamePreparation) {
        self.attributes = attributes
        self.prepare = prepare
    }

    package subscript(_ uuid: EntryUUID) -> MirroredEntry? { entries[uuid] }

    /// - Returns: what has changed, if anything has of what is mirrored.
    package mutating func apply(_ change: DirectoryChange) -> MirrorChange? {
        switch change {
        case .gone(let uuid): return remove(uuid)
        case .goneNamed(let name): return uuid(named: name).flatMap { remove($0) }
        case .entry(let uuid, let entry):
            guard let mirrored = MirroredEntry(entry, attributes) else {
                tooLong.insert(uuid)
                return set(uuid, nil)
            }
            tooLong.remove(uuid)
            return set(uuid, mirrored)
        }
    }

    package mutating func remove(_ uuid: EntryUUID) -> MirrorChange? {
        tooLong.remove(uuid)
        return set(uuid, nil)
    }

    /// Puts an entry in place that was mirrored before.
    mutating func restore(_ uuid: EntryUUID, _ entry: MirroredEntry) -> MirrorChange? { set(uuid, entry) }

    private mutating func set(_ uuid: EntryUUID, _ entry: MirroredEntry?) -> MirrorChange? {
        let before = entries[uuid]
        guard before != entry else { return nil }
        let (old, new) = (before?.name, entry?.name)
        if old != new {
            if let key = old.flatMap(prepare) { names.remove(uuid, key) }
            if let key = new.flatMap(prepare) { names.insert(uuid, key) }
        }
        entries[uuid] = entry
        return MirrorChange(uuid, before: before, after: entry)
    }

    /// The entry of that name, however it is spelled.
    package func uuid(named name: String) -> EntryUUID? { prepare(name).flatMap { uuid(prepared: $0) } }

    package func uuid(prepared key: [UInt8]) -> EntryUUID? {
        names.candidates(key).first { entries[$0].flatMap { prepare($0.name) } == key }
    }

    /// What the end of a refresh removes.
    package func removed(by end: RefreshEnd) -> [EntryUUID] {
        let gone = end.there.map { there in entries.keys.filter { !there.contains($0) || end.gone.contains($0) } }
        return gone ?? end.gone.filter { entries[$0] != nil }
    }
}
