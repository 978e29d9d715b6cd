import MartletCore
import MartletFeatures
import MartletTesting
import MartletXML
import MartletXMPP
import Testing

/// Romeo writes to Juliet. What the server has acknowledged, Juliet gets, whatever happens to her connection or to the server, and what
/// she has got she does not get again but under the same name.
@Suite("What is acknowledged is in the log, and stays there until it is delivered (P1, P2)")
struct MessageLogTests {
    private func message(_ id: String, to: String = "juliet@capulet.example", _ content: String = "<body>b</body>") -> String {
        "<message to='\(to)' type='chat' id='\(id)'>\(content)</message>"
    }

    private func server(commits: InMemoryStore.Commits = .automatic, archive: ArchivePreferences.Default? = nil) -> TestServer {
        let server = TestServer(commits: commits) { configuration in
            var configuration = configuration
            configuration.archiveDefault = archive
            return StandardFeatures.all(configuration)
        }
        for name in ["juliet", "romeo"] { server.createAccount(name) }
        return server
    }

    private func managed(_ name: String, _ server: TestServer) -> TestClient {
        let client = server.online(name)
        server.store.commit()
        server.run()
        client.manage(.enable(resumes: true, secondsMax: nil))
        client.forget()
        return client
    }

    private func messages(_ client: TestClient) -> [TestStanza] { client.received().filter { $0.element.localName == "message" } }
    private func ids(_ client: TestClient) -> [String] { messages(client).map { $0.id ?? "" } }
    private func names(_ client: TestClient) -> [String] {
        messages(client).map { $0.child("stanza-id")?.attribute("id") ?? "" }
    }

    /// What Juliet gets from a server that is started after this one died.
    private func afterCrash(_ server: TestServer) -> TestClient {
        let next = TestServer(after: server)
        let juliet = next.client("juliet/chamber")
        juliet.send("<presence/>")
        kept.append(next)
        return juliet
    }
    private let kept = Kept()
    private final class Kept {
        var servers: [TestServer] = []
        func append(_ server: TestServer) { servers.append(server) }
    }

    @Test("a message that was delivered and not acknowledged is there after a crash, under the same name and marked as late")
    func unacknowledged() {
        let server = server()
        let juliet = managed("juliet/balcony", server)
        let romeo = managed("romeo/orchard", server)
        for id in ["m1", "m2", "m3"] { romeo.send(message(id)) }
        juliet.manage(.acknowledge(1))
        server.advance(by: .seconds(1))
        let before = names(juliet)
        let again = afterCrash(server)
        let late = messages(again)
        #expect(late.map(\.id) == ["m2", "m3"])
        #expect(late.map { $0.child("stanza-id")?.attribute("id") } == Array(before.dropFirst()))
        #expect(late.allSatisfy { $0.child("delay") != nil })
        withExtendedLifetime(server) {}
    }

    @Test("what was delivered less than a second before a crash is delivered again, and nothing else is")
    func cursor() {
        let server = server()
        let juliet = managed("juliet/balcony", server)
        let romeo = managed("romeo/orchard", server)
        for id in ["m1", "m2"] { romeo.send(message(id)) }
        juliet.manage(.acknowledge(2))
        #expect(ids(afterCrash(server)) == ["m1", "m2"])
        server.advance(by: .milliseconds(999))
        #expect(ids(afterCrash(server)) == ["m1", "m2"])
        server.advance(by: .milliseconds(1))
        #expect(ids(afterCrash(server)) == [])
        withExtendedLifetime(server) {}
    }

    @Test("a session that ends leaves what it did not acknowledge to the next one, without what another one acknowledged")
    func sessionEnds() {
        let server = server()
        let juliet = managed("juliet/balcony", server)
        let romeo = managed("romeo/orchard", server)
        for id in ["m1", "m2", "m3"] { romeo.send(message(id)) }
        juliet.manage(.acknowledge(2))
        juliet.breakConnection()
        server.advance(by: .seconds(601))
        let again = server.client("juliet/chamber")
        again.send("<presence/>")
        #expect(ids(again) == ["m3"])
        withExtendedLifetime(server) {}
    }

