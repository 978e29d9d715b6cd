import MartletXML
package import MartletXMPP
import Synchronization

/// The last messages of another server, so that one that it sends again after it was started anew goes to nobody a second time.
///
/// Who sends from its log what it does not know to have arrived says so by a `<delay/>` of its own (XEP-0203); only such a message is taken for
/// one that was there before, and only if sender, recipient and `id` are the same.
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
        guard let id = message.id else { return false }
        var hasher = Hasher()
        hasher.combine(message.from)
        hasher.combine(message.to)
        hasher.combine(id)
        let hash = hasher.finalize()
        let isNew = state.withLock { $0.remember(hash) }
        return !isNew && Self.isLate(message)
    }

    private static let delay: Namespace = "urn:xmpp:delay"

    private static func isLate(_ message: borrowing Stanza) -> Bool {
        let domain = message.from.bare.domainpart
        return message.element.root.children.contains { $0.isNamed("delay", delay) && $0.attribute("from") == domain }
    }
}
