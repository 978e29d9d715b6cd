import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// The server stops in order and is started again; clients with stream management notice a broken connection.
@Suite("XEP-0198 §5: sessions can be resumed after a restart of the server (P4)")
struct SessionRestartTests {
    private let server = TestServer()

    private func message(_ id: String, to: String = "juliet@capulet.example", _ content: String = "<body>b</body>") -> String {
        "<message to='\(to)' type='chat' id='\(id)'>\(content)</message>"
    }

    private func managed(_ name: String, _ server: TestServer) -> (client: TestClient, id: String) {
        let client = server.online(name)
        client.manage(.enable(resumes: true, secondsMax: nil))
        let id = client.received().first { $0.element.localName == "enabled" }?.element.attribute("id") ?? ""
        return (client, id)
    }

    private func stanzas(_ client: TestClient) -> [TestStanza] {
        client.received().filter { !$0.element.root.isIn(.streamManagement) }
    }
    private func ids(_ client: TestClient) -> [String] { stanzas(client).filter { $0.element.localName == "message" }.map { $0.id ?? "" } }

    @Test("the stream goes on where it was: counts, what was not acknowledged, what comes meanwhile, each once and in order")
    func goesOn() {
        let (juliet, id) = managed("juliet/balcony", server)
        let romeo = server.online("romeo/orchard")
        for id in ["m1", "m2"] { romeo.send(message(id)) }
        juliet.send(message("j1", to: "romeo@capulet.example"))
        juliet.manage(.acknowledge(1))
        let next = server.restarted()
        #expect(juliet.isClosed && juliet.closing == nil)
        #expect(romeo.closing?.condition == .systemShutdown)
        let again = next.online("romeo/orchard")
        again.send(message("m3"))
        let resumed = next.resume("juliet", previous: id, handled: 1)
        #expect(resumed.received().first?.element.attribute("h") == "1")
        again.send(message("m4"))
        resumed.manage(.acknowledge(4))
        #expect(resumed.closing == nil)
        withExtendedLifetime((server, next)) {}
    }

    @Test("a session that came by a certificate is resumed by one, since nobody has looked at its own meanwhile")
    func certified() throws {
        var proof = SessionProof()
        proof.isCertified = true
        let juliet = server.client("juliet/balcony", proof)
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let id = try #require(juliet.received().first { $0.element.localName == "enabled" }?.element.attribute("id"))
        let next = server.restarted()
        #expect(next.resume("juliet", previous: id, handled: 0).session == nil)
        let resumed = next.resume("juliet", previous: id, handled: 0, by: proof)
        #expect(resumed.session != nil)
        resumed.breakConnection()
        #expect(next.resume("juliet", previous: id, handled: 0).session != nil)
        withExtendedLifetime((server, next)) {}
    }

    @Test("a session that is over with what has let it in is so after a restart as well", arguments: [59, 60])
    func ends(seconds: Int64) throws {
        var proof = SessionProof()
        proof.ends = server.context.wallMilliseconds + 60_000
        let juliet = server.client("juliet/balcony", proof)
        juliet.manage(.enable(resumes: true, secondsMax: nil))
        let id = try #require(juliet.received().first { $0.element.localName == "enabled" }?.element.attribute("id"))
        let next = server.restarted()
        next.advance(by: .seconds(seconds))
        #expect((next.resume("juliet", previous: id, handled: 0).session == nil) == (seconds >= 60))
        withExtendedLifetime((server, next)) {}
    }

    @Test("what is on its way comes in order after the resumption")
    func order() {
        let (juliet, id) = managed("juliet/balcony", server)
        let romeo = server.online("romeo/orchard")
        for id in ["m1", "m2", "m3"] { romeo.send(message(id)) }
        juliet.manage(.acknowledge(1))
        let next = server.restarted()
        next.online("romeo/orchard").send(message("m4"))
        let resumed = next.resume("juliet", previous: id, handled: 2)
        #expect(ids(resumed) == ["m3", "m4"])
        resumed.manage(.acknowledge(4))
        next.advance(by: .seconds(1))
        // Nothing of it waits for anybody.
        let third = TestServer(after: next)
        let juliet3 = third.client("juliet/chamber")
        juliet3.send("<presence/>")
        #expect(ids(juliet3) == [])
        withExtendedLifetime((server, next, third)) {}
    }

    @Test("contacts see nothing of it, and are seen: presence is as it was")
    func presence() {
        server.befriend("romeo", "juliet")
        let (_, hers) = managed("juliet/balcony", server)
        let (romeo, his) = managed("romeo/orchard", server)
        romeo.send("<presence><show>away</show></presence>")
        let next = server.restarted()
        let nurse = next.online("romeo/garden")
        #expect(stanzas(nurse).isEmpty)
        nurse.send("<presence/>")
        let juliet = next.resume("juliet", previous: hers, handled: 2)
        #expect(!stanzas(juliet).contains { $0.element.attribute("type") == "unavailable" })
        let resumed = next.resume("romeo", previous: his, handled: 2)
        resumed.send("<presence><show>dnd</show></presence>")
        #expect(stanzas(juliet).contains { $0.description.contains("<show>dnd</show>") })
        withExtendedLifetime((server, next)) {}
    }

