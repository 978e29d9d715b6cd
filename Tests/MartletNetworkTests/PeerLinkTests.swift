import MartletCore
import MartletNetwork
import MartletXMPP
import NIOCore
import Testing

/// What becomes of stanzas on their way to another server that takes them, acknowledges them and breaks off just as the test wants.
@Suite("The way to another server", .serialized, .timeLimit(.minutes(2)))
struct PeerLinkTests {
    private static let queue = AccountID(queueFor: DomainPair(remote: "mantua.example", local: "verona.example"))

    private static func message(_ body: String, length: Int = 0) -> String {
        let body = body + String(repeating: "x", count: length)
        return "<message to='romeo@mantua.example' type='chat' id='\(body.prefix(8))'><body>\(body)</body></message>"
    }

    private static func bodies(_ heard: String) -> [String] {
        heard.split(separator: "<body>").dropFirst().map { String($0.prefix { $0 != "<" }) }
    }

    /// Verona; Mantua, which the test plays; and juliet at Verona, who is told what is safe.
    private static func with(_ options: Side.Options, _ body: (Side, PlayedServer, PortBook, TestClient) async throws -> Void) async throws {
        let book = PortBook()
        let (verona, mantua) = (try await Side("verona.example", book, options), try await PlayedServer(in: book))
        let juliet = try await verona.client("juliet", "verona.example")
        _ = try await juliet.say("<enable xmlns='urn:xmpp:sm:3'/>", hear: "<enabled ")
        let result: Result<Void, any Error>
        do { result = .success(try await body(verona, mantua, book, juliet)) } catch { result = .failure(error) }
        try? await mantua.stopListening()
        try await verona.stop()
        try result.get()
    }

    /// What juliet has heard and not read yet.
    private static func rest(_ juliet: TestClient) async throws -> String {
        try await juliet.say("<iq type='get' id='i' to='verona.example'><query xmlns='urn:x'/></iq>", hear: "</iq>")
    }

    // MARK: Too large (XEP-0478)

    @Test("what comes back for its size does not make the log forget what goes before it, until that is acknowledged", arguments: [false, true])
    func refusedBehindUnacknowledged(_ isAcknowledged: Bool) async throws {
        try await Self.with(.keeping) { verona, mantua, _, juliet in
            try await juliet.send(Self.message("small"))
            let stream = try await mantua.newStream()
            _ = try await stream.hear("<body>small</body></message>")
            let answer = try await juliet.say(Self.message("large", length: 20_000), hear: "</message>")
            #expect(answer.contains("id='largexxx'") && answer.contains("<policy-violation "))
            try await verona.wait { verona.federation.keptCount == 1 }
            if isAcknowledged {
                try await stream.acknowledge(1)
                try await verona.wait { verona.federation.keptCount == 0 }
            }
            // How far the log has come is written when the server stops.
            try await mantua.stopListening()
            async let stopped: Void = verona.federation.stop()
            _ = try await stream.hear("</stream:stream>")
            try await stream.close()
            await stopped
            let left = verona.server.store.contents.messages(of: Self.queue, after: 0, limit: 10).compactMap { Stanza(sent: $0.stanza)?.id }
            #expect(left == (isAcknowledged ? [] : ["small", "largexxx"]))
        }
    }

    @Test("what has come back for its size does not come back again when the log is read anew")
    func refusedOnce() async throws {
        try await Self.with(.keeping) { verona, mantua, book, juliet in
            try await juliet.send(Self.message("small"))
            let stream = try await mantua.newStream()
            _ = try await stream.hear("<body>small</body></message>")
            _ = try await juliet.say(Self.message("large", length: 20_000), hear: "</message>")
            try await verona.wait { verona.federation.keptCount == 1 }
            try await juliet.send(Self.message("last"))
            _ = try await stream.hear("<body>last</body></message>")
            try await mantua.stopListening()
            try await stream.close()
            try await verona.wait { verona.federation.counters.failedCallCount > 0 }
            let again = try await PlayedServer(in: book)
            let other = try await again.newStream()
            #expect(Self.bodies(try await other.hear("<body>last</body></message>")) == ["small", "last"])
            try await other.acknowledge(2)
            try await verona.wait { verona.federation.keptCount <= 0 }
            try await verona.settle()
            #expect(verona.federation.keptCount == 0)
            #expect(!(try await Self.rest(juliet).contains("<message")))
            try await again.stopListening()
        }
    }

    // MARK: In vain

