/// How an account and a contact stand to each other, from the account's side: the nine states of RFC 6121 §A.1, with
/// pre-approval (§3.4) and whether the account has put the contact into its roster.
package struct SubscriptionState: Hashable, Sendable {
    /// The account sees the contact's presence.
    package var to: Bool
    /// The contact sees the account's presence.
    package var from: Bool
    /// The account asked and waits for an answer (`ask='subscribe'`).
    package var pendingOut: Bool
    /// The contact asked and the account has not answered.
    package var pendingIn: Bool
    /// A request by the contact is approved before it comes (`approved='true'`).
    package var approved: Bool
    /// The user knows of the item: it is shown in the roster. A contact that only asked is not (RFC 6121 §3.1.3).
    package var isInRoster: Bool

    package init(
        to: Bool = false, from: Bool = false, pendingOut: Bool = false, pendingIn: Bool = false, approved: Bool = false,
        isInRoster: Bool = false
    ) {
        self.to = to
        self.from = from
        self.pendingOut = pendingOut
        self.pendingIn = pendingIn
        self.approved = approved
        self.isInRoster = isInRoster
    }

    package static let none = SubscriptionState()

    /// What there is between the two by either of both accounts of it.
    package func joined(with other: SubscriptionState) -> SubscriptionState {
        var joined = SubscriptionState(to: to || other.to, from: from || other.from, isInRoster: isInRoster || other.isInRoster)
        joined.pendingOut = !joined.to && (pendingOut || other.pendingOut)
        joined.pendingIn = !joined.from && (pendingIn || other.pendingIn)
        // Who has asked is answered, not approved beforehand.
        joined.approved = !joined.from && !joined.pendingIn && (approved || other.approved)
        return joined
    }

    /// The `subscription` attribute of a roster item (RFC 6121 §2.1.2.5).
    package var name: StaticString {
        switch (to, from) {
        case (false, false): "none"
        case (true, false): "to"
        case (false, true): "from"
        case (true, true): "both"
        }
    }
}

/// The four presence types that manage subscriptions (RFC 6121 §3).
package enum SubscriptionStanza: Hashable, Sendable, CaseIterable { case subscribe, subscribed, unsubscribe, unsubscribed }

/// What a subscription stanza does to one side's state, and what the server does with the stanza (RFC 6121 Appendix A).
package struct SubscriptionStep: Hashable, Sendable {
    package var state: SubscriptionState
    /// Outbound: sent on to the contact. Inbound: shown to the user's sessions.
    package var passesOn: Bool
    /// Sent to the other side in the account's name, e.g. `subscribed` for a request that was approved before.
    package var reply: SubscriptionStanza?
    /// The user's interested sessions learn the item's new state.
    package var pushes: Bool
    /// From now on the contact gets the account's presence: its sessions' current presence is sent.
    package var startsSendingPresence: Bool
    /// From now on the contact no longer does: `unavailable` is sent for every available session.
    package var stopsSendingPresence: Bool
}
