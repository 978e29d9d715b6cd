package import MartletXMPP
import NIOCore

/// The stanzas that a client was sent and has not acknowledged (XEP-0198 §4). Pure.
package struct UnacknowledgedStanzas: Sendable {
    package struct Item: Sendable {
        package var stanza: EncodedStanza
        /// When it was handed to the session, in milliseconds since 1970.
        package var time: Int64
        /// It comes from the message log, where it stays until it is acknowledged.
        package var isStored: Bool
    }

    private var items = CircularBuffer<Item>()
    /// Stanzas that the client has acknowledged, modulo 2³².
    package private(set) var acknowledged: UInt32
    package private(set) var bytes = 0
    /// Bytes of those that are not stored: they are bounded.
    package private(set) var unstoredBytes = 0
    package private(set) var storedCount = 0

    /// - Parameter acknowledged: where the count begins; anything but 0 is for tests.
    package init(acknowledged: UInt32 = 0) { self.acknowledged = acknowledged }

    package var isEmpty: Bool { items.isEmpty }
    package var count: Int { items.count }
    /// In the order in which they were sent.
    package var all: some Collection<Item> { items }
    /// Stanzas that were ever sent, modulo 2³².
    package var sent: UInt32 { acknowledged &+ UInt32(truncatingIfNeeded: items.count) }

    package mutating func append(_ stanza: EncodedStanza, at time: Int64, isStored: Bool) {
        items.append(Item(stanza: stanza, time: time, isStored: isStored))
        bytes += stanza.bytes.readableBytes
        if isStored { storedCount += 1 } else { unstoredBytes += stanza.bytes.readableBytes }
    }

    /// The client has handled so many stanzas since it enabled stream management.
    ///
    /// - Throws: a stream error if it was never sent as many (§6), or acknowledged more before.
    package mutating func acknowledge(_ handled: UInt32) throws(StreamError) {
        let count = handled &- acknowledged
        guard count <= UInt32(truncatingIfNeeded: items.count) else { throw .handledCountTooHigh(handled: handled, sent: sent) }
        for item in items.prefix(Int(count)) {
            bytes -= item.stanza.bytes.readableBytes
            if item.isStored { storedCount -= 1 } else { unstoredBytes -= item.stanza.bytes.readableBytes }
        }
        items.removeFirst(Int(count))
        acknowledged = handled
    }
}
