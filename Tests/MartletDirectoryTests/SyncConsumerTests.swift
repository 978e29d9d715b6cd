import MartletCore
import MartletDirectory
import MartletLDAP
import Testing

@Suite("Following a directory by content synchronization (RFC 4533)")
struct SyncConsumerTests {
    private let alice = EntryUUID.number(1)
    private let bob = EntryUUID.number(2)
    private let carol = EntryUUID.number(3)
    private func entry(_ name: String) -> LDAPEntry { LDAPEntry("uid=\(name),dc=example", [LDAPAttribute("uid", name)]) }

    /// Connected, and the refresh of an empty directory done.
    private func persisting(cookie: [UInt8] = [1]) -> SyncConsumer {
        var consumer = SyncConsumer()
        _ = consumer.connected()
        _ = consumer.receive(.refreshDelete(cookie: cookie))
        return consumer
    }

    private func refreshing(from cookie: [UInt8]?) -> SyncConsumer {
        var consumer = SyncConsumer(cookie: cookie)
        _ = consumer.connected()
        return consumer
    }

    @Test("a search begins where the last cookie says")
    func search() {
        var consumer = SyncConsumer()
        let first = consumer.connected()
        #expect(first == [.search(.contentSync(cookie: nil))])
        _ = consumer.receive(.refreshDelete(cookie: [7]))
        consumer.disconnected()
        let second = consumer.connected()
        #expect(second == [.search(.contentSync(cookie: [7]))])
    }

    @Test("entries of a refresh count at once, its end and its cookie when it is complete (§3.3)")
    func initialContent() {
        var consumer = refreshing(from: nil)
        let added = consumer.receive(.entry(entry("alice"), .add, alice))
        #expect(added == [.change(.entry(alice, entry("alice")))])
        let cookie = consumer.receive(.newCookie([1]))
        #expect(cookie.isEmpty && consumer.cookie == nil && !consumer.isLive)
        let end = consumer.receive(.refreshDelete(cookie: [2]))
        #expect(end == [.refreshed(RefreshEnd(there: [alice])), .keepCookie([2])])
        #expect(consumer.cookie == [2] && consumer.isLive)
    }

    @Test("without a cookie whatever is not mentioned is gone, however the refresh ends: what is mirrored may be older", arguments: [true, false])
    func fromTheStart(ends: Bool) {
        var consumer = refreshing(from: nil)
        _ = consumer.receive(.entry(entry("alice"), .add, alice))
        let end = consumer.receive(ends ? .refreshDelete() : .refreshPresent())
        #expect(end == [.refreshed(RefreshEnd(there: [alice]))])
    }

    @Test("a delete phase removes what it names and nothing else (§3.3.2)")
    func deletePhase() {
        var consumer = refreshing(from: [1])
        var effects = consumer.receive(.identifiers([bob], areGone: true))
        effects += consumer.receive(.entry(entry("carol"), .delete, carol))
        effects += consumer.receive(.entry(entry("alice"), .add, alice))
        #expect(effects == [.change(.entry(alice, entry("alice")))])
        let end = consumer.receive(.refreshDelete(cookie: [2]))
        #expect(end == [.refreshed(RefreshEnd(gone: [bob, carol])), .keepCookie([2])])
    }

    @Test("a present phase removes what it does not mention (§3.3.1)")
    func presentPhase() {
        var consumer = refreshing(from: [1])
        _ = consumer.receive(.entry(entry("alice"), .present, alice))
        _ = consumer.receive(.identifiers([bob], areGone: false))
        let end = consumer.receive(.refreshPresent(cookie: [2]))
        #expect(end == [.refreshed(RefreshEnd(there: [alice, bob])), .keepCookie([2])])
    }

    @Test("a present phase may be followed by a delete phase; both count when the refresh is done")
    func bothPhases() {
        var consumer = refreshing(from: [1])
        _ = consumer.receive(.identifiers([alice, bob], areGone: false))
        let between = consumer.receive(.refreshPresent(cookie: [2], isDone: false))
        #expect(between.isEmpty && consumer.cookie == [1])
        _ = consumer.receive(.identifiers([bob], areGone: true))
        let end = consumer.receive(.refreshDelete(cookie: [3]))
        #expect(end == [.refreshed(RefreshEnd(gone: [bob], there: [alice])), .keepCookie([3])])
    }

