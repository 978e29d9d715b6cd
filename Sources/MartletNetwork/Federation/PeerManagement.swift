import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// Stanzas that a stream carries from this server to the other.
struct SentStanza: Sendable {
    let item: PeerQueue.Item
    let link: PeerLink
}

/// Stream management (XEP-0198 §4), the same in both directions of a stream.
extension PeerConnection {
    /// - Returns: whether the other server will acknowledge it.
    func send(_ item: PeerQueue.Item, for link: PeerLink) -> Bool {
        lastSent = loop.now
        service.counters.sent()
        sentCount += 1
        write(item.stanza.bytes)
        management?.append(SentStanza(item: item, link: link))
        return management != nil
    }

    /// Asks what has arrived, if there is something that is not acknowledged and it was not asked already.
    func askForAcknowledgement() {
        guard askedAt == nil, management?.asks() == true else { return }
        askedAt = loop.now
        write { $0.element("r", .streamManagement) }
        hang(until: loop.now + NetworkLoop.ticks(settings.acknowledgementDeadline))
    }

    /// Until when the other server has time to answer, if it was asked.
    var acknowledgementDue: Int? { askedAt.map { $0 + NetworkLoop.ticks(settings.acknowledgementDeadline) } }

    /// The other server has handled so many.
    func take(acknowledgement handled: UInt32) throws(StreamError) {
        guard management != nil else { return }
        guard let done = management?.acknowledge(handled) else { throw .handledCountTooHigh(handled: handled, sent: management?.sent ?? 0) }
        askedAt = nil
        acknowledgedCount += done.count
        tell(done)
        // Something may have been sent since it was asked.
        askForAcknowledgement()
    }

    /// What was sent counts as handed over: the other server does not count after all.
    func endManagement() {
        let sent = Array(management?.unacknowledged ?? [])
        (management, askedAt) = (nil, nil)
        tell(sent)
    }

    private func tell(_ done: [SentStanza]) {
        for (link, items) in Self.byLink(done) { link.acknowledged(items) }
    }

    /// The order of what is for one link stays.
    static func byLink(_ sent: some Sequence<SentStanza>) -> [(link: PeerLink, items: [PeerQueue.Item])] {
        var parts: [(link: PeerLink, items: [PeerQueue.Item])] = []
        for stanza in sent {
            if let place = parts.firstIndex(where: { $0.link === stanza.link }) {
                parts[place].items.append(stanza.item)
            } else {
                parts.append((stanza.link, [stanza.item]))
            }
        }
        return parts
    }

    // MARK: What the other server has sent

    /// It asks how many of its stanzas are handled. Those that are not yet, it is told of as soon as they are.
    func answerRequest(_ session: PeerSession) {
        session.settle()
        owesAcknowledgement = session.hasUnfinished
        saidHandled = handledCount
        say(.acknowledge(handledCount))
    }

    /// So many of its stanzas are dealt with, and on disk.
    func acknowledge(_ count: UInt32, of session: PeerSession) {
        handledCount = count
        guard owesAcknowledgement, !session.hasUnfinished, saidHandled != count else { return }
        owesAcknowledgement = false
        saidHandled = count
        say(.acknowledge(count))
    }

    func say(_ answer: StreamManagementAnswer) { write { answer.write(to: &$0) } }
}
