import NIOCore

/// What an account has still to take delivery of, and who has it in hand. Pure.
///
/// The message log holds messages for the account beyond a cursor: up to there everything was delivered, which is all that is on disk.
/// Clients acknowledge in whatever order they like, so memory knows each message beyond the cursor: sessions that were handed it, or that
/// nobody was, or that it was delivered and waits for an earlier one. The cursor follows the first that was not delivered. When a session
/// ends, what it had in hand and did not acknowledge waits again, where no other session has it too.
///
/// Of an account that comes into memory only the number of waiting messages is known; reading them makes them known one by one.
package struct Deliveries: Sendable {
    private struct Message {
        let view: UInt64
        let bytes: Int32
        var isDelivered = false
        var holders: SessionSlots
        var isWaiting: Bool { !isDelivered && holders.isEmpty }
    }

    /// By view.
    private var messages = CircularBuffer<Message>()
    /// Everything up to and including this view was delivered.
    package private(set) var cursor: UInt64 = 0
    /// What the log has beyond the cursor and up to here is in `messages`.
    private var knownUpTo = UInt64.max
    /// Messages that nobody has in hand, and their bytes.
    package private(set) var waitingCount = 0
    package private(set) var waitingBytes = 0
    /// Those of them that are not in `messages`.
    private var unknownCount = 0
    private var unknownBytes = 0

    package init() {}

    /// - Parameters:
    ///   - cursor: as it is on disk.
    ///   - count: messages in the log beyond it.
    package init(cursor: UInt64, count: Int, bytes: Int) {
        self.cursor = cursor
        knownUpTo = count > 0 ? cursor : .max
        waitingCount = count
        waitingBytes = bytes
        unknownCount = count
        unknownBytes = bytes
    }

    /// Messages that memory knows of one by one.
    package var knownCount: Int { messages.count }

    // MARK: What happens to a message

    /// A message was appended to the log, under the account's latest name, and handed to `holders`; nobody, if it has to wait.
    package mutating func append(_ view: UInt64, bytes: Int, to holders: SessionSlots) {
        messages.append(Message(view: view, bytes: Int32(clamping: bytes), holders: holders))
        if holders.isEmpty { addWaiting(bytes) }
    }

    /// A message was read from the log, to be handed to a session.
    ///
    /// - Returns: `false` if it was delivered meanwhile, or another session has it in hand.
    package mutating func take(_ view: UInt64, bytes: Int, by holder: SessionSlots) -> Bool {
        let place = place(of: view)
        if place < messages.count, self[place].view == view {
            guard self[place].isWaiting else { return false }
            removeWaiting(Int(self[place].bytes))
            self[place].holders = holder
            return true
        }
        messages.insert(Message(view: view, bytes: Int32(clamping: bytes), holders: holder), at: index(place))
        removeWaiting(bytes)
        unknownCount = max(0, unknownCount - 1)
        unknownBytes = max(0, unknownBytes - bytes)
        if unknownCount == 0 { knownUpTo = .max }
        return true
    }

    /// Everything that waits up to this view was read from the log.
    package mutating func didRead(upTo view: UInt64) {
        if view > knownUpTo { knownUpTo = view }
        moveCursor()
    }

    /// Everything that waits was read from the log.
    package mutating func didReadAll() {
        waitingCount -= unknownCount
        waitingBytes -= unknownBytes
        (unknownCount, unknownBytes) = (0, 0)
        didRead(upTo: .max)
    }

    /// Somebody has taken delivery of a message, or the log has refused it.
    package mutating func deliver(_ view: UInt64) {
        let place = place(of: view)
        guard place < messages.count, self[place].view == view, !self[place].isDelivered else { return }
        if self[place].isWaiting { removeWaiting(Int(self[place].bytes)) }
        self[place].isDelivered = true
        if place == 0 { moveCursor() }
    }

    /// A session is gone: what it had in hand waits again, if no other has it.
    package mutating func release(_ holder: SessionSlots) {
        for place in 0..<messages.count where self[place].holders.contains(holder) {
            self[place].holders.subtract(holder)
            if self[place].isWaiting { addWaiting(Int(self[place].bytes)) }
        }
    }

    // MARK: Places

    private mutating func moveCursor() {
        while let first = messages.first, first.isDelivered, first.view <= knownUpTo {
            cursor = first.view
            messages.removeFirst()
        }
    }

    private mutating func addWaiting(_ bytes: Int) {
        waitingCount += 1
        waitingBytes += bytes
    }

    private mutating func removeWaiting(_ bytes: Int) {
        waitingCount = max(0, waitingCount - 1)
        waitingBytes = max(0, waitingBytes - bytes)
    }

    /// Where a view is, or would be. Mostly in front: messages are acknowledged in order.
    private func place(of view: UInt64) -> Int {
        guard let first = messages.first, first.view < view else { return 0 }
        var (low, high) = (1, messages.count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle].view < view { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private func index(_ place: Int) -> CircularBuffer<Message>.Index { messages.index(messages.startIndex, offsetBy: place) }

    private subscript(place: Int) -> Message {
        get { messages[index(place)] }
        set { messages[index(place)] = newValue }
    }
}

/// Sessions of one account by ``SessionEntry/slot``, which a session keeps for as long as it lives.
package struct SessionSlots: OptionSet, Hashable, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package init(_ slot: UInt8) { rawValue = 1 << UInt64(slot) }
    /// The first slot that is free, of 64.
    package var firstFree: UInt8? { rawValue == .max ? nil : UInt8((~rawValue).trailingZeroBitCount) }
}
