import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import Testing

@Suite("XMPP over BOSH (XEP-0124, XEP-0206)")
struct BOSHTests {
    /// One client, which asks on as many connections as it needs.
    private final class Client {
        let port: Int
        var rid = 1_000
        var sid: String?

        init(port: Int) { self.port = port }

        static let restart = "to='verona.example' xmpp:restart='true'"

        func body(_ rid: Int, _ attributes: String, _ content: String) -> String {
            let sid = sid.map { " sid='\($0)'" } ?? ""
            return "<body rid='\(rid)'\(sid) \(attributes) xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh'>\(content)</body>"
        }

        /// Sends a request on a connection of its own.
        func post(_ rid: Int, _ attributes: String = "", _ content: String = "") async throws -> TestClient {
            let body = body(rid, attributes, content)
            let connection = try await TestClient.connect(to: port)
            try await connection.send(
                "POST /http-bind HTTP/1.1\r\nHost: verona.example\r\nConnection: close\r\nContent-Type: text/xml\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body)
            return connection
        }

        /// The body of the answer on a connection, which is its last.
        static func answer(_ connection: TestClient) async throws -> String {
            let answer = try await connection.hearEnd()
            #expect(answer.hasPrefix("HTTP/1.1 200 OK"), "\(answer)")
            return answer.firstRange(of: "\r\n\r\n").map { String(answer[$0.upperBound...]) } ?? ""
        }

        func send(_ attributes: String = "", _ content: String = "") async throws -> TestClient {
            defer { rid += 1 }
            return try await post(rid, attributes, content)
        }

        func say(_ content: String = "", _ attributes: String = "") async throws -> String {
            try await Self.answer(try await send(attributes, content))
        }

        func begin(_ attributes: String = "to='verona.example' wait='60' hold='1' ver='1.6' xmpp:version='1.0'") async throws -> String {
            let answer = try await say("", attributes)
            sid = answer.firstRange(of: " sid='").flatMap { begin in answer[begin.upperBound...].firstIndex(of: "'").map { String(answer[begin.upperBound..<$0]) } }
            return answer
        }

        func logIn(_ name: String, wait: Int = 60) async throws {
            _ = try await begin("to='verona.example' wait='\(wait)' hold='1' ver='1.6' xmpp:version='1.0'")
            #expect(try await say(TestClient.plain(name)).contains("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"))
            #expect(try await say("", Self.restart).contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"))
            #expect(try await say(TestClient.framedBind).contains("<jid>\(name)@verona.example/balcony</jid>"))
        }
    }

    private func with(_ settings: NetworkSettings = .test, holdsTime: Bool = false, _ body: (TestServer, Client) async throws -> Void) async throws {
        try await TestServer.with(.http, settings: settings, holdsTime: holdsTime) { server, port in
            let client = Client(port: port)
            try await body(server, client)
        }
    }

    private static let unknown = "type='terminate' condition='item-not-found'"
    private static func message(_ text: String, to name: String = "juliet") -> String {
        "<message xmlns='jabber:client' to='\(name)@verona.example/balcony'><body>\(text)</body></message>"
    }

    @Test("a session is made and says what holds for it (XEP-0124 §8, XEP-0206 §3)")
    func creation() async throws {
        try await with { _, client in
            let answer = try await client.begin()
            for attribute in ["wait='60'", "hold='1'", "requests='2'", "inactivity='60'", "maxpause='120'", "from='verona.example'", "xmpp:restartlogic='true'"] {
                #expect(answer.contains(" " + attribute))
            }
            #expect((client.sid?.utf8.count ?? 0) >= 22)
            #expect(answer.contains("<stream:features xmlns:stream='http://etherx.jabber.org/streams'><mechanisms "))
            #expect(!answer.contains("starttls"))
        }
        try await with { _, client in
            let answer = try await client.begin("to='verona.example' wait='3600' hold='7'")
            #expect(answer.contains("wait='60'") && answer.contains("hold='1'"))
        }
        try await with { _, client in
            let answer = try await client.begin("to='padua.example'")
            #expect(answer.contains("type='terminate' condition='remote-stream-error'"))
        }
    }

