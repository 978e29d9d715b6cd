package import MartletXMPP
import NIOCore

/// What one domain of ours has for one of another server, in the order in which it goes. Pure.
///
/// Messages worth keeping are in the log as well, under views that ascend (`reliability.md` P10). As long as a stream is made or takes what
/// comes, everything is in memory and goes in the order in which it came. When the other server cannot be reached, or takes too little, the
/// queue is behind: messages go to the log only, and are read from there page by page; what is not kept waits in memory for its turn.
package struct PeerQueue: Sendable {
    package struct Item: Sendable {
        package let stanza: EncodedStanza
        /// Under which the log has it; 0 for what is not kept.
        package let view: UInt64
        /// The last kept message that was given before, or the item's own view: it goes after everything up to there.
        package let after: UInt64

        package init(_ stanza: EncodedStanza, view: UInt64 = 0, after: UInt64) {
            self.stanza = stanza
            self.view = view
            self.after = after
        }

        package var isKept: Bool { view > 0 }
        package var byteCount: Int { stanza.bytes.readableBytes }
    }

    private var waiting = CircularBuffer<Item>()
    private var page = CircularBuffer<Item>()
    package private(set) var isBehind = false
    /// Kept messages up to here are in memory, or have been.
    package private(set) var readUpTo: UInt64
    /// Kept messages up to here are handed over, or returned.
    package private(set) var cursor: UInt64

    /// - Parameter cursor: everything up to here was handed over, or returned, before.
    package init(cursor: UInt64 = 0) {
        self.cursor = cursor
        readUpTo = cursor
    }

    /// Whether nothing is in memory.
    package var isEmpty: Bool { waiting.isEmpty && page.isEmpty }

    // MARK: In

    /// - Returns: whether it is in memory now. If not, it is in the log, and will be read.
    package mutating func append(_ item: Item) -> Bool {
        if item.isKept {
            if isBehind { return false }
            readUpTo = max(readUpTo, item.view)
        }
        waiting.append(item)
        return true
    }

    /// What was sent and not acknowledged goes again, before everything else.
    package mutating func putBack(_ items: [Item]) {
        for item in items.reversed() { waiting.prepend(item) }
    }

    /// Some of what was put back need not go again.
    package mutating func removeFirst(_ count: Int) { waiting.removeFirst(min(count, waiting.count)) }

    /// From here on, kept messages are in the log only.
    package mutating func fallBehind() { isBehind = true }

    /// Messages were read from the log, from ``readUpTo`` on.
    ///
    /// - Parameter end: if there were no more, the last view that had been given before the log was read.
    package mutating func add(_ items: [Item], end: UInt64?) {
        page.append(contentsOf: items)
        readUpTo = max(readUpTo, items.last?.view ?? 0, end ?? 0)
    }

    /// Everything in the log has been in memory, and everything that comes will be.
    package mutating func catchUp() { isBehind = false }

    /// Whether the log is to be read, to go on.
    package var wantsPage: Bool { isBehind && page.isEmpty && (waiting.first.map { $0.after > readUpTo } ?? true) }

    // MARK: Out

    package mutating func next() -> Item? {
        guard isBehind || !page.isEmpty else { return waiting.popFirst() }
        let known = page.first.map { $0.view - 1 } ?? readUpTo
        if let first = waiting.first, first.after <= known { return waiting.popFirst() }
        return page.popFirst()
    }

    /// These are dealt with.
    ///
    /// - Returns: whether the cursor has moved.
    package mutating func deliver(_ items: [Item]) -> Bool {
        guard let view = items.last(where: \.isKept)?.view, view > cursor else { return false }
        cursor = view
        readUpTo = max(readUpTo, view)
        return true
    }

    /// There is no stream and will be none for a while.
    ///
    /// - Returns: everything that was in memory. What of it is kept will be read again.
    package mutating func fail() -> [Item] {
        let items = Array(waiting) + page
        (waiting, page) = ([], [])
        isBehind = true
        readUpTo = cursor
        return items
    }
}
