import MartletNetwork
import MartletXMPP
import NIOCore
import Testing

@Suite("What is asked of TLS with single servers")
struct PeerTLSProfileTests {
    /// Verona, which asks that of Mantua, or of nobody in particular.
    private static func verona(_ book: PortBook, _ profile: TLSProfile?) async throws -> Side {
        var options = Side.Options().changed { $0.tlsProfiles["mantua.example"] = profile }
        options.isDirect = true
        return try await Side("verona.example", book, options)
    }

    /// What a server is told that calls with that version of TLS and is who it says: features, or why there are none.
    private static func answer(_ remote: String, isTLS13: Bool, _ verona: Side) async throws -> String {
        let stream = try await TestClient.connect(to: try #require(verona.listener.ports.first))
        try await stream.startTLS("verona.example", trust: "verona.example.pem", showing: Fixtures.files("mantua.example"), isTLS13: isTLS13)
        let header = """
            <?xml version='1.0'?><stream:stream from='\(remote)' to='verona.example' version='1.0' xmlns='jabber:server' \
            xmlns:stream='http://etherx.jabber.org/streams'>
            """
        return try await stream.say(header, hear: "</stream:")
    }

    @Test("a server of which TLS 1.3 is asked is not heard over TLS 1.2, and others are", arguments: [TLSProfile.modern, .strict])
    func calls(profile: TLSProfile) async throws {
        let verona = try await Self.verona(PortBook(), profile)
        #expect(try await Self.answer("mantua.example", isTLS13: false, verona).contains("by TLS 1.3 only"))
        #expect(try await Self.answer("chat.mantua.example", isTLS13: false, verona).contains("by TLS 1.3 only"))
        #expect(try await Self.answer("mantua.example", isTLS13: true, verona).contains("<mechanism>EXTERNAL</mechanism>"))
        #expect(try await Self.answer("padua.example", isTLS13: false, verona).contains("<stream:features>"))
        try await verona.stop()
    }

    @Test("nor is it spoken to: what goes there comes back")
    func isCalled() async throws {
        let book = PortBook()
        let mantua = try await PlayedServer(in: book, isTLS13: false)
        let verona = try await Self.verona(book, .strict)
        let juliet = try await verona.client("juliet", "verona.example")
        let answer = try await juliet.say("<iq type='get' id='p' to='mantua.example'><ping xmlns='urn:xmpp:ping'/></iq>", hear: "</iq>")
        #expect(answer.contains("type='error'"))
        try await mantua.stopListening()
        try await verona.stop()
    }

    @Test("without that TLS 1.2 is enough")
    func isCalledOtherwise() async throws {
        let book = PortBook()
        let mantua = try await PlayedServer(in: book, isTLS13: false)
        let verona = try await Self.verona(book, nil)
        let juliet = try await verona.client("juliet", "verona.example")
        try await juliet.send("<message to='romeo@mantua.example' type='chat'><body>art thou</body></message>")
        let stream = try await mantua.newStream()
        #expect(try await stream.hear("</message>").contains("<body>art thou</body>"))
        try await mantua.stopListening()
        try await verona.stop()
    }
}
