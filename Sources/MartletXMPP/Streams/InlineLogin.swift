public import MartletXML
public import NIOCore

extension Namespace {
    /// XEP-0386.
    public static let bind2: Namespace = "urn:xmpp:bind:0"
}

/// What a client may ask for inside its log-in (`<inline/>`, XEP-0388 §2.1), besides a resource, which it always may.
public struct InlineOffer: Hashable, Sendable {
    /// What may be switched on as the resource is bound, by the names of service discovery (XEP-0386 §3.1).
    public var features: [String]
    /// Whether a stream is resumed there (XEP-0198 §9.2).
    public var resumes: Bool
    /// The mechanisms of tokens by which clients may log in (XEP-0484 §3.1), which the stream says.
    public var tokens: [HashedTokenMechanism] = []
    /// The hashes of which a client may make up keys (XEP-0480 §2.1), which the stream says.
    public var upgrades: [ScramHash] = []

    public init(features: [String] = [], resumes: Bool = false) {
        self.features = features
        self.resumes = resumes
    }

    func write(to writer: inout XMLWriter) {
        writer.element("inline", .sasl2) { writer in
            writer.element("bind", .bind2) { writer in
                guard !features.isEmpty else { return }
                writer.element("inline", .bind2) { writer in
                    for feature in features { writer.element("feature", .bind2, ["var": feature]) }
                }
            }
            if resumes { writer.element("sm", .streamManagement) }
            FASTOffer.write(tokens, to: &writer)
        }
        ScramHash.writeUpgrades(upgrades, to: &writer)
    }
}

/// `<authenticate/>` (XEP-0388 §2.3): the beginning of an exchange, and what is to be done once it has succeeded.
struct AuthenticationRequest: Sendable {
    /// A stream that is to go on.
    enum Resumption: Sendable {
        case resume(previous: String, handled: UInt32)
        /// What XEP-0198 does not know so.
        case malformed

        init(_ element: ElementView) {
            if case .resume(let previous, let handled) = StreamManagementRequest(element) {
                self = .resume(previous: previous, handled: handled)
            } else {
                self = .malformed
            }
        }
    }

    /// `nil` if it has none.
    let initialResponse: [UInt8]?
    let userAgent: UserAgent?
    let resumption: Resumption?
    let bind: InlineBind?
    /// What it wants of FAST (XEP-0484).
    let tokens: FASTRequest
    /// The hashes of which it would make up keys (XEP-0480).
    let upgrades: [ScramHash]

    /// Reads everything but the mechanism. What is not known is for others to come, and passed over; so is what is said of tokens where there are
    /// none.
    ///
    /// - Parameters:
    ///   - offered: the mechanisms of tokens that the stream offers.
    ///   - upgrades: the hashes of which it has keys made up.
    ///   - givesTokens: whether whoever logs in by this mechanism may get one.
    init(
        _ element: FlatElement, _ mechanism: SASLMechanism, _ offered: [HashedTokenMechanism], _ upgrades: [ScramHash], givesTokens: Bool
    ) throws(SASLFailure) {
        initialResponse = try Self.one("initial-response", .sasl2, in: element).map { child throws(SASLFailure) in
            try SASLPayload.decodePresent(child.text.utf8, bytesMax: mechanism.messageBytesMax)
        }
        userAgent = try Self.one("user-agent", .sasl2, in: element).map { child throws(SASLFailure) in try UserAgent(child) }
        bind = try Self.one("bind", .bind2, in: element) == nil ? nil : InlineBind(element)
        resumption = try Self.one("resume", .streamManagement, in: element).map(Resumption.init)
        self.upgrades = ScramHash.upgrades(in: element, of: upgrades)
        tokens = offered.isEmpty ? FASTRequest() : try Self.tokens(in: element, mechanism, offered, givesTokens)
        guard tokens == FASTRequest() || userAgent?.id != nil else {
            throw .malformedRequest("Tokens are for clients that say which one they are, by the id of a user agent.")
        }
    }

    private static func tokens(
        in element: FlatElement, _ mechanism: SASLMechanism, _ offered: [HashedTokenMechanism], _ givesTokens: Bool
    ) throws(SASLFailure) -> FASTRequest {
        _ = try (one("fast", .fast, in: element), one("request-token", .fast, in: element))
        return try FASTRequest(element.root, mechanism: mechanism, offered: offered, givesTokens: givesTokens)
    }

