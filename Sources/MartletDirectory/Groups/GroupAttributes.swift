import MartletCore

/// The attributes by which a group is described, as the directory calls them.
package enum GroupAttributes {
    /// Names of entries, people's and groups'.
    static let members = ["member", "uniquemember"]
    /// Names by which people log in to systems (RFC 2307).
    static let memberUID = "memberuid"
    /// URLs of searches, whose results are the members.
    static let memberURL = "memberurl"
    static let names = ["xmppgroupname", "cn"]
    static let share = "xmppgroupshare"
    static let visibleTo = "xmppgroupvisibleto"

    package static var mirrored: MirroredAttributes {
        let all = members + [memberUID, memberURL, share, visibleTo] + names
        return MirroredAttributes(Dictionary(all.map { ($0, .whole) }) { first, _ in first })
    }
}

/// What a group mentions: an entry by its name, or a person by what he logs in with.
///
/// Of each the mirror has 128 bits of two hashes with a seed of this process, and no text: two that are not the same do not meet.
struct MemberKey: Hashable, Sendable {
    private let first: Int
    private let second: Int

    private init(_ kind: UInt8, _ octets: [UInt8]) {
        func hash(_ start: UInt8) -> Int {
            var hasher = Hasher()
            hasher.combine(start)
            octets.withUnsafeBytes { hasher.combine(bytes: $0) }
            return hasher.finalize()
        }
        (first, second) = (hash(kind), hash(kind | 128))
    }

    static func name(_ prepared: [UInt8]) -> MemberKey { MemberKey(1, prepared) }
    static func login(_ key: [UInt8]) -> MemberKey { MemberKey(2, key) }
}

/// The groups that mention something: mostly one, for which no set is made.
enum Mentioners: Sendable {
    case one(EntryUUID)
    case several(Set<EntryUUID>)

    var all: Set<EntryUUID> {
        switch self {
        case .one(let group): [group]
        case .several(let groups): groups
        }
    }

    func with(_ group: EntryUUID) -> Mentioners {
        let groups = all.union([group])
        return groups.count == 1 ? .one(group) : .several(groups)
    }

    /// - Returns: `nil` if nobody is left.
    func without(_ group: EntryUUID) -> Mentioners? {
        let groups = all.subtracting([group])
        guard let first = groups.first else { return nil }
        return groups.count == 1 ? .one(first) : .several(groups)
    }
}
