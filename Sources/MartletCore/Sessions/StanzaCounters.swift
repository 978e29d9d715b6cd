internal import NIOCore
internal import Synchronization

/// Stanzas that a loop's sessions took and were given since the start, by kind, and what rooms did on the loop.
///
/// Counted on the loop only and read from anywhere: a load, an addition and a store for each stanza, without a locked instruction.
package final class StanzaCounters: Sendable {
    /// A reading, or a sum of several.
    package struct Counts: Hashable, Sendable {
        package var messages = 0
        package var presences = 0
        package var iqs = 0
        package init() {}

        package static func + (a: Counts, b: Counts) -> Counts {
            var sum = a
            sum.messages += b.messages
            sum.presences += b.presences
            sum.iqs += b.iqs
            return sum
        }
    }

    private let messagesIn = Atomic<Int>(0)
    private let presencesIn = Atomic<Int>(0)
    private let iqsIn = Atomic<Int>(0)
    private let messagesOut = Atomic<Int>(0)
    private let presencesOut = Atomic<Int>(0)
    private let iqsOut = Atomic<Int>(0)
    private let roomMessagesIn = Atomic<Int>(0)
    private let roomStanzasOut = Atomic<Int>(0)

    package init() {}

    package var received: Counts { Self.counts(messagesIn, presencesIn, iqsIn) }
    package var sent: Counts { Self.counts(messagesOut, presencesOut, iqsOut) }

    /// Messages for everybody that came to rooms, and stanzas that rooms gave to sessions (XEP-0045).
    package var roomMessages: Int { roomMessagesIn.load(ordering: .relaxed) }
    package var roomDeliveries: Int { roomStanzasOut.load(ordering: .relaxed) }

    package func receivedByRoom() { Self.increment(roomMessagesIn) }
    package func sentByRooms(_ count: Int) { Self.increment(roomStanzasOut, by: count) }

    func receivedMessage() { Self.increment(messagesIn) }
    func receivedPresence() { Self.increment(presencesIn) }
    func receivedIQ() { Self.increment(iqsIn) }

    /// - Parameter stanza: as it goes out. What its name begins with tells what it is.
    func sent(_ stanza: ByteBuffer) {
        switch stanza.getInteger(at: stanza.readerIndex + 1, as: UInt8.self) {
        case UInt8(ascii: "m"): Self.increment(messagesOut)
        case UInt8(ascii: "p"): Self.increment(presencesOut)
        default: Self.increment(iqsOut)
        }
    }

    /// Nobody else writes.
    @inline(__always)
    private static func increment(_ counter: borrowing Atomic<Int>, by count: Int = 1) {
        counter.store(counter.load(ordering: .relaxed) &+ count, ordering: .relaxed)
    }

    private static func counts(_ messages: borrowing Atomic<Int>, _ presences: borrowing Atomic<Int>, _ iqs: borrowing Atomic<Int>) -> Counts {
        var counts = Counts()
        counts.messages = messages.load(ordering: .relaxed)
        counts.presences = presences.load(ordering: .relaxed)
        counts.iqs = iqs.load(ordering: .relaxed)
        return counts
    }
}
