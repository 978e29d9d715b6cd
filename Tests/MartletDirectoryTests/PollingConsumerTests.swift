import MartletCore
import MartletDirectory
import MartletLDAP
import NIOCore
import Testing

@Suite("Following a directory by asking it")
struct PollingConsumerTests {
    private let alice = EntryUUID.number(1)
    private let bob = EntryUUID.number(2)
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private func entry(_ name: String) -> LDAPEntry { LDAPEntry("uid=\(name),dc=example") }
    private func seconds(_ seconds: Int64) -> NIODeadline { start + .seconds(seconds) }

    /// Everything was read between 0 and 10 seconds; the latest change was at 1,000,000 seconds of the server's clock.
    private func following(_ kind: ChangeMark.Kind = .modifyTimestamp, latest: Int64? = 1_000_000_000) -> PollingConsumer {
        var settings = PollingConsumer.Settings()
        settings.mark = kind
        var consumer = PollingConsumer(settings)
        _ = consumer.connected(to: "a", now: start)
        _ = consumer.receive(.entry(entry("alice"), alice, changed: latest), now: seconds(5))
        _ = consumer.receive(.result(.success), now: seconds(10))
        return consumer
    }

    @Test("everything is read first; what was not found then is gone")
    func reading() {
        var consumer = PollingConsumer()
        let first = consumer.connected(to: "a", now: start)
        #expect(first == [.search(.everything)] && consumer.due == nil)
        let found = consumer.receive(.entry(entry("alice"), alice, changed: 7), now: start)
        #expect(found == [.change(.entry(alice, entry("alice")))] && !consumer.isLive)
        let end = consumer.receive(.result(.success), now: seconds(10))
        #expect(end == [.refreshed(RefreshEnd(there: [alice]))] && consumer.isLive)
        #expect(consumer.due == seconds(25))
    }

    @Test("then what was changed since the last search began is asked for, and two minutes more")
    func poll() {
        var consumer = following()
        let early = consumer.tick(now: seconds(24))
        #expect(early.isEmpty)
        let poll = consumer.tick(now: seconds(25))
        // The latest change was seen at the end of a search of ten seconds.
        #expect(poll == [.search(.changed(since: .modifyTimestamp(1_000_000_000 - 10_000 - 120_000)))])
        let end = consumer.receive(.result(.success), now: seconds(26))
        #expect(end.isEmpty)
        // Nothing changed for 25 seconds, and the server's clock has gone on.
        let next = consumer.tick(now: seconds(41))
        #expect(next == [.search(.changed(since: .modifyTimestamp(1_000_000_000 - 10_000 - 120_000 + 25_000)))])
    }

    @Test("a poll begins where the one before began, not where it ended")
    func longPoll() {
        var consumer = following()
        _ = consumer.tick(now: seconds(25))
        _ = consumer.receive(.entry(entry("bob"), bob, changed: 1_000_500_000), now: seconds(70))
        _ = consumer.receive(.result(.success), now: seconds(85))
        let next = consumer.tick(now: seconds(100))
        #expect(next == [.search(.changed(since: .modifyTimestamp(1_000_500_000 - 60_000 - 120_000)))])
    }

    @Test("numbers are asked for from where the search before the last has come to")
    func numbers() {
        var consumer = following(.updateSequenceNumber, latest: 40)
        let first = consumer.tick(now: seconds(25))
        #expect(first == [.search(.everything)])
        _ = consumer.receive(.entry(entry("bob"), bob, changed: 45), now: seconds(26))
        _ = consumer.receive(.result(.success), now: seconds(26))
        let second = consumer.tick(now: seconds(41))
        #expect(second == [.search(.changed(since: .updateSequenceNumber(41)))])
        _ = consumer.receive(.result(.success), now: seconds(42))
        let third = consumer.tick(now: seconds(57))
        #expect(third == [.search(.changed(since: .updateSequenceNumber(46)))])
    }

