/// What an exchange of GSSAPI wants done with its security context, which whoever runs the exchange keeps.
public enum GSSAPIRequest: Hashable, Sendable {
    /// Give the token to `GSS_Accept_sec_context`. With the first one a context begins, in place of any other.
    case accept([UInt8], isFirst: Bool)
    /// `GSS_Wrap`, without confidentiality.
    case wrap([UInt8])
    /// `GSS_Unwrap`.
    case unwrap([UInt8])
}

/// What came of it, unless it failed.
public enum GSSAPIAnswer: Hashable, Sendable {
    /// The client is to answer this.
    case continues(token: [UInt8])
    /// The context is there. A token that is not empty is for the client.
    case established(KerberosPrincipal, token: [UInt8])
    case wrapped([UInt8])
    case unwrapped([UInt8])
}

/// The server's side of GSSAPI (RFC 4752 §3.2), as a machine without I/O: tokens of Kerberos in both directions until there is a security context, then
/// one message of each side, protected by it, about a security layer and about the account.
///
/// No security layer is offered: TLS is below. Nor is anything tied to TLS: this mechanism has no channel binding (those of RFC 5801 have).
public struct GSSAPIExchange: Hashable, Sendable {
    /// Longest message of a client, in bytes after base64: the longest token of Windows (`MaxTokenSize`), whose tickets name all groups of their owner.
    public static let messageBytesMax = 48_000
    /// Most tokens of a client. Kerberos needs one, or two where the first is answered (DCE style).
    public static let tokensMax = 4

    private enum State: Hashable, Sendable {
        case start
        /// - tokens: how many have come.
        case awaitingToken(tokens: Int)
        case accepting(tokens: Int)
        /// The last token is with the client, which says that it got it, by nothing.
        case awaitingAcknowledgement(KerberosPrincipal)
        case wrapping(KerberosPrincipal)
        case awaitingChoice(KerberosPrincipal)
        case unwrapping(KerberosPrincipal)
        case awaitingStanding(SASLIdentity)
        case over
    }

    private let domain: String
    private let realms: Set<String>
    private var state = State.start

    /// - Parameters:
    ///   - domain: the domainpart of the stream.
    ///   - realms: whose principals have accounts there.
    public init(domain: String, realms: Set<String>) {
        self.domain = domain
        self.realms = realms
    }

    /// Takes the client's message. `nil` is one without payload: as the first, it asks to be challenged.
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        guard message?.count ?? 0 <= Self.messageBytesMax else { return fail(.malformedRequest("The message is too long.")) }
        switch state {
        case .start:
            if let message { return accept(message, tokens: 0) }
            state = .awaitingToken(tokens: 0)
            return .challenge([])
        case .awaitingToken(let tokens): return accept(message ?? [], tokens: tokens)
        case .awaitingAcknowledgement(let principal):
            guard message?.isEmpty ?? true else { return fail(.malformedRequest("The security context is there: nothing but an empty response is expected.")) }
            return offer(principal)
        case .awaitingChoice(let principal):
            state = .unwrapping(principal)
            return .consult(.gssapi(.unwrap(message ?? [])))
        case .accepting, .wrapping, .unwrapping, .awaitingStanding, .over: return fail(.malformedRequest("No response is expected now."))
        }
    }

    /// Takes what came of what was asked for.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        if case .refused(let failure) = answer { return fail(failure) }
        switch (state, answer) {
        case (.accepting(let tokens), .gssapi(.continues(let token))):
            state = .awaitingToken(tokens: tokens)
            return .challenge(token)
        case (.accepting, .gssapi(.established(let principal, let token))): return established(principal, token)
        case (.wrapping(let principal), .gssapi(.wrapped(let message))):
            state = .awaitingChoice(principal)
            return .challenge(message)
        case (.unwrapping(let principal), .gssapi(.unwrapped(let message))): return choose(message, principal)
        case (.awaitingStanding(let identity), .standing(let refusal)):
            if let refusal { return fail(refusal) }
            state = .over
            return .success(identity, additionalData: nil)
        default: return fail(.temporaryAuthFailure)
        }
    }

    private mutating func accept(_ token: [UInt8], tokens: Int) -> SASLStep {
        guard !token.isEmpty, tokens < Self.tokensMax else { return fail(.malformedRequest("A token is expected, and \(Self.tokensMax) at most.")) }
        state = .accepting(tokens: tokens + 1)
        return .consult(.gssapi(.accept(token, isFirst: tokens == 0)))
    }

    private mutating func established(_ principal: KerberosPrincipal, _ token: [UInt8]) -> SASLStep {
        guard realms.contains(principal.realm) else { return fail(.notAuthorized) }
        guard !token.isEmpty else { return offer(principal) }
        state = .awaitingAcknowledgement(principal)
        return .challenge(token)
    }

    private mutating func offer(_ principal: KerberosPrincipal) -> SASLStep {
        state = .wrapping(principal)
        return .consult(.gssapi(.wrap(SecurityLayerChoice.offer)))
    }

    /// Whose the account is follows from the principal alone. The authorization identity can only agree.
    private mutating func choose(_ message: [UInt8], _ principal: KerberosPrincipal) -> SASLStep {
        do throws(SASLFailure) {
            let choice = try SecurityLayerChoice(parsing: message)
            // Gajim's library (nbxmpp) sends the principal instead of an address.
            let authzid = choice.authzid == principal.description ? nil : choice.authzid
            let identity = try SASLIdentity(username: principal.name, authzid: authzid, domain: domain)
            state = .awaitingStanding(identity)
            return .lookUp(identity, .standing)
        } catch {
            return fail(error)
        }
    }

    private mutating func fail(_ failure: SASLFailure) -> SASLStep {
        state = .over
        return .failure(failure)
    }
}

