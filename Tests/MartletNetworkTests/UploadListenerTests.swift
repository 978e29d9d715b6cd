import MartletCore
import MartletNetwork
import MartletXMPP
import NIOCore
import NIOHTTP1
import NIOPosix
import Testing

@Suite("Files by HTTP (XEP-0363)")
struct UploadListenerTests {
    private static let text = "But, soft! what light through yonder window breaks?"

    private struct Slot {
        let path: String
        let token: String

        func put(_ body: String = UploadListenerTests.text, length: Int? = nil, _ more: [String] = [], token: String? = nil) -> String {
            let length = ["Content-Length: \(length ?? body.utf8.count)", "Authorization: Bearer \(token ?? self.token)"]
            return WebListenerTests.request(path, "PUT", length + more) + body
        }

        func get(_ more: [String] = [], _ method: String = "GET") -> String { WebListenerTests.request(path, method, more) }
    }

    /// A client at the plain listener, with a slot for ``text``.
    private func with(
        _ settings: NetworkSettings = .test, listener: ListenerConfiguration = .http, type: String? = nil, files: InMemoryFileStore = InMemoryFileStore(),
        bytes: Int = Self.text.utf8.count, holdsTime: Bool = false, _ body: (TestServer, TestClient, Slot) async throws -> Void
    ) async throws {
        var settings = settings
        settings.web.offersUploads = true
        let server = try await TestServer([listener], settings: settings, files: files, holdsTime: holdsTime)
        let result: Result<Void, any Error>
        do {
            let uploads = try #require(server.uploads)
            let request = SlotRequest(fileName: "très cool.png", bytes: bytes, type: type.flatMap { MediaType($0) })
            let slot = try await uploads.slot(for: request, of: BareJID(parsing: "juliet@verona.example"))
            let client = try await TestClient.connect(to: try #require(server.service.ports.first))
            try await body(server, client, Slot(path: UploadPath.path(slot.name, label: request.fileName), token: slot.token))
            try await client.close()
            result = .success(())
        } catch {
            result = .failure(error)
        }
        try await server.stop()
        try result.get()
    }

    @Test("a file is put there once and fetched as often as anybody likes, with what keeps browsers from making anything of it (§7, §9.1)")
    func upload() async throws {
        try await with { _, client, slot in
            _ = try await client.say(slot.get(), hear: "HTTP/1.1 404 Not Found")
            _ = try await client.hear("no such file\n")
            let created = try await client.say(slot.put(), hear: "the file is there\n")
            #expect(created.hasPrefix("HTTP/1.1 201 Created") && created.contains("Access-Control-Allow-Origin: *"))
            #expect(created.contains("Access-Control-Allow-Headers: Authorization, Content-Type, If-None-Match, Range"))
            let file = try await client.say(slot.get(), hear: Self.text)
            for line in [
                "HTTP/1.1 200 OK", "Content-Length: 51\r\n", "Content-Type: application/octet-stream\r\n", "Accept-Ranges: bytes\r\n",
                "Content-Disposition: attachment; filename*=UTF-8''tr%C3%A8s%20cool.png\r\n", "X-Content-Type-Options: nosniff\r\n",
                "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; sandbox\r\n", "Cache-Control: private, max-age=86400, immutable\r\n",
                "Last-Modified: Fri, 15 Jan 2027 08:00:00 GMT\r\n",
            ] { #expect(file.contains(line), "\(line) in \(file)") }
            let head = try await client.say(slot.get([], "HEAD"), hear: "\r\n\r\n")
            #expect(head.contains("200 OK") && head.contains("Content-Length: 51\r\n"))
            // The next thing heard is the next answer's first line.
            let again = try await client.say(slot.put(), hear: "\r\n\r\n")
            #expect(again.hasPrefix("HTTP/1.1 409 Conflict"))
        }
    }

    @Test("a part is given as a part, what is not there is refused, and what is known is not sent again (RFC 9110 §13, §14)")
    func parts() async throws {
        try await with(type: "image/png") { _, client, slot in
            _ = try await client.say(slot.put(), hear: "the file is there\n")
            let part = try await client.say(slot.get(["Range: bytes=5-9"]), hear: "soft!")
            #expect(part.hasPrefix("HTTP/1.1 206 Partial Content") && part.contains("Content-Range: bytes 5-9/51\r\n") && part.contains("Content-Length: 5\r\n"))
            #expect(part.contains("Content-Type: image/png") && part.contains("Content-Disposition: inline;"))
            _ = try await client.say(slot.get(["Range: bytes=-7"]), hear: "breaks?")
            let beyond = try await client.say(slot.get(["Range: bytes=51-"]), hear: "51 bytes\n")
            #expect(beyond.hasPrefix("HTTP/1.1 416 ") && beyond.contains("Content-Range: bytes */51\r\n"))
            let head = try await client.say(slot.get([], "HEAD"), hear: "\r\n\r\n")
            let tag = try #require(head.split(separator: "\r\n").first { $0.hasPrefix("ETag: ") }).dropFirst("ETag: ".count)
            let known = try await client.say(slot.get(["If-None-Match: \(tag)"]), hear: "\r\n\r\n")
            #expect(known.hasPrefix("HTTP/1.1 304 Not Modified") && !known.contains("Content-Length"))
            _ = try await client.say(slot.get(["If-None-Match: \"other\""]), hear: Self.text)
        }
    }

    @Test("what does not fit the slot is refused, before its bytes are looked at", arguments: [
        (["Content-Length: 51"], "Bearer x", "403 "), (["Content-Length: 50"], nil, "400 "), (["Content-Length: 52"], nil, "400 "),
        (["Content-Length: 51", "Content-Type: text/html"], nil, "415 "), (["Transfer-Encoding: chunked"], nil, "411 "),
        (["Content-Length: 104857601"], nil, "413 "),
    ] as [([String], String?, String)])
    func refusals(headers: [String], authorization: String?, status: String) async throws {
        try await with(type: "image/png") { server, client, slot in
            let request = WebListenerTests.request(slot.path, "PUT", headers + ["Authorization: \(authorization ?? "Bearer " + slot.token)"])
            let answer = try await client.say(request, hear: "\r\n\r\n")
            #expect(answer.contains("HTTP/1.1 \(status)") && answer.contains("Connection: close"), "\(answer)")
            #expect(server.uploads?.counters.uploads == 0 && server.uploads?.counters.openUploads == 0)
        }
    }

    @Test("a client that waits is told to go on, or why not (RFC 9110 §10.1.1)")
    func expectations() async throws {
        try await with { _, client, slot in
            let head = WebListenerTests.request(
                slot.path, "PUT", ["Content-Length: 51", "Authorization: Bearer \(slot.token)", "Expect: 100-continue"])
            _ = try await client.say(head, hear: "HTTP/1.1 100 Continue\r\n\r\n")
            _ = try await client.say(Self.text, hear: "HTTP/1.1 201 Created")
        }
        try await with { _, client, slot in
            let head = WebListenerTests.request(slot.path, "PUT", ["Content-Length: 51", "Authorization: Bearer x", "Expect: 100-continue"])
            let answer = try await client.say(head, hear: "\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 403 "))
        }
    }

    @Test("a file that comes byte by byte, or not to its end, is there as a whole or not at all")
    func pieces() async throws {
        try await with { server, client, slot in
            try await client.send(slot.put("", length: 51))
            for character in Self.text { try await client.send(String(character)) }
            _ = try await client.hear("HTTP/1.1 201 Created")
            _ = try await client.say(slot.get(), hear: Self.text)
        }
        try await with { server, client, slot in
            try await client.send(slot.put(String(Self.text.dropLast()), length: 51))
            try await client.shutDownOutput()
            try await client.close()
            // The slot is still good for another attempt.
            let second = try await TestClient.connect(to: try #require(server.service.ports.first))
            _ = try await second.say(slot.get(), hear: "404 Not Found")
            try await second.close()
        }
    }

    @Test("an upload that stands still for 30 seconds is given up, one that goes on is not", arguments: [-2, 2])
    func stall(seconds: Int) async throws {
        #expect(WebSettings().transferStall == .seconds(30))
        try await with(holdsTime: true) { server, client, slot in
            try await client.send(slot.put("But, ", length: 51))
            try await server.waitForConnection()
            while server.uploads?.counters.openUploads == 0 { await Task.yield() }
            try await server.pass(seconds: 30 + seconds)
            if seconds > 0 {
                _ = try await client.hear("HTTP/1.1 408 ")
                return #expect(server.uploads?.counters.openUploads == 0)
            }
            _ = try await client.say(String(Self.text.dropFirst(5)), hear: "HTTP/1.1 201 Created")
        }
    }

    @Test("an upload has a minute and a second for each 4 KiB as a whole, however often something comes", arguments: [-10, 10])
    func slowest(seconds: Int) async throws {
        #expect(WebSettings().transferReserve == .seconds(60) && WebSettings().transferBytesPerSecondMin == 4_096)
        var settings = NetworkSettings.test
        (settings.web.transferStall, settings.web.transferReserve, settings.web.transferBytesPerSecondMin) = (.seconds(10_000), .seconds(1_000), 1)
        try await with(settings, holdsTime: true) { server, client, slot in
            try await client.send(slot.put("But, ", length: 51))
            try await server.waitForConnection()
            while server.uploads?.counters.openUploads == 0 { await Task.yield() }
            try await server.pass(seconds: 1_051 + seconds)
            if seconds > 0 { return _ = try await client.hear("HTTP/1.1 408 ") }
            _ = try await client.say(String(Self.text.dropFirst(5)), hear: "HTTP/1.1 201 Created")
        }
    }

    @Test("nothing but a file has a body: of GET, HEAD and OPTIONS not one byte is kept", arguments: ["GET", "HEAD", "OPTIONS"])
    func bodies(method: String) async throws {
        for length in ["Content-Length: 1", "Transfer-Encoding: chunked"] {
            try await with { server, client, slot in
                try await client.send(slot.get([length], method))
                if length.hasPrefix("Transfer") { try await client.send("1\r\nx\r\n") }
                let answer = try await client.hear("\r\n\r\n")
                #expect(answer.contains("HTTP/1.1 413 ") && answer.contains("Connection: close"), "\(answer)")
                #expect(server.service.unauthenticatedBytes <= Admission.connectionBytes)
            }
        }
        try await with { _, client, slot in _ = try await client.say(slot.get(["Content-Length: 0"], method), hear: "HTTP/1.1 ") }
    }

    /// A server with a file of 16 MiB, given as one piece, which no system takes at once; and somebody who has asked for it and reads nothing yet.
    private func withSlowReader(_ body: (TestServer, SlowReader, Slot) async throws -> Void) async throws {
        var settings = NetworkSettings.test
        (settings.web.transferStall, settings.web.transferReserve) = (.seconds(1_000), .seconds(1_000_000))
        let bytes = 16 << 20
        try await with(settings, files: InMemoryFileStore(pieceBytes: bytes), bytes: bytes, holdsTime: true) { server, client, slot in
            _ = try await client.say(slot.put(String(repeating: "b", count: bytes)), hear: "the file is there\n")
            let reader = try await SlowReader.connect(to: try #require(server.service.ports.first))
            try await reader.send(slot.get())
            while server.uploads?.counters.openDownloads == 0 { await Task.yield() }
            try await body(server, reader, slot)
            try await reader.close()
        }
    }

    @Test("a download goes on while the other side takes some of it, however much of it waits in the system")
    func slowDownload() async throws {
        try await withSlowReader { server, reader, _ in
            for mebibytes in 1...16 {
                try await reader.read(upTo: mebibytes << 20)
                try await server.pass(seconds: 450)
            }
            #expect(server.uploads?.counters.downloadedBytes == 16 << 20)
        }
    }

    @Test("one of which nothing is taken is given up")
    func stalledDownload() async throws {
        try await withSlowReader { server, _, _ in
            // What the system has at the beginning is acknowledged.
            for _ in 0..<20 where server.uploads?.counters.openDownloads != 0 { try await server.pass(seconds: 500) }
            #expect(server.uploads?.counters.openDownloads == 0)
        }
    }

    @Test("one network has so many downloads at a time")
    func networks() async throws {
        var settings = UploadSettings()
        settings.networkDownloadsMax = 1
        try await withSlowReader { server, _, slot in
            server.uploads?.apply(settings)
            let second = try await TestClient.connect(to: try #require(server.service.ports.first))
            let answer = try await second.say(slot.get(), hear: "to where you are\n")
            #expect(answer.hasPrefix("HTTP/1.1 429 ") && answer.contains("Retry-After: 10\r\n"))
            try await second.close()
        }
    }

    @Test("without encryption no file is taken or given, unless log-ins in clear are allowed")
    func encryption() async throws {
        var listener = ListenerConfiguration.http
        listener.allowsPlaintext = false
        try await with(listener: listener) { _, client, slot in _ = try await client.say(slot.put(), hear: "403 ") }
        try await with(listener: listener) { _, client, slot in _ = try await client.say(slot.get(), hear: "403 ") }
    }

    @Test("paths of another form lead nowhere, and nothing is there where files are not offered")
    func paths() async throws {
        try await with { server, client, slot in
            for path in ["/upload/", "/upload/../etc/passwd", "/upload/x/y", slot.path + "/more"] {
                _ = try await client.say(WebListenerTests.request(path, "GET", []), hear: "no such file\n")
            }
            let options = try await client.say(slot.get([], "OPTIONS"), hear: "\r\n\r\n")
            #expect(options.contains("Access-Control-Allow-Methods: GET, PUT, HEAD, OPTIONS"))
            var settings = NetworkSettings.test
            settings.web.offersUploads = false
            server.service.apply(settings)
            let second = try await TestClient.connect(to: try #require(server.service.ports.first))
            _ = try await second.say(slot.get(), hear: "there is nothing here\n")
            try await second.close()
        }
    }
}

/// Who reads only when it is told to.
private final class SlowReader: Sendable {
    private final class Eye: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private var count = 0
        private var wanted: (bytes: Int, promise: EventLoopPromise<Void>)?

        func read(upTo bytes: Int, _ promise: EventLoopPromise<Void>, on channel: any Channel) {
            wanted = (bytes, promise)
            look(channel)
        }

        private func look(_ channel: any Channel) {
            guard let (bytes, promise) = wanted else { return }
            guard count < bytes else {
                wanted = nil
                return promise.succeed()
            }
            channel.read()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) { count += unwrapInboundIn(data).readableBytes }
        func channelReadComplete(context: ChannelHandlerContext) { look(context.channel) }

        func channelInactive(context: ChannelHandlerContext) {
            wanted?.promise.fail(ChannelError.eof)
            wanted = nil
        }
    }

    private let channel: any Channel
    private let eye: NIOLoopBound<Eye>

    private init(_ channel: any Channel, _ eye: NIOLoopBound<Eye>) {
        self.channel = channel
        self.eye = eye
    }

    static func connect(to port: Int) async throws -> SlowReader {
        let (channel, eye) = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: false)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 65_536))
            .connect(to: SocketAddress(ipAddress: "127.0.0.1", port: port)) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let eye = Eye()
                    try channel.pipeline.syncOperations.addHandler(eye)
                    return (channel, NIOLoopBound(eye, eventLoop: channel.eventLoop))
                }
            }
        return SlowReader(channel, eye)
    }

    func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }

    /// Reads until it has so many bytes from the beginning on.
    func read(upTo bytes: Int) async throws {
        let (channel, eye) = (channel, eye)
        try await channel.eventLoop.flatSubmit {
            let promise = channel.eventLoop.makePromise(of: Void.self)
            eye.value.read(upTo: bytes, promise, on: channel)
            return promise.futureResult
        }.get()
    }

    func close() async throws { try? await channel.close() }
}