    @Test("every ten minutes it is seen who is there")
    func sweep() {
        var consumer = following()
        let sweep = consumer.tick(now: seconds(600))
        #expect(sweep == [.search(.identifiers)])
        let found = consumer.receive(.identifier(bob), now: seconds(601))
        let end = consumer.receive(.result(.success), now: seconds(602))
        #expect(found.isEmpty && end == [.refreshed(RefreshEnd(there: [bob]))])
        let poll = consumer.tick(now: seconds(617))
        #expect(poll != [.search(.identifiers)])
    }

    @Test("once a day everything is read anew")
    func readAnew() {
        var consumer = following()
        let effects = consumer.tick(now: seconds(24 * 3_600))
        #expect(effects == [.search(.everything)])
    }

    @Test("a search that fails, or is cut off, has removed nobody", arguments: [true, false])
    func failure(fails: Bool) {
        var consumer = following()
        _ = consumer.tick(now: seconds(600))
        _ = consumer.receive(.identifier(bob), now: seconds(601))
        if fails {
            let effects = consumer.receive(.result(.sizeLimitExceeded), now: seconds(602))
            #expect(effects == [.failed(.result(.sizeLimitExceeded))])
        } else {
            consumer.disconnected()
        }
        let late = consumer.receive(.result(.success), now: seconds(603))
        #expect(late.isEmpty && !consumer.isLive && consumer.due == nil)
        let again = consumer.connected(to: "a", now: seconds(610))
        #expect(again == [.search(.identifiers)])
    }

    @Test("another server is read from the beginning: what one counts means nothing to it")
    func otherServer() {
        var consumer = following()
        consumer.disconnected()
        let effects = consumer.connected(to: "b", now: seconds(30))
        #expect(effects == [.search(.everything)])
    }

    @Test("where nobody tells when entries were changed, everything is read every ten minutes")
    func withoutTimes() {
        var consumer = following(latest: nil)
        #expect(consumer.due == seconds(610))
        let effects = consumer.tick(now: seconds(610))
        #expect(effects == [.search(.everything)])
    }

    @Test("entries of a search are counted up to a limit")
    func limit() {
        var settings = PollingConsumer.Settings()
        settings.entriesMax = 1
        var consumer = PollingConsumer(settings)
        _ = consumer.connected(to: "a", now: start)
        let first = consumer.receive(.entry(entry("alice"), alice, changed: nil), now: start)
        let second = consumer.receive(.entry(entry("bob"), bob, changed: nil), now: start)
        #expect(first.count == 1 && second == [.failed(.tooManyEntries)])
    }
}

@Suite("Following a directory by persistent search")
struct PersistentSearchConsumerTests {
    private let alice = EntryUUID.number(1)
    private let bob = EntryUUID.number(2)
    private let now = NIODeadline.uptimeNanoseconds(1_000_000_000)
    private func entry(_ name: String) -> LDAPEntry { LDAPEntry("uid=\(name),dc=example") }

    private func connected() -> PersistentSearchConsumer {
        var consumer = PersistentSearchConsumer()
        _ = consumer.connected()
        return consumer
    }

    @Test("changes are listened to before everything is read")
    func order() {
        var consumer = PersistentSearchConsumer()
        let effects = consumer.connected()
        #expect(effects == [.search(.persistentSearch), .search(.persistentSearchOfOthers), .search(.everything)])
        _ = consumer.receive(.entry(entry("alice"), alice), now: now)
        let end = consumer.receive(.result(.success), now: now)
        #expect(end == [.refreshed(RefreshEnd(there: [alice]))] && consumer.isLive)
    }

    @Test("what changed during the reading is newer than what the reading finds")
    func newer() {
        var consumer = connected()
        let changed = consumer.receive(.change(entry("alice-new"), alice, isDeletion: false), now: now)
        #expect(changed == [.change(.entry(alice, entry("alice-new")))])
        let deleted = consumer.receive(.change(entry("bob"), bob, isDeletion: true), now: now)
        #expect(deleted == [.change(.gone(bob))])
        let found = consumer.receive(.entry(entry("alice-old"), alice), now: now) + consumer.receive(.entry(entry("bob"), bob), now: now)
        #expect(found.isEmpty)
        let end = consumer.receive(.result(.success), now: now)
        #expect(end == [.refreshed(RefreshEnd(there: [alice]))])
    }

