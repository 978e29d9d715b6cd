extension ClientStreamMachine {
    /// Where the stream stands, with what there is only then.
    enum State: Sendable {
        /// `domain`: the one whose certificate was shown, once TLS was started inside the stream.
        case awaitingHeader(Security, domain: String?)
        /// The features have been sent; the client chooses.
        indirect case negotiating(Negotiation)
        /// `<proceed/>` has been sent.
        case startingTLS(domain: String)
        /// The client has been challenged.
        indirect case authenticating(Attempt, Negotiation)
        /// The account source has been asked.
        indirect case lookingUp(Attempt, Negotiation)
        /// The exchange has succeeded, and the client makes up keys that its account lacks (XEP-0480).
        indirect case upgrading(Upgrade, UpgradeStep, Negotiation)
        /// The exchange has succeeded, and what it means for the client's tokens is being written (XEP-0484).
        indirect case concluding(Completion, Negotiation)
        /// The client has no account yet, and has asked for one (XEP-0077).
        indirect case registering(StrangersQuestion, Negotiation)
        /// Logged in; the new header is to come.
        case authenticated(BareJID)
        /// Logged in, and what was asked for with that is being done; `<success/>` is to come (XEP-0388 §2.6).
        indirect case completing(Completion, CompletionStep)
        case awaitingBind(BareJID)
        case binding(BareJID, id: String)
        /// The session of an earlier stream has been asked for (XEP-0198 §5).
        case resuming(BareJID)
        case bound(FullJID)
        /// The end of our stream has been sent; the client's is awaited for a bounded time.
        case closing
        case closed
    }

    /// What protects the connection, and by what an authentication can be tied to it.
    enum Security: Sendable {
        case none
        /// - version: `nil` if it is not known whether TLS ends here.
        case tls([ChannelBinding], version: NegotiatedTLS?)

        var isSecure: Bool {
            switch self {
            case .none: false
            case .tls: true
            }
        }

        var bindings: [ChannelBinding] {
            switch self {
            case .none: []
            case .tls(let bindings, _): bindings
            }
        }

        var version: NegotiatedTLS? {
            switch self {
            case .none: nil
            case .tls(_, let version): version
            }
        }
    }

    /// What an unauthenticated client has been offered.
    struct Negotiation: Sendable {
        let domain: String
        let security: Security
        let startTLS: StreamFeatures.StartTLS
        let mechanisms: [SASLMechanism]
        /// Those of tokens, which only XEP-0388 has beside the others.
        let tokens: [HashedTokenMechanism]
        /// The hashes of which keys may be made up that an account lacks.
        let upgrades: [ScramHash]
        /// For whom the certificate stands that was shown.
        let certified: CertifiedAccount?
        let offersRegistration: Bool
        /// By what the account is judged, once it is known.
        let login: LoginPolicy
        /// Whom the client says that it is.
        let from: BareJID?
        var attemptsLeft: Int
        /// What has let a stranger in (XEP-0445).
        var token: String?

        func offers(_ mechanism: SASLMechanism, _ profile: SASLProfile) -> Bool {
            guard case .hashedToken(let its) = mechanism else { return mechanisms.contains(mechanism) }
            return profile == .sasl2 && tokens.contains(its)
        }

        /// Whoever logs in with a certificate, a ticket or somebody else's token gets none of ours: it would outlive that, whose end ends what it has let
        /// in. Of the last the operator may think otherwise.
        func givesTokens(after mechanism: SASLMechanism) -> Bool {
            switch mechanism {
            case .external, .gssapi: false
            case .oauthBearer: login.connection.bearer?.givesTokens ?? false
            case .plain, .scram, .scramPlus, .hashedToken: true
            }
        }
    }

    /// What of a client's request before authentication its answer repeats.
    struct StrangersQuestion: Sendable {
        let id: String
        let to: String?
    }

    /// One authentication under way.
    struct Attempt: Sendable {
        let mechanism: SASLMechanism
        var exchange: SASLServerExchange
        let wish: Wish
        /// About whom has been asked.
        var account: BareJID?

        var profile: SASLProfile {
            switch wish {
            case .newHeader: .rfc6120
            case .inline: .sasl2
            }
        }

        /// What the client has said of itself.
        var userAgent: UserAgent? {
            switch wish {
            case .newHeader: nil
            case .inline(let request): request.userAgent
            }
        }

        var heldByteCount: Int {
            switch wish {
            case .newHeader: 0
            case .inline(let request): request.bind?.byteCount ?? 0
            }
        }
    }

    /// What is to follow an authentication.
    enum Wish: Sendable {
        case newHeader
        case inline(AuthenticationRequest)
    }

    /// What is done between an authentication and its `<success/>`.
    struct Completion: Sendable {
        let account: BareJID
        var additionalData: [UInt8]?
        let request: AuthenticationRequest
        /// What it has proved to have, if that was a token.
        let accepted: HashedTokenCandidate?
        /// What the client is given to log in by from now on.
        var token: IssuedToken?
        /// That an earlier stream cannot go on, and why.
        var refusal: StreamManagementAnswer?

        func success(_ resumption: StreamManagementAnswer?, _ session: InlineSuccess.Session = .none) -> InlineSuccess {
            InlineSuccess(account, additionalData: additionalData, resumption: resumption, session: session, token: token)
        }
    }

    /// Keys that are being made up before that.
    struct Upgrade: Sendable {
        var completion: Completion
        /// Those by which the client has proved to know the password.
        let proved: ScramKeys
        /// What is to be asked for yet.
        var missing: ArraySlice<ScramUpgrade> = []
    }

    /// What of a task is under way.
    enum UpgradeStep: Sendable {
        /// What the account lacks is being looked up.
        case seeking
        /// `<continue/>` has been sent; `<next/>` is to come.
        case requested(ScramUpgrade)
        /// Salt and iterations have been sent; the SaltedPassword is to come.
        case described(ScramUpgrade)
        case writing
    }

    /// What of a log-in is under way.
    enum CompletionStep: Sendable { case admitting, resuming, binding }
}
