package import MartletXMPP
import NIOCore

/// The stanzas that a client was sent and has not acknowledged (XEP-0198 §4). Pure.
package struct UnacknowledgedStanzas: Sendable {
    package struct Item: Sendable {
        package var stanza: EncodedStanza
        /// When it was handed to the session, in milliseconds since 1970.
        package var time: Int64
        /// Under which the message log has it until it is acknowledged; 0 for what is not there.
        package var view: UInt64
        /// It was read from the log: an account's limit bounds how many there are, not a session's.
        package var isStored: Bool

        package init(stanza: EncodedStanza, time: Int64, view: UInt64, isStored: Bool) {
            self.stanza = stanza
            self.time = time
            self.view = view
            self.isStored = isStored
        }
    }

    private var items = CircularBuffer<Item>()
    /// Stanzas that the client has acknowledged, modulo 2³².
    package private(set) var acknowledged: UInt32
    package private(set) var bytes = 0
    /// Bytes of those that are not stored: they are bounded.
    package private(set) var unstoredBytes = 0
    private var storedCount = 0
    /// Those that count against a session's limit.
    package var unstoredCount: Int { items.count - storedCount }

    /// - Parameter acknowledged: where the count begins; anything but 0 is for tests.
    package init(acknowledged: UInt32 = 0) { self.acknowledged = acknowledged }

    package var isEmpty: Bool { items.isEmpty }
    package var count: Int { items.count }
    /// In the order in which they were sent.
    package var all: some Collection<Item> { items }
    /// Stanzas that were ever sent, modulo 2³².
    package var sent: UInt32 { acknowledged &+ UInt32(truncatingIfNeeded: items.count) }

    package mutating func append(_ stanza: EncodedStanza, at time: Int64, view: UInt64, isStored: Bool) {
        items.append(Item(stanza: stanza, time: time, view: view, isStored: isStored))
        bytes += stanza.bytes.readableBytes
        if isStored { storedCount += 1 } else { unstoredBytes += stanza.bytes.readableBytes }
    }

    /// The client has handled so many stanzas since it enabled stream management.
    ///
    /// - Returns: what the account has taken delivery of with that, as the log names it.
    /// - Throws: a stream error if it was never sent as many (§6), or acknowledged more before.
    package mutating func acknowledge(_ handled: UInt32) throws(StreamError) -> [UInt64] {
        let count = handled &- acknowledged
        guard count <= UInt32(truncatingIfNeeded: items.count) else { throw .handledCountTooHigh(handled: handled, sent: sent) }
        var views: [UInt64] = []
        for item in items.prefix(Int(count)) {
            if Post.awaitsDelivery(item.view) { views.append(item.view) }
            bytes -= item.stanza.bytes.readableBytes
            if item.isStored { storedCount -= 1 } else { unstoredBytes -= item.stanza.bytes.readableBytes }
        }
        items.removeFirst(Int(count))
        acknowledged = handled
        return views
    }
}
