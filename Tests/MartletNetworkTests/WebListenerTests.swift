import MartletCore
import MartletNetwork
import MartletXMPP
import NIOCore
import NIOHTTP1
import Testing

@Suite("HTTP, and XMPP over WebSocket (RFC 7395)")
struct WebListenerTests {
    static func request(_ path: String, _ method: String = "GET", host: String? = "verona.example", _ more: [String] = []) -> String {
        ([method + " " + path + " HTTP/1.1"] + (host.map { ["Host: \($0)"] } ?? []) + more).joined(separator: "\r\n") + "\r\n\r\n"
    }

    static func upgrade(_ more: [String] = [], version: String = "13", subprotocol: String = "xmpp") -> String {
        request(
            "/xmpp-websocket",
            [
                "Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: \(version)", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Protocol: \(subprotocol)",
            ] + more)
    }

    private static func request(_ path: String, _ more: [String]) -> String { request(path, "GET", more) }

    /// A client at the plain listener, and what it is answered.
    private func with(
        _ listener: ListenerConfiguration = .http, _ settings: NetworkSettings = .test, holdsTime: Bool = false,
        _ body: (TestServer, TestClient) async throws -> Void
    ) async throws {
        try await TestServer.with(listener, settings: settings, holdsTime: holdsTime) { server, port in
            let client = try await TestClient.connect(to: port)
            try await body(server, client)
            try await client.close()
        }
    }

    // MARK: HTTP

    @Test("clients find the WebSocket of the domain that they ask, in XML and in JSON (XEP-0156 §3)")
    func hostMeta() async throws {
        try await with { _, client in
            let xml = try await client.say(Self.request("/.well-known/host-meta"), hear: "</XRD>")
            #expect(xml.contains("Content-Type: application/xrd+xml"))
            #expect(xml.contains("<Link rel='urn:xmpp:alt-connections:websocket' href='wss://verona.example/xmpp-websocket'/>"))
            let json = try await client.say(Self.request("/.well-known/host-meta.json", host: "Mantua.Example:5443"), hear: "]}")
            #expect(json.contains("{\"rel\":\"urn:xmpp:alt-connections:websocket\",\"href\":\"wss://mantua.example:5443/xmpp-websocket\"}"))
            #expect(json.contains("{\"rel\":\"urn:xmpp:alt-connections:xbosh\",\"href\":\"https://mantua.example:5443/http-bind\"}"))
            #expect(json.contains("Access-Control-Allow-Origin: *"))
            #expect(!json.contains("Allow-Credentials"))
            _ = try await client.say(Self.request("/.well-known/host-meta", host: "padua.example"), hear: "404 Not Found")
        }
        var settings = NetworkSettings.test
        settings.web.url = "https://chat.example"
        try await with(.http, settings) { _, client in
            _ = try await client.say(Self.request("/.well-known/host-meta"), hear: "href='wss://chat.example/xmpp-websocket'/>")
        }
    }

    @Test("where the operator has said by which addresses all is reached, host-meta.json says the ports as well, and host-meta what it always does (XEP-0487 §4)")
    func hostMeta2() async throws {
        var settings = NetworkSettings.test
        settings.web.ports = PublicPorts(addresses: ["192.0.2.1", "2001:db8::1"], clients: [5223], servers: [5270])
        try await with(.http, settings) { _, client in
            let json = try await client.say(Self.request("/.well-known/host-meta.json", host: "verona.example:5443"), hear: "]}")
            let ips = #""ips":["192.0.2.1","2001:db8::1"]"#
            #expect(json.contains(#"{"xmpp":{"ttl":3600},"links":[{"rel":"urn:xmpp:alt-connections:tls","port":5223,"# + ips + #","priority":10,"weight":0,"sni":"verona.example"},"#))
            #expect(json.contains(#"{"rel":"urn:xmpp:alt-connections:websocket","href":"wss://verona.example:5443/xmpp-websocket","# + ips + #","priority":20,"weight":0,"sni":"verona.example"}"#))
            #expect(json.contains(#""href":"https://verona.example:5443/http-bind","# + ips + #","priority":30,"#))
            #expect(json.contains(#"{"rel":"urn:xmpp:alt-connections:s2s-tls","port":5270,"# + ips))
            #expect(json.contains("Cache-Control: max-age=3600"))
            let xml = try await client.say(Self.request("/.well-known/host-meta"), hear: "</XRD>")
            #expect(!xml.contains("5223"))
        }
        settings.web.url = "https://[2001:db8::2]:8443"
        settings.web.ports?.servers = []
        try await with(.http, settings) { _, client in
            let json = try await client.say(Self.request("/.well-known/host-meta.json", host: "mantua.example"), hear: "]}")
            // No address is said in TLS.
            #expect(json.contains(#""href":"wss://[2001:db8::2]:8443/xmpp-websocket""#) && json.components(of: #""sni":"mantua.example""#) == 3)
            #expect(!json.contains("s2s"))
        }
    }

