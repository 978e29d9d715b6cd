import MartletCore

/// What a node's owners decide about it (§8.2, §16.4.4): the fields of its form, with what they mean.
package struct NodeConfiguration: Hashable, Sendable {
    /// Who may subscribe and read (`pubsub#access_model`, §4.5).
    package enum AccessModel: String, Hashable, Sendable, CaseIterable { case authorize, open, presence, roster, whitelist }
    /// Who may publish (`pubsub#publish_model`).
    package enum PublishModel: String, Hashable, Sendable, CaseIterable { case publishers, subscribers, open }
    /// Who is sent the last item without having asked for it (`pubsub#send_last_published_item`).
    package enum LastItem: String, Hashable, Sendable, CaseIterable {
        case never
        case onSubscription = "on_sub"
        case onSubscriptionAndPresence = "on_sub_and_presence"
    }
    /// The type of messages that tell of events (`pubsub#notification_type`).
    package enum NotificationType: String, Hashable, Sendable, CaseIterable { case normal, headline }
    /// Whether items say who published them (`pubsub#itemreply`, §12.19).
    package enum ItemReply: String, Hashable, Sendable, CaseIterable { case owner, publisher, none }

    package var title = ""
    package var description = ""
    /// Mostly the namespace of the payloads (`pubsub#type`). Payloads are not held to it.
    package var payloadType = ""
    package var deliversNotifications = true
    package var deliversPayloads = true
    package var notifiesConfiguration = false
    package var notifiesDeletion = true
    package var notifiesRetraction = true
    /// Whether owners are told who subscribes and unsubscribes.
    package var notifiesSubscription = false
    package var persistsItems = true
    /// `nil` is `max`: as many as the operator allows.
    package var itemsMax: Int?
    /// Seconds for which items are kept; 0 is for ever.
    package var itemExpiry = 0
    package var allowsSubscriptions = true
    package var accessModel: AccessModel
    package var rosterGroups: Set<String> = []
    package var publishModel = PublishModel.publishers
    /// Bytes of one payload; `nil` is as many as the operator allows.
    package var payloadBytesMax: Int?
    package var lastItem: LastItem
    /// Whether subscribers are told only while they are available.
    package var isPresenceBased = false
    package var notificationType = NotificationType.headline
    package var itemReply = ItemReply.none

    /// What a node has if nobody says otherwise.
    ///
    /// At an account as XEP-0163 §5 has it: its contacts may read, one item is kept, and whoever comes online is sent it. At a service anybody
    /// may read, 20 items are kept, as other servers have it, and who subscribes is sent the last one.
    package init(defaultsOf settings: PubSubSettings) {
        accessModel = settings.isPersonal ? .presence : .open
        itemsMax = settings.isPersonal ? 1 : min(20, settings.itemsMax)
        lastItem = settings.isPersonal ? .onSubscriptionAndPresence : .onSubscription
    }

    package func itemsMax(within settings: PubSubSettings) -> Int { min(itemsMax ?? .max, settings.itemsMax) }
    package func payloadBytesMax(within settings: PubSubSettings) -> Int { min(payloadBytesMax ?? .max, settings.payloadBytesMax) }

    /// The same with numbers for what is as much as the operator allows.
    func resolved(within settings: PubSubSettings) -> Self {
        var resolved = self
        resolved.itemsMax = itemsMax(within: settings)
        resolved.payloadBytesMax = payloadBytesMax(within: settings)
        return resolved
    }

    /// The moment before which items published count as gone, in milliseconds since 1970; `nil` if they stay.
    func expiry(at now: Int64) -> Int64? { itemExpiry == 0 ? nil : now - Int64(itemExpiry) * 1_000 }
}
