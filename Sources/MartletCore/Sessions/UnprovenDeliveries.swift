package import NIOCore

/// Messages of the log that were written to a client which does not say what it has got, because it has not enabled stream management:
/// whatever it sends next shows that it has read them, as far as that can be known, and so does time (P2). Pure.
package struct UnprovenDeliveries: Sendable {
    /// A client that has not got a message for so long has lost its connection, and that is noticed otherwise.
    package static var believedAfter: TimeAmount { .seconds(30) }
    /// So many messages are collected before time is asked, and then at each further so many. It is no bound on what a client may be sent:
    /// there are as many as it is sent in ``believedAfter`` without a word from it, and so many more.
    package static let countUsual = 64

    private var messages: [(view: UInt64, time: NIODeadline)] = []

    package init() {}

    package var isEmpty: Bool { messages.isEmpty }

    /// - Returns: those that may be believed to have arrived, if many have collected.
    package mutating func append(_ view: UInt64, at time: NIODeadline) -> [UInt64] {
        messages.append((view, time))
        return messages.count.isMultiple(of: Self.countUsual) ? takeOld(at: time) : []
    }

    package mutating func takeAll() -> [UInt64] {
        defer { messages = [] }
        return messages.map(\.view)
    }

    /// Those that were written long enough ago.
    package mutating func takeOld(at time: NIODeadline) -> [UInt64] {
        let old = messages.prefix { $0.time + Self.believedAfter <= time }.map(\.view)
        messages.removeFirst(old.count)
        return old
    }
}