    @Test("HEAD has no body, OPTIONS names what may be done, everything else is not done (RFC 9110 §9)")
    func methods() async throws {
        try await with { _, client in
            let head = try await client.say(Self.request("/.well-known/host-meta", "HEAD"), hear: "\r\n\r\n")
            #expect(head.contains("200 OK"))
            // The next thing heard is the next answer's first line.
            let options = try await client.say(Self.request("/.well-known/host-meta", "OPTIONS"), hear: "\r\n\r\n")
            #expect(options.hasPrefix("HTTP/1.1 204 No Content"))
            #expect(options.contains("Access-Control-Allow-Methods: GET, HEAD, OPTIONS"))
            let delete = try await client.say(Self.request("/.well-known/host-meta", "DELETE"), hear: "\r\n\r\n")
            #expect(delete.hasPrefix("HTTP/1.1 405") && delete.contains("Allow: GET, HEAD, OPTIONS"))
        }
    }

    @Test("what is no request, or could be two, is refused, and nothing behind it is looked at (RFC 9112 §6.1, §11.2)", arguments: [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: verona.example\r\nHost: mantua.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: verona.example/x\r\n\r\n",
        "GET http://verona.example/.well-known/host-meta HTTP/1.1\r\nHost: verona.example\r\n\r\n",
        "GET /.well-known/host-meta HTTP/1.1\r\nHost: verona.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /.well-known/host-meta HTTP/1.1\r\nHost: verona.example\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "GET /.well-known/host-meta HTTP/1.1\r\nHost: verona.example\r\nContent-Length: -1\r\n\r\n",
        "GET /.well-known/host-meta HTTP/1.1\r\nHost: verona.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "GET /.well-known/host-meta HTTP/1.1\r\nHost: verona.example\r\nX-A: b\r\n c\r\n\r\n",
        "GET /.well-known/host-meta HTTP/1.1\nHost: verona.example\n\n",
        "GET /.well-known/host-meta HTTP/1.1\r\nHost : verona.example\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ])
    func refusedRequests(bytes: String) async throws {
        try await with { _, client in
            try await client.send(bytes + Self.request("/.well-known/host-meta"))
            let answer = try await client.hearEnd()
            #expect(answer.hasPrefix("HTTP/1.1 400 ") || answer.hasPrefix("HTTP/1.1 505 ") || answer.isEmpty, "\(answer)")
            #expect(!answer.contains("200 OK") && !answer.contains("XRD"), "\(answer)")
        }
    }

    @Test("requests that come ahead are answered in order, and none behind one that ends the connection (RFC 9112 §9.3.2)")
    func pipelining() async throws {
        try await with { _, client in
            let (first, second) = (Self.request("/.well-known/host-meta"), Self.request("/.well-known/host-meta", host: "padua.example"))
            try await client.send(first + second + Self.request("/.well-known/host-meta.json", "GET", ["Connection: close"]) + first)
            let said = try await client.hearEnd()
            let places = ["</XRD>", "404 Not Found", "\"links\""].map { said.range(of: $0)?.lowerBound }
            #expect(places.allSatisfy { $0 != nil })
            #expect(places.compactMap { $0 } == places.compactMap { $0 }.sorted())
            #expect(said.components(of: "HTTP/1.1 ") == 3)
        }
    }

    @Test("a request's head has at most so many bytes and so many fields", arguments: [0, 1])
    func longestHead(more: Int) async throws {
        var settings = NetworkSettings.test
        settings.web.headBytesMax = 200
        settings.web.headFieldsMax = 5
        let path = "/.well-known/host-meta"
        let known = path.utf8.count + "Host".utf8.count + "verona.example".utf8.count + "X-Long".utf8.count
        try await with(.http, settings) { _, client in
            let long = String(repeating: "l", count: 200 - known + more)
            let answer = try await client.say(Self.request(path, "GET", ["X-Long: \(long)"]), hear: "\r\n")
            #expect(answer.hasPrefix(more == 0 ? "HTTP/1.1 200 OK" : "HTTP/1.1 431 "))
        }
        try await with(.http, settings) { _, client in
            let answer = try await client.say(Self.request(path, "GET", (0..<(4 + more)).map { "X-\($0): x" }), hear: "\r\n")
            #expect(answer.hasPrefix(more == 0 ? "HTTP/1.1 200 OK" : "HTTP/1.1 431 "))
        }
    }

    @Test("a body that is longer than what the path takes is refused, with a length and without one")
    func longestBody() async throws {
        try await with { _, client in
            _ = try await client.say(Self.request("/.well-known/host-meta", "GET", ["Content-Length: 1"]) + "x", hear: "413 ")
            _ = try await client.hearEnd()
        }
        try await with { _, client in
            _ = try await client.say(Self.request("/.well-known/host-meta", "GET", ["Transfer-Encoding: chunked"]) + "1\r\nx\r\n", hear: "413 ")
            _ = try await client.hearEnd()
        }
    }

    @Test("a head has to be complete in time: the first 30 seconds after the connection, the next 60 after the last answer", arguments: [-2, 2])
    func headDeadlines(seconds: Int) async throws {
        #expect(WebSettings().headDeadline == .seconds(30) && WebSettings().idleTimeout == .seconds(60))
        try await with(.http, holdsTime: true) { server, client in
            try await server.waitForConnection()
            try await server.pass(seconds: 30 + seconds)
            if seconds > 0 { return #expect(try await client.hearEnd() == "") }
            _ = try await client.say(Self.request("/.well-known/host-meta"), hear: "</XRD>")
        }
        try await with(.http, holdsTime: true) { server, client in
            _ = try await client.say(Self.request("/.well-known/host-meta"), hear: "</XRD>")
            try await client.send("GET /.well-known/host-meta HTTP/1.1\r\n")
            try await server.pass(seconds: 60 + seconds)
            if seconds > 0 { return #expect(try await client.hearEnd() == "") }
            _ = try await client.say("Host: verona.example\r\n\r\n", hear: "</XRD>")
        }
    }

    @Test("connections that speak HTTP count for their address and as those of strangers", arguments: [2, 1])
    func admission(most: Int) async throws {
        var settings = NetworkSettings.test
        settings.admission.connectionsPerAddressMax = most
        try await with(.http, settings) { server, client in
            _ = try await client.say(Self.request("/.well-known/host-meta"), hear: "</XRD>")
            #expect(server.service.unauthenticatedCount == 1)
            let second = try await TestClient.connect(to: try #require(server.service.ports.first))
            if most == 1 { return #expect(try await second.hearEnd() == "") }
            _ = try await second.say(Self.request("/.well-known/host-meta"), hear: "</XRD>")
            try await second.close()
        }
    }

    @Test("HTTP inside TLS shows the certificate of the domain and agrees on http/1.1 (RFC 7301)")
    func tls() async throws {
        for domain in TestServer.domains {
            try await with(.https) { _, client in
                try await client.startTLS(domain, trust: "\(domain).pem", alpn: ["h2", "http/1.1"])
                let answer = try await client.say(Self.request("/.well-known/host-meta", host: domain), hear: "</XRD>")
                #expect(answer.contains("href='wss://\(domain)/xmpp-websocket'"))
            }
        }
    }

    // MARK: WebSocket

    @Test("a WebSocket is opened for the subprotocol xmpp (RFC 7395 §3.1)")
    func handshake() async throws {
        try await with { _, client in
            let answer = try await client.say(Self.upgrade(), hear: "\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 101 Switching Protocols"))
            #expect(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
            #expect(answer.contains("Sec-WebSocket-Protocol: xmpp\r\n"))
        }
        let refusals = [
            (Self.upgrade(version: "8"), "426 "), (Self.upgrade(subprotocol: "chat"), "400 "), (Self.request("/xmpp-websocket", "GET"), "426 "),
            (Self.upgrade().replacing("dGhlIHNhbXBsZSBub25jZQ==", with: "dGhl"), "400 "),
        ]
        for (request, status) in refusals {
            try await with { _, client in _ = try await client.say(request, hear: "HTTP/1.1 " + status) }
        }
    }

    @Test("without encryption no WebSocket is opened, unless a proxy that is trusted says that there is some, or log-ins in clear are allowed")
    func encryption() async throws {
        var listener = ListenerConfiguration.http
        listener.allowsPlaintext = false
        try await with(listener) { _, client in
            _ = try await client.say(Self.upgrade(["X-Forwarded-Proto: https"]), hear: "403 ")
        }
        listener.proxySources = [try #require(NetworkBlock("127.0.0.0/8"))]
        try await with(listener) { _, client in _ = try await client.say(Self.upgrade(), hear: "403 ") }
        try await with(listener) { server, client in
            _ = try await client.say(Self.upgrade(["X-Forwarded-For: 192.0.2.7, 198.51.100.1, 127.0.0.9", "X-Forwarded-Proto: https"]), hear: "101 ")
            #expect(server.service.connectionCount == 1)
        }
    }

    /// What a proxy at 10.0.0.1 says, and whom it names by that.
    private static let named: [(said: [String], sender: String?)] = [
        ([], nil), (["192.0.2.1"], "192.0.2.1"), (["192.0.2.1:5678"], "192.0.2.1"), (["2001:db8::1"], "2001:db8::1"), (["[2001:db8::1]"], "2001:db8::1"),
        (["[2001:db8::1]:5678"], "2001:db8::1"), (["192.0.2.1:1"], "192.0.2.1"), (["192.0.2.1:99999"], "192.0.2.1"), (["192.0.2.1:999999"], nil),
        // Those that the proxies of ours have seen last.
        (["198.51.100.7, 192.0.2.1:5678"], "192.0.2.1"), (["198.51.100.7", "192.0.2.1:5678"], "192.0.2.1"),
        (["198.51.100.7:1, 192.0.2.1:2, 10.0.0.2:3"], "192.0.2.1"), (["[2001:db8::1]:5, 10.0.0.2"], "2001:db8::1"),
        // What is no address ends the list: whatever stands before it, anybody may have written.
        (["192.0.2.1, unknown"], nil), (["192.0.2.1, unknown, 10.0.0.2:80"], "10.0.0.2"), (["192.0.2.1:"], nil), (["192.0.2.1:x"], nil), (["192.0.2.1:+5"], nil),
        ([":5678"], nil), (["[192.0.2.1]:5678"], nil), (["[2001:db8::1"], nil), (["[2001:db8::1]5678"], nil), (["[2001:db8::1]:"], nil), (["[]:5678"], nil),
        (["[2001:db8::1]:56:78"], nil), (["2001:db8::1]:5678"], nil), (["example.org:80"], nil),
    ]

    @Test("a proxy names a client by its address, with a port or without", arguments: named)
    func sender(said: [String], sender: String?) throws {
        let ours = try #require(NetworkBlock("10.0.0.0/8"))
        let request = ForwardedRequest(HTTPHeaders(said.map { ("X-Forwarded-For", $0) })) { ours.contains($0) }
        let expected = sender.flatMap { NetworkAddress($0) }
        #expect(request.sender == expected && (sender == nil) == (expected == nil))
    }

    @Test("a proxy's connections are counted for those that it names", arguments: [2, 1])
    func forwarded(most: Int) async throws {
        var listener = ListenerConfiguration.http
        listener.proxySources = [try #require(NetworkBlock("127.0.0.0/8"))]
        var settings = NetworkSettings.test
        settings.admission.connectionsPerAddressMax = most
        try await with(listener, settings) { server, client in
            let upgrade = Self.upgrade(["X-Forwarded-For: 192.0.2.7"])
            _ = try await client.say(upgrade, hear: "101 ")
            let second = try await TestClient.connect(to: try #require(server.service.ports.first))
            _ = try await second.say(upgrade, hear: most == 2 ? "101 " : "503 ")
            try await second.close()
        }
    }

    @Test("a client logs in over WebSocket, each element a message of its own with what it needs to be read alone (RFC 7395 §3.3, §3.4)")
    func logIn() async throws {
        try await with { _, client in
            try await client.openWebSocket()
            let open = try await client.say(frame: TestClient.open, hear: "</stream:features>")
            #expect(open.contains("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='verona.example' id='"))
            #expect(open.contains("<stream:features xmlns:stream='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"))
            #expect(!open.contains("starttls") && !open.contains("<?xml"))
            _ = try await client.say(frame: TestClient.plain("juliet"), hear: "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            _ = try await client.say(frame: TestClient.open, hear: "</stream:features>")
            let bound = try await client.say(frame: TestClient.framedBind, hear: "</iq>")
            #expect(bound.contains("<iq xmlns='jabber:client' type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"))
            let unknown = try await client.say(frame: "<iq xmlns='jabber:client' type='get' id='q1'><query xmlns='urn:example:q'/></iq>", hear: "</iq>")
            #expect(unknown.contains("<iq xmlns='jabber:client' "))
            _ = try await client.say(frame: "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", hear: "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
            // The server's own frame may have come already, and the end of the connection behind it.
            try? await client.send(ClientFrame.close(1000))
            _ = try await client.hearEnd()
        }
    }

    @Test("a message passes between WebSocket and TCP, inside TLS, with SCRAM tied to the channel")
    func messages() async throws {
        let server = try await TestServer([.https, .plain])
        let (web, tcp) = (try await TestClient.connect(to: server.service.ports[0]), try await TestClient.connect(to: server.service.ports[1]))
        try await web.startTLS("verona.example", trust: "verona.example.pem")
        try await web.logInFramed("juliet")
        try await tcp.logIn("romeo")
        try await web.send(ClientFrame.text("<presence xmlns='jabber:client'/>"))
        try await web.send(ClientFrame.text("<message xmlns='jabber:client' to='romeo@verona.example/balcony'><body>hark</body></message>"))
        let heard = try await tcp.hear("</message>")
        #expect(heard.contains("<message from='juliet@verona.example/balcony' to='romeo@verona.example/balcony'><body>hark</body></message>"))
        let long = String(repeating: "l", count: 70_000)
        for text in ["soft", long] {
            try await tcp.send("<message to='juliet@verona.example/balcony'><body>\(text)</body></message>")
            let message = try await web.hear("</message>")
            #expect(message.contains("<message xmlns='jabber:client' from='romeo@verona.example/balcony' to='juliet@verona.example/balcony'><body>\(text)</body>"))
        }
        for client in [web, tcp] { try await client.close() }
        try await server.stop()
    }

    @Test("a stream over WebSocket is resumed over TCP, and back (XEP-0198 §5, RFC 7395 §3.6)")
    func resumption() async throws {
        let server = try await TestServer([.http, .plain])
        let web = try await TestClient.connect(to: server.service.ports[0])
        try await web.logInFramed("juliet")
        let enabled = try await web.say(frame: "<enable xmlns='urn:xmpp:sm:3' resume='true'/>", hear: "/>")
        let id = try #require(enabled.attribute("id"))
        // The browser's window is closed: no `<close/>`.
        try await web.send(ClientFrame.close(1001))
        _ = try await web.hearEnd()
        let tcp = try await TestClient.connect(to: server.service.ports[1])
        _ = try await tcp.say(TestClient.header(), hear: "</stream:features>")
        _ = try await tcp.say(TestClient.plain("juliet"), hear: "/>")
        _ = try await tcp.say(TestClient.header(), hear: "</stream:features>")
        _ = try await tcp.say("<resume xmlns='urn:xmpp:sm:3' previd='\(id)' h='0'/>", hear: "<resumed xmlns='urn:xmpp:sm:3' h='0' previd='\(id)'/>")
        try await tcp.close()
        let again = try await TestClient.connect(to: server.service.ports[0])
        try await again.openWebSocket()
        _ = try await again.say(frame: TestClient.open, hear: "</stream:features>")
        _ = try await again.say(frame: TestClient.plain("juliet"), hear: "/>")
        _ = try await again.say(frame: TestClient.open, hear: "</stream:features>")
        _ = try await again.say(frame: "<resume xmlns='urn:xmpp:sm:3' previd='\(id)' h='0'/>", hear: "<resumed xmlns='urn:xmpp:sm:3' h='0' previd='\(id)'/>")
        try await again.close()
        try await server.stop()
    }

    @Test("frames that are against the protocol end the connection with the code that says so (RFC 6455 §7.4.1)")
    func faults() async throws {
        for (bytes, code) in [(ClientFrame.frame(2, [60]), UInt8(0xEB)), (ClientFrame.frame(1, [60], isMasked: false), 0xEA)] {
            try await with { _, client in
                try await client.openWebSocket()
                try await client.send(bytes)
                let end = try await client.hearEnd()
                #expect(Array(end.utf8).suffix(1) == Array(String(decoding: [code], as: UTF8.self).utf8).suffix(1), "\(Array(end.utf8))")
            }
        }
    }

    @Test("a message before log-in has at most 16,384 bytes; a longer one ends the stream with policy-violation", arguments: [0, 1])
    func longest(more: Int) async throws {
        try await with { _, client in
            try await client.openWebSocket()
            _ = try await client.say(frame: TestClient.open, hear: "</stream:features>")
            let (head, tail) = ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'>", "</auth>")
            let auth = head + String(repeating: "A", count: 16_384 - head.utf8.count - tail.utf8.count + more) + tail
            let answer = try await client.say(frame: auth, hear: more == 0 ? "</failure>" : "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
            let error = "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            #expect(answer.contains(error) == (more == 1), "\(answer)")
        }
    }

    @Test("a ping is answered with what it held (RFC 6455 §5.5.3)")
    func ping() async throws {
        try await with { _, client in
            try await client.openWebSocket()
            try await client.send(ClientFrame.frame(9, Array("hello".utf8)))
            _ = try await client.hear("\u{5}hello")
        }
    }

    @Test("a message is one document: no header of a TCP stream, no declaration, nothing besides, and no namespace by habit", arguments: [
        ("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='verona.example' version='1.0'>", "not-well-formed"),
        ("<?xml version='1.0'?><open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='verona.example' version='1.0'/>", "restricted-xml"),
        ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='verona.example' version='1.0'/><a/>", "bad-format"),
        ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='padua.example' version='1.0'/>", "host-unknown"),
        ("<iq type='get' id='1'/>", "bad-format"),
        ("", "not-well-formed"),
    ])
    func documents(text: String, condition: String) async throws {
        try await with { _, client in
            try await client.openWebSocket()
            let answer = try await client.say(frame: text, hear: "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
            #expect(answer.contains("<\(condition) xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"), "\(answer)")
        }
    }

    @Test("a stanza without a namespace is none (RFC 7395 §3.3.3)")
    func namespaces() async throws {
        try await with { _, client in
            try await client.logInFramed("juliet")
            _ = try await client.say(frame: "<message to='romeo@verona.example'/>", hear: "<unsupported-stanza-type xmlns=")
        }
    }

    @Test("a server that stops tells those on WebSockets too")
    func stop() async throws {
        var settings = NetworkSettings.test
        settings.closingDeadline = .seconds(20)
        let server = try await TestServer([.http], settings: settings)
        let client = try await TestClient.connect(to: server.service.ports[0])
        try await client.logInFramed("juliet")
        async let stopped: Void = server.service.stop()
        _ = try await client.hear("<system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>")
        _ = try await client.hear("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
        try await client.send(ClientFrame.text("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>") + ClientFrame.close(1000))
        _ = try await client.hearEnd()
        await stopped
        try await server.pool.shutDown()
    }
}

extension ListenerConfiguration {
    static let http = ListenerConfiguration(kind: .http, addresses: ["127.0.0.1"], port: 0, allowsPlaintext: true)
    static let https = ListenerConfiguration(kind: .https, addresses: ["127.0.0.1"], port: 0)
}

extension TestClient {
    static let open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='verona.example' version='1.0'/>"
    static let framedBind = bind.replacing("<iq ", with: "<iq xmlns='jabber:client' ")

    func say(frame text: String, hear answer: String) async throws -> String {
        try await send(ClientFrame.text(text))
        return try await hear(answer)
    }

    func openWebSocket() async throws { _ = try await say(WebListenerTests.upgrade(), hear: "\r\n\r\n") }

    func logInFramed(_ name: String) async throws {
        try await openWebSocket()
        _ = try await say(frame: Self.open, hear: "</stream:features>")
        _ = try await say(frame: Self.plain(name), hear: "/>")
        _ = try await say(frame: Self.open, hear: "</stream:features>")
        _ = try await say(frame: Self.framedBind, hear: "</iq>")
    }
}

extension String {
    fileprivate func components(of text: String) -> Int { ranges(of: text).count }
    fileprivate func range(of text: String) -> Range<String.Index>? { firstRange(of: text) }

    /// The value of the first attribute of that name.
    fileprivate func attribute(_ name: String) -> String? {
        guard let begin = firstRange(of: " \(name)='")?.upperBound, let end = self[begin...].firstIndex(of: "'") else { return nil }
        return String(self[begin..<end])
    }
}
