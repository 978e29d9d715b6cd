/// Who may log in how on one connection: the only place that says so.
///
/// A function of the policy and of what is known of the connection: which mechanisms are offered (RFC 6120 §6.3.3), inside and outside of SCRAM
/// (XEP-0474), which for tokens (XEP-0484), whether strangers may make accounts (XEP-0077), and, once it is known who the client is, whether
/// the mechanism was good enough for that account. Each with the reason.
///
/// Rules that name accounts cannot decide before. So what is offered is what anybody could be allowed, and the account's rule decides at the end
/// of the exchange, whatever came of it (``judged(_:_:of:)``).
public struct LoginPolicy: Hashable, Sendable {
    private let policy: ClientStreamPolicy
    public let connection: LoginConnection
    /// Those that may decide here, in order; the last one may be about everybody.
    private let rules: [LoginRule]

    public init(_ policy: ClientStreamPolicy, on connection: LoginConnection) {
        self.policy = policy
        self.connection = connection
        let own = policy.rules.filter { $0.isAbout(connection) && $0.mayBeAboutSomebody(at: connection.domain, policy.groups) }
        rules = Array(own.prefix((own.firstIndex { !$0.namesAccounts } ?? own.count) + 1))
    }
}

/// What is known of a connection as its client is about to log in.
public struct LoginConnection: Hashable, Sendable {
    public var domain: String
    public var origin: LoginOrigin
    public var isSecure: Bool
    public var bindings: [ChannelBinding]
    public var certification: ClientCertification
    /// Where clients get tokens that the domain believes (RFC 7628).
    public var bearer: BearerOffer?
    /// Whose tickets are good at the domain (RFC 4752).
    public var kerberos: KerberosOffer?

    public init(
        at domain: String, from origin: LoginOrigin = LoginOrigin(), isSecure: Bool, bindings: [ChannelBinding] = [],
        _ certification: ClientCertification = .none, bearer: BearerOffer? = nil, kerberos: KerberosOffer? = nil
    ) {
        self.domain = domain
        self.origin = origin
        self.isSecure = isSecure
        self.bindings = bindings
        self.certification = certification
        self.bearer = bearer
        self.kerberos = kerberos
    }
}

// MARK: Who decides

extension LoginPolicy {
    /// What says by what an account may log in.
    public enum Decider: Hashable, Sendable {
        /// What holds for everybody.
        case standard
        /// The domain lets nobody in without a certificate.
        case domain
        /// The rule of that number, counted from one.
        case rule(Int)
    }

    /// Who decides about an account.
    public func decider(of account: BareJID) -> Decider {
        guard connection.certification.allowsPasswords else { return .domain }
        return rule(about: account).map { .rule($0.number) } ?? .standard
    }

    /// Whether an account may log in by a mechanism, whatever the connection allows.
    public func permits(_ mechanism: SASLMechanism, to account: BareJID) -> Bool {
        guard connection.certification.allowsPasswords else { return mechanism == .external }
        return permits(mechanism, rule(about: account))
    }

    private func rule(about account: BareJID) -> LoginRule? { rules.first { $0.isAbout(account, policy.groups) } }

    /// The rule about whoever is named by none, if there is one.
    private var ruleAboutOthers: LoginRule? { rules.last.flatMap { $0.namesAccounts ? nil : $0 } }

    private func permits(_ mechanism: SASLMechanism, _ rule: LoginRule?) -> Bool {
        let standard = policy.permits(mechanism)
        return rule?.permits(mechanism, standard: standard) ?? standard
    }

    /// Whether there may be somebody who may log in by it here.
    private func permitsSomebody(_ mechanism: SASLMechanism) -> Bool {
        guard connection.certification.allowsPasswords else { return mechanism == .external }
        // Whose certificate it is is known.
        if mechanism == .external, let account = connection.certification.account { return permits(mechanism, to: account) }
        return rules.contains { permits(mechanism, $0) } || ruleAboutOthers == nil && policy.permits(mechanism)
    }
}

extension ClientStreamPolicy {
    /// Whether it is one of those that the server offers to everybody, where the connection allows that.
    fileprivate func permits(_ mechanism: SASLMechanism) -> Bool {
        switch mechanism {
        case .plain, .scram: mechanisms.contains(mechanism)
        case .scramPlus(let hash): mechanisms.contains(.scram(hash))
        case .external, .oauthBearer, .gssapi, .hashedToken: true
        }
    }
}

// MARK: What is offered

extension LoginPolicy {
    /// Why a mechanism cannot be used on a connection, whoever wants to.
    public enum Obstacle: Hashable, Sendable, CaseIterable {
        /// It is for TLS only.
        case notEncrypted
        /// Channel binding is switched off.
        case channelBindingOff
        /// The connection gives nothing to bind to, or nothing is bound on it.
        case nothingToBind
        /// No certificate has been shown that stands for an account of the domain.
        case noCertificate
        /// The domain believes no authorization server.
        case noIssuer
        /// The domain has people of no realm.
        case noRealm
        /// Tokens are switched off.
        case tokensOff
    }

