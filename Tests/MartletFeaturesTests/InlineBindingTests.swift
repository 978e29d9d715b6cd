import MartletCore
import MartletTesting
import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("XEP-0386 Bind 2, XEP-0198 §9, XEP-0313 §5")
struct InlineBindingTests {
    private let server = TestServer()

    /// A connection on which a client has logged in: what is said of its session, and then what the session is sent.
    private final class Line: SessionTransport {
        private(set) var heard: [String] = []
        private(set) var session: ClientSession?
        private(set) var refusal: StanzaError?
        private(set) var end: StreamError?
        private(set) var isClosed = false
        let pendingBytes = 0
        let remoteAddress = "192.0.2.1:40000"

        func bound(_ outcome: InlineBindOutcome) {
            switch outcome {
            case .bound(let session, let content):
                self.session = session
                heard.append("bound " + String(buffer: content))
                session.begin()
            case .refused(let error): refusal = error
            case .revoked(let error): close(error)
            }
        }

        func write(_ bytes: ByteBuffer) { heard.append(String(buffer: bytes)) }
        func flush() {}
        func setReading(_ isReading: Bool) {}

        func close(_ error: StreamError?) {
            end = error
            isClosed = true
        }

        func send(_ xml: String, _ server: TestServer) throws {
            try session?.receive(try parseElement(ByteBuffer(string: xml), limits: .authenticated))
            server.context.flush()
            server.run()
        }

        /// What came since the last time.
        func news() -> [String] {
            defer { heard = [] }
            return heard
        }
    }

    /// What a client asks for, as the stream reads it.
    private static func request(_ content: String, _ server: TestServer) throws -> InlineBind {
        let environment = InProcessConversationTransport(server)
        var machine = ClientStreamMachine(bindings: [])
        _ = machine.opened(environment) { () throws(StreamError) in
            guard let open = try? parseElement(
                ByteBuffer(string: "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='\(server.domain)' version='1.0'/>"), limits: .authenticated)
            else { throw StreamError(.badFormat) }
            return try StreamHeader(open: open)
        }
        let plain = Base64.encode("\0juliet\0pencil".utf8)
        let text = """
            <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>\(plain)</initial-response>\
            <bind xmlns='urn:xmpp:bind:0'>\(content)</bind></authenticate>
            """
        _ = machine.received(try parseElement(ByteBuffer(string: text), limits: .authenticated), environment)
        _ = machine.answered(.passwordVerdict(true))
        let action = machine.admitted()
        guard case .bindInline(_, let bind) = action else {
            Issue.record("no bind: \(action)")
            throw StanzaError(.badRequest)
        }
        return bind
    }

    /// - Parameter meanwhile: what happens before the end of the archive is known.
    private func bind(_ content: String, agent: UserAgent? = nil, on server: TestServer? = nil, meanwhile: () -> Void = {}) throws -> Line {
        let server = server ?? self.server
        let line = Line()
        let request = try Self.request(content, server)
        server.router.bind(server.address("juliet"), request, by: agent, line, server.context) { line.bound($0) }
        meanwhile()
        server.context.flush()
        server.run()
        return line
    }

    private static func message(_ id: String, to address: String = "juliet@capulet.example", _ payload: String = "") -> String {
        "<message to='\(address)' type='chat' id='\(id)'><body>b</body>\(payload)</message>"
    }

    private static func ids(_ heard: [String]) -> [String] {
        heard.filter { $0.hasPrefix("<message ") }.compactMap { text in
            text.firstRange(of: " id='").flatMap { begin in text[begin.upperBound...].firstIndex(of: "'").map { String(text[begin.upperBound..<$0]) } }
        }
    }

    // MARK: Order

    @Test("whatever comes for a session before its client knows of it comes after that (XEP-0386 §1)")
    func order() throws {
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        let agent = UserAgent(id: "d4565fa7-4d72-4749-b3d3-740edbf87770")
        let name = try #require(agent.resourceName(for: server.address("juliet")))
        let line = try bind("<tag>A</tag>", agent: agent) { romeo.sendOnly(Self.message("m1", to: "juliet@capulet.example/A/\(name)")) }
        let heard = line.news()
        #expect(heard.first?.hasPrefix("bound <metadata xmlns='urn:xmpp:mam:2'") == true, "\(heard)")
        #expect(Self.ids(heard) == ["m1"])
        romeo.send(Self.message("m2", to: "juliet@capulet.example/A/\(name)"))
        #expect(Self.ids(line.news()) == ["m2"])
        #expect(server.unfinishedStanzas == 0)
    }

