public import NIOCore

/// What the machine asks of the server around it, and by what it decides.
public protocol ClientStreamEnvironment {
    var policy: ClientStreamPolicy { get }
    /// A domain of ours, for headers that answer a wrong one.
    var defaultDomain: String { get }
    func serves(_ domain: String) -> Bool
    /// Whether there is a certificate for the domain.
    func canStartTLS(for domain: String) -> Bool
    /// Unguessable, and never the same.
    func streamID() -> String
    func nonce() -> ScramNonce
    /// Whether strangers can ask for an account at the domain (XEP-0077).
    func takesRegistrations(at domain: String) -> Bool
    /// What the features of the domain take up inside a log-in.
    func inlineOffer(at domain: String) -> InlineOffer
    /// What the client's certificate, if it has shown one, is good for at the domain (XEP-0178 §3).
    func certification(at domain: String) -> ClientCertification
    /// Where clients get tokens by which they can log in at the domain (RFC 7628); `nil`: nobody else's are believed there.
    func bearerOffer(at domain: String) -> BearerOffer?
    /// Whose tickets of Kerberos are good at the domain; `nil` if nobody's.
    func kerberos(at domain: String) -> KerberosOffer?
    /// Where the client has come in.
    var origin: LoginOrigin { get }
}

/// What a client's certificate is good for at a domain.
public enum ClientCertification: Hashable, Sendable {
    /// Nothing; passwords are proved instead.
    case none
    /// It stands for that account; so may a password.
    case optional(BareJID)
    /// The domain lets nobody in without one; it stands for that account, or there is none that stands for any.
    case required(BareJID?)
    /// It stands for several accounts, of which the client has to name one.
    case several(isRequired: Bool)

    /// The account, if it is known which one is meant.
    public var account: BareJID? {
        switch self {
        case .none, .several: nil
        case .optional(let account): account
        case .required(let account): account
        }
    }

    var certified: CertifiedAccount? {
        switch self {
        case .several: .several
        case .none, .optional, .required: account.map { .account($0) }
        }
    }

    /// Whether accounts may be entered, or made, without a certificate.
    var allowsPasswords: Bool {
        switch self {
        case .none, .optional: true
        case .required: false
        case .several(let isRequired): !isRequired
        }
    }
}

extension ClientStreamEnvironment {
    public func certification(at domain: String) -> ClientCertification { .none }
    public func takesRegistrations(at domain: String) -> Bool { false }
    public func inlineOffer(at domain: String) -> InlineOffer { InlineOffer() }
    public func bearerOffer(at domain: String) -> BearerOffer? { nil }
    public func kerberos(at domain: String) -> KerberosOffer? { nil }
    public var origin: LoginOrigin { LoginOrigin() }
}

/// What comes of a request of a client that has no account (XEP-0077, XEP-0445).
public enum RegistrationAnswer: Hashable, Sendable {
    /// What is asked of it.
    case form(ByteBuffer)
    /// It may go on by this token.
    case admitted(token: String)
    /// It has an account now.
    case registered
    case refused(StanzaError)
}
