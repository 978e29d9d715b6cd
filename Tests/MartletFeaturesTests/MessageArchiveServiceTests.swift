import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

/// Romeo and Juliet write to each other; what their archives say afterwards.
@Suite("XEP-0313 Message Archive Management: what was said can be read again")
struct MessageArchiveServiceTests {
    private let server = TestServer()

    private func message(_ id: String, to: String = "juliet@capulet.example", _ content: String = "<body>b</body>") -> String {
        "<message to='\(to)' type='chat' id='\(id)'>\(content)</message>"
    }

    private func pair() -> (romeo: TestClient, juliet: TestClient) {
        (server.online("romeo/orchard"), server.online("juliet/balcony"))
    }

    private func form(_ fields: [(String, String)]) -> String {
        let fields = fields.map { "<field var='\($0)'><value>\($1)</value></field>" }.joined()
        return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>\(fields)</x>"
    }

    private struct Answer {
        /// `id` of the forwarded messages, in the order in which they came.
        var messages: [String] = []
        /// Their names in the archive.
        var names: [String] = []
        var isComplete = false
        var count: String?
        var error: String?
    }

    private func query(_ client: TestClient, _ content: String = "", to: String? = nil) -> Answer {
        client.forget()
        let to = to.map { " to='\($0)'" } ?? ""
        client.send("<iq type='set' id='q'\(to)><query xmlns='urn:xmpp:mam:2' queryid='f'>\(content)</query></iq>")
        var answer = Answer()
        for stanza in client.received() {
            if let result = stanza.child("result") {
                #expect(answer.error == nil && result.attribute("queryid") == "f")
                let message = result.firstChild("forwarded", "urn:xmpp:forward:0")?.firstChild("message", .client)
                answer.messages.append(message?.attribute("id") ?? "")
                answer.names.append(result.attribute("id") ?? "")
            } else if stanza.id == "q" {
                answer.error = stanza.error ?? ""
                answer.count = stanza.child("fin")?.firstChild("set", .resultSets)?.firstChild("count", .resultSets)?.text
                answer.isComplete = stanza.child("fin")?.attribute("complete") == "true"
            }
        }
        return answer
    }

    private func set(_ content: String) -> String { "<set xmlns='http://jabber.org/protocol/rsm'>\(content)</set>" }

    @Test("both have what was said, in one order, by the names that came with the messages")
    func both() {
        let (romeo, juliet) = pair()
        romeo.send(message("m1"))
        juliet.send(message("m2", to: "romeo@capulet.example/orchard"))
        romeo.send(message("m3"))
        let names = juliet.received().filter { $0.element.localName == "message" }.map { $0.child("stanza-id")?.attribute("id") ?? "" }
        let hers = query(juliet)
        #expect(hers.messages == ["m1", "m2", "m3"])
        #expect([hers.names.first, hers.names.last] == names)
        #expect(hers.isComplete)
        #expect(query(romeo).messages == ["m1", "m2", "m3"])
    }

    @Test("what an account says to itself is in its archive once")
    func own() {
        let romeo = server.online("romeo/orchard")
        romeo.send(message("m1", to: "romeo@capulet.example"))
        #expect(romeo.receivedBesidesPresence().count == 1)
        #expect(query(romeo).messages == ["m1"])
        #expect(query(romeo, form([("with", "romeo@capulet.example")])).messages == ["m1"])
    }

    @Test("what nobody was there for is in the archive, and is delivered all the same")
    func offline() {
        let romeo = server.online("romeo/orchard")
        server.createAccount("juliet")
        romeo.send(message("m1"))
        let juliet = server.client("juliet/balcony")
        #expect(query(juliet).messages == ["m1"])
        juliet.send("<presence/>")
        #expect(juliet.received().filter { $0.element.localName == "message" }.map(\.id) == ["m1"])
        #expect(query(juliet).messages == ["m1"])
    }

    @Test("what was refused is in the sender's archive only; what was blocked is in nobody's but the sender's")
    func refused() {
        let (romeo, juliet) = pair()
        romeo.send(message("m1", to: "nobody@capulet.example"))
        juliet.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.example'/></block></iq>")
        romeo.send(message("m2"))
        #expect(query(romeo).messages == ["m1", "m2"])
        #expect(query(juliet).messages == [])
    }

