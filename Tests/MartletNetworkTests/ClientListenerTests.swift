import MartletCore
import MartletNetwork
import MartletXMPP
import NIOCore
import Testing

@Suite struct ClientListenerTests {
    @Test("a client logs in and binds over a connection that may be in clear (RFC 6120 §9.1)")
    func plainLogin() async throws {
        try await TestServer.with { server, port in
            let client = try await TestClient.connect(to: port)
            let features = try await client.say(TestClient.header(), hear: "</stream:features>")
            #expect(features.contains("from='verona.example'"))
            #expect(features.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"))
            #expect(features.contains("<mechanism>PLAIN</mechanism>"))
            #expect(!features.contains("-PLUS"))
            try await client.authenticate("juliet", .sha256)
            let bound = try await client.say(TestClient.header(), hear: "</stream:features>")
            #expect(bound.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"))
            let result = try await client.say(TestClient.bind, hear: "</iq>")
            #expect(result.contains("<jid>juliet@verona.example/balcony</jid>"))
            #expect(server.router.sessions(of: try BareJID(parsing: "juliet@verona.example")).count == 1)
            #expect(try await client.say("</stream:stream>", hear: "</stream:stream>") == "</stream:stream>")
            #expect(try await client.hearEnd() == "")
        }
    }

    @Test("a client logs in over STARTTLS and binds the authentication to the certificate (RFC 6120 §5, RFC 5929 §4)", arguments: [true, false])
    func startTLS(isTLS13: Bool) async throws {
        try await TestServer.with(.startTLS) { server, port in
            let client = try await TestClient.connect(to: port)
            let features = try await client.say(TestClient.header(), hear: "</stream:features>")
            #expect(features.contains("<required/>") && !features.contains("<mechanism>"))
            _ = try await client.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", hear: "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            try await client.startTLS("verona.example", trust: "verona.example.pem", isTLS13: isTLS13)
            let secured = try await client.say(TestClient.header(), hear: "</stream:features>")
            #expect(!secured.contains("starttls"))
            #expect(secured.contains("<mechanism>SCRAM-SHA-256-PLUS</mechanism>"))
            #expect(secured.contains("<channel-binding type='tls-server-end-point'/>"))
            let binding = try #require(server.certificates.certificate(of: "verona.example")?.bindings.first)
            try await client.authenticate("juliet", .sha256, binding: .bound(binding))
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            #expect(try await client.say(TestClient.bind, hear: "</iq>").contains("juliet@verona.example/balcony"))
            try await client.close()
        }
    }

