package import MartletXMPP
import NIOConcurrencyHelpers

/// A component as the operator has it.
package struct ComponentSettings: Hashable, Sendable {
    package var name: BareJID
    /// The domain that it belongs to: the one among whose services it is listed, and whose accounts it is there for.
    package var domain: BareJID
    /// What it has in common with the server.
    package var secret: [UInt8]
    /// Whether the domains below its own are its as well.
    package var servesSubdomains: Bool
    /// What it may do besides sending from its own addresses.
    package var powers: ComponentPowers

    package init(_ name: BareJID, domain: BareJID, secret: [UInt8], servesSubdomains: Bool = false, powers: ComponentPowers = ComponentPowers()) {
        self.name = name
        self.domain = domain
        self.secret = secret
        self.servesSubdomains = servesSubdomains
        self.powers = powers
    }
}

/// The components of the process by name. One for all loops; it outlives reloads, and so do the components in it.
package final class ComponentRegistry: Sendable {
    // Read once per connection, changed by a reload.
    private let components = NIOLockedValueBox<[String: Component]>([:])

    package init() {}

    /// The component of that name. One that is made here cannot connect before ``apply(_:)``.
    package func component(_ name: BareJID) -> Component {
        components.withLockedValue { components in
            if let component = components[name.domainpart] { return component }
            let component = Component(name)
            components[name.domainpart] = component
            return component
        }
    }

    /// Puts these in force, and ends the streams of those that are not among them any more.
    package func apply(_ settings: [ComponentSettings]) {
        let byName = Dictionary(settings.map { ($0.name.domainpart, $0) }) { $1 }
        for (name, component) in components.withLockedValue({ $0 }) {
            let former = component.apply(byName[name])
            if byName[name] == nil {
                component.end(StreamError(.hostGone, "This server has no component \(name) any more."))
            } else if let former {
                component.withSession { session, _ in session.greet(replacing: former) }
            }
        }
    }

    /// The component of that name, if it may connect.
    package func configured(_ name: String) -> (component: Component, settings: ComponentSettings)? {
        guard let component = components.withLockedValue({ $0[name] }), let settings = component.settings else { return nil }
        return (component, settings)
    }

    /// Those that may connect, by name.
    package var all: [Component] {
        components.withLockedValue { Array($0.values) }.filter { $0.settings != nil }.sorted { $0.name.domainpart < $1.name.domainpart }
    }

    package var reports: [ComponentReport] { all.map(\.report) }
}