    @Test("what waits for `<success/>` is bounded as what waits for any client (reliability rule 30)", arguments: [0, 1])
    func bounded(more: Int) throws {
        var settings = RouterSettings()
        let text = String(repeating: "x", count: 2_000)
        settings.outboundBytesMax = 2_600
        let server = TestServer(settings: settings)
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        let agent = UserAgent(id: "d4565fa7-4d72-4749-b3d3-740edbf87770")
        let name = try #require(agent.resourceName(for: server.address("juliet")))
        let line = try bind("", agent: agent, on: server) {
            for index in 0...more {
                romeo.sendOnly("<message to='juliet@capulet.example/\(name)' type='chat' id='m\(index)'><body>\(text)</body></message>")
            }
        }
        #expect(line.isClosed == (more == 1))
        #expect(line.end?.condition == (more == 1 ? .resourceConstraint : nil))
    }

    // MARK: What is switched on

    @Test("carbons, stream management and the state of the client hold from the first stanza, and only management is answered (XEP-0386 §3.2)")
    func features() throws {
        server.createAccount("juliet")
        let (romeo, balcony) = (server.online("romeo/orchard"), server.online("juliet/balcony"))
        let line = try bind(
            "<enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3' resume='true'/><inactive xmlns='urn:xmpp:csi:0'/><unknown xmlns='urn:example:x'/>")
        let bound = line.news().joined()
        #expect(bound.contains("<enabled xmlns='urn:xmpp:sm:3' id='") && bound.contains(" resume='true'/>"))
        #expect(bound.components(of: "xmlns=") == 2, "\(bound)")
        romeo.send(Self.message("m1", to: balcony.address.description))
        #expect(line.news().joined().contains("<received xmlns='urn:xmpp:carbons:2'>"))
        romeo.send("<message to='\(line.session?.address.description ?? "")' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
        #expect(line.news().isEmpty)
        line.session?.indicate(.active)
        #expect(line.news().joined().contains("<composing "))
    }

    @Test("what was not asked for is not switched on")
    func nothing() throws {
        server.createAccount("juliet")
        let (romeo, balcony) = (server.online("romeo/orchard"), server.online("juliet/balcony"))
        let line = try bind("")
        #expect(line.news() == ["bound <metadata xmlns='urn:xmpp:mam:2'/>"])
        romeo.send(Self.message("m1", to: balcony.address.description))
        #expect(line.news().isEmpty)
    }

    @Test("a second wish for stream management, and one that means nothing, are answered as such (XEP-0198 §9.1)")
    func failedManagement() throws {
        server.createAccount("juliet")
        let twice = try bind("<enable xmlns='urn:xmpp:sm:3'/><enable xmlns='urn:xmpp:sm:3'/>").news().joined()
        #expect(twice.contains("<enabled xmlns='urn:xmpp:sm:3'/><failed xmlns='urn:xmpp:sm:3'><unexpected-request "))
        let wrong = try bind("<enable xmlns='urn:xmpp:sm:3' resume='perhaps'/>").news().joined()
        #expect(wrong.contains("<failed xmlns='urn:xmpp:sm:3'><bad-request "))
    }

    @Test("what can be asked for is offered by the features that do it")
    func offer() {
        let offer = InProcessConversationTransport(server).inlineOffer(at: "capulet.example")
        #expect(offer == InlineOffer(features: ["urn:xmpp:carbons:2", "urn:xmpp:sm:3", "urn:xmpp:csi:0"], resumes: true))
        let bare = TestServer { _ in [] }
        #expect(InProcessConversationTransport(bare).inlineOffer(at: "capulet.example") == InlineOffer())
    }

    // MARK: The archive

    @Test("a client is told how far its archive went as it was bound, and gets what came since (XEP-0386 §3.2, XEP-0313 §5)")
    func metadata() throws {
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        #expect(try bind("").news() == ["bound <metadata xmlns='urn:xmpp:mam:2'/>"])
        romeo.send(Self.message("m1"))
        romeo.send(Self.message("m2"))
        let before = try bind("").news().joined()
        let again = try bind("") { romeo.sendOnly(Self.message("m3")) }.news().joined()
        #expect(before.contains("<start id='") && before.contains("<end id='"))
        #expect(before == again)
    }

    @Test("waiting messages that the archive has are not sent as well; the others are, and what came after the client was bound (XEP-0386 §3.2)")
    func offline() throws {
        server.createAccount("juliet")
        let romeo = server.online("romeo/orchard")
        romeo.send(Self.message("m1"))
        romeo.send(Self.message("m2", to: "juliet@capulet.example", "<no-permanent-store xmlns='urn:xmpp:hints'/>"))
        let line = try bind("")
        romeo.send(Self.message("m3"))
        _ = line.news()
        try line.send("<presence/>", server)
        #expect(Self.ids(line.news()) == ["m2", "m3"])
        // A ping shows that it has read them.
        try line.send("<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>", server)
        line.session?.streamClosed()
        server.context.flush()
        server.run()
        let later = server.client("juliet/balcony")
        later.send("<presence/>")
        #expect(later.receivedBesidesPresence() == [])
    }

    @Test("a client that is bound and never becomes available takes nothing from others")
    func neverAvailable() throws {
        server.createAccount("juliet")
        server.online("romeo/orchard").send(Self.message("m1"))
        try bind("").session?.transportClosed()
        let balcony = server.client("juliet/balcony")
        balcony.send("<presence/>")
        #expect(balcony.receivedBesidesPresence().map { $0.id } == ["m1"])
    }

    // MARK: Who it is

    @Test("an installation has one resource and one session; others go on (XEP-0386 §3.2, §3.2.1)")
    func installations() throws {
        server.createAccount("juliet")
        let (one, other) = (UserAgent(id: "d4565fa7-4d72-4749-b3d3-740edbf87770"), UserAgent(id: "d4565fa7-4d72-4749-b3d3-740edbf87771"))
        let first = try bind("<tag>A</tag>", agent: one)
        let second = try bind("<tag>A</tag>", agent: other)
        let unnamed = try [bind("<tag>A</tag>"), bind("<tag>A</tag>")]
        let third = try bind("<tag>B</tag>", agent: one)
        #expect(first.end?.condition == .conflict)
        #expect([second, unnamed[0], unnamed[1], third].allSatisfy { !$0.isClosed })
        let fourth = try bind("<tag>A</tag>", agent: one)
        #expect(fourth.session?.address == first.session?.address)
        #expect(third.end?.condition == .conflict)
        #expect(fourth.session?.userAgent == one)
        #expect(Set([second, unnamed[0], unnamed[1], fourth].map { $0.session?.address }).count == 4)
        #expect([second, unnamed[0], unnamed[1], fourth].allSatisfy { $0.session?.address.resourcepart.hasPrefix("A/") == true })
    }

    @Test("what a client said of itself goes with its stream to another connection, unless it says something else there (XEP-0198 §5)")
    func resumed() throws {
        server.createAccount("juliet")
        let agent = UserAgent(id: "d4565fa7-4d72-4749-b3d3-740edbf87770", software: "A")
        let line = try bind("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", agent: agent)
        let bound = line.news().joined()
        let begin = try #require(bound.firstRange(of: "<enabled xmlns='urn:xmpp:sm:3' id='")?.upperBound)
        let name = String(bound[begin...].prefix { $0 != "'" })
        _ = line.session?.connectionLost()
        server.run()
        let next = server.resume("juliet", previous: name, handled: 0)
        #expect(next.session?.address == line.session?.address)
        #expect(next.session?.userAgent == agent)
    }

    @Test("an account with as many sessions as it may have gets no other one, and its log-in stands", arguments: [1, 2])
    func limit(sessions: Int) throws {
        var limits = HostLimits()
        limits.sessionsMax = 2
        let server = TestServer(limits: limits)
        server.createAccount("juliet")
        for index in 0..<sessions { _ = server.client("juliet/\(index)") }
        let line = try bind("", on: server)
        #expect(line.refusal?.condition == (sessions == 2 ? .resourceConstraint : nil))
        #expect((line.session == nil) == (sessions == 2))
    }
}

extension String {
    fileprivate func components(of text: String) -> Int { ranges(of: text).count }
}
