import MartletNetwork
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import Testing

/// Answers HTTP with what a test says, byte for byte, once for each connection.
final class ScriptedHTTPServer: Sendable {
    /// An answer, and whether the connection is closed behind it; `nil`: nothing is ever said.
    typealias Script = @Sendable (_ request: String) -> (answer: String, closes: Bool)?
    /// The content of an answer to a head and a content; `nil`: nothing is ever said.
    typealias ByteScript = @Sendable (_ head: String, _ content: [UInt8]) -> [UInt8]?

    let port: UInt16
    private let channel: any Channel
    private let heard = NIOLockedValueBox<[String]>([])
    /// Heads and contents of all requests so far.
    var requests: [String] { heard.withLockedValue { $0 } }

    /// - Parameter domain: with TLS, and that fixture's certificate.
    convenience init(on group: any EventLoopGroup, domain: String? = nil, _ script: @escaping Script) async throws {
        try await self.init(on: group, domain) { head, content in
            script(head + String(decoding: content, as: UTF8.self)).map { (ByteBuffer(string: $0.answer), $0.closes) }
        }
    }

    /// Answers with status 200.
    convenience init(on group: any EventLoopGroup, bytes script: @escaping ByteScript) async throws {
        try await self.init(on: group, nil) { head, content in
            script(head, content).map { content in
                var answer = ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: \(content.count)\r\n\r\n")
                answer.writeBytes(content)
                return (answer, false)
            }
        }
    }

    private typealias Answerer = @Sendable (_ head: String, _ content: [UInt8]) -> (answer: ByteBuffer, closes: Bool)?

