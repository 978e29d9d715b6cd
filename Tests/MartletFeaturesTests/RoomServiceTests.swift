import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization
import Testing

/// Rooms in a whole server: accounts, archives, other servers, restarts.
@Suite("XEP-0045 in a server")
struct RoomServiceTests {
    private let server: TestServer
    private let remote = OtherServer()
    private let room = "council@conference.capulet.example"

    init() { server = TestServer(remote: remote) }

    private func enter(_ client: TestClient, _ nickname: String, _ content: String = "") {
        client.send("<presence to='\(room)/\(nickname)'><x xmlns='http://jabber.org/protocol/muc'>\(content)</x></presence>")
    }

    /// Creates the room as it is by default.
    private func found(_ name: String, as nickname: String, on server: TestServer? = nil) -> TestClient {
        let client = (server ?? self.server).online(name)
        enter(client, nickname)
        client.send("<iq type='set' id='o' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>")
        client.forget()
        return client
    }

    private func entered(_ name: String, as nickname: String, on server: TestServer? = nil) -> TestClient {
        let client = (server ?? self.server).online(name)
        enter(client, nickname)
        client.forget()
        return client
    }

    private func say(_ client: TestClient, _ text: String, _ more: String = "") {
        client.send("<message type='groupchat' id='\(text)' to='\(room)'><body>\(text)</body>\(more)</message>")
    }

    private func presences(_ client: TestClient) -> [TestStanza] { client.received().filter { $0.element.localName == "presence" } }

    private func bodies(_ stanzas: [TestStanza]) -> [String] { stanzas.compactMap { $0.child("body")?.text } }

    private func archive(_ client: TestClient, _ query: String = "") -> [TestStanza] {
        client.forget()
        client.send("<iq type='set' id='q' to='\(room)'><query xmlns='urn:xmpp:mam:2'>\(query)</query></iq>")
        return client.received()
    }

    private func archivedBodies(_ client: TestClient) -> [String] {
        archive(client).compactMap { stanza in
            let forwarded = stanza.child("result")?.firstChild
            return forwarded?.children.first { $0.localName == "message" }?.firstChild("body", .client)?.text
        }
    }

    // MARK: The archive

