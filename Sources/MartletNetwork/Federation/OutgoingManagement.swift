import MartletCore
package import NIOCore

/// What was sent on a stream and is not acknowledged (XEP-0198 §4). Pure.
package struct OutgoingManagement<Item: Sendable>: Sendable {
    /// Stanzas, modulo 2³².
    package private(set) var sent: UInt32
    package private(set) var unacknowledged = CircularBuffer<Item>()
    /// What had been sent when the other server was asked last.
    private var askedAt: UInt32?

    /// - Parameter sent: stanzas that were sent, and handled, on the stream that this one goes on with.
    package init(after sent: UInt32 = 0) { self.sent = sent }

    /// The number of stanzas that are acknowledged.
    package var acknowledged: UInt32 { sent &- UInt32(unacknowledged.count) }

    package mutating func append(_ item: Item) {
        unacknowledged.append(item)
        sent &+= 1
    }

    /// Whether it is time to ask, which is then done.
    package mutating func asks() -> Bool {
        guard !unacknowledged.isEmpty, askedAt != sent else { return false }
        askedAt = sent
        return true
    }

    /// - Returns: what is done with; `nil` if that is more than was sent.
    package mutating func acknowledge(_ handled: UInt32) -> [Item]? {
        let count = Int(handled &- acknowledged)
        // A count from before the last one says nothing new.
        if count > Int(UInt32.max / 2) { return [] }
        guard count <= unacknowledged.count else { return nil }
        let done = Array(unacknowledged.prefix(count))
        unacknowledged.removeFirst(count)
        return done
    }
}

/// A stream whose connection has broken off, as its sender remembers it (XEP-0198 §5).
struct InterruptedStream {
    let id: String
    /// For how long the other server goes on with it after a connection is lost, and until when that is.
    let seconds: Int
    let until: NIODeadline
    /// How many stanzas it had acknowledged, or are given up.
    private(set) var acknowledged: UInt32
    /// What was sent after those.
    private(set) var items: [PeerQueue.Item]
    /// Whether they are still the first in the queue.
    var areQueued = true

    init(id: String, seconds: Int, until: NIODeadline, acknowledged: UInt32, items: [PeerQueue.Item]) {
        self.id = id
        self.seconds = seconds
        self.until = until
        self.acknowledged = acknowledged
        self.items = items
    }

    /// The first of them does not go again, whether it was handled or not.
    mutating func giveUpFirst() {
        guard !items.isEmpty else { return }
        items.removeFirst()
        acknowledged &+= 1
    }
}
