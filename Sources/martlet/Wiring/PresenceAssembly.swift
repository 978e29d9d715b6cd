package import MartletCore
import MartletLDAP
import MartletXMPP

/// Makes of the configuration who sees presence without XMPP.
package struct PresenceAssembly {
    private let configuration: ServerConfiguration
    private let memberships: any GroupMembership

    /// - Parameter memberships: who is in groups of directories.
    package init(configuration: ServerConfiguration, memberships: any GroupMembership = GroupMemberships()) {
        self.configuration = configuration
        self.memberships = memberships
    }

    /// What holds for an account of a domain that has said nothing, where there is anybody to whom it could be shown; `nil` elsewhere: there nobody is asked.
    package func visibility(of domain: ServerConfiguration.Domain) -> PresenceWish? {
        configuration.showsPresence(of: domain) ? Self.defaultWish(domain) : nil
    }

    private static func defaultWish(_ domain: ServerConfiguration.Domain) -> PresenceWish { domain.presence.defaultVisibility ?? .contacts }

    package func rights(of domain: ServerConfiguration.Domain) -> PresenceRights {
        let groups = PresenceGroups(configuration, at: domain, memberships)
        return PresenceRights(rules: domain.presence.rules.flatMap(Self.rules), defaultWish: Self.defaultWish(domain)) { account, group in
            groups.contains(account, in: group)
        }
    }

    /// One for each pair, with one level: which of them decides does not matter.
    private static func rules(_ configured: ServerConfiguration.PresenceRule) -> [PresenceRule] {
        configured.viewers.flatMap { viewer in
            configured.targets.map { target in
                PresenceRule(PresenceRule.Viewers(viewer), see: PresenceRule.Targets(target), configured.level)
            }
        }
    }
}

extension PresenceRule.Viewers {
    fileprivate init(_ name: PresenceViewerName) {
        self =
            switch name {
            case .any: .any
            case .group(let group): .group(group)
            // As the front end calls whoever has bound.
            case .service(let service): .service((try? DistinguishedName(service))?.normalized ?? service)
            }
    }
}

extension PresenceRule.Targets {
    fileprivate init(_ name: PresenceTargetName) {
        self =
            switch name {
            case .any: .any
            case .group(let group): .group(group)
            }
    }
}

/// Who is in the groups that rules may name: those of log-ins, those that are in rosters of the domain, and those of a directory, of which it is asked each time.
private struct PresenceGroups: Sendable {
    private struct Group: Sendable {
        var accounts: Set<BareJID> = []
        /// All accounts of it are members, besides.
        var domain: BareJID?
    }

    private var groups: [String: Group] = [:]
    /// Of directories, by what rules call them.
    private var entries: [String: GroupName] = [:]
    private let memberships: any GroupMembership

    init(_ configuration: ServerConfiguration, at domain: ServerConfiguration.Domain, _ memberships: any GroupMembership) {
        self.memberships = memberships
        for name in domain.presence.rules.flatMap(\.groups) { entries[name] = GroupName(of: name) }
        for group in configuration.loginGroups { groups[group.name] = Group(accounts: Self.addresses(group.accounts)) }
        for group in domain.sharedGroups {
            let accounts = group.members.compactMap { if case .account(let address) = $0 { address } else { nil } }
            groups[group.name] = Group(
                accounts: Self.addresses(accounts), domain: group.members.contains(.everybody) ? try? BareJID(parsing: domain.name) : nil)
        }
    }

    private static func addresses(_ texts: [String]) -> Set<BareJID> { Set(texts.compactMap { try? BareJID(parsing: $0) }) }

    func contains(_ account: BareJID, in name: String) -> Bool {
        guard let group = groups[name] else { return entries[name].map { memberships.isMember(account, of: $0) } ?? false }
        return group.accounts.contains(account) || group.domain?.isInDomain(of: account) ?? false
    }
}

extension ServerConfiguration.PresenceRule {
    /// That it names.
    fileprivate var groups: [String] {
        viewers.compactMap { if case .group(let name) = $0 { name } else { nil } } + targets.compactMap { if case .group(let name) = $0 { name } else { nil } }
    }
}