    /// What stands in the way of a mechanism on the connection; `nil` if nothing does.
    public func obstacle(_ mechanism: SASLMechanism) -> Obstacle? {
        switch mechanism {
        case .plain, .scram: return protectsPasswords ? nil : .notEncrypted
        case .scramPlus:
            guard protectsPasswords else { return .notEncrypted }
            guard policy.offersChannelBinding else { return .channelBindingOff }
            return connection.bindings.isEmpty ? .nothingToBind : nil
        case .external:
            guard connection.isSecure else { return .notEncrypted }
            return connection.certification.certified == nil ? .noCertificate : nil
        case .oauthBearer:
            guard connection.isSecure else { return .notEncrypted }
            return connection.bearer == nil ? .noIssuer : nil
        case .gssapi:
            guard connection.isSecure else { return .notEncrypted }
            return connection.kerberos == nil ? .noRealm : nil
        case .hashedToken(let mechanism):
            guard policy.offersTokens else { return .tokensOff }
            guard connection.isSecure else { return .notEncrypted }
            guard mechanism.binding == nil || policy.offersChannelBinding else { return .channelBindingOff }
            return FASTOffer.mechanisms(isSecure: true, bindings: bindings).contains(mechanism) ? nil : .nothingToBind
        }
    }

    private var protectsPasswords: Bool { connection.isSecure || policy.allowsPlaintext }

    /// Whether it is offered.
    public func offers(_ mechanism: SASLMechanism) -> Bool { obstacle(mechanism) == nil && permitsSomebody(mechanism) }

    /// The mechanisms that are offered, but those of tokens, the strongest first.
    public var mechanisms: [SASLMechanism] { SASLMechanism.allCases.filter { !$0.isOfTokens && offers($0) }.sorted(by: >) }

    /// To what log-ins are bound: to nothing, unless a mechanism is offered that says so (XEP-0440).
    public var bindings: [ChannelBinding] { ScramHash.allCases.contains { offers(.scramPlus($0)) } ? connection.bindings : [] }

    /// The mechanisms of tokens that are offered, the strongest first. Where nobody comes in without a certificate a token is no way around that.
    public var tokens: [HashedTokenMechanism] { HashedTokenMechanism.allCases.reversed().filter { offers(.hashedToken($0)) } }

    /// The hashes of which a client may make up keys, the strongest first (XEP-0480): inside TLS, since what it sends is as good as the password, and
    /// where it can prove to know the password without telling it. Whoever tells it leaves the work to the server.
    public var upgrades: [ScramHash] {
        guard connection.isSecure, mechanisms.contains(where: { $0.isScram }) else { return [] }
        return ScramHash.allCases.reversed().filter(policy.upgrades.contains)
    }

    /// Whether somebody who is named by no rule could log in by the password of an account that he has made.
    public var takesStrangers: Bool { takesPasswords(ruleAboutOthers) }

    /// Whether an account could log in here by a password that is set for it, such as one that somebody makes for himself.
    public func takesPassword(of account: BareJID) -> Bool { takesPasswords(rule(about: account)) }

    private func takesPasswords(_ rule: LoginRule?) -> Bool {
        guard connection.certification.allowsPasswords else { return false }
        return SASLMechanism.allCases.contains { $0.isOfPasswords && obstacle($0) == nil && permits($0, rule) }
    }

    /// That nobody can log in here, whatever he has: there is nothing to offer, and TLS would not help.
    public var isClosed: Bool { connection.isSecure && mechanisms.isEmpty }

    /// What a client is told that finds it closed.
    var closure: String {
        let needsCertificate = connection.certification.certified == nil && permitsSomebody(.external)
        return needsCertificate ? "This domain asks for a client certificate." : "Nobody can log in here."
    }
}

// MARK: Once it is known who the client is

extension LoginPolicy {
    /// What becomes of a step of an exchange when the account may not log in by its mechanism: it fails, whether the credentials were right or
    /// wrong, and whether there is such an account, where it would have come to its end otherwise, after the same work. So nobody learns by a
    /// mechanism that is too weak whether a password is right.
    ///
    /// - Parameter account: about which was asked; `nil` if that has not come to it.
    func judged(_ step: SASLStep, _ mechanism: SASLMechanism, of account: BareJID?) -> SASLStep {
        guard judges else { return step }
        switch step {
        case .challenge, .lookUp, .consult: return step
        case .success(let identity, _): return permits(mechanism, to: identity.account) ? step : .failure(.mechanismTooWeak)
        case .failure(let failure):
            guard let account, failure.isAboutCredentials, !permits(mechanism, to: account) else { return step }
            return .failure(SASLFailure(.mechanismTooWeak, suspicion: failure.suspicion))
        }
    }

    /// Whether what becomes of an exchange may be decided here.
    var judges: Bool { !rules.isEmpty }

    /// What a client gets of the tokens that it wants: none by which it could not log in.
    func granted(_ request: FASTRequest, to account: BareJID) -> FASTRequest {
        guard !rules.isEmpty, let wanted = request.wanted, !permits(.hashedToken(wanted), to: account) else { return request }
        return FASTRequest(use: request.use)
    }
}

extension SASLFailure {
    /// Whether it says, or would say, something about credentials.
    fileprivate var isAboutCredentials: Bool {
        switch condition {
        case .accountDisabled, .credentialsExpired, .mechanismTooWeak, .notAuthorized: true
        case .aborted, .encryptionRequired, .incorrectEncoding, .invalidAuthzid, .invalidMechanism, .malformedRequest, .temporaryAuthFailure: false
        }
    }
}

/// The ways in that somebody has who makes an account for himself (XEP-0077): the stream on which he asks, or, where that is none, all that there are.
///
/// An account that is made so has a password and nothing else. Where it could never be used none is made.
public struct WaysIn: Hashable, Sendable {
    private let logins: [LoginPolicy]

    public init(_ logins: [LoginPolicy]) { self.logins = logins }

    public func takePassword(of account: BareJID) -> Bool { logins.contains { $0.takesPassword(of: account) } }

    /// Of whoever is named by no rule.
    public var takeStrangers: Bool { logins.contains(where: \.takesStrangers) }
}
