import MartletCore
import Testing

@Suite("Inbound stanzas are handled in order")
struct InboundLedgerTests {
    private func ticket(_ sequence: UInt64) -> CommitTicket { CommitTicket(sequence: sequence) }

    @Test("a stanza that wrote nothing is handled at once")
    func nothingWritten() {
        var ledger = InboundLedger()
        ledger.record(.done)
        ledger.record(.done)
        #expect(ledger.openCount == 0)
        #expect(ledger.advance(settled: .none) == 2)
    }

    @Test("a stanza is handled only once its writes are on disk (XEP-0198 §4, P1)")
    func waitsForTheDisk() {
        var ledger = InboundLedger()
        ledger.record(.done(ticket(7)))
        #expect(ledger.advance(settled: ticket(6)) == 0)
        #expect(ledger.advance(settled: ticket(7)) == 1)
    }

    @Test("one that is finished early waits for those before it: the count is a contiguous prefix")
    func contiguous() {
        var ledger = InboundLedger()
        ledger.record(.pending)
        ledger.record(.done)
        ledger.record(.done(ticket(1)))
        #expect(ledger.openCount == 3)
        #expect(ledger.advance(settled: ticket(9)) == 0)
        ledger.completed(0, ticket(3))
        #expect(ledger.advance(settled: ticket(2)) == 0)
        #expect(ledger.advance(settled: ticket(3)) == 3)
        #expect(ledger.openCount == 0)
    }

    @Test("what the disk is waited for is the latest of what is done before the first that is not")
    func awaited() {
        var ledger = InboundLedger()
        #expect(ledger.awaitedTicket == nil)
        ledger.record(.done(ticket(4)))
        ledger.record(.done(ticket(2)))
        ledger.record(.pending)
        ledger.record(.done(ticket(9)))
        #expect(ledger.awaitedTicket == ticket(4))
        _ = ledger.advance(settled: ticket(4))
        #expect(ledger.awaitedTicket == nil)
    }

    @Test("completing what is not open does nothing")
    func unknownSequence() {
        var ledger = InboundLedger()
        ledger.record(.done)
        ledger.completed(0, ticket(1))
        ledger.completed(4_000_000_000, ticket(1))
        #expect(ledger.advance(settled: .none) == 1)
    }
}

@Suite("Names of messages sort by time and never repeat")
struct StanzaIDSourceTests {
    private let now: Int64 = 1_800_000_000_000

    private func source(floor: UInt64 = 0) -> StanzaIDSource {
        let source = StanzaIDSource(floor: floor)
        if let ceiling = source.ceilingToReserve(wallMilliseconds: now) { source.reserved(ceiling) }
        return source
    }

    @Test("names rise with time, and within one millisecond")
    func rise() {
        let ids = source()
        let first = ids.next(after: 0, wallMilliseconds: now)
        let second = ids.next(after: first, wallMilliseconds: now)
        let third = ids.next(after: second, wallMilliseconds: now + 1)
        #expect(first >> 20 == UInt64(now) && third >> 20 == UInt64(now + 1))
        #expect(first < second && second >> 20 == UInt64(now))
    }

    @Test("names rise although the clock goes back a year (P20)")
    func clockGoesBack() {
        let ids = source()
        let first = ids.next(after: 0, wallMilliseconds: now)
        let second = ids.next(after: first, wallMilliseconds: now - 31_536_000_000)
        #expect(first < second && second - first <= 1 << 16)
    }

    @Test("whoever knows names does not know the next: neither the first of a millisecond nor those that follow (XEP-0313 §3)")
    func unpredictable() {
        func names(_ secret: UInt64) -> [UInt64] {
            let ids = StanzaIDSource(floor: 0, secret: secret)
            ids.reserved(.max)
            var names = [ids.next(after: 0, wallMilliseconds: now)]
            for _ in 1..<20 { names.append(ids.next(after: names.last ?? 0, wallMilliseconds: now)) }
            return names
        }
        let (one, other) = (names(1), names(2))
        #expect(one == one.sorted() && Set(one).count == 20 && one == names(1))
        #expect(Set(one).intersection(other).count < 5)
        #expect(Set(zip(one.dropFirst(), one).map { $0 - $1 }).count > 10)
        #expect(one.last ?? 0 < UInt64(now + 2) << 20)
        #expect(Set((0..<20).map { StanzaIDSource(floor: 0, secret: $0).next(after: 0, wallMilliseconds: now) }).count > 10)
    }

    @Test("near the ceiling names are counted, so that many fit before it")
    func nearCeiling() {
        let ids = StanzaIDSource(floor: 0)
        let ceiling = UInt64(now) << 20
        ids.reserved(ceiling)
        var last: UInt64 = 0
        for _ in 0..<100 { last = ids.next(after: last, wallMilliseconds: now) }
        #expect(last < ceiling - 1 << 19 + 100)
    }

    @Test("after a restart names begin at the ceiling that was on disk, whatever the clock says")
    func restart() throws {
        let before = StanzaIDSource(floor: 0)
        let ceiling = try #require(before.ceilingToReserve(wallMilliseconds: now))
        before.reserved(ceiling)
        let last = before.next(after: 0, wallMilliseconds: now + 300_000)
        let after = source(floor: ceiling)
        #expect(after.next(after: 0, wallMilliseconds: now + 1) >= ceiling)
        #expect(after.next(after: 0, wallMilliseconds: now + 1) > last)
    }

    @Test("no name reaches a ceiling that is not on disk, although the clock jumps ahead a year (P20)")
    func clockJumpsAhead() throws {
        let ids = StanzaIDSource(floor: 0)
        let ceiling = try #require(ids.ceilingToReserve(wallMilliseconds: now))
        ids.reserved(ceiling)
        let name = ids.next(after: 0, wallMilliseconds: now + 31_536_000_000)
        #expect(name < ceiling)
        #expect(ids.next(after: name, wallMilliseconds: now + 31_536_000_000) == name + 1)
    }

    @Test("an account that comes back begins beyond all names that were given, although the clock has gone back (P20)")
    func comesBack() {
        let ids = source()
        let first = ids.next(after: 0, wallMilliseconds: now)
        let last = ids.next(after: first, wallMilliseconds: now - 3_600_000)
        #expect(ids.used >= last)
        let again = ids.next(after: ids.used, wallMilliseconds: now - 3_600_000)
        #expect(again > last)
        #expect(ids.next(after: ids.used, wallMilliseconds: now - 3_600_000) > again)
    }

    @Test("a new ceiling is reserved when half of the reservation is used up")
    func reservesAhead() {
        let ids = source()
        let half = Int64(StanzaIDSource.reservationMilliseconds / 2)
        #expect(ids.ceilingToReserve(wallMilliseconds: now + half - 1) == nil)
        #expect(ids.ceilingToReserve(wallMilliseconds: now + half + 1) != nil)
    }
}