    @Test("a server that breaks off three streams in a row and has acknowledged nothing is left alone for a while")
    func fruitless() async throws {
        var options = Side.Options.keeping
        options.rest = .hours(1)
        try await Self.with(options) { verona, mantua, _, juliet in
            try await juliet.send(Self.message("1"))
            for _ in 1...2 {
                let stream = try await mantua.newStream()
                _ = try await stream.hear("<body>1</body>")
                try await stream.close()
            }
            let third = try await mantua.newStream()
            _ = try await third.hear("<body>1</body>")
            #expect(verona.federation.counters.failedCallCount == 0)
            try await third.close()
            try await verona.wait { verona.federation.counters.failedCallCount == 1 }
            #expect(await verona.federation.report().failures.map(\.failures) == [1])
            // The message is still there for when it is called again.
            _ = await verona.federation.close("mantua.example")
            _ = try await mantua.newStream().hear("<body>1</body>")
        }
    }

    @Test("it is not if it has acknowledged something meanwhile")
    func fruitful() async throws {
        var options = Side.Options.keeping
        options.rest = .hours(1)
        try await Self.with(options) { verona, mantua, _, juliet in
            try await juliet.send(Self.message("1") + Self.message("2"))
            for number in 1...5 {
                let stream = try await mantua.newStream()
                _ = try await stream.hear("<body>2</body>")
                if number == 3 {
                    try await stream.acknowledge(1)
                    try await verona.wait { verona.federation.keptCount == 1 }
                }
                try await stream.close()
            }
            #expect(Self.bodies(try await mantua.newStream().hear("<body>2</body>")) == ["2"])
            #expect(verona.federation.counters.failedCallCount == 0)
        }
    }

    enum Poison: CaseIterable {
        /// In the log, on streams that end with their connections.
        case kept
        /// The same on one that goes on, and of which the other server says at last that it has handled it after all.
        case keptAndHandled
        /// In memory only, on a stream that goes on.
        case inMemory
    }

    @Test("a message on which another server breaks off six streams comes back to its sender, and what is behind it arrives", arguments: Poison.allCases)
    func poison(_ poison: Poison) async throws {
        try await Self.with(poison == .inMemory ? Side.Options() : .keeping) { verona, mantua, _, juliet in
            func next(after handled: Int = 0) async throws -> TestClient {
                poison == .kept ? try await mantua.newStream() : try await mantua.resumedStream(after: handled)
            }
            try await juliet.send(Self.message("poison") + Self.message("behind"))
            var stream = try await mantua.newStream(resumableFor: poison == .kept ? nil : 600)
            for number in 1...6 {
                if number > 1 { stream = try await next() }
                #expect(Self.bodies(try await stream.hear("<body>behind</body></message>")) == ["poison", "behind"])
                try await stream.close()
            }
            let answer = try await juliet.hear("</message>")
            #expect(answer.contains("id='poison'") && answer.contains("<remote-server-timeout "))
            stream = try await next(after: poison == .keptAndHandled ? 1 : 0)
            #expect(Self.bodies(try await stream.hear("<body>behind</body></message>")) == ["behind"])
            try await stream.acknowledge(poison == .keptAndHandled ? 2 : 1)
            try await verona.wait { verona.federation.queuedBytes == 0 && verona.federation.keptCount == 0 }
            #expect(!(try await Self.rest(juliet).contains("<message")))
        }
    }

    // MARK: Perhaps

    /// A message that nobody keeps has been written, the connection has broken off, and Mantua cannot be reached.
    private static func withUncertain(
        _ options: Side.Options = Side.Options(), _ body: (Side, PortBook, TestClient) async throws -> Void
    ) async throws {
        try await with(options) { verona, mantua, book, juliet in
            try await juliet.send(message("1"))
            let stream = try await mantua.newStream(resumableFor: 600)
            _ = try await stream.hear("<body>1</body>")
            try await mantua.stopListening()
            try await stream.close()
            try await verona.wait { verona.federation.counters.failedCallCount > 0 }
            try await body(verona, book, juliet)
        }
    }

