package import MartletXMPP

/// Who of an existing local account gets a stanza: RFC 6121 §8.5.2 and §8.5.3. There is no other place.
///
/// Sessions are named by their place in the account's list. What is chosen from is generic so that the rules see four facts
/// of a session and no more; callers in this module get the code for `SessionEntry`, without allocation.
package enum DeliveryRules {
    /// Messages (RFC 6121 §8.5.4, Table 1).
    ///
    /// One departure: a `normal` message to a full address whose session is gone goes the way of the bare address, as `chat`
    /// does. §8.5.3.2.1 would have it dropped or refused, but clients answer to the full address they last heard from, and
    /// the difference between the two types means nothing to who wrote it. Prosody and ejabberd do the same.
    package static func message<Session: DeliverySession>(
        _ type: MessageType, to: JID, sessions: [Session], policy: MessageTargets
    ) -> MessageDelivery {
        switch Target(to, among: sessions) {
        case .session(let index): return .deliver(SessionSet(index))
        case .account: return message(type, toAccountWith: sessions, policy)
        case .nobody:
            switch type {
            case .normal, .chat: return message(type, toAccountWith: sessions, policy)
            case .groupchat: return .refuse(.serviceUnavailable)
            case .headline, .error: return .ignore
            }
        }
    }

    /// Presence (RFC 6121 §8.5.2.1.2, §8.5.2.2.2, §8.5.3).
    ///
    /// `error` is not in the RFC's lists. It goes where available presence would: a subscription request that could not be
    /// routed comes back to the bare address, since that is where it was sent from (§3.1.2).
    package static func presence<Session: DeliverySession>(
        _ type: PresenceType, to: JID, sessions: [Session]
    ) -> PresenceDelivery {
        let target = Target(to, among: sessions)
        switch type {
        case .available, .unavailable, .error: return presence(target, sessions)
        case .probe: return .probe
        // A request is meant for the account, whatever the address says (§3.1.3).
        case .subscribe: return .subscription(.subscribe)
        case .subscribed: return target == .nobody ? .ignore : .subscription(.subscribed)
        case .unsubscribe: return target == .nobody ? .ignore : .subscription(.unsubscribe)
        case .unsubscribed: return target == .nobody ? .ignore : .subscription(.unsubscribed)
        }
    }

    /// IQs (RFC 6121 §8.5.2.1.3, §8.5.2.2.3, §8.5.3).
    ///
    /// A result or an error for which there is no session is dropped, not answered: RFC 6120 §8.2.3 forbids to answer one.
    ///
    /// - Parameter sharesPresence: whether the sender sees the presence of the session, because it is the account itself, is
    ///   subscribed to it, or was sent directed presence. To anybody else a session that is there looks like one that is not.
    package static func iq<Session: DeliverySession>(
        _ type: IQType, to: JID, sessions: [Session], sharesPresence: Bool
    ) -> IQDelivery {
        let isRequest = type == .get || type == .set
        switch Target(to, among: sessions) {
        case .account: return isRequest ? .answer : .ignore
        case .nobody: return isRequest ? .refuse(.serviceUnavailable) : .ignore
        case .session(let index):
            return isRequest && !sharesPresence ? .refuse(.serviceUnavailable) : .deliver(SessionSet(index))
        }
    }
}

/// What the rules look at in a session.
package protocol DeliverySession {
    var address: FullJID { get }
    /// RFC 6121: "available resource"; one that is not is a "connected resource".
    var isAvailable: Bool { get }
    /// Available and of non-negative priority.
    var takesMessages: Bool { get }
    var priority: Int8 { get }
}

extension SessionEntry: DeliverySession {}

package enum MessageDelivery: Hashable, Sendable {
    case deliver(SessionSet)
    /// Nobody takes it: kept for later, or refused (RFC 6121 §8.5.2.2.1).
    case fallBack
    case refuse(StanzaError)
    case ignore
}

package enum PresenceDelivery: Hashable, Sendable {
    case deliver(SessionSet)
    /// The account's roster decides (RFC 6121 §3, Appendix A).
    case subscription(SubscriptionStanza)
    /// The server answers (RFC 6121 §4.3.2).
    case probe
    case ignore
}

package enum IQDelivery: Hashable, Sendable {
    case deliver(SessionSet)
    /// The server answers on behalf of the account.
    case answer
    case refuse(StanzaError)
    case ignore
}

extension DeliveryRules {
    private enum Target: Equatable {
        case account
        case session(Int)
        /// A full address that no session has.
        case nobody

        init(_ address: JID, among sessions: [some DeliverySession]) {
            switch address {
            case .bare: self = .account
            // By index: walking over the entries would copy each of them.
            case .full(let full): self = sessions.indices.first { sessions[$0].address == full }.map(Target.session) ?? .nobody
            }
        }
    }

    /// RFC 6121 §8.5.2.1.1 and §8.5.2.2.1.
    private static func message(
        _ type: MessageType, toAccountWith sessions: [some DeliverySession], _ policy: MessageTargets
    ) -> MessageDelivery {
        switch type {
        case .normal, .chat:
            let recipients = policy == .all ? takingMessages(sessions) : mostAvailable(sessions)
            return recipients.isEmpty ? .fallBack : .deliver(recipients)
        case .headline:
            let recipients = takingMessages(sessions)
            return recipients.isEmpty ? .ignore : .deliver(recipients)
        case .groupchat: return .refuse(.serviceUnavailable)
        case .error: return .ignore
        }
    }

    private static func presence(_ target: Target, _ sessions: [some DeliverySession]) -> PresenceDelivery {
        switch target {
        case .session(let index): return .deliver(SessionSet(index))
        case .nobody: return .ignore
        case .account:
            var recipients = SessionSet()
            for index in sessions.indices where sessions[index].isAvailable { recipients.insert(SessionSet(index)) }
            return recipients.isEmpty ? .ignore : .deliver(recipients)
        }
    }

    private static func takingMessages(_ sessions: [some DeliverySession]) -> SessionSet {
        var recipients = SessionSet()
        for index in sessions.indices where sessions[index].takesMessages { recipients.insert(SessionSet(index)) }
        return recipients
    }

    /// All sessions of the highest non-negative priority.
    private static func mostAvailable(_ sessions: [some DeliverySession]) -> SessionSet {
        var recipients = SessionSet()
        var highest: Int8 = 0
        for index in sessions.indices where sessions[index].takesMessages {
            let priority = sessions[index].priority
            if priority > highest {
                highest = priority
                recipients = SessionSet(index)
            } else if priority == highest {
                recipients.insert(SessionSet(index))
            }
        }
        return recipients
    }
}