    private init(on group: any EventLoopGroup, _ domain: String?, _ script: @escaping Answerer) async throws {
        var context: NIOSSLContext?
        if let domain {
            let files = Fixtures.files(domain)
            let chain = try NIOSSLCertificate.fromPEMFile(files.chain).map { NIOSSLCertificateSource.certificate($0) }
            let key = try NIOSSLPrivateKey(file: files.key, format: .pem)
            context = try NIOSSLContext(configuration: .makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key)))
        }
        let (heard, tls) = (heard, context)
        channel = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
                    try channel.pipeline.syncOperations.addHandler(Handler(heard, script))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = UInt16(channel.localAddress?.port ?? 0)
    }

    func stop() async throws { try await channel.close() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let heard: NIOLockedValueBox<[String]>
        private let script: Answerer
        private var bytes: [UInt8] = []
        private var isAnswered = false

        init(_ heard: NIOLockedValueBox<[String]>, _ script: @escaping Answerer) { (self.heard, self.script) = (heard, script) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            bytes += unwrapInboundIn(data).readableBytesView
            guard !isAnswered, let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return }
            let head = String(decoding: bytes[..<end.upperBound], as: UTF8.self)
            let length = head.firstRange(of: "Content-Length: ").flatMap { Int(head[$0.upperBound...].prefix { $0.isNumber }) } ?? 0
            let content = Array(bytes[end.upperBound...])
            guard content.count >= length else { return }
            isAnswered = true
            heard.withLockedValue { $0.append(head + String(decoding: content, as: UTF8.self)) }
            guard let (answer, closes) = script(head, content) else { return }
            let channel = context.channel
            context.writeAndFlush(wrapOutboundOut(answer)).whenComplete { _ in if closes { channel.close(promise: nil) } }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

@Suite("Fetching over HTTP")
struct HTTPFetchTests {
    static func name(_ text: String) -> DNSName { DNSName(text)! }

    static func ok(_ content: String, closes: Bool = false) -> (answer: String, closes: Bool) {
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: \(content.utf8.count)\r\n\r\n\(content)", closes)
    }

    /// verona.example and mantua.example are on loopback, which may be dialled.
    static func fetch(on group: any EventLoopGroup, hosts: Set<DNSName> = [], allowing: [String] = ["127.0.0.0/8"]) throws -> HTTPFetch {
        let address = DNSAnswer(.records([.address(NetworkAddress("127.0.0.1")!)]))
        let resolver = TableResolver([
            DNSQuestion(name("verona.example"), .a): .success(address), DNSQuestion(name("mantua.example"), .a): .success(address),
        ])
        let dialler = Dialler(resolver, policy: AddressPolicy(allowed: allowing.compactMap { NetworkBlock($0) }))
        return HTTPFetch(dialler, on: group, hosts: hosts, trustRoots: .file(Fixtures.files("verona.example").chain))
    }

    struct Place: Sendable {
        let server: ScriptedHTTPServer
        let fetch: HTTPFetch
        let isSecure: Bool

        func url(_ path: String, host: String = "verona.example") -> HTTPURL {
            HTTPURL("\(isSecure ? "https" : "http")://\(host):\(server.port)\(path)")!
        }

        /// The answer's content, or what was in the way.
        func get(
            _ path: String = "/", host: String = "verona.example", bytesMax: Int = 100, redirectsMax: Int = 0, deadline: TimeAmount = .seconds(30)
        ) async -> String {
            var request = HTTPRequest(url(path, host: host), bytesMax: bytesMax, deadline: deadline)
            request.redirectsMax = redirectsMax
            return await said(request)
        }

        func said(_ request: HTTPRequest) async -> String {
            do throws(HTTPFetchError) {
                return String(decoding: try await fetch.answer(to: request).bytes, as: UTF8.self)
            } catch {
                return "\(error)"
            }
        }
    }

    static func with(
        domain: String? = nil, hosts: Set<DNSName> = [], allowing: [String] = ["127.0.0.0/8"], _ script: @escaping ScriptedHTTPServer.Script,
        _ body: (Place) async throws -> Void
    ) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let server = try await ScriptedHTTPServer(on: group, domain: domain, script)
        try await body(Place(server: server, fetch: fetch(on: group, hosts: hosts, allowing: allowing), isSecure: domain != nil))
        try await server.stop()
        try await group.shutdownGracefully()
    }

    @Test("a GET says to whom it is, and its answer's content comes back with its type")
    func get() async throws {
        try await Self.with({ _ in Self.ok("a list") }) { place in
            let answer = try await place.fetch.answer(to: HTTPRequest(place.url("/a?b=c#d"), bytesMax: 6, deadline: .seconds(30)))
            #expect(answer.bytes == Array("a list".utf8) && answer.type == "text/plain" && answer.url == place.url("/a?b=c"))
            #expect(place.server.requests[0].hasPrefix("GET /a?b=c HTTP/1.1\r\nHost: verona.example:\(place.server.port)\r\n"))
        }
    }

    @Test("a POST carries its content and the content's type")
    func post() async throws {
        try await Self.with({ _ in Self.ok("well") }) { place in
            let request = HTTPRequest(place.url("/"), .post(Array("how is it?".utf8), type: "text/question"), bytesMax: 100, deadline: .seconds(30))
            #expect(await place.said(request) == "well")
            let said = place.server.requests[0]
            #expect(said.hasPrefix("POST / HTTP/1.1\r\n") && said.contains("Content-Type: text/question\r\n") && said.hasSuffix("\r\n\r\nhow is it?"))
        }
    }

    @Test("an answer may be as long as was said, and no longer", arguments: [6, 5])
    func length(bytesMax: Int) async throws {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na l\r\n3\r\nist\r\n0\r\n\r\n"
        let untilClosed = "HTTP/1.1 200 OK\r\n\r\na list"
        let script: ScriptedHTTPServer.Script = { request in
            if request.hasPrefix("GET /chunked") { return (chunked, false) }
            return request.hasPrefix("GET /closed") ? (untilClosed, true) : Self.ok("a list")
        }
        try await Self.with(script) { place in
            for path in ["/", "/chunked", "/closed"] {
                #expect(await place.get(path, bytesMax: bytesMax) == (bytesMax == 6 ? "a list" : "its answer is longer than 5 bytes"))
            }
        }
    }

    @Test("a head that does not end is not waited for")
    func head() async throws {
        let field = "A: " + String(repeating: "a", count: HTTPFetch.headBytesMax / 2) + "\r\n"
        try await Self.with({ request in
            ("HTTP/1.1 200 OK\r\n" + field + (request.hasPrefix("GET /long") ? field + field : "Content-Length: 2\r\n\r\nok"), false)
        }) { place in
            #expect(await place.get("/") == "ok")
            #expect(await place.get("/long") == "its answer is longer than 100 bytes")
        }
    }

    @Test("what does not come, is no answer, or breaks off is told of in words")
    func failures() async throws {
        try await Self.with({ request in
            switch request.split(separator: " ")[1] {
            case "/silent": nil
            case "/gone": ("", true)
            case "/half": ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", true)
            case "/missing": ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false)
            default: ("good day\r\n\r\n", false)
            }
        }) { place in
            #expect(await place.get("/silent", deadline: .milliseconds(50)) == "no answer within 50 ms")
            #expect(await place.get("/gone").hasPrefix("the connection broke"))
            #expect(await place.get("/half").hasPrefix("the connection broke"))
            #expect(await place.get("/missing") == "it answered with status 404")
            #expect(await place.get("/nonsense") == "the connection broke: what came is no HTTP")
        }
    }

    @Test("redirects are followed as often as was said, each by the same rules")
    func redirects() async throws {
        try await Self.with(hosts: [Self.name("verona.example")], { request in
            let target = request.split(separator: " ")[1]
            guard let hops = Int(target.dropFirst()) else { return nil }
            if hops == 0 { return Self.ok("here") }
            return ("HTTP/1.1 302 Found\r\nLocation: \(hops == 9 ? "http://mantua.example/" : "/\(hops - 1)")\r\nContent-Length: 0\r\n\r\n", false)
        }) { place in
            #expect(await place.get("/2", redirectsMax: 2) == "here")
            #expect(await place.get("/2", redirectsMax: 1) == "it sends on to \(place.url("/0")), where it is not followed")
            #expect(await place.get("/9", redirectsMax: 1) == "http://mantua.example/: nothing may be fetched from there")
            let post = HTTPRequest(place.url("/1"), .post([], type: "text/plain"), bytesMax: 100, deadline: .seconds(30))
            #expect(await place.said(post) == "it sends on to \(place.url("/0")), where it is not followed")
        }
    }

    @Test("only hosts that may be asked are, and those below them")
    func hosts() throws {
        let group = MultiThreadedEventLoopGroup.singleton
        let fetch = try Self.fetch(on: group, hosts: [Self.name("verona.example")])
        func mayAsk(_ url: String) throws -> Bool { fetch.mayAsk(try #require(HTTPURL(url))) }
        #expect(try mayAsk("http://verona.example/") && mayAsk("https://crl.Verona.example:8080/"))
        #expect(try !mayAsk("http://mantua.example/") && !mayAsk("http://notverona.example/") && !mayAsk("http://127.0.0.1/"))
        #expect(try Self.fetch(on: group).mayAsk(#require(HTTPURL("http://mantua.example/"))))
    }

    @Test("addresses that federation may not dial are not asked either (rule 32)")
    func addresses() async throws {
        try await Self.with(allowing: [], { _ in Self.ok("secret") }) { place in
            for host in ["verona.example", "127.0.0.1"] {
                #expect(await place.get(host: host).contains("a loopback address is not dialled unless the configuration allows its network"))
            }
            #expect(place.server.requests.isEmpty)
        }
    }

    @Test("over TLS the certificate has to be trusted, and for that name")
    func tls() async throws {
        try await Self.with(domain: "verona.example", { _ in Self.ok("here") }) { place in
            #expect(await place.get() == "here")
            #expect(await place.get(host: "mantua.example") == "no TLS: its certificate is for another name")
        }
        try await Self.with(domain: "mantua.example", { _ in Self.ok("here") }) { place in
            #expect(await place.get(host: "mantua.example") == "no TLS: its certificate is not trusted by this system, or has expired")
            #expect(place.server.requests.isEmpty)
        }
    }

    @Test("an encrypted answer does not send on to one in the clear")
    func downgrade() async throws {
        try await Self.with(domain: "verona.example", { _ in ("HTTP/1.1 301 Moved\r\nLocation: http://verona.example/\r\n\r\n", true) }) { place in
            #expect(await place.get(redirectsMax: 3) == "it sends on to http://verona.example/, which is not encrypted")
        }
    }
}

@Suite("HTTP URLs (RFC 9110 §4.2)")
struct HTTPURLTests {
    @Test("what can be fetched", arguments: [
        ("http://verona.example", "http://verona.example/"), ("HTTP://Verona.Example:80/A?b", "http://verona.example/A?b"),
        ("https://verona.example:443/#x", "https://verona.example/"), ("https://verona.example:80?q", "https://verona.example:80/?q"),
        ("http://192.0.2.1:8080/", "http://192.0.2.1:8080/"), ("http://[2001:db8::1]/", "http://[2001:db8::1]/"),
        ("http://[2001:db8::1]:81/", "http://[2001:db8::1]:81/"), ("http://verona.example:/", "http://verona.example/"),
    ])
    func good(text: String, written: String) { #expect(HTTPURL(text)?.description == written) }

    @Test("what cannot", arguments: [
        "", "verona.example", "ftp://verona.example/", "ldap://verona.example/", "http:verona.example", "http:///", "http://", "http://a:b@verona.example/",
        "http://verona.example:0/", "http://verona.example:65536/", "http://verona.example:+1/", "http://verona.example/a b", "http://verona.example/\r\nX: y",
        "http://verona.exämple/", "http://[192.0.2.1]/", "http://2001:db8::1/", "http://[2001:db8::1", "http://[verona.example]/",
    ])
    func bad(text: String) { #expect(HTTPURL(text) == nil) }

    @Test("a URL may have 2048 bytes")
    func length() {
        let most = "http://verona.example/" + String(repeating: "a", count: HTTPURL.bytesMax - 22)
        #expect(HTTPURL(most) != nil && HTTPURL(most + "a") == nil)
    }

    @Test("a Location may leave out what stays (RFC 3986 §5.2)", arguments: [
        ("/b", "https://verona.example:81/b"), ("//mantua.example/c", "https://mantua.example/c"), ("http://mantua.example/", "http://mantua.example/"),
    ])
    func location(text: String, meant: String) throws {
        #expect(try #require(HTTPURL("https://verona.example:81/a")).following(text)?.description == meant)
    }
}