    @Test("of what may have arrived it is heard from the other server whether it has: it goes again if not, and comes back to nobody", arguments: [0, 1])
    func uncertain(_ handled: Int) async throws {
        try await Self.withUncertain { verona, book, juliet in
            #expect(!(try await Self.rest(juliet).contains("<message")))
            #expect(verona.federation.queuedBytes > 0)
            let mantua = try await PlayedServer(in: book)
            let stream = try await mantua.resumedStream(after: handled)
            try await juliet.send(Self.message("2"))
            #expect(Self.bodies(try await stream.hear("<body>2</body>")) == (handled == 0 ? ["1", "2"] : ["2"]))
            try await stream.acknowledge(2)
            try await verona.wait { verona.federation.queuedBytes == 0 }
            #expect(!(try await Self.rest(juliet).contains("<message")))
            try await mantua.stopListening()
        }
    }

    @Test("it comes back once the other server cannot go on with the stream any more (XEP-0198 §5)")
    func uncertainForTooLong() async throws {
        let options = Side.Options()
        try await Self.withUncertain(options.changed { $0.restMax = .milliseconds(5) }) { verona, _, juliet in
            options.clock.pass(.seconds(595))
            let failures = verona.federation.counters.failedCallCount
            try await verona.wait { verona.federation.counters.failedCallCount > failures + 1 }
            #expect(!(try await Self.rest(juliet).contains("<message")))
            options.clock.pass(.seconds(6))
            let answer = try await juliet.hear("</message>")
            #expect(answer.contains("id='1'") && answer.contains("<remote-server-timeout "))
            try await verona.wait { verona.federation.queuedBytes == 0 }
        }
    }

    @Test("or once nobody waits for the other server any more")
    func uncertainGivenUp() async throws {
        try await Self.withUncertain(Side.Options().changed { $0.watchedFor = .zero }) { verona, _, juliet in
            let answer = try await juliet.hear("</message>")
            #expect(answer.contains("id='1'") && answer.contains("<remote-server-timeout "))
            #expect(verona.federation.queuedBytes == 0)
        }
    }

    // MARK: From the log

    @Test("the log is read in pages of a hundred messages, as long as fewer than a thousand are not acknowledged")
    func pages() async throws {
        var options = Side.Options.keeping
        (options.keptStanzasMax, options.queueStanzasMax) = (2_000, 2_000)
        try await Self.with(options) { verona, mantua, book, juliet in
            try await juliet.send(Self.message("0"))
            let first = try await mantua.newStream()
            _ = try await first.hear("<body>0</body>")
            try await first.acknowledge(1)
            try await verona.wait { verona.federation.keptCount == 0 }
            try await mantua.stopListening()
            try await first.close()
            try await juliet.send((1...1_300).map { Self.message("\($0)") }.joined())
            try await verona.wait { verona.federation.keptCount == 1_300 && verona.federation.counters.failedCallCount > 0 }
            let again = try await PlayedServer(in: book)
            _ = await verona.federation.close("mantua.example")
            let stream = try await again.newStream()
            func sent() async throws -> Int? {
                try await verona.settle()
                return await verona.federation.report().streams.first?.sent
            }
            _ = try await stream.hear("<body>1000</body>")
            #expect(try await sent() == 1_000)
            try await stream.acknowledge(1)
            _ = try await stream.hear("<body>1100</body>")
            #expect(try await sent() == 1_100)
            try await stream.acknowledge(100)
            try await verona.wait { verona.federation.keptCount == 1_200 }
            #expect(try await sent() == 1_100)
            try await again.stopListening()
        }
    }

    // MARK: Servers that do not come back

    @Test("a server that has been called in vain for so long is one that was never reached: what is for it comes back at once", arguments: [true, false])
    func givenUp(_ isGivenUp: Bool) async throws {
        var options = Side.Options.keeping.changed { ($0.watchedFor, $0.checkAfter) = (isGivenUp ? .zero : .hours(1), .zero) }
        options.rest = .hours(1)
        try await Self.with(options) { verona, mantua, _, juliet in
            try await juliet.send(Self.message("first"))
            let stream = try await mantua.newStream()
            _ = try await stream.hear("<body>first</body></message>")
            try await stream.acknowledge(1)
            try await verona.wait { verona.federation.keptCount == 0 }
            try await mantua.stopListening()
            try await stream.close()
            let pair = DomainPair(remote: "mantua.example", local: "verona.example")
            if isGivenUp {
                try await verona.wait { !verona.federation.isKnown(pair) }
                let answer = try await juliet.say(Self.message("second"), hear: "</message>")
                #expect(answer.contains("id='second'") && answer.contains("<remote-server-timeout "))
            } else {
                try await juliet.send(Self.message("second"))
                try await verona.wait { verona.federation.keptCount == 1 }
            }
        }
    }
}
