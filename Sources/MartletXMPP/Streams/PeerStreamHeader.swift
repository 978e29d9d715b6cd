public import MartletXML

extension Namespace {
    /// XEP-0288.
    public static let bidirectionalFeature: Namespace = "urn:xmpp:features:bidi"
    public static let bidirectional: Namespace = "urn:xmpp:bidi"
    /// XEP-0478.
    public static let streamLimits: Namespace = "urn:xmpp:stream-limits:0"
}

/// The header of a stream between servers (RFC 6120 §4.7), either side's.
public struct PeerStreamHeader: Hashable, Sendable {
    /// Domains, prepared. Old servers leave out either.
    public var from: String?
    public var to: String?
    /// The receiving server's name for the stream.
    public var id: String?
    /// Whether XMPP 1.0 is spoken: then features follow. Servers from before it know dialback only.
    public var speaksXMPP = true

    public init(from: String?, to: String?, id: String? = nil) {
        self.from = from
        self.to = to
        self.id = id
    }

    /// Reads the start tag of a stream.
    ///
    /// - Throws: what the stream ends with.
    public init(_ element: FlatElement) throws(StreamError) {
        let root = element.root
        guard root.isNamed("stream", .streams) else {
            throw root.localName == "stream"
                ? StreamError(.invalidNamespace, "A stream header is in the namespace http://etherx.jabber.org/streams.")
                : StreamError(.badFormat, "A stream begins with <stream:stream>.")
        }
        guard root.declaredDefaultNamespace == Namespace.server.name else {
            throw StreamError(.invalidNamespace, "The content namespace of a stream between servers is jabber:server.")
        }
        from = try Self.domain(root.attribute("from"))
        to = try Self.domain(root.attribute("to"))
        id = root.attribute("id")
        guard id?.utf8.count ?? 0 <= DialbackElement.textBytesMax else { throw StreamError(.policyViolation, "The id of the stream is too long.") }
        if let version = root.attribute("version") {
            guard StreamHeader.isVersionSpoken(version) else { throw StreamError(.unsupportedVersion, "This server speaks XMPP 1.0.") }
        } else {
            speaksXMPP = false
        }
    }

    private static func domain(_ text: String?) throws(StreamError) -> String? {
        guard let text, !text.isEmpty else { return nil }
        guard let address = try? BareJID(parsing: text), address.isDomain else {
            throw StreamError(.improperAddressing, "The addresses in a header between servers are domains.")
        }
        return address.domainpart
    }

    /// Writes the XML declaration and the start tag.
    public func write(to writer: inout XMLWriter) {
        writer.streamHeader(
            contentNamespace: .server, ["from": from, "to": to, "id": id, "version": speaksXMPP ? "1.0" : nil, "xml:lang": "en"])
    }
}

/// What a server offers another (RFC 6120 §4.3.2).
public struct PeerFeatures: Hashable, Sendable {
    public var startTLS: StreamFeatures.StartTLS = .absent
    /// SASL EXTERNAL.
    public var external = false
    /// Dialback, with errors (XEP-0220 §2.4.2).
    public var dialback = false
    public var bidirectional = false
    public var management = false
    /// What the stream may be used for (XEP-0478), if it is said.
    public var limits: Limits?

    public struct Limits: Hashable, Sendable {
        /// Of one element, in bytes.
        public var bytesMax: Int
        /// For so long nothing need be said, in seconds.
        public var idleSeconds: Int?
        public init(bytesMax: Int, idleSeconds: Int? = nil) {
            self.bytesMax = bytesMax
            self.idleSeconds = idleSeconds
        }
    }

    public init() {}

    /// Reads `<stream:features/>`.
    public init(_ element: FlatElement) {
        if let tls = element.firstChild("starttls", .startTLS) { startTLS = tls.hasChild("required", .startTLS) ? .required : .offered }
        external = element.firstChild("mechanisms", .sasl)?.children.contains { $0.isNamed("mechanism", .sasl) && $0.text == "EXTERNAL" } ?? false
        dialback = element.hasChild("dialback", .dialbackFeature)
        bidirectional = element.hasChild("bidi", .bidirectionalFeature)
        management = element.hasChild("sm", .streamManagement)
        if let said = element.firstChild("limits", .streamLimits), let bytes = said.firstChild("max-bytes", .streamLimits).flatMap({ Int($0.text) }) {
            limits = Limits(bytesMax: bytes, idleSeconds: said.firstChild("idle-seconds", .streamLimits).flatMap { Int($0.text) })
        }
    }

    public func write(to writer: inout XMLWriter) {
        writer.element("features", .streams) { writer in
            switch startTLS {
            case .absent: break
            case .offered: writer.element("starttls", .startTLS)
            case .required: writer.element("starttls", .startTLS) { $0.element("required", .startTLS) }
            }
            if external { writer.element("mechanisms", .sasl) { $0.element("mechanism", .sasl, text: "EXTERNAL") } }
            if dialback { writer.element("dialback", .dialbackFeature) { $0.element("errors", .dialbackFeature) } }
            if bidirectional { writer.element("bidi", .bidirectionalFeature) }
            if management { writer.element("sm", .streamManagement) }
            if let limits { limits.write(to: &writer) }
        }
    }
}

extension PeerFeatures.Limits {
    public func write(to writer: inout XMLWriter) {
        writer.element("limits", .streamLimits) { writer in
            writer.element("max-bytes", .streamLimits, text: String(bytesMax))
            if let idleSeconds { writer.element("idle-seconds", .streamLimits, text: String(idleSeconds)) }
        }
    }
}

extension StreamError {
    /// What another server says of its own stream before it ends it.
    public init(received element: FlatElement) {
        let condition = element.children.lazy.filter { $0.isIn(.streamErrors) }.compactMap { Condition(rawValue: String($0.localName)) }.first
        self.init(condition ?? .undefinedCondition, element.firstChild("text", .streamErrors).map { String($0.text.prefix(Self.textMax)) })
    }

    /// Characters that are kept of what another server says.
    private static let textMax = 512
}
