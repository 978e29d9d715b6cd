import Logging
package import MartletCore
package import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore

/// What goes to other servers waits in links, in memory and in the log (`reliability.md` P10).
extension FederationService: RemoteDelivery {
    package func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, kept: KeptMessage?, _ context: LoopContext) -> Acceptance {
        let pair = DomainPair(remote: to.domainpart, local: from.domainpart)
        let settings = settings
        let acceptance = links.withLockedValue { links in
            var restLeft = TimeAmount.zero
            if let rest = links.rests[pair], context.time.monotonic < rest.until {
                let isAwaited = kept != nil && settings.keptFor > .zero && links.known.contains(pair) && !rest.failure.isFinal
                guard isAwaited else { return Acceptance.refused(rest.failure.stanzaError) }
                restLeft = rest.until - context.time.monotonic
            }
            guard links.link(for: pair, of: self, by: from) != nil, var entry = links.entries.removeValue(forKey: pair) else {
                return .refused(.serviceUnavailable)
            }
            defer { links.entries[pair] = entry }
            let bytes = stanza.bytes.readableBytes
            let hasRoom = Self.hasRoom(for: bytes, entry, links, settings)
            if let kept, kept.isPromised || !entry.isOpen || entry.isBehind || !hasRoom {
                return keep(kept.entry, for: restLeft, in: &entry, &links, settings, context)
            }
            guard hasRoom else { return .refused(Self.tooMuch(for: pair)) }
            post(PeerQueue.Item(stanza, after: entry.lastView), in: &entry, &links, context)
            return .accepted(.none)
        }
        if case .refused = acceptance { keepFarewell(stanza, pair) }
        return acceptance
    }

    private static func hasRoom(for bytes: Int, _ entry: PeerLinks.Entry, _ links: PeerLinks, _ settings: FederationSettings) -> Bool {
        entry.stanzas < settings.queueStanzasMax && entry.bytes + bytes <= settings.queueBytesMax && links.bytes + bytes <= settings.queueBytesTotalMax
    }

    private static func tooMuch(for pair: DomainPair) -> StanzaError {
        StanzaError(.resourceConstraint, .wait, text: "too much waits for \(pair.remote)")
    }

    /// Puts a message into the log, and into the link's memory if there is room and the other server is not left alone for a while.
    private func keep(
        _ entryToKeep: LogEntry, for rest: TimeAmount, in entry: inout PeerLinks.Entry, _ links: inout PeerLinks,
        _ settings: FederationSettings, _ context: LoopContext
    ) -> Acceptance {
        var kept = entryToKeep
        let (pair, bytes) = (entry.link.pair, kept.stanza.bytes.readableBytes)
        guard entry.keptStanzas < settings.keptStanzasMax, entry.keptBytes + bytes <= settings.keptBytesMax else { return .refused(Self.tooMuch(for: pair)) }
        let view = links.servingRouter.ids.next(after: entry.lastView, wallMilliseconds: context.wallMilliseconds)
        kept.views.append(.init(owner: AccountID(queueFor: pair), id: view))
        entry.lastView = view
        entry.keptStanzas += 1
        entry.keptBytes += bytes
        let ticket = context.store.submit([.log(kept)])
        let link = entry.link
        if !entry.isBehind, rest > .zero || !Self.hasRoom(for: bytes, entry, links, settings) {
            entry.isBehind = true
            context.post(.run { _ in link.fallBehind() }, to: link.mailbox)
        }
        if !entry.isBehind {
            post(PeerQueue.Item(kept.stanza, view: view, after: view), in: &entry, &links, context)
        } else if entry.keptStanzas == 1 {
            context.post(.run { _ in link.awaken(after: rest) }, to: link.mailbox)
        }
        return .accepted(ticket)
    }

    /// Under the lock, which fixes the order.
    private func post(_ item: PeerQueue.Item, in entry: inout PeerLinks.Entry, _ links: inout PeerLinks, _ context: LoopContext) {
        entry.stanzas += 1
        entry.bytes += item.byteCount
        links.bytes += item.byteCount
        context.post(.forward(item, to: entry.link), to: entry.link.mailbox)
    }

    /// That somebody has left, a server that cannot be reached hears when it can be reached again.
    func keepFarewell(_ encoded: EncodedStanza, _ pair: DomainPair) {
        guard encoded.isPresence, let stanza = Stanza(sent: encoded), case .presence(.unavailable) = stanza.kind, let to = stanza.to else { return }
        let farewell = PeerLinks.Farewell(stanza: encoded, from: stanza.from.bare, to: to.bare)
        links.withLockedValue { $0.keepFarewell(farewell, key: "\(stanza.from) \(to)", pair) }
    }

    /// Stanzas are in memory no more.
    func release(_ link: PeerLink, _ items: [PeerQueue.Item]) {
        count(items, of: link, by: -1)
    }

    /// Messages were read from the log.
    func charge(_ link: PeerLink, _ items: [PeerQueue.Item]) {
        count(items, of: link, by: 1)
    }

    private func count(_ items: [PeerQueue.Item], of link: PeerLink, by sign: Int) {
        guard !items.isEmpty else { return }
        let bytes = sign * items.reduce(0) { $0 + $1.byteCount }
        links.withLockedValue { links in
            links.bytes += bytes
            links.change(link) { entry in
                entry.stanzas += sign * items.count
                entry.bytes += bytes
            }
        }
    }

    /// The log need not keep these any more.
    func settled(_ link: PeerLink, _ items: [PeerQueue.Item]) {
        links.withLockedValue { links in
            links.change(link) { entry in
                for item in items where item.isKept {
                    entry.keptStanzas -= 1
                    entry.keptBytes -= item.byteCount
                }
            }
        }
    }

    /// The last view that was given to a message for the other server.
    func lastView(of link: PeerLink) -> UInt64 {
        links.withLockedValue { $0.entries[link.pair]?.lastView ?? 0 }
    }

    /// Whether the log has nothing beyond `view`; then messages go through memory from here on.
    func caughtUp(_ link: PeerLink, upTo view: UInt64) -> Bool {
        links.withLockedValue { links in
            guard let entry = links.entries[link.pair], entry.link === link, entry.lastView <= view else { return false }
            links.entries[link.pair]?.isBehind = false
            return true
        }
    }

    func hasKept(_ link: PeerLink) -> Bool {
        links.withLockedValue { $0.entries[link.pair]?.keptStanzas ?? 0 > 0 }
    }
}

