package import MartletXML
package import MartletXMPP
package import NIOCore

extension Namespace {
    package static let pubsub: Namespace = "http://jabber.org/protocol/pubsub"
    package static let pubsubOwner: Namespace = "http://jabber.org/protocol/pubsub#owner"
    package static let pubsubEvent: Namespace = "http://jabber.org/protocol/pubsub#event"
    package static let pubsubErrors: Namespace = "http://jabber.org/protocol/pubsub#errors"
}

/// Why a request about nodes is refused: a stanza error, with the condition of `pubsub#errors` where the XEP has one (§11, §16).
package struct PubSubError: Error, Hashable, Sendable {
    package var stanza: StanzaError
    /// The `<pubsub/>` that goes back beside the error: entries of a list that stay as they are (§8.8.2.4, §8.9.2.4).
    package var unchanged: ByteBuffer?

    package init(_ stanza: StanzaError, unchanged: ByteBuffer? = nil) {
        self.stanza = stanza
        self.unchanged = unchanged
    }

    init(
        _ condition: StanzaError.Condition, _ kind: StanzaError.Kind? = nil, _ application: String? = nil, feature: String? = nil, text: String? = nil
    ) {
        stanza = StanzaError(condition, kind, text: text, application: application.map { QName($0, .pubsubErrors) })
        stanza.feature = feature
    }

    /// The answer to `request`.
    package func encoded(answering request: Stanza) -> EncodedStanza {
        guard let unchanged else { return StanzaBuilder.error(stanza, answering: request) }
        return StanzaBuilder.iq(.error, from: request.to, to: request.from, id: request.id ?? "") { writer in
            writer.raw(unchanged)
            stanza.write(to: &writer)
        }
    }
}

extension PubSubError {
    static func badRequest(_ text: String) -> Self { Self(.badRequest, text: text) }
    static func notAcceptable(_ text: String) -> Self { Self(.notAcceptable, text: text) }
    static let itemNotFound = Self(.itemNotFound)
    /// §6.1.3.10.
    static func gone(to address: String) -> Self {
        var error = StanzaError(.gone)
        error.alternative = address
        return Self(error)
    }
    static let forbidden = Self(.forbidden)
    /// The feature is without `http://jabber.org/protocol/pubsub#`, as in §10.
    static func unsupported(_ feature: String) -> Self { Self(.featureNotImplemented, .cancel, "unsupported", feature: feature) }
    static let nodeRequired = Self(.badRequest, .modify, "nodeid-required")

    // Access (§6.1.3, §6.5.9).
    static let presenceSubscriptionRequired = Self(.notAuthorized, .auth, "presence-subscription-required")
    static let notInRosterGroup = Self(.notAuthorized, .auth, "not-in-roster-group")
    static let closedNode = Self(.notAllowed, .cancel, "closed-node")
    static let itemsAreForSubscribers = Self(.notAuthorized, .auth, "not-subscribed")

    // Subscriptions (§6.1.3, §6.2.3, §6.3.4).
    static let invalidJID = Self(.badRequest, .modify, "invalid-jid")
    static let jidRequired = Self(.badRequest, .modify, "jid-required")
    static let pendingSubscription = Self(.notAuthorized, .auth, "pending-subscription")
    static let tooManySubscriptions = Self(.policyViolation, .wait, "too-many-subscriptions")
    static func notSubscribed(_ kind: StanzaError.Kind) -> Self { Self(.unexpectedRequest, kind, "not-subscribed") }
    static let invalidSubID = Self(.notAcceptable, .modify, "invalid-subid")
    static func invalidOptions(_ text: String?) -> Self { Self(.badRequest, .modify, "invalid-options", text: text) }

    // Publication (§7.1.3, §7.1.5, §12.9).
    static let itemRequired = Self(.badRequest, .modify, "item-required")
    static let itemForbidden = Self(.badRequest, .modify, "item-forbidden")
    static let payloadRequired = Self(.badRequest, .modify, "payload-required")
    static let invalidPayload = Self(.badRequest, .modify, "invalid-payload")
    static func payloadTooBig(bytesMax: Int) -> Self { Self(.notAcceptable, .modify, "payload-too-big", text: "a payload may have \(bytesMax) bytes") }
    static let maxItemsExceeded = Self(.notAllowed, .cancel, "max-items-exceeded")
    static func preconditionNotMet(_ text: String?) -> Self { Self(.conflict, .cancel, "precondition-not-met", text: text) }

    static let unsupportedAccessModel = Self(.notAcceptable, .modify, "unsupported-access-model")
}

/// Runs what may refuse with a stanza error of another XEP, such as the reading of a form.
func asPubSub<Result>(_ body: () throws(StanzaError) -> Result) throws(PubSubError) -> Result {
    do throws(StanzaError) { return try body() } catch { throw PubSubError(error) }
}
