import MartletXML
import MartletXMPP
import NIOCore
import Testing

/// What XEP-0388 and XEP-0386 add to a log-in; that every event does the right thing in every state is looked at in ``ClientStreamMachineTests``.
@Suite struct InlineLoginTests {
    private static func offered(from: String = "", _ server: Surroundings = Surroundings()) throws -> ClientStreamMachine {
        var machine = ClientStreamMachine(bindings: [])
        _ = machine.opened(try StreamEvent.header("verona.example", from: from), server)
        return machine
    }

    private static func authenticate(_ inline: String, from: String = "") throws -> ClientStreamMachine.Action {
        var machine = try offered(from: from)
        return machine.received(try StreamEvent.element(StreamEvent.authenticateText(inline)), Surroundings())
    }

    /// From `<authenticate/>` to what is done for it.
    private static func admit(_ inline: String) throws -> (machine: ClientStreamMachine, admission: ClientStreamMachine.Action) {
        var machine = try offered()
        _ = machine.received(try StreamEvent.element(StreamEvent.authenticateText(inline)), Surroundings())
        let admission = machine.answered(.passwordVerdict(true))
        return (machine, admission)
    }

    // MARK: The request

    @Test("an initial response may be absent, empty or base64; an equals sign is none of them (XEP-0388 §2.2)", arguments: [
        ("", "2 challenge"), ("<initial-response/>", "2 fail malformed-request"), ("<initial-response>=</initial-response>", "2 fail incorrect-encoding"),
        ("<initial-response>AGp1bGlldABwZW5jaWw=</initial-response>", "ask"), ("<initial-response> AGp1bGlldABwZW5jaWw=</initial-response>", "2 fail incorrect-encoding"),
        ("<initial-response xmlns='urn:example:other'>AGp1bGlldABwZW5jaWw=</initial-response>", "2 challenge"),
    ])
    func initialResponse(child: String, does: String) throws {
        var machine = try Self.offered()
        let request = try StreamEvent.element("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>\(child)</authenticate>")
        let action = machine.received(request, Surroundings())
        #expect(action.summary == does)
    }

    @Test("what may be there once is not there twice; what nobody knows is passed over", arguments: [
        ("<bind xmlns='urn:xmpp:bind:0'/>", true), ("<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>", true), ("<user-agent/>", true),
        ("<initial-response>AGp1bGlldABwZW5jaWw=</initial-response>", true), ("<fast xmlns='urn:example:other'/>", false),
    ])
    func twice(child: String, isRefused: Bool) throws {
        #expect(try Self.authenticate(child + child).summary == (isRefused ? "2 fail malformed-request" : "ask"))
    }

    @Test("a stream that says whom it is from is nobody else's (XEP-0388 §2.3)", arguments: [
        ("", "ask"), ("from='juliet@verona.example'", "ask"), ("from='JULIET@verona.example/balcony'", "ask"), ("from='romeo@verona.example'", "2 fail invalid-authzid"),
    ])
    func from(header: String, does: String) throws {
        #expect(try Self.authenticate("", from: header).summary == does)
    }

    @Test("attempts count in both profiles together, and the last one fails in its own (reliability rule 14)")
    func attempts() throws {
        var machine = try Self.offered()
        let actions = try [StreamEvent.weakMechanism, .weakAuthenticate, .response2].map { try $0.happen(to: &machine).summary }
        #expect(actions == ["fail invalid-mechanism", "2 fail invalid-mechanism", "2 fail malformed-request, end policy-violation"])
    }

    // MARK: Who asks

    @Test("a user agent has a UUID of version 4, or no id (XEP-0388 §2.3)", arguments: [
        ("d4565fa7-4d72-4749-b3d3-740edbf87770", true), ("D4565FA7-4D72-4749-B3D3-740EDBF87770", true), ("d4565fa7-4d72-1749-b3d3-740edbf87770", false),
        ("d4565fa7-4d72-4749-c3d3-740edbf87770", false), ("d4565fa74d724749b3d3740edbf87770", false), ("d4565fa7-4d72-4749-b3d3-740edbf8777", false),
        ("{d4565fa7-4d72-4749-b3d3-740edbf8777}", false), ("g4565fa7-4d72-4749-b3d3-740edbf87770", false), ("", false),
    ])
    func identifiers(id: String, isTaken: Bool) throws {
        #expect(UserAgent.isIdentifier(id) == isTaken)
        #expect(try Self.authenticate("<user-agent id='\(id)'/>").summary == (isTaken ? "ask" : "2 fail malformed-request"))
    }