// MARK: After a restart

extension FederationService {
    /// Goes on with what waits in the log for other servers since before the start.
    ///
    /// - Parameter isOurs: whether we still serve a domain.
    /// - Returns: how many messages wait.
    package func resume(_ queues: [StoredQueue], isOurs: (BareJID) -> Bool) -> Int {
        var count = 0
        for queue in queues {
            guard let pair = Self.pair(of: queue), (try? BareJID(parsing: pair.local)).map(isOurs) ?? false else {
                log.notice("messages for another server are not sent: their sender is no longer served here", metadata: ["count": "\(queue.count)"])
                continue
            }
            count += queue.count
            let link: PeerLink? = links.withLockedValue { links in
                links.know(pair)
                guard let link = links.link(for: pair, of: self, cursor: queue.first.view - 1) else { return nil }
                links.change(link) { entry in
                    (entry.keptStanzas, entry.keptBytes) = (queue.count, queue.bytes)
                    entry.lastView = max(entry.lastView, queue.lastView)
                    entry.isBehind = true
                }
                return link
            }
            link?.mailbox.run { _ in
                link?.fallBehind()
                link?.awaken(after: .zero)
            }
        }
        return count
    }

    /// Whose it is, which the messages in it say.
    private static func pair(of queue: StoredQueue) -> DomainPair? {
        guard let stanza = Stanza(sent: queue.first.stanza), let to = stanza.to else { return nil }
        let pair = DomainPair(remote: to.bare.domainpart, local: stanza.from.bare.domainpart)
        return AccountID(queueFor: pair) == queue.id ? pair : nil
    }
}
