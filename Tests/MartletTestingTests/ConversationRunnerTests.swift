import MartletTesting
import MartletXML
import NIOCore
import Testing

@Suite("Conversations are held as they are written")
struct ConversationRunnerTests {
    private func failure(_ steps: String) throws -> ConversationFailure? {
        let conversation = try ConversationParser.parse(
            "title: A test\nsection: RFC 6120 §1\nclient romeo/orchard\nclient juliet/balcony\nclient juliet/chamber later\n" + steps)
        do {
            try ConversationRunner.run(conversation, over: SmallServer(), tag: "1")
            return nil
        } catch {
            return error
        }
    }

    @Test("what is expected arrives, with the names of this run")
    func expected() throws {
        #expect(
            try failure(
                """
                romeo/orchard sends:
                    <message to='{juliet/balcony}' id='1'/>
                    <message to='{juliet/balcony}' id='2'/>
                juliet/balcony receives in any order:
                    <message id='2' to='juliet-1@town.example/balcony' from='{romeo/orchard}'/>
                    <message id='{capture:first}' to='{self}' from='romeo-1@town.example/orchard'/>
                juliet/balcony sends:
                    <message to='{romeo/orchard}' id='{first}'/>
                romeo/orchard receives:
                    <message to='{romeo/orchard}' from='{juliet/balcony}' id='1'/>
                juliet/balcony receives nothing
                """) == nil)
    }

    @Test("a stanza that is not expected fails the step that finds it, or the end")
    func unexpected() throws {
        let send = "romeo/orchard sends:\n  <message to='{juliet/balcony}' id='1'/>\n"
        #expect(try failure(send)?.reason.contains("at the end juliet/balcony received <message") == true)
        #expect(try failure(send + "juliet/balcony receives nothing")?.line == 8)
        #expect(try failure(send + "juliet/balcony disconnects")?.line == 8)
        #expect(try failure(send + "juliet/balcony receives:\n  <message id='2' _='…'/>")?.reason.contains("the attribute id is '1'") == true)
    }

    @Test("a stanza that is expected and does not come fails")
    func missing() throws {
        #expect(try failure("romeo/orchard receives:\n  <message/>")?.reason == "romeo/orchard received nothing, with 1 to come")
    }

    @Test("an optional stanza may come or not, and hides nothing else")
    func optional() throws {
        let receive = "juliet/balcony receives:\n  <message id='1' _='… optional'/>\n"
        #expect(try failure(receive) == nil)
        #expect(try failure("romeo/orchard sends:\n  <message to='{juliet/balcony}' id='1'/>\n" + receive) == nil)
        #expect(try failure("romeo/orchard sends:\n  <message to='{juliet/balcony}' id='2'/>\n" + receive) != nil)
    }

    @Test("order is as written unless said otherwise")
    func order() throws {
        let send = "romeo/orchard sends:\n  <message to='{juliet/balcony}' id='1'/><message to='{juliet/balcony}' id='2'/>\n"
        let stanzas = "  <message id='2' _='…'/>\n  <message id='1' _='…'/>\n"
        #expect(try failure(send + "juliet/balcony receives:\n" + stanzas) != nil)
        #expect(try failure(send + "juliet/balcony receives in any order:\n" + stanzas) == nil)
    }

    @Test("clients come and go, and the server's closing is noticed")
    func connections() throws {
        #expect(
            try failure(
                """
                juliet/chamber connects
                juliet/chamber disconnects
                juliet/chamber comes online
                juliet/chamber sends:
                    <bye/>
                juliet/chamber is disconnected
                romeo/orchard drops
                """) == nil)
        #expect(try failure("juliet/balcony is disconnected")?.reason == "juliet/balcony is still connected")
        #expect(try failure("juliet/chamber receives nothing")?.reason == "juliet/chamber is not connected")
    }

    @Test("time passes only where there is a manual clock")
    func clock() throws {
        #expect(try failure("time passes 30s") == nil)
    }

    private static let rooms = """
        room council
        room heath
        occupants council: romeo/orchard as romeo
        config council: a=b, c={romeo.localpart}
        affiliations council: juliet member
        occupants council: juliet/balcony as juliet

        """

    @Test("a room is in the state that the head says, and what that made arrive is forgotten")
    func rooms() throws {
        #expect(
            try failure(
                Self.rooms + """
                    romeo/orchard sends:
                        <message type='groupchat' to='{council}' id='1'/>
                        <iq type='get' to='{council}' id='2'><x/></iq>
                    romeo/orchard and juliet/balcony receive:
                        <message type='groupchat' from='council-1@conference.town.example/romeo' to='{self}' id='1'/>
                    romeo/orchard receives:
                        <iq type='result' from='{council}' id='2'/>
                    romeo/orchard sends:
                        <message type='log' to='{council}'/>
                    romeo/orchard receives:
                        <message from='council-1@{rooms}' id='juliet enters'/>
                        <message from='council-1@{rooms}' id='juliet-1@town.example is member'/>
                        <message from='council-1@{rooms}' id='FORM_TYPE=http://jabber.org/protocol/muc#roomconfig, a=b, c=romeo-1'/>
                        <message from='council-1@{rooms}' id='no fields'/>
                        <message from='council-1@{rooms}' id='romeo enters'/>
                    """) == nil)
    }

    @Test("what a room has not handed on yet is waited for")
    func roomsInOrder() throws {
        let send = Self.rooms + "romeo/orchard sends:\n  <message type='groupchat' to='{council}' id='1'/>\n"
        #expect(try failure(send + "juliet/balcony receives nothing")?.reason.contains("juliet/balcony received <message") == true)
        #expect(try failure(send)?.reason.contains("at the end juliet/balcony received <message") == true)
    }

    @Test("a room that cannot be brought into its state is a failure before the first step")
    func refusedRooms() throws {
        let refused = try failure("room council\noccupants council: romeo/orchard as nobody\nromeo/orchard receives nothing")
        #expect(refused?.reason.contains("entering council-1@conference.town.example was answered with <presence") == true)
        #expect(refused?.line == nil)
        let misconfigured = try failure(
            "room council\noccupants council: romeo/orchard as romeo\nconfig council: refuse=1\nromeo/orchard receives nothing")
        #expect(misconfigured?.reason.contains("was answered with <iq") == true)
        #expect(misconfigured?.line == nil)
    }
}

