package import MartletCore
package import MartletXMPP

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

/// Accounts that belong together, with what each is called. By reference: whoever sees a group sees this one.
package final class MemberSet: Sendable {
    package let names: [BareJID: String?]
    package init(_ names: [BareJID: String?]) { self.names = names }
}

/// A group that is shown in rosters.
package struct RosterGroup: Sendable {
    package enum Audience: Sendable {
        /// The members see each other.
        case members
        /// Whoever is in one of these sees them.
        case others([MemberSet])
    }

    package let uuid: EntryUUID
    package let name: String
    package let members: MemberSet
    package let audience: Audience

    package func isSeen(by account: BareJID) -> Bool { watchers.contains { $0.names.index(forKey: account) != nil } }
    package func contains(_ account: BareJID) -> Bool { members.names.index(forKey: account) != nil }

    /// Sets of accounts that see the members.
    package var watchers: [MemberSet] {
        switch audience {
        case .members: [members]
        case .others(let others): others
        }
    }

    /// Whether whatever is seen of it is the same.
    func isSame(as other: RosterGroup) -> Bool {
        guard name == other.name, members === other.members else { return false }
        switch (audience, other.audience) {
        case (.members, .members): return true
        case (.others(let a), .others(let b)): return a.count == b.count && zip(a, b).allSatisfy { $0 === $1 }
        case (.members, .others), (.others, .members): return false
        }
    }
}
