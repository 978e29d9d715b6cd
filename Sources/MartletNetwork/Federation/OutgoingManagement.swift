package import MartletXMPP
package import NIOCore

/// What was sent on a stream and is not acknowledged (XEP-0198 §4). Pure.
package struct OutgoingManagement: Sendable {
    /// Stanzas, modulo 2³².
    package private(set) var sent: UInt32 = 0
    package private(set) var unacknowledged = CircularBuffer<EncodedStanza>()
    /// What had been sent when the other server was asked last.
    private var askedAt: UInt32?

    package init() {}

    package mutating func append(_ stanza: EncodedStanza) {
        unacknowledged.append(stanza)
        sent &+= 1
    }

    /// Whether it is time to ask, which is then done.
    package mutating func asks() -> Bool {
        guard !unacknowledged.isEmpty, askedAt != sent else { return false }
        askedAt = sent
        return true
    }

    /// - Returns: what is done with; `nil` if that is more than was sent.
    package mutating func acknowledge(_ handled: UInt32) -> [EncodedStanza]? {
        let first = sent &- UInt32(unacknowledged.count)
        let count = Int(handled &- first)
        // A count from before the last one says nothing new.
        if count > Int(UInt32.max / 2) { return [] }
        guard count <= unacknowledged.count else { return nil }
        let done = Array(unacknowledged.prefix(count))
        unacknowledged.removeFirst(count)
        return done
    }
}
