package import MartletCore
import MartletLDAP
import MartletXMPP

/// Makes of the configuration who sees presence without XMPP.
package struct PresenceAssembly {
    private let configuration: ServerConfiguration

    package init(configuration: ServerConfiguration) { self.configuration = configuration }

    /// What holds for an account of a domain that has said nothing, where there is anybody to whom it could be shown; `nil` elsewhere: there nobody is asked.
    package func visibility(of domain: ServerConfiguration.Domain) -> PresenceWish? {
        configuration.showsPresence(of: domain) ? Self.defaultWish(domain) : nil
    }

    private static func defaultWish(_ domain: ServerConfiguration.Domain) -> PresenceWish { domain.presence.defaultVisibility ?? .contacts }

    package func rights(of domain: ServerConfiguration.Domain) -> PresenceRights {
        let groups = PresenceGroups(configuration, at: domain)
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

/// Who is in the groups that rules may name: those of log-ins, and those that are in rosters of the domain.
private struct PresenceGroups: Sendable {
    private struct Group: Sendable {
        var accounts: Set<BareJID> = []
        /// All accounts of it are members, besides.
        var domain: BareJID?
    }

    private var groups: [String: Group] = [:]

    init(_ configuration: ServerConfiguration, at domain: ServerConfiguration.Domain) {
        for group in configuration.loginGroups { groups[group.name] = Group(accounts: Self.addresses(group.accounts)) }
        for group in domain.sharedGroups {
            let accounts = group.members.compactMap { if case .account(let address) = $0 { address } else { nil } }
            groups[group.name] = Group(
                accounts: Self.addresses(accounts), domain: group.members.contains(.everybody) ? try? BareJID(parsing: domain.name) : nil)
        }
    }

    private static func addresses(_ texts: [String]) -> Set<BareJID> { Set(texts.compactMap { try? BareJID(parsing: $0) }) }

    func contains(_ account: BareJID, in name: String) -> Bool {
        guard let group = groups[name] else { return false }
        return group.accounts.contains(account) || group.domain?.isInDomain(of: account) ?? false
    }
}
