/// The mechanisms that Martlet speaks. `<` means weaker: a client takes the greatest that both sides know.
///
/// Everything with channel binding is above everything without it, since only that notices somebody in the middle
/// with a certificate of their own. A certificate of the client's is above all: whoever is in the middle has no use for it.
public enum SASLMechanism: Hashable, Sendable, CaseIterable {
    /// RFC 4616, over TLS only.
    case plain
    /// RFC 5802, RFC 7677: SCRAM without channel binding.
    case scram(ScramHash)
    /// RFC 5802 §6: SCRAM that fails when the two ends do not stand on the same TLS connection.
    case scramPlus(ScramHash)
    /// RFC 4422 appendix A: the certificate that the client has shown in the TLS handshake.
    case external
    /// RFC 7628: a token that an authorization server has given, over TLS only, at domains that believe one.
    case oauthBearer
    /// RFC 4752: a ticket of Kerberos, over TLS only.
    case gssapi
    /// Of tokens that the server has given (XEP-0484): offered beside the others where there can be tokens, and never in their list.
    case hashedToken(HashedTokenMechanism)

    /// All mechanisms, the weakest first.
    public static let allCases: [SASLMechanism] =
        [.plain, .oauthBearer] + ScramHash.allCases.map(SASLMechanism.scram) + [.hashedToken(.none), .gssapi] + ScramHash.allCases.map(SASLMechanism.scramPlus)
        + [.hashedToken(.serverEndPoint), .hashedToken(.exporter), .external]

    /// The registered name, as it stands in `<mechanism/>`.
    public var name: String {
        switch self {
        case .plain: "PLAIN"
        case .scram(let hash): hash.mechanismName
        case .scramPlus(let hash): hash.mechanismName + "-PLUS"
        case .external: "EXTERNAL"
        case .oauthBearer: "OAUTHBEARER"
        case .gssapi: "GSSAPI"
        case .hashedToken(let mechanism): mechanism.name
        }
    }

    /// The mechanism of that name; `nil` if it is not one of ours. Names are compared byte for byte (RFC 4422 §3.1:
    /// upper case only).
    public init?(name: some StringProtocol) {
        guard let mechanism = Self.allCases.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else { return nil }
        self = mechanism
    }

    /// Whether the mechanism needs channel binding data, and so a TLS connection that gives some.
    public var bindsChannel: Bool {
        switch self {
        case .scramPlus: true
        case .plain, .scram, .external, .oauthBearer, .gssapi: false
        case .hashedToken(let mechanism): mechanism.binding != nil
        }
    }

    /// Whether it proves that the client knows the password, without telling it.
    var isScram: Bool {
        switch self {
        case .scram, .scramPlus: true
        case .plain, .external, .oauthBearer, .gssapi, .hashedToken: false
        }
    }

    /// Longest message of a client, in bytes after base64.
    public var messageBytesMax: Int {
        switch self {
        case .oauthBearer: BearerMessage.bytesMax
        case .gssapi: GSSAPIExchange.messageBytesMax
        case .plain, .scram, .scramPlus, .external, .hashedToken: SASLServerExchange.messageBytesMax
        }
    }

    /// Whether it proves that the client has a token of ours, which is good for one device and not for the whole account.
    public var isOfTokens: Bool {
        if case .hashedToken = self { true } else { false }
    }
}

extension SASLMechanism: Comparable {
    private var strength: Int {
        switch self {
        case .plain: 0
        case .oauthBearer: 5
        case .scram(let hash): 10 + hash.strength
        case .scramPlus(let hash): 20 + hash.strength
        case .hashedToken(let mechanism): mechanism.strength
        case .gssapi: 18
        case .external: 40
        }
    }

    public static func < (a: SASLMechanism, b: SASLMechanism) -> Bool { a.strength < b.strength }
}