    @Test("chat states and what is not to be stored are nobody's business later")
    func notKept() {
        let (romeo, juliet) = pair()
        romeo.send(message("m1", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"))
        romeo.send(message("m2", "<body>b</body><no-store xmlns='urn:xmpp:hints'/>"))
        romeo.send(message("m3", "<body>b</body><no-permanent-store xmlns='urn:xmpp:hints'/>"))
        for client in [romeo, juliet] { #expect(query(client).messages == []) }
    }

    @Test("a message is in the archive as it was delivered: no name that its sender made up for it")
    func forged() {
        let (romeo, juliet) = pair()
        romeo.send(message("m1", "<body>b</body><stanza-id xmlns='urn:xmpp:sid:0' id='evil' by='juliet@capulet.example'/>"))
        juliet.forget()
        juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        #expect(!juliet.received().contains { $0.description.contains("evil") })
    }

    @Test("filters and pages (§4.1, §4.3)")
    func filters() {
        let (romeo, juliet) = pair()
        let nurse = server.online("nurse/hall")
        for id in 1...3 {
            romeo.send(message("r\(id)"))
            server.advance(by: .seconds(60))
            nurse.send(message("n\(id)"))
        }
        let all = query(juliet)
        #expect(all.messages == ["r1", "n1", "r2", "n2", "r3", "n3"])
        #expect(query(juliet, form([("with", "romeo@capulet.example")])).messages == ["r1", "r2", "r3"])
        #expect(query(juliet, form([("with", "romeo@capulet.example/garden")])).messages == [])
        let last = query(juliet, set("<max>2</max><before/>"))
        #expect(last.messages == ["r3", "n3"] && !last.isComplete)
        let flipped = query(juliet, "<flip-page/>" + set("<max>2</max><before>\(all.names[4])</before>"))
        #expect(flipped.messages == ["n2", "r2"])
        let rest = query(juliet, set("<max>50</max><after>\(all.names[4])</after>"))
        #expect(rest.messages == ["n3"] && rest.isComplete)
        #expect(query(juliet, form([("ids", all.names[2])])).messages == ["r2"])
        #expect(query(juliet, set("<after>12345</after>")).error == "cancel/item-not-found")
        #expect(query(juliet, form([("fulltext", "x")])).error == "cancel/feature-not-implemented")
        nurse.send(message("n4", "<body>Rosen duften</body>"))
        #expect(query(juliet, form([("{urn:xmpp:fulltext:0}fulltext", "ROSEN")])).messages == ["n4"])
        #expect(query(juliet, form([("{urn:xmpp:fulltext:0}fulltext", "Nelken")])).messages == [])
    }

    @Test("a query for no messages tells how many there are, wherever the page begins (XEP-0059 §2.7)")
    func counts() {
        let (romeo, juliet) = pair()
        for id in 1...3 { romeo.send(message("m\(id)")) }
        let names = query(juliet).names
        #expect(query(juliet).count == nil)
        let all = query(juliet, set("<max>0</max>"))
        #expect(all.messages == [] && all.count == "3" && !all.isComplete)
        #expect(query(juliet, set("<max>0</max><after>\(names[1])</after>")).count == "3")
        #expect(query(juliet, set("<max>0</max><before>\(names[1])</before>")).count == "3")
        #expect(query(juliet, form([("after-id", names[0])]) + set("<max>0</max>")).count == "2")
        #expect(query(juliet, form([("with", "nurse@capulet.example")]) + set("<max>0</max>")).count == "0")
    }

    @Test("metadata names the first and the last message (§5)")
    func metadata() {
        let (romeo, juliet) = pair()
        func ends() -> [String?] {
            juliet.forget()
            juliet.send("<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>")
            let metadata = juliet.received().last?.child("metadata")
            return metadata.map { [$0.firstChild("start", .archive)?.attribute("id"), $0.firstChild("end", .archive)?.attribute("id")] } ?? []
        }
        #expect(ends() == [nil, nil])
        for id in ["m1", "m2", "m3"] { romeo.send(message(id)) }
        let names = query(juliet).names
        #expect(ends() == [names.first, names.last])
    }

    @Test("the form says what can be asked for (§4.1.5)")
    func formOfQuery() {
        let romeo = server.online("romeo/orchard")
        romeo.send("<iq type='get' id='f'><query xmlns='urn:xmpp:mam:2'/></iq>")
        let form = romeo.received().last?.child("query")?.firstChild("x", "jabber:x:data")
        #expect(form?.children.filter { $0.isNamed("field", "jabber:x:data") }.compactMap { $0.attribute("var") }.contains("after-id") == true)
    }

    @Test("nobody reads another's archive, and who tries learns nothing", arguments: ["juliet@capulet.example", "nobody@capulet.example", "capulet.example"])
    func others(address: String) {
        let (romeo, _) = pair()
        #expect(query(romeo, to: address).error == "cancel/service-unavailable")
    }

    @Test("preferences hold from when they are said, for both directions and each account by itself (XEP-0441)")
    func preferences() {
        let (romeo, juliet) = pair()
        romeo.send(message("m1"))
        juliet.send(
            "<iq type='set' id='p'><prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never><jid>romeo@capulet.example</jid></never></prefs></iq>")
        romeo.send(message("m2"))
        juliet.send(message("m3", to: "romeo@capulet.example"))
        #expect(query(juliet).messages == ["m1"])
        #expect(query(romeo).messages == ["m1", "m2", "m3"])
        juliet.forget()
        juliet.send("<iq type='get' id='g'><prefs xmlns='urn:xmpp:mam:2'/></iq>")
        #expect(juliet.received().last?.description.contains("<never><jid>romeo@capulet.example</jid></never>") == true)
        juliet.send("<iq type='set' id='p2'><prefs xmlns='urn:xmpp:mam:2' default='sometimes'/></iq>")
        #expect(juliet.received().last?.error == "modify/bad-request")
    }

    @Test("preferences are there after a restart")
    func preferencesStay() {
        let juliet = server.online("juliet/balcony")
        juliet.send("<iq type='set' id='p'><prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs></iq>")
        let next = TestServer(after: server)
        let romeo = next.online("romeo/orchard")
        romeo.send(message("m1"))
        let again = next.online("juliet/balcony")
        #expect(query(again).messages == [])
        #expect(query(romeo).messages == ["m1"])
        withExtendedLifetime(next) {}
    }

    @Test("a name that is given after somebody asked is not on the page, which the disk may answer later")
    func laterNames() {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo", "nurse"] { server.createAccount(name) }
        let orchard = server.online("romeo/orchard")
        let garden = server.online("romeo/garden")
        _ = server.online("nurse/hall")
        server.store.commit()
        server.run()
        server.store.submit([.idCeiling(1)])
        garden.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        orchard.send(message("m1"))
        orchard.send(message("m2", to: "nurse@capulet.example"))
        server.store.commit()
        server.run()
        server.store.commit()
        server.run()
        let answer = garden.received()
        #expect(answer.contains { $0.id == "q" })
        #expect(!answer.contains { $0.child("result") != nil })
        withExtendedLifetime(server) {}
    }

    @Test("a name on its way to the log hides what comes after it, so that nothing is missed that is read up to there")
    func openNames() {
        let server = TestServer(commits: .manual)
        for name in ["juliet", "romeo", "nurse"] { server.createAccount(name) }
        let orchard = server.online("romeo/orchard")
        let garden = server.online("romeo/garden")
        let nurse = server.online("nurse/hall")
        server.store.commit()
        server.run()
        // Juliet's account is read from the store, and before that nothing that follows is settled.
        server.store.submit([.idCeiling(1)])
        orchard.send(message("m1"))
        orchard.send(message("m2", to: "nurse@capulet.example"))
        garden.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        server.store.commit(2)
        server.run()
        #expect(nurse.received().contains { $0.id == "m2" })
        server.store.commit()
        server.run()
        let answer = garden.received()
        #expect(answer.contains { $0.id == "q" })
        #expect(!answer.contains { $0.child("result") != nil })
        #expect(query(garden).messages == ["m1", "m2"])
        withExtendedLifetime(server) {}
    }
}
