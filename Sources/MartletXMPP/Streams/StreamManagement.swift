public import MartletXML

extension Namespace {
    /// XEP-0198.
    public static let streamManagement: Namespace = "urn:xmpp:sm:3"
}

/// What a client says about the stream itself (XEP-0198): elements that are no stanzas and are not counted.
public enum StreamManagementRequest: Hashable, Sendable {
    /// Stanzas are to be counted from here. `resumption`: the stream is to outlive its connection; how long the client would like
    /// that, in seconds, `nil` if it has no wish (§5).
    case enable(resumes: Bool, secondsMax: UInt32?)
    /// `<r/>`: how many stanzas has the server handled?
    case request
    /// `<a/>`: so many stanzas has the client handled, modulo 2³².
    case acknowledge(UInt32)
    /// The client goes on with an earlier stream, of which it has handled so many stanzas.
    case resume(previous: String, handled: UInt32)

    /// Longest identifier that is looked for, in bytes. Ours are shorter.
    public static let identifierBytesMax = 256

    /// - Returns: `nil` for what XEP-0198 does not know, or does not know so: answered with `bad-request`.
    public init?(_ element: FlatElement) { self.init(element.root) }

    public init?(_ root: ElementView) {
        if root.isNamed("r", .streamManagement) {
            self = .request
        } else if root.isNamed("a", .streamManagement) {
            guard let handled = Self.count(root.attribute("h")) else { return nil }
            self = .acknowledge(handled)
        } else if root.isNamed("enable", .streamManagement) {
            let wish = root.attribute("resume")
            let max = root.attribute("max")
            guard wish == nil || Self.isBoolean(wish), max == nil || Self.count(max) != nil else { return nil }
            self = .enable(resumes: wish == "true" || wish == "1", secondsMax: Self.count(max))
        } else if root.isNamed("resume", .streamManagement) {
            guard let previous = root.attribute("previd"), previous.utf8.count <= Self.identifierBytesMax,
                let handled = Self.count(root.attribute("h"))
            else { return nil }
            self = .resume(previous: previous, handled: handled)
        } else {
            return nil
        }
    }

    private static func isBoolean(_ text: String?) -> Bool { ["true", "1", "false", "0"].contains(text) }

    /// `xs:unsignedInt`: digits, no sign.
    private static func count(_ text: String?) -> UInt32? {
        guard let text, !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return UInt32(text)
    }
}

/// What the server says about the stream itself (XEP-0198).
public enum StreamManagementAnswer: Hashable, Sendable {
    /// Stanzas are counted from here. `resumption`: by what the stream can be resumed, and for how many seconds after its connection
    /// is lost.
    case enabled(resumption: Resumption?)
    case request
    /// So many stanzas of the client are handled: everything that they caused is on disk (`reliability.md` §3).
    case acknowledge(UInt32)
    case resumed(previous: String, handled: UInt32)
    /// `handled`: of a stream that cannot be resumed, if it is still known.
    case failed(StanzaError.Condition, handled: UInt32?)

    public struct Resumption: Hashable, Sendable {
        public var id: String
        public var seconds: Int
        public init(id: String, seconds: Int) {
            self.id = id
            self.seconds = seconds
        }
    }

    public func write(to writer: inout XMLWriter) {
        switch self {
        case .enabled(nil): writer.element("enabled", .streamManagement)
        case .enabled(let resumption?):
            writer.element("enabled", .streamManagement, ["id": resumption.id, "max": String(resumption.seconds), "resume": "true"])
        case .request: writer.element("r", .streamManagement)
        case .acknowledge(let handled): writer.element("a", .streamManagement, ["h": String(handled)])
        case .resumed(let previous, let handled):
            writer.element("resumed", .streamManagement, ["h": String(handled), "previd": previous])
        case .failed(let condition, let handled):
            writer.element("failed", .streamManagement, ["h": handled.map { String($0) }]) { writer in
                writer.open(condition.rawValue, .stanzaErrors)
                writer.close()
            }
        }
    }
}