/// Just enough of a server, in process: it logs everybody in, answers what has no other resource to go to, and delivers
/// to full JIDs. Its rooms let everybody in but `nobody`, and hand on messages only when they are asked something.
private final class SmallServer: ConversationTransport {
    let domain = "town.example"
    let hasManualClock = true
    private var connections: [SmallConnection] = []
    private var rooms: [String: SmallRoom] = [:]

    func createAccount(localpart: String, password: String) throws(ConversationTransportError) {}
    func advance(by duration: Duration) throws(ConversationTransportError) {}

    func connect() throws(ConversationTransportError) -> any ConversationConnection {
        let connection = SmallConnection(self)
        connections.append(connection)
        return connection
    }

    func route(_ element: FlatElement, from sender: SmallConnection) {
        let to = element.attribute("to") ?? ""
        if to.contains("@conference.") {
            let room = String(to.prefix { $0 != "/" })
            rooms[room, default: SmallRoom(address: room)].handle(element, from: sender)
        } else if !to.isEmpty, let recipient = connections.first(where: { $0.jid == to }) {
            var writer = XMLWriter()
            writer.open(copying: element.root, setting: ["from": sender.jid])
            writer.appendContent(of: element.root)
            writer.close()
            recipient.output.writeImmutableBuffer(writer.buffer)
        } else if element.localName == "iq", let id = element.attribute("id") {
            sender.output.writeString("<iq type='result' id='\(id)'/>")
        }
    }
}

private struct SmallRoom {
    let address: String
    private var occupants: [(connection: SmallConnection, nickname: String)] = []
    private var messages: [(id: String, nickname: String)] = []
    private var log: [String] = []