@Suite("What is asked of a file (RFC 9110)")
struct FileRequestTests {
    private func asked(_ headers: HTTPHeaders, isGet: Bool = true) -> FileRequest {
        .asked(headers, of: 100, tag: "\"t\"", modified: "Fri, 15 Jan 2027 08:00:00 GMT", isGet: isGet)
    }

    @Test("one range of bytes is a part, what is beyond the end is none, everything else is as if nothing were asked", arguments: [
        ("bytes=0-0", .part(0..<1)), ("bytes=0-99", .part(0..<100)), ("bytes=0-100", .part(0..<100)), ("bytes=99-", .part(99..<100)),
        ("bytes=100-", .noSuchPart), ("bytes=100-200", .noSuchPart), ("bytes=-1", .part(99..<100)), ("bytes=-100", .part(0..<100)),
        ("bytes=-101", .part(0..<100)), ("bytes=-0", .noSuchPart), ("bytes=5-4", .whole), ("bytes=-", .whole), ("bytes=1-2,4-5", .whole),
        ("bytes=a-b", .whole), ("bytes=+1-2", .whole), ("lines=1-2", .whole), ("", .whole), ("bytes=99999999999999999999-", .noSuchPart),
        ("bytes=0-99999999999999999999", .part(0..<100)), ("Bytes=0-0", .part(0..<1)),
    ] as [(String, FileRequest)])
    func ranges(text: String, expected: FileRequest) {
        #expect(asked(["Range": text]) == expected)
        #expect(asked(["Range": text], isGet: false) == .whole)
    }

