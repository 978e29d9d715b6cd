import Logging
import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing

@Suite("XEP-0065: what clients say before their bytes (RFC 1928)")
struct SOCKSExchangeTests {
    private static let name = Array("0123456789abcdef0123456789abcdef01234567".utf8)
    private static let connect: [UInt8] = [5, 1, 0, 3, 40] + name + [0, 0]

    /// What comes of bytes that arrive at once, or one by one.
    private func steps(_ bytes: [UInt8], apart: Bool) -> (steps: [SOCKSExchange.Step], rest: Int) {
        var (exchange, buffer, steps) = (SOCKSExchange(), ByteBuffer(), [SOCKSExchange.Step]())
        for part in apart ? bytes.map({ [$0] }) : [bytes] {
            buffer.writeBytes(part)
            while true {
                let step = exchange.take(&buffer)
                if step == .wait { break }
                steps.append(step)
                guard case .say = step else { return (steps, buffer.readableBytes) }
            }
        }
        return (steps, buffer.readableBytes)
    }

    @Test("a client that needs no authentication names its stream, and what follows is the stream's", arguments: [true, false])
    func named(apart: Bool) {
        let (steps, rest) = steps([5, 2, 2, 0] + Self.connect + [7, 7], apart: apart)
        #expect(steps == [
            .say([5, 0]), .begin(stream: String(decoding: Self.name, as: UTF8.self), say: [5, 0, 0, 3, 40] + Self.name + [0, 0]),
        ])
        #expect(rest == (apart ? 0 : 2))
    }

    @Test("everything else is refused, with the reason where there is one", arguments: [
        ([4, 1, 0], []), ([5, 1, 2], [5, 0xFF]), ([5, 0], [5, 0xFF]),
    ] as [([UInt8], [UInt8])])
    func greeting(bytes: [UInt8], answer: [UInt8]) {
        #expect(steps(bytes, apart: false).steps == [.refuse(answer)])
    }

    @Test("a request is to connect, by a name of forty digits, to port 0", arguments: [
        ([4, 1, 0, 3, 40], nil), ([5, 2, 0, 3, 40], 7), ([5, 3, 0, 3, 40], 7), ([5, 1, 0, 1, 127], 8), ([5, 1, 0, 4, 0], 8), ([5, 1, 0, 3, 39], 4),
        ([5, 1, 0, 3, 41], 4), ([5, 1, 0, 3, 40] + name + [0, 1], 4), ([5, 1, 0, 3, 40] + Array("A123456789abcdef0123456789abcdef01234567".utf8) + [0, 0], 4),
    ] as [([UInt8], UInt8?)])
    func request(bytes: [UInt8], code: UInt8?) {
        let answer = code.map { [5, $0, 0, 1, 0, 0, 0, 0, 0, 0] as [UInt8] } ?? []
        #expect(steps([5, 1, 0] + bytes, apart: false).steps == [.say([5, 0]), .refuse(answer)])
    }
}

@Suite("XEP-0065: a proxy on sockets", .timeLimit(.minutes(1)))
struct BytestreamTests {
    private static let juliet = try! BareJID(parsing: "juliet@capulet.example")

    /// A client of the proxy.
    private final class Client: Sendable {
        let channel: any Channel
        private let heard: Heard

        private final class Heard: ChannelInboundHandler, Sendable {
            typealias InboundIn = ByteBuffer
            let bytes = NIOLockedValueBox<(count: Int, wanted: [(Int, EventLoopPromise<Int>)], isOver: Bool)>((0, [], false))

            func channelRead(context: ChannelHandlerContext, data: NIOAny) {
                let count = unwrapInboundIn(data).readableBytes
                bytes.withLockedValue { $0.count += count }
                settle()
            }
            func channelInactive(context: ChannelHandlerContext) {
                bytes.withLockedValue { $0.isOver = true }
                settle()
            }
            func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

            func settle() {
                let due = bytes.withLockedValue { state in
                    let due = state.wanted.filter { state.isOver || state.count >= $0.0 }
                    state.wanted.removeAll { wanted in state.isOver || state.count >= wanted.0 }
                    return due.map { ($0.1, state.count) }
                }
                for (promise, count) in due { promise.succeed(count) }
            }
        }

        init(port: Int, on group: any EventLoopGroup) async throws {
            let heard = Heard()
            self.heard = heard
            channel = try await ClientBootstrap(group: group).channelInitializer { $0.pipeline.addHandler(heard) }.connect(host: "127.0.0.1", port: port).get()
        }

        func say(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get() }

        /// Waits until so many bytes have come since the beginning, or the connection is closed.
        ///
        /// - Returns: how many have.
        func hear(_ count: Int) async throws -> Int {
            let promise = channel.eventLoop.makePromise(of: Int.self)
            heard.bytes.withLockedValue { $0.wanted.append((count, promise)) }
            heard.settle()
            return try await promise.futureResult.get()
        }

        /// Names its stream; 49 bytes come for that.
        func name(_ stream: String) async throws {
            try await say([5, 1, 0])
            _ = try await hear(2)
            try await say([5, 1, 0, 3, 40] + Array(stream.utf8) + [0, 0])
        }
        static let answered = 2 + 47
    }

    private static let stream = "0123456789abcdef0123456789abcdef01234567"