    @Test("a second header ends the stream at once, wherever the stream is (RFC 6120 §4.3)", arguments: ["", "authenticated", "bound"])
    func secondHeader(stage: String) async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            if !stage.isEmpty {
                _ = try await client.say(TestClient.plain("juliet"), hear: "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
                _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            }
            if stage == "bound" { _ = try await client.say(TestClient.bind, hear: "</iq>") }
            let again = "<stream:stream to='verona.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
            #expect(try await client.say(again, hear: "</stream:stream>").contains("<bad-format"))
        }
    }

    @Test("what comes in one piece with the end of the stream is answered first", arguments: ["</stream:stream>", "<iq></presence>", "<a xmlns='b'/>"])
    func answersBeforeTheEnd(end: String) async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.logIn("juliet")
            let heard = try await client.say("<iq type='get' id='r1'><query xmlns='jabber:iq:roster'/></iq>" + end, hear: "</stream:stream>")
            #expect(heard.contains("id='r1'"))
        }
    }

    @Test("a stanza in jabber:server is none on a client's stream (RFC 6120 §4.9.3.24)", arguments: ["message", "presence", "iq"])
    func serverNamespace(name: String) async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.logIn("juliet")
            let stanza = "<\(name) xmlns='jabber:server' to='juliet@verona.example/balcony' type='get' id='x'/>"
            #expect(try await client.say(stanza, hear: "</stream:stream>").contains("<unsupported-stanza-type"))
        }
    }

    @Test("what clients send before they log in is counted while it waits, and a stream ends that there is no room for (P17)")
    func bytesBeforeLogin() async throws {
        var settings = NetworkSettings.test
        settings.admission.unauthenticatedBytesMax = 2 * Admission.connectionBytes + 8_192
        try await TestServer.with(settings: settings) { _, port in
            let first = try await TestClient.connect(to: port)
            _ = try await first.say(TestClient.header(), hear: "</stream:features>")
            let begun = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN' x='" + String(repeating: "x", count: 7_000)
            try await first.send(begun)
            let second = try await TestClient.connect(to: port)
            _ = try await second.say(TestClient.header(), hear: "</stream:features>")
            #expect(try await second.say(begun, hear: "</stream:stream>").contains("<resource-constraint"))
            let third = try await TestClient.connect(to: port)
            #expect(try await third.hearEnd() == "")
            _ = try await first.say("'>\(Base64.encode("\0juliet\0pencil".utf8))</auth>", hear: "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            try await second.close()
            let fourth = try await TestClient.connect(to: port)
            try await fourth.logIn("romeo")
        }
    }

    @Test("messages go from one session to another, on the same loop and between loops", arguments: [1, 2])
    func messages(loops: Int) async throws {
        try await TestServer.with(loops: loops) { _, port in
            let juliet = try await TestClient.connect(to: port)
            let romeo = try await TestClient.connect(to: port)
            try await juliet.logIn("juliet")
            try await romeo.logIn("romeo")
            try await juliet.send("<message to='romeo@verona.example/balcony' type='chat' id='m1'><body>art thou not Romeo</body></message>")
            let heard = try await romeo.hear("</message>")
            #expect(heard.contains("from='juliet@verona.example/balcony'") && heard.contains("art thou not Romeo"))
        }
    }

    @Test("the old request for a session is answered, and a second resource is refused (RFC 6121, RFC 6120 §7)")
    func legacySession() async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.logIn("juliet")
            let session = try await client.say("<iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", hear: ">")
            #expect(session.contains("type='result'") && session.contains("id='s1'"))
            #expect(try await client.say(TestClient.bind, hear: "</iq>").contains("<not-allowed"))
        }
    }

    @Test("a stream is understood byte by byte")
    func byteByByte() async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            for byte in TestClient.header().utf8 { try await client.send([byte]) }
            _ = try await client.hear("</stream:features>")
            for byte in TestClient.plain("juliet").utf8 { try await client.send([byte]) }
            _ = try await client.hear("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            for byte in (TestClient.header() + TestClient.bind).utf8 { try await client.send([byte]) }
            #expect(try await client.hear("</iq>").contains("juliet@verona.example/balcony"))
        }
    }

    @Test("what is sent ahead of answers is taken when its turn has come")
    func pipelined() async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.send(TestClient.header() + TestClient.plain("juliet") + TestClient.header() + TestClient.bind)
            #expect(try await client.hear("</iq>").contains("juliet@verona.example/balcony"))
        }
    }

    @Test("more stanzas than one turn takes all arrive, in order (reliability rule 31)")
    func fairness() async throws {
        var settings = NetworkSettings.test
        settings.stanzasPerTurnMax = 3
        try await TestServer.with(settings: settings) { _, port in
            let juliet = try await TestClient.connect(to: port)
            let romeo = try await TestClient.connect(to: port)
            try await juliet.logIn("juliet")
            try await romeo.logIn("romeo")
            let burst = (0..<100).map { "<message to='romeo@verona.example/balcony' id='m\($0)'><body>\($0)</body></message>" }.joined()
            try await juliet.send(burst + "</stream:stream>")
            let heard = try await romeo.hear("<body>99</body>")
            let bodies = heard.split(separator: "<body>").dropFirst().map { $0.prefix { $0.isNumber } }
            #expect(bodies.map(String.init) == (0..<100).map(String.init))
            #expect(try await juliet.hearEnd().hasSuffix("</stream:stream>"))
        }
    }

    @Test(
        "bytes behind <starttls/> end the connection before TLS begins (CVE-2011-0411)",
        arguments: ["x", "\n<auth", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"])
    func startTLSInjection(injected: String) async throws {
        try await TestServer.with(.startTLS) { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            try await client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + injected)
            #expect(try await client.hearEnd() == "")
        }
    }

    @Test("a line feed behind <starttls/> means nothing, and some clients send one")
    func lineFeedBehindStartTLS() async throws {
        try await TestServer.with(.startTLS) { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            _ = try await client.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n", hear: "/>")
            try await client.startTLS("verona.example", trust: "verona.example.pem")
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
        }
    }

    @Test("a second <starttls/> is answered with failure and the end (RFC 6120 §5.4.2.2)")
    func secondStartTLS() async throws {
        try await TestServer.with(.directTLS) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.startTLS("verona.example", trust: "verona.example.pem", alpn: ["xmpp-client"])
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            try await client.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            #expect(try await client.hearEnd() == "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>")
        }
    }

    @Test("direct TLS shows the certificate that the client names, and the first one to others (XEP-0368, RFC 6066 §3)")
    func serverNames() async throws {
        try await TestServer.with(.directTLS) { _, port in
            for domain in TestServer.domains {
                let client = try await TestClient.connect(to: port)
                try await client.startTLS(domain, trust: "\(domain).pem", alpn: ["xmpp-client"])
                #expect(try await client.say(TestClient.header(domain), hear: "</stream:features>").contains("from='\(domain)'"))
                try await client.close()
            }
            let other = try await TestClient.connect(to: port)
            await #expect(throws: (any Error).self) { try await other.startTLS("rsa.example", trust: "rsa.example.pem") }
        }
    }

    @Test("STARTTLS shows the certificate of the domain in 'to', whatever else the client names (RFC 6120 §5.4.3)")
    func startTLSDomain() async throws {
        try await TestServer.with(.startTLS) { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header("mantua.example"), hear: "</stream:features>")
            _ = try await client.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", hear: "/>")
            try await client.startTLS("mantua.example", trust: "mantua.example.pem")
            let other = try await client.say(TestClient.header("verona.example"), hear: "</stream:stream>")
            #expect(other.contains("<improper-addressing"))
        }
    }

    @Test("a reload with a bad file keeps what was served; a good one is served to new connections (P15)")
    func reload() async throws {
        try await TestServer.with(.directTLS) { server, port in
            func files(_ chain: String, _ key: String) -> [CertificateFiles] {
                [CertificateFiles(domain: "verona.example", chain: Fixtures.certificate(chain), key: Fixtures.certificate(key))]
            }
            #expect(throws: CertificateError.self) {
                try server.certificates.load(files("truncated.pem", "verona.example.key"), now: Fixtures.now)
            }
            let before = try await TestClient.connect(to: port)
            try await before.startTLS("verona.example", trust: "verona.example.pem")
            try server.certificates.load(files("rsa.example.pem", "rsa.example.key"), now: Fixtures.now)
            let after = try await TestClient.connect(to: port)
            try await after.startTLS("rsa.example", trust: "rsa.example.pem")
            #expect(try await before.say(TestClient.header(), hear: "</stream:features>").contains("verona.example"))
        }
    }

    @Test("a header that is not sent in time ends the connection, whatever trickles in (reliability rule 10)")
    func slowHeader() async throws {
        try await TestServer.with(holdsTime: true) { server, port in
            let client = try await TestClient.connect(to: port)
            try await client.send("<?xml version='1.0'?>")
            try await client.send(" <stream:str")
            try await server.waitForConnection()
            try await server.pass(seconds: 29)
            try await client.send("eam")
            try await server.pass(seconds: 3)
            #expect(try await client.hear("</stream:stream>").contains("<connection-timeout"))
            // The client does not answer with its own end.
            try await server.pass(seconds: 6)
            #expect(try await client.hearEnd() == "")
        }
    }

    @Test("a login that is not finished in time ends, pings notwithstanding")
    func slowLogin() async throws {
        try await TestServer.with(holdsTime: true) { server, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            for _ in 0..<30 {
                // The last may come when the server has ended the stream, and the client has heard it.
                try? await client.send(" ")
                try await server.pass(seconds: 1)
            }
            #expect(try await client.hear("</stream:stream>").contains("<connection-timeout"))
        }
    }

    @Test("a header beyond its limit is a policy violation (RFC 6120 §4.9.3.14)")
    func oversizedHeader() async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.send("<stream:stream to='" + String(repeating: "a", count: 20_000))
            let end = try await client.hear("</stream:stream>")
            #expect(end.contains("<stream:stream") && end.contains("<policy-violation"))
        }
    }

    @Test("a silent client is pinged, and dropped if it stays silent; its session ends (XEP-0199)")
    func ghost() async throws {
        try await TestServer.with(holdsTime: true) { server, port in
            let juliet = try BareJID(parsing: "juliet@verona.example")
            let client = try await TestClient.connect(to: port)
            try await client.logIn("juliet")
            try await server.pass(seconds: 301)
            #expect(try await client.hear("</iq>").contains("<ping xmlns='urn:xmpp:ping'/>"))
            try await client.send(" ")
            try await server.settle(client)
            try await server.pass(seconds: 40)
            #expect(server.router.sessions(of: juliet).count == 1)
            try await server.pass(seconds: 300)
            #expect(try await client.hear("</iq>").contains("<ping"))
            try await server.pass(seconds: 32)
            #expect(try await client.hearEnd() == "")
            #expect(server.router.sessions(of: juliet).isEmpty)
        }
    }

    @Test("a client that answers a ping at once has answered it (XEP-0199)")
    func promptAnswer() async throws {
        try await TestServer.with(holdsTime: true) { server, port in
            let juliet = try BareJID(parsing: "juliet@verona.example")
            let client = try await TestClient.connect(to: port)
            try await client.logIn("juliet")
            for _ in 1...2 {
                // The tick in which it is pinged, and not one more.
                try await server.pass(seconds: 300)
                #expect(try await client.hear("</iq>").contains("<ping"))
                try await client.send(" ")
                try await server.settle(client)
            }
            try await server.pass(seconds: 40)
            #expect(server.router.sessions(of: juliet).count == 1)
        }
    }

    @Test("a connection that the client shuts halfway ends, and its session with it")
    func halfClosed() async throws {
        try await TestServer.with { server, port in
            let client = try await TestClient.connect(to: port)
            try await client.logIn("juliet")
            try await client.shutDownOutput()
            #expect(try await client.hearEnd() == "")
            try await server.waitForNoConnection()
            #expect(server.router.sessions(of: try BareJID(parsing: "juliet@verona.example")).isEmpty)
        }
    }

    @Test("five failed logins end the stream; an unreachable account source is temporary (RFC 6120 §6.5)")
    func failures() async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            for _ in 0..<4 { #expect(try await client.say(TestClient.plain("juliet", password: "wrong"), hear: "</failure>").contains("<not-authorized/>")) }
            #expect(try await client.say(TestClient.plain("juliet", password: "wrong"), hear: "</stream:stream>").contains("<policy-violation"))
        }
        try await TestServer.with(accounts: TestAccounts(isAvailable: false)) { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            #expect(try await client.say(TestClient.plain("juliet"), hear: "</failure>").contains("<temporary-auth-failure/>"))
            #expect(try await client.say(TestClient.plain("juliet", password: "wrong"), hear: "</failure>").contains("<temporary-auth-failure/>"))
        }
    }

    @Test("stanzas before login or before a resource end the stream (RFC 6120 §4.9.3.12)")
    func tooEarly() async throws {
        try await TestServer.with { _, port in
            let stranger = try await TestClient.connect(to: port)
            _ = try await stranger.say(TestClient.header(), hear: "</stream:features>")
            #expect(try await stranger.say("<presence/>", hear: "</stream:stream>").contains("<not-authorized"))
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            _ = try await client.say(TestClient.plain("juliet"), hear: "/>")
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            #expect(try await client.say("<presence/>", hear: "</stream:stream>").contains("<not-authorized"))
        }
    }

    @Test("connections beyond an address's share, and beyond what may be unauthenticated, are closed at once")
    func admission() async throws {
        var settings = NetworkSettings.test
        settings.admission.connectionsPerAddressMax = 2
        try await TestServer.with(settings: settings) { _, port in
            let first = try await TestClient.connect(to: port)
            let second = try await TestClient.connect(to: port)
            _ = try await first.say(TestClient.header(), hear: "</stream:features>")
            _ = try await second.say(TestClient.header(), hear: "</stream:features>")
            #expect(try await TestClient.connect(to: port).hearEnd() == "")
            try await first.close()
            _ = try await second.say("</stream:stream>", hear: "</stream:stream>")
        }
        settings = .test
        settings.admission.unauthenticatedMax = 1
        try await TestServer.with(settings: settings) { _, port in
            let first = try await TestClient.connect(to: port)
            _ = try await first.say(TestClient.header(), hear: "</stream:features>")
            #expect(try await TestClient.connect(to: port).hearEnd() == "")
            _ = try await first.say(TestClient.plain("juliet"), hear: "/>")
            let second = try await TestClient.connect(to: port)
            _ = try await second.say(TestClient.header(), hear: "</stream:features>")
        }
    }

    @Test("a stop tells every client, waits for their ends, and closes the ports (RFC 6120 §4.9.3.21)")
    func stop() async throws {
        // Clients that are slow to answer are waited for as usual: a busy machine may take a second for that.
        let server = try await TestServer([.plain], settings: NetworkSettings())
        let port = try #require(server.service.ports.first)
        let bound = try await TestClient.connect(to: port)
        try await bound.logIn("juliet")
        let early = try await TestClient.connect(to: port)
        _ = try await early.say(TestClient.header(), hear: "</stream:features>")
        async let stopped: Void = server.service.stop()
        for client in [bound, early] {
            let end = try await client.hear("</stream:stream>")
            #expect(end.contains("<system-shutdown"))
            try await client.send("</stream:stream>")
            #expect(try await client.hearEnd() == "")
        }
        await stopped
        await #expect(throws: (any Error).self) { try await TestClient.connect(to: port) }
        try await server.pool.shutDown()
    }

    @Test("a storm of handshakes is served, a few at a time (reliability rule 15)")
    func handshakes() async throws {
        try await TestServer.with(.directTLS) { _, port in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<24 {
                    group.addTask {
                        let client = try await TestClient.connect(to: port)
                        try await client.startTLS("verona.example", trust: "verona.example.pem")
                        _ = try await client.say(TestClient.header(), hear: "</stream:features>")
                        try await client.close()
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("a handshake that never comes ends with the login deadline, without a word in clear")
    func slowHandshake() async throws {
        try await TestServer.with(.directTLS, holdsTime: true) { server, port in
            let client = try await TestClient.connect(to: port)
            try await client.send([0x16, 0x03, 0x01])
            try await server.waitForConnection()
            try await server.pass(seconds: 32)
            #expect(try await client.hearEnd() == "")
        }
    }

    @Test("an address that failed too often waits for its answer, and gets it (reliability rule 14)")
    func throttled() async throws {
        var settings = NetworkSettings.test
        settings.throttle.failuresPerAddressMax = 1
        settings.throttle.recoveryPerAddress = .milliseconds(200)
        try await TestServer.with(settings: settings) { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            let begin = NIODeadline.now()
            for _ in 0..<2 { _ = try await client.say(TestClient.plain("juliet", password: "wrong"), hear: "</failure>") }
            _ = try await client.say(TestClient.plain("juliet"), hear: "<success")
            #expect(NIODeadline.now() - begin >= .milliseconds(300))
        }
    }

    @Test("a client that sends faster than it may is read more slowly, and loses nothing")
    func slowedDown() async throws {
        var settings = NetworkSettings.test
        settings.bytesPerSecond = 100_000
        settings.bytesBurst = 4_000
        try await TestServer.with(settings: settings) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.logIn("juliet")
            let body = String(repeating: "x", count: 20_000)
            let begin = NIODeadline.now()
            _ = try await client.say("<message to='juliet@verona.example/balcony'><body>\(body)</body></message>", hear: "</message>")
            #expect(NIODeadline.now() - begin >= .milliseconds(100))
        }
    }

    @Test("a client that does not read is ended, at the bound of what may wait for it (reliability rule 30)")
    func slowReader() async throws {
        try await TestServer.with { server, port in
            let romeo = try BareJID(parsing: "romeo@verona.example")
            let deaf = try await TestClient.connect(to: port)
            try await deaf.logIn("romeo")
            try await deaf.stopReading()
            let sender = try await TestClient.connect(to: port)
            try await sender.logIn("juliet")
            let body = String(repeating: "x", count: 200_000)
            for _ in 0..<200 where !server.router.sessions(of: romeo).isEmpty {
                try await sender.send("<message to='romeo@verona.example/balcony'><body>\(body)</body></message>")
                try await server.settle(sender)
            }
            #expect(server.router.sessions(of: romeo).isEmpty)
        }
    }

    @Test("a port in use is said to be in use")
    func portInUse() async throws {
        try await TestServer.with { _, port in
            var listener = ListenerConfiguration.plain
            listener.port = port
            let error = await #expect(throws: ListenerError.self) { _ = try await TestServer([listener]) }
            #expect(error?.reason == .portInUse)
            #expect(error?.description.contains("port \(port) on 127.0.0.1 is in use") == true)
        }
    }
}

extension TestServer {
    /// Until the loops know of a connection.
    func waitForConnection() async throws {
        while try await connectionCount() == 0 { await Task.yield() }
    }

    func waitForNoConnection() async throws {
        while try await connectionCount() > 0 { await Task.yield() }
    }

    private func connectionCount() async throws -> Int {
        var count = 0
        for loop in pool.loops { count += try await loop.loop.submit { loop.connectionCount }.get() }
        return count
    }

    /// Until what the client sent before has been read: an answer to something else has come.
    func settle(_ client: TestClient) async throws {
        _ = try await client.say("<iq type='set' id='settle'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", hear: "id='settle'/>")
    }
}
