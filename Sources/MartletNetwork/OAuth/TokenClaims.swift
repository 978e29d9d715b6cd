package import MartletXMPP

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// What a token says (RFC 7519 §4, RFC 9068 §2.2), or an authorization server says of one (RFC 7662 §2.2). Nothing of it is believed before it is known who
/// says it.
package struct TokenClaims: Sendable {
    /// Most bytes of JSON: more than a message of a client can hold, since an authorization server may have more to say.
    package static let bytesMax = 65_536

    /// What a claim is worth here.
    private enum Value: Decodable {
        case text(String)
        case number(Double)
        case boolean(Bool)
        case texts([String])
        /// Nothing that is asked for has such a form.
        case other

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .text(text)
            } else if let boolean = try? container.decode(Bool.self) {
                self = .boolean(boolean)
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else if let texts = try? container.decode([String].self) {
                self = .texts(texts)
            } else {
                self = .other
            }
        }
    }

    private let values: [String: Value]

    /// `nil` if the bytes are no object of JSON.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count <= Self.bytesMax, let values = try? JSONDecoder().decode([String: Value].self, from: Data(bytes)) else { return nil }
        self.values = values
    }

    func text(_ name: String) -> String? {
        if case .text(let text)? = values[name] { text } else { nil }
    }

    func boolean(_ name: String) -> Bool? {
        if case .boolean(let boolean)? = values[name] { boolean } else { nil }
    }

    /// Seconds since 1970. `nil` also for what is no time of this age.
    private func time(_ name: String) -> Int? {
        guard case .number(let number)? = values[name], (0...Self.latest).contains(number) else { return nil }
        return Int(number)
    }

    /// The year 9999.
    private static let latest = 253_402_300_799.0

    /// One text, or several.
    private func texts(_ name: String) -> [String] {
        switch values[name] {
        case .text(let text): [text]
        case .texts(let texts): texts
        case .number, .boolean, .other, nil: []
        }
    }

    private func has(_ name: String) -> Bool { values[name] != nil }

    // MARK: What has to hold

    /// Whose token it is, if everything else about it is as it has to be.
    ///
    /// - Parameters:
    ///   - domain: whose accounts are meant.
    ///   - now: seconds since 1970.
    ///   - isIntrospected: it is the issuer itself who says so, and it need not say who it is (RFC 7662 §2.2).
    package func grant(
        _ settings: TokenIssuerSettings, at domain: String, now: Int, isIntrospected: Bool = false
    ) throws(TokenFault) -> TokenGrant {
        if has("iss") || !isIntrospected, text("iss") != settings.issuer { throw .otherIssuer }
        guard texts("aud").contains(settings.audience) else { throw .otherAudience }
        let end = try end(settings, now)
        if !settings.clients.isEmpty {
            guard let client = text("azp") ?? text("client_id"), settings.clients.contains(client) else { throw .otherClient }
        }
        let scopes = Set(scopes)
        if let missing = settings.scopes.first(where: { !scopes.contains($0) }) { throw .lacksScope(missing) }
        // What is for a part of an account only is for less than a session can do (XEP-0493 §3.1.1).
        if !scopes.contains(Self.wholeAccount), scopes.contains(where: { $0.hasPrefix("xmpp:") }) { throw .lacksScope(Self.wholeAccount) }
        return TokenGrant(account: try account(settings.accountClaim, at: domain), end: end)
    }

    /// The scope of an ordinary client (XEP-0493 §3).
    private static let wholeAccount = "xmpp:client:normal"

    /// Until when it is good, in seconds since 1970; the other side's clock may differ.
    private func end(_ settings: TokenIssuerSettings, _ now: Int) throws(TokenFault) -> Int {
        guard !has("cnf") else { throw .otherKind }
        guard let end = time("exp") else { throw .noEnd }
        guard now < end + settings.leeway else { throw .expired }
        for name in ["nbf", "iat"] where has(name) {
            guard let begin = time(name) else { throw .malformed }
            guard now >= begin - settings.leeway else { throw .early }
        }
        return end
    }

    /// `scope`, with blanks between (RFC 8693 §4.2), or `scp`, as some have it.
    private var scopes: [String] { (texts("scope") + texts("scp")).flatMap { $0.split(separator: " ").map(String.init) } }

    /// An address has to be at the domain; and a mailbox has to have been seen to be this one's (OpenID Connect Core 1.0 §5.1).
    private func account(_ claim: String, at domain: String) throws(TokenFault) -> BareJID {
        guard let name = text(claim), !name.isEmpty else { throw .namesNobody }
        if claim == "email", boolean("email_verified") != true { throw .unverifiedMailbox }
        guard let domain = try? BareJID(parsing: domain) else { throw .namesNobody }
        let account = name.utf8.contains(UInt8(ascii: "@")) ? try? BareJID(parsing: name) : try? BareJID(localpart: name, domainpart: domain.domainpart)
        guard let account, !account.isDomain, account.domain == domain else { throw .namesNobody }
        return account
    }
}

/// What a good token grants.
package struct TokenGrant: Hashable, Sendable {
    package let account: BareJID
    /// Seconds since 1970.
    package let end: Int
}

/// Why a token is no good here, in words for operators: nothing of the token.
package enum TokenFault: Error, Hashable, Sendable, CustomStringConvertible {
    case malformed
    /// It is signed in a way that is not taken, or not at all.
    case algorithm
    /// It asks for something to be understood that is not (RFC 7515 §4.1.11).
    case critical
    /// It is for something else than access, or for whoever holds a key (RFC 7800), which nobody is asked for here.
    case otherKind
    case unknownKey
    case signature
    case otherIssuer
    case otherAudience
    case otherClient
    case noEnd
    case expired
    case early
    case lacksScope(String)
    case namesNobody
    case unverifiedMailbox
    /// The authorization server says that it is not good any more, or never was.
    case inactive
    /// It could not be found out.
    case unavailable(String)

    package var description: String {
        switch self {
        case .malformed: "it is no token of the kind that is expected"
        case .algorithm: "it is signed by an algorithm that is not taken, or not signed"
        case .critical: "it has extensions that are not known"
        case .otherKind: "it is of another kind than tokens for access that whoever has them may use"
        case .unknownKey: "the issuer has no such key"
        case .signature: "its signature is wrong"
        case .otherIssuer: "it is from another issuer"
        case .otherAudience: "it is for another audience"
        case .otherClient: "it was given to a program that is not among oauth.clients"
        case .noEnd: "it does not say when it ends"
        case .expired: "it has expired"
        case .early: "it is not good yet: one of the two clocks may be wrong"
        case .lacksScope(let scope): "it lacks the scope \(scope)"
        case .namesNobody: "it names no account of the domain in the claim that is looked at"
        case .unverifiedMailbox: "its mailbox is not said to be verified"
        case .inactive: "the authorization server says that it is not good"
        case .unavailable(let why): "it cannot be checked: \(why)"
        }
    }

    /// What a client hears of it; `nil` if it may try again.
    var status: BearerStatus? {
        switch self {
        case .lacksScope: .insufficientScope
        case .unavailable: nil
        case .malformed, .algorithm, .critical, .otherKind, .unknownKey, .signature, .otherIssuer, .otherAudience, .otherClient, .noEnd, .expired, .early, .namesNobody,
            .unverifiedMailbox, .inactive:
            .invalidToken
        }
    }
}
