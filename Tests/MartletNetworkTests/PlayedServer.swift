import MartletNetwork
import NIOCore
import NIOPosix
import NIOSSL
import Testing

/// mantua.example, of which a test says every word. It believes whoever calls, in TLS from the first byte (XEP-0368), and takes stanzas of up to
/// 20 000 bytes.
final class PlayedServer: Sendable {
    private let listener: any Channel
    private let callers: AsyncStream<TestClient>

    /// - Parameter isTLS13: whether it speaks more than TLS 1.2.
    init(in book: PortBook, isTLS13: Bool = true) async throws {
        let files = Fixtures.files("mantua.example")
        let chain = try NIOSSLCertificate.fromPEMFile(files.chain).map { NIOSSLCertificateSource.certificate($0) }
        let key = try NIOSSLPrivateKey(file: files.key, format: .pem)
        var configuration = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key))
        configuration.maximumTLSVersion = isTLS13 ? .tlsv13 : .tlsv12
        let tls = try NIOSSLContext(configuration: configuration)
        let (callers, come) = AsyncStream<TestClient>.makeStream()
        self.callers = callers
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
                    come.yield(try TestClient.answering(channel))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        book.enter("mantua.example", try #require(listener.localAddress?.port), isDirect: true)
    }

    /// Nobody reaches it any more; streams that there are stay.
    func stopListening() async throws { try await listener.close() }

    // MARK: Who calls it

    /// The next stream, up to where the caller knows what can be done with it.
    private func stream() async throws -> TestClient {
        var iterator = callers.makeAsyncIterator()
        let stream = try #require(await iterator.next())
        try await stream.hearHeader()
        try await stream.send(
            Self.header + "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>")
        _ = try await stream.hear("</auth>")
        try await stream.send("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        try await stream.hearHeader()
        let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>20000</max-bytes></limits>"
        try await stream.send(Self.header + "<stream:features><sm xmlns='urn:xmpp:sm:3'/>\(limits)</stream:features>")
        return stream
    }

    private static let header = """
        <?xml version='1.0'?><stream:stream from='mantua.example' to='verona.example' id='1' version='1.0' xmlns='jabber:server' \
        xmlns:stream='http://etherx.jabber.org/streams'>
        """

    /// The next stream, as a new one. Stanzas on it count (XEP-0198), and are acknowledged when the test does that.
    ///
    /// - Parameter seconds: for how long it can be gone on with after its connection has broken off, if it can.
    func newStream(resumableFor seconds: Int? = nil) async throws -> TestClient {
        let stream = try await stream()
        _ = try await stream.hear("<enable ")
        _ = try await stream.hear("/>")
        try await stream.send("<enabled xmlns='urn:xmpp:sm:3'\(seconds.map { " id='s' resume='true' max='\($0)'" } ?? "")/>")
        return stream
    }

    /// The next stream, with which the caller goes on with the one before, of which this server has handled so many.
    func resumedStream(after handled: Int) async throws -> TestClient {
        let stream = try await stream()
        _ = try await stream.hear("<resume ")
        _ = try await stream.hear("/>")
        try await stream.send("<resumed xmlns='urn:xmpp:sm:3' previd='s' h='\(handled)'/>")
        return stream
    }

    // MARK: Whom it calls

    /// A stream to Verona, which listens for TLS from the first byte, up to where its stanzas are taken.
    static func call(_ verona: Side) async throws -> TestClient {
        let stream = try await TestClient.connect(to: try #require(verona.listener.ports.first))
        try await stream.startTLS("verona.example", trust: "verona.example.pem", showing: Fixtures.files("mantua.example"))
        let header = header.replacing(" id='1'", with: "")
        _ = try await stream.say(header, hear: "</stream:features>")
        _ = try await stream.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>", hear: "<success ")
        _ = try await stream.say(header, hear: "</stream:features>")
        return stream
    }
}

extension TestClient {
    fileprivate func hearHeader() async throws {
        _ = try await hear("<stream:stream ")
        _ = try await hear(">")
    }

    /// Says that so many stanzas are handled.
    func acknowledge(_ count: Int) async throws { try await send("<a xmlns='urn:xmpp:sm:3' h='\(count)'/>") }
}
