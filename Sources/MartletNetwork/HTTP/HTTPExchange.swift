import MartletXMPP
import NIOCore
import NIOHTTP1
import NIOSSL

/// One request and its answer, on a connection of its own. Everything here is done on its loop.
///
/// `@unchecked Sendable`: touched on that loop only; closures that NIO wants sendable come back to it.
final class HTTPExchange: @unchecked Sendable {
    enum Outcome: Sendable {
        case answer(HTTPAnswer)
        /// `nil`: it is not said to where, or not understood.
        case redirect(HTTPURL?)
        /// Another status; the content was not looked at.
        case other(HTTPResponseHead)
        /// Whatever the status, where all of it is wanted.
        case whole(HTTPResponseHead, [UInt8])
    }

    private let request: HTTPRequest
    private let isWhole: Bool
    private let context: NIOSSLContext?
    private let loop: any EventLoop
    private let promise: EventLoopPromise<Outcome>
    private var dial: Dial?
    private var channel: (any Channel)?
    private var timer: Scheduled<Void>?
    private var isDone = false
    private var answer: (head: HTTPResponseHead, body: ByteBuffer)?

    private init(_ request: HTTPRequest, isWhole: Bool, _ context: NIOSSLContext?, _ loop: any EventLoop) {
        self.request = request
        self.isWhole = isWhole
        self.context = context
        self.loop = loop
        promise = loop.makePromise()
    }

    /// - Parameters:
    ///   - isWhole: whether the content is wanted of any answer.
    ///   - context: for TLS; `nil` without it.
    /// - Returns: on `loop`. Fails with ``HTTPFetchError``.
    static func begin(
        _ request: HTTPRequest, isWhole: Bool, _ dialler: Dialler, _ context: NIOSSLContext?, on loop: any EventLoop, until end: NIODeadline
    ) -> EventLoopFuture<Outcome> {
        let exchange = HTTPExchange(request, isWhole: isWhole, context, loop)
        exchange.timer = loop.scheduleTask(deadline: end) { exchange.finish(.failure(.timedOut(request.deadline))) }
        let dial = dialler.dial([DialTarget(request.url.host, port: request.url.port)], on: loop)
        exchange.dial = dial
        dial.result.whenComplete { exchange.dialled($0) }
        return exchange.promise.futureResult
    }

    private func dialled(_ result: Result<Dialled, any Error>) {
        dial = nil
        switch result {
        case .failure(let error): finish(.failure((error as? DialError).map { .unreachable($0) } ?? .broken("\(error)")))
        case .success(let dialled):
            guard !isDone else { return dialled.channel.close(promise: nil) }
            channel = dialled.channel
            do { try converse(over: dialled.channel) } catch { finish(.failure(HTTPFetchError(error))) }
        }
    }

    private func converse(over channel: any Channel) throws {
        try HTTPPipeline.add(to: channel, context, serverName: serverName, bytesMax: request.bytesMax) { [self] in
            finish(.failure(.tooLong(request.bytesMax)))
        }
        try channel.pipeline.syncOperations.addHandler(HTTPAnswerHandler(self))
        channel.setOption(.autoRead, value: true).whenFailure { self.failed($0) }
        say(on: channel)
    }

    private var serverName: String? { if case .name(let name) = request.url.host { name.description } else { nil } }

    private func say(on channel: any Channel) {
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: request.url.target)
        head.headers = ["Host": request.url.authority, "Accept": request.accept, "Accept-Encoding": "identity", "Connection": "close"]
        for (name, value) in request.fields { head.headers.replaceOrAdd(name: name, value: value) }
        var body: ByteBuffer?
        if case .post(let bytes, let type) = request.method {
            head.method = .POST
            head.headers.add(name: "Content-Type", value: type)
            head.headers.add(name: "Content-Length", value: "\(bytes.count)")
            body = ByteBuffer(bytes: bytes)
        }
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        if let body { channel.write(HTTPClientRequestPart.body(.byteBuffer(body)), promise: nil) }
        channel.writeAndFlush(HTTPClientRequestPart.end(nil)).whenFailure { self.failed($0) }
    }

    private func finish(_ result: Result<Outcome, HTTPFetchError>) {
        guard !isDone else { return }
        isDone = true
        timer?.cancel()
        dial?.cancel()
        channel?.close(promise: nil)
        channel = nil
        promise.completeWith(result.mapError { $0 })
    }
}

// MARK: The answer

extension HTTPExchange {
    fileprivate func heard(_ part: HTTPClientResponsePart) {
        switch part {
        case .head(let head): begins(head)
        case .body(let bytes): goesOn(bytes)
        case .end:
            guard let answer else { return }
            let bytes = Array(answer.body.readableBytesView)
            if isWhole { return finish(.success(.whole(answer.head, bytes))) }
            let type = answer.head.headers.first(name: "Content-Type")
            finish(.success(.answer(HTTPAnswer(url: request.url, type: type, bytes: bytes))))
        }
    }

    private func begins(_ head: HTTPResponseHead) {
        switch head.status {
        case .ok: break
        case _ where isWhole: break
        case .movedPermanently, .found, .seeOther, .temporaryRedirect, .permanentRedirect:
            return finish(.success(.redirect(head.headers.first(name: "Location").flatMap { request.url.following($0) })))
        default: return finish(.success(.other(head)))
        }
        let length = head.headers.first(name: "Content-Length").flatMap { Int($0) } ?? 0
        guard length <= request.bytesMax else { return finish(.failure(.tooLong(request.bytesMax))) }
        answer = (head, ByteBuffer())
    }

    private func goesOn(_ bytes: ByteBuffer) {
        guard let length = answer?.body.readableBytes else { return }
        guard length + bytes.readableBytes <= request.bytesMax else { return finish(.failure(.tooLong(request.bytesMax))) }
        answer?.body.writeImmutableBuffer(bytes)
    }

    fileprivate func failed(_ error: any Error) { finish(.failure(HTTPFetchError(error))) }

    fileprivate func ended() { finish(.failure(.broken("it was closed before the answer was there"))) }
}

/// Gives what comes to an exchange.
private final class HTTPAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let exchange: HTTPExchange

    init(_ exchange: HTTPExchange) { self.exchange = exchange }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { exchange.heard(unwrapInboundIn(data)) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { exchange.failed(error) }

    func channelInactive(context: ChannelHandlerContext) {
        exchange.ended()
        context.fireChannelInactive()
    }
}
