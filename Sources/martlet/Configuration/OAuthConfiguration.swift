import MartletNetwork

extension ServerConfiguration {
    /// An authorization server whose tokens let accounts in (RFC 7628).
    package struct OAuthIssuer: ConfigurationSection {
        package var issuer = ""
        /// All of this server unless given.
        package var domains: [String] = []
        package var audience: String?
        /// As OpenID Connect has it, below the issuer, unless given.
        package var discovery: String?
        /// Where discovery says, unless given.
        package var keys: String?
        package var accountClaim: String?
        package var scopes: [String] = []
        package var clients: [String] = []
        package var leeway = Duration.seconds(30)
        package var introspection = Introspection()
        /// PEM file; without it, the authorities that the machine trusts.
        package var trustAnchors: String?
        package var endsSessions = false
        package var givesTokens = false

        package init() {}
    }

    /// How an authorization server is asked about each token (RFC 7662).
    package struct Introspection: ConfigurationSection {
        package var url: String?
        package var clientID: String?
        package var secretFile: String?
        package var rememberedFor = Duration.seconds(30)

        package init() {}
    }
}

extension ConfigurationSchema {
    static let oauth = ConfigurationMapping<ServerConfiguration.OAuthIssuer>([
        .value(
            "issuer", \.issuer, .uri, .reload, isRequired: true, example: "https://id.example.org/realms/people",
            "The authorization server, exactly as its tokens name it (iss)."),
        .list(
            "domains", \.domains, of: .domain, .reload, counts: 0...1_000, example: "example.org",
            "The domains of this server whose accounts come in by its tokens. Without it, all of them. A domain believes one authorization server."),
        .value(
            "audience", \.audience, .optional(.word), .reload, isRequired: true, example: "xmpp.example.org",
            "What tokens have to be for (aud): a name that this server alone has there, so that a token for another service is of no use here."),
        .value(
            "discovery", \.discovery, .optional(.uri), .reload, example: "https://id.example.org/realms/people/.well-known/openid-configuration",
            """
            Where the authorization server describes itself (RFC 8414). Clients are told of it. Without it, the issuer with \
            /.well-known/openid-configuration behind it.
            """),
        .value(
            "keys", \.keys, .optional(.uri), .reload, example: "https://id.example.org/realms/people/keys",
            "Where its keys are (a JWK set), by which signatures are checked. Without it, where discovery says."),
        .value(
            "account-claim", \.accountClaim, .optional(.word), .reload, isRequired: true, example: "preferred_username",
            """
            The claim that names the account: what stands before the @, or the whole address. Choose one that people cannot change themselves and that is never \
            given to somebody else. email counts only where email_verified is true.
            """),
        .list(
            "scopes", \.scopes, of: .word, .reload, counts: 0...16, example: "xmpp:client:normal",
            "What a token has to be good for (scope): all of these. Clients are told of them."),
        .list(
            "clients", \.clients, of: .word, .reload, counts: 0...256, example: "chat-app",
            "The programs to which a token may have been given (azp, or else client_id). Without it, all."),
        .value(
            "leeway", \.leeway, .duration(.zero...(.seconds(300))), .reload, "How far the clocks of the two may be apart, when a token begins and ends."),
        .section(
            "introspection", \.introspection, introspection,
            "Where this is set, the authorization server is asked about each token (RFC 7662), which may then be of any kind, and can be revoked."),
        .value(
            "trust-anchors", \.trustAnchors, .optional(.path), .reload, example: "/etc/martlet/authorities.pem",
            "PEM file with the authorities that are believed about its certificate. Without it, those of this machine. Relative to this file."),
        .value(
            "end-sessions", \.endsSessions, .boolean, .reload,
            "Whether a session that has come in by a token ends when the token does. Otherwise it goes on, as one by password does."),
        .value(
            "device-tokens", \.givesTokens, .boolean, .reload,
            """
            Whether a client that has come in by a token may get one of this server's (devices.token-lifetime), by which it comes back without the \
            authorization server, whatever that has revoked meanwhile.
            """),
    ])

    static let introspection = ConfigurationMapping<ServerConfiguration.Introspection>([
        .value("url", \.url, .optional(.uri), .reload, example: "https://id.example.org/realms/people/introspect", "Where tokens are asked about."),
        .value("client-id", \.clientID, .optional(.word), .reload, example: "martlet", "The name that this server has there."),
        .value(
            "secret-file", \.secretFile, .optional(.path), .reload, example: "/etc/martlet/oauth.secret",
            "File with the secret that belongs to that name, on one line. Relative to this file."),
        .value(
            "remember", \.rememberedFor, .duration(.zero...(.seconds(60))), .reload,
            "For how long the answer that a token is good may be used again. So long a token that has been revoked may still be taken."),
    ])
}

extension ValueType where Value == String {
    /// Longest one, in bytes.
    private static var wordBytesMax: Int { 255 }

    /// What is compared with what somebody else says, byte for byte.
    static var word: Self {
        ValueType(expected: "a word of up to \(wordBytesMax) characters of ASCII, without blanks") { text, _ throws(ValueFault) in
            guard (1...wordBytesMax).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { throw .unexpected() }
            return text
        } write: {
            $0
        }
    }
}

extension ServerConfiguration.OAuthIssuer {
    /// Whether somebody can listen on the way, or say something else: only this machine needs no encryption.
    static func isSafe(_ url: HTTPURL) -> Bool {
        guard url.scheme == .http else { return true }
        guard case .address(let address) = url.host else { return false }
        return AddressPolicy().refusal(of: address) == .loopback
    }
}
