public import MartletXML
public import NIOCore

extension Namespace {
    /// XEP-0124.
    public static let httpBind: Namespace = "http://jabber.org/protocol/httpbind"
    /// XEP-0206.
    public static let xbosh: Namespace = "urn:xmpp:xbosh"
}

/// A `<body/>` that a client sends (XEP-0124 §7 to §10): what it says about the session, and the elements in it.
public struct BOSHRequest: Sendable {
    public let rid: UInt64
    /// `nil`: a session is asked for.
    public let sid: String?
    /// Requests that the client wants held, at most.
    public let hold: Int
    /// Seconds that it wants them held, at most.
    public let wait: Int
    /// A pause that is asked for (XEP-0124 §12), in seconds.
    public let pause: Int?
    /// The stream begins anew (XEP-0206 §5).
    public let isRestart: Bool
    public let isTermination: Bool
    /// The element itself, without its content.
    public let body: FlatElement
    public let elements: [FlatElement]

    public enum Fault: Error, Hashable, Sendable {
        /// Not a body, or attributes that mean nothing: `bad-request`.
        case malformed
        case xml(XMLError)
    }

    /// Largest request identifier: what every client can count to (XEP-0124 §14.1).
    public static let ridMax: UInt64 = 9_007_199_254_740_991
    /// Longest name of a session that is looked at, in bytes.
    public static let sidBytesMax = 64
    /// Longest `wait` and `pause` that are read, in seconds; what is longer is read as this.
    public static let secondsMax = 65_535

    /// - Parameters:
    ///   - bytes: one document.
    ///   - limits: for the body's start tag as for a header, and for each element in it.
    public init(_ bytes: ByteBuffer, limits: XMLLimits, scratch: XMLParserScratch) throws(Fault) {
        var parser = XMLStreamParser(limits: limits, scratch: scratch)
        var input = bytes
        var body: FlatElement?
        var elements: [FlatElement] = []
        var isComplete = false
        do {
            // A body is to its elements what a header is to those of a stream.
            while !isComplete, let event = try parser.next(from: &input) {
                switch event {
                case .opened(let header): body = header
                case .element(let element): elements.append(element)
                case .closed: isComplete = true
                }
            }
        } catch {
            throw .xml(error)
        }
        guard isComplete, let body, body.isNamed("body", .httpBind) else { throw .malformed }
        guard let rid = Self.number(body, "rid"), rid <= Self.ridMax else { throw .malformed }
        let sid = body.attribute("sid")
        guard sid.map({ $0.utf8.count <= Self.sidBytesMax }) ?? true else { throw .malformed }
        self.rid = rid
        self.sid = sid
        hold = Self.seconds(body, "hold") ?? 1
        wait = Self.seconds(body, "wait") ?? 60
        pause = Self.seconds(body, "pause")
        isRestart = body.attribute("restart", .xbosh) == "true" || body.attribute("restart", .xbosh) == "1"
        isTermination = body.attribute("type") == "terminate"
        self.body = body
        self.elements = elements
    }

    /// The session that a body names, and its request identifier: as much as is told by the start tag.
    public static func session(of bytes: ByteBuffer, limits: XMLLimits, scratch: XMLParserScratch) -> (sid: String, rid: UInt64?)? {
        var parser = XMLStreamParser(limits: limits, scratch: scratch)
        var input = bytes
        guard case .opened(let body)? = try? parser.next(from: &input), let sid = body.attribute("sid") else { return nil }
        return (sid, number(body, "rid"))
    }

    private static func number(_ body: FlatElement, _ name: StaticString) -> UInt64? {
        guard let text = body.attribute(name), !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        return UInt64(text)
    }

    private static func seconds(_ body: FlatElement, _ name: StaticString) -> Int? { number(body, name).map { Int(min($0, UInt64(secondsMax))) } }
}

extension StreamHeader {
    /// Reads the `<body/>` that opens a stream or begins it anew (XEP-0206 §3, §5).
    public init(body element: FlatElement) throws(StreamError) {
        try self.init(attributesOf: element.root, version: element.attribute("version", .xbosh) ?? "1.0")
    }
}

/// A `<body/>` that the server sends.
public struct BOSHAnswer: Hashable, Sendable {
    /// What is told about a session that has been made (XEP-0124 §8).
    public struct Session: Hashable, Sendable {
        public var sid: String
        public var wait: Int
        public var hold: Int
        public var requests: Int
        public var inactivity: Int
        public var maxPause: Int
        public var from: String?

