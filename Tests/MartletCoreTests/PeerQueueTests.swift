import MartletCore
import MartletXMPP
import NIOCore
import Testing

@Suite("What waits for another server")
struct PeerQueueTests {
    private static func item(_ name: String, view: UInt64 = 0, after: UInt64? = nil) -> PeerQueue.Item {
        PeerQueue.Item(EncodedStanza(ByteBuffer(string: name)), view: view, after: after ?? view)
    }

    private static func names(_ items: [PeerQueue.Item]) -> [String] { items.map { String(buffer: $0.stanza.bytes) } }

    private static func all(_ queue: inout PeerQueue) -> [String] {
        var items: [PeerQueue.Item] = []
        while let item = queue.next() { items.append(item) }
        return names(items)
    }

    @Test("goes in the order in which it came")
    func order() {
        var queue = PeerQueue()
        for item in [Self.item("a", view: 1), Self.item("b", after: 1), Self.item("c", view: 2)] {
            let isTaken = queue.append(item)
            #expect(isTaken)
        }
        #expect(!queue.wantsPage && queue.readUpTo == 2)
        #expect(Self.all(&queue) == ["a", "b", "c"])
        #expect(queue.isEmpty)
    }

    @Test("what is kept is left to the log while the queue is behind, and what is not waits for its turn")
    func behind() {
        var queue = PeerQueue(cursor: 10)
        _ = queue.append(Self.item("a", view: 11))
        queue.fallBehind()
        let isTaken = queue.append(Self.item("in the log", view: 12))
        #expect(!isTaken && queue.readUpTo == 11)
        _ = queue.append(Self.item("between 12 and 13", after: 12))
        _ = queue.append(Self.item("behind 14", after: 14))
        #expect(Self.all(&queue) == ["a"])
        #expect(queue.wantsPage)
        queue.add([Self.item("12", view: 12), Self.item("13", view: 13)], end: nil)
        #expect(!queue.wantsPage)
        #expect(Self.all(&queue) == ["12", "between 12 and 13", "13"])
        #expect(queue.wantsPage && queue.readUpTo == 13)
        queue.add([Self.item("14", view: 14)], end: 14)
        queue.catchUp()
        _ = queue.append(Self.item("15", view: 15))
        #expect(Self.all(&queue) == ["14", "behind 14", "15"])
    }

    @Test("what the log never got is not waited for")
    func missing() {
        var queue = PeerQueue()
        queue.fallBehind()
        _ = queue.append(Self.item("after 3", after: 3))
        #expect(Self.all(&queue) == [])
        #expect(queue.wantsPage)
        queue.add([], end: 3)
        #expect(!queue.wantsPage)
        #expect(Self.all(&queue) == ["after 3"])
    }

    @Test("what was not acknowledged goes again, before everything else")
    func again() {
        var queue = PeerQueue()
        for view in 1...3 as ClosedRange<UInt64> { _ = queue.append(Self.item("\(view)", view: view)) }
        let sent = [queue.next(), queue.next()].compactMap(\.self)
        queue.putBack(sent)
        #expect(Self.all(&queue) == ["1", "2", "3"])
        queue.fallBehind()
        queue.add([Self.item("4", view: 4)], end: nil)
        queue.putBack(sent)
        #expect(Self.all(&queue) == ["1", "2", "4"])
    }

    @Test("the cursor follows what is dealt with; after a failure the log is read from there")
    func cursor() {
        var queue = PeerQueue(cursor: 1)
        for view in 2...4 as ClosedRange<UInt64> { _ = queue.append(Self.item("\(view)", view: view)) }
        _ = queue.append(Self.item("not kept", after: 4))
        let first = queue.next()
        let hasMoved = queue.deliver([first].compactMap(\.self) + [Self.item("x", after: 2)])
        #expect(hasMoved && queue.cursor == 2)
        let hasMovedBack = queue.deliver([Self.item("1", view: 1)])
        #expect(!hasMovedBack && queue.cursor == 2)
        #expect(Self.names(queue.fail()) == ["3", "4", "not kept"])
        #expect(queue.isEmpty && queue.isBehind && queue.readUpTo == 2)
        // Returned meanwhile.
        let hasReturned = queue.deliver([Self.item("3", view: 3)])
        #expect(hasReturned && queue.readUpTo == 3)
    }
}
