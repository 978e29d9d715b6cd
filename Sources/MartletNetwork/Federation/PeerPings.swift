package import MartletXML
package import MartletXMPP
import NIOConcurrencyHelpers
import Synchronization

/// Pings of this server's own that another server has not answered yet. The answers are looked for among what comes in.
package final class PeerPings: Sendable {
    package enum Answer: Hashable, Sendable { case result, error }

    private struct Waiting: Sendable {
        let pair: DomainPair
        let told: @Sendable (Answer) -> Void
    }
    // Held for a look-up.
    private let waiting = NIOLockedValueBox<[String: Waiting]>([:])
    /// How many there are: mostly none, which is seen without the lock.
    private let count = Atomic<Int>(0)

    package init() {}

    /// - Parameter told: at most once, on any loop.
    package func await(_ id: String, _ pair: DomainPair, _ told: @escaping @Sendable (Answer) -> Void) {
        waiting.withLockedValue { $0[id] = Waiting(pair: pair, told: told) }
        count.wrappingAdd(1, ordering: .relaxed)
    }

    package func forget(_ id: String) { _ = take(id) { _ in true } }

    /// A stanza from another server, on a stream that is authenticated for `pairs`. It goes its way all the same.
    package func hear(_ element: FlatElement, _ pairs: Set<DomainPair>) {
        guard count.load(ordering: .relaxed) > 0 else { return }
        let root = element.root
        guard root.isNamed("iq", .client), let id = root.attribute("id") else { return }
        let answer: Answer
        if root.attributeEquals("type", "result") { answer = .result } else if root.attributeEquals("type", "error") { answer = .error } else { return }
        guard let pair = Self.pair(root), pairs.contains(pair) else { return }
        take(id) { $0.pair == pair }?.told(answer)
    }

    private static func pair(_ root: ElementView) -> DomainPair? {
        guard let from = root.attribute("from").flatMap({ try? JID($0) }), let to = root.attribute("to").flatMap({ try? JID($0) }) else { return nil }
        return DomainPair(remote: from.bare.domainpart, local: to.bare.domainpart)
    }

    private func take(_ id: String, if isMeant: (Waiting) -> Bool) -> Waiting? {
        let taken = waiting.withLockedValue { waiting in
            guard let entry = waiting[id], isMeant(entry) else { return nil as Waiting? }
            waiting[id] = nil
            return entry
        }
        if taken != nil { count.wrappingSubtract(1, ordering: .relaxed) }
        return taken
    }
}
