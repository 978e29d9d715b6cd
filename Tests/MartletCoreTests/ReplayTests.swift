import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("Messages that waited are delivered in order, at least once (P2, P5)")
struct ReplayTests {
    private func server(page: Int = 3, outboundBytesMax: Int = 4 << 20) -> TestServer {
        var settings = RouterSettings()
        settings.replayPage = page
        settings.outboundBytesMax = outboundBytesMax
        let server = TestServer(settings: settings, commits: .manual)
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        return server
    }

    private func commit(_ server: TestServer) {
        server.store.commit()
        server.run()
    }

    private func write(_ ids: ClosedRange<Int>, _ romeo: TestClient) {
        for id in ids { romeo.send("<message to='juliet@capulet.example' type='chat' id='m\(id)'><body>b</body></message>") }
    }

    private func ids(_ client: TestClient) -> [String] { client.receivedBesidesPresence().map { $0.id ?? "" } }
    private func names(_ ids: ClosedRange<Int>) -> [String] { ids.map { "m\($0)" } }

    /// Shows that the client lives, and that it has read everything.
    private func acknowledge(_ client: TestClient, _ server: TestServer) {
        client.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        commit(server)
        client.forget()
    }

    @Test("pages end where they end: before, at and after the last message", arguments: 1...7)
    func pages(count: Int) {
        let server = server()
        let romeo = server.online("romeo/orchard")
        write(1...count, romeo)
        commit(server)
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence/>")
        #expect(ids(juliet) == names(1...count))
        acknowledge(juliet, server)
        juliet.disconnect()
        commit(server)
        let again = server.client("juliet/balcony")
        again.send("<presence/>")
        #expect(ids(again) == [])
    }

    @Test("what is not yet on disk is replayed too, and what comes during a replay follows it")
    func live() {
        let server = server()
        let romeo = server.online("romeo/orchard")
        write(1...5, romeo)
        let juliet = server.client("juliet/balcony")
        juliet.send("<presence/>")
        #expect(ids(juliet) == [])
        commit(server)
        #expect(ids(juliet) == names(1...5))
        acknowledge(juliet, server)
        juliet.send("<presence type='unavailable'/>")
        commit(server)
        write(6...8, romeo)
        juliet.send("<presence/>")
        write(9...12, romeo)
        commit(server)
        #expect(ids(juliet) == names(6...12))
    }

    @Test("a session that dies during a replay took delivery of nothing; what came meanwhile waits behind")
    func death() {
        let server = server()
        let romeo = server.online("romeo/orchard")
        write(1...5, romeo)
        commit(server)
        let juliet = server.client("juliet/balcony")
        server.store.submit([.idCeiling(1)])
        juliet.send("<presence/>")
        write(6...7, romeo)
        juliet.disconnect()
        commit(server)
        #expect(ids(juliet) == [])
        let again = server.client("juliet/chamber")
        again.send("<presence/>")
        #expect(ids(again) == names(1...7))
    }

    @Test("a session that is replaced during a replay leaves everything to its successor")
    func replacement() {
        let server = server()
        let romeo = server.online("romeo/orchard")
        write(1...5, romeo)
        commit(server)
        let juliet = server.client("juliet/balcony")
        server.store.submit([.idCeiling(1)])
        juliet.send("<presence/>")
        write(6...7, romeo)
        let successor = server.client("juliet/balcony")
        #expect(juliet.closing?.condition == .conflict)
        write(8...8, romeo)
        commit(server)
        successor.send("<presence/>")
        #expect(ids(successor) == names(1...8))
    }

    @Test("what one session did not live to acknowledge goes to another that is there, before what comes later")
    func takeover() {
        let server = server()
        let romeo = server.online("romeo/orchard")
        write(1...5, romeo)
        commit(server)
        let balcony = server.client("juliet/balcony")
        balcony.send("<presence/>")
        #expect(ids(balcony) == names(1...5))
        let chamber = server.client("juliet/chamber")
        chamber.send("<presence/>")
        #expect(ids(chamber) == [])
        balcony.disconnect()
        write(6...6, romeo)
        commit(server)
        #expect(ids(chamber) == names(1...6))
        acknowledge(chamber, server)
        chamber.disconnect()
        commit(server)
        let again = server.client("juliet/balcony")
        again.send("<presence/>")
        #expect(ids(again) == [])
    }

    @Test("while the log cannot be read everything waits, and it comes in order when it can (P18)")
    func unreadable() {
        let server = server()
        let romeo = server.online("romeo/orchard")
        write(1...5, romeo)
        commit(server)
        let juliet = server.client("juliet/balcony")
        server.store.failReads(with: .unavailable("gone"))
        juliet.send("<presence/>")
        write(6...7, romeo)
        server.advance(by: .seconds(10))
        #expect(ids(juliet) == [])
        server.store.failReads(with: nil)
        server.advance(by: .seconds(2))
        #expect(ids(juliet) == names(1...7))
    }

    @Test("a slow client gets all that the account kept, and is ended only for what comes on top")
    func slow() {
        let server = server(page: 100, outboundBytesMax: 1_000)
        let romeo = server.online("romeo/orchard")
        write(1...50, romeo)
        commit(server)
        let juliet = server.client("juliet/balcony")
        juliet.isSlow = true
        juliet.send("<presence/>")
        #expect(!juliet.isClosed)
        #expect(ids(juliet) == names(1...50))
        write(51...70, romeo)
        #expect(juliet.closing?.condition == .resourceConstraint)
    }

    @Test("and that its connection says late how far it is behind changes nothing")
    func slowAndLate() {
        let server = server(page: 10, outboundBytesMax: 1_000)
        let romeo = server.online("romeo/orchard")
        write(1...50, romeo)
        commit(server)
        let juliet = server.client("juliet/balcony")
        juliet.isSlow = true
        juliet.reportedFrom = 5_000
        juliet.send("<presence/>")
        #expect(!juliet.isClosed)
        #expect(ids(juliet) == names(1...50))
    }

    @Test("a flood while both accounts are being loaded, and their clients are coming, keeps its order on two loops")
    func flood() {
        let server = server(page: 10)
        let second = server.addLoop()
        for name in ["nurse", "tybalt"] { server.createAccount(name) }
        let romeo = server.online("romeo/orchard")
        let tybalt = server.online("tybalt/square", on: second)
        // Nothing is read before this is settled.
        server.store.submit([.idCeiling(1)])
        func flood(_ ids: ClosedRange<Int>) {
            for id in ids {
                for account in ["juliet", "nurse"] {
                    let message = "<message to='\(account)@capulet.example' type='chat' id='m\(id)'><body>b</body></message>"
                    romeo.send(message)
                    tybalt.send(message)
                }
            }
        }
        flood(1...40)
        let juliet = server.client("juliet/balcony", on: second)
        let nurse = server.client("nurse/hall")
        flood(41...60)
        #expect(juliet.session == nil && nurse.session == nil)
        commit(server)
        flood(61...80)
        for client in [juliet, nurse] { client.send("<presence/>") }
        flood(81...100)
        commit(server)
        for client in [juliet, nurse] {
            let messages = client.receivedBesidesPresence()
            for sender in ["romeo@capulet.example/orchard", "tybalt@capulet.example/square"] {
                #expect(messages.filter { $0.element.attribute("from") == sender }.map { $0.id ?? "" } == names(1...100))
            }
        }
        #expect(romeo.received() == [] && tybalt.received() == [])
    }
}
