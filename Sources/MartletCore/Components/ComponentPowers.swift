package import MartletXMPP

/// What a component may do besides sending from its own addresses. Nothing, unless the operator says so.
package struct ComponentPowers: Hashable, Sendable {
    /// The domains of this server that this is about.
    package var domains: Set<BareJID>
    package var privileges: ComponentPrivileges
    package var delegations: [Delegation]

    package init(domains: Set<BareJID> = [], privileges: ComponentPrivileges = ComponentPrivileges(), delegations: [Delegation] = []) {
        self.domains = domains
        self.privileges = privileges
        self.delegations = delegations
    }

    /// What it may do with the accounts of a domain.
    package func privileges(over domain: BareJID) -> ComponentPrivileges { domains.contains(domain) ? privileges : ComponentPrivileges() }

    /// What it answers in a domain's place.
    package func delegations(of domain: BareJID) -> [Delegation] { domains.contains(domain) ? delegations : [] }
}

/// What a component may do with the accounts of a domain (XEP-0356).
package struct ComponentPrivileges: Hashable, Sendable {
    package enum MessagePrivilege: String, Hashable, Sendable, CaseIterable { case none, outgoing }
    package enum PresencePrivilege: String, Hashable, Sendable, CaseIterable { case none, managedEntity = "managed_entity", roster }

    package var roster = RequestAccess.none
    /// Whether it is told of changes, if it may read rosters at all.
    package var wantsPushes = true
    package var message = MessagePrivilege.none
    package var presence = PresencePrivilege.none
    /// The namespaces of requests that it may make in an account's name.
    package var requests: [String: RequestAccess] = [:]
    package init() {}

    package var pushesRoster: Bool { wantsPushes && roster.allows(.get) }
    /// §7.4: who may not read rosters does not hear of contacts either.
    package var hearsContacts: Bool { presence == .roster && roster.allows(.get) }
}

/// Which requests of a namespace.
package enum RequestAccess: String, Hashable, Sendable, CaseIterable {
    case none, get, set, both

    package init(get: Bool, set: Bool) {
        self =
            switch (get, set) {
            case (false, false): .none
            case (true, false): .get
            case (false, true): .set
            case (true, true): .both
            }
    }

    package func allows(_ kind: IQRequest.Kind) -> Bool {
        switch (self, kind) {
        case (.both, _), (.get, .get), (.set, .set): true
        case (.none, _), (.get, .set), (.set, .get): false
        }
    }
}

/// A namespace whose requests a component answers in the server's place (XEP-0355 §4.1).
package struct Delegation: Hashable, Sendable {
    package let namespace: String
    /// Attributes that a request's child has to have for that; in order.
    package let attributes: [String]

    package init(_ namespace: String, attributes: [String] = []) {
        self.namespace = namespace
        self.attributes = attributes
    }
}

/// A component that the operator has given something to do for a domain, with what that is. Frozen: a reload makes a new one.
package struct ComponentGrant: Sendable {
    package let component: Component
    package let privileges: ComponentPrivileges
    package let delegations: [Delegation]

    package init(_ component: Component, _ powers: ComponentPowers, over domain: BareJID) {
        self.component = component
        privileges = powers.privileges(over: domain)
        delegations = powers.delegations(of: domain)
    }
}
