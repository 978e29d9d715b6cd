package import MartletCore

/// Whose nodes they are, and what the operator allows. No number is below 1.
package struct PubSubSettings: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// An account's own nodes (XEP-0163): it owns all of them, whatever else their lists say.
        case personal(AccountID)
        /// A service of a domain's.
        case service
    }
    /// Who may create nodes at a service. At an account only the account itself may.
    package enum Creators: Hashable, Sendable { case administrators, localAccounts }

    package let kind: Kind
    package var creators = Creators.localAccounts
    /// Names of nodes that only administrators create, as others believe what is there to be the operator's.
    package var reservedNames: Set<String> = []
    /// Nodes of this owner.
    package var nodesMax: Int
    /// Nodes of which is known where they are now; the one that left first is forgotten.
    package var movedMax = 64
    /// Items of one node: what `max` means as a value of `pubsub#max_items`.
    package var itemsMax: Int
    /// Bytes of all items of this owner, as they are stored.
    package var bytesMax: Int
    /// Bytes of one item's payload, written anew without what it inherits from around it.
    package var payloadBytesMax = 64 * 1024
    /// Subscriptions to one node, those included that wait for approval.
    package var subscriptionsMax = 10_000
    /// Subscriptions of one account to one node: of its bare address and of its sessions.
    package var subscriptionsPerAccountMax = 20
    /// Affiliations at one node, but for `none`.
    package var affiliationsMax = 1_000
    /// Requests to subscribe that an owner is asked about when he wants to know which wait for him.
    package var approvalsMax = 256
    /// Affiliations or subscriptions that one request of an owner's may change.
    package var changesMax = 256
    /// Bytes of UTF-8.
    package var nodeNameBytesMax = 1_023
    /// Bytes of UTF-8.
    package var itemNameBytesMax = 1_023
    /// Bytes of a title, a type, a name of a roster group.
    package var textBytesMax = 1_024
    /// Bytes of a description.
    package var descriptionBytesMax = 8_192
    /// Roster groups that one node lets in.
    package var rosterGroupsMax = 64
    /// Seconds for which a node may keep its items, at most, where it does not keep them for ever.
    package var itemExpirySecondsMax = 10 * 366 * 86_400
    /// Items in one answer, or items asked for by name. What there is beyond is asked for by pages (XEP-0059).
    package var pageItemsMax = 1_000
    /// Bytes of the items in one answer; one item is given in any case.
    package var pageBytesMax = 256 * 1024
    /// Nodes, subscriptions or affiliations in one answer.
    package var pageEntriesMax = 1_000

    package static func personal(_ account: AccountID) -> Self {
        Self(kind: .personal(account), nodesMax: 200, itemsMax: 1_000, bytesMax: 10 * 1024 * 1024)
    }
    package static var service: Self {
        var settings = Self(kind: .service, nodesMax: 10_000, itemsMax: 10_000, bytesMax: 1024 * 1024 * 1024)
        settings.reservedNames = [ServerInformation.node]
        return settings
    }

    private init(kind: Kind, nodesMax: Int, itemsMax: Int, bytesMax: Int) {
        self.kind = kind
        self.nodesMax = nodesMax
        self.itemsMax = itemsMax
        self.bytesMax = bytesMax
    }

    package var isPersonal: Bool {
        switch kind {
        case .personal: true
        case .service: false
        }
    }

    /// Models that need a roster are for accounts, which have one (§4.5).
    package var accessModels: [NodeConfiguration.AccessModel] {
        isPersonal ? NodeConfiguration.AccessModel.allCases : [.authorize, .open, .whitelist]
    }
}
