import Logging
import MartletDirectory
import MartletLDAP
import NIOCore
import NIOPosix
import Testing

/// A server of which a test says every word, in the clear, on loopback.
final class PlayedDirectory: Sendable {
    private let listener: any Channel
    private let callers: AsyncStream<PlayedConnection>
    let port: Int

    init(port: Int = 0) async throws {
        let (callers, come) = AsyncStream<PlayedConnection>.makeStream()
        self.callers = callers
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let connection = PlayedConnection(channel)
                    try channel.pipeline.syncOperations.addHandler(RequestHandler(connection))
                    come.yield(connection)
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        self.port = try #require(listener.localAddress?.port)
    }

    var address: DirectoryAddress { .plain(host: "127.0.0.1", port: port) }

    /// The next who calls.
    func caller() async throws -> PlayedConnection {
        var iterator = callers.makeAsyncIterator()
        return try #require(await iterator.next())
    }

    func close() async throws { try await listener.close() }
}

/// A connection as its server sees it.
final class PlayedConnection: Sendable {
    private let channel: any Channel
    private let heard: AsyncStream<LDAPMessage>
    fileprivate let hears: AsyncStream<LDAPMessage>.Continuation

    init(_ channel: any Channel) {
        self.channel = channel
        (heard, hears) = AsyncStream<LDAPMessage>.makeStream()
    }

    /// The next message; `nil` when the other side has closed.
    func next() async -> LDAPMessage? {
        var iterator = heard.makeAsyncIterator()
        return await iterator.next()
    }

    func hear() async throws -> LDAPMessage { try #require(await next()) }

    func say(_ messages: LDAPMessage...) async throws { try await say(bytes: messages.reduce(into: ByteBuffer()) { $1.encode(into: &$0) }) }

    /// After a while.
    func say(_ message: LDAPMessage, in delay: TimeAmount) async throws {
        try await channel.eventLoop.scheduleTask(in: delay) {}.futureResult.get()
        try await say(message)
    }

    func say(bytes: ByteBuffer) async throws { try await channel.writeAndFlush(bytes) }

    /// Does not wait until anybody takes it.
    func begin(_ messages: [LDAPMessage]) -> EventLoopFuture<Void> {
        channel.writeAndFlush(messages.reduce(into: ByteBuffer()) { $1.encode(into: &$0) })
    }

    func close() async throws { try await channel.close() }
}

private final class RequestHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let connection: PlayedConnection
    private var framing = LDAPFraming(messageBytesMax: 1 << 20)

    init(_ connection: PlayedConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        framing.take(unwrapInboundIn(data))
        do {
            while let frame = try framing.next() { connection.hears.yield(try LDAPMessage(decoding: frame)) }
        } catch {
            Issue.record("the client has said what is no LDAP: \(error)")
        }
    }

    func channelInactive(context: ChannelHandlerContext) { connection.hears.finish() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// What tests of the client have in common.
enum TestDirectory {
    static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// With waits that a test can wait for.
    static func dial(
        startTLS: LDAPDial.StartTLS = .off, tls: DirectoryTLS = DirectoryTLS(), _ change: (inout LDAPConnection.Settings) -> Void = { _ in }
    ) -> LDAPDial {
        var settings = LDAPConnection.Settings()
        change(&settings)
        return LDAPDial(settings, startTLS: startTLS, tls: tls, on: MultiThreadedEventLoopGroup.singleton, log: log)
    }
}