    /// The child of that name. Of two nobody could say which one is meant.
    private static func one(_ name: StaticString, _ namespace: Namespace, in element: FlatElement) throws(SASLFailure) -> ElementView? {
        var found: ElementView?
        for child in element.children where child.isNamed(name, namespace) {
            guard found == nil else { throw .malformedRequest("There is one <\(name)/> at most.") }
            found = child
        }
        return found
    }
}

/// `<bind/>` inside `<authenticate/>` (XEP-0386 §3.2).
public struct InlineBind: Hashable, Sendable {
    /// The whole `<authenticate/>`, which is one allocation with the bind in it.
    private let element: FlatElement
    /// What the resource is to begin with, such as the name of the program. Others see it.
    public let tag: String?

    /// Longest tag that is taken, in bytes; what is longer is no "short text", and left out.
    public static let tagBytesMax = 128

    init(_ element: FlatElement) {
        self.element = element
        let tag = element.firstChild("bind", .bind2)?.firstChild("tag", .bind2)?.text ?? ""
        self.tag = tag.isEmpty || tag.utf8.count > Self.tagBytesMax ? nil : tag
    }

    /// Memory that it takes, in bytes.
    var byteCount: Int { element.byteCount }

    /// What is to be switched on, as the client asks for it.
    public var requests: [ElementView] {
        element.firstChild("bind", .bind2)?.children.filter { !$0.isIn(.bind2) } ?? []
    }

    /// The address that a session gets: the tag, and behind it what the server calls the client. A tag that cannot be in a resource is left out.
    public func address(of account: BareJID, named name: String) throws(JIDError) -> FullJID {
        if let tag, let address = try? account.with(resourcepart: "\(tag)/\(name)") { return address }
        return try account.with(resourcepart: name)
    }

    public static func == (a: InlineBind, b: InlineBind) -> Bool { a.element.bytes == b.element.bytes }
    public func hash(into hasher: inout Hasher) { hasher.combine(element.bytes) }
}

/// `<success/>` of XEP-0388 §2.6.1, with what came of everything that was asked for, and the features of the stream as it is now.
public struct InlineSuccess: Hashable, Sendable {
    /// What a session begins with that a resource was bound for (XEP-0386 §3.2).
    public enum Session: Hashable, Sendable {
        /// None: a resource can be bound as RFC 6120 §7 has it, and an earlier stream resumed.
        case none
        /// The content of `<bound/>`: elements that declare their own namespaces.
        case bound(FullJID, ByteBuffer)
        /// An earlier stream goes on, at once: no features follow (XEP-0198 §9.2).
        case resumed(FullJID)
    }

    public var account: BareJID
    public var additionalData: [UInt8]?
    /// What came of the wish to go on with an earlier stream.
    public var resumption: StreamManagementAnswer?
    public var session: Session
    /// What the client may log in by from now on (XEP-0484 §3.3).
    public var token: IssuedToken?

    public init(
        _ account: BareJID, additionalData: [UInt8]? = nil, resumption: StreamManagementAnswer? = nil, session: Session = .none,
        token: IssuedToken? = nil
    ) {
        self.account = account
        self.additionalData = additionalData
        self.resumption = resumption
        self.session = session
        self.token = token
    }

    private var identifier: String {
        switch session {
        case .none: account.description
        case .bound(let address, _), .resumed(let address): address.description
        }
    }

    /// What follows `<success/>`; `nil` for nothing.
    public var features: StreamFeatures? {
        switch session {
        case .none: .binding
        case .bound: .bound
        case .resumed: nil
        }
    }

    public func write(to writer: inout XMLWriter) {
        writer.element("success", .sasl2) { writer in
            if let additionalData { writer.element("additional-data", .sasl2, text: Base64.encode(additionalData)) }
            writer.element("authorization-identifier", .sasl2, text: identifier)
            resumption?.write(to: &writer)
            if case .bound(_, let content) = session { writer.element("bound", .bind2) { if content.readableBytes > 0 { $0.raw(content) } } }
            if let token { FASTOffer.write(token.token, expires: token.expires, to: &writer) }
        }
    }
}