    @Test("what a user agent says is handed over with the account; texts are cut at their bound, between characters")
    func userAgent() throws {
        let id = "D4565FA7-4d72-4749-b3d3-740edbf87770"
        let long = String(repeating: "é", count: UserAgent.textBytesMax / 2)
        let (_, admission) = try Self.admit("<user-agent id='\(id)'><software>AwesomeXMPP</software><device>\(long)é</device></user-agent>")
        let juliet = try BareJID(parsing: "juliet@verona.example")
        #expect(admission == .admit(juliet, UserAgent(id: id.lowercased(), software: "AwesomeXMPP", device: long)))
        #expect(UserAgent(software: "a" + long).software == "a" + long.dropLast())
        #expect(UserAgent(software: long).software == long)
        #expect(UserAgent(software: "").software == nil)
        let (_, nobody) = try Self.admit("")
        #expect(nobody == .admit(juliet, nil))
    }

    @Test("an installation has one name in resources, which another account's has not, and which does not tell its id (XEP-0386 §3.2.1)")
    func resourceNames() throws {
        let (juliet, romeo) = (try BareJID(parsing: "juliet@verona.example"), try BareJID(parsing: "romeo@verona.example"))
        let agent = UserAgent(id: "d4565fa7-4d72-4749-b3d3-740edbf87770")
        let name = try #require(agent.resourceName(for: juliet))
        #expect(name.utf8.count == 18)
        #expect(name == UserAgent(id: "D4565FA7-4D72-4749-B3D3-740EDBF87770", software: "another").resourceName(for: juliet))
        #expect(name != agent.resourceName(for: romeo))
        #expect(name != UserAgent(id: "d4565fa7-4d72-4749-b3d3-740edbf87771").resourceName(for: juliet))
        #expect(UserAgent(software: "nameless").resourceName(for: juliet) == nil)
        #expect(!name.contains("d4565fa7"))
    }

    @Test("a tag begins the resource if it is short and may be in one", arguments: [
        ("<tag>AwesomeXMPP</tag>", "AwesomeXMPP/n"), ("<tag/>", "n"), ("", "n"), ("<tag>\(String(repeating: "a", count: InlineBind.tagBytesMax))</tag>", nil),
        ("<tag>\(String(repeating: "a", count: InlineBind.tagBytesMax + 1))</tag>", "n"), ("<tag>a&#x9;b</tag>", "n"), ("<tag xmlns='urn:example:other'>a</tag>", "n"),
    ])
    func tags(tag: String, resource: String?) throws {
        var (machine, _) = try Self.admit("<bind xmlns='urn:xmpp:bind:0'>\(tag)</bind>")
        guard case .bindInline(let account, let bind) = machine.admitted() else { throw BindingFault() }
        let address = try bind.address(of: account, named: "n")
        #expect(address.resourcepart == resource ?? String(repeating: "a", count: InlineBind.tagBytesMax) + "/n")
    }

    private struct BindingFault: Error {}

    @Test("what is held for a request counts until its sender has proved who it is (P17)")
    func heldBytes() throws {
        var machine = try Self.offered()
        #expect(machine.heldByteCount == 0)
        let request = try StreamEvent.element(StreamEvent.authenticateText("<bind xmlns='urn:xmpp:bind:0'/>"))
        _ = machine.received(request, Surroundings())
        #expect(machine.heldByteCount == request.byteCount)
        _ = machine.answered(.passwordVerdict(true))
        #expect(machine.heldByteCount == 0)
        var plain = try Self.offered()
        _ = try StreamEvent.authenticate.happen(to: &plain)
        #expect(plain.heldByteCount == 0)
    }

