import MartletCore
import MartletNetwork
import MartletXMPP
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import NIOSSL
import Testing

@Suite("Channel binding (RFC 5056, RFC 9266, XEP-0440)")
struct ChannelBindingTests {
    private static func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = Array(hexadecimal)
        return stride(from: 0, to: digits.count, by: 2).compactMap { UInt8(String(digits[$0...($0 + 1)]), radix: 16) }
    }

    // MARK: The exporter

    /// Connections of OpenSSL 3.0's `s_client -keylogfile … -keymatexport EXPORTER-Channel-Binding -keymatexportlen 32` with cipher suites of both
    /// hashes, and the same computed by Python's hmac from secrets that count up.
    private static let vectors = [
        (
            "1e58560314995303f34204c8594bcab37f506dc0b80ed1c5f7ab8de5fd1e493e", "03a9d4e7368a626c582133362c8f5b7d393dde4498e6b108b2482eeee558ca13"
        ),
        (
            "6ddd524098b2a366e5638dcb640e538e4e49e3e5a83989777adb1bebe8705ce95ed9b5b7a46b30696f291bc15a064a9f",
            "1010cabd9e6a6efe74bb73d9b5b40606197b1e163da0e554059e0791cda084ea"
        ),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "34a93b1dd3c2b63ebc1bced0d7d37ade4e53c057e4d368578a5bef73771e2a1b"
        ),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f",
            "611c8f80782a86df99c005b09cafa11d5c3ef90ffcfbaa44cd1eda33d03ccdee"
        ),
    ]

    @Test("tls-exporter is what another implementation exports (RFC 9266 §2, RFC 8446 §7.5)", arguments: vectors)
    func exporter(secret: String, exported: String) {
        #expect(ChannelBinding.tlsExporter(Self.bytes(secret)) == ChannelBinding(.tlsExporter, data: Self.bytes(exported)))
    }

    @Test("a secret that no cipher suite of TLS 1.3 has gives none", arguments: [0, 20, 31, 33, 47, 49, 64])
    func unknownHash(byteCount: Int) {
        #expect(ChannelBinding.tlsExporter([UInt8](repeating: 1, count: byteCount)) == nil)
    }

    // MARK: The watch

    private static let random = String(repeating: "5a", count: 32)
    private static func line(_ label: String, _ secret: String) -> ByteBuffer { ByteBuffer(string: "\(label) \(random) \(secret)\n") }

    @Test("of a key log only the exporter's secret is taken, and that there is TLS 1.2")
    func lines() {
        let (secret, exported) = Self.vectors[0]
        let expected = HandshakeWatch.Outcome.tls13(exporter: ChannelBinding(.tlsExporter, data: Self.bytes(exported)))
        #expect(HandshakeWatch.Outcome(Self.line("EXPORTER_SECRET", secret)) == expected)
        #expect(HandshakeWatch.Outcome(ByteBuffer(string: "EXPORTER_SECRET \(Self.random) \(secret)")) == expected)
        #expect(HandshakeWatch.Outcome(Self.line("CLIENT_RANDOM", secret)) == .tls12)
        for label in [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0",
            "CLIENT_EARLY_TRAFFIC_SECRET", "EARLY_EXPORTER_SECRET", "EXPORTER_SECRET_1", "exporter_secret", "",
        ] {
            #expect(HandshakeWatch.Outcome(Self.line(label, secret)) == nil, "\(label)")
        }
    }

    @Test("a secret that cannot be read is none, and the connection has no tls-exporter", arguments: ["", "1", "1e5", "zz", "1E58", "1e 58"])
    func unreadable(secret: String) {
        #expect(HandshakeWatch.Outcome(Self.line("EXPORTER_SECRET", secret)) == .tls13(exporter: nil))
    }

    /// Tells secrets where TLS would, when it is given bytes.
    private final class Handshake: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        func channelRead(context: ChannelHandlerContext, data: NIOAny) { HandshakeWatch.note(unwrapInboundIn(data)) }
    }

    private static func watched() throws -> (EmbeddedChannel, HandshakeWatch) {
        let (channel, watch) = (EmbeddedChannel(), HandshakeWatch())
        try channel.pipeline.syncOperations.addHandlers([watch, Handshake()])
        return (channel, watch)
    }

    private static func isWatching(_ channel: EmbeddedChannel) -> Bool {
        (try? channel.pipeline.syncOperations.handler(type: HandshakeWatch.self)) != nil
    }

    @Test("secrets belong to the connection whose bytes are on their way, also where two have one random number; others are nobody's")
    func watching() throws {
        let (first, firstWatch) = try Self.watched()
        let (second, secondWatch) = try Self.watched()
        HandshakeWatch.note(Self.line("EXPORTER_SECRET", Self.vectors[1].0))
        try first.writeInbound(Self.line("SERVER_TRAFFIC_SECRET_0", Self.vectors[0].0))
        #expect(firstWatch.outcome == .pending && Self.isWatching(first))
        try second.writeInbound(Self.line("EXPORTER_SECRET", Self.vectors[1].0))
        try first.writeInbound(Self.line("EXPORTER_SECRET", Self.vectors[0].0))
        #expect(firstWatch.outcome == .tls13(exporter: ChannelBinding(.tlsExporter, data: Self.bytes(Self.vectors[0].1))))
        #expect(secondWatch.outcome == .tls13(exporter: ChannelBinding(.tlsExporter, data: Self.bytes(Self.vectors[1].1))))
        #expect(!Self.isWatching(first) && !Self.isWatching(second))
        let before = firstWatch.outcome
        try first.writeInbound(Self.line("EXPORTER_SECRET", Self.vectors[2].0))
        #expect(firstWatch.outcome == before)
        let (third, thirdWatch) = try Self.watched()
        try third.writeInbound(Self.line("CLIENT_RANDOM", Self.vectors[1].0))
        #expect(thirdWatch.outcome == .tls12 && !Self.isWatching(third))
        // A handshake that fails leaves nothing.
        let (fourth, fourthWatch) = try Self.watched()
        fourth.pipeline.fireChannelInactive()
        HandshakeWatch.note(Self.line("EXPORTER_SECRET", Self.vectors[1].0))
        #expect(fourthWatch.outcome == .pending)
    }

    @Test("of a handshake that went on in a turn of its own it is known at its end which version it is, and nothing else")
    func turnOfItsOwn() throws {
        for version in [TLSVersion?.none, .tlsv13, .tlsv12] {
            let (channel, watch) = try Self.watched()
            watch.ended(with: version)
            #expect(watch.outcome == (version == .tlsv12 ? .tls12 : .pending))
            try channel.writeInbound(ByteBuffer(string: "another line"))
            #expect(Self.isWatching(channel) == (version != .tlsv12))
        }
        let (channel, watch) = try Self.watched()
        try channel.writeInbound(Self.line("EXPORTER_SECRET", Self.vectors[0].0))
        let before = watch.outcome
        watch.ended(with: .tlsv12)
        #expect(watch.outcome == before)
    }

    @Test("the exporter comes first, and never without the certificate's hash (XEP-0440 §3)")
    func order() throws {
        let endPoint = ChannelBinding(.tlsServerEndPoint, data: [UInt8](0..<32))
        let (channel, watch) = try Self.watched()
        #expect(ClientTLS(endPoint: [endPoint], watch).bindings == [endPoint])
        #expect(ClientTLS(endPoint: [endPoint], watch).version == nil)
        try channel.writeInbound(Self.line("EXPORTER_SECRET", Self.vectors[0].0))
        #expect(ClientTLS(endPoint: [endPoint], watch).bindings.map(\.kind) == [.tlsExporter, .tlsServerEndPoint])
        #expect(ClientTLS(endPoint: [endPoint], watch).version == .tls13)
        #expect(ClientTLS(endPoint: [], watch).bindings == [])
        #expect(ClientTLS(endPoint: [endPoint], nil).bindings == [endPoint])
        #expect(ClientTLS(endPoint: [endPoint], nil).version == nil)
    }

    // MARK: Over the network

    private static let announced = "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>"
        + "<channel-binding type='tls-server-end-point'/></sasl-channel-binding>"
    private static let announcedEndPoint = "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-server-end-point'/></sasl-channel-binding>"

    /// A client behind TLS, and what it was offered.
    private static func offered(_ listener: ListenerConfiguration, _ port: Int, isTLS13: Bool) async throws -> (TestClient, String) {
        let client = try await TestClient.connect(to: port)
        switch listener.kind {
        case .client:
            _ = try await client.say(TestClient.header(), hear: "</stream:features>")
            _ = try await client.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", hear: "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            try await client.startTLS("verona.example", trust: "verona.example.pem", isTLS13: isTLS13)
        case .https:
            try await client.startTLS("verona.example", trust: "verona.example.pem", isTLS13: isTLS13)
            try await client.openWebSocket()
            return (client, try await client.say(frame: TestClient.open, hear: "</stream:features>"))
        case .clientTLS, .server, .serverTLS, .http, .challenge, .component, .componentTLS, .ldap, .ldaps:
            try await client.startTLS("verona.example", trust: "verona.example.pem", isTLS13: isTLS13)
        }
        return (client, try await client.say(TestClient.header(), hear: "</stream:features>"))
    }

    @Test(
        "a client binds by the exporter over STARTTLS, direct TLS and WebSocket, with every hash (RFC 9266, RFC 7395)",
        arguments: [ListenerConfiguration.startTLS, .directTLS, .https])
    func bound(listener: ListenerConfiguration) async throws {
        try await TestServer.with(listener) { server, port in
            let (client, features) = try await Self.offered(listener, port, isTLS13: true)
            #expect(features.contains(Self.announced))
            let exporter = try #require(client.exporter)
            let challenge = try await client.authenticate("juliet", .sha256, binding: .bound(exporter), isFramed: listener.kind == .https)
            // All usual mechanisms, and both types (XEP-0474); TLS 1.3 (XEP-0515).
            #expect(challenge.hasSuffix(",h=cmRT/9v5sjTgX+ft+hYhsOha8IkhRW2KxNFPJvcbHUA=,t=0304"))
            try await client.close()
            // Another connection has another one.
            let (other, _) = try await Self.offered(listener, port, isTLS13: true)
            #expect(other.exporter != exporter)
            try await other.close()
        }
    }

    @Test("with TLS 1.2 a client binds by the certificate alone", arguments: [ListenerConfiguration.startTLS, .directTLS, .https])
    func boundToCertificate(listener: ListenerConfiguration) async throws {
        try await TestServer.with(listener) { server, port in
            let (client, features) = try await Self.offered(listener, port, isTLS13: false)
            #expect(features.contains(Self.announcedEndPoint))
            let binding = try #require(server.certificates.certificate(of: "verona.example")?.bindings.first)
            let challenge = try await client.authenticate("juliet", .sha256, binding: .bound(binding), isFramed: listener.kind == .https)
            #expect(challenge.hasSuffix(",h=f7ZoTyV/jT+lqYkTsYH68ug/VpzFvB0mwIu/hlhOY/k=,t=0303"))
            try await client.close()
        }
    }

    /// Keeps what it is told.
    private final class Audit: AuditSink {
        private let events = NIOLockedValueBox<[AuditEvent]>([])
        func record(_ event: AuditEvent) { events.withLockedValue { $0.append(event) } }
        var suspicions: [SASLFailure.Suspicion] {
            events.withLockedValue { events in
                events.compactMap { event in
                    guard case .loginSuspected(_, _, _, let suspicion) = event else { return nil }
                    return suspicion
                }
            }
        }
    }

    @Test("a client at the end of another connection is refused, may try again, and is told to the operator; so is one that was not shown the offer")
    func suspected() async throws {
        let audit = Audit()
        let server = try await TestServer([.directTLS], audit: audit)
        let (client, _) = try await Self.offered(.directTLS, try #require(server.service.ports.first), isTLS13: true)
        let elsewhere = ChannelBinding(.tlsExporter, data: [UInt8](repeating: 7, count: 32))
        try await client.authenticate("juliet", .sha256, binding: .bound(elsewhere), hear: "</failure>")
        try await client.authenticate("juliet", .sha256, binding: .unadvertised, hear: "</failure>")
        #expect(audit.suspicions == [.otherChannel, .strippedOffer])
        let exporter = try #require(client.exporter)
        try await client.authenticate("juliet", .sha256, binding: .bound(exporter))
        #expect(audit.suspicions.count == 2)
        try await client.close()
        await server.service.stop()
        try await server.pool.shutDown()
    }

    @Test("where handshakes are not watched, neither the exporter is offered nor the version of TLS said")
    func unwatched() async throws {
        let server = try await TestServer([.directTLS], watchesHandshakes: false)
        let (client, features) = try await Self.offered(.directTLS, try #require(server.service.ports.first), isTLS13: true)
        #expect(features.contains(Self.announcedEndPoint))
        let challenge = try await client.authenticate("juliet", .sha256)
        #expect(challenge.hasSuffix(",h=f7ZoTyV/jT+lqYkTsYH68ug/VpzFvB0mwIu/hlhOY/k="))
        try await client.close()
        await server.service.stop()
        try await server.pool.shutDown()
    }
}