/// What a client says once there is a security context (RFC 4752 §3.1): a layer, the longest message that it takes in one, and the authorization identity.
public struct SecurityLayerChoice: Hashable, Sendable {
    /// No security layer (bit 1), and so no message in one.
    static let offer: [UInt8] = [1, 0, 0, 0]

    /// As whom to act; `nil` if the client left it to the server.
    public let authzid: String?

    /// - Parameter message: unwrapped.
    public init(parsing message: [UInt8]) throws(SASLFailure) {
        guard message.count >= 4, message.count <= SASLServerExchange.messageBytesMax else {
            throw .malformedRequest("A security layer, a size and an authorization identity are expected.")
        }
        // No bit at all means the same, since there is nothing else to choose: Gajim's library (nbxmpp) sets none.
        guard message[0] == 1 || message[0] == 0 else { throw .malformedRequest("No security layer is offered: TLS is below.") }
        guard message[1...3].allSatisfy({ $0 == 0 }) else { throw .malformedRequest("Without a security layer there are no messages in one.") }
        guard let text = String(validating: message[4...], as: UTF8.self), !text.contains("\0") else {
            throw .malformedRequest("The authorization identity is not UTF-8 without NUL.")
        }
        authzid = text.isEmpty ? nil : text
    }
}

/// What is said, at a domain, to whoever may have a ticket of Kerberos.
public struct KerberosOffer: Hashable, Sendable {
    /// Whose principals have accounts at the domain.
    public let realms: Set<String>
    /// Of the server's own principal (XEP-0233); `nil` if clients are not told.
    public let hostname: String?

    public init(realms: Set<String>, hostname: String? = nil) {
        self.realms = realms
        self.hostname = hostname
    }
}

/// A principal of Kerberos that is a person: `name@REALM`, one component and a realm (RFC 4120 §6.2).
public struct KerberosPrincipal: Hashable, Sendable, CustomStringConvertible {
    public let name: String
    /// Compared byte for byte: realms are case-sensitive (RFC 4120 §6.1).
    public let realm: String

    /// - Parameter text: as `GSS_Display_name` gives it (RFC 1964 §2.1.1). `nil` for one with an instance (`name/admin@REALM`), which is another identity
    ///   than that of the person, and for one with characters that have to be escaped there, which no localpart can have.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty, !text.utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") })
        else { return nil }
        name = String(parts[0])
        realm = String(parts[1])
    }

    public var description: String { "\(name)@\(realm)" }
}
