import MartletStorage
import Testing

@Suite("Reads of archives: accounts take turns")
struct TurnQueueTests {
    private func taken(_ queue: inout TurnQueue<String, Int>) -> [Int] {
        var all: [Int] = []
        while let element = queue.popFirst() { all.append(element) }
        return all
    }

    @Test("whoever has much waiting gets as many turns as one who has little; each one's own is in order")
    func turns() {
        var queue = TurnQueue<String, Int>(lineMax: 10)
        for number in 1...4 { queue.append(number, of: "romeo") }
        queue.append(11, of: "juliet")
        queue.append(21, of: "nurse")
        queue.append(12, of: "juliet")
        #expect(queue.count == 7)
        #expect(taken(&queue) == [1, 11, 21, 2, 12, 3, 4])
        #expect(queue.count == 0)
    }

    @Test("a search that goes on waits for everybody who has come meanwhile")
    func slices() {
        var queue = TurnQueue<String, Int>(lineMax: 10)
        queue.append(1, of: "romeo")
        #expect(queue.popFirst() == 1)
        queue.append(2, of: "juliet")
        queue.append(1, of: "romeo")
        queue.append(3, of: "nurse")
        #expect(queue.popFirst() == 2)
        queue.append(2, of: "juliet")
        #expect(taken(&queue) == [1, 3, 2])
    }

    @Test("a line has room for so many and no more; other lines have room all the same")
    func room() {
        var queue = TurnQueue<String, Int>(lineMax: 2)
        queue.append(1, of: "romeo")
        #expect(queue.hasRoom(for: "romeo"))
        queue.append(2, of: "romeo")
        #expect(!queue.hasRoom(for: "romeo") && queue.hasRoom(for: "juliet"))
        _ = queue.popFirst()
        #expect(queue.hasRoom(for: "romeo"))
    }
}
