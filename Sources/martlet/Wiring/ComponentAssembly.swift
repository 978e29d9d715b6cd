import MartletCore
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
                    ComponentSettings(name, domain: domain, secret: try SecretFile.read(file), servesSubdomains: component.servesSubdomains))
            }
            return settings
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

    func components(of domain: Domain) -> [Component] { components.filter { self.domain(of: $0) == domain.name } }

    /// Whether anybody may connect to a listener of that kind.
    func opens(_ listener: Listener) -> Bool {
        if listener.kind.isForServers { return federation.isEnabled }
        return !listener.kind.isForComponents || !components.isEmpty
    }
}
