import MartletCore
import MartletNetwork
import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// XEP-0388 and XEP-0386 on connections: what travels, and how often a client has to wait for an answer.
@Suite struct InlineLoginTests {
    private static let agent = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>AwesomeXMPP</software></user-agent>"
    private static let bind = "<bind xmlns='urn:xmpp:bind:0'><tag>balcony</tag></bind>"
    private static let headerEnd = "</stream:features>"

    private static func authenticate(_ name: String, password: String = "pencil", _ inline: String = bind) -> String {
        let response = Base64.encode("\0\(name)\0\(password)".utf8)
        return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>\(response)</initial-response>\(inline)</authenticate>"
    }

    private static func address(in success: String) throws -> String {
        let begin = try #require(success.firstRange(of: "<authorization-identifier>")?.upperBound)
        return String(success[begin...].prefix { $0 != "<" })
    }

    // MARK: One round trip

    @Test("who knows the server logs in and is bound in one round trip after connecting, without a second header (XEP-0388 §1)")
    func oneRoundTrip() async throws {
        try await TestServer.with { server, port in
            let client = try await TestClient.connect(to: port)
            // Everything at once, and the first stanza behind it.
            try await client.send(TestClient.header() + Self.authenticate("juliet") + "<iq type='get' id='q1'><query xmlns='urn:example:q'/></iq>")
            let features = try await client.hear(Self.headerEnd)
            #expect(features.contains("<authentication xmlns='urn:xmpp:sasl:2'>") && features.contains("<inline><bind xmlns='urn:xmpp:bind:0'/></inline>"))
            let success = try await client.hear(Self.headerEnd)
            #expect(success.hasPrefix("<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@verona.example/balcony/"))
            #expect(success.hasSuffix("</authorization-identifier><bound xmlns='urn:xmpp:bind:0'/></success><stream:features></stream:features>"))
            #expect(try await client.hear("</iq>").contains("id='q1'"))
            let sessions = server.router.sessions(of: try BareJID(parsing: "juliet@verona.example"))
            #expect(sessions.count == 1)
            #expect(sessions.first?.userAgent == nil)
        }
    }

    /// What a log-in by PLAIN takes, from the first header to the resource.
    private struct Cost {
        var roundTrips = 0
        var sentBytes = 0
        var heardBytes = 0

        mutating func say(_ text: String, hear answers: String..., to client: TestClient) async throws {
            roundTrips += 1
            sentBytes += text.utf8.count
            try await client.send(text)
            for answer in answers { heardBytes += try await client.hear(answer).utf8.count }
        }
    }

    @Test("by RFC 6120 a log-in takes four round trips, by XEP-0388 and XEP-0386 one, with fewer bytes both ways")
    func costs() async throws {
        try await TestServer.with { _, port in
            var (old, new) = (Cost(), Cost())
            let juliet = try await TestClient.connect(to: port)
            try await old.say(TestClient.header(), hear: Self.headerEnd, to: juliet)
            try await old.say(TestClient.plain("juliet"), hear: "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", to: juliet)
            try await old.say(TestClient.header(), hear: Self.headerEnd, to: juliet)
            try await old.say(TestClient.bind, hear: "</iq>", to: juliet)
            let romeo = try await TestClient.connect(to: port)
            try await new.say(
                TestClient.header() + Self.authenticate("romeo"), hear: Self.headerEnd, Self.headerEnd, to: romeo)
            #expect(old.roundTrips == 4)
            #expect(new.roundTrips == 1)
            #expect(old.sentBytes == 2 * TestClient.header().utf8.count + TestClient.plain("juliet").utf8.count + TestClient.bind.utf8.count)
            #expect(new.sentBytes == TestClient.header().utf8.count + Self.authenticate("romeo").utf8.count)
            #expect(new.sentBytes * 10 < old.sentBytes * 8, "\(new.sentBytes) of \(old.sentBytes)")
            #expect(new.heardBytes * 10 < old.heardBytes * 9, "\(new.heardBytes) of \(old.heardBytes)")
        }
    }