    @Test("presence that waited for a client without a connection is not lost with the server")
    func heldPresence() {
        server.befriend("romeo", "juliet")
        let (juliet, id) = managed("juliet/balcony", server)
        juliet.breakConnection()
        managed("romeo/orchard", server).client.send("<presence><show>xa</show></presence>")
        let next = server.restarted()
        let resumed = next.resume("juliet", previous: id, handled: 0)
        #expect(stanzas(resumed).contains { $0.description.contains("<show>xa</show>") })
        withExtendedLifetime((server, next)) {}
    }

    @Test("who does not come back in time is seen to leave, and the messages wait", arguments: [599, 600])
    func expires(seconds: Int) {
        server.befriend("romeo", "juliet")
        let (_, id) = managed("juliet/balcony", server)
        server.online("romeo/orchard").send(message("m1"))
        let next = server.restarted()
        let romeo = next.online("romeo/orchard")
        next.advance(by: .seconds(seconds))
        let hasLeft = romeo.received().contains { $0.element.attribute("type") == "unavailable" }
        #expect(hasLeft == (seconds == 600))
        let juliet = next.resume("juliet", previous: id, handled: 0)
        #expect(ids(juliet) == (seconds == 600 ? [] : ["m1"]))
        let again = next.client("juliet/chamber")
        again.send("<presence/>")
        if seconds == 600 { #expect(ids(again) == ["m1"]) }
        withExtendedLifetime((server, next)) {}
    }

    @Test("an account that was disabled or made anew meanwhile has no session to resume", arguments: [true, false])
    func changed(isDeleted: Bool) {
        let (_, id) = managed("juliet/balcony", server)
        server.edit("juliet") { _ in .account(isDeleted ? .delete(server.address("juliet")) : .setEnabled(server.address("juliet"), false)) }
        if isDeleted { server.createAccount("juliet") }
        let next = server.restarted()
        let resumed = next.resume("juliet", previous: id, handled: 0)
        #expect(resumed.received().first?.element.localName == "failed")
        withExtendedLifetime((server, next)) {}
    }

    @Test("a session into whose roster groups have put something else meanwhile is not resumed: its client would not learn of that", arguments: [false, true])
    func otherGroups(areOthers: Bool) {
        server.share([server.group("Theatre", "juliet", "romeo")])
        let (juliet, id) = managed("juliet/balcony", server)
        if areOthers { server.shareUntold([server.group("Theatre", "juliet", "nurse")]) }
        let next = server.restarted()
        let resumed = next.resume("juliet", previous: id, handled: 0)
        #expect(resumed.received().first?.element.localName == (areOthers ? "failed" : "resumed"))
        withExtendedLifetime((server, next, juliet)) {}
    }

    @Test("what was written down is read as it was, and nothing else is read")
    func bytes() throws {
        let address = try FullJID(parsing: "juliet@capulet.example/balcony")
        var session = SavedSession(
            address: address, account: AccountID(raw: 7), resumptionID: "x", seconds: 600, time: -1, handled: .max, acknowledged: 3)
        session.presence = EncodedStanza(ByteBuffer(string: "<presence/>"))
        session.priority = -128
        session.flags = [.carbons]
        session.application = "mail"
        session.sharing = "0123"
        session.directed = [try JID("romeo@montague.example/a"), try JID("montague.example")]
        session.unacknowledged = [.init(stanza: EncodedStanza(ByteBuffer(string: "<message/>")), time: 5, view: .max, isStored: true)]
        var whole = ByteBuffer()
        session.write(to: &whole)
        var buffer = whole
        let read = try #require(SavedSession(from: &buffer))
        #expect(buffer.readableBytes == 0)
        #expect(read.address == address && read.account == session.account && read.resumptionID == "x" && read.seconds == 600 && read.time == -1)
        #expect(read.handled == .max && read.acknowledged == 3 && read.presence == session.presence && read.priority == -128 && read.application == "mail" && read.sharing == "0123")
        #expect(read.flags == session.flags && read.directed == session.directed)
        #expect(read.unacknowledged.map(\.view) == [.max] && read.unacknowledged.map(\.isStored) == [true] && read.unacknowledged.map(\.time) == [5])
        for length in 0..<whole.readableBytes {
            var cut = whole.getSlice(at: 0, length: length) ?? ByteBuffer()
            #expect(SavedSession(from: &cut) == nil)
        }
        var other = whole
        other.setInteger(5 as UInt8, at: 0)
        #expect(SavedSession(from: &other) == nil)
    }
}
