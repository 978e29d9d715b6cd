import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Sessions stay on their loops, and nothing is forgotten between two of them")
struct LoopTests {
    private let server = TestServer(commits: .manual)

    /// A connection that does what a test wants while it is flushed, and keeps its session as long as a real one does.
    private final class Connection: SessionTransport {
        var session: ClientSession?
        var onFlush: (() -> Void)?
        let pendingBytes = 0
        let remoteAddress = "192.0.2.1:40000"
        func write(_ bytes: ByteBuffer) {}
        func flush() { onFlush?() }
        func close(_ error: StreamError?) { session = nil }
        func setReading(_ isReading: Bool) {}

        func bound(_ outcome: BindOutcome) {
            if case .bound(let session) = outcome { self.session = session }
        }

        func send(_ xml: String) throws {
            try session?.receive(parseElement(ByteBuffer(string: xml), limits: .authenticated))
        }
    }

    private func bind(_ name: String) -> Connection {
        let connection = Connection()
        server.router.bind(server.address(name), resource: "balcony", connection, server.context) { connection.bound($0) }
        server.context.flush()
        server.run()
        return connection
    }

    @Test("a loop that is behind by more than it may be is noticed by who posts to it, and so is its catching up", arguments: [0, 1])
    func congestion(excess: Int) {
        let second = server.addLoop()
        let other = SessionRef(id: 1, mailbox: second.mailbox)
        let mebibyte = EncodedStanza(ByteBuffer(repeating: 0x20, count: 1 << 20))
        for _ in 0..<(LoopMailbox.waitingBytesMax >> 20) { server.context.post(mebibyte, to: other) }
        if excess > 0 { server.context.post(EncodedStanza(ByteBuffer(string: " ")), to: other) }
        #expect(server.context.isCongested == (excess > 0))
        server.context.flush()
        server.run()
        #expect(!server.context.isCongested)
        // What a loop has for itself it takes before it reads on.
        let own = SessionRef(id: 2, mailbox: server.context.mailbox)
        for _ in 0...(LoopMailbox.waitingBytesMax >> 20) { server.context.post(mebibyte, to: own) }
        #expect(!server.context.isCongested)
    }

    @Test("what connections have for a session waits for the end of the turn, unless it is more than is flushed at once", arguments: [0, 1])
    func turn(excess: Int) throws {
        server.createAccount("juliet")
        server.store.commit()
        let connection = bind("juliet")
        var flushes = 0
        connection.onFlush = { flushes += 1 }
        let stanza = EncodedStanza(ByteBuffer(repeating: 0x20, count: LoopContext.flushedAtOnce + excess))
        server.context.post(stanza, to: try #require(connection.session?.ref))
        for _ in 0..<2 { server.context.flushSoon() }
        #expect(flushes == excess)
        server.run()
        #expect(flushes == 1)
        connection.close(nil)
    }

    @Test("what a loop does at one go has one time, and what it does after that a new one")
    func time() {
        let context = server.context
        let before = context.wallMilliseconds
        #expect(before == server.time.wallMilliseconds)
        server.time.advance(by: 5_000_000)
        #expect(context.wallMilliseconds == before)
        context.flush()
        #expect(context.wallMilliseconds == before + 5)
    }

    @Test("a session begins on the loop of its stream, whichever loop loads the account, and however often")
    func bindWhileAnotherLoads() {
        server.createAccount("juliet")
        let second = server.addLoop()
        let nurse = server.online("nurse/hall")
        server.store.submit([.idCeiling(1)])
        // The first loop loads; the second one's stream waits for that.
        nurse.send("<message to='juliet@capulet.example' type='chat'><body>b</body></message>")
        let juliet = server.client("juliet/balcony", on: second)
        #expect(juliet.session == nil)
        server.store.commit()
        // The account is there, and is read anew by the first loop before the second one has looked.
        server.runFirstLoop()
        server.router.changeAccount(server.address("juliet"), .setEnabled(server.address("juliet"), true), ending: nil, server.context) { _ in }
        server.context.flush()
        server.store.commit()
        server.store.submit([.idCeiling(2)])
        server.runFirstLoop()
        server.run()
        server.store.commit()
        server.run()
        #expect(juliet.session != nil)
        #expect(juliet.session?.context === second)
    }

    @Test("a connection that breaks while it is flushed is seen to leave at once")
    func brokenWhileFlushed() throws {
        server.befriend("juliet", "romeo")
        let romeo = server.online("romeo/orchard")
        let juliet = bind("juliet")
        try juliet.send("<presence/>")
        server.context.flush()
        romeo.forget()
        juliet.onFlush = { [server] in
            juliet.session?.transportClosed()
            juliet.session = nil
            server.context.flush()
        }
        try juliet.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        server.context.flush()
        #expect(romeo.received().map { $0.element.attribute("type") } == ["unavailable"])
    }

    @Test("a session that ended is gone, whatever waits for the disk on its behalf")
    func freed() throws {
        server.createAccount("juliet")
        let juliet = bind("juliet")
        weak let session = juliet.session
        try juliet.send("<presence/>")
        try juliet.send("<presence to='nurse@capulet.example' type='subscribe'/>")
        try juliet.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='romeo@capulet.example'/></query></iq>")
        for id in 1...300 { try juliet.send("<message to='romeo@capulet.example' type='chat' id='m\(id)'><body>b</body></message>") }
        server.context.flush()
        #expect(session != nil)
        juliet.session?.transportClosed()
        juliet.session = nil
        server.context.flush()
        #expect(session == nil)
        server.store.commit()
        server.run()
    }

    @Test("a session that has ended is forgotten by its address")
    func endedSession() throws {
        server.createAccount("juliet")
        let connection = bind("juliet")
        weak let session = connection.session
        let ref = try #require(connection.session?.ref)
        connection.session?.transportClosed()
        connection.session = nil
        server.context.flush()
        server.run()
        #expect(ref.session == nil)
        #expect(session == nil)
    }

    @Test("a domain is found among a few and among many", arguments: [1, 8, 9, 40])
    func domains(_ count: Int) throws {
        let table = try HostTable((0..<count).map { try Host(domain: BareJID(parsing: "d\($0).example"), features: []) })
        for index in 0..<count { #expect(try table.host(of: BareJID(parsing: "juliet@d\(index).example"))?.domain == BareJID(parsing: "d\(index).example")) }
        #expect(try table.host(of: BareJID(parsing: "juliet@d\(count).example")) == nil)
        #expect(try table.host(of: BareJID(parsing: "d0.example@other.example")) == nil)
    }
}
