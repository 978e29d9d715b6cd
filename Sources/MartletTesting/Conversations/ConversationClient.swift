import MartletXML
import NIOCore

/// What a participant has received.
enum ConversationEvent {
    case header(FlatElement)
    case element(FlatElement)
    case streamClosed
    case connectionClosed
    /// The server sent something that is no XMPP stream.
    case garbage(XMLError)
}

/// One connection of a conversation: frames what arrives, and can log in.
final class ConversationClient {
    private let connection: any ConversationConnection
    private var parser = XMLStreamParser(limits: .authenticated)
    private var unparsed = ByteBuffer()
    private var unread: [ConversationEvent] = []
    private(set) var isConnectionClosed = false
    private(set) var fullJID: String?
    private var roundTrips = 0

    init(_ connection: any ConversationConnection) {
        self.connection = connection
    }

    var isBound: Bool { fullJID != nil && !isConnectionClosed }

    // MARK: Bytes

    /// Sends the text as it is. Text that begins a stream makes the parser expect the answering header.
    func send(_ text: String) throws(ConversationTransportError) {
        if text.hasPrefix("<?xml") || text.hasPrefix("<stream:stream") { parser.restart() }
        try connection.send(ByteBuffer(string: text))
    }

    /// Closes at once, without a word.
    func drop() {
        connection.close()
        isConnectionClosed = true
        unread = []
    }

    /// The next event, or nil if nothing comes.
    func next() throws(ConversationTransportError) -> ConversationEvent? {
        unread.isEmpty ? try read() : unread.removeFirst()
    }

    /// What `nextArrived` would return.
    var firstArrived: ConversationEvent? { unread.first }

    /// The next event of those that have already arrived.
    @discardableResult
    func nextArrived() -> ConversationEvent? {
        unread.isEmpty ? nil : unread.removeFirst()
    }

    private func read() throws(ConversationTransportError) -> ConversationEvent? {
        while !isConnectionClosed {
            do {
                if let event = try parser.next(from: &unparsed) { return Self.event(event) }
            } catch {
                isConnectionClosed = true
                return .garbage(error)
            }
            switch try connection.receive() {
            case .bytes(var bytes): unparsed.writeBuffer(&bytes)
            case .nothing: return nil
            case .closed:
                isConnectionClosed = true
                return .connectionClosed
            }
        }
        return nil
    }

    private static func event(_ event: XMLStreamEvent) -> ConversationEvent {
        switch event {
        case .opened(let header): .header(header)
        case .element(let element): .element(element)
        case .closed: .streamClosed
        }
    }

    // MARK: Logging in

