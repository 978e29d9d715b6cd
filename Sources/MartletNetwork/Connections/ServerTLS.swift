import NIOCore
import NIOSSL
import NIOTLS

/// TLS in front of a handler as the one who was called.
enum ServerTLS {
    /// Longest beginning of a handshake that is kept until the handshake may begin: a record of TLS (RFC 8446 §5.1).
    static let helloBytesMax = 16_384 + 5

    struct NoCertificate: Error {}

    /// Puts TLS in front of `handler` once the client's first bytes are here and the loop has time for a handshake.
    ///
    /// - Parameters:
    ///   - looks: whether it is of interest what else the client says than a name.
    ///   - make: makes what speaks TLS for the name in the client's hello, and for the hello if it is of interest and understood, and what is to watch
    ///     its handshake; it is not called when the connection is gone.
    static func install(
        before handler: some ChannelHandler, _ context: ChannelHandlerContext, _ loop: NetworkLoop, looks: Bool,
        _ make: @escaping (String?, ClientHello?) throws -> (NIOSSLServerHandler, HandshakeWatch?)
    ) throws {
        let peek = looks ? ClientHelloPeek() : nil
        let gate = ByteToMessageHandler(
            SNIHandler { result in
                let name: String? =
                    switch result {
                    case .hostname(let name): name
                    case .fallback: nil
                    }
                return loop.handshakes.admit().assumeIsolated().flatMapThrowing {
                    guard context.channel.isActive else { throw NoCertificate() }
                    let (tls, watch) = try make(name, peek?.hello)
                    if let peek { context.pipeline.syncOperations.removeHandler(peek, promise: nil) }
                    if let watch { try context.pipeline.syncOperations.addHandler(watch, position: .before(handler)) }
                    try context.pipeline.syncOperations.addHandler(tls, position: .before(handler))
                }.nonisolated()
            }, maximumBufferSize: helloBytesMax)
        try context.pipeline.syncOperations.addHandler(gate, position: .before(handler))
        if let peek { try context.pipeline.syncOperations.addHandler(peek, position: .before(gate)) }
    }
}
