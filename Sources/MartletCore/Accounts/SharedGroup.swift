package import MartletXMPP

/// Accounts that belong together, and what each of them is called. Immutable, and held by reference by everything that is made of it: a group of
/// thousands is in memory once, however many accounts see it.
package final class SharedMembers: Sendable {
    /// `nil` where nothing says what an account is called.
    package let names: [BareJID: String?]
    /// Over all of it; the same in every process, in whatever order it was said.
    package let digest: UInt64

    package init(_ names: [BareJID: String?]) {
        self.names = names
        digest = names.reduce(0) { $0 &+ Self.digest(of: $1.key, called: $1.value) }
    }

    package convenience init(_ accounts: some Sequence<BareJID>) {
        self.init(Dictionary(accounts.map { ($0, nil) }, uniquingKeysWith: { first, _ in first }))
    }

    package func contains(_ account: BareJID) -> Bool { names.index(forKey: account) != nil }
    package var count: Int { names.count }

    private static func digest(of account: BareJID, called name: String?) -> UInt64 {
        var digest = StableDigest()
        digest.add(account.description)
        digest.add(name ?? "")
        return digest.value
    }

    /// Those who are in one of the two only, or are called otherwise.
    func difference(from other: SharedMembers) -> [BareJID] {
        let gone = other.names.keys.filter { !contains($0) }
        return gone + names.filter { other.names[$0.key] != .some($0.value) }.map(\.key)
    }
}

/// A group of accounts that others have as contacts without having asked: who is in it, and who sees them.
package final class SharedGroup: Sendable {
    /// Who sees the members.
    package enum Audience: Sendable {
        /// Each other.
        case members
        /// Whoever is in one of these.
        case others([SharedMembers])
    }

    /// Tells groups from each other; a group that has changed is a new value with the old identifier.
    package let id: String
    /// As rosters show it; two groups of one name are one there.
    package let name: String
    package let members: SharedMembers
    package let audience: Audience

    package init(id: String, name: String, members: SharedMembers, audience: Audience) {
        self.id = id
        self.name = name
        self.members = members
        self.audience = audience
    }

    /// Sets of accounts that see the members.
    package var watchers: [SharedMembers] {
        switch audience {
        case .members: [members]
        case .others(let others): others
        }
    }

    package func isSeen(by account: BareJID) -> Bool {
        switch audience {
        case .members: members.contains(account)
        case .others(let others): others.contains { $0.contains(account) }
        }
    }

    /// Whether it is seen by the very same sets of accounts.
    package func isSeen(bySameAs other: Audience) -> Bool {
        switch (audience, other) {
        case (.members, .members): true
        case (.others(let old), .others(let new)): old.count == new.count && zip(old, new).allSatisfy { $0 === $1 }
        case (.members, .others), (.others, .members): false
        }
    }
}

/// What groups are to one account.
package struct Sharing: Sendable {
    /// Whose members it sees.
    package var seen: [SharedGroup]
    /// Those that it is in: whoever sees them sees it.
    package var memberships: [SharedGroup]

    package static let none = Sharing(seen: [], memberships: [])

    package init(seen: [SharedGroup], memberships: [SharedGroup]) {
        self.seen = seen
        self.memberships = memberships
    }

    /// Of all groups there are.
    package init(of account: BareJID, in groups: some Sequence<SharedGroup>) {
        self = .none
        for group in groups {
            if group.isSeen(by: account) { seen.append(group) }
            if group.members.contains(account) { memberships.append(group) }
        }
    }

    package var isEmpty: Bool { seen.isEmpty && memberships.isEmpty }
}

/// Who knows which groups there are: a directory, or the configuration.
///
/// It answers from memory, at once, and calls nobody: it is asked with the lock of a shard held. Only accounts that exist and are enabled are in
/// its groups. Whenever it begins to answer otherwise it says so afterwards, by ``Router/sharingChanged(of:_:)``.
package protocol SharedRosterSource: Sendable {
    func sharing(of account: BareJID) -> Sharing

    /// Accounts have come (`true`), or have gone or been disabled.
    ///
    /// - Returns: all whose sharing is another one because of that.
    func accountsChanged(_ standings: [BareJID: Bool]) -> Set<BareJID>
}

/// A number over texts that is the same in every process and after every restart, as those of the standard library are not (FNV-1a of 64 bits).
struct StableDigest {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    /// What ends a text is in none.
    mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte: byte) }
        add(byte: 0xFF)
    }

    mutating func add(_ number: UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) { add(byte: UInt8(truncatingIfNeeded: number >> UInt64(shift))) }
    }

    private mutating func add(byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }

    /// Sixteen digits.
    var text: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }
}
