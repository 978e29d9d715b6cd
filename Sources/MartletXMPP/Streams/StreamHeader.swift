public import MartletXML

/// The header with which a client opens a stream, read and found good (RFC 6120 §4.7).
public struct StreamHeader: Hashable, Sendable {
    /// The domain that the client wants to talk to, prepared.
    public let domain: String
    /// Who the client says it is. It proves nothing, and is absent before TLS as a rule.
    public let from: BareJID?
    /// The language of the stream's text unless a stanza says otherwise: ASCII letters, digits and hyphens.
    public let language: String?

    /// Longest language tag that is kept, in bytes; RFC 5646 §4.4.1 asks for 35.
    public static let languageBytesMax = 64

    /// Reads the start tag of a stream.
    ///
    /// - Throws: what the stream ends with. The peer has not had our header then, and must get it first (RFC 6120 §4.9.1.2).
    public init(_ element: FlatElement) throws(StreamError) {
        let root = element.root
        guard root.isNamed("stream", .streams) else { throw Self.wrongRoot(root) }
        guard root.declaredDefaultNamespace == Namespace.client.name else {
            throw StreamError(.invalidNamespace, "The content namespace of this stream is jabber:client.")
        }
        try self.init(attributesOf: root, version: root.attribute("version"))
    }

    /// What a header says, whichever form it has.
    init(attributesOf root: ElementView, version: String?) throws(StreamError) {
        guard Self.isVersionSpoken(version) else {
            throw StreamError(.unsupportedVersion, "This server speaks XMPP 1.0.")
        }
        domain = try Self.domain(root.attribute("to"))
        from = try Self.sender(root.attribute("from"), domain)
        language = root.attribute("lang", .xml).flatMap { Self.isLanguageTag($0) ? $0 : nil }
    }

    private static func wrongRoot(_ root: ElementView) -> StreamError {
        guard root.localName == "stream" else { return StreamError(.badFormat, "A stream begins with <stream:stream>.") }
        return StreamError(.invalidNamespace, "A stream header is in the namespace http://etherx.jabber.org/streams.")
    }

    /// 1.0 and whatever comes later; both numbers are integers, with leading zeros ignored (RFC 6120 §4.7.5).
    static func isVersionSpoken(_ text: String?) -> Bool {
        guard let numbers = text?.split(separator: ".", omittingEmptySubsequences: false), numbers.count == 2,
            numbers.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } })
        else { return false }
        return numbers[0].contains { $0 != "0" }
    }

    private static func domain(_ to: String?) throws(StreamError) -> String {
        guard let to else { throw StreamError(.improperAddressing, "The stream header has no 'to'.") }
        guard let address = try? BareJID(parsing: to), address.isDomain else { throw StreamError(.hostUnknown) }
        return address.domainpart
    }

    private static func sender(_ from: String?, _ domain: String) throws(StreamError) -> BareJID? {
        guard let from else { return nil }
        guard let address = try? JID(from) else { throw StreamError(.improperAddressing, "The 'from' is no address.") }
        guard address.bare.domainpart == domain else {
            throw StreamError(.invalidFrom, "The 'from' is not of the domain in 'to'.")
        }
        return address.bare
    }

    private static func isLanguageTag(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= languageBytesMax
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}

/// The header with which the server answers (RFC 6120 §4.7).
public struct ServerStreamHeader: Hashable, Sendable {
    /// The domain that answers.
    public let from: String
    /// Whom the client said it is.
    public let to: BareJID?
    /// Names this stream and no other; nobody can guess it (RFC 6120 §4.7.3).
    public let id: String

    public init(from: String, to: BareJID? = nil, id: String) {
        self.from = from
        self.to = to
        self.id = id
    }

    /// Writes the XML declaration and the start tag. Our texts are in English.
    public func write(to writer: inout XMLWriter) {
        writer.streamHeader(
            contentNamespace: .client,
            ["from": from, "to": to?.description, "id": id, "version": "1.0", "xml:lang": "en"])
    }
}