    @Test("an entry that a refresh first removes and then adds is there")
    func removedAndAdded() {
        var consumer = refreshing(from: [1])
        _ = consumer.receive(.identifiers([alice], areGone: true))
        _ = consumer.receive(.entry(entry("alice"), .add, alice))
        let end = consumer.receive(.refreshDelete(cookie: [2]))
        #expect(end == [.refreshed(RefreshEnd()), .keepCookie([2])])
    }

    @Test("a connection that is cut in a refresh has removed nobody, and the next refresh begins where this one began", arguments: 0...4)
    func cut(after count: Int) {
        var consumer = refreshing(from: [1])
        let messages: [SyncMessage] = [
            .newCookie([2]), .identifiers([bob], areGone: true, cookie: [3]), .refreshPresent(cookie: [4], isDone: false),
            .entry(entry("alice"), .add, alice, cookie: [5]),
        ]
        var effects: [FeedEffect] = []
        for message in messages.prefix(count) { effects += consumer.receive(message) }
        consumer.disconnected()
        let removes = effects.contains { if case .change(.entry) = $0 { false } else { true } }
        #expect(!removes)
        let again = consumer.connected()
        #expect(again == [.search(.contentSync(cookie: [1]))])
    }

    @Test("what comes after the connection is lost is not taken")
    func late() {
        var consumer = refreshing(from: [1])
        consumer.disconnected()
        let effects = consumer.receive(.refreshPresent(cookie: [2]))
        #expect(effects.isEmpty && consumer.cookie == [1])
    }

    @Test("after the refresh changes are told of as they happen, and each cookie is kept after what it stands for (§3.4.2)")
    func persist() {
        var consumer = persisting()
        var effects = consumer.receive(.entry(entry("alice"), .modify, alice, cookie: [2]))
        effects += consumer.receive(.entry(entry("bob"), .delete, bob, cookie: [3]))
        effects += consumer.receive(.identifiers([carol], areGone: true, cookie: [4]))
        effects += consumer.receive(.newCookie([5]))
        effects += consumer.receive(.entry(entry("bob"), .present, bob))
        let expected: [FeedEffect] = [
            .change(.entry(alice, entry("alice"))), .keepCookie([2]), .change(.gone(bob)), .keepCookie([3]), .change(.gone(carol)), .keepCookie([4]),
            .keepCookie([5]),
        ]
        #expect(effects == expected)
    }

    @Test("e-syncRefreshRequired starts from the beginning, in either stage (§2.6)", arguments: [true, false])
    func refreshRequired(persists: Bool) {
        var consumer = persists ? persisting() : refreshing(from: [1])
        let effects = consumer.receive(.result(.syncRefreshRequired))
        #expect(effects == [.search(.contentSync(cookie: nil))])
        #expect(consumer.cookie == nil && !consumer.isLive)
        _ = consumer.receive(.entry(entry("alice"), .add, alice))
        let end = consumer.receive(.refreshDelete(cookie: [9]))
        #expect(end == [.refreshed(RefreshEnd(there: [alice])), .keepCookie([9])])
    }

    @Test("a server that asks for a beginning at the beginning is not asked again and again")
    func refreshRequiredAtStart() {
        var consumer = refreshing(from: nil)
        let effects = consumer.receive(.result(.syncRefreshRequired))
        #expect(effects == [.failed(.result(.syncRefreshRequired))])
    }

    @Test("a cookie that the server takes for newer than itself is given up; without a cookie its refusal is one")
    func newerThanServer() {
        var (consumer, beginner) = (refreshing(from: [1]), refreshing(from: nil))
        let effects = consumer.receive(.result(.unwillingToPerform))
        #expect(effects == [.search(.contentSync(cookie: nil))])
        #expect(consumer.cookie == nil && !consumer.isLive)
        let refused = beginner.receive(.result(.unwillingToPerform))
        #expect(refused == [.failed(.result(.unwillingToPerform))])
    }