    /// Opens a stream, authenticates with PLAIN, and binds the resource.
    func logIn(_ account: ConversationAccount, resource: String) throws(ConversationFailure) {
        try openStream(to: account.domain)
        try exchange(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>\(account.plain)</auth>", answer: "success")
        try openStream(to: account.domain)
        let result = try exchange(
            """
            <iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>\(resource)</resource></bind></iq>
            """, answer: "iq")
        guard let jid = result.firstChild("bind", "urn:ietf:params:xml:ns:xmpp-bind")?.firstChild(
            "jid", "urn:ietf:params:xml:ns:xmpp-bind")
        else { throw ConversationFailure("binding was answered with \(Self.text(result))") }
        fullJID = jid.text
    }

    private func openStream(to domain: String) throws(ConversationFailure) {
        try transported { () throws(ConversationTransportError) in
            try send(
                """
                <?xml version='1.0'?><stream:stream to='\(domain)' version='1.0' xmlns='jabber:client' \
                xmlns:stream='http://etherx.jabber.org/streams'>
                """)
        }
        guard case .header? = try transported(next) else { throw ConversationFailure("the stream was not opened") }
        guard case .element? = try transported(next) else { throw ConversationFailure("no stream features came") }
    }

    @discardableResult
    private func exchange(_ text: String, answer: String) throws(ConversationFailure) -> ElementView {
        try transported { () throws(ConversationTransportError) in try send(text) }
        guard case .element(let element)? = try transported(next) else {
            throw ConversationFailure("logging in: no answer to \(text)")
        }
        guard element.root.localName == answer else {
            throw ConversationFailure("logging in: the answer was \(Self.text(element.root))")
        }
        return element.root
    }

    // MARK: Round trips

    /// Sends a request to each address and reads until all are answered; what comes before is kept.
    ///
    /// Stanzas from one sender to one recipient stay in order (RFC 6120 §10.1), so what this client sent to these
    /// addresses earlier has then been processed, and what it has caused for this client has arrived.
    ///
    /// A server that writes before it tells may still be writing what comes next: a subscription is first one account's write and then
    /// the other's. So the round trip begins with changes of the client's own, one after the other, each of which such a server
    /// answers only once everything before it is written.
    ///
    /// A room hands on what it gets, so that an answer of an account's proves nothing about it. A room too keeps the order of what it
    /// gets from one sender and sends to one recipient; it is asked first, so that what it writes is queued before the changes and what it
    /// sends to accounts is on its way before the accounts are asked, and once more after them, for what it tells only when it is written.
    func roundTrip(to addresses: [String], through rooms: [String] = []) throws(ConversationFailure) {
        try exchange(rooms.map(Self.question))
        for _ in 0..<Self.writesInARow {
            try exchange([
                "<iq type='set' id='{id}'><query xmlns='jabber:iq:private'><mark xmlns='urn:x-martlet:round-trip'/></query></iq>"
            ])
        }
        try exchange(rooms.map(Self.question))
        try exchange(addresses.map { "<iq type='get' id='{id}' to='\($0)'><ping xmlns='urn:xmpp:ping'/></iq>" })
    }

    /// What a room answers to anybody, with a result or an error (XEP-0045 §6.4).
    private static func question(to room: String) -> String {
        "<iq type='get' id='{id}' to='\(room)'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    }

    /// The writes that one stanza may cause one after the other: one side, the other side, and what that leads to.
    private static let writesInARow = 3

    /// Sends a request, `{id}` in which stands for one of its own, and reads until it is answered; what comes before is kept.
    func ask(_ request: String) throws(ConversationFailure) -> ElementView {
        roundTrips += 1
        let id = "request-\(roundTrips)"
        let text = request.split(separator: "{id}", omittingEmptySubsequences: false).joined(separator: id)
        return try ask(text) { $0.localName == "iq" && $0.attribute("id") == id }
    }

    /// Sends, and reads until the answer comes; what comes before is kept.
    func ask(_ text: String, until isAnswer: (ElementView) -> Bool) throws(ConversationFailure) -> ElementView {
        try transported { () throws(ConversationTransportError) in try send(text) }
        while let event = try transported(read) {
            if case .element(let element) = event, isAnswer(element.root) { return element.root }
            unread.append(event)
        }
        throw ConversationFailure("not answered: \(text)")
    }

    /// Sends requests, `{id}` in which stands for one of its own each, and reads until all are answered.
    private func exchange(_ requests: [String]) throws(ConversationFailure) {
        guard isBound else { return }
        roundTrips += 1
        var awaited: Set<String> = []
        for (index, request) in requests.enumerated() {
            let id = "roundtrip-\(roundTrips)-\(index)"
            awaited.insert(id)
            let text = request.split(separator: "{id}", omittingEmptySubsequences: false).joined(separator: id)
            try transported { () throws(ConversationTransportError) in try send(text) }
        }
        while !awaited.isEmpty, !isConnectionClosed {
            guard let event = try transported(read) else {
                throw ConversationFailure("a round trip was not answered: \(requests.joined(separator: ", "))")
            }
            if case .element(let element) = event, element.root.localName == "iq",
                let id = element.root.attribute("id"), awaited.remove(id) != nil
            {
                continue
            }
            unread.append(event)
        }
    }

    /// Sends, and returns when it has been processed.
    func ask(_ text: String, _ addresses: [String]) throws(ConversationFailure) {
        try transported { () throws(ConversationTransportError) in try send(text) }
        try roundTrip(to: addresses)
    }

    /// Forgets what has arrived.
    func discardReceived() {
        unread = []
    }

    static func text(_ element: ElementView) -> String {
        var writer = XMLWriter()
        writer.append(element)
        return String(buffer: writer.buffer)
    }
}

/// An account that a conversation has created.
struct ConversationAccount: Hashable {
    var localpart: String
    var domain: String
    var password: String

    var bareJID: String { localpart + "@" + domain }

    /// The response of SASL PLAIN (RFC 4616) in base64.
    var plain: String { Base64.encoded(Array("\0\(localpart)\0\(password)".utf8)) }

    /// The first message of SCRAM (RFC 5802 §7) in base64, with the nonce of that RFC's example.
    var scram: String { Base64.encoded(Array("n,,n=\(localpart),r=fyko+d2lbbFgONRv9qkxdawL".utf8)) }
}

/// The standard alphabet with padding (RFC 4648 §4).
private enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

    static func encoded(_ bytes: [UInt8]) -> String {
        var text = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = Array(bytes[start..<min(start + 3, bytes.count)])
            let bits = (0..<3).reduce(0) { $0 << 8 | (group.indices.contains($1) ? Int(group[$1]) : 0) }
            for place in 0..<4 {
                text.append(place <= group.count ? alphabet[bits >> (18 - 6 * place) & 63] : "=")
            }
        }
        return text
    }
}