    @Test("nobody is promised anything without stream management: nothing is written", arguments: [false, true])
    func nothingPromised(isManaged: Bool) {
        let server = server()
        let juliet = server.online("juliet/balcony")
        let romeo = isManaged ? managed("romeo/orchard", server) : server.online("romeo/orchard")
        let before = server.store.submitCount
        romeo.send(message("m1"))
        romeo.send(message("m2", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"))
        romeo.send(message("m3", "<body>b</body><no-store xmlns='urn:xmpp:hints'/>"))
        #expect(ids(juliet) == ["m1", "m2", "m3"])
        #expect(server.store.submitCount - before == (isManaged ? 1 : 0))
        withExtendedLifetime(server) {}
    }

    @Test("a client without stream management has what came before the next that it says, or before it closed its stream")
    func proof() {
        for says in [true, false] {
            let server = server()
            let juliet = server.online("juliet/balcony")
            let romeo = managed("romeo/orchard", server)
            romeo.send(message("m1"))
            if says { juliet.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>") } else { juliet.session?.streamClosed() }
            server.advance(by: .seconds(1))
            if says { romeo.send(message("m2")) }
            #expect(ids(afterCrash(server)) == (says ? ["m2"] : []))
            withExtendedLifetime(server) {}
        }
    }

    @Test("a client that says nothing for half a minute is believed to have what it was sent when its session ends", arguments: [29, 30])
    func silence(seconds: Int) {
        let server = server()
        let juliet = server.online("juliet/balcony")
        managed("romeo/orchard", server).send(message("m1"))
        server.advance(by: .seconds(seconds))
        juliet.breakConnection()
        let again = server.client("juliet/chamber")
        again.send("<presence/>")
        #expect(ids(again) == (seconds < 30 ? ["m1"] : []))
        withExtendedLifetime(server) {}
    }

    @Test("one of two sessions that have a message is enough; a copy counts as well as the message")
    func carbons() {
        let server = server()
        let balcony = managed("juliet/balcony", server)
        let chamber = managed("juliet/chamber", server)
        chamber.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        chamber.forget()
        let romeo = managed("romeo/orchard", server)
        for id in ["m1", "m2"] { romeo.send(message(id, to: "juliet@capulet.example/balcony")) }
        #expect(messages(chamber).count == 2)
        // The answer about carbons, and one copy.
        chamber.manage(.acknowledge(2))
        balcony.session?.end(nil)
        chamber.forget()
        chamber.send("<presence/>")
        #expect(ids(chamber) == [])
        chamber.session?.end(nil)
        let again = server.client("juliet/garden")
        again.send("<presence/>")
        #expect(ids(again) == ["m2"])
        withExtendedLifetime(server) {}
    }

    @Test("what an account said to itself reaches a session that has not got it, whoever had it in hand first")
    func own() {
        let server = server()
        let sender = managed("romeo/orchard", server)
        let other = managed("romeo/garden", server)
        let third = managed("romeo/street", server)
        sender.send(message("m1", to: "romeo@capulet.example/garden"))
        #expect(ids(other) == ["m1"])
        other.session?.end(nil)
        server.context.flush()
        server.run()
        #expect(ids(sender) + ids(third) == ["m1"])
        withExtendedLifetime(server) {}
    }

    @Test("what is archived and promised to nobody is not archived again for a session that has ended on another loop")
    func archivedOnce() {
        let server = server(archive: .always)
        let loop = server.addLoop()
        let juliet = server.client("juliet/balcony", on: loop)
        juliet.send("<presence/>")
        let romeo = server.online("romeo/orchard")
        romeo.sendOnly(message("m1"))
        server.context.flush()
        server.runFirstLoop()
        juliet.session?.end(nil)
        server.run()
        let again = server.online("juliet/chamber")
        again.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>")
        #expect(again.received().filter { $0.child("result") != nil }.count == 1)
        withExtendedLifetime((server, loop)) {}
    }

    @Test("what the disk refuses comes back, and does not wait for anybody")
    func refused() {
        let server = server(commits: .manual)
        let juliet = managed("juliet/balcony", server)
        let romeo = managed("romeo/orchard", server)
        server.store.failSubmits(with: .full, next: 1)
        romeo.send(message("m1"))
        server.store.commit()
        server.run()
        #expect(messages(romeo).map(\.error) == ["wait/resource-constraint"])
        juliet.session?.end(nil)
        server.store.commit()
        server.run()
        let again = server.client("juliet/chamber")
        again.send("<presence/>")
        server.store.commit()
        server.run()
        #expect(ids(again) == [])
        withExtendedLifetime(server) {}
    }

    @Test("what was in hand when another session came and went keeps its place before what comes later (P5)")
    func order() {
        let server = server()
        let balcony = managed("juliet/balcony", server)
        let romeo = managed("romeo/orchard", server)
        for id in ["m1", "m2"] { romeo.send(message(id)) }
        let chamber = managed("juliet/chamber", server)
        balcony.session?.end(nil)
        romeo.send(message("m3"))
        #expect(ids(chamber) == ["m1", "m2", "m3"])
        withExtendedLifetime(server) {}
    }

    @Test("after a crash the client learns how far the server had come, and sends again only the rest (P4)")
    func durableCount() throws {
        let server = server(commits: .manual)
        let romeo = server.online("romeo/orchard")
        server.store.commit()
        server.run()
        romeo.manage(.enable(resumes: true, secondsMax: nil))
        let id = try #require(romeo.received().first { $0.element.localName == "enabled" }?.element.attribute("id"))
        romeo.send(message("m1"))
        romeo.send("<presence><show>away</show></presence>")
        romeo.send(message("m2"))
        server.store.commit()
        server.run()
        romeo.send(message("m3"))
        let next = TestServer(after: server)
        let refused = next.resume("romeo", previous: id, handled: 0)
        next.store.commit()
        next.run()
        let failed = try #require(refused.received().first?.element)
        #expect(failed.localName == "failed" && failed.attribute("h") == "3")
        let stranger = next.resume("juliet", previous: id, handled: 0)
        next.store.commit()
        next.run()
        #expect(stranger.received().first?.element.attribute("h") == nil)
        withExtendedLifetime((server, next)) {}
    }

    private func message(_ id: String, origin: String, to: String = "juliet@capulet.example") -> String {
        "<message to='\(to)' type='chat' id='\(id)'><body>\(id)</body><origin-id xmlns='urn:xmpp:sid:0' id='\(origin)'/></message>"
    }

    @Test("what a client sends again after a crash and the log has counts as handled, and goes to nobody a second time (P4)")
    func resent() throws {
        let server = server()
        let juliet = managed("juliet/balcony", server)
        let romeo = managed("romeo/orchard", server)
        romeo.send(message("m1", origin: "o1"))
        server.store.commit()
        server.run()
        #expect(ids(juliet) == ["m1"])
        let next = TestServer(after: server)
        let again = managed("romeo/garden", next)
        let chamber = next.client("juliet/chamber")
        chamber.send("<presence/>")
        #expect(ids(chamber) == ["m1"])
        again.send(message("m1", origin: "o1"))
        // Somebody else's, to somebody else, and one that is new.
        again.send(message("m2", origin: "o1", to: "juliet@capulet.example/chamber"))
        again.send(message("m3", origin: "o3"))
        let garden = next.client("juliet/garden")
        garden.send(message("m4", origin: "o1"))
        next.store.commit()
        next.run()
        #expect(ids(chamber) == ["m2", "m3", "m4"])
        again.manage(.request)
        #expect(again.received().last?.element.attribute("h") == "3")
        next.advance(by: .seconds(86_400))
        again.send(message("m1", origin: "o1"))
        #expect(ids(chamber) == ["m1"])
        withExtendedLifetime((server, next, garden)) {}
    }

    @Test("what was refused is tried anew when it is sent again, although the sender's archive has it")
    func refusedAndResent() {
        let server = server(archive: .always)
        let romeo = managed("romeo/orchard", server)
        let lost = message("m1", origin: "o1", to: "nurse@capulet.example")
        romeo.send(lost)
        #expect(messages(romeo).map(\.error) == ["cancel/service-unavailable"])
        let next = TestServer(after: server)
        let again = managed("romeo/garden", next)
        again.send(lost)
        #expect(messages(again).map(\.error) == ["cancel/service-unavailable"])
        let nurse = next.online("nurse/chamber")
        again.send(lost)
        #expect(ids(nurse) == ["m1"])
        withExtendedLifetime((server, next)) {}
    }

    @Test("a message is one entry for both accounts, and the sender's is not to be delivered")
    func oneEntry() {
        let server = server(archive: .always)
        let juliet = server.online("juliet/balcony")
        let romeo = server.online("romeo/orchard")
        let before = server.store.submitCount
        romeo.send(message("m1"))
        romeo.send(message("m2", to: "nobody@capulet.example"))
        #expect(server.store.submitCount - before == 2)
        #expect(ids(juliet) == ["m1"])
        #expect(ids(afterCrash(server)) == [])
        withExtendedLifetime(server) {}
    }
}
