import MartletNetwork
import NIOCore
import Testing

@Suite("Happy eyeballs (RFC 8305)")
struct DialRaceTests {
    static let old = (1...6).map { NetworkAddress(ipv4: 0xC633_6400 | UInt32($0)) }
    static let new = (1...6).map { NetworkAddress(high: 0x2001_0DB8 << 32, low: UInt64($0)) }
    static let settings = DialRace.Settings()

    static let attempt = DialRace.Action.startTimer(settings.attemptDelay)
    static let hold = DialRace.Action.startTimer(settings.resolutionDelay)

    static func race(_ events: DialRace.Event...) -> DialRace {
        var race = DialRace()
        for event in events { _ = race.handle(event) }
        return race
    }

    @Test("IPv6 begins as soon as it is known (§3)")
    func newFirst() {
        var race = DialRace()
        #expect(race.handle(.found(.ipv6, Array(Self.new.prefix(2)))) == [Self.attempt, .connect(Self.new[0])])
        #expect(race.handle(.found(.ipv4, Array(Self.old.prefix(2)))) == [])
        #expect(race.handle(.timer) == [Self.attempt, .connect(Self.old[0])])
        #expect(race.handle(.timer) == [Self.attempt, .connect(Self.new[1])])
        #expect(race.handle(.timer) == [Self.attempt, .connect(Self.old[1])])
        #expect(race.handle(.timer) == [])
    }

    @Test("IPv4 waits a moment for IPv6 that is being looked up (§3)")
    func resolutionDelay() {
        var race = DialRace()
        #expect(race.handle(.found(.ipv4, [Self.old[0]])) == [Self.hold])
        #expect(race.handle(.found(.ipv6, [Self.new[0]])) == [Self.attempt, .connect(Self.new[0])])

        var late = Self.race(.found(.ipv4, Array(Self.old.prefix(2))))
        #expect(late.handle(.timer) == [Self.attempt, .connect(Self.old[0])])
        #expect(late.handle(.found(.ipv6, [Self.new[0]])) == [])
        #expect(late.handle(.timer) == [Self.attempt, .connect(Self.new[0])])

        var never = Self.race(.found(.ipv4, [Self.old[0]]))
        #expect(never.handle(.found(.ipv6, [])) == [Self.attempt, .connect(Self.old[0])])
    }

    @Test("a host of one family is dialled at once")
    func oneFamily() {
        var race = Self.race(.found(.ipv6, []))
        #expect(race.handle(.found(.ipv4, [Self.old[0]])) == [Self.attempt, .connect(Self.old[0])])
        #expect(race.handle(.failed(Self.old[0])) == [.lose])
    }

    @Test("after a failure the next begins at once (§5)")
    func failure() {
        var race = Self.race(.found(.ipv6, [Self.new[0]]), .found(.ipv4, [Self.old[0]]))
        #expect(race.handle(.failed(Self.new[0])) == [Self.attempt, .connect(Self.old[0])])
        #expect(race.handle(.failed(Self.new[0])) == [])
        #expect(race.handle(.failed(Self.old[0])) == [.lose])

        var two = Self.race(.found(.ipv6, [Self.new[0]]), .found(.ipv4, Array(Self.old.prefix(2))), .timer)
        #expect(two.handle(.failed(Self.new[0])) == [Self.attempt, .connect(Self.old[1])])
        #expect(two.handle(.failed(Self.old[1])) == [])
        #expect(two.handle(.failed(Self.old[0])) == [.lose])
    }

    @Test("nothing is lost while a family is still looked up, and what it brings begins at once")
    func lateFamily() {
        var failed = Self.race(.found(.ipv6, [Self.new[0]]))
        #expect(failed.handle(.failed(Self.new[0])) == [])
        #expect(failed.handle(.found(.ipv4, [Self.old[0]])) == [Self.attempt, .connect(Self.old[0])])

        var slow = Self.race(.found(.ipv6, [Self.new[0]]), .timer)
        #expect(slow.handle(.found(.ipv4, [Self.old[0]])) == [Self.attempt, .connect(Self.old[0])])

        var none = Self.race(.found(.ipv6, [Self.new[0]]), .failed(Self.new[0]))
        #expect(none.handle(.found(.ipv4, [])) == [.lose])
    }

    @Test("the first connection wins, the others are given up, and so is one that comes later")
    func win() {
        var race = Self.race(.found(.ipv6, [Self.new[0]]), .found(.ipv4, Array(Self.old.prefix(2))), .timer, .timer)
        #expect(race.handle(.connected(Self.old[0])) == [.abandon(Self.new[0]), .abandon(Self.old[1]), .win(Self.old[0])])
        #expect(race.handle(.connected(Self.new[0])) == [.abandon(Self.new[0])])
        for event in [DialRace.Event.timer, .deadline, .failed(Self.old[1]), .found(.ipv4, [Self.old[4]])] { #expect(race.handle(event) == []) }
    }

    @Test("at the deadline everything is given up, whatever it is about")
    func deadline() {
        var racing = Self.race(.found(.ipv6, [Self.new[0]]), .found(.ipv4, [Self.old[0]]), .timer)
        #expect(racing.handle(.deadline) == [.abandon(Self.new[0]), .abandon(Self.old[0]), .lose])
        #expect(racing.handle(.deadline) == [])
        var resolving = DialRace()
        #expect(resolving.handle(.deadline) == [.lose])
        var holding = Self.race(.found(.ipv4, [Self.old[0]]))
        #expect(holding.handle(.deadline) == [.lose])
    }

    @Test("no addresses at all are none")
    func nothing() {
        var race = Self.race(.found(.ipv4, []))
        #expect(race.handle(.found(.ipv6, [])) == [.lose])
    }

    @Test("of a family only so many addresses are tried, none twice")
    func bounds() {
        let all = DialRace.Settings().addressesMax
        for count in [all, all + 1] {
            var race = Self.race(.found(.ipv6, Array(Self.new.prefix(count)) + Self.new), .found(.ipv4, Array(Self.old.prefix(count)) + Self.old))
            var tried = [Self.new[0]]
            while case .connect(let address)? = race.handle(.timer).last { tried.append(address) }
            #expect(Set(tried) == Set(Self.new.prefix(all) + Self.old.prefix(all)) && tried.count == 2 * all)
        }
        // A mapped address may be found in both families.
        var mapped = Self.race(.found(.ipv6, [Self.old[0]]), .found(.ipv4, [Self.old[0]]))
        #expect(mapped.handle(.failed(Self.old[0])) == [.lose])
    }
}
