import MartletCore
import MartletTesting
import MartletXMPP
import Synchronization
import Testing

/// What the log has of messages to other servers, and how those come back that waited in vain (`reliability.md` P10).
@Suite("Messages to other servers")
struct MessagesToOtherServersTests {
    private let wire = TestWire()
    private let server: TestServer
    private let queue = AccountID(queueFor: DomainPair(remote: "montague.example", local: "capulet.example"))

    init() { server = TestServer(remote: wire) }

    private var waiting: [LoggedMessage] { server.store.contents.messages(of: queue, after: 0, limit: 10) }
    private let chat = "<message to='romeo@montague.example' type='chat' id='m'><body>art thou</body></message>"

    @Test("are in the log until the other server has them if they are worth keeping", arguments: [
        ("<body>b</body>", "chat", 1), ("<body>b</body>", "normal", 1), ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", "chat", 0),
        ("<body>b</body><no-store xmlns='urn:xmpp:hints'/>", "chat", 0), ("<body>b</body>", "headline", 0),
        ("<received xmlns='urn:xmpp:receipts' id='x'/>", "normal", 1),
    ])
    func kept(_ content: String, _ type: String, _ count: Int) {
        let juliet = server.online("juliet/balcony")
        juliet.send("<message to='romeo@montague.example' type='\(type)' id='m'>\(content)</message>")
        #expect(waiting.count == count)
        #expect(wire.take().count == 1)
        #expect(juliet.received().isEmpty)
    }

    @Test("the log has one that the disk refuses for nobody, and its sender is told")
    func refusedByDisk() {
        let juliet = server.online("juliet/balcony")
        server.store.failSubmits(with: .full, next: 1)
        juliet.send(chat)
        #expect(waiting.isEmpty)
        #expect(juliet.received().map(\.error) == ["wait/resource-constraint"])
    }

    @Test("one that is refused at once is not in the log, but for its sender's archive")
    func refused() {
        wire.refuse(StanzaError(.remoteServerNotFound))
        let juliet = server.online("juliet/balcony")
        juliet.send(chat)
        #expect(waiting.isEmpty)
        #expect(juliet.received().map(\.error) == ["cancel/remote-server-not-found"])
    }

    private func returnAll() -> [Bool] {
        let error = StanzaError(.remoteServerTimeout, .wait)
        let settled = Mutex<[Bool]>([])
        for message in waiting {
            server.router.returnKept(message.stanza, error, server.context) { isSettled in settled.withLock { $0.append(isSettled) } }
        }
        server.context.flush()
        server.run()
        return settled.withLock { $0 }
    }

    @Test("one that waited in vain comes back to the session that sent it")
    func returned() {
        let juliet = server.online("juliet/balcony")
        let phone = server.online("juliet/phone")
        juliet.send(chat)
        #expect(returnAll() == [true])
        let answer = juliet.receivedBesidesPresence()
        #expect(answer.map(\.error) == ["wait/remote-server-timeout"] && answer.map(\.id) == ["m"])
        #expect(phone.receivedBesidesPresence().isEmpty)
    }

    @Test("and to whoever of the account is there when that session is not, or comes next")
    func returnedLater() {
        let juliet = server.online("juliet/balcony")
        juliet.send(chat)
        juliet.disconnect()
        #expect(returnAll() == [true])
        let phone = server.client("juliet/phone")
        phone.send("<presence/>")
        let answer = phone.received().filter { $0.id == "m" }
        #expect(answer.map(\.error) == ["wait/remote-server-timeout"])
        // Once: who says something more has read what came before.
        phone.send("<iq type='get' id='i' to='capulet.example'><ping xmlns='urn:xmpp:ping'/></iq>")
        phone.disconnect()
        let tablet = server.client("juliet/tablet")
        tablet.send("<presence/>")
        #expect(!tablet.received().contains { $0.id == "m" })
    }

    @Test("one whose sender is gone for good is dealt with")
    func senderGone() {
        let juliet = server.online("juliet/balcony")
        juliet.send(chat)
        juliet.disconnect()
        server.edit("juliet") { _ in .account(.delete(server.address("juliet"))) }
        #expect(returnAll() == [true])
    }
}
