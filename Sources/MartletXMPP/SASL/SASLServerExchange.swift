/// What a stream told its client before the client chose a mechanism, and what is new in each exchange.
public struct SASLOffer: Hashable, Sendable {
    /// The domainpart of the stream: accounts are of this domain.
    public let domain: String
    /// The mechanisms that were announced on this stream, which SCRAM repeats inside (XEP-0474); empty: it says nothing of them.
    public let mechanisms: [SASLMechanism]
    /// The channel bindings of this connection, if mechanisms with channel binding were offered; else none. Not being
    /// empty is what makes a client that says `y` a victim of somebody in the middle (RFC 5802 §6).
    public let bindings: [ChannelBinding]
    /// The version of TLS below, which SCRAM repeats inside (XEP-0515); `nil` where there is none, or it is not known whether TLS ends here.
    public let tls: NegotiatedTLS?
    /// Our part of the nonce: another one for every exchange.
    public let nonce: ScramNonce
    /// For whom the certificate stands that the client has shown, if EXTERNAL was offered.
    public let certified: CertifiedAccount?
    /// Where clients get tokens, if OAUTHBEARER was offered.
    public let bearer: BearerOffer?
    /// Whose principals of Kerberos have accounts here, if GSSAPI was offered.
    public let realms: Set<String>
    /// What comes of the exchange is not its own to say: the answer may be the same for a right password and a wrong one, and so must be the work.
    public let isJudged: Bool

    public init(
        domain: String, mechanisms: [SASLMechanism] = [], bindings: [ChannelBinding] = [], tls: NegotiatedTLS? = nil, nonce: ScramNonce,
        certified: CertifiedAccount? = nil, bearer: BearerOffer? = nil, realms: Set<String> = [], isJudged: Bool = false
    ) {
        self.domain = domain
        self.mechanisms = mechanisms
        self.bindings = bindings
        self.tls = tls
        self.nonce = nonce
        self.certified = certified
        self.bearer = bearer
        self.realms = realms
        self.isJudged = isJudged
    }
}

/// One authentication from `<auth/>` to `<success/>` or `<failure/>`, as a machine without I/O (RFC 6120 §6.4).
///
/// The stream gives it the decoded payloads (``SASLPayload``) and does what the steps say. It never waits: what has to
/// be looked up is asked for with ``SASLStep/lookUp(_:_:)``.
public enum SASLServerExchange: Hashable, Sendable {
    case scram(ScramServerExchange)
    case plain(PlainExchange)
    case external(ExternalExchange)
    case bearer(BearerExchange)
    case gssapi(GSSAPIExchange)
    case hashedToken(HashedTokenExchange)

    /// Longest message of a client, in bytes after base64: what the longest names and password need. Some mechanisms have another one
    /// (``SASLMechanism/messageBytesMax``).
    public static let messageBytesMax = 6144

    /// - Parameter mechanism: what the client chose. The caller has checked that it was offered.
    public init(_ mechanism: SASLMechanism, offer: SASLOffer) {
        self =
            switch mechanism {
            case .plain: .plain(PlainExchange(domain: offer.domain))
            case .scram(let hash): .scram(ScramServerExchange(hash: hash, isPlus: false, offer: offer))
            case .scramPlus(let hash): .scram(ScramServerExchange(hash: hash, isPlus: true, offer: offer))
            case .external: .external(ExternalExchange(offer.certified))
            case .oauthBearer: .bearer(BearerExchange(domain: offer.domain, offer: offer.bearer ?? BearerOffer(configuration: "")))
            case .gssapi: .gssapi(GSSAPIExchange(domain: offer.domain, realms: offer.realms))
            case .hashedToken(let mechanism): .hashedToken(HashedTokenExchange(mechanism, offer: offer))
            }
    }

    /// The token that the client has proved to have, if it was one, once the step said success (XEP-0484).
    public var acceptedToken: HashedTokenCandidate? {
        if case .hashedToken(let exchange) = self { exchange.accepted } else { nil }
    }

