import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

@Suite("XEP-0191 Blocking Command")
struct BlockingTests {
    private let server = TestServer()

    private func block(_ addresses: String...) -> String {
        let items = addresses.map { "<item jid='\($0)'/>" }.joined()
        return "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>\(items)</block></iq>"
    }

    @Test("the list is empty at first and shows what was blocked (§3.2)")
    func list() {
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='l1'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        #expect(juliet.received() == [
            "<iq type='result' id='l1' to='juliet@capulet.example/balcony'><blocklist xmlns='urn:xmpp:blocking'/></iq>"
        ])
        juliet.send(block("Romeo@montague.example"))
        juliet.forget()
        juliet.send("<iq type='get' id='l2'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        #expect(juliet.received() == [
            """
            <iq type='result' id='l2' to='juliet@capulet.example/balcony'>\
            <blocklist xmlns='urn:xmpp:blocking'><item jid='romeo@montague.example'/></blocklist></iq>
            """
        ])
    }

    @Test("changes are pushed to the sessions that asked for the list, and to no others (§3.3)")
    func pushes() {
        let balcony = server.online("juliet/balcony")
        let chamber = server.online("juliet/chamber")
        chamber.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        balcony.forget()
        chamber.forget()
        balcony.send(block("romeo@montague.example"))
        #expect(balcony.received() == ["<iq type='result' id='b' to='juliet@capulet.example/balcony'/>"])
        let push = chamber.received()
        #expect(push.count == 1)
        #expect(push.first?.child("block")?.firstChild?.attribute("jid") == "romeo@montague.example")
    }

    @Test("a blocked sender is answered as if nobody were there, whatever he sends (§3.3)")
    func received() {
        server.befriend("juliet", "romeo")
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        juliet.send(block("romeo@capulet.example"))
        juliet.forget()
        romeo.forget()
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>one</body></message>")
        romeo.send("<message to='juliet@capulet.example/balcony' type='error' id='m2'/>")
        romeo.send("<iq to='juliet@capulet.example/balcony' type='get' id='q1'><ping xmlns='urn:xmpp:ping'/></iq>")
        romeo.send("<iq to='juliet@capulet.example' type='get' id='q2'><ping xmlns='urn:xmpp:ping'/></iq>")
        romeo.send("<iq to='juliet@capulet.example' type='get' id='q3'><query xmlns='jabber:iq:last'/></iq>")
        romeo.send("<iq to='juliet@capulet.example/balcony' type='result' id='q4'/>")
        romeo.send("<presence to='juliet@capulet.example/balcony'/>")
        romeo.send("<presence type='subscribe' to='juliet@capulet.example'/>")
        #expect(romeo.received().map { "\($0.id ?? "") \($0.error ?? "")" } == [
            "m1 cancel/service-unavailable", "q1 cancel/service-unavailable", "q2 cancel/service-unavailable",
            "q3 cancel/service-unavailable",
        ])
        #expect(juliet.received() == [])
    }

    @Test("what goes to somebody blocked is refused and says why (§3.3)")
    func sent() {
        let juliet = server.online("juliet/balcony")
        juliet.send(block("montague.example"))
        juliet.forget()
        juliet.send("<message to='romeo@montague.example' id='m1'><body>one</body></message>")
        juliet.send("<iq to='romeo@montague.example/orchard' type='get' id='q1'><ping xmlns='urn:xmpp:ping'/></iq>")
        juliet.send("<iq to='romeo@montague.example/orchard' type='result' id='q2'/>")
        let answers = juliet.received()
        #expect(answers.map { "\($0.id ?? "") \($0.error ?? "")" } == ["m1 cancel/not-acceptable", "q1 cancel/not-acceptable"])
        #expect(answers.allSatisfy { $0.child("error")?.hasChild("blocked", "urn:xmpp:blocking:errors") == true })
    }

    @Test("a subscriber who is blocked sees the account go, and come back when he is unblocked (§3.3, §3.4)")
    func presence() {
        server.befriend("juliet", "romeo")
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        romeo.forget()
        juliet.send(block("romeo@capulet.example"))
        #expect(romeo.received() == ["<presence type='unavailable' from='juliet@capulet.example/balcony' to='romeo@capulet.example'/>"])
        juliet.send("<presence><show>away</show></presence>")
        #expect(romeo.received() == [])
        juliet.send("<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>")
        #expect(romeo.received() == [
            "<presence from='juliet@capulet.example/balcony' to='romeo@capulet.example'><show>away</show></presence>"
        ])
    }

    @Test("directed presence to somebody ends when he is blocked")
    func directedPresence() {
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        juliet.send("<presence to='romeo@capulet.example/orchard'/>")
        romeo.forget()
        juliet.send(block("romeo@capulet.example"))
        #expect(romeo.received() == [
            "<presence type='unavailable' from='juliet@capulet.example/balcony' to='romeo@capulet.example/orchard'/>"
        ])
        juliet.disconnect()
        #expect(romeo.received() == [])
    }

    @Test("an account that blocks itself or its own server does itself no harm")
    func ownServer() {
        let balcony = server.online("juliet/balcony")
        let chamber = server.online("juliet/chamber")
        balcony.send(block("juliet@capulet.example", "capulet.example"))
        balcony.forget()
        chamber.forget()
        balcony.send("<message to='juliet@capulet.example/chamber' type='chat' id='m1'><body>one</body></message>")
        #expect(chamber.received().map(\.id) == ["m1"])
        balcony.send("<iq to='capulet.example' type='get' id='p1'><ping xmlns='urn:xmpp:ping'/></iq>")
        #expect(balcony.received() == ["<iq type='result' id='p1' from='capulet.example' to='juliet@capulet.example/balcony'/>"])
    }

    @Test("the list outlives the sessions, and works for an account that is offline")
    func offline() {
        let juliet = server.online("juliet/balcony")
        juliet.send(block("romeo@capulet.example"))
        juliet.disconnect()
        server.router.forget(server.address("juliet"))
        let romeo = server.online("romeo/orchard")
        romeo.send("<message to='juliet@capulet.example' type='chat' id='m1'><body>one</body></message>")
        #expect(romeo.received().map(\.error) == ["cancel/service-unavailable"])
        let later = server.online("juliet/balcony")
        #expect(later.received() == [])
    }

    @Test("a request with a malformed address blocks nothing, one without items is a bad request (§3.3)")
    func malformed() {
        let juliet = server.online("juliet/balcony")
        juliet.send(block("tybalt@capulet.example", "@"))
        juliet.send(block())
        #expect(juliet.received().map(\.error) == ["modify/jid-malformed", "modify/bad-request"])
        juliet.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        #expect(juliet.received().first?.child("blocklist")?.firstChild == nil)
    }

    @Test("the list has a limit")
    func limit() {
        var limits = HostLimits()
        limits.blockedMax = 2
        let server = TestServer(limits: limits)
        let juliet = server.online("juliet/balcony")
        juliet.send(block("a@montague.example", "b@montague.example"))
        juliet.send(block("b@montague.example", "c@montague.example"))
        #expect(juliet.received().map(\.error) == [nil, "wait/resource-constraint"])
    }

    @Test("an address that a request names twice counts once, and thousands are told apart in no time", .timeLimit(.minutes(1)))
    func manyItems() {
        let server = TestServer()
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        juliet.forget()
        juliet.send(block("a@montague.example", "A@montague.example"))
        let push = juliet.received().first { $0.child("block") != nil }
        #expect(push?.child("block").map { Array($0.children).count } == 1)
        let items = (0..<8_000).map { "<item jid='\($0)@x'/>" }.joined()
        juliet.send("<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'>\(items)</unblock></iq>")
        #expect(juliet.received().first?.error == nil)
    }

    @Test("what the disk refuses is not blocked")
    func refusedByDisk() {
        let juliet = server.online("juliet/balcony")
        server.store.failSubmits(with: .full, next: 1)
        juliet.send(block("romeo@capulet.example"))
        #expect(juliet.received().map(\.error) == ["wait/resource-constraint"])
        juliet.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        #expect(juliet.received().first?.child("blocklist")?.firstChild == nil)
    }
}
