package import MartletXMPP
import Synchronization

/// The name of a group's entry, prepared so that equal names are equal octets.
package struct GroupName: Hashable, Sendable {
    package let octets: [UInt8]
    package init(prepared octets: [UInt8]) { self.octets = octets }
}

/// Who knows who is in the groups of a directory.
package protocol GroupMembership: Sendable {
    /// Whether the person of an account is in a group, or in one of the groups in it. It is said from memory, at once, and calls nobody. Nobody is in a group that is
    /// not known.
    func isMember(_ account: BareJID, of group: GroupName) -> Bool
}

/// Accounts that an operator names: by their addresses, or as the members of groups of a directory, of whom it is asked each time.
package struct NamedAccounts: Sendable, ExpressibleByArrayLiteral {
    private var accounts: Set<BareJID>
    private var groups: Set<GroupName>
    private let membership: (any GroupMembership)?

    package init(_ accounts: some Sequence<BareJID>, groups: Set<GroupName> = [], in membership: (any GroupMembership)? = nil) {
        self.accounts = Set(accounts)
        self.groups = groups
        self.membership = membership
    }

    package init(arrayLiteral accounts: BareJID...) { self.init(accounts) }

    package func contains(_ account: BareJID) -> Bool {
        if accounts.contains(account) { return true }
        guard !groups.isEmpty, let membership else { return false }
        return groups.contains { membership.isMember(account, of: $0) }
    }
}

/// The groups of the directories of all domains, of each once it has said of them. One for the whole server.
package final class GroupMemberships: GroupMembership {
    // A leaf: asked on any loop. Whoever is asked has a lock of his own.
    private let directories = Mutex<[BareJID: any GroupMembership]>([:])

    package init() {}

    package func set(_ membership: any GroupMembership, ofDirectoryAt domain: BareJID) { directories.withLock { $0[domain] = membership } }

    package func isMember(_ account: BareJID, of group: GroupName) -> Bool {
        directories.withLock { $0[account.domain] }?.isMember(account, of: group) ?? false
    }
}