    @Test("what a bind asks for is handed on as it is, all of it and nothing else (XEP-0386 §3.2)")
    func wishes() throws {
        let inline = "<enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3' resume='true'/><inactive xmlns='urn:xmpp:csi:0'/>"
        var (machine, _) = try Self.admit("<bind xmlns='urn:xmpp:bind:0'><tag>a</tag>\(inline)</bind><other xmlns='urn:example:other'/>")
        guard case .bindInline(_, let bind) = machine.admitted() else { throw BindingFault() }
        #expect(bind.requests.map(\.localName) == ["enable", "enable", "inactive"])
    }

    // MARK: Order

    @Test("an earlier stream comes first, a resource after it, and what cannot be had is said (XEP-0386 §3.2, XEP-0198 §9.2)", arguments: [
        ("", ["complete juliet@verona.example"]),
        ("<bind xmlns='urn:xmpp:bind:0'/>", ["bind inline any", "complete bound juliet@verona.example/balcony"]),
        ("<resume xmlns='urn:xmpp:sm:3' previd='x' h='1'/>", ["resume x 1", "complete juliet@verona.example, failed item-not-found"]),
        ("<resume xmlns='urn:xmpp:sm:3' previd='x' h='-1'/>", ["complete juliet@verona.example, failed bad-request"]),
        (
            "<bind xmlns='urn:xmpp:bind:0'/><resume xmlns='urn:xmpp:sm:3' h='1'/>",
            ["bind inline any", "complete bound juliet@verona.example/balcony, failed bad-request"]
        ),
        (StreamEvent.resumeAndBind, ["resume x 1", "bind inline any", "complete bound juliet@verona.example/balcony, failed item-not-found"]),
    ])
    func order(inline: String, steps: [String]) throws {
        var (machine, _) = try Self.admit(inline)
        var done = [machine.admitted()]
        if case .resume = done[0] { done.append(machine.refusedResumption(.itemNotFound, handled: nil)) }
        if case .bindInline? = done.last { done.append(machine.bound(try FullJID(parsing: "juliet@verona.example/balcony"))) }
        #expect(done.map(\.summary) == steps)
        #expect(!machine.isWaiting && machine.isAuthenticated)
    }

    @Test("a failed authentication does nothing of what was asked for with it, and the stream is as before (XEP-0388 §2.6.2)")
    func failure() throws {
        var machine = try Self.offered()
        _ = machine.received(try StreamEvent.element(StreamEvent.authenticateText(StreamEvent.resumeAndBind)), Surroundings())
        #expect(machine.answered(.passwordVerdict(false)).summary == "2 fail not-authorized")
        #expect(machine.admitted() == .wait)
        #expect(try StreamEvent.authenticate.happen(to: &machine).summary == "ask")
    }

    @Test("a stream that ends while its log-in is completed gets no session", arguments: [false, true])
    func endsMeanwhile(isLost: Bool) throws {
        var (machine, _) = try Self.admit(StreamEvent.resumeAndBind)
        _ = machine.admitted()
        if isLost { machine.transportLost() } else { _ = machine.end(StreamError(.connectionTimeout), Surroundings()) }
        let address = try FullJID(parsing: "juliet@verona.example/balcony")
        #expect(machine.resumed(address, previous: "x", handled: 1) == .wait)
        #expect(machine.refusedResumption(.itemNotFound, handled: nil) == .wait)
        #expect(machine.bound(address) == .wait)
    }

    // MARK: What is written

    private static func success(_ session: InlineSuccess.Session, _ resumption: StreamManagementAnswer? = nil) throws -> ClientStreamMachine.Action {
        .complete(InlineSuccess(try BareJID(parsing: "juliet@verona.example"), additionalData: [1], resumption: resumption, session: session))
    }