    init(address: String) { self.address = address }

    mutating func handle(_ element: FlatElement, from sender: SmallConnection) {
        let id = element.attribute("id") ?? ""
        switch element.localName {
        case "presence": enter(as: String(element.attribute("to")?.drop { $0 != "/" }.dropFirst() ?? ""), sender)
        case "message" where element.attribute("type") == "log":
            for entry in log.reversed() { sender.output.writeString("<message from='\(address)' id='\(entry)'/>") }
        case "message":
            messages.append((id, occupants.first { $0.connection === sender }?.nickname ?? ""))
        default:
            handOn()
            sender.output.writeString("<iq type='\(answer(element))' from='\(address)' id='\(id)'/>")
        }
    }

    private mutating func enter(as nickname: String, _ sender: SmallConnection) {
        guard nickname != "nobody" else {
            sender.output.writeString("<presence type='error' from='\(address)/\(nickname)'/>")
            return
        }
        occupants.append((sender, nickname))
        log.append("\(nickname) enters")
        for occupant in occupants { occupant.connection.output.writeString("<presence from='\(address)/\(nickname)'/>") }
    }

    private mutating func handOn() {
        for message in messages {
            for (connection, _) in occupants {
                connection.output.writeString(
                    "<message type='groupchat' from='\(address)/\(message.nickname)' to='\(connection.jid)' id='\(message.id)'/>")
            }
        }
        messages = []
    }

    private mutating func answer(_ element: FlatElement) -> String {
        guard let payload = element.root.firstChild else { return "error" }
        if payload.namespaceName == "http://jabber.org/protocol/muc#admin", let item = payload.firstChild {
            log.append("\(item.attribute("jid") ?? "") is \(item.attribute("affiliation") ?? "")")
        }
        guard payload.namespaceName == "http://jabber.org/protocol/muc#owner", let form = payload.firstChild else { return "result" }
        let fields = form.children.map { "\($0.attribute("var") ?? "")=\($0.firstChild?.text ?? "")" }
        log.append(fields.isEmpty ? "no fields" : fields.joined(separator: ", "))
        return fields.contains("refuse=1") ? "error" : "result"
    }
}

private final class SmallConnection: ConversationConnection {
    var jid = ""
    var output = ByteBuffer()
    private var isClosed = false
    private var localpart = "somebody"
    private var parser = XMLStreamParser(limits: .authenticated)
    private unowned let server: SmallServer

    init(_ server: SmallServer) {
        self.server = server
    }

    func send(_ bytes: ByteBuffer) throws(ConversationTransportError) {
        var bytes = bytes
        while let event = try? parser.next(from: &bytes) { handle(event) }
    }

    private func handle(_ event: XMLStreamEvent) {
        switch event {
        case .opened:
            output.writeString(
                "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1'><stream:features/>")
        case .closed:
            output.writeString("</stream:stream>")
            isClosed = true
        case .element(let element):
            switch element.localName {
            case "auth":
                // "\0romeo-1\0pw-1" and the like, in base64.
                localpart = element.text.hasPrefix("AHJvbWVv") ? "romeo-1" : "juliet-1"
                output.writeString("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
                parser.restart()
            case "iq" where element.hasChild("bind", "urn:ietf:params:xml:ns:xmpp-bind"):
                jid = "\(localpart)@\(server.domain)/\(element.firstChild("bind", "urn:ietf:params:xml:ns:xmpp-bind")?.firstChild?.text ?? "")"
                output.writeString(
                    "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>\(jid)</jid></bind></iq>")
            case "bye":
                output.writeString("</stream:stream>")
                isClosed = true
            default:
                server.route(element, from: self)
            }
        }
    }

    func receive() throws(ConversationTransportError) -> ConversationInput {
        guard output.readableBytes > 0 else { return isClosed ? .closed : .nothing }
        defer { output.clear() }
        return .bytes(output)
    }

    func close() {
        isClosed = true
        jid = ""
    }
}
