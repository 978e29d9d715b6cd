import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// What every connection on which this server asks by HTTP has in common.
enum HTTPPipeline {
    /// On the channel's loop.
    ///
    /// - Parameters:
    ///   - context: for TLS; `nil` without it.
    ///   - serverName: as TLS and the certificate have it; an address has none (RFC 6066 §3): then the certificate has to be for the address.
    ///   - bytesMax: content of the answer.
    ///   - ranOut: called for what is too much, which goes no further.
    static func add(
        to channel: any Channel, _ context: NIOSSLContext?, serverName: String?, bytesMax: Int, ranOut: @escaping () -> Void
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        if let context { try pipeline.addHandler(NIOSSLClientHandler(context: context, serverHostname: serverName)) }
        try pipeline.addHandler(ByteCount(bytesMax: HTTPFetch.headBytesMax + bytesMax + bytesMax / 8, ranOut))
        try pipeline.addHTTPClientHandlers()
    }
}

/// Counts what comes before anybody makes something of it: heads, trailers and the sizes of chunks have no limit of their own.
private final class ByteCount: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var left: Int
    private let ranOut: () -> Void

    /// - Parameter ranOut: called for what is too much, which goes no further.
    init(bytesMax: Int, _ ranOut: @escaping () -> Void) {
        left = bytesMax
        self.ranOut = ranOut
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        left -= unwrapInboundIn(data).readableBytes
        if left >= 0 { context.fireChannelRead(data) } else { ranOut() }
    }
}

extension HTTPFetchError {
    init(_ error: any Error) {
        switch error {
        case let error as HTTPFetchError: self = error
        case is HTTPParserError: self = .broken("what came is no HTTP")
        case let error as NIOSSLExtraError where error == .failedToValidateHostname: self = .insecure("its certificate is for another name")
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
            let words = "\(error)"
            let isDistrust = words.contains("CERTIFICATE_VERIFY_FAILED")
            self = .insecure(isDistrust ? "its certificate is not trusted by this system, or has expired" : words)
        case let error as IOError: self = .broken(FileContents.describe(error.errnoCode))
        case let error as NIOConnectionError:
            let reasons = error.connectionErrors.map { ($0.error as? IOError).map { FileContents.describe($0.errnoCode) } ?? "\($0.error)" }
            self = .notConnected(reasons.first ?? "its name leads to no address")
        case is ChannelError: self = .broken("it was closed")
        default: self = .broken("\(error)")
        }
    }
}