    /// The keys by which the client has proved to know the account's own password, if it has not told it, once the step said success (XEP-0480).
    public var provedKeys: ScramKeys? {
        if case .scram(let exchange) = self, let proved = exchange.proved, proved.application == nil { proved.keys } else { nil }
    }

    /// Of which application the password is that the client has proved to know, if it was one of these, once the step said success.
    public var application: String? {
        switch self {
        case .scram(let exchange): exchange.proved?.application
        case .plain(let exchange): exchange.application
        case .external, .bearer, .gssapi, .hashedToken: nil
        }
    }

    /// Takes the payload of `<auth/>` or `<response/>`, `nil` if it had none.
    ///
    /// Our mechanisms let the client speak first; one that sent no initial response is asked for it, once, by an empty
    /// challenge (RFC 4422 §3).
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        switch self {
        case .scram(var exchange):
            defer { self = .scram(exchange) }
            return exchange.step(message)
        case .plain(var exchange):
            defer { self = .plain(exchange) }
            return exchange.step(message)
        case .external(var exchange):
            defer { self = .external(exchange) }
            return exchange.step(message)
        case .bearer(var exchange):
            defer { self = .bearer(exchange) }
            return exchange.step(message)
        case .gssapi(var exchange):
            defer { self = .gssapi(exchange) }
            return exchange.step(message)
        case .hashedToken(var exchange):
            defer { self = .hashedToken(exchange) }
            return exchange.step(message)
        }
    }

    /// Takes what was found out about the account that ``SASLStep/lookUp(_:_:)`` named.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        switch self {
        case .scram(var exchange):
            defer { self = .scram(exchange) }
            return exchange.provide(answer)
        case .plain(var exchange):
            defer { self = .plain(exchange) }
            return exchange.provide(answer)
        case .external(var exchange):
            defer { self = .external(exchange) }
            return exchange.provide(answer)
        case .bearer(var exchange):
            defer { self = .bearer(exchange) }
            return exchange.provide(answer)
        case .gssapi(var exchange):
            defer { self = .gssapi(exchange) }
            return exchange.provide(answer)
        case .hashedToken(var exchange):
            defer { self = .hashedToken(exchange) }
            return exchange.provide(answer)
        }
    }
}

/// The text inside `<auth/>`, `<challenge/>`, `<response/>` and `<success/>`.
public enum SASLPayload {
    /// Reads the text of an element: `nil` if there is none, no bytes for `=` (RFC 6120 §6.4.2), else base64.
    ///
    /// - Parameter bytesMax: of what is read, after base64.
    public static func decode(
        _ text: some BidirectionalCollection<UInt8>, bytesMax: Int = SASLServerExchange.messageBytesMax
    ) throws(SASLFailure) -> [UInt8]? {
        guard !text.isEmpty else { return nil }
        guard text.count > 1 || text.first != UInt8(ascii: "=") else { return [] }
        return try decodePresent(text, bytesMax: bytesMax)
    }

    /// Reads the text of an element that is left out where there is nothing to say (XEP-0388 §2.2): base64, also of no bytes.
    static func decodePresent(
        _ text: some BidirectionalCollection<UInt8>, bytesMax: Int = SASLServerExchange.messageBytesMax
    ) throws(SASLFailure) -> [UInt8] {
        guard text.count <= Base64.encodedCount(of: bytesMax) else {
            throw .malformedRequest("The message is too long.")
        }
        guard let bytes = Base64.decode(text) else { throw .incorrectEncoding }
        return bytes
    }

    /// The text for an element: nothing for `nil`, `=` for no bytes, else base64.
    public static func encode(_ payload: [UInt8]?) -> String {
        guard let payload else { return "" }
        return payload.isEmpty ? "=" : Base64.encode(payload)
    }
}