    @Test("SCRAM is bound to the channel as before, and says the server's proof in the success (XEP-0388 §2.5, §2.6.1, RFC 5802)", arguments: [false, true])
    func scram(isDirect: Bool) async throws {
        try await TestServer.with(isDirect ? .directTLS : .startTLS) { server, port in
            let client = try await TestClient.connect(to: port)
            if !isDirect {
                let clear = try await client.say(TestClient.header(), hear: Self.headerEnd)
                #expect(!clear.contains("authentication"))
                _ = try await client.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", hear: "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            }
            try await client.startTLS("verona.example", trust: "verona.example.pem")
            let binding = try #require(server.certificates.certificate(of: "verona.example")?.bindings.first)
            let password = try #require(PreparedPassword("pencil"))
            var scram = ScramClient(hash: .sha256, binding: .bound(binding), username: "juliet", password: password, nonce: ScramNonce(random: [UInt8](0..<18)))
            let first = """
                <authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256-PLUS'><initial-response>\(Base64.encode(scram.first()))</initial-response>\
                \(Self.agent)\(Self.bind)</authenticate>
                """
            // The header and the first message need no answer between them.
            try await client.send(TestClient.header() + first)
            #expect(try await client.hear(Self.headerEnd).contains("<mechanism>SCRAM-SHA-256-PLUS</mechanism>"))
            let challenge = try await client.hear("</challenge>")
            #expect(challenge.hasPrefix("<challenge xmlns='urn:xmpp:sasl:2'>"))
            let final = try scram.final(answering: try #require(Self.payload(of: "challenge", in: challenge)))
            let success = try await client.say("<response xmlns='urn:xmpp:sasl:2'>\(Base64.encode(final))</response>", hear: Self.headerEnd)
            try scram.verify(try #require(Self.payload(of: "additional-data", in: success)))
            #expect(try Self.address(in: success).hasPrefix("juliet@verona.example/balcony/"))
            let session = server.router.sessions(of: try BareJID(parsing: "juliet@verona.example")).first
            #expect(session?.userAgent == UserAgent(id: "d4565fa7-4d72-4749-b3d3-740edbf87770", software: "AwesomeXMPP"))
        }
    }

    private static func payload(of name: String, in xml: String) -> [UInt8]? {
        guard let begin = xml.firstRange(of: "<\(name)")?.upperBound, let start = xml[begin...].firstIndex(of: ">"),
            let end = xml[start...].firstIndex(of: "<")
        else { return nil }
        return Base64.decode(xml[xml.index(after: start)..<end])
    }

    @Test("without a bind in it the stream goes on to one of RFC 6120, on the same header (XEP-0388 §5.1)")
    func separateBind() async throws {
        try await TestServer.with { server, port in
            let client = try await TestClient.connect(to: port)
            try await client.send(TestClient.header() + Self.authenticate("juliet", Self.agent))
            _ = try await client.hear(Self.headerEnd)
            let success = try await client.hear(Self.headerEnd)
            #expect(success.hasPrefix("<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@verona.example</authorization-identifier></success>"))
            #expect(success.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"))
            #expect(try await client.say(TestClient.bind, hear: "</iq>").contains("<jid>juliet@verona.example/balcony</jid>"))
            let session = server.router.sessions(of: try BareJID(parsing: "juliet@verona.example")).first
            #expect(session?.userAgent?.software == "AwesomeXMPP")
        }
    }

    // MARK: Other carriers

    @Test("the same over WebSocket: success and features are messages of their own (RFC 7395 §3.3.3)")
    func webSocket() async throws {
        try await TestServer.with(.http) { _, port in
            let client = try await TestClient.connect(to: port)
            try await client.openWebSocket()
            try await client.send(ClientFrame.text(TestClient.open))
            try await client.send(ClientFrame.text(Self.authenticate("juliet")))
            #expect(try await client.hear(Self.headerEnd).contains("<authentication xmlns='urn:xmpp:sasl:2'>"))
            let success = try await client.hear(Self.headerEnd)
            #expect(try Self.address(in: success).hasPrefix("juliet@verona.example/balcony/"))
            let unknown = try await client.say(frame: "<iq xmlns='jabber:client' type='get' id='q1'><query xmlns='urn:example:q'/></iq>", hear: "</iq>")
            #expect(unknown.contains("<iq xmlns='jabber:client' "))
        }
    }

    // MARK: Streams that go on

    @Test("a stream is resumed inside a log-in, in one round trip; no features follow, and what was not acknowledged does (XEP-0198 §9.2)")
    func resumption() async throws {
        try await TestServer.with { _, port in
            let first = try await TestClient.connect(to: port)
            try await first.logIn("juliet")
            let enabled = try await first.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", hear: "/>")
            let begin = try #require(enabled.firstRange(of: " id='")?.upperBound)
            let name = String(enabled[begin...].prefix { $0 != "'" })
            let romeo = try await TestClient.connect(to: port)
            try await romeo.logIn("romeo")
            try await romeo.send("<message to='juliet@verona.example/balcony' type='chat' id='m1'><body>hist</body></message>")
            _ = try await first.hear("</message>")
            try await first.close()
            let second = try await TestClient.connect(to: port)
            let resume = "<resume xmlns='urn:xmpp:sm:3' previd='\(name)' h='0'/>"
            try await second.send(TestClient.header() + Self.authenticate("juliet", resume + Self.bind))
            _ = try await second.hear(Self.headerEnd)
            let resumed = try await second.hear("</message>")
            #expect(
                resumed.hasPrefix(
                    "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@verona.example/balcony</authorization-identifier>"
                        + "<resumed xmlns='urn:xmpp:sm:3' h='0' previd='\(name)'/></success><message "), "\(resumed)")
            #expect(resumed.contains("hist"))
        }
    }

    @Test("a stream that is gone, or another account's, is not resumed, and the resource is bound (XEP-0198 §9.2.1)")
    func failedResumption() async throws {
        try await TestServer.with { _, port in
            let first = try await TestClient.connect(to: port)
            try await first.logIn("juliet")
            let enabled = try await first.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", hear: "/>")
            let begin = try #require(enabled.firstRange(of: " id='")?.upperBound)
            let name = String(enabled[begin...].prefix { $0 != "'" })
            for (account, previous) in [("juliet", "gone"), ("romeo", name)] {
                let client = try await TestClient.connect(to: port)
                let resume = "<resume xmlns='urn:xmpp:sm:3' previd='\(previous)' h='0'/>"
                try await client.send(TestClient.header() + Self.authenticate(account, resume + Self.bind))
                _ = try await client.hear(Self.headerEnd)
                let success = try await client.hear(Self.headerEnd)
                #expect(try Self.address(in: success).hasPrefix("\(account)@verona.example/balcony/"))
                #expect(
                    success.contains(
                        "<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed><bound xmlns='urn:xmpp:bind:0'/>"))
            }
            #expect(try await first.say("<iq type='get' id='q1'><query xmlns='urn:example:q'/></iq>", hear: "</iq>").contains("id='q1'"))
        }
    }

