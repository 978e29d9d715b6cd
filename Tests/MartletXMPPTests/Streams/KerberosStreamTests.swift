import MartletXML
import MartletXMPP
import NIOCore
import Testing

@Suite("Kerberos in streams (RFC 4752, XEP-0233)")
struct KerberosStreamTests {
    static let offer = KerberosOffer(realms: ["VERONA.REALM"], hostname: "chat.verona.example")

    /// A stream up to its features.
    func opened(
        _ kerberos: KerberosOffer?, bindings: [ChannelBinding]? = [], certification: ClientCertification = .none, plaintext: Bool = false
    ) throws -> (ClientStreamMachine, Surroundings, ClientStreamMachine.Action) {
        var server = Surroundings()
        server.kerberos = kerberos
        server.certification = certification
        server.policy.allowsPlaintext = plaintext
        var machine = bindings.map { ClientStreamMachine(bindings: $0) } ?? ClientStreamMachine()
        let action = machine.opened(try StreamEvent.header("verona.example"), server)
        return (machine, server, action)
    }

    func features(
        _ kerberos: KerberosOffer?, bindings: [ChannelBinding]? = [], certification: ClientCertification = .none, plaintext: Bool = false
    ) throws -> String {
        guard case .open(_, let features) = try opened(kerberos, bindings: bindings, certification: certification, plaintext: plaintext).2 else { return "" }
        var writer = XMLWriter()
        features.write(to: &writer) { _ in }
        return String(buffer: writer.buffer)
    }

    @Test("GSSAPI is offered after TLS where tickets are good, below all with channel binding, with the host of the principal beside it (XEP-0233 §2)")
    func offered() throws {
        let text = try features(Self.offer, bindings: [Verona.endPoint])
        #expect(text.contains("<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>GSSAPI</mechanism><mechanism>SCRAM-SHA-256</mechanism>"))
        #expect(text.contains("<hostname xmlns='urn:xmpp:domain-based-name:1'>chat.verona.example</hostname></mechanisms>"))
        #expect(try !features(KerberosOffer(realms: ["R"])).contains("hostname"))
    }

    @Test("it is not offered without TLS, without realms, or where everybody needs a certificate")
    func notOffered() throws {
        let account = try BareJID(parsing: "alice@verona.example")
        for text in [
            try features(nil), try features(Self.offer, bindings: nil), try features(Self.offer, bindings: nil, plaintext: true),
            try features(Self.offer, certification: .required(account)),
        ] { #expect(!text.contains("GSSAPI") && !text.contains("hostname"), "\(text)") }
        #expect(try features(Self.offer, certification: .optional(account)).contains("EXTERNAL</mechanism><mechanism>GSSAPI"))
    }

    @Test("where it was not offered it is no mechanism")
    func refused() throws {
        var (machine, server, _) = try opened(nil)
        let auth = try StreamEvent.element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='GSSAPI'>YAE=</auth>")
        #expect(machine.received(auth, server) == .fail(.invalidMechanism))
    }

    @Test("an exchange goes out to whoever has the keys, and comes to an account, in both profiles", arguments: [SASLProfile.rfc6120, .sasl2])
    func exchange(_ profile: SASLProfile) throws {
        var (machine, server, _) = try opened(Self.offer)
        let first =
            profile == .rfc6120
            ? "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='GSSAPI'>YAE=</auth>"
            : "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='GSSAPI'><initial-response>YAE=</initial-response></authenticate>"
        func response(_ text: String) throws -> FlatElement {
            let namespace = profile == .rfc6120 ? "urn:ietf:params:xml:ns:xmpp-sasl" : "urn:xmpp:sasl:2"
            return try StreamEvent.element("<response xmlns='\(namespace)'>\(text)</response>")
        }
        let principal = try #require(KerberosPrincipal("juliet@VERONA.REALM"))
        #expect(machine.received(try StreamEvent.element(first), server) == .consult(.gssapi, .gssapi(.accept([0x60, 1], isFirst: true))))
        #expect(machine.isWaiting)
        #expect(machine.answered(.gssapi(.established(principal, token: [2]))) == .challenge([2], profile))
        #expect(machine.received(try response(profile == .rfc6120 ? "=" : ""), server) == .consult(.gssapi, .gssapi(.wrap([1, 0, 0, 0]))))
        #expect(machine.answered(.gssapi(.wrapped([9]))) == .challenge([9], profile))
        #expect(machine.received(try response("Bw=="), server) == .consult(.gssapi, .gssapi(.unwrap([7]))))
        let question = machine.answered(.gssapi(.unwrapped([1, 0, 0, 0])))
        guard case .lookUp(.gssapi, let identity, .standing) = question else { Issue.record("\(question)"); return }
        #expect("\(identity.account)" == "juliet@verona.example")
        let end = machine.answered(.standing(nil))
        switch profile {
        case .rfc6120: #expect(end == .succeed(identity.account, additionalData: nil))
        case .sasl2: #expect(end == .admit(identity.account, nil))
        }
    }

    @Test("a ticket of 12 KB, with many groups, fits into an element before authentication")
    func large() throws {
        var (machine, server, _) = try opened(Self.offer)
        let token = [UInt8](repeating: 0x60, count: 12_000)
        let text = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='GSSAPI'>\(Base64.encode(token))</auth>"
        let element = try parseElement(ByteBuffer(string: text), limits: .unauthenticated)
        #expect(machine.received(element, server) == .consult(.gssapi, .gssapi(.accept(token, isFirst: true))))
    }

    @Test("an answer that comes after the end of the stream is nobody's")
    func late() throws {
        var (machine, server, _) = try opened(Self.offer)
        _ = machine.received(try StreamEvent.element("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='GSSAPI'>YAE=</auth>"), server)
        machine.transportLost()
        #expect(machine.answered(.gssapi(.continues(token: [1]))) == .wait)
    }
}
