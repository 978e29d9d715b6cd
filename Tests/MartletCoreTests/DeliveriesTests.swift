import MartletCore
import MartletTesting
import Testing

@Suite("An account's cursor in the message log follows what was delivered (P2)")
struct DeliveriesTests {
    private let one = SessionSlots(0)
    private let two = SessionSlots(5)

    private func check(_ isTaken: Bool, _ expected: Bool, _ location: SourceLocation = #_sourceLocation) {
        #expect(isTaken == expected, sourceLocation: location)
    }

    private func live(_ views: ClosedRange<UInt64>, to holders: SessionSlots) -> Deliveries {
        var deliveries = Deliveries()
        for view in views { deliveries.append(view, bytes: 10, to: holders) }
        return deliveries
    }

    @Test("acknowledgements in any order move the cursor to the first that is missing")
    func order() {
        var deliveries = live(1...5, to: one)
        deliveries.deliver(2)
        deliveries.deliver(5)
        #expect(deliveries.cursor == 0)
        deliveries.deliver(1)
        #expect(deliveries.cursor == 2)
        deliveries.deliver(4)
        deliveries.deliver(3)
        #expect(deliveries.cursor == 5)
        #expect(deliveries.knownCount == 0)
        #expect(deliveries.waitingCount == 0)
    }

    @Test("one of two holders is enough to deliver, and the last to go makes a message wait")
    func holders() {
        var deliveries = live(1...3, to: [one, two])
        deliveries.deliver(1)
        deliveries.release(one)
        #expect(deliveries.waitingCount == 0)
        deliveries.release(two)
        #expect((deliveries.waitingCount, deliveries.waitingBytes) == (2, 20))
        #expect(deliveries.cursor == 1)
    }

    @Test("what waits is taken once, by whoever reads the log first; what was delivered meanwhile is not taken again")
    func takeAgain() {
        var deliveries = live(1...3, to: one)
        deliveries.deliver(2)
        deliveries.release(one)
        check(deliveries.take(1, bytes: 10, by: two), true)
        check(deliveries.take(1, bytes: 10, by: one), false)
        check(deliveries.take(2, bytes: 10, by: two), false)
        check(deliveries.take(3, bytes: 10, by: two), true)
        #expect(deliveries.waitingCount == 0)
        deliveries.deliver(1)
        #expect(deliveries.cursor == 2)
    }

    @Test("messages that were not read yet hold the cursor back, and those that were let it go up to there")
    func unread() {
        var deliveries = Deliveries(cursor: 7, count: 3, bytes: 30)
        deliveries.append(20, bytes: 10, to: two)
        deliveries.deliver(20)
        #expect(deliveries.cursor == 7)
        for view in [8, 9] as [UInt64] { check(deliveries.take(view, bytes: 10, by: one), true) }
        deliveries.didRead(upTo: 9)
        deliveries.deliver(8)
        deliveries.deliver(9)
        #expect(deliveries.cursor == 9)
        #expect((deliveries.waitingCount, deliveries.waitingBytes) == (1, 10))
        check(deliveries.take(10, bytes: 10, by: one), true)
        check(deliveries.take(20, bytes: 10, by: one), false)
        deliveries.didReadAll()
        deliveries.deliver(10)
        #expect(deliveries.cursor == 20)
    }

    @Test("when everything that was counted is known, nothing holds the cursor back")
    func allKnown() {
        var deliveries = Deliveries(cursor: 7, count: 2, bytes: 20)
        for view in [8, 9] as [UInt64] { check(deliveries.take(view, bytes: 10, by: one), true) }
        deliveries.deliver(8)
        deliveries.deliver(9)
        #expect((deliveries.cursor, deliveries.waitingCount) == (9, 0))
    }

    @Test("what was counted and is not in the log any more does not wait for ever")
    func miscounted() {
        var deliveries = Deliveries(cursor: 0, count: 3, bytes: 30)
        check(deliveries.take(1, bytes: 10, by: one), true)
        deliveries.didReadAll()
        #expect((deliveries.waitingCount, deliveries.waitingBytes) == (0, 0))
    }

    @Test("a message that the disk refused waits for nobody")
    func refused() {
        var deliveries = live(1...2, to: [])
        deliveries.deliver(2)
        #expect(deliveries.waitingCount == 1)
        deliveries.deliver(1)
        #expect((deliveries.waitingCount, deliveries.waitingBytes, deliveries.cursor) == (0, 0, 2))
    }

    @Test("slots are given from the lowest that is free")
    func slots() {
        #expect(SessionSlots().firstFree == 0)
        #expect(SessionSlots(rawValue: 0b1011).firstFree == 2)
        #expect(SessionSlots(rawValue: .max).firstFree == nil)
        #expect(SessionSlots(rawValue: .max >> 1).firstFree == 63)
    }

    @Test("whatever happens in whatever order, the cursor is never beyond a message that nobody took", arguments: 0..<40 as Range<UInt64>)
    func random(seed: UInt64) {
        var random = SeededNumbers(seed: seed)
        var deliveries = Deliveries()
        var delivered: Set<UInt64> = []
        var held: [UInt64: Set<UInt8>] = [:]
        var next: UInt64 = 1
        for _ in 0..<400 {
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1:
                let slots = (0..<4 as Range<UInt8>).filter { _ in Int.random(in: 0..<3, using: &random) == 0 }
                deliveries.append(next, bytes: 1, to: SessionSlots(slots.map { SessionSlots($0) }))
                held[next] = Set(slots)
                next += 1
            case 2:
                let view = UInt64.random(in: 1...next, using: &random)
                guard let holders = held[view], !holders.isEmpty else { continue }
                deliveries.deliver(view)
                delivered.insert(view)
            case 3:
                let slot = UInt8.random(in: 0..<4, using: &random)
                deliveries.release(SessionSlots(slot))
                for view in held.keys { held[view]?.remove(slot) }
            default:
                let slot = UInt8.random(in: 0..<4, using: &random)
                for view in 1..<next {
                    guard view > deliveries.cursor else { continue }
                    let isFree = !delivered.contains(view) && held[view, default: []].isEmpty
                    check(deliveries.take(view, bytes: 1, by: SessionSlots(slot)), isFree)
                    if isFree { held[view] = [slot] }
                }
            }
            let waiting = (1..<next).filter { !delivered.contains($0) && held[$0, default: []].isEmpty }
            #expect(deliveries.waitingCount == waiting.count)
            let expected = (1..<next).prefix { delivered.contains($0) }.last ?? 0
            #expect(deliveries.cursor == expected)
        }
    }
}
