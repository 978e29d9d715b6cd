package import MartletXMPP
package import NIOCore
import NIOPosix
package import NIOSSL

/// Stands in front of TLS while its handshake is under way, and keeps of it what authentications can be tied to.
///
/// The TLS library has no exporter (RFC 8446 §7.5), but tells the secrets of a handshake, a line each in the form of NSS key logs, to a function that its
/// context was made with (``note(_:)``). It tells them on the loop's thread while it is given bytes, so that they belong to the connection whose
/// bytes are on their way: no table of secrets is needed, nor a look into the client's hello, whose random number anybody who has seen it could
/// repeat. Of a line about anything else nothing is kept; of the exporter's secret 32 bytes that are derived from it at once (RFC 9266). These
/// are of no use to who learns them (RFC 5056 §2.1). With its line the watch is over, and leaves the pipeline.
///
/// With TLS 1.2 the exporter is sound only where both ends have an extended master secret (RFC 9266 §4.2), which cannot be seen from here, and what would be told
/// is the master secret, from which all other keys follow: `tls-exporter` is not offered there.
///
/// `@unchecked Sendable`: the variable of a thread asks for it. It is touched by the thread of its loop only.
package final class HandshakeWatch: ChannelInboundHandler, RemovableChannelHandler, @unchecked Sendable {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer

    /// What is known of the connection.
    package enum Outcome: Hashable, Sendable {
        case pending
        case tls12
        case tls13(exporter: ChannelBinding?)
    }

    package private(set) var outcome = Outcome.pending

    package init() {}

    /// The connection of this thread whose handshake goes on.
    private static let current = ThreadSpecificVariable<HandshakeWatch>()

    /// What contexts of TLS whose connections are watched tell their secrets.
    @Sendable package static func note(_ line: ByteBuffer) {
        guard let watch = current.currentValue, watch.outcome == .pending, let outcome = Outcome(line) else { return }
        watch.outcome = outcome
    }

    /// The handshake is done. Where a client shows a certificate, the library waits for a turn of the loop before it goes on, and what it tells then
    /// belongs to no bytes that are on their way. With TLS 1.3 the secrets have been told before that; with TLS 1.2, of which nothing but the version is
    /// wanted, it is asked.
    package func ended(with version: TLSVersion?) {
        if outcome == .pending, version == .tlsv12 { outcome = .tls12 }
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let outer = Self.current.currentValue
        Self.current.currentValue = self
        context.fireChannelRead(data)
        Self.current.currentValue = outer
        if outcome != .pending { context.pipeline.syncOperations.removeHandler(self, promise: nil) }
    }
}

extension HandshakeWatch.Outcome {
    /// What a line of a key log says; `nil`: nothing that is wanted.
    ///
    /// - Parameter line: a label, the random number of the client's hello, and a secret, the last two in hexadecimal digits.
    package init?(_ line: ByteBuffer) {
        let bytes = line.readableBytesView
        if bytes.starts(with: Self.exporterLabel) {
            self = .tls13(exporter: Self.secret(bytes.dropFirst(Self.exporterLabel.count)).flatMap { ChannelBinding.tlsExporter($0) })
        } else if bytes.starts(with: Self.masterLabel) {
            self = .tls12
        } else {
            return nil
        }
    }

    private static let exporterLabel = Array("EXPORTER_SECRET ".utf8)
    private static let masterLabel = Array("CLIENT_RANDOM ".utf8)

    private static func secret(_ fields: some BidirectionalCollection<UInt8>) -> [UInt8]? {
        let parts = fields.split(separator: UInt8(ascii: " "))
        guard parts.count == 2 else { return nil }
        var digits = parts[1]
        if digits.last == UInt8(ascii: "\n") { digits.removeLast() }
        guard digits.count.isMultiple(of: 2) else { return nil }
        var secret: [UInt8] = []
        secret.reserveCapacity(digits.count / 2)
        while let high = digits.popFirst(), let low = digits.popFirst() {
            guard let high = digit(high), let low = digit(low) else { return nil }
            secret.append(high << 4 | low)
        }
        return secret
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

/// What is known of a connection of a client's over TLS that ends here.
package struct ClientTLS {
    /// By the certificate that was shown.
    private let endPoint: [ChannelBinding]
    /// Where it was watched.
    private let watch: HandshakeWatch?

    package init(endPoint: [ChannelBinding], _ watch: HandshakeWatch?) {
        self.endPoint = endPoint
        self.watch = watch
    }

    /// The handshake is done, with what was asked for a client's certificate.
    func ended(_ asking: NIOSSLServerHandler) { watch?.ended(with: asking.tlsVersion) }

    /// The strongest first. Once the handshake is done.
    ///
    /// A certificate of which no hash is defined leaves none: clients give up where they are offered bindings without `tls-server-end-point` that they do
    /// not know, since only somebody in between would do so (XEP-0440 §3, rules 1 and 6).
    package var bindings: [ChannelBinding] {
        switch watch?.outcome {
        case .tls13(let exporter?) where !endPoint.isEmpty: [exporter] + endPoint
        case .tls13, .tls12, .pending, nil: endPoint
        }
    }

    /// The version. `nil` where nobody watched: whether TLS ends here is then not known.
    package var version: NegotiatedTLS? {
        switch watch?.outcome {
        case .tls13: .tls13
        case .tls12: .tls12
        case .pending, nil: nil
        }
    }
}
