package import MartletXML
package import MartletXMPP

/// What a component may do besides sending from its own addresses, if the operator lets it (XEP-0355, XEP-0356).
package protocol ComponentStage: Feature {
    /// A component has connected, or may do something else than before. On its loop.
    ///
    /// - Parameter former: what it has been told that it may do; nothing, if it has just connected.
    func greet(_ session: ComponentSession, replacing former: ComponentPowers)
    /// Takes a stanza of a component that is not to be routed as others are; `nil` for those that are. On its loop, with no lock held.
    func take(_ stanza: Stanza, to: JID, of session: ComponentSession, _ completion: Completion) -> Progress?
}

/// Has components answer requests in the server's place (XEP-0355).
package protocol DelegatingStage: Feature {
    /// Whether there is anything that others answer.
    var isDelegating: Bool { get }
    /// Who answers a request instead of the server; `nil` if the server does.
    ///
    /// - Parameter asker: who has sent it, or has had it sent in an account's name, the domain if it is a service's: nobody answers himself (§4.3.1).
    func handler(_ kind: IQRequest.Kind, _ child: ElementView, at scope: IQRoute.Scope, by asker: BareJID) -> IQRoute.Handler?
    /// What they say that they can do at such addresses: it takes the place of what the server would say for the namespace (§7.2).
    func nested(at scope: IQRoute.Scope) -> [NestedDisco]
}

/// What the component that answers for a namespace says of itself there (XEP-0355 §7.2).
package struct NestedDisco: Hashable, Sendable {
    package let namespace: String
    package let identities: [DiscoIdentity]
    package let features: [String]
    package let forms: [DiscoForm]

    package init(_ namespace: String, identities: [DiscoIdentity] = [], features: [String] = [], forms: [DiscoForm] = []) {
        self.namespace = namespace
        self.identities = identities
        self.features = features
        self.forms = forms
    }
}

/// Looks on at rosters and presence for components that may (XEP-0356). All is called under the lock of an account's shard, or with none: memory
/// only.
package protocol WatchingStage: Feature {
    /// Whether anybody wants to hear of the presence of contacts.
    var hearsContacts: Bool { get }
    /// A change of an account's roster that its sessions are told of, and that is on disk.
    func rosterChanged(_ change: RosterChange, of home: AccountHome, _ context: LoopContext)
    /// A session of an account has become available, or is so no longer.
    func presenceChanged(_ presence: borrowing Stanza, of home: AccountHome, _ context: LoopContext)
    /// What accounts hear of a contact; called for one or several of them.
    func heard(_ presence: borrowing Stanza, _ context: LoopContext)
    /// Whether that would tell anybody something new.
    func isNews(_ presence: borrowing Stanza, _ context: LoopContext) -> Bool
}
