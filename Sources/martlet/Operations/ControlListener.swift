import Foundation
import MartletNetwork
import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The local socket by which commands reach the running server. Only the server's own user and root are answered.
package final class ControlListener: Sendable {
    /// Carries out a request, whose response it returns; what it tells before that goes out at once, in that order.
    package typealias Answering = @Sendable (ControlRequest, _ tell: @escaping @Sendable (ControlResponse) -> Void) async -> ControlResponse

    /// Connections at a time; more are closed at once.
    package static let connectionsMax = 16

    private let path: String
    private let group: any EventLoopGroup
    private let answer: Answering
    // Start and stop only.
    private let socket = NIOLockedValueBox<(any Channel)?>(nil)
    private let openCount = NIOLockedValueBox(0)

    package init(path: String, on group: any EventLoopGroup, _ answer: @escaping Answering) {
        self.path = path
        self.group = group
        self.answer = answer
    }

    /// A socket that an earlier server left is replaced: the data folder's lock says that it is gone.
    ///
    /// - Throws: ``CommandFailure``.
    package func start() async throws(CommandFailure) {
        do {
            // The socket is private from its first moment: it is made under a mask, which is the process's, so that nothing else may
            // be making files now. Nothing is: the server does not serve yet.
            let mask = umask(0o177)
            defer { umask(mask) }
            let channel = try await ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 16)
                .serverChannelInitializer { channel in
                    // Whoever runs out of files hears of it from the listeners of clients.
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptFaultHandler { _ in }) }
                }
                .childChannelOption(.maxMessagesPerRead, value: 4)
                .childChannelInitializer { [answer, openCount] channel in
                    channel.eventLoop.makeCompletedFuture { try Self.configure(channel, openCount, answer) }
                }
                .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
            chmod(path, 0o600)
            socket.withLockedValue { $0 = channel }
        } catch {
            throw CommandFailure(
                .cannotCreate, "the control socket \(path) cannot be opened: \((error as? IOError).map { "\(SystemError($0.errnoCode))" } ?? "\(error)")",
                hint: "see server.control-socket")
        }
    }

    package func stop() async {
        let channel = socket.withLockedValue { socket in
            defer { socket = nil }
            return socket
        }
        guard let channel else { return }
        try? await channel.close()
        unlink(path)
    }

    private struct TooMany: Error {}

    private static func configure(
        _ channel: any Channel, _ openCount: NIOLockedValueBox<Int>, _ answer: @escaping Answering
    ) throws {
        let isAdmitted = openCount.withLockedValue { count in
            guard count < connectionsMax else { return false }
            count += 1
            return true
        }
        guard isAdmitted else { throw TooMany() }
        channel.closeFuture.whenComplete { _ in openCount.withLockedValue { $0 -= 1 } }
        try channel.pipeline.syncOperations.addHandler(ControlHandler(answer))
    }
}

/// One connection: who it is, one request, one response.
private final class ControlHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case reading(ByteBuffer)
        case answering
    }

    private var state = State.reading(ByteBuffer())
    private let answer: ControlListener.Answering

    init(_ answer: @escaping ControlListener.Answering) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var more = unwrapInboundIn(data)
        guard case .reading(var line) = state else { return }
        line.writeBuffer(&more)
        guard line.readableBytes <= ControlProtocol.requestBytesMax else { return context.close(promise: nil) }
        guard let end = line.readableBytesView.firstIndex(of: 0x0A) else { return state = .reading(line) }
        state = .answering
        let bytes = Data(line.readableBytesView[..<end])
        guard PeerCredentials.isTrusted(context.channel) else {
            return ControlExchange.send(.refused(status: ExitStatus.noPermission.rawValue, message: "only the server's user and root are answered", hint: nil), context.channel)
        }
        let channel = context.channel
        let answer = answer
        // Orders wait for the disk and for other loops; nothing of a stanza's path passes here.
        Task { await ControlExchange.answer(bytes, on: channel, answer) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// From the bytes of a request to those of the response.
private enum ControlExchange {
    static func answer(_ bytes: Data, on channel: any Channel, _ answer: ControlListener.Answering) async {
        let response = await response(to: bytes, answer) { write($0, channel) }
        send(response, channel)
    }

    private static func response(
        to bytes: Data, _ answer: ControlListener.Answering, _ tell: @escaping @Sendable (ControlResponse) -> Void
    ) async -> ControlResponse {
        let decoder = JSONDecoder()
        if let head = try? decoder.decode(ControlRequest.Head.self, from: bytes), head.version != ControlProtocol.version {
            return .refused(
                status: ExitStatus.unavailable.rawValue,
                message: "the server is of another version than the command (control protocol \(ControlProtocol.version), not \(head.version))",
                hint: "use the server's own 'martlet' command, or restart the server")
        }
        guard let request = try? decoder.decode(ControlRequest.self, from: bytes) else {
            return .refused(status: ExitStatus.usage.rawValue, message: "the server does not know this request", hint: nil)
        }
        return await answer(request, tell)
    }

    static func send(_ response: ControlResponse, _ channel: any Channel) {
        write(response, channel).whenComplete { _ in channel.close(promise: nil) }
    }

    @discardableResult
    private static func write(_ response: ControlResponse, _ channel: any Channel) -> EventLoopFuture<Void> {
        let line = (try? ControlClient.encoder.encode(response)) ?? Data()
        var buffer = channel.allocator.buffer(capacity: line.count + 1)
        buffer.writeBytes(line)
        buffer.writeInteger(UInt8(0x0A))
        return channel.writeAndFlush(buffer)
    }
}

/// Who is at the other end of a local socket.
private enum PeerCredentials {
    /// The kernel's `struct ucred`, which the C library's headers show only on request.
    private struct LinuxCredentials {
        var process: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
    }

    /// Whether it is the server's own user or root. On the channel's loop.
    static func isTrusted(_ channel: any Channel) -> Bool {
        #if os(Linux)
        guard let options = channel as? any SocketOptionProvider else { return false }
        let answer: EventLoopFuture<LinuxCredentials> = options.unsafeGetSocketOption(level: .socket, name: .init(rawValue: SO_PEERCRED))
        // A socket's options are at hand on its loop: the future is complete.
        var credentials: LinuxCredentials?
        answer.assumeIsolated().whenSuccess { credentials = $0 }
        guard let credentials else { return false }
        return credentials.user == 0 || credentials.user == geteuid()
        #else
        // The file's mode has to do.
        return true
        #endif
    }
}
