package import MartletXMPP
internal import NIOCore

/// What an archive's index says of a message beside its place: enough to find those exchanged with somebody (XEP-0313 §4.1.1).
package struct ArchiveMark: Hashable, Sendable {
    /// Of the other party's bare address, the same in every process. Two addresses may have the same hash: the message itself
    /// says whom it is from and to.
    package var peerHash: UInt32
    /// Whether the account sent it.
    package var isSent: Bool

    package init(peerHash: UInt32, isSent: Bool) {
        self.peerHash = peerHash
        self.isSent = isSent
    }

    package init(with peer: BareJID, isSent: Bool) {
        self.init(peerHash: peer.shardHash, isSent: isSent)
    }
}

/// One page of an archive: filters, where to begin, how many.
package struct ArchiveRequest: Hashable, Sendable {
    /// How far, in milliseconds, a view's name may be from the time of its message: names go ahead of the clock after a restart
    /// (``StanzaIDSource``), and clocks are set. What is further off is not found by time.
    package static let timeSlack: Int64 = 3_600_000

    /// The other party; a bare address stands for all its resources.
    package var peer: JID?
    /// When the server took the message, in milliseconds since 1970; both ends are included.
    package var start: Int64?
    package var end: Int64?
    /// Views beyond this one, and before that one.
    package var after: UInt64?
    package var before: UInt64?
    /// Only these views, if not `nil`.
    package var ids: Set<UInt64>?
    /// Views that have to be in the archive: otherwise there is no page.
    package var named: Set<UInt64> = []
    /// Whether the page is the last one that fits instead of the first. Its messages are in order all the same.
    package var isBackwards = false
    /// To be found in the message: all words of it (``SearchWords``, XEP-0431). A text without words is found nowhere.
    package var text: String?
    /// Most messages on the page; with 0 they are counted instead (``isCount``).
    package var limit: Int
    /// Most messages that are counted; of more nothing is said but that there are some. As many as an archive usually keeps
    /// (`archive.messages-max`), so that a count without filters, which looks at names only, says what there is.
    package var countMax = 1_000_000
    /// Most bytes of stanzas on the page, but one message is always on it: what a page holds in memory on its way to the client.
    package var bytesMax = 1 << 20

    package init(limit: Int) { self.limit = max(0, limit) }
}

extension ArchiveRequest {
    /// Whether it is asked how many messages pass (XEP-0059 §2.7).
    package var isCount: Bool { limit == 0 }
    /// Whether names alone say what passes.
    package var isByName: Bool { peer == nil && start == nil && end == nil && ids == nil && text == nil }

    /// The names that may pass, as far as names can say.
    package var views: ClosedRange<UInt64>? {
        var (first, last): (UInt64, UInt64) = (1, UInt64(Int64.max))
        if let after { first = max(first, min(after, last) + 1) }
        if let before { last = min(last, before &- min(before, 1)) }
        if let start { first = max(first, Self.name(start.subtractingClamped(Self.timeSlack))) }
        if let end { last = min(last, Self.name(end.addingClamped(Self.timeSlack)) | StanzaIDSource.countMask) }
        return first <= last ? first...last : nil
    }

    /// The first name of a millisecond.
    private static func name(_ milliseconds: Int64) -> UInt64 {
        UInt64(clamping: min(milliseconds, Int64.max >> 20)) << 20
    }

    /// Whether the index lets a view through.
    package func mayPass(_ view: UInt64, _ mark: ArchiveMark) -> Bool {
        if let ids, !ids.contains(view) { return false }
        if let peer, peer.bare.shardHash != mark.peerHash { return false }
        return true
    }

    /// Whether a message passes, that ``mayPass(_:_:)``.
    ///
    /// - Parameter words: those of ``text``.
    package func passes(_ message: LoggedMessage, _ mark: ArchiveMark, words: Set<String>?) -> Bool {
        if let start, message.time < start { return false }
        if let end, message.time > end { return false }
        if peer == nil, words == nil { return true }
        guard let stanza = Stanza(sent: message.stanza), isExchanged(stanza, mark) else { return false }
        guard let words else { return true }
        return !words.isEmpty && words.isSubset(of: SearchWords.inBodies(of: stanza))
    }

    /// Whether the other party of a message is ``peer``, if that is given.
    private func isExchanged(_ stanza: Stanza, _ mark: ArchiveMark) -> Bool {
        guard let peer else { return true }
        let (sender, recipient) = (stanza.from, stanza.to ?? .bare(stanza.from.bare))
        let other = mark.isSent ? recipient : sender
        guard other.bare == peer.bare else { return false }
        if case .bare = peer { return true }
        // Of what the account sends to itself both addresses are the other party's.
        return other == peer || (sender.bare == recipient.bare && (sender == peer || recipient == peer))
    }
}

package struct ArchivePage: Sendable {
    /// In order.
    package var messages: [LoggedMessage]
    /// Whether nothing more would pass in the direction of the request. A page that is neither complete nor has ``ArchiveRequest/limit``
    /// messages stopped at ``ArchiveRequest/bytesMax``.
    package var isComplete: Bool
    /// How many messages pass, if that was asked and they are not too many (``ArchiveRequest/countMax``).
    package var count: Int?

    package init(messages: [LoggedMessage], isComplete: Bool, count: Int? = nil) {
        self.messages = messages
        self.isComplete = isComplete
        self.count = count
    }
}

/// Collects a page from candidates in the order in which they were asked for.
package struct ArchivePageBuilder: Sendable {
    private let request: ArchiveRequest
    private let words: Set<String>?
    private var messages: [LoggedMessage] = []
    private var bytes = 0
    /// Whether a message did not fit into the bytes of the page.
    private var isHeavy = false
    /// Messages that pass, where they are only counted.
    private var counted = 0

    package init(_ request: ArchiveRequest) {
        self.request = request
        words = request.text.map(SearchWords.words)
    }

    /// Whether the page is full and known to have a successor, or more was counted than is said.
    package var isDone: Bool { request.isCount ? counted > request.countMax : messages.count > request.limit || isHeavy }

    package mutating func look(at message: LoggedMessage, _ mark: ArchiveMark) {
        guard request.passes(message, mark, words: words) else { return }
        if request.isCount { return count(1) }
        bytes += message.stanza.bytes.readableBytes
        isHeavy = !messages.isEmpty && bytes > request.bytesMax
        if !isHeavy { messages.append(message) }
    }

    /// Counts messages that pass, without looking at them.
    package mutating func count(_ messages: Int) { counted += messages }

    package func page() -> ArchivePage {
        if request.isCount { return ArchivePage(messages: [], isComplete: counted == 0, count: isDone ? nil : counted) }
        let fitting = Array(messages.prefix(request.limit))
        return ArchivePage(messages: request.isBackwards ? fitting.reversed() : fitting, isComplete: !isDone)
    }
}

/// The first and the last message of an archive.
package struct ArchiveEnds: Hashable, Sendable {
    package struct End: Hashable, Sendable {
        package var view: UInt64
        /// Milliseconds since 1970.
        package var time: Int64
        package init(view: UInt64, time: Int64) { self.view = view; self.time = time }
    }
    package var first: End
    package var last: End
    package init(first: End, last: End) { self.first = first; self.last = last }
}

extension Int64 {
    fileprivate func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }

    fileprivate func subtractingClamped(_ other: Int64) -> Int64 {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? .min : difference
    }
}