    @Test("a tag or a date that is known makes nothing of it, and a range is only of what is meant")
    func conditions() {
        #expect(asked([:]) == .whole)
        for known in ["\"t\"", "W/\"t\"", "\"a\", \"t\"", "*"] { #expect(asked(["If-None-Match": known, "Range": "bytes=0-0"]) == .notModified) }
        #expect(asked(["If-None-Match": "\"a\"", "If-Modified-Since": "Fri, 15 Jan 2027 08:00:00 GMT"]) == .whole)
        #expect(asked(["If-Modified-Since": "Fri, 15 Jan 2027 08:00:00 GMT"]) == .notModified)
        #expect(asked(["If-Modified-Since": "Thu, 14 Jan 2027 08:00:00 GMT"]) == .whole)
        #expect(asked(["Range": "bytes=0-0", "If-Range": "\"t\""]) == .part(0..<1))
        #expect(asked(["Range": "bytes=0-0", "If-Range": "\"u\""]) == .whole)
    }

    @Test("dates are written as HTTP has them (§5.6.7)", arguments: [
        (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (951_782_400_999, "Tue, 29 Feb 2000 00:00:00 GMT"),
    ] as [(Int64, String)])
    func dates(milliseconds: Int64, text: String) {
        #expect(HTTPDate.text(milliseconds: milliseconds) == text)
    }
}