    @Test("a deleted entry without a UUID goes by its name")
    func byName() {
        var consumer = connected()
        _ = consumer.receive(.result(.success), now: now)
        let effects = consumer.receive(.change(entry("bob"), nil, isDeletion: true), now: now)
        #expect(effects == [.change(.goneNamed("uid=bob,dc=example"))])
        let nothing = consumer.receive(.change(entry("bob"), nil, isDeletion: false), now: now)
        #expect(nothing.isEmpty)
    }

    @Test("a sweep every ten minutes finds who is not looked for any more")
    func sweep() {
        var consumer = connected()
        _ = consumer.receive(.result(.success), now: now)
        let early = consumer.tick(now: now + .seconds(599))
        let due = consumer.tick(now: now + .seconds(600))
        #expect(early.isEmpty && due == [.search(.identifiers)])
        _ = consumer.receive(.identifier(alice), now: now)
        let end = consumer.receive(.result(.success), now: now)
        #expect(end == [.refreshed(RefreshEnd(there: [alice]))])
    }

    @Test("a change of an entry that is not looked for asks for a sweep at once, one after the other, and not more often than the directory can bear")
    func sweepAtOnce() {
        var consumer = connected()
        let during = consumer.receive(.otherChange, now: now)
        #expect(during.isEmpty)
        _ = consumer.receive(.result(.success), now: now)
        // The reading may have found the entry as it was.
        #expect(consumer.due == now + .seconds(1))
        let first = consumer.tick(now: now + .seconds(1))
        #expect(first == [.search(.identifiers)])
        _ = consumer.receive(.otherChange, now: now + .seconds(2))
        _ = consumer.receive(.result(.success), now: now + .seconds(3))
        #expect(consumer.due == now + .seconds(3) + .seconds(8))
        let second = consumer.tick(now: now + .seconds(11))
        #expect(second == [.search(.identifiers)])
        _ = consumer.receive(.result(.success), now: now + .seconds(11))
        #expect(consumer.due == now + .seconds(611))
        // After a long while of quiet it is due at once.
        _ = consumer.receive(.otherChange, now: now + .seconds(500))
        #expect(consumer.due == now + .seconds(12))
    }

    @Test("a search that ends, or a connection that is cut, has removed nobody, and everything is read again")
    func failure() {
        for message in [PersistentSearchMessage.changesEnded(.success), .result(.busy)] {
            var consumer = connected()
            _ = consumer.receive(.entry(entry("alice"), alice), now: now)
            let effects = consumer.receive(message, now: now)
            #expect(effects == [.failed(message == .result(.busy) ? .result(.busy) : .endedEarly)])
            let late = consumer.receive(.result(.success), now: now)
            #expect(late.isEmpty && !consumer.isLive)
            let again = consumer.connected()
            #expect(again == [.search(.persistentSearch), .search(.persistentSearchOfOthers), .search(.everything)])
        }
    }
}

@Suite("How changes are found out")
struct ChangeDetectionTests {
    @Test("is the best that the server offers")
    func choice() {
        let (sync, persistent, notification) = ("1.3.6.1.4.1.4203.1.9.1.1", "2.16.840.1.113730.3.4.3", "1.2.840.113556.1.4.528")
        #expect(ChangeDetection(supportedControls: [persistent, sync]) == .contentSync)
        #expect(ChangeDetection(supportedControls: [persistent]) == .persistentSearch)
        #expect(ChangeDetection(supportedControls: [notification]) == .polling(.updateSequenceNumber))
        #expect(ChangeDetection(supportedControls: ["1.2.840.113556.1.4.319"]) == .polling(.modifyTimestamp))
    }
}