    @Test("a success says who logged in and what came of what was asked for; features follow it, unless a stream goes on (XEP-0388 §2.6.1, XEP-0198 §9.2)")
    func successes() throws {
        let address = try FullJID(parsing: "juliet@verona.example/balcony")
        let head = "<success xmlns='urn:xmpp:sasl:2'><additional-data>AQ==</additional-data><authorization-identifier>juliet@verona.example"
        let caps = "<c xmlns='http://jabber.org/protocol/caps'/></stream:features>"
        #expect(
            ClientStreamActionTests.written(try Self.success(.none)) == head + "</authorization-identifier></success><stream:features>"
                + "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>" + caps)
        let bound = try Self.success(.bound(address, ByteBuffer(string: "<enabled xmlns='urn:xmpp:sm:3'/>")), .failed(.itemNotFound, handled: 3))
        #expect(
            ClientStreamActionTests.written(bound) == head + "/balcony</authorization-identifier><failed xmlns='urn:xmpp:sm:3' h='3'>"
                + "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed><bound xmlns='urn:xmpp:bind:0'><enabled xmlns='urn:xmpp:sm:3'/></bound></success>"
                + "<stream:features>" + caps)
        let empty = try Self.success(.bound(address, ByteBuffer()))
        #expect(ClientStreamActionTests.written(empty).contains("<bound xmlns='urn:xmpp:bind:0'/></success>"))
        let resumed = try Self.success(.resumed(address), .resumed(previous: "x", handled: 2))
        #expect(
            ClientStreamActionTests.written(resumed)
                == head + "/balcony</authorization-identifier><resumed xmlns='urn:xmpp:sm:3' h='2' previd='x'/></success>")
    }

    @Test("challenges and failures are in the profile's namespace, conditions are SASL's own (XEP-0388 §2.5, §2.6.2)")
    func failures() {
        #expect(ClientStreamActionTests.written(.challenge([1], .sasl2)) == "<challenge xmlns='urn:xmpp:sasl:2'>AQ==</challenge>")
        #expect(ClientStreamActionTests.written(.challenge([], .sasl2)) == "<challenge xmlns='urn:xmpp:sasl:2'/>")
        #expect(
            ClientStreamActionTests.written(.fail(SASLFailure(.aborted, "why"), .sasl2))
                == "<failure xmlns='urn:xmpp:sasl:2'><aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/><text xml:lang='en'>why</text></failure>")
        let last = ClientStreamActionTests.written(.failFinally(.notAuthorized, StreamError(.policyViolation), .sasl2))
        #expect(last.hasPrefix("<failure xmlns='urn:xmpp:sasl:2'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure><stream:error>"))
    }

    @Test("what is offered inside a log-in is what features of the host say (XEP-0386 §3.1)")
    func offer() throws {
        let inline = InlineOffer(features: ["urn:xmpp:carbons:2", "urn:xmpp:sm:3"], resumes: true)
        let header = ServerStreamHeader(from: "verona.example", id: "1")
        let features = ClientStreamActionTests.written(.open(header, .negotiation(startTLS: .absent, mechanisms: [.plain], bindings: [], inline: inline)))
        #expect(
            features.hasSuffix(
                "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>PLAIN</mechanism><inline><bind xmlns='urn:xmpp:bind:0'><inline>"
                    + "<feature var='urn:xmpp:carbons:2'/><feature var='urn:xmpp:sm:3'/></inline></bind><sm xmlns='urn:xmpp:sm:3'/></inline></authentication>"
                    + "</stream:features>"))
        let none = ClientStreamActionTests.written(.open(header, .negotiation(startTLS: .required, mechanisms: [], bindings: [], inline: inline)))
        #expect(!none.contains("authentication"))
    }

    @Test("over WebSocket and BOSH success and features are two elements, and a resumption one (RFC 7395 §3.3.3, XEP-0206)")
    func otherTransports() throws {
        let address = try FullJID(parsing: "juliet@verona.example/balcony")
        let bound = try Self.success(.bound(address, ByteBuffer()))
        let resumed = try Self.success(.resumed(address), .resumed(previous: "x", handled: 2))
        for elements in [bound.webSocketMessages(), bound.boshElements()].map({ $0.map { String(buffer: $0) } }) {
            #expect(elements.count == 2)
            #expect(elements[0].hasPrefix("<success xmlns='urn:xmpp:sasl:2'>") && elements[0].hasSuffix("</success>"))
            #expect(elements[1].hasPrefix("<stream:features"))
        }
        #expect(resumed.webSocketMessages().count == 1 && resumed.boshElements().count == 1)
        #expect(bound.webSocketMessages().last.map { String(buffer: $0) } == "<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>")
    }
}
