package import MartletXMPP

/// A contact in an account's roster, or one that only asked (RFC 6121 §2.1.2, Appendix A).
package struct RosterItem: Hashable, Sendable {
    package var contact: BareJID
    /// As the user called it; `nil` if not at all.
    package var name: String?
    /// Without duplicates, in the order the client gave them.
    package var groups: [String]
    package var subscription: SubscriptionState
    /// The subscription request as it came, kept until the user answers (RFC 6121 §3.1.3); bounded by `subscriptionRequestBytesMax`.
    package var request: EncodedStanza?
    /// The roster's version when the item last changed (RFC 6121 §2.6).
    package var version: UInt64

    package init(
        contact: BareJID, name: String? = nil, groups: [String] = [], subscription: SubscriptionState = .none,
        request: EncodedStanza? = nil, version: UInt64 = 0
    ) {
        self.contact = contact
        self.name = name
        self.groups = groups
        self.subscription = subscription
        self.request = request
        self.version = version
    }
}
