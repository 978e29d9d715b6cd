public import MartletXML

extension Namespace {
    public static let fast: Namespace = "urn:xmpp:fast:0"
}

/// What a client wants of FAST as it logs in (XEP-0484): `<fast/>` and `<request-token/>` in its `<authenticate/>` (XEP-0388).
public struct FASTRequest: Hashable, Sendable {
    /// What it says about the token that it logs in by.
    public struct Use: Hashable, Sendable {
        /// How often it has used the token, if it counts (§3.4).
        public var count: Int64?
        /// Whether the token is to be good for nothing from now on (§3.6).
        public var invalidates: Bool

        public init(count: Int64? = nil, invalidates: Bool = false) {
            self.count = count
            self.invalidates = invalidates
        }
    }

    /// `nil` if it does not log in by a token, whatever the mechanism.
    public var use: Use?
    /// The mechanism for which it wants a token (§3.2).
    public var wanted: HashedTokenMechanism?

    public init(use: Use? = nil, wanted: HashedTokenMechanism? = nil) {
        self.use = use
        self.wanted = wanted
    }

    /// - Parameters:
    ///   - authenticate: the element, with whatever else it has.
    ///   - mechanism: of the log-in. One of tokens goes with `<fast/>`, and `<fast/>` with one of tokens.
    ///   - offered: the mechanisms of tokens that the stream offers.
    ///   - givesTokens: whether whoever logs in so may get one. Who may not and wants one just gets none.
    public init(
        _ authenticate: ElementView, mechanism: SASLMechanism, offered: [HashedTokenMechanism], givesTokens: Bool = true
    ) throws(SASLFailure) {
        use = try authenticate.firstChild("fast", .fast).map { element throws(SASLFailure) in try Use(element) }
        guard mechanism.isOfTokens == (use != nil) else { throw .malformedRequest("<fast/> goes with a mechanism of tokens.") }
        guard let request = authenticate.firstChild("request-token", .fast) else { return }
        guard let mechanism = HashedTokenMechanism(rawValue: request.attribute("mechanism") ?? ""), offered.contains(mechanism) else {
            throw .malformedRequest("A token is wanted for a mechanism that is not offered.")
        }
        wanted = givesTokens ? mechanism : nil
    }
}

extension FASTRequest.Use {
    /// Greatest number that a client counts to: the schema has `xs:int` (§10).
    static let countMax: Int64 = 2_147_483_647

    fileprivate init(_ element: ElementView) throws(SASLFailure) {
        if let text = element.attribute("count") {
            guard text.utf8.count <= 10, text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }), let count = Int64(text),
                (1...Self.countMax).contains(count)
            else { throw .malformedRequest("The count is no positive number.") }
            self.count = count
        }
        switch element.attribute("invalidate") {
        case nil, "0", "false": invalidates = false
        case "1", "true": invalidates = true
        default: throw .malformedRequest("Whether to invalidate is no boolean.")
        }
    }
}

/// A token as its client gets it, once (XEP-0484 §3.3).
public struct IssuedToken: Hashable, Sendable {
    public var token: HashedToken
    /// Milliseconds since 1970.
    public var expires: Int64

    public init(token: HashedToken, expires: Int64) {
        self.token = token
        self.expires = expires
    }
}

/// An exchange that has succeeded, of a client that has something to do with tokens.
public struct TokenLogin: Hashable, Sendable {
    public var account: BareJID
    /// Has an identifier.
    public var userAgent: UserAgent
    /// What the client has proved to have, if that was a token.
    public var accepted: HashedTokenCandidate?
    public var request: FASTRequest
}

/// What the server says of FAST.
public enum FASTOffer {
    /// The mechanisms of tokens on a connection with these channel bindings, the strongest first. None without TLS: what is sent could be used again (§8).
    public static func mechanisms(isSecure: Bool, bindings: [ChannelBinding]) -> [HashedTokenMechanism] {
        guard isSecure else { return [] }
        return HashedTokenMechanism.allCases.reversed().filter { mechanism in
            mechanism.binding.map { kind in bindings.contains { $0.kind == kind } } ?? true
        }
    }

    /// `<fast/>` among the inline features of XEP-0388 (§3.1). Nothing is taken before the handshake is over, so that there is no `tls-0rtt`.
    public static func write(_ mechanisms: [HashedTokenMechanism], to writer: inout XMLWriter) {
        guard !mechanisms.isEmpty else { return }
        writer.element("fast", .fast) { writer in
            for mechanism in mechanisms { writer.element("mechanism", .fast, text: mechanism.name) }
        }
    }

    /// `<token/>` in the `<success/>` of XEP-0388 (§3.3).
    ///
    /// - Parameter expires: milliseconds since 1970.
    public static func write(_ token: HashedToken, expires: Int64, to writer: inout XMLWriter) {
        writer.element("token", .fast, ["expiry": DateTime.text(milliseconds: expires), "token": token.text])
    }
}
