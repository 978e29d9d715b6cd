import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Testing

/// A client that says what it is told and hears until something has been said.
final class TestClient: Sendable {
    /// Longest wait for something that does not come.
    static let patience = TimeAmount.seconds(20)

    private let channel: any Channel
    private let ear: NIOLoopBound<Ear>
    /// What our end of TLS was told that the other end should know as well.
    private let handshake = NIOLockedValueBox(HandshakeWatch.Outcome.pending)

    enum Fault: Error { case closed(heard: String), silence(heard: String) }

    private init(_ channel: any Channel, _ ear: NIOLoopBound<Ear>) {
        self.channel = channel
        self.ear = ear
    }

    static func connect(to port: Int, address: String = "127.0.0.1") async throws -> TestClient {
        let group = MultiThreadedEventLoopGroup.singleton
        let (channel, ear) = try await ClientBootstrap(group: group)
            .connect(to: SocketAddress(ipAddress: address, port: port)) { channel in
                channel.eventLoop.makeCompletedFuture { try (channel, Self.ear(on: channel)) }
            }
        return TestClient(channel, ear)
    }

    /// Who speaks on a connection that somebody else has made. On its loop.
    static func answering(_ channel: any Channel) throws -> TestClient { TestClient(channel, try ear(on: channel)) }

    private static func ear(on channel: any Channel) throws -> NIOLoopBound<Ear> {
        let ear = Ear()
        try channel.pipeline.syncOperations.addHandler(ear)
        return NIOLoopBound(ear, eventLoop: channel.eventLoop)
    }

    func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }
    func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    /// Everything that was heard up to and including `text`; forgets it.
    func hear(_ text: String) async throws -> String {
        let ear = ear
        return try await channel.eventLoop.flatSubmit { ear.value.wait(for: text, ear) }.get()
    }

    func say(_ text: String, hear answer: String) async throws -> String {
        try await send(text)
        return try await hear(answer)
    }

    /// What was heard between the last thing and the end.
    func hearEnd() async throws -> String {
        let ear = ear
        let patience = channel.eventLoop.scheduleTask(in: Self.patience) { [channel] in channel.close(promise: nil) }
        try await channel.closeFuture.get()
        patience.cancel()
        return try await channel.eventLoop.submit { ear.value.heard }.get()
    }

    /// Begins TLS, and waits until both sides are satisfied.
    ///
    /// - Parameter own: what is shown to the other side.
    func startTLS(_ domain: String, trust: String, showing own: CertificateFiles? = nil, alpn: [String] = [], isTLS13: Bool = true) async throws {
        let channel = channel
        let ear = ear
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .file(Fixtures.certificate(trust))
        if let own {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(own.chain).map { .certificate($0) }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: own.key, format: .pem))
        }
        configuration.applicationProtocols = alpn
        configuration.maximumTLSVersion = isTLS13 ? .tlsv13 : .tlsv12
        configuration.keyLogCallback = { [handshake] line in
            if let outcome = HandshakeWatch.Outcome(line) { handshake.withLockedValue { $0 = outcome } }
        }
        let context = try NIOSSLContext(configuration: configuration)
        try await channel.eventLoop.flatSubmit { () -> EventLoopFuture<Void> in
            do {
                let handler = try NIOSSLClientHandler(context: context, serverHostname: domain)
                try channel.pipeline.syncOperations.addHandler(handler, position: .first)
                return ear.value.waitForHandshake(channel.eventLoop)
            } catch {
                return channel.eventLoop.makeFailedFuture(error)
            }
        }.get()
    }

    /// `tls-exporter` as our end has it (RFC 9266).
    var exporter: ChannelBinding? {
        if case .tls13(let exporter) = handshake.withLockedValue({ $0 }) { exporter } else { nil }
    }

    func stopReading() async throws { try await channel.setOption(.autoRead, value: false).get() }
    /// Ends our direction only.
    func shutDownOutput() async throws { try await channel.close(mode: .output) }
    func close() async throws { try? await channel.close() }
}

private final class Ear: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private(set) var heard = ""
    private var waiting: (text: String, promise: EventLoopPromise<String>)?
    private var handshake: EventLoopPromise<Void>?
    private var isClosed = false

    func wait(for text: String, _ bound: NIOLoopBound<Ear>) -> EventLoopFuture<String> {
        let promise = bound.eventLoop.makePromise(of: String.self)
        let patience = bound.eventLoop.scheduleTask(in: TestClient.patience) { bound.value.fail { .silence(heard: $0) } }
        promise.futureResult.whenComplete { _ in patience.cancel() }
        waiting = (text, promise)
        look()
        return promise.futureResult
    }

    func waitForHandshake(_ loop: any EventLoop) -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        handshake = promise
        return promise.futureResult
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard += String(buffer: unwrapInboundIn(data))
        look()
    }

    private func look() {
        guard let (text, promise) = waiting else { return }
        if let end = heard.firstRange(of: text)?.upperBound {
            let found = String(heard[..<end])
            heard = String(heard[end...])
            waiting = nil
            promise.succeed(found)
        } else if isClosed {
            fail { .closed(heard: $0) }
        }
    }

    private func fail(_ fault: (String) -> TestClient.Fault) {
        waiting?.promise.fail(fault(heard))
        waiting = nil
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event {
            handshake?.succeed()
            handshake = nil
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        handshake?.fail(error)
        handshake = nil
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        isClosed = true
        handshake?.fail(ChannelError.eof)
        handshake = nil
        look()
    }
}
