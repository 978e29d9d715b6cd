import MartletCore
import MartletDirectory
import MartletLDAP
import NIOCore
import Synchronization
import Testing

/// A connection that says what it was told to, search by search, and then is lost. A lock, because the follower is wherever it likes.
private final class ScriptedConnection: FeedConnection {
    let server = "ldap://one"
    private let answers: Mutex<[[FeedMessage]]>
    private let asked = Mutex<[FeedSearch]>([])
    private let closed = Mutex(false)

    /// - Parameter answers: of the searches in order; an empty one lets the time pass until something is due.
    init(_ answers: [[FeedMessage]]) { self.answers = Mutex(answers) }

    var searches: [FeedSearch] { asked.withLock { $0 } }
    var isClosed: Bool { closed.withLock { $0 } }

    func begin(_ search: FeedSearch) async { asked.withLock { $0.append(search) } }
    func messages(until deadline: NIODeadline?) async -> [FeedMessage]? { answers.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
    func close() async { closed.withLock { $0 = true } }
}

@Suite("Following a directory on a connection")
struct FeedFollowerTests {
    private let alice = EntryUUID.number(1)
    private let entry = person("alice")

    private func follow(_ connection: ScriptedConnection, _ consumer: inout FeedConsumer, _ directory: PeopleDirectory, stops: Bool = false) async -> FeedFollower.End {
        let end = await FeedFollower(time: StoppedClock(0)).follow(connection, with: &consumer) { effects, isLive in
            _ = directory.take(effects, isLive: isLive)
            return !(stops && isLive)
        }
        if end != .stopped { directory.contactLost() }
        return end
    }

    @Test("people are known when the refresh is complete, and their contact is lost with the connection")
    func contentSync() async {
        let directory = PeopleDirectory(mirroredPeople(), time: StoppedClock(7))
        var consumer = FeedConsumer(.contentSync)
        let cut = ScriptedConnection([[.sync(.entry(entry, .add, alice))]])
        let end = await follow(cut, &consumer, directory)
        #expect(end == .connectionLost)
        #expect(directory.contact == .neverLoaded && directory.count == 0)
        let whole = ScriptedConnection([[.sync(.entry(entry, .add, alice))], [.sync(.refreshDelete(cookie: [3]))]])
        let second = await follow(whole, &consumer, directory)
        #expect(second == .connectionLost)
        #expect(directory.contact == .lost(since: 7) && directory.count == 1 && directory.cookie == [3])
        let again = ScriptedConnection([])
        _ = await follow(again, &consumer, directory)
        #expect(whole.searches == [.contentSync(cookie: nil)] && again.searches == [.contentSync(cookie: [3])])
    }

    @Test("a search that must begin anew does so on the same connection, and a fault closes it")
    func fault() async {
        let directory = PeopleDirectory(mirroredPeople(), time: StoppedClock(7))
        var consumer = FeedConsumer(.contentSync, cookie: [1])
        let connection = ScriptedConnection([[.sync(.result(.syncRefreshRequired))], [.sync(.result(.busy))], [.sync(.newCookie([2]))]])
        let end = await follow(connection, &consumer, directory)
        #expect(end == .fault(.result(.busy)))
        #expect(connection.searches == [.contentSync(cookie: [1]), .contentSync(cookie: nil)] && connection.isClosed)
    }

    @Test("whoever takes the effects may stop it, and have everything read anew")
    func stopped() async {
        let directory = PeopleDirectory(mirroredPeople(), time: StoppedClock(7))
        var consumer = FeedConsumer(.contentSync)
        let connection = ScriptedConnection([[.sync(.refreshDelete(cookie: [3]))]])
        let end = await follow(connection, &consumer, directory, stops: true)
        #expect(end == .stopped)
        #expect(connection.isClosed && directory.contact == .live)
        consumer.readAnew()
        let again = ScriptedConnection([])
        _ = await follow(again, &consumer, directory)
        #expect(again.searches == [.contentSync(cookie: nil)])
    }

    @Test("the other ways to follow are the same to whoever takes the effects")
    func otherWays() async {
        let ways: [(ChangeDetection, [[FeedMessage]], [FeedSearch])] = [
            (.persistentSearch, [[.persistent(.entry(entry, alice))], [.persistent(.result(.success))]], [.persistentSearch, .persistentSearchOfOthers, .everything]),
            (.polling(.modifyTimestamp), [[.polled(.entry(entry, alice, changed: 1))], [.polled(.result(.success))], []], [.everything]),
        ]
        for (way, answers, searches) in ways {
            let directory = PeopleDirectory(mirroredPeople(), time: StoppedClock(7))
            var consumer = FeedConsumer(way)
            let connection = ScriptedConnection(answers)
            let end = await follow(connection, &consumer, directory)
            #expect(end == .connectionLost)
            #expect(connection.searches == searches && directory.count == 1)
        }
    }

    @Test("a way to follow is one way only")
    func ways() {
        let ways: [ChangeDetection] = [.contentSync, .persistentSearch, .polling(.modifyTimestamp), .polling(.updateSequenceNumber)]
        for way in ways { #expect(ways.filter { FeedConsumer(way).follows(by: $0) } == [way]) }
    }
}