    @Test("a client logs in, and is given what comes for it in the request that is held (XEP-0206 §4, §5)")
    func logIn() async throws {
        try await with { _, client in
            try await client.logIn("juliet")
            let held = try await client.send()
            let answer = try await client.say(Self.message("hark"))
            // The oldest request is answered first; the other is answered with what came, or with nothing.
            let first = try await Client.answer(held)
            #expect((first + answer).contains("<message xmlns='jabber:client' from='juliet@verona.example/balcony' to='juliet@verona.example/balcony'><body>hark</body></message>"))
        }
    }

    @Test("a client logs in by XEP-0388 and is bound without beginning the stream anew (XEP-0388 §2.6.1, XEP-0386)")
    func inlineLogIn() async throws {
        try await with { _, client in
            #expect(try await client.begin().contains("<authentication xmlns='urn:xmpp:sasl:2'>"))
            let response = Base64.encode("\0juliet\0pencil".utf8)
            let success = try await client.say(
                "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>\(response)</initial-response><bind xmlns='urn:xmpp:bind:0'/></authenticate>")
            #expect(success.contains("<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@verona.example/"))
            #expect(success.contains("<bound xmlns='urn:xmpp:bind:0'/></success><stream:features xmlns:stream='http://etherx.jabber.org/streams'>"))
            #expect(try await client.say("<iq xmlns='jabber:client' type='get' id='q1'><query xmlns='urn:example:q'/></iq>").contains("id='q1'"))
        }
    }

    @Test("a request that comes again is answered the same, and its stanzas count once (XEP-0124 §14)")
    func again() async throws {
        try await with { _, client in
            try await client.logIn("juliet")
            let rid = client.rid
            let first = try await client.say(Self.message("hark"))
            #expect(first.contains("hark"))
            #expect(try await Client.answer(try await client.post(rid, "", Self.message("hark"))) == first)
            let next = try await client.send()
            #expect(try await client.say("", "type='terminate'").contains("type='terminate'"))
            #expect(try await !Client.answer(next).contains("hark"))
        }
    }

    @Test("requests are taken in order, whichever comes first; one that is too far ahead or long gone ends the session (XEP-0124 §14.2)")
    func order() async throws {
        try await with { _, client in
            try await client.logIn("juliet")
            let second = try await client.post(client.rid + 1, "", Self.message("two"))
            let first = try await client.post(client.rid, "", Self.message("one"))
            client.rid += 2
            let heard = try await Client.answer(first) + Client.answer(second)
            let (one, two) = (heard.firstRange(of: "one"), heard.firstRange(of: "two"))
            #expect(try #require(one).lowerBound < #require(two).lowerBound)
        }
        for distance in [2, -4] {
            try await with { _, client in
                try await client.logIn("juliet")
                #expect(try await Client.answer(try await client.post(client.rid + distance)).contains(Self.unknown))
                #expect(try await client.say().contains(Self.unknown))
            }
        }
    }

    @Test("a request is held as long as the client wants, and then answered with nothing", arguments: [600, 1_200])
    func wait(seconds: Int) async throws {
        try await with(Self.slow, holdsTime: true) { server, client in
            try await client.logIn("juliet", wait: seconds)
            let held = try await client.send()
            let isAnswered = NIOLockedValueBox(false)
            async let answer = { () async throws -> String in
                defer { isAnswered.withLockedValue { $0 = true } }
                return try await Client.answer(held)
            }()
            var passed = 0
            while !isAnswered.withLockedValue({ $0 }) {
                try await server.pass(seconds: 1)
                passed += 1
                await Task.yield()
            }
            #expect(try await answer == "<body xmlns='http://jabber.org/protocol/httpbind'/>")
            #expect(passed >= seconds)
        }
    }

    /// Waits of minutes, in which nobody is pinged.
    private static var slow: NetworkSettings {
        var settings = NetworkSettings.test
        settings.pingAfter = nil
        (settings.bosh.waitMax, settings.bosh.inactivity, settings.bosh.pauseMax) = (2_000, 1_000, 2_000)
        return settings
    }