    @Test("what is said is in the room's archive once, under the name that everybody got with it (XEP-0313, XEP-0359)")
    func archived() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        for text in ["one", "two", "three"] { say(hag, text) }
        let live = crone.received().compactMap { $0.child("stanza-id")?.attribute("id") }
        #expect(live.count == 3 && Set(live).count == 3)
        let kept = archive(hag).compactMap { $0.child("result")?.attribute("id") }
        #expect(kept == live)
        #expect(server.store.contents.latestMessages(limit: 10).count == 3)
    }

    @Test("where the operator wants no archives of rooms a request to one is one that nobody understands")
    func noArchives() {
        var settings = MultiUserChat.Settings(identities: OccupantIDs(secret: Array("occupants".utf8)))
        settings.limits.archiving = .never
        let server = TestServer(roomSettings: settings)
        let crone = found("crone1/desktop", as: "firstwitch", on: server)
        say(crone, "one")
        #expect(archive(crone).map(\.error) == ["cancel/service-unavailable"])
        #expect(server.store.contents.latestMessages(limit: 10).isEmpty)
    }

    @Test("who does not see addresses does not find them in the archive either; moderators do (XEP-0313 §5.1.3)")
    func authors() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        say(crone, "one")
        #expect(!archive(hag).contains { $0.description.contains("crone1@capulet") })
        #expect(archive(crone).contains { $0.description.contains("crone1@capulet.example/desktop") })
    }

    @Test("a message that was taken out is a tombstone in the archive and gone for who enters later (XEP-0425 §6)")
    func moderated() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        say(hag, "inappropriate")
        let id = crone.received().compactMap { $0.child("stanza-id")?.attribute("id") }.first ?? ""
        crone.send(
            "<iq type='set' id='m' to='\(room)'><moderate id='\(id)' xmlns='urn:xmpp:message-moderate:1'><retract xmlns='urn:xmpp:message-retract:1'/></moderate></iq>")
        #expect(crone.received().map(\.element.localName) == ["iq", "message"])
        let results = archive(crone)
        #expect(!results.contains { $0.description.contains("<body>") })
        #expect(results.contains { $0.description.contains("<retracted") && $0.description.contains("thirdwitch") })
        let late = server.online("late/desk")
        enter(late, "late")
        #expect(bodies(late.received()).isEmpty)
    }

    /// What the archive has of each message, in order: its text, `retracted` for a tombstone, `retract` for what takes something back.
    private func remains(_ client: TestClient) -> [String] {
        archive(client).compactMap { stanza in
            let message = stanza.child("result")?.firstChild?.children.first { $0.localName == "message" }
            if let retracted = message?.firstChild("retracted", .retraction) { return "retracted \(retracted.attribute("id") ?? "")" }
            if message?.hasChild("retract", .retraction) == true { return "retract" }
            return message?.firstChild("body", .client)?.text
        }
    }

    private func retract(_ name: String, by client: TestClient, id: String = "r1") {
        client.send("<message type='groupchat' id='\(id)' to='\(room)'><retract id='\(name)' xmlns='urn:xmpp:message-retract:1'/></message>")
    }

    private func lastName(_ client: TestClient) -> String { client.received().compactMap { $0.child("stanza-id")?.attribute("id") }.last ?? "" }

    @Test("what its author takes back is a tombstone in the archive, with the name of the message that did, which stays (XEP-0424 §4)")
    func retracted() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        say(hag, "one")
        let name = lastName(crone)
        retract(name, by: hag)
        let repeated = lastName(crone)
        #expect(remains(crone) == ["retracted r1", "retract"])
        #expect(!archive(crone).contains { $0.description.contains("<body") })
        // Nobody takes back that he took something back: who was away is still to learn of it.
        retract(repeated, by: hag, id: "r2")
        retract(name, by: hag, id: "r3")
        #expect(remains(crone) == ["retracted r1", "retract", "retract", "retract"])
    }

    @Test("the same account takes back what it said by another session, under another nickname")
    func retractedElsewhere() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        say(hag, "one")
        let name = lastName(crone)
        hag.send("<presence type='unavailable' to='\(room)/thirdwitch'/>")
        retract(name, by: entered("hag66/desk", as: "secondwitch"))
        #expect(remains(crone) == ["retracted r1", "retract"])
    }

    @Test("nobody takes back what another account said, whatever his nickname; who takes back what there is not says something like anything else")
    func retractedByOthers() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        say(hag, "one")
        let name = lastName(crone)
        retract(name, by: crone)
        hag.send("<presence type='unavailable' to='\(room)/thirdwitch'/>")
        retract(name, by: entered("paris/desk", as: "thirdwitch"))
        retract("1", by: crone)
        retract("not-a-name", by: crone)
        #expect(remains(crone) == ["one", "retract", "retract", "retract", "retract"])
    }

    @Test("what a moderator took out stays as he left it")
    func retractedAfterModeration() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        say(hag, "one")
        let name = lastName(crone)
        crone.send(
            "<iq type='set' id='m' to='\(room)'><moderate id='\(name)' xmlns='urn:xmpp:message-moderate:1'><retract xmlns='urn:xmpp:message-retract:1'/></moderate></iq>")
        retract(name, by: hag)
        #expect(archive(crone).contains { $0.description.contains("<moderated") })
        #expect(remains(crone).first == "retracted ")
    }

    // MARK: Creating

    private func limited(_ max: Int, operators: NamedAccounts = []) -> TestServer {
        var settings = MultiUserChat.Settings(identities: OccupantIDs(secret: Array("occupants".utf8)))
        settings.limits.perAccountMax = max
        settings.operators = operators
        return TestServer(roomSettings: settings)
    }

    private func create(_ name: String, by client: TestClient) -> String? {
        client.forget()
        client.send("<presence to='\(name)@conference.capulet.example/n'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        return client.received().compactMap(\.error).first
    }

    @Test("an account creates so many rooms at most, and another one when one of them is gone")
    func roomsMax() {
        let server = limited(2)
        let (hag, crone) = (server.online("hag66/pda"), server.online("crone1/desktop"))
        #expect(create("a", by: hag) == nil && create("b", by: hag) == nil)
        #expect(create("c", by: hag) == "wait/resource-constraint")
        #expect(create("c", by: crone) == nil)
        #expect(server.roomsOnDisk().count == 3)
        hag.send("<presence type='unavailable' to='a@conference.capulet.example/n'/>")
        #expect(create("d", by: hag) == nil)
        #expect(create("e", by: server.online("hag66/desk")) == "wait/resource-constraint")
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("operators create as many as they like")
    func roomsOfOperators() {
        let server = limited(1, operators: [RoomOnPaper.bare("hag66@capulet.example")])
        let hag = server.online("hag66/pda")
        #expect(["a", "b"].map { create($0, by: hag) } == [nil, nil])
    }

    @Test("who wants a room that the disk refuses is told, and who waits behind him has his turn (P19)")
    func refusedCreation() {
        let hag = server.online("hag66/pda")
        let crone = server.online("crone1/desktop")
        server.store.failSubmits(with: .full, next: 1)
        #expect(create("a", by: hag) == "wait/resource-constraint")
        #expect(server.roomsOnDisk().isEmpty)
        #expect(create("a", by: crone) == nil)
        #expect(server.unfinishedStanzas == 0)
    }

    // MARK: Crashes and restarts

    @Test("after a crash every acknowledged message is there, and who enters is shown it (P6)")
    func crash() {
        let crone = found("crone1/desktop", as: "firstwitch")
        for text in ["one", "two"] { say(crone, text) }
        let next = TestServer(after: server)
        withExtendedLifetime(server) {
            let again = next.online("crone1/desktop")
            enter(again, "firstwitch")
            #expect(bodies(again.received()) == ["one", "two"])
            #expect(archivedBodies(again) == ["one", "two"])
        }
    }

    @Test("what a client sends again after a crash is not said twice (P4)")
    func resent() {
        let crone = found("crone1/desktop", as: "firstwitch")
        say(crone, "one", "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>")
        let next = TestServer(after: server)
        withExtendedLifetime(server) {
            let again = entered("crone1/desktop", as: "firstwitch", on: next)
            say(again, "one", "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>")
            say(again, "two", "<origin-id xmlns='urn:xmpp:sid:0' id='o2'/>")
            #expect(bodies(again.received()) == ["two"])
        }
    }

    @Test("when the server stops in order everybody is told (§15.6.2, status 332), and the room is as it was afterwards")
    func stopped() {
        let crone = found("crone1/desktop", as: "firstwitch")
        say(crone, "one")
        crone.forget()
        let next = server.restarted()
        #expect(crone.received().first?.statuses == [110, 332])
        withExtendedLifetime(server) {
            let again = next.online("crone1/desktop")
            enter(again, "firstwitch")
            let received = again.received()
            #expect(received.first?.item?.attribute("affiliation") == "owner")
            #expect(received.first?.statuses.contains(201) == false)
            #expect(bodies(received) == ["one"])
        }
    }

    @Test("who resumes his stream on the next server hears there that he is in the room no more, not on the connection that breaks, and may enter")
    func stoppedAndResumed() {
        let crone = found("crone1/desktop", as: "firstwitch")
        crone.manage(.enable(resumes: true, secondsMax: nil))
        let id = crone.received().first { $0.element.localName == "enabled" }?.element.attribute("id") ?? ""
        let next = server.restarted()
        #expect(crone.received().isEmpty && crone.isClosed)
        withExtendedLifetime(server) {
            let resumed = next.resume("crone1", previous: id, handled: 0)
            #expect(presences(resumed).map(\.statuses) == [[110, 332]])
            enter(resumed, "firstwitch")
            #expect(presences(resumed).last?.statuses.contains(110) == true)
            say(resumed, "one")
            #expect(bodies(resumed.received()) == ["one"])
        }
    }

    @Test("a session that ends leaves its rooms")
    func ended() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        crone.forget()
        hag.disconnect()
        #expect(crone.received().map(\.type) == ["unavailable"])
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("a session that was resumed on another loop goes on in its rooms (XEP-0198 §5)")
    func resumed() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = server.online("hag66/pda")
        hag.manage(.enable(resumes: true, secondsMax: nil))
        let id = hag.received().first { $0.element.localName == "enabled" }?.element.attribute("id") ?? ""
        enter(hag, "thirdwitch")
        let handled = UInt32(hag.received().count { !$0.element.root.isIn(.streamManagement) })
        hag.breakConnection()
        say(crone, "one")
        let again = server.resume("hag66", previous: id, handled: handled, on: server.addLoop())
        server.run()
        #expect(bodies(again.received()) == ["one"])
        say(crone, "two")
        say(again, "three")
        say(crone, "four")
        #expect(bodies(again.received()) == ["two", "three", "four"])
    }

    // MARK: Accounts

    @Test("a private message is in the recipient's own archive, and comes by the room's address (§7.5)")
    func privateMessage() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        crone.send("<message type='chat' id='p1' to='\(room)/thirdwitch'><body>psst</body></message>")
        #expect(hag.received().map(\.from) == ["\(room)/firstwitch"])
        hag.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        #expect(hag.received().contains { $0.description.contains("psst") })
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("whoever blocks an occupant hears nothing of him (XEP-0191), and he learns only that nobody takes it")
    func blocked() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        hag.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='\(room)/firstwitch'/></block></iq>")
        hag.forget()
        crone.forget()
        say(crone, "one")
        crone.send("<message type='chat' id='p1' to='\(room)/thirdwitch'><body>psst</body></message>")
        #expect(hag.received().isEmpty)
        let answers = crone.received().filter { $0.type == "error" }
        #expect(answers.map(\.error) == ["cancel/service-unavailable"])
        #expect(answers.first?.from == "\(room)/thirdwitch")
        #expect(answers.first?.description.contains("hag66") == false)
        say(crone, "two")
        #expect(crone.received().count == 1)
    }

    @Test("nicknames that a session had do not count for how many it may send presence to (RFC 6121 §4.6)")
    func manyNicknames() {
        _ = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        for number in 0...1_000 { hag.send("<presence to='\(room)/n\(number)'/>") }
        #expect(!hag.received().contains { $0.error != nil })
        hag.send("<presence to='other@conference.capulet.example/n'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        #expect(hag.received().first?.error == nil)
    }

    @Test("a request to an occupant whose connection is lost for good is answered (RFC 6120 §8.2.3)")
    func requestToLost() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = server.online("hag66/pda")
        hag.manage(.enable(resumes: true, secondsMax: nil))
        enter(hag, "thirdwitch")
        hag.breakConnection()
        crone.forget()
        crone.send("<iq type='get' id='v1' to='\(room)/thirdwitch'><query xmlns='jabber:iq:version'/></iq>")
        _ = server.client("hag66/pda")
        #expect(crone.received().filter { $0.element.localName == "iq" }.map(\.error) == ["wait/recipient-unavailable"])
    }

    @Test("who enters a room of many big presences is not taken for one who does not read")
    func bigIntroduction() {
        let server = TestServer(settings: {
            var settings = RouterSettings()
            settings.outboundBytesMax = 20_000
            return settings
        }())
        _ = found("crone1/desktop", as: "firstwitch", on: server)
        for number in 0..<10 {
            let other = server.online("u\(number)/x")
            other.send("<presence to='\(room)/n\(number)'><x xmlns='http://jabber.org/protocol/muc'/><status>\(String(repeating: "s", count: 4_000))</status></presence>")
        }
        let late = server.client("late/x")
        late.isSlow = true
        late.send("<presence to='\(room)/late'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        withExtendedLifetime(server) { #expect(!late.isClosed) }
    }

    // MARK: Patience

    @Test("presence to many sessions waits a moment for more of it, to fewer it does not; a message waits for nothing", arguments: [-1, 0])
    func patience(more: Int) {
        _ = found("crone1/desktop", as: "firstwitch")
        // Whoever sees addresses, as the owner does, is told apart from the others.
        let first = entered("u0/x", as: "n0")
        for number in 1..<(LoopContext.patientFrom + more) { _ = entered("u\(number)/x", as: "n\(number)") }
        server.advance(by: .seconds(1))
        let before = first.writes
        _ = entered("late/x", as: "late")
        #expect(first.writes == (more < 0 ? before + 1 : before))
        server.advance(by: .milliseconds(100))
        #expect(first.writes == before + 1)
        say(first, "one")
        #expect(first.writes == before + 2)
    }

    // MARK: Other servers

    private let tybalt = "tybalt@montague.example/sword"

    private func arrive(_ xml: String, from sender: String, to: String) {
        guard let element = try? parseElement(ByteBuffer(string: xml), limits: .authenticated), let from = try? JID(sender), let to = try? JID(to)
        else { preconditionFailure("no stanza: \(xml)") }
        let kind: StanzaKind =
            switch element.localName {
            case "message": .message(MessageType(of: element.root))
            case "presence": .presence(PresenceType(of: element.root) ?? .available)
            default: .iq(IQType(of: element.root) ?? .get)
            }
        server.router.receive(fromPeer: Stanza(element, kind: kind, from: from, to: to), to: to, server.context)
        server.context.flush()
        server.run()
    }

    private func enterFromAfar() {
        arrive("<presence><x xmlns='http://jabber.org/protocol/muc'/></presence>", from: tybalt, to: "\(room)/tybalt")
    }

    @Test("an occupant of another server gets and says what everybody does")
    func remoteOccupant() {
        let crone = found("crone1/desktop", as: "firstwitch")
        enterFromAfar()
        let arrived = remote.take()
        #expect(arrived.map(\.to) == Array(repeating: tybalt, count: 3))
        #expect(arrived.map(\.stanza.element.localName) == ["presence", "presence", "message"])
        crone.forget()
        arrive("<message type='groupchat' id='t1'><body>hello</body></message>", from: tybalt, to: room)
        #expect(bodies(crone.received()) == ["hello"])
        #expect(remote.take().compactMap { $0.stanza.child("body")?.text } == ["hello"])
        say(crone, "back")
        #expect(remote.take().map(\.stanza.from) == ["\(room)/firstwitch"])
        #expect(archivedBodies(crone) == ["hello", "back"])
    }

    @Test("an occupant that his server does not find is gone, and nobody learns where he was", arguments: ["item-not-found", "remote-server-not-found", "service-unavailable"])
    func ghost(condition: String) {
        let crone = found("crone1/desktop", as: "firstwitch")
        enterFromAfar()
        crone.forget()
        say(crone, "one")
        crone.forget()
        let error = "<message type='error' id='one'><error type='cancel'><\(condition) xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        arrive(error, from: tybalt, to: "\(room)/firstwitch")
        let told = crone.received()
        #expect(told.map(\.type) == ["unavailable"])
        #expect(told.first?.statuses == [307, 333])
        _ = remote.take()
        say(crone, "two")
        #expect(remote.take().isEmpty)
    }

    private func lookForGhosts() {
        let keeping = RoomKeeping(server.router, server.context.mailbox)
        Task(executorPreference: server.router.executor) { await keeping.lookForGhosts() }
        server.run()
    }

    @Test("whoever of another server says nothing for long is asked whether he is there, and leaves if he is not; accounts of this one are not asked")
    func silence() {
        let crone = found("crone1/desktop", as: "firstwitch")
        enterFromAfar()
        lookForGhosts()
        server.advance(by: .seconds(600))
        arrive("<message type='groupchat' id='t1'><body>hello</body></message>", from: tybalt, to: room)
        _ = remote.take()
        crone.forget()
        server.advance(by: .seconds(899))
        lookForGhosts()
        #expect(remote.take().isEmpty)
        server.advance(by: .seconds(1))
        lookForGhosts()
        let asked = remote.take()
        #expect(asked.map(\.to) == [tybalt] && asked.map(\.stanza.from) == [room])
        let id = asked.first?.stanza.element.attribute("id") ?? ""
        let error = "<iq type='error' id='\(id)'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        arrive(error, from: tybalt, to: room)
        #expect(crone.received().map(\.statuses) == [[307, 333]])
        #expect(remote.take().map(\.stanza.statuses) == [[110, 307, 333]])
        say(crone, "one")
        #expect(remote.take().isEmpty && server.unfinishedStanzas == 0)
    }

    @Test("an occupant of another server who does not want a private message stays where he is")
    func refusedLetter() {
        let crone = found("crone1/desktop", as: "firstwitch")
        enterFromAfar()
        crone.forget()
        crone.send("<message type='chat' id='p1' to='\(room)/tybalt'><body>psst</body></message>")
        let error = "<message type='error' id='p1'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        arrive(error, from: tybalt, to: "\(room)/firstwitch")
        #expect(crone.received().map(\.error) == ["cancel/service-unavailable"])
        _ = remote.take()
        say(crone, "two")
        #expect(remote.take().count == 1)
    }

    @Test("whoever comes back after a restart of his server is there once, and has the history that he asks for")
    func comesBack() {
        let crone = found("crone1/desktop", as: "firstwitch")
        enterFromAfar()
        say(crone, "one")
        _ = remote.take()
        crone.forget()
        enterFromAfar()
        let again = remote.take()
        #expect(again.filter { $0.stanza.statuses.contains(110) }.count == 1)
        #expect(again.compactMap { $0.stanza.child("body")?.text } == ["one"])
        #expect(crone.received().map(\.from) == ["\(room)/tybalt"])
    }

    @Test("a request to a room from another server is answered there")
    func remoteRequest() {
        _ = found("crone1/desktop", as: "firstwitch")
        arrive("<iq type='get' id='d1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", from: tybalt, to: room)
        let answers = remote.take()
        #expect(answers.map(\.to) == [tybalt])
        #expect(answers.first?.stanza.description.contains("muc_open") == true)
    }

    @Test("only accounts of this server create rooms, unless the operator wants more (§10.1.1)")
    func remoteCreation() {
        enterFromAfar()
        #expect(remote.take().map(\.stanza.error) == ["cancel/not-allowed"])
    }

    @Test("rooms of a server that stops tell occupants of other servers (status 332)")
    func stoppedForAll() {
        _ = found("crone1/desktop", as: "firstwitch")
        enterFromAfar()
        _ = remote.take()
        server.router.stopServices(server.context)
        server.run()
        #expect(remote.take().map(\.stanza.statuses) == [[110, 332]])
    }

    // MARK: Waiting

    @Test("while a room is read so many stanzas wait for it, and so many bytes, and no more")
    func parked() throws {
        let xml = "<message type='groupchat' id='1'><body>one</body></message>"
        let element = try parseElement(ByteBuffer(string: xml), limits: .authenticated)
        let (from, to) = (try JID(tybalt), try JID(room))
        let stanza = Stanza(element, kind: .message(.groupchat), from: from, to: to)
        /// - Returns: how many of three wait, and learn that there is no such room.
        func waiting(_ limit: (inout RoomLimits) -> Void) -> Int {
            var settings = MultiUserChat.Settings(identities: OccupantIDs(secret: Array("occupants".utf8)))
            limit(&settings.limits)
            let server = TestServer(remote: remote, roomSettings: settings)
            for _ in 0..<3 { server.router.receive(fromPeer: stanza, to: to, server.context) }
            server.context.flush()
            server.run()
            let errors = remote.take().map(\.stanza.error)
            #expect(errors.count == 3 && errors.allSatisfy { ["wait/resource-constraint", "cancel/item-not-found"].contains($0) })
            return errors.count { $0 == "cancel/item-not-found" }
        }
        for count in 1...3 {
            #expect(waiting { $0.parkedMax = count } == count)
            #expect(waiting { $0.parkedBytesMax = count * stanza.element.byteCount } == count)
            #expect(waiting { $0.parkedBytesMax = count * stanza.element.byteCount - 1 } == count - 1)
        }
    }

    // MARK: The disk

    @Test("what owners do by the form is in the audit log once the disk has it, and not if it refuses")
    func audited() {
        let sink = Events()
        let server = TestServer(audit: sink)
        let crone = found("crone1/desktop", as: "firstwitch", on: server)
        #expect(sink.take() == [.roomConfigured(RoomOnPaper.bare(room), by: "crone1@capulet.example")])
        let form = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
        func configure(_ name: String) {
            crone.send(
                "<iq type='set' id='o' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\(form)<field var='muc#roomconfig_roomname'><value>\(name)</value></field></x></query></iq>")
        }
        server.store.failSubmits(with: .full, next: 1)
        configure("one")
        #expect(sink.take().isEmpty)
        configure("two")
        #expect(sink.take().count == 1)
    }

    @Test("nobody is told of a new owner before the disk has him, and nobody at all if it refuses (P7, P19)")
    func refusedChange() {
        let crone = found("crone1/desktop", as: "firstwitch")
        let hag = entered("hag66/pda", as: "thirdwitch")
        crone.forget()
        server.store.failSubmits(with: .full, next: 1)
        crone.send(
            "<iq type='set' id='a' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='hag66@capulet.example' affiliation='owner'/></query></iq>")
        #expect(crone.received().map(\.error) == ["wait/resource-constraint"])
        #expect(hag.received().isEmpty)
        hag.send("<iq type='get' id='o' to='\(room)'><query xmlns='http://jabber.org/protocol/muc#owner'/></iq>")
        #expect(hag.received().map(\.error) == ["auth/forbidden"])
    }
}

/// Takes what is for other servers.
private final class OtherServer: RemoteDelivery {
    private let sent = Mutex<[EncodedStanza]>([])

    func deliver(_ stanza: EncodedStanza, from: BareJID, to: BareJID, kept: KeptMessage?, _ context: LoopContext) -> Acceptance {
        sent.withLock { $0.append(stanza) }
        return .accepted(.none)
    }

    func take() -> [(to: String, stanza: TestStanza)] {
        let all = sent.withLock { sent in
            defer { sent = [] }
            return sent
        }
        return all.compactMap { stanza in
            (try? parseElement(stanza.bytes, limits: .authenticated)).map { ($0.attribute("to") ?? "", TestStanza($0)) }
        }
    }
}

/// Keeps what would be in the audit log of rooms.
private final class Events: AuditSink {
    private let events = Mutex<[AuditEvent]>([])

    func record(_ event: AuditEvent) {
        if case .roomConfigured = event { events.withLock { $0.append(event) } }
    }

    func take() -> [AuditEvent] {
        events.withLock { events in
            defer { events = [] }
            return events
        }
    }
}
