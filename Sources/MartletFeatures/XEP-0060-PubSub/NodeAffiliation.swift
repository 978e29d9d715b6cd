package import MartletXMPP

/// A lasting relation to a node (§4.1). The numbers are what is stored.
package enum NodeAffiliation: UInt8, Hashable, Sendable, CaseIterable {
    case none = 0, outcast = 1, publishOnly = 2, member = 3, publisher = 4, owner = 5

    package var name: String {
        switch self {
        case .none: "none"
        case .outcast: "outcast"
        case .publishOnly: "publish-only"
        case .member: "member"
        case .publisher: "publisher"
        case .owner: "owner"
        }
    }
    package init?(named name: String) {
        guard let affiliation = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = affiliation
    }

    // MARK: What it allows (§4.1, table 1)

    /// Whether one may subscribe and read whatever the access model is; `nil` if that decides.
    var mayRead: Bool? {
        switch self {
        case .owner, .publisher, .member: true
        case .outcast, .publishOnly: false
        case .none: nil
        }
    }

    /// Whether one may publish whatever the publish model is; `nil` if that decides.
    var mayPublish: Bool? {
        switch self {
        case .owner, .publisher, .publishOnly: true
        case .outcast: false
        case .member, .none: nil
        }
    }

    /// Whether one may delete items, whoever published them. What is known of an item here does not say who did, so that who may only
    /// publish deletes nothing.
    var mayRetract: Bool {
        switch self {
        case .owner, .publisher: true
        case .publishOnly, .member, .none, .outcast: false
        }
    }
}

/// What a node's owner needs of the world around it to decide about somebody.
package protocol NodeAudience {
    /// Whether an account sees the presence of the nodes' owner (`from` or `both`), or is that owner. Only asked of an account's nodes.
    func seesPresence(_ address: BareJID) -> Bool
    /// Whether it is in one of these groups of the owner's roster. Only asked of an account's nodes.
    func isInGroups(_ address: BareJID, _ groups: Set<String>) -> Bool
    /// Whether who asks administers the service: he is an owner of every node there. Only asked of a service.
    var isAdmin: Bool { get }
    /// Whether an account is at this server.
    func isLocal(_ address: BareJID) -> Bool
}

/// Who may learn what is published at a node (§4.5). A value, so that those who are to be told can be looked up when the node has changed again.
package struct NodeAccess: Sendable {
    /// The account whose node it is, which may everything; `nil` at a service.
    let account: BareJID?
    let model: NodeConfiguration.AccessModel
    let rosterGroups: Set<String>
    let affiliations: [BareJID: NodeAffiliation]
    let subscriptions: NodeSubscriptions

    /// What keeps somebody from reading (§6.5.9); `nil` if nothing does.
    func refusal(ofReading address: BareJID, _ affiliation: NodeAffiliation, _ audience: some NodeAudience) -> PubSubError? {
        if let mayRead = affiliation.mayRead { return mayRead ? nil : .forbidden }
        switch model {
        case .authorize: return subscriptions.isSubscribed(address) ? nil : .itemsAreForSubscribers
        case .open, .presence, .roster, .whitelist: return refusalByModel(address, audience)
        }
    }

    /// What keeps somebody without affiliation from subscribing (§6.1.3), approval aside.
    func refusal(ofSubscribing address: BareJID, _ affiliation: NodeAffiliation, _ audience: some NodeAudience) -> PubSubError? {
        if let mayRead = affiliation.mayRead { return mayRead ? nil : .forbidden }
        return refusalByModel(address, audience)
    }

    private func refusalByModel(_ address: BareJID, _ audience: some NodeAudience) -> PubSubError? {
        switch model {
        case .open, .authorize: nil
        case .presence: audience.seesPresence(address) ? nil : .presenceSubscriptionRequired
        case .roster: audience.seesPresence(address) && audience.isInGroups(address, rosterGroups) ? nil : .notInRosterGroup
        case .whitelist: .closedNode
        }
    }

    package func affiliation(of address: BareJID) -> NodeAffiliation {
        address == account ? .owner : affiliations[address] ?? .none
    }

    /// Whether somebody may be told of what happens at the node without having subscribed (§9.1), as far as the node is concerned.
    package func mayReceive(_ address: BareJID, _ audience: some NodeAudience) -> Bool {
        refusal(ofReading: address, affiliation(of: address), audience) == nil
    }
}
