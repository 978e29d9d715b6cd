import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

/// A way to a server on which a test can stop what comes back, and cut connections without a word.
private final class Relay: Sendable {
    private let listener: any Channel
    private let lines = NIOLockedValueBox<[Line]>([])

    /// One connection. What it withholds is its own affair: one that is made after it was cut is heard from its first byte.
    private struct Line {
        let ends: [any Channel]
        let isDeaf = NIOLockedValueBox(false)
    }

    init(to port: Int, on group: any EventLoopGroup) async throws {
        let lines = lines
        listener = try await ServerBootstrap(group: group)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { near in
                ClientBootstrap(group: near.eventLoop).channelOption(.autoRead, value: false).connect(host: "127.0.0.1", port: port).flatMapThrowing { far in
                    let line = Line(ends: [near, far])
                    try near.pipeline.syncOperations.addHandler(Pass(to: far) { true })
                    try far.pipeline.syncOperations.addHandler(Pass(to: near) { !line.isDeaf.withLockedValue { $0 } })
                    lines.withLockedValue { $0.append(line) }
                    for end in line.ends { try end.syncOptions?.setOption(.autoRead, value: true) }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    var port: Int { listener.localAddress?.port ?? 0 }

    /// From here on nothing comes back from the server on the connections that there are.
    func deafen() {
        for line in lines.withLockedValue({ $0 }) { line.isDeaf.withLockedValue { $0 = true } }
    }

    func cut() {
        for line in lines.withLockedValue({ lines in defer { lines = [] }; return lines }) {
            for end in line.ends { end.close(promise: nil) }
        }
    }

    func close() async throws {
        cut()
        try await listener.close()
    }

    private final class Pass: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let other: any Channel
        private let passes: () -> Bool

        init(to other: any Channel, where passes: @escaping () -> Bool) {
            self.other = other
            self.passes = passes
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            if passes() { other.writeAndFlush(unwrapInboundIn(data), promise: nil) }
        }
        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}

@Suite("Streams between servers that go on after their connection broke off (XEP-0198 §5)", .serialized, .timeLimit(.minutes(2)))
struct ResumedPeerStreamTests {
    private static var options: Side.Options {
        var options = Side.Options()
        options.policy.bidirection = .accept
        return options
    }

    private static func message(_ number: Int) -> String {
        "<message to='romeo@mantua.example/balcony' type='chat' id='m\(number)'><body>\(number)</body></message>"
    }

    private static func bodies(_ heard: String) -> [String] {
        heard.split(separator: "<body>").dropFirst().map { String($0.prefix { $0 != "<" }) }
    }

    /// Verona calls Mantua by way of a relay.
    private static func withRelay(_ mantuas: Side.Options = options, _ body: (World, Relay) async throws -> Void) async throws {
        try await World.with(options, mantuas) { world in
            let relay = try await Relay(to: try #require(world.mantua.listener.ports.first), on: world.verona.server.pool.group)
            world.book.enter("mantua.example", relay.port, isDirect: false)
            let result: Result<Void, any Error>
            do { result = .success(try await body(world, relay)) } catch { result = .failure(error) }
            try await relay.close()
            try result.get()
        }
    }

    @Test("what had arrived does not arrive again, and what had not does, in order")
    func resumed() async throws {
        try await Self.withRelay { world, relay in
            let juliet = try await world.verona.client("juliet", "verona.example")
            let romeo = try await world.mantua.client("romeo", "mantua.example")
            try await juliet.send(Self.message(1))
            var heard = try await romeo.hear("<body>1</body></message>")
            // By now Verona knows how to go on with the stream.
            try await world.verona.wait { world.verona.federation.queuedBytes == 0 }
            for round in 0..<3 {
                relay.deafen()
                let first = 2 + 10 * round
                for number in first..<first + 5 { try await juliet.send(Self.message(number)) }
                // They have arrived, and Verona does not know.
                heard += try await romeo.hear("<body>\(first + 4)</body></message>")
                relay.cut()
                for number in first + 5..<first + 10 { try await juliet.send(Self.message(number)) }
                heard += try await romeo.hear("<body>\(first + 9)</body></message>")
            }
            #expect(Self.bodies(heard) == (1...31).map(String.init))
        }
    }

    @Test("a server that was started anew says what is in its log, and the rest comes again")
    func restarted() async throws {
        try await Self.withRelay { world, relay in
            let juliet = try await world.verona.client("juliet", "verona.example")
            let romeo = try await world.mantua.client("romeo", "mantua.example")
            try await juliet.send(Self.message(1))
            _ = try await romeo.hear("<body>1</body></message>")
            relay.deafen()
            for number in 2...5 { try await juliet.send(Self.message(number)) }
            _ = try await romeo.hear("<body>5</body></message>")
            var options = Self.options
            options.store = world.mantua.server.store.afterCrash()
            let again = try await Side("mantua.example", world.book, options)
            relay.cut()
            let romeoAgain = try await again.client("romeo", "mantua.example")
            try await juliet.send(Self.message(6))
            // What was in the log waits for him there, but for what was known to be with him when the server crashed; and nothing came twice.
            let heard = Self.bodies(try await romeoAgain.hear("<body>6</body></message>"))
            #expect(heard == ["1", "2", "3", "4", "5", "6"].suffix(heard.count))
            try await again.stop()
        }
    }
}