    private func withProxy(_ change: (inout BytestreamService.Limits) -> Void = { _ in }, _ body: (BytestreamService, Int, any EventLoopGroup) async throws -> Void) async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        var limits = BytestreamService.Limits()
        change(&limits)
        let service = BytestreamService(port: 0, addresses: ["127.0.0.1"], limits, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let result: Result<Void, any Error>
        do {
            try await service.start(on: group)
            result = .success(try await body(service, try #require(service.ports.first), group))
        } catch { result = .failure(error) }
        await service.stop()
        try await group.shutdownGracefully()
        try result.get()
    }

    /// Two that have named the same stream.
    private func pair(_ port: Int, _ group: any EventLoopGroup, _ stream: String = stream) async throws -> (Client, Client) {
        let ends = (try await Client(port: port, on: group), try await Client(port: port, on: group))
        for end in [ends.0, ends.1] {
            try await end.name(stream)
            #expect(try await end.hear(Client.answered) == Client.answered)
        }
        return ends
    }

    @Test("what one sends the other gets, all of it and what came too early, both ways; and the end of one is the end of the other after that")
    func relayed() async throws {
        try await withProxy { service, port, group in
            let (one, two) = try await pair(port, group)
            try await one.say([1, 2, 3])
            #expect(await service.activate(Self.stream, for: Self.juliet) == .active)
            #expect(try await two.hear(Client.answered + 3) == Client.answered + 3)
            let many = 8 << 20
            async let sent: Void = one.say([UInt8](repeating: 7, count: many))
            async let back: Void = two.say([UInt8](repeating: 8, count: many))
            _ = try await (sent, back)
            #expect(try await one.hear(Client.answered + many) == Client.answered + many)
            try await one.say([UInt8](repeating: 9, count: 1 << 20))
            try await one.channel.close()
            // Everything, and then the end.
            #expect(try await two.hear(.max) == Client.answered + 3 + many + (1 << 20))
            #expect(service.waitingCount == 0)
        }
    }

    @Test("a stream is activated once both are there, and once; a third of the same name is turned away")
    func activation() async throws {
        try await withProxy { service, port, group in
            #expect(await service.activate(Self.stream, for: Self.juliet) == .incomplete)
            let one = try await Client(port: port, on: group)
            try await one.name(Self.stream)
            #expect(try await one.hear(Client.answered) == Client.answered)
            #expect(await service.activate(Self.stream, for: Self.juliet) == .incomplete)
            let two = try await Client(port: port, on: group)
            try await two.name(Self.stream)
            #expect(try await two.hear(Client.answered) == Client.answered)
            let three = try await Client(port: port, on: group)
            try? await three.name(Self.stream)
            #expect(try await three.hear(.max) == 2)
            #expect(await service.activate(Self.stream, for: Self.juliet) == .active)
            #expect(await service.activate(Self.stream, for: Self.juliet) == .incomplete)
        }
    }

    @Test("who has gone before the activation is not there")
    func gone() async throws {
        try await withProxy { service, port, group in
            let (one, two) = try await pair(port, group)
            try await one.channel.close()
            while service.waitingCount > 1 { await Task.yield() }
            #expect(await service.activate(Self.stream, for: Self.juliet) == .incomplete)
            _ = two
        }
    }

    @Test("an account has so many streams at a time, and all together have; one that ends makes room", arguments: [true, false])
    func limits(ofAccount: Bool) async throws {
        try await withProxy { if ofAccount { $0.activePerAccountMax = 1 } else { $0.activeMax = 1 } } _: { service, port, group in
            let other = String(Self.stream.reversed())
            let (one, _) = try await pair(port, group)
            let second = try await pair(port, group, other)
            #expect(await service.activate(Self.stream, for: Self.juliet) == .active)
            #expect(await service.activate(other, for: Self.juliet) == .tooMany)
            try await one.channel.close()
            while service.activeCount > 0 { await Task.yield() }
            #expect(await service.activate(other, for: Self.juliet) == .active)
            _ = second
        }
    }

    @Test("strangers have so many connections, of one network and of all, and so much time", arguments: ["network", "all", "time"])
    func strangers(limit: String) async throws {
        try await withProxy {
            switch limit {
            case "network": $0.waitingPerNetworkMax = 1
            case "all": $0.waitingMax = 1
            default: $0.patience = .milliseconds(50)
            }
        } _: { service, port, group in
            let one = try await Client(port: port, on: group)
            if limit == "time" {
                #expect(try await one.hear(.max) == 0)
            } else {
                try await one.name(Self.stream)
                #expect(try await one.hear(Client.answered) == Client.answered)
                let two = try await Client(port: port, on: group)
                #expect(try await two.hear(.max) == 0)
                try await one.channel.close()
                while service.waitingCount > 0 { await Task.yield() }
                let three = try await Client(port: port, on: group)
                try await three.name(Self.stream)
                #expect(try await three.hear(Client.answered) == Client.answered)
            }
        }
    }

    @Test("a stream on which nothing passes ends")
    func idle() async throws {
        try await withProxy { $0.idle = .milliseconds(50) } _: { service, port, group in
            let (one, two) = try await pair(port, group)
            #expect(await service.activate(Self.stream, for: Self.juliet) == .active)
            #expect(try await one.hear(.max) == Client.answered)
            #expect(try await two.hear(.max) == Client.answered)
        }
    }
}