        public init(sid: String, wait: Int, hold: Int, requests: Int, inactivity: Int, maxPause: Int, from: String?) {
            (self.sid, self.wait, self.hold, self.requests) = (sid, wait, hold, requests)
            (self.inactivity, self.maxPause, self.from) = (inactivity, maxPause, from)
        }
    }

    /// Why a session ends (XEP-0124 §17.2).
    public enum Condition: String, Hashable, Sendable {
        case badRequest = "bad-request"
        case improperAddressing = "improper-addressing"
        case internalServerError = "internal-server-error"
        case itemNotFound = "item-not-found"
        case policyViolation = "policy-violation"
        case remoteStreamError = "remote-stream-error"
        case systemShutdown = "system-shutdown"
    }

    public enum Ending: Hashable, Sendable {
        case goesOn
        case terminates(Condition?)
    }

    public var session: Session?
    public var ending: Ending
    /// Elements as they would be written on a TCP stream.
    public var elements: [ByteBuffer]

    public init(_ elements: [ByteBuffer] = [], session: Session? = nil, ending: Ending = .goesOn) {
        self.elements = elements
        self.session = session
        self.ending = ending
    }

    /// What every answer takes besides its elements, at most about so many bytes.
    private static let markupBytes = 512

    public var bytes: ByteBuffer {
        let size = elements.reduce(Self.markupBytes) { $0 + $1.readableBytes + 64 }
        var writer = XMLWriter(ByteBufferAllocator().buffer(capacity: size), contentNamespace: .none)
        writer.open("body", .httpBind)
        if let session { write(session, to: &writer) }
        if case .terminates(let condition) = ending {
            writer.attribute("type", "terminate")
            writer.attribute("condition", condition?.rawValue)
        }
        writer.close()
        guard !elements.isEmpty else { return writer.buffer }
        // The start tag is that of an element with content after all.
        var bytes = writer.buffer
        bytes.moveWriterIndex(to: bytes.writerIndex - "/>".utf8.count)
        bytes.writeStaticString(">")
        for element in elements {
            let declaration = WebSocketFraming.declaration(for: element)
            let place = element.readerIndex + (declaration?.place ?? 0)
            if let head = element.getSlice(at: element.readerIndex, length: place - element.readerIndex) { bytes.writeImmutableBuffer(head) }
            if let declaration { bytes.writeStaticString(declaration.text) }
            if let tail = element.getSlice(at: place, length: element.writerIndex - place) { bytes.writeImmutableBuffer(tail) }
        }
        bytes.writeStaticString("</body>")
        return bytes
    }

    private func write(_ session: Session, to writer: inout XMLWriter) {
        writer.attribute("sid", session.sid)
        writer.attribute("ver", "1.11")
        writer.attribute("wait", String(session.wait))
        writer.attribute("hold", String(session.hold))
        writer.attribute("requests", String(session.requests))
        writer.attribute("inactivity", String(session.inactivity))
        writer.attribute("maxpause", String(session.maxPause))
        writer.attribute("from", session.from)
        // By the customary prefix: not every client asks what a prefix stands for.
        writer.attribute("xmlns:xmpp", Namespace.xbosh.name)
        writer.attribute("xmpp:version", "1.0")
        writer.attribute("xmpp:restartlogic", "true")
    }
}

extension ClientStreamMachine.Action {
    /// The elements that the action puts into a `<body/>`, as they would be written on a TCP stream. What opens and closes a stream is said by
    /// the body itself (XEP-0206 §3, §6).
    public func boshElements(extras: (inout XMLWriter) -> Void = { _ in }) -> [ByteBuffer] {
        switch self {
        case .wait, .lookUp, .consult, .lookUpTokens, .seekUpgrades, .upgrade, .conclude, .register, .admit, .bind, .bindInline, .resume, .manage, .indicate, .deliver,
            .proceed, .refuseTLS, .finish:
            []
        case .open(_, let features): [Self.element { features.write(to: &$0, extras: extras) }]
        case .challenge, .requestUpgrade, .describeUpgrade, .succeed, .fail, .confirmBind, .managed, .answer, .answerStranger: [Self.element { write(to: &$0) }]
        case .complete(let success):
            [
                Self.element { success.write(to: &$0) }, success.features.map { features in Self.element { features.write(to: &$0, extras: extras) } },
            ].compactMap { $0 }
        case .failFinally(let failure, let error, let profile):
            [Self.element { failure.write(to: &$0, profile) }, Self.element { error.write(to: &$0) }]
        case .close(let error, _): error.map { error in [Self.element { error.write(to: &$0) }] } ?? []
        }
    }

    private static func element(_ write: (inout XMLWriter) -> Void) -> ByteBuffer {
        var writer = XMLWriter()
        write(&writer)
        return writer.buffer
    }
}
