package import MartletCore
import MartletFeatures
import MartletXMPP

/// Makes of the configuration which components there are (XEP-0114).
struct ComponentAssembly {
    let configuration: ServerConfiguration

    /// With their secrets, which are read here.
    var settings: [ComponentSettings] {
        get throws(CommandFailure) {
            var settings: [ComponentSettings] = []
            for component in configuration.components {
                guard let name = try? BareJID(parsing: component.name), let domain = configuration.domain(of: component).flatMap({ try? BareJID(parsing: $0) }),
                    let file = component.secretFile
                else { continue }
                settings.append(
                    ComponentSettings(
                        name, domain: domain, secret: try SecretFile.read(file), servesSubdomains: component.servesSubdomains, powers: powers(of: component)))
            }
            return settings
        }
    }

    private func powers(of component: ServerConfiguration.Component) -> ComponentPowers {
        ComponentPowers(
            domains: Set(configuration.managedDomains(of: component).compactMap { try? BareJID(parsing: $0) }),
            privileges: ComponentPrivileges(component.privileges),
            delegations: component.delegations.map { Delegation($0.name, attributes: $0.attributes) })
    }

    /// What components may do for a domain.
    func grants(_ registry: ComponentRegistry, over domain: ServerConfiguration.Domain) -> [ComponentGrant] {
        guard let address = try? BareJID(parsing: domain.name) else { return [] }
        return configuration.components.compactMap { component in
            (try? BareJID(parsing: component.name)).map { ComponentGrant(registry.component($0), powers(of: component), over: address) }
        }
    }

    /// As the router sees them.
    func hosts(_ registry: ComponentRegistry) throws(RouteConflict) -> [Host] {
        var hosts: [Host] = []
        for component in configuration.components {
            guard let name = try? BareJID(parsing: component.name) else { continue }
            hosts.append(try Host(domain: name, features: [], service: registry.component(name), servesSubdomains: component.servesSubdomains))
        }
        return hosts
    }

    /// Those that are listed among what belongs to a domain.
    func items(of domain: ServerConfiguration.Domain) -> [ServiceDiscovery.Item] {
        configuration.components(of: domain).compactMap { component in (try? BareJID(parsing: component.name)).map { ServiceDiscovery.Item($0) } }
    }
}

extension ServerConfiguration {
    /// The domain that a component belongs to: the one that is said, the nearest above it, or the first.
    func domain(of component: Component) -> String? {
        if let domain = component.domain { return domain }
        let above = domains.map(\.name).filter { component.name.hasSuffix(".\($0)") }
        return above.max { $0.count < $1.count } ?? domains.first?.name
    }

    /// The domains whose accounts a component may do something with.
    func managedDomains(of component: Component) -> [String] {
        component.managedDomains.isEmpty ? domains.map(\.name) : component.managedDomains
    }

    func components(of domain: Domain) -> [Component] { components.filter { self.domain(of: $0) == domain.name } }

    /// Whether anybody may connect to a listener of that kind.
    func opens(_ listener: Listener) -> Bool {
        if listener.kind.isForServers { return federation.isEnabled }
        return !listener.kind.isForComponents || !components.isEmpty
    }
}

extension ComponentPrivileges {
    package init(_ privileges: ServerConfiguration.ComponentPrivileges) {
        self.init()
        roster =
            switch privileges.roster {
            case .none: .none
            case .get: .get
            case .set: .set
            case .both: .both
            }
        wantsPushes = privileges.rosterPushes
        message =
            switch privileges.message {
            case .none: .none
            case .outgoing: .outgoing
            }
        presence =
            switch privileges.presence {
            case .none: .none
            case .managedEntity: .managedEntity
            case .roster: .roster
            }
        for namespace in Set(privileges.get).union(privileges.set) {
            requests[namespace] = RequestAccess(get: privileges.get.contains(namespace), set: privileges.set.contains(namespace))
        }
    }
}
