import NIOConcurrencyHelpers
package import NIOCore
import NIOHTTP1

/// Whether a check passed, and what to say about it.
package struct OperationsStatus: Hashable, Sendable {
    package var isGood: Bool
    package var text: String

    package init(isGood: Bool, text: String) {
        self.isGood = isGood
        self.text = text
    }
}

/// The local HTTP port for those who watch the server: `GET /metrics`, `/health`, `/ready`.
///
/// One request per connection, no bodies, no keep-alive: what asks here asks every few seconds.
package final class OperationsListener: Sendable {
    /// Longest request, in bytes.
    package static let requestBytesMax = 8_192
    /// From accept to the end of the answer.
    package static let deadline = TimeAmount.seconds(10)
    /// Connections at a time; more are closed at once.
    package static let connectionsMax = 32

    /// What is answered. Called on an event loop: must not wait.
    package struct Answers: Sendable {
        /// OpenMetrics text.
        package var metrics: @Sendable () -> String
        /// Whether the process is of use at all.
        package var health: @Sendable () -> OperationsStatus
        /// Whether it takes clients.
        package var readiness: @Sendable () -> OperationsStatus

        package init(
            metrics: @escaping @Sendable () -> String, health: @escaping @Sendable () -> OperationsStatus,
            readiness: @escaping @Sendable () -> OperationsStatus
        ) {
            self.metrics = metrics
            self.health = health
            self.readiness = readiness
        }
    }

    private let group: any EventLoopGroup
    private let answers: Answers
    // Start and stop only.
    private let socket = NIOLockedValueBox<(any Channel)?>(nil)
    // Once per connection.
    private let openCount = NIOLockedValueBox(0)

    package init(_ answers: Answers, on group: any EventLoopGroup) {
        self.answers = answers
        self.group = group
    }

    package func start(address: String, port: Int) async throws(ListenerError) {
        let answers = answers
        let count = openCount
        let channel = try await ListeningSocket.open(address, port, NetworkSettings(), on: group) { channel in
            channel.eventLoop.makeCompletedFuture { try Self.configure(channel, answers, count) }
        }
        socket.withLockedValue { $0 = channel }
    }

    package var port: Int? { socket.withLockedValue { $0?.localAddress?.port } }

    package func stop() async {
        let channel = socket.withLockedValue { socket in
            defer { socket = nil }
            return socket
        }
        try? await channel?.close()
    }

    private struct TooMany: Error {}

    /// For a channel of whatever kind, on its loop.
    package static func configure(_ channel: any Channel, _ answers: Answers) throws {
        try configure(channel, answers, NIOLockedValueBox(0))
    }

    private static func configure(_ channel: any Channel, _ answers: Answers, _ count: NIOLockedValueBox<Int>) throws {
        let isAdmitted = count.withLockedValue { count in
            guard count < connectionsMax else { return false }
            count += 1
            return true
        }
        guard isAdmitted else { throw TooMany() }
        channel.closeFuture.whenComplete { _ in count.withLockedValue { $0 -= 1 } }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(RequestSizeHandler())
        try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false, withErrorHandling: true)
        try pipeline.addHandler(OperationsHandler(answers))
        let cut = channel.eventLoop.scheduleTask(in: deadline) { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in cut.cancel() }
    }
}

/// Ends connections that send more than a request is long.
private final class RequestSizeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var arrived = 0

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        arrived += unwrapInboundIn(data).readableBytes
        guard arrived <= OperationsListener.requestBytesMax else { return context.close(promise: nil) }
        context.fireChannelRead(data)
    }
}

/// Answers one request.
private final class OperationsHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let answers: OperationsListener.Answers
    private var request: HTTPRequestHead?
    private var isAnswered = false

    init(_ answers: OperationsListener.Answers) { self.answers = answers }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): request = request ?? head
        case .body: break
        case .end:
            guard let request, !isAnswered else { return }
            isAnswered = true
            answer(request, context)
        }
    }

    private func answer(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard request.method == .GET || request.method == .HEAD else { return send(.methodNotAllowed, "only GET is answered here\n", request, context) }
        switch request.uri {
        case "/metrics":
            send(.ok, answers.metrics(), request, context, type: "application/openmetrics-text; version=1.0.0; charset=utf-8")
        case "/health": send(answers.health(), request, context)
        case "/ready": send(answers.readiness(), request, context)
        default: send(.notFound, "there are /metrics, /health and /ready\n", request, context)
        }
    }

    private func send(_ status: OperationsStatus, _ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        send(status.isGood ? .ok : .serviceUnavailable, status.text + "\n", request, context)
    }

    private func send(
        _ status: HTTPResponseStatus, _ text: String, _ request: HTTPRequestHead, _ context: ChannelHandlerContext,
        type: String = "text/plain; charset=utf-8"
    ) {
        let body = ByteBuffer(string: text)
        let headers: HTTPHeaders = [
            "Content-Type": type, "Content-Length": "\(body.readableBytes)", "Connection": "close", "X-Content-Type-Options": "nosniff",
        ]
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        if request.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
        let channel = context.channel
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
