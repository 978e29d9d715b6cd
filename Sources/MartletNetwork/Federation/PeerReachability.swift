import MartletCore
package import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// Which servers are there: what follows when one can be reached, or cannot.
extension FederationService {
    /// What comes of a call that has failed.
    struct Consequence {
        /// For how long the other server is left alone.
        let rest: TimeAmount
        /// Whether it has vanished just now: there were streams with it before.
        let hasVanished: Bool
        /// Whether there were.
        let isKnown: Bool
        /// Messages that the log keeps for it.
        let kept: Int
    }

    /// Whether there has been a stream with the other server since the start, or the operator has said where it is.
    package func isKnown(_ pair: DomainPair) -> Bool {
        if let domain = try? BareJID(parsing: pair.remote), settings.overrides[domain] != nil { return true }
        return links.withLockedValue { $0.known.contains(pair) }
    }

    /// The link has no stream. It goes if nothing is on its way to it.
    func retire(_ link: PeerLink) {
        links.withLockedValue { links in
            if let entry = links.entries[link.pair], entry.link === link, entry.stanzas == 0, entry.keptStanzas == 0 { links.entries[link.pair] = nil }
        }
    }

    /// It is not waited for any more: what its users were not told is forgotten. If it comes back, all are told anew how everybody is.
    func giveUp(_ link: PeerLink) {
        links.withLockedValue { $0.forget(link.pair) }
        retire(link)
    }

    /// - Returns: whether the other server could not be reached before.
    func opened(_ link: PeerLink) -> Bool {
        links.withLockedValue { links in
            links.change(link) { $0.isOpen = true }
            links.know(link.pair)
            return links.rests.removeValue(forKey: link.pair) != nil
        }
    }

    /// Both sides tell each other anew how everybody is.
    func repair(_ link: PeerLink) {
        let (context, pair) = (link.loop.context, link.pair)
        for farewell in links.withLockedValue({ $0.takeFarewells(pair) }) { _ = deliver(farewell.stanza, from: farewell.from, to: farewell.to, context) }
        router.peerReturned(pair.remote, to: pair.local, context)
    }

    /// A stream of another server's has broken off: it is looked whether the server is still there.
    func check(_ pairs: Set<DomainPair>) {
        for pair in pairs {
            let link: PeerLink? = links.withLockedValue { links in
                links.know(pair)
                return links.link(for: pair, of: self)
            }
            guard let link else { continue }
            link.mailbox.run { _ in link.check() }
        }
    }

    /// Another server that could not be reached has come by itself.
    func heard(_ pair: DomainPair) {
        let link: PeerLink? = links.withLockedValue { links in
            links.know(pair)
            guard links.rests[pair] != nil else { return nil }
            links.rests[pair]?.until = .uptimeNanoseconds(0)
            return links.link(for: pair, of: self)
        }
        if let link { link.mailbox.run { _ in link.callNow() } }
    }

    func closed(_ link: PeerLink) {
        links.withLockedValue { $0.change(link) { $0.isOpen = false } }
    }

    /// The other server is left alone for a while.
    func failed(_ link: PeerLink, _ failure: PeerCallFailure) -> Consequence {
        counters.failed()
        let now = link.loop.context.time.monotonic
        return links.withLockedValue { links in
            if links.rests.count >= PeerLinks.restsMax { links.rests = links.rests.filter { $0.value.until > now } }
            let failures = (links.rests[link.pair]?.failures ?? 0) + 1
            let rest = rest(after: failures)
            if links.rests.count < PeerLinks.restsMax { links.rests[link.pair] = .init(until: now + rest, failure: failure, failures: failures) }
            let isKnown = links.known.contains(link.pair)
            links.change(link) { $0.isBehind = true }
            return Consequence(
                rest: rest, hasVanished: isKnown && failures == 1, isKnown: isKnown, kept: links.entries[link.pair]?.keptStanzas ?? 0)
        }
    }

    /// Twice as long after each failure, less up to a half, so that not all come back at once.
    private func rest(after failures: Int) -> TimeAmount {
        let settings = settings
        let (least, most) = (settings.restMin.nanoseconds, settings.restMax.nanoseconds)
        let doubled = failures > 16 ? most : min(least << Int64(failures - 1), most)
        return .nanoseconds(doubled / 2 + Int64.random(in: 0...max(doubled / 2, 1)))
    }

    /// A stream that another server has opened serves for the way back as well (XEP-0288), unless there is a stream for that already.
    func adopt(_ connection: IncomingPeerConnection, _ pair: DomainPair) -> PeerLink? {
        let (link, wasUnreachable): (PeerLink?, Bool) = links.withLockedValue { links in
            guard links.entries[pair] == nil else { return (nil, false) }
            let link = links.newLink(for: pair, of: self, on: connection.loop)
            links.know(pair)
            return (link, links.rests.removeValue(forKey: pair) != nil)
        }
        link?.adopt(connection)
        if wasUnreachable, let link { repair(link) }
        return link
    }
}
