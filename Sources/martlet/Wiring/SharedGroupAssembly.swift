package import MartletCore
import MartletXMPP

/// Makes of the configuration which groups there are.
package struct SharedGroupAssembly {
    private let configuration: ServerConfiguration

    package init(configuration: ServerConfiguration) { self.configuration = configuration }

    package var definitions: [SharedGroupDefinition] {
        configuration.domains.flatMap { domain -> [SharedGroupDefinition] in
            guard let address = try? BareJID(parsing: domain.name) else { return [] }
            return domain.sharedGroups.map { SharedGroupDefinition($0, at: address) }
        }
    }
}

extension SharedGroupDefinition {
    fileprivate init(_ group: ServerConfiguration.SharedGroup, at domain: BareJID) {
        let accounts = group.members.compactMap { member -> BareJID? in
            if case .account(let address) = member { try? BareJID(parsing: address) } else { nil }
        }
        let audience: Audience =
            switch group.share {
            case .members: .members
            case .all: .everybody
            case .groups: .groups(group.visibleTo)
            }
        self.init(
            group.name, at: domain, members: group.members.contains(.everybody) ? .everybody(besides: accounts) : .accounts(accounts), audience: audience)
    }
}

extension SharedGroupBook {
    /// Accounts that are read at a time.
    private static let accountsPerRead = 1_000

    /// Has the groups of a configuration by which the loops decide already, and tells whoever is online. The first time that there are any, it reads
    /// which accounts there are.
    ///
    /// - Parameter limitChanged: whether there may be more or fewer contacts in a roster than before.
    func follow(_ configuration: ServerConfiguration, _ core: ServerCore, limitChanged: Bool = false) async throws(StoreError) {
        let definitions = SharedGroupAssembly(configuration: configuration).definitions
        var accounts: Set<BareJID>?
        if !definitions.isEmpty, !hasAccounts {
            beginReading()
            accounts = try await Self.enabledAccounts(in: core.store)
        }
        var concerned = replace(definitions, accounts: accounts)
        if limitChanged { concerned.formUnion(everybodyConcerned) }
        let all = concerned
        core.mailbox.run { [router = core.router] context in router.sharingChanged(of: all, context) }
    }

    private static func enabledAccounts(in store: any Store) async throws(StoreError) -> Set<BareJID> {
        var (accounts, last): (Set<BareJID>, BareJID?) = ([], nil)
        while true {
            let page = try await store.accounts(domain: nil, after: last, limit: accountsPerRead)
            for account in page where account.isEnabled { accounts.insert(account.address) }
            guard page.count == accountsPerRead else { return accounts }
            last = page.last?.address
        }
    }
}
