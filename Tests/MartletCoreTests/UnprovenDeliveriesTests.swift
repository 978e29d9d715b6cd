import MartletCore
import NIOCore
import Testing

@Suite("Messages that were written to a client that does not say what it has got (P2)")
struct UnprovenDeliveriesTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000)
    private var believed: NIODeadline { start + UnprovenDeliveries.believedAfter }

    private func collected(_ count: Int) -> UnprovenDeliveries {
        var unproven = UnprovenDeliveries()
        for view in 1...UInt64(count) { _ = unproven.append(view, at: start) }
        return unproven
    }

    @Test("whatever the client sends shows that it has read all of them")
    func all() {
        var unproven = collected(3)
        let taken = unproven.takeAll()
        #expect(taken == [1, 2, 3] && unproven.isEmpty)
    }

    @Test("after 30 seconds, and no earlier, they are believed to have arrived")
    func time() {
        var unproven = collected(2)
        _ = unproven.append(3, at: start + .seconds(1))
        let early = unproven.takeOld(at: believed - .nanoseconds(1))
        let old = unproven.takeOld(at: believed)
        #expect(early == [] && old == [1, 2])
        #expect(UnprovenDeliveries.believedAfter == .seconds(30))
    }

    @Test("time is asked with the 64th, and not with the 63rd; and again with the 128th")
    func countUsual() {
        var few = collected(62)
        let last = few.append(63, at: believed)
        #expect(last == [])
        let many = few.append(64, at: believed)
        #expect(many == Array(1...62))
        #expect(UnprovenDeliveries.countUsual == 64)
        var young = collected(127)
        let none = young.append(128, at: believed - .nanoseconds(1))
        #expect(none == [])
        young = collected(127)
        let all = young.append(128, at: believed)
        #expect(all == Array(1...127))
    }
}
