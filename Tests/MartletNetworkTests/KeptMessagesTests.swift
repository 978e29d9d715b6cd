import MartletCore
import MartletNetwork
import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// Messages for another server that cannot be reached (`reliability.md` P10).
@Suite("Messages that are kept for another server", .serialized, .timeLimit(.minutes(2)))
struct KeptMessagesTests {
    private static var options: Side.Options { .keeping }

    private static let queue = AccountID(queueFor: DomainPair(remote: "mantua.example", local: "verona.example"))

    private static func message(_ number: Int) -> String {
        "<message to='romeo@mantua.example' type='chat' id='m\(number)'><body>\(number)</body></message>"
    }

    /// Both have talked to each other, and then one is gone. Who had no part in that is `romeo` of Verona.
    private static func withoutMantua(_ options: Side.Options = options, _ body: (Side, PortBook) async throws -> Void) async throws {
        let book = PortBook()
        let (verona, mantua) = (try await Side("verona.example", book, options), try await Side("mantua.example", book, options))
        try await World(book: book, verona: verona, mantua: mantua).exchange()
        try await mantua.stop()
        try await verona.wait { verona.federation.incomingCount + verona.federation.outgoingCount == 0 }
        try await verona.settle()
        let result: Result<Void, any Error>
        do { result = .success(try await body(verona, book)) } catch { result = .failure(error) }
        try await verona.stop()
        try result.get()
    }

    /// A loop looks at the clock once for all that it does in one turn (``LoopContext/wallMilliseconds``): none may be in the middle of one.
    private static func pass(hours: Int64, _ clock: TestClock, at side: Side) async throws {
        try await side.settle()
        clock.pass(hours: hours)
    }

    private static func bodies(_ heard: String) -> [String] {
        heard.split(separator: "<body>").dropFirst().map { String($0.prefix { $0 != "<" }) }
    }

    @Test("wait for a server that was there before, and go to it in order when it is back, with when they were sent")
    func back() async throws {
        try await Self.withoutMantua { verona, book in
            let sender = try await verona.client("romeo", "verona.example")
            for number in 1...250 { try await sender.send(Self.message(number)) }
            // Nothing of them came back.
            _ = try await sender.say("<iq type='get' id='i' to='verona.example'><query xmlns='urn:x'/></iq>", hear: "</iq>")
            #expect(verona.federation.keptCount == 250)
            let mantua = try await Side("mantua.example", book, Self.options)
            let romeo = try await mantua.client("romeo", "mantua.example")
            _ = await verona.federation.close("mantua.example")
            try await sender.send("<message to='romeo@mantua.example' type='chat'><body>last</body></message>")
            let heard = try await romeo.hear("<body>last</body></message>")
            #expect(Self.bodies(heard) == (1...250).map(String.init) + ["last"])
            try await verona.wait { verona.federation.keptCount == 0 }
            try await mantua.stop()
        }
    }

    @Test("wait beyond a restart")
    func restart() async throws {
        var options = Self.options
        try await Self.withoutMantua { verona, book in
            let sender = try await verona.client("romeo", "verona.example")
            for number in 1...3 { try await sender.send(Self.message(number)) }
            try await verona.wait { verona.federation.keptCount == 3 }
            let store = verona.server.store.afterCrash()
            #expect(store.contents.messages(of: Self.queue, after: 0, limit: 10).count == 3)
            options.store = store
            let again = try await Side("verona.example", book, options)
            #expect(again.federation.keptCount == 3)
            let mantua = try await Side("mantua.example", book, Self.options)
            let romeo = try await mantua.client("romeo", "mantua.example")
            #expect(Self.bodies(try await romeo.hear("<body>3</body></message>")) == ["1", "2", "3"])
            try await again.wait { store.contents.messages(of: Self.queue, after: 0, limit: 10).isEmpty }
            try await mantua.stop()
            try await again.stop()
        }
    }

