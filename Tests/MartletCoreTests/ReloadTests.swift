import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("What the disk refuses did not happen, and the account goes on (P7, P8, P19)")
struct ReloadTests {
    private let server = TestServer(commits: .manual)

    init() { server.befriend("juliet", "romeo") }

    private func commit(_ count: Int = .max) {
        server.store.commit(count)
        server.run()
    }

    private func rosterSet(_ jid: String) -> String { "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='\(jid)'/></query></iq>" }

    private func roster(_ client: TestClient) -> String {
        client.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
        return client.received().map(\.description).joined()
    }

    /// The account is being read anew, until the next commit, because the disk has refused a write of its.
    private func makeStale(_ client: TestClient) {
        server.store.failSubmits(with: .full, next: 1)
        client.send(rosterSet("nurse@capulet.example"))
        server.store.submit([.idCeiling(1)])
        commit(1)
        #expect(client.received().compactMap(\.error) == ["wait/resource-constraint"])
    }

    @Test("while an account is read anew its sessions hear and are heard; decisions wait, in order")
    func sessionsGoOn() {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        makeStale(juliet)
        juliet.forget()
        for id in 1...3 { romeo.send("<message to='juliet@capulet.example' type='chat' id='m\(id)'><body>b</body></message>") }
        #expect(juliet.received() == [])
        romeo.send("<presence><show>away</show></presence>")
        romeo.send("<iq to='juliet@capulet.example/balcony' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(juliet.received().map(\.element.localName) == ["presence", "iq"])
        romeo.forget()
        juliet.send("<iq to='romeo@capulet.example/orchard' type='result' id='q'/>")
        #expect(romeo.received().map(\.id) == ["q"])
        commit()
        #expect(juliet.received().map(\.id) == ["m1", "m2", "m3"])
        #expect(!roster(juliet).contains("nurse"))
    }

    @Test("the answer to a request reaches a session whose account is being read anew")
    func resultsArrive() {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        makeStale(juliet)
        juliet.forget()
        romeo.send("<iq to='juliet@capulet.example/balcony' type='result' id='q'/>")
        #expect(juliet.received().map(\.id) == ["q"])
    }

    @Test("a subscription while the account is read anew is decided by what is on disk")
    func subscription() {
        let juliet = server.online("juliet/balcony")
        makeStale(juliet)
        juliet.send("<presence to='tybalt@capulet.example' type='subscribe'/>")
        commit(1)
        commit()
        commit()
        juliet.forget()
        let items = roster(juliet)
        #expect(items.contains("tybalt") && items.contains("ask='subscribe'") && !items.contains("nurse"))
        // What the next version is called shows that memory and disk agree.
        server.store.failSubmits(with: .full, next: 1)
        juliet.send(rosterSet("nurse@capulet.example"))
        commit()
        juliet.forget()
        #expect(roster(juliet) == items)
    }

    @Test("a subscription that the disk refuses comes back, and neither side knows of it (RFC 6121 §3.1.2, P8)")
    func refusedSubscription() {
        server.createAccount("nurse")
        let juliet = server.online("juliet/balcony")
        let nurse = server.online("nurse/hall")
        server.store.failSubmits(with: .full, next: 1)
        juliet.send("<presence to='nurse@capulet.example' type='subscribe' id='s1'/>")
        commit()
        let answers = juliet.received()
        #expect(answers.map(\.error) == ["wait/resource-constraint"])
        #expect(answers.map(\.id) == ["s1"])
        #expect(nurse.received() == [])
        #expect(!roster(juliet).contains("nurse"))
        juliet.send("<presence to='nurse@capulet.example' type='subscribe' id='s2'/>")
        commit()
        commit()
        #expect(nurse.received().map(\.element.localName) == ["presence"])
    }

    @Test("a request that the contact's side cannot keep can be made again")
    func refusedByContact() {
        server.createAccount("nurse")
        let juliet = server.online("juliet/balcony")
        let nurse = server.online("nurse/hall")
        juliet.send("<presence to='nurse@capulet.example' type='subscribe'/>")
        commit(1)
        server.store.failSubmits(with: .full, next: 1)
        commit()
        #expect(nurse.received() == [])
        juliet.send("<presence to='nurse@capulet.example' type='subscribe'/>")
        commit()
        commit()
        #expect(nurse.received().map { $0.element.attribute("type") } == ["subscribe"])
    }

    @Test("somebody whom the disk refused to block is not blocked")
    func refusedBlock() {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        server.store.failSubmits(with: .full, next: 1)
        juliet.forget()
        juliet.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.example'/></block></iq>")
        commit()
        #expect(juliet.received().map(\.error) == ["wait/resource-constraint"])
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>b</body></message>")
        #expect(juliet.received().map(\.id) == ["m1"])
    }

    @Test("an account that cannot be read anew refuses to decide, keeps its sessions, and recovers (P18)")
    func unreadable() {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        server.store.failReads(with: .unavailable("gone"))
        makeStale(juliet)
        commit()
        for client in [juliet, romeo] { client.forget() }
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>b</body></message>")
        #expect(romeo.received().map(\.error) == ["wait/internal-server-error"])
        romeo.send("<presence><show>away</show></presence>")
        #expect(juliet.received().map(\.element.localName) == ["presence"])
        server.store.failReads(with: nil)
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m2'><body>b</body></message>")
        commit()
        #expect(juliet.received().map(\.id) == ["m2"])
        #expect(!juliet.isClosed)
    }

    @Test("messages that are held behind a replay survive that the account is read anew")
    func replay() {
        let romeo = server.online("romeo/orchard")
        for id in 1...2 { romeo.send("<message to='juliet@capulet.example' type='chat' id='m\(id)'><body>b</body></message>") }
        commit()
        let juliet = server.client("juliet/balcony")
        server.store.failSubmits(with: .full, next: 1)
        juliet.send(rosterSet("nurse@capulet.example"))
        server.store.submit([.idCeiling(1)])
        juliet.send("<presence/>")
        for id in 3...4 { romeo.send("<message to='juliet@capulet.example' type='chat' id='m\(id)'><body>b</body></message>") }
        commit(1)
        for id in 5...6 { romeo.send("<message to='juliet@capulet.example' type='chat' id='m\(id)'><body>b</body></message>") }
        juliet.forget()
        commit()
        #expect(juliet.receivedBesidesPresence().map(\.id) == (1...6).map { "m\($0)" })
    }

    @Test("a request to somebody on a server that cannot be reached comes back (RFC 6121 §3.1.2)")
    func unreachable() {
        let juliet = server.online("juliet/balcony")
        juliet.send("<presence to='romeo@montague.example' type='subscribe' id='s1'/>")
        commit()
        let errors = juliet.received().filter { $0.error != nil }
        #expect(errors.map(\.error) == ["cancel/remote-server-not-found"])
        #expect(errors.map(\.id) == ["s1"])
    }
}
