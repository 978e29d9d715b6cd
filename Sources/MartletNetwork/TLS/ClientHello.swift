import Crypto
package import NIOCore
import X509

/// What a client says first, as far as it matters for which certificate it is shown (RFC 8446 §4.1.2): what signatures it can verify.
///
/// Only looked at: the TLS library reads the same bytes again, and decides by itself what is agreed on. Whoever lies here is shown a certificate of
/// no use to himself.
package struct ClientHello: Hashable, Sendable {
    package let cipherSuites: [UInt16]
    /// `nil`: it does not say.
    package let signatureAlgorithms: [UInt16]?
    package let speaksTLS13: Bool

    private static let headerBytes = 5

    package enum Reading: Hashable, Sendable {
        /// There has to come more.
        case incomplete
        /// There is nothing that is understood here: no TLS, or a hello in more than one record.
        case none
        case hello(ClientHello)
    }

    /// - Parameter bytes: what has come so far.
    package static func read(_ bytes: ByteBuffer) -> Reading {
        var bytes = bytes
        guard let first = bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) else { return .incomplete }
        // RFC 8446 §5.1: a record of a handshake.
        guard first == 22 else { return .none }
        guard bytes.readableBytes >= headerBytes else { return .incomplete }
        bytes.moveReaderIndex(forwardBy: 3)
        guard let length = bytes.readInteger(as: UInt16.self) else { return .incomplete }
        guard Int(length) <= ServerTLS.helloBytesMax - headerBytes else { return .none }
        guard var record = bytes.readSlice(length: Int(length)) else { return .incomplete }
        guard record.readInteger(as: UInt8.self) == 1, let high = record.readInteger(as: UInt8.self), let low = record.readInteger(as: UInt16.self),
            var body = record.readSlice(length: Int(high) << 16 | Int(low))
        else { return .none }
        return ClientHello(&body).map(Reading.hello) ?? .none
    }

    private init?(_ body: inout ByteBuffer) {
        // Version and random.
        guard body.readSlice(length: 2 + 32) != nil, body.readVector(UInt8.self) != nil,
            let suites = body.readVector(UInt16.self)?.numbers, body.readVector(UInt8.self) != nil
        else { return nil }
        cipherSuites = suites
        var (algorithms, versions): ([UInt16]?, [UInt16]) = (nil, [])
        // Without extensions there is nothing after that.
        if body.readableBytes > 0 {
            guard var extensions = body.readVector(UInt16.self) else { return nil }
            while extensions.readableBytes > 0 {
                guard let type = extensions.readInteger(as: UInt16.self), var content = extensions.readVector(UInt16.self) else { return nil }
                switch type {
                case 13: algorithms = content.readVector(UInt16.self)?.numbers
                case 43: versions = content.readVector(UInt8.self)?.numbers ?? []
                default: break
                }
            }
        }
        (signatureAlgorithms, speaksTLS13) = (algorithms, versions.contains(0x0304))
    }

    /// Whether a certificate with a key of that kind is of use to the client.
    package func takes(_ kind: CertificateKeyKind) -> Bool {
        switch kind {
        case .rsa, .other: true
        case .ecdsa(let scheme):
            // The scheme names the curve from TLS 1.3 on (RFC 8446 §4.2.3); before, any hash goes with any curve, and the cipher names ECDSA.
            speaksTLS13
                ? signatureAlgorithms?.contains(scheme) == true
                : cipherSuites.contains(where: Self.ecdsaSuites.contains) && signatureAlgorithms?.contains(where: Self.ecdsaSchemes.contains) == true
        }
    }

    private static let ecdsaSchemes: Set<UInt16> = [0x0403, 0x0503, 0x0603]
    /// Those with ECDSA that are taken here by any profile.
    private static let ecdsaSuites: Set<UInt16> = [0xC02B, 0xC02C, 0xCCA9]
}

/// What kind of key a certificate is for.
package enum CertificateKeyKind: Hashable, Sendable {
    /// With the signature scheme of TLS 1.3 that goes with its curve.
    case ecdsa(scheme: UInt16)
    case rsa
    case other

    var isECDSA: Bool { if case .ecdsa = self { true } else { false } }

    /// - Parameter certificate: in DER.
    init(_ certificate: [UInt8]) {
        guard let key = (try? PeerCertificate.parsed(certificate))?.publicKey else {
            self = .other
            return
        }
        if P256.Signing.PublicKey(key) != nil { self = .ecdsa(scheme: 0x0403) }
        else if P384.Signing.PublicKey(key) != nil { self = .ecdsa(scheme: 0x0503) }
        else if P521.Signing.PublicKey(key) != nil { self = .ecdsa(scheme: 0x0603) }
        else { self = Curve25519.Signing.PublicKey(key) == nil ? .rsa : .other }
    }
}

extension ByteBuffer {
    /// What stands behind its length (RFC 8446 §3.4).
    fileprivate mutating func readVector<Length: FixedWidthInteger>(_ length: Length.Type) -> ByteBuffer? {
        readInteger(as: Length.self).flatMap { readSlice(length: Int($0)) }
    }

    /// All of it as numbers of two bytes; `nil` if they do not come out even.
    fileprivate var numbers: [UInt16]? {
        guard readableBytes.isMultiple(of: 2) else { return nil }
        var (rest, numbers): (ByteBuffer, [UInt16]) = (self, [])
        while let number = rest.readInteger(as: UInt16.self) { numbers.append(number) }
        return numbers
    }
}

/// Looks at what passes until the client's hello is complete; in front of whoever waits for that.
final class ClientHelloPeek: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private enum State {
        case waiting(ByteBuffer)
        case done(ClientHello?)
    }

    private var state = State.waiting(ByteBuffer())

    /// `nil`: it is not here, or not understood.
    var hello: ClientHello? { if case .done(let hello) = state { hello } else { nil } }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .waiting(var seen) = state {
            // Taken out, so that it grows in place.
            state = .done(nil)
            seen.writeImmutableBuffer(unwrapInboundIn(data))
            switch ClientHello.read(seen) {
            case .incomplete where seen.readableBytes < ServerTLS.helloBytesMax: state = .waiting(seen)
            case .incomplete, .none: state = .done(nil)
            case .hello(let hello): state = .done(hello)
            }
        }
        context.fireChannelRead(data)
    }
}