    @Test("come back at once where the server was never reached, or nothing is to wait")
    func unknown() async throws {
        var options = Self.options
        options.keptFor = .zero
        try await Self.withoutMantua(options) { verona, _ in
            let sender = try await verona.client("romeo", "verona.example")
            for domain in ["padua.example", "mantua.example"] {
                let answer = try await sender.say(
                    "<message to='romeo@\(domain)' type='chat' id='m'><body>b</body></message>", hear: "</message>")
                #expect(answer.contains("type='error'") && answer.contains("remote-server-"))
            }
            try await verona.wait { verona.federation.keptCount == 0 }
        }
    }

    @Test("come back to who sent them when they have waited too long, also if he is not there then")
    func late() async throws {
        var options = Self.options
        options.rest = .hours(1)
        try await Self.withoutMantua(options) { verona, _ in
            let sender = try await verona.client("romeo", "verona.example")
            try await sender.send(Self.message(1))
            try await verona.wait { verona.federation.keptCount == 1 }
            try await sender.close()
            try await Self.pass(hours: 23, options.clock, at: verona)
            _ = await verona.federation.close("mantua.example")
            let juliet = try await verona.client("juliet", "verona.example")
            try await juliet.send(Self.message(2))
            try await verona.wait { verona.federation.keptCount == 2 }
            try await Self.pass(hours: 2, options.clock, at: verona)
            _ = await verona.federation.close("mantua.example")
            try await verona.wait { verona.federation.keptCount == 1 }
            let again = try await verona.client("romeo", "verona.example")
            let answer = try await again.hear("</message>")
            #expect(answer.contains("id='m1'") && answer.contains("type='error'") && answer.contains("remote-server-timeout"))
            #expect(answer.contains("from='romeo@mantua.example'"))
            _ = await verona.federation.close("mantua.example")
            #expect(verona.federation.keptCount == 1)
        }
    }

    @Test("only so many wait; the next is refused")
    func limit() async throws {
        var options = Self.options
        options.keptStanzasMax = 5
        try await Self.withoutMantua(options) { verona, _ in
            let sender = try await verona.client("romeo", "verona.example")
            for number in 1...5 { try await sender.send(Self.message(number)) }
            let answer = try await sender.say(Self.message(6), hear: "</message>")
            #expect(answer.contains("id='m6'") && answer.contains("resource-constraint"))
            #expect(!answer.contains("id='m5'"))
        }
    }

    @Test("only so many bytes wait; the next message is refused", arguments: [0, 1])
    func bytes(_ missing: Int) async throws {
        try await Self.withoutMantua { verona, _ in
            let sender = try await verona.client("romeo", "verona.example")
            try await sender.send(Self.message(1))
            try await verona.wait { verona.federation.keptCount == 1 }
            var settings = verona.federation.settings
            let first = try #require(verona.server.store.contents.messages(of: Self.queue, after: 0, limit: 1).first)
            settings.keptBytesMax = 5 * first.stanza.bytes.readableBytes - missing
            verona.federation.apply(settings)
            for number in 2...5 - missing { try await sender.send(Self.message(number)) }
            let answer = try await sender.say(Self.message(9), hear: "</message>")
            #expect(answer.contains("id='m9'") && answer.contains("resource-constraint"))
            #expect(verona.federation.keptCount == 5 - missing)
        }
    }

    @Test("whatever has waited too long comes back in order, however many pages of the log it is", arguments: [1, 99, 100, 101, 250])
    func latePages(_ count: Int) async throws {
        var options = Self.options
        options.rest = .hours(1)
        try await Self.withoutMantua(options) { verona, _ in
            let sender = try await verona.client("romeo", "verona.example")
            try await sender.send((1...count).map(Self.message).joined())
            try await verona.wait { verona.federation.keptCount == count }
            try await Self.pass(hours: 25, options.clock, at: verona)
            _ = await verona.federation.close("mantua.example")
            var heard = ""
            while heard.split(separator: "</message>").count < count { heard += try await sender.hear("</message>") }
            #expect(heard.split(separator: " id='m").dropFirst().map { $0.prefix { $0 != "'" } } == (1...count).map { "\($0)" })
            try await verona.wait { verona.federation.keptCount == 0 }
        }
    }
}