    // MARK: What goes wrong

    @Test("failures are counted, delayed and answered as those of the old profile; nothing else of the request is looked at (reliability rule 14)")
    func failures() async throws {
        try await TestServer.with { server, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: Self.headerEnd)
            let wrong = Self.authenticate("juliet", password: "wrong")
            for name in ["juliet", "nobody"] {
                let failure = try await client.say(Self.authenticate(name, password: "wrong"), hear: "</failure>")
                #expect(failure == "<failure xmlns='urn:xmpp:sasl:2'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>")
            }
            for _ in 0..<2 { _ = try await client.say(TestClient.plain("juliet", password: "wrong"), hear: "</failure>") }
            #expect(try await client.say(wrong, hear: "</stream:stream>").contains("<policy-violation"))
            #expect(server.router.sessions(of: try BareJID(parsing: "juliet@verona.example")).isEmpty)
        }
        try await TestServer.with(accounts: TestAccounts(isAvailable: false)) { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: Self.headerEnd)
            #expect(try await client.say(Self.authenticate("juliet"), hear: "</failure>").contains("<temporary-auth-failure "))
        }
    }

    @Test("an address that failed too often waits for its answer in either profile (reliability rule 14)")
    func throttled() async throws {
        var settings = NetworkSettings.test
        settings.throttle.failuresPerAddressMax = 1
        settings.throttle.recoveryPerAddress = .milliseconds(200)
        try await TestServer.with(settings: settings) { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: Self.headerEnd)
            let begin = NIODeadline.now()
            _ = try await client.say(TestClient.plain("juliet", password: "wrong"), hear: "</failure>")
            _ = try await client.say(Self.authenticate("juliet", password: "wrong"), hear: "</failure>")
            _ = try await client.say(Self.authenticate("juliet"), hear: "<success")
            #expect(NIODeadline.now() - begin >= .milliseconds(300))
        }
    }

    @Test("profiles do not mix, and nobody logs in twice (XEP-0388 §2.4, §4.8)", arguments: [
        // In the middle of an exchange of the one, something of the other.
        ("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>", "<challenge xmlns='urn:xmpp:sasl:2'/>", TestClient.plain("juliet"), "not-authorized"),
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</challenge>",
            authenticate("juliet"), "not-authorized"
        ),
        ("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>", "<challenge xmlns='urn:xmpp:sasl:2'/>", "<presence/>", "not-authorized"),
        ("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>", "<challenge xmlns='urn:xmpp:sasl:2'/>", authenticate("juliet"), "not-authorized"),
        // After it.
        (authenticate("juliet", ""), headerEnd, authenticate("juliet"), "policy-violation"),
        (authenticate("juliet", ""), headerEnd, TestClient.plain("juliet"), "not-authorized"),
        (authenticate("juliet", ""), headerEnd, TestClient.header().replacing("<?xml version='1.0'?>", with: ""), "bad-format"),
        (authenticate("juliet"), headerEnd, authenticate("juliet"), "policy-violation"),
        (authenticate("juliet"), headerEnd, "<next xmlns='urn:xmpp:sasl:2' task='TOTP'/>", "policy-violation"),
        (authenticate("juliet"), headerEnd, bind, "unsupported-stanza-type"),
    ])
    func mixed(first: String, answer: String, second: String, condition: String) async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: Self.headerEnd)
            _ = try await client.say(first, hear: answer)
            #expect(try await client.say(second, hear: "</stream:stream>").contains("<\(condition) "))
        }
    }

    @Test("who is bound already is refused another resource as a stanza is (RFC 6120 §7)")
    func bindTwice() async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: Self.headerEnd)
            _ = try await client.say(Self.authenticate("juliet"), hear: Self.headerEnd)
            #expect(try await client.say(TestClient.bind, hear: "</iq>").contains("<not-allowed "))
        }
    }

    @Test("an element as long as a stanza may be is taken as soon as the client has logged in, not before (reliability rule 4)")
    func limits() async throws {
        try await TestServer.with { _, port in
            let client = try await TestClient.connect(to: port)
            _ = try await client.say(TestClient.header(), hear: Self.headerEnd)
            let long = "<message to='juliet@verona.example' type='chat' id='m1'><body>\(String(repeating: "x", count: 100_000))</body></message>"
            let query = "<iq type='get' id='q1'><query xmlns='urn:example:q'/></iq>"
            // Both in one piece: the parser has the old limits when it arrives.
            try await client.send(Self.authenticate("juliet") + long + query)
            _ = try await client.hear(Self.headerEnd)
            #expect(try await client.hear("</iq>").contains("q1"))
            let stranger = try await TestClient.connect(to: port)
            _ = try await stranger.say(TestClient.header(), hear: Self.headerEnd)
            let padding = "<x xmlns='urn:example:x'>\(String(repeating: "x", count: 100_000))</x>"
            #expect(try await stranger.say(Self.authenticate("juliet", padding), hear: "</stream:stream>").contains("<policy-violation "))
        }
    }
}
