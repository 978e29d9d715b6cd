import MartletXML
package import MartletXMPP
import Synchronization

/// The last messages of another server, so that one that it sends again after it was started anew goes to nobody a second time.
///
/// Who sends from its log what it does not know to have arrived says so by a `<delay/>` of its own (XEP-0203); such a message is taken for one that
/// was there before if sender, recipient and `id` are the same. A client that does not know whether its server had taken a message sends it again
/// under the same `origin-id` (XEP-0359), which its server may have forgotten.
package final class RecentMessages: Sendable {
    /// Messages that are remembered: more than servers can be apart when one of them dies.
    package static let messagesMax = 2_048

    private struct State {
        var hashes: [Int] = []
        /// The place of the oldest, once there are ``messagesMax``.
        var next = 0
        var known: Set<Int> = []

        /// - Returns: whether it was not known.
        mutating func remember(_ hash: Int) -> Bool {
            guard known.insert(hash).inserted else { return false }
            if hashes.count < RecentMessages.messagesMax {
                hashes.append(hash)
            } else {
                known.remove(hashes[next])
                hashes[next] = hash
                next = (next + 1) % RecentMessages.messagesMax
            }
            return true
        }
    }
    private let state = Mutex(State())

    package init() {}

    /// Remembers the message.
    ///
    /// - Returns: whether it was there before.
    package func isRepeated(_ message: borrowing Stanza) -> Bool {
        if let origin = Self.origin(of: message) {
            return !remember(message.from.bare.description, message.to, origin)
        }
        guard let id = message.id else { return false }
        return !remember(message.from.description, message.to, id) && Self.isLate(message)
    }

    /// - Returns: whether it is new.
    private func remember(_ sender: String, _ recipient: JID?, _ name: String) -> Bool {
        var hasher = Hasher()
        hasher.combine(sender)
        hasher.combine(recipient)
        hasher.combine(name)
        let hash = hasher.finalize()
        return state.withLock { $0.remember(hash) }
    }

    private static let ids: Namespace = "urn:xmpp:sid:0"

    private static func origin(of message: borrowing Stanza) -> String? {
        guard case .message(let type) = message.kind, type == .chat || type == .normal else { return nil }
        let origin = message.element.root.firstChild("origin-id", ids)?.attribute("id")
        return origin?.isEmpty == true ? nil : origin
    }

    private static let delay: Namespace = "urn:xmpp:delay"

    private static func isLate(_ message: borrowing Stanza) -> Bool {
        let domain = message.from.bare.domainpart
        return message.element.root.children.contains { $0.isNamed("delay", delay) && $0.attribute("from") == domain }
    }
}