    @Test("a client that does not ask any more is gone in time, or when it has said, with a bound to that (XEP-0124 §11, §12)", arguments: [
        (nil, 900, true), (nil, 1_100, false), (1_500, 1_400, true), (1_500, 1_600, false), (3_600, 1_900, true), (3_600, 2_100, false),
    ] as [(Int?, Int, Bool)])
    func inactivity(pause: Int?, seconds: Int, isThere: Bool) async throws {
        try await with(Self.slow, holdsTime: true) { server, client in
            try await client.logIn("juliet")
            if let pause { _ = try await client.say("", "pause='\(pause)'") }
            try await server.pass(seconds: seconds)
            let answer = try await client.say(Self.message("hark"))
            #expect(answer.contains(Self.unknown) == !isThere)
        }
    }

    @Test("an unknown session is not found, and what is no body is refused (XEP-0124 §17)")
    func refusals() async throws {
        try await with { _, client in
            client.sid = "nobody"
            let answer = try await client.say()
            #expect(answer.contains(Self.unknown))
        }
        for content in ["<message", "text", "<!DOCTYPE x>"] {
            try await with { _, client in
                let answer = try await client.say(content, "to='verona.example'")
                #expect(answer.contains("type='terminate' condition='bad-request'"))
            }
        }
    }

    @Test("more requests at a time than were allowed end the session (XEP-0124 §10)", arguments: [0, 1])
    func mostRequests(more: Int) async throws {
        try await with { _, client in
            try await client.logIn("juliet")
            let first = try await client.send()
            let second = try await client.send()
            // The second made room by having the first answered.
            #expect(try await Client.answer(first) == "<body xmlns='http://jabber.org/protocol/httpbind'/>")
            if more == 1 {
                let third = try await client.post(client.rid + 2)
                #expect(try await Client.answer(third).contains("type='terminate'"))
            }
            try await second.close()
        }
    }

    @Test("a request that is held is sent again when its connection broke, and answered there (XEP-0124 §14.2)")
    func brokenConnection() async throws {
        try await with { _, client in
            try await client.logIn("juliet")
            let broken = try await client.send()
            try await broken.close()
            let again = try await client.post(client.rid - 1)
            let answer = try await client.say(Self.message("hark"))
            let first = try await Client.answer(again)
            #expect((first + answer).contains("<body>hark</body>"))
        }
    }

    @Test("a request has at most so many elements", arguments: [0, 1])
    func mostElements(more: Int) async throws {
        var settings = NetworkSettings.test
        settings.bosh.elementsMax = 3
        try await with(settings) { _, client in
            try await client.logIn("juliet")
            let answer = try await client.say(String(repeating: Self.message("x"), count: 3 + more))
            #expect(answer.contains("type='terminate' condition='policy-violation'") == (more == 1), "\(answer)")
        }
    }

    @Test("a body before log-in is not longer than one element may be", arguments: [0, 1])
    func longestBeforeLogIn(more: Int) async throws {
        try await with { _, client in
            _ = try await client.begin()
            let frame = client.body(client.rid, "", "").utf8.count
            let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'></auth>"
            let space = String(repeating: " ", count: 16_384 + 4_096 - frame - auth.utf8.count + more)
            let answer = try await client.say(auth + space)
            #expect(answer.contains("<invalid-mechanism/>") == (more == 0), "\(answer)")
            #expect(answer.contains("<policy-violation xmlns=") == (more == 1), "\(answer)")
        }
    }

    @Test("a session that ends says so, and is not found any more (XEP-0124 §13)")
    func termination() async throws {
        try await with { _, client in
            try await client.logIn("juliet")
            let end = try await client.say("<presence type='unavailable' xmlns='jabber:client'/>", "type='terminate'")
            #expect(end == "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'/>")
            let later = try await client.say()
            #expect(later.contains(Self.unknown))
        }
    }

    @Test("a stanza before log-in ends the stream, and the body says why (XEP-0206 §8)")
    func beforeLogIn() async throws {
        try await with { _, client in
            _ = try await client.begin()
            let answer = try await client.say(Self.message("hark"))
            #expect(answer.contains("type='terminate' condition='remote-stream-error'") && answer.contains("<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"))
        }
    }
}