    @Test("a search that ends with a Sync Done Control was a refresh (§2.4)", arguments: [true, false])
    func done(refreshDeletes: Bool) {
        var consumer = refreshing(from: [1])
        _ = consumer.receive(.entry(entry("alice"), .add, alice))
        let end = consumer.receive(.result(.success, done: SyncDone(cookie: [2], refreshDeletes: refreshDeletes)))
        #expect(end == [.refreshed(RefreshEnd(there: refreshDeletes ? nil : [alice])), .keepCookie([2])])
        #expect(!consumer.isLive)
    }

    @Test("a search that ends otherwise has removed nobody", arguments: [LDAPResultCode.success, .sizeLimitExceeded, .unavailable, .busy])
    func endedEarly(code: LDAPResultCode) {
        for start in [refreshing(from: nil), persisting()] {
            var consumer = start
            let effects = consumer.receive(.result(code))
            #expect(effects == [.failed(code == .success ? .endedEarly : .result(code))])
            #expect(!consumer.isLive)
        }
    }

    @Test("a cookie that was too long to keep, and a refresh of too many entries, are noticed at the limit")
    func limits() {
        var consumer = persisting()
        let longest = [UInt8](repeating: 1, count: FeedLimits.cookieBytesMax)
        let kept = consumer.receive(.newCookie(longest))
        let refused = consumer.receive(.newCookie(longest + [1]))
        #expect(kept == [.keepCookie(longest)] && refused.isEmpty)
        var bounded = SyncConsumer(entriesMax: 2)
        _ = bounded.connected()
        let full = bounded.receive(.identifiers([alice, bob], areGone: false))
        let over = bounded.receive(.entry(entry("carol"), .add, carol))
        #expect(full.isEmpty && over == [.failed(.tooManyEntries)])
    }

    /// Every step may be the last one of a connection: the server's changes go on meanwhile.
    @Test("whatever happens to the connection, in the end the mirror is what the directory is", arguments: 0..<40)
    func histories(seed: Int) {
        var random = SeededNumbers(seed: UInt64(seed))
        var directory = ScriptedDirectory()
        directory.refusesOldCookies = seed % 3 == 0
        directory.logLength = seed % 5 * 4
        var consumer = SyncConsumer()
        var mirror = PlainMirror()
        for _ in 0..<60 {
            changeSomething(&directory, &random) { _ in }
            connect(&consumer, directory, &mirror, cutAfter: Bool.random(using: &random) ? Int.random(in: 0..<12, using: &random) : nil)
            if consumer.isLive {
                #expect(mirror.entries == directory.entries)
                changeSomething(&directory, &random) { mirror.apply(consumer.receive($0)) }
                #expect(mirror.entries == directory.entries)
            }
            consumer.disconnected()
        }
        connect(&consumer, directory, &mirror, cutAfter: nil)
        #expect(mirror.entries == directory.entries)
    }

    private func changeSomething(_ directory: inout ScriptedDirectory, _ random: inout SeededNumbers, _ told: (SyncMessage) -> Void) {
        for _ in 0..<Int.random(in: 0..<6, using: &random) {
            let uuid = EntryUUID.number(Int.random(in: 0..<20, using: &random))
            if Int.random(in: 0..<3, using: &random) == 0 {
                if let message = directory.delete(uuid) { told(message) }
            } else {
                told(directory.write(uuid, entry("person-\(Int.random(in: 0..<1_000, using: &random))")))
            }
        }
    }

    /// A refresh, complete or cut; while it is not complete nobody who is in the directory goes.
    private func connect(_ consumer: inout SyncConsumer, _ directory: ScriptedDirectory, _ mirror: inout PlainMirror, cutAfter cut: Int?) {
        var effects = consumer.connected()
        var rest = cut ?? .max
        while let cookie = effects.asked {
            effects = []
            for message in directory.refresh(from: cookie) {
                guard rest > 0 else { return }
                rest -= 1
                let before = Set(mirror.entries.keys)
                let now = consumer.receive(message)
                mirror.apply(now)
                effects += now
                if !consumer.isLive { #expect(before.isSubset(of: mirror.entries.keys)) }
            }
        }
        #expect(consumer.isLive)
    }
}

extension [FeedEffect] {
    /// The cookie of a search for content synchronization that is among them.
    fileprivate var asked: [UInt8]?? {
        for case .search(.contentSync(let cookie)) in self { return .some(cookie) }
        return nil
    }
}
