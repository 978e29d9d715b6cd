import MartletCore
import MartletNetwork
import MartletXMPP
import NIOCore
import NIOPosix
import Testing

/// What other servers, and those who write to them, can cause (`reliability.md` rules 30 and 32): each up to its limit and one more.
@Suite("Limits of federation", .serialized, .timeLimit(.minutes(2)))
struct FederationLimitsTests {
    private static func message(_ id: String, to domain: String) -> String {
        "<message to='benvolio@\(domain)' type='chat' id='\(id)'><body>b</body></message>"
    }

    /// A server that can be reached under these names, and says nothing.
    private static func withSilence(of domains: [String], in world: World, _ body: () async throws -> Void) async throws {
        let silent = try await ServerBootstrap(group: world.verona.server.pool.group).bind(host: "127.0.0.1", port: 0).get()
        for domain in domains { world.book.enter(domain, try #require(silent.localAddress?.port), isDirect: false) }
        try await body()
        try await silent.close()
    }

    // MARK: Calls

    @Test("of the calls to servers never reached one sender may have so many, so many more wait, and the next comes to nothing", arguments: [0, 1])
    func firstCalls(_ waiting: Int) async throws {
        // Of eight places for strangers one sender has two, and half of the waiting room.
        let options = Side.Options().changed { ($0.callsMax, $0.callsWaitingMax) = (16, 2 * waiting) }
        try await World.with(options) { world in
            try await world.exchange()
            #expect(await world.verona.federation.close("mantua.example") == 1)
            while await !world.verona.federation.report().isEmpty { await Task.yield() }
            let domains = (1...3 + waiting).map { "city\($0).example" }
            try await Self.withSilence(of: domains, in: world) {
                let juliet = try await world.verona.client("juliet", "verona.example")
                for domain in domains.dropLast() { try await juliet.send(Self.message("m", to: domain)) }
                // The last is answered, and no other.
                let answer = try await juliet.say(Self.message("last", to: try #require(domains.last)), hear: "</message>")
                #expect(answer.contains("id='last'") && answer.contains("type='wait'") && answer.contains("<resource-constraint "))
                #expect(!answer.contains("id='m'"))
                // A server that is known is called all the same.
                let romeo = try await world.mantua.client("romeo", "mantua.example")
                try await juliet.send("<message to='romeo@mantua.example/balcony' type='chat'><body>art thou</body></message>")
                _ = try await romeo.hear("<body>art thou</body></message>")
            }
        }
    }

    @Test("so many calls only ask about keys, and whoever has no place cannot prove anything by a key (XEP-0220)", arguments: [true, false])
    func verifications(_ isFull: Bool) async throws {
        var options = Side.Options()
        options.trusts = []
        options.policy.authentication = .dialback
        try await World.with(options, options.changed { ($0.verificationsMax, $0.callsWaitingMax) = (2, 0) }) { world in
            for _ in 1...(isFull ? 2 : 1) { #expect(world.mantua.federation.verifications.enter {}) }
            guard isFull else { return try await world.exchange() }
            let juliet = try await world.verona.client("juliet", "verona.example")
            let answer = try await juliet.say(Self.message("m", to: "mantua.example"), hear: "</message>")
            #expect(answer.contains("<remote-server-timeout ") && answer.contains("could not verify our dialback key (resource-constraint)"))
        }
    }

    // MARK: What waits

    enum Bound: CaseIterable { case one, all }

    @Test("so many bytes wait for one server, and for all together, and no more", arguments: Bound.allCases, [0, 1])
    func queueBytes(_ bound: Bound, _ missing: Int) async throws {
        try await World.with { world in
            try await Self.withSilence(of: ["padua.example", "udine.example"], in: world) {
                let federation = world.verona.federation
                let juliet = try await world.verona.client("juliet", "verona.example")
                try await juliet.send(Self.message("m", to: "padua.example"))
                try await world.verona.wait { federation.queuedBytes > 0 }
                let bytes = 3 * federation.queuedBytes - missing
                var settings = federation.settings
                switch bound {
                case .one: settings.queueBytesMax = bytes
                case .all: settings.queueBytesTotalMax = bytes
                }
                federation.apply(settings)
                // A third one has room if nothing is missing.
                for _ in 0..<2 - missing { try await juliet.send(Self.message("m", to: bound == .one ? "padua.example" : "udine.example")) }
                let answer = try await juliet.say(Self.message("l", to: "padua.example"), hear: "</message>")
                #expect(answer.contains("id='l'") && answer.contains("type='wait'") && answer.contains("<resource-constraint "))
                #expect(!answer.contains("id='m'"))
            }
        }
    }

    // MARK: Who has left

    private static let farewellsMax = 1_000

    /// One of our sessions tells somebody at Mantua that it has left.
    private static func leave(_ sessions: Range<Int>, _ verona: Side) async throws {
        let (juliet, romeo) = (try BareJID(parsing: "juliet@verona.example"), try BareJID(parsing: "romeo@mantua.example"))
        for loop in verona.server.pool.loops.prefix(1) {
            try await loop.loop.submit {
                for session in sessions {
                    let presence = "<presence from='\(juliet)/\(session)' to='\(romeo)' type='unavailable'/>"
                    _ = verona.federation.deliver(EncodedStanza(ByteBuffer(string: presence)), from: juliet, to: romeo, loop.context)
                }
                loop.context.flush()
            }.get()
        }
    }

    /// Those who have left while Mantua could not be reached, as it hears of them when it can be.
    private static func farewells(of count: Int, _ options: Side.Options, _ reach: (Side) async throws -> Void) async throws -> Int {
        let book = PortBook()
        let (verona, mantua) = (try await Side("verona.example", book, options), try await PlayedServer(in: book))
        let juliet = try await verona.client("juliet", "verona.example")
        try await juliet.send(message("m", to: "mantua.example"))
        let stream = try await mantua.newStream()
        _ = try await stream.hear("</message>")
        try await mantua.stopListening()
        try await stream.acknowledge(1)
        _ = try await stream.say("</stream:stream>", hear: "</stream:stream>")
        try await stream.close()
        try await leave(0..<count, verona)
        try await verona.wait { verona.federation.queuedBytes == 0 && verona.federation.counters.failedCallCount > 0 }
        let again = try await PlayedServer(in: book)
        try await reach(verona)
        let other = try await again.newStream()
        try await juliet.send(message("last", to: "mantua.example"))
        let heard = try await other.hear("</message>")
        try await again.stopListening()
        try await verona.stop()
        return heard.split(separator: "type='unavailable'").count - 1
    }

    @Test("a server that could not be reached hears of so many who have left meanwhile, and of no more", arguments: [0, 1])
    func farewells(_ excess: Int) async throws {
        var options = Side.Options().changed { $0.restMax = .milliseconds(5) }
        options.queueStanzasMax = 2 * Self.farewellsMax
        #expect(try await Self.farewells(of: Self.farewellsMax + excess, options) { _ in } == Self.farewellsMax)
    }

    enum Return: CaseIterable { case called, byItself, tooLate }

    @Test("also if the operator has it called again, or it comes by itself, but not if nobody waits for it any more", arguments: Return.allCases)
    func farewells(_ way: Return) async throws {
        var options = Side.Options().changed { if way == .tooLate { $0.watchedFor = .zero } }
        (options.rest, options.isDirect) = (.hours(1), true)
        let count = try await Self.farewells(of: 2, options) { verona in
            switch way {
            case .called:
                _ = await verona.federation.close("mantua.example")
                let romeo = try await verona.client("romeo", "verona.example")
                try await romeo.send("<presence to='romeo@mantua.example'/>")
            case .byItself, .tooLate: _ = try await PlayedServer.call(verona)
            }
        }
        #expect(count == (way == .tooLate ? 0 : 2))
    }

    // MARK: What other servers have sent

    @Test("of so many servers it is remembered what they have sent lately; another one is put in the place of any of them")
    func recentMessages() async throws {
        try await World.with { world in
            let federation = world.verona.federation
            let domains = (1...FederationService.recentMax).map { "city\($0).example" }
            let known = domains.map { federation.recentMessages(of: $0) }
            #expect(zip(domains, known).allSatisfy { federation.recentMessages(of: $0) === $1 })
            _ = federation.recentMessages(of: "padua.example")
            #expect(!zip(domains, known).allSatisfy { federation.recentMessages(of: $0) === $1 })
        }
    }

    private static func withVerona(_ change: @escaping @Sendable (inout FederationSettings) -> Void, _ body: (Side) async throws -> Void) async throws {
        var options = Side.Options().changed(change)
        options.isDirect = true
        let verona = try await Side("verona.example", PortBook(), options)
        let result: Result<Void, any Error>
        do { result = .success(try await body(verona)) } catch { result = .failure(error) }
        try await verona.stop()
        try result.get()
    }

    private static let enable = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"

    @Test("so many streams can be gone on with; others count, and end with their connections (XEP-0198 §5)")
    func resumableStreams() async throws {
        try await Self.withVerona { $0.resumableMax = 2 } _: { verona in
            var streams: [TestClient] = []
            for _ in 1...3 { streams.append(try await PlayedServer.call(verona)) }
            for stream in streams.prefix(2) { #expect(try await stream.say(Self.enable, hear: "/>").contains("resume='true'")) }
            #expect(try await streams[2].say(Self.enable, hear: "/>").hasSuffix("<enabled xmlns='urn:xmpp:sm:3'/>"))
            // One that is closed leaves its place.
            _ = try await streams[0].say("</stream:stream>", hear: "</stream:stream>")
            #expect(try await PlayedServer.call(verona).say(Self.enable, hear: "/>").contains("resume='true'"))
        }
    }

    @Test("a stream can be gone on with for so long after its connection broke off (XEP-0198 §5)", arguments: [true, false])
    func resumableTime(_ isInTime: Bool) async throws {
        let time = isInTime ? TimeAmount.minutes(10) : .milliseconds(1)
        try await Self.withVerona { $0.resumableFor = time } _: { verona in
            let stream = try await PlayedServer.call(verona)
            let enabled = try await stream.say(Self.enable, hear: "/>")
            #expect(enabled.contains("max='\(isInTime ? 600 : 0)'"))
            let id = try #require(enabled.firstRange(of: "id='").map { enabled[$0.upperBound...].prefix { $0 != "'" } })
            try await stream.close()
            try await verona.wait { verona.federation.incomingCount == 0 }
            // What is due after a millisecond is done by then.
            for loop in verona.server.pool.loops { try await loop.loop.scheduleTask(in: .milliseconds(1)) {}.futureResult.get() }
            let answer = try await PlayedServer.call(verona).say("<resume xmlns='urn:xmpp:sm:3' previd='\(id)' h='0'/>", hear: ">")
            #expect(answer.contains(isInTime ? "<resumed " : "<failed "))
        }
    }
}
