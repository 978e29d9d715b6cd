import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("A session whose stanzas are not finished is not read from")
struct BackPressureTests {
    private let server = TestServer(commits: .manual)
    private let limit = ClientSession.openStanzasMax

    init() { for name in ["juliet", "romeo"] { server.createAccount(name) } }

    private func commit(_ count: Int = .max) {
        server.store.commit(count)
        server.run()
    }

    private func message(_ id: Int, to: String) -> String {
        "<message to='\(to)' type='chat' id='m\(id)'><body>b</body></message>"
    }

    @Test("stanzas that only wait for the disk stop the reading at the limit, and the disk starts it again")
    func disk() {
        let romeo = server.online("romeo/orchard")
        for id in 1..<limit { romeo.send(message(id, to: "juliet@capulet.example")) }
        #expect(romeo.isReading)
        romeo.send(message(limit, to: "juliet@capulet.example"))
        #expect(!romeo.isReading)
        commit()
        #expect(romeo.isReading)
        #expect(romeo.receivedBesidesPresence() == [])
    }

    @Test("the disk that comes only part of the way starts the reading at half of the limit")
    func half() {
        let romeo = server.online("romeo/orchard")
        for id in 1...limit { romeo.send(message(id, to: "juliet@capulet.example")) }
        commit(limit / 2)
        #expect(!romeo.isReading)
        commit()
        #expect(romeo.isReading)
    }

    @Test("stanzas whose account is being loaded stop the reading, and the store starts it again")
    func loads() {
        let romeo = server.online("romeo/orchard")
        server.store.submit([.idCeiling(1)])
        for id in 1...limit { romeo.send(message(id, to: "nobody\(id % 7)@capulet.example")) }
        #expect(!romeo.isReading)
        commit()
        // His archive has them on its way to the disk.
        #expect(!romeo.isReading)
        commit()
        #expect(romeo.isReading)
        #expect(romeo.received().count == limit)
    }

    @Test("what is finished meanwhile does not let stanzas past a request that suspends (RFC 6120 §10.1)")
    func suspended() {
        let romeo = server.online("romeo/orchard")
        server.store.submit([.idCeiling(1)])
        romeo.send(message(1, to: "nobody@capulet.example"))
        server.store.submit([.idCeiling(2)])
        romeo.send("<iq type='get' id='p'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query></iq>")
        romeo.send(message(2, to: "nobody@capulet.example"))
        #expect(!romeo.isReading)
        commit(1)
        #expect(!romeo.isReading)
        #expect(romeo.received().map(\.id) == ["m1"])
        commit()
        #expect(romeo.isReading)
        #expect(romeo.received().map(\.id) == ["p", "m2"])
    }

    @Test("a transport that goes on although it was told to stop loses its stream")
    func ignored() {
        let romeo = server.online("romeo/orchard")
        server.store.submit([.idCeiling(1)])
        romeo.send("<iq type='get' id='p'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query></iq>")
        for id in 1...limit { romeo.send(message(id, to: "nobody@capulet.example")) }
        #expect(!romeo.isClosed)
        romeo.send(message(0, to: "nobody@capulet.example"))
        #expect(romeo.closing?.condition == .resourceConstraint)
    }

    @Test("deleting an account finishes what waits for its messages to be read")
    func deletion() {
        let romeo = server.online("romeo/orchard")
        romeo.send(message(0, to: "juliet@capulet.example"))
        commit()
        let juliet = server.client("juliet/balcony")
        server.store.submit([.idCeiling(1)])
        juliet.send("<presence/>")
        for id in 1...limit { romeo.send(message(id, to: "juliet@capulet.example")) }
        #expect(!romeo.isReading)
        server.router.deleteAccount(server.address("juliet"), server.context) { _ in }
        server.context.flush()
        server.run()
        commit()
        #expect(juliet.isClosed)
        #expect(romeo.isReading)
    }
}
