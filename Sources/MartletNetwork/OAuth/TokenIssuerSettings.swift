/// An authorization server that domains believe about who their clients are (RFC 7628), and what its tokens have to be like.
package struct TokenIssuerSettings: Hashable, Sendable {
    /// Who says whether a token is good.
    package enum Proof: Hashable, Sendable {
        /// The token itself, which is signed (RFC 9068): with one of the keys at that place, or at the one that ``discovery`` names.
        case signature(keys: HTTPURL?)
        /// The authorization server, each time (RFC 7662).
        case introspection(Introspection)
    }

    package struct Introspection: Hashable, Sendable {
        package var url: HTTPURL
        package var clientID: String
        package var secret: ClientSecret
        /// For how long an answer that a token is good may be used again, in seconds: so long a token may still be taken that has been revoked.
        package var rememberedFor: Int

        package init(url: HTTPURL, clientID: String, secret: ClientSecret, rememberedFor: Int) {
            self.url = url
            self.clientID = clientID
            self.secret = secret
            self.rememberedFor = rememberedFor
        }
    }

    /// Domains whose accounts come in by its tokens.
    package var domains: Set<String>
    /// As `iss` has it, byte for byte (RFC 8414 §2).
    package var issuer: String
    /// One of those that `aud` names: tokens that are for somebody else are no good here.
    package var audience: String
    /// Where the authorization server describes itself (RFC 8414): clients are told of it.
    package var discovery: HTTPURL
    package var proof: Proof
    /// The claim that names the account: its localpart, or its address at the domain.
    package var accountClaim: String
    /// All of these have to be among the token's.
    package var scopes: [String] = []
    /// The programs that tokens may have been given to (`azp` or `client_id`); empty: all.
    package var clients: Set<String> = []
    /// How far the clocks of the two may be apart, in seconds.
    package var leeway = 30
    /// Whether what has come in by a token ends when that does.
    package var endsSessions = false
    /// Whether clients that have come in by one may get tokens of ours (XEP-0484).
    package var givesTokens = false

    /// PEM file with the authorities that are believed about its certificate; `nil`: those of the machine.
    package var trustAnchors: String?

    package init(domains: Set<String>, issuer: String, audience: String, discovery: HTTPURL, proof: Proof, accountClaim: String) {
        self.domains = domains
        self.issuer = issuer
        self.audience = audience
        self.discovery = discovery
        self.proof = proof
        self.accountClaim = accountClaim
    }

    /// Where an issuer describes itself unless it says otherwise (OpenID Connect Discovery 1.0 §4).
    package static func discovery(of issuer: String) -> HTTPURL? {
        HTTPURL((issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer) + "/.well-known/openid-configuration")
    }
}

/// What this server proves to an authorization server who it is by. It describes itself without its bytes.
package struct ClientSecret: Hashable, Sendable {
    let text: String
    package init(_ text: String) { self.text = text }
}

extension ClientSecret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "(secret)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
