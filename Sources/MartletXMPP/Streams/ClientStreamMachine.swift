public import MartletXML
public import NIOCore

/// The life of a client's stream from its first header to its end (RFC 6120 §4.3). Pure: events in, actions out.
///
///     awaitingHeader ─▶ negotiating ─▶ startingTLS ─▶ awaitingHeader (with TLS)
///                           ├─▶ registering, and back
///                           └─▶ lookingUp ⇄ authenticating
///                                   ├─▶ authenticated ─▶ awaitingBind ─▶ binding or resuming ─▶ bound
///                                   └─▶ concluding or not ─▶ completing ─▶ bound, or awaitingBind
///
/// and from everywhere to `closing` (our end of the stream was sent) and `closed`. Before TLS nothing is taken but
/// STARTTLS where it is required, before authentication nothing but SASL and, where that is offered, registration, before a bound resource nothing but its
/// request (`reliability.md` rule 9). Whoever runs the machine gives it no element while ``isWaiting``.
///
/// A log-in in the profile of RFC 6120 goes by `authenticated`, with a second header; one of XEP-0388 by `completing`, where everything is done
/// that the client asked for with it. The exchange is the same (``SASLProfile``). Where it says something of tokens (XEP-0484), `concluding` comes
/// first: whoever has proved to have one may be refused yet.
public struct ClientStreamMachine: Sendable {
    private enum State: Sendable {
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
    private enum Security: Sendable {
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
    private struct Negotiation: Sendable {
        let domain: String
        let security: Security
        let startTLS: StreamFeatures.StartTLS
        let mechanisms: [SASLMechanism]
        /// Those of tokens, which only XEP-0388 has beside the others.
        let tokens: [HashedTokenMechanism]
        /// For which account the certificate stands that was shown.
        let certified: BareJID?
        let offersRegistration: Bool
        /// Whom the client says that it is.
        let from: BareJID?
        var attemptsLeft: Int
        /// What has let a stranger in (XEP-0445).
        var token: String?

        func offers(_ mechanism: SASLMechanism, _ profile: SASLProfile) -> Bool {
            guard case .hashedToken(let its) = mechanism else { return mechanisms.contains(mechanism) }
            return profile == .sasl2 && tokens.contains(its)
        }
    }

    /// What of a client's request before authentication its answer repeats.
    private struct StrangersQuestion: Sendable {
        let id: String
        let to: String?
    }

    /// One authentication under way.
    private struct Attempt: Sendable {
        let mechanism: SASLMechanism
        var exchange: SASLServerExchange
        let wish: Wish

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
    private enum Wish: Sendable {
        case newHeader
        case inline(AuthenticationRequest)
    }

    /// What is done between an authentication and its `<success/>`.
    private struct Completion: Sendable {
        let account: BareJID
        let additionalData: [UInt8]?
        let request: AuthenticationRequest
        /// What the client is given to log in by from now on.
        var token: IssuedToken?
        /// That an earlier stream cannot go on, and why.
        var refusal: StreamManagementAnswer?

        func success(_ resumption: StreamManagementAnswer?, _ session: InlineSuccess.Session = .none) -> InlineSuccess {
            InlineSuccess(account, additionalData: additionalData, resumption: resumption, session: session, token: token)
        }
    }

    private enum CompletionStep: Sendable { case admitting, resuming, binding }

    /// What whoever runs the machine is to do. ``write(to:extras:)`` says what goes on the wire; the rest is named here.
    public enum Action: Hashable, Sendable {
        case wait
        case open(ServerStreamHeader, StreamFeatures)
        /// Drop every byte that came in clear, then start TLS with the certificate of the domain; if there were any, drop the connection
        /// (CVE-2011-0411).
        case proceed(domain: String)
        /// TLS cannot start now (RFC 6120 §5.4.2.2): the connection closes.
        case refuseTLS
        /// Ask the account source, and come back with ``ClientStreamMachine/answered(_:)``.
        case lookUp(SASLMechanism, SASLIdentity, SASLQuestion)
        /// Ask whoever knows about what the client has shown, and come back with ``ClientStreamMachine/answered(_:)``.
        case consult(SASLMechanism, SASLConsultation)
        /// Look up the tokens that the client may have, by the identifier that it says of itself, and come back with
        /// ``ClientStreamMachine/answered(_:)``.
        case lookUpTokens(HashedTokenMechanism, SASLIdentity, UserAgent)
        case challenge([UInt8], SASLProfile = .rfc6120)
        /// What was given is a request of somebody who has no account: answer it, and come back with ``ClientStreamMachine/registered(_:)``.
        case register(domain: String, token: String?)
        /// Answers a request of such a client, in the name to which it was sent.
        case answerStranger(id: String, from: String?, RegistrationAnswer)
        /// Expect a new header; the limits of an authenticated stream hold from here.
        case succeed(BareJID, additionalData: [UInt8]?)
        case fail(SASLFailure, SASLProfile = .rfc6120)
        /// The last attempt failed: the stream ends.
        case failFinally(SASLFailure, StreamError, SASLProfile = .rfc6120)
        /// The exchange has succeeded: see to the client's tokens, and come back with ``ClientStreamMachine/concluded(_:)``, which may refuse it.
        case conclude(TokenLogin)
        /// The client has proved who it is, and hears of that when what it asked for is done: the limits of an authenticated stream hold from
        /// here, on the same stream. Come back with ``ClientStreamMachine/admitted()``.
        case admit(BareJID, UserAgent?)
        /// Bind a resource with what goes with it (XEP-0386), and come back with ``ClientStreamMachine/bound(_:_:)`` or
        /// ``ClientStreamMachine/refusedBind(_:)``.
        case bindInline(BareJID, InlineBind)
        /// The log-in is done; a session has begun or goes on, if one was asked for and could be had.
        case complete(InlineSuccess)
        /// Bind a resource and come back with ``ClientStreamMachine/bound(_:_:)`` or ``ClientStreamMachine/refusedBind(_:)``.
        case bind(BareJID, resource: String?)
        /// A session has begun.
        case confirmBind(FullJID, id: String)
        /// Go on with the session of an earlier stream, and come back with ``ClientStreamMachine/resumed(_:previous:handled:)`` or
        /// ``ClientStreamMachine/refusedResumption(_:handled:)``.
        case resume(BareJID, previous: String, handled: UInt32)
        /// What the client says about the stream is for the session.
        case manage(StreamManagementRequest)
        /// Answers what the client says about the stream.
        case managed(StreamManagementAnswer)
        /// What the client says about its state is for the session (XEP-0352).
        case indicate(ClientStateIndication)
        /// Answers a request that never reaches the session.
        case answer(id: String, StanzaError?)
        /// What was given is for the session.
        case deliver
        /// Send the header if there is one, the error if there is one, and the end of the stream; wait for the client's for a bounded time.
        case close(StreamError?, ServerStreamHeader?)
        /// Close the connection, after the end of the stream if it has not been sent.
        case finish(sendsEnd: Bool)
    }

    private var state: State

    /// A stream on a connection that begins in clear.
    public init() { state = .awaitingHeader(.none, domain: nil) }

    /// A stream on a connection that begins with TLS (XEP-0368).
    ///
    /// - Parameters:
    ///   - bindings: in the order in which they are announced, the strongest first.
    ///   - version: `nil` if it is not known whether TLS ends here.
    public init(bindings: [ChannelBinding], version: NegotiatedTLS? = nil) {
        state = .awaitingHeader(.tls(bindings, version: version), domain: nil)
    }
}

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
}

/// What a client's certificate is good for at a domain.
public enum ClientCertification: Hashable, Sendable {
    /// Nothing; passwords are proved instead.
    case none
    /// It stands for that account; so may a password.
    case optional(BareJID)
    /// The domain lets nobody in without one; it stands for that account, or there is none that stands for any.
    case required(BareJID?)

    var account: BareJID? {
        switch self {
        case .none: nil
        case .optional(let account): account
        case .required(let account): account
        }
    }

    /// Whether accounts may be entered, or made, without a certificate.
    var allowsPasswords: Bool {
        switch self {
        case .none, .optional: true
        case .required: false
        }
    }
}

extension ClientStreamEnvironment {
    public func certification(at domain: String) -> ClientCertification { .none }
    public func takesRegistrations(at domain: String) -> Bool { false }
    public func inlineOffer(at domain: String) -> InlineOffer { InlineOffer() }
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

/// How clients may authenticate.
public struct ClientStreamPolicy: Hashable, Sendable {
    /// The mechanisms without channel binding; of each with a -PLUS variant that is offered too where ``offersChannelBinding`` and TLS allow.
    public var mechanisms: [SASLMechanism]
    public var offersChannelBinding: Bool
    /// Whether clients may log in by tokens that the server gives them (XEP-0484).
    public var offersTokens: Bool
    /// Whether passwords may be proved in clear: for tests on loopback, and behind proxies that end TLS.
    public var allowsPlaintext: Bool
    /// Authentications that may fail on one stream before it ends.
    public var attemptsMax: Int

    public init(
        mechanisms: [SASLMechanism] = [.scram(.sha512), .scram(.sha256), .scram(.sha1), .plain], offersChannelBinding: Bool = true,
        offersTokens: Bool = false, allowsPlaintext: Bool = false, attemptsMax: Int = 5
    ) {
        self.mechanisms = mechanisms
        self.offersChannelBinding = offersChannelBinding
        self.offersTokens = offersTokens
        self.allowsPlaintext = allowsPlaintext
        self.attemptsMax = attemptsMax
    }

    /// What is offered on a connection with these channel bindings, the strongest first.
    func offer(isSecure: Bool, bindings: [ChannelBinding], _ certification: ClientCertification = .none) -> [SASLMechanism] {
        let external: [SASLMechanism] = isSecure && certification.account != nil ? [.external] : []
        guard isSecure || allowsPlaintext, certification.allowsPasswords else { return external }
        let bindsChannel = offersChannelBinding && !bindings.isEmpty
        let plus = mechanisms.compactMap { mechanism -> SASLMechanism? in
            switch mechanism {
            case .scram(let hash): bindsChannel ? .scramPlus(hash) : nil
            case .scramPlus, .plain, .external, .hashedToken: nil
            }
        }
        let others = mechanisms.filter { !$0.bindsChannel && !$0.isOfTokens && $0 != .external }
        return (external + plus + others).sorted(by: >)
    }

    /// The mechanisms of tokens there. Where nobody comes in without a certificate a token is no way around that.
    func tokenOffer(isSecure: Bool, bindings: [ChannelBinding], _ certification: ClientCertification) -> [HashedTokenMechanism] {
        guard offersTokens, certification.allowsPasswords else { return [] }
        return FASTOffer.mechanisms(isSecure: isSecure, bindings: bindings)
    }
}

// MARK: What can be asked

extension ClientStreamMachine {
    /// An answer is awaited from this side of the connection: nothing of the client is looked at meanwhile.
    public var isWaiting: Bool {
        switch state {
        case .startingTLS, .lookingUp, .concluding, .registering, .completing, .binding, .resuming: true
        case .awaitingHeader, .negotiating, .authenticating, .authenticated, .awaitingBind, .bound, .closing, .closed: false
        }
    }

    /// Whether the client has proved who it is.
    public var isAuthenticated: Bool {
        switch state {
        case .authenticated, .completing, .awaitingBind, .binding, .resuming, .bound: true
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering, .closing, .closed: false
        }
    }

    /// Our end of the stream has been sent, or there is nothing left to send it on.
    public var isEnding: Bool {
        switch state {
        case .closing, .closed: true
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering, .completing, .authenticated,
            .awaitingBind, .binding, .resuming, .bound:
            false
        }
    }

    /// Memory that is held for what somebody asks for who has not proved who it is, in bytes.
    public var heldByteCount: Int {
        switch state {
        case .authenticating(let attempt, _), .lookingUp(let attempt, _): attempt.heldByteCount
        case .concluding(let completion, _): completion.request.bind?.byteCount ?? 0
        case .awaitingHeader, .negotiating, .startingTLS, .registering, .completing, .authenticated, .awaitingBind, .binding, .resuming, .bound,
            .closing, .closed:
            0
        }
    }

    public var isClosed: Bool {
        if case .closed = state { true } else { false }
    }
}

// MARK: From the client

extension ClientStreamMachine {
    /// The client's header, as it is on a TCP stream.
    public mutating func opened(_ element: FlatElement, _ environment: some ClientStreamEnvironment) -> Action {
        opened(environment) { () throws(StreamError) in try StreamHeader(element) }
    }

    /// The client's header.
    ///
    /// - Parameter read: reads it, or says what is wrong with it.
    public mutating func opened(_ environment: some ClientStreamEnvironment, _ read: () throws(StreamError) -> StreamHeader) -> Action {
        switch state {
        case .awaitingHeader(let security, let domain):
            return open(read, environment) { header throws(StreamError) in
                guard domain == nil || domain == header.domain else {
                    throw StreamError(.improperAddressing, "The stream was opened for another domain before.")
                }
                let certification = environment.certification(at: header.domain)
                guard !security.isSecure || certification != .required(nil) else {
                    throw StreamError(.policyViolation, "This domain asks for a client certificate.")
                }
                return Self.negotiation(header, security, certification, environment)
            }
        case .authenticated(let account):
            return open(read, environment) { header throws(StreamError) in
                guard header.domain == account.domainpart else {
                    throw StreamError(.improperAddressing, "The stream was opened for another domain before.")
                }
                guard header.from == nil || header.from == account else {
                    throw StreamError(.invalidFrom, "The 'from' is not the authenticated account.")
                }
                return (.awaitingBind(account), .binding)
            }
        case .closing, .closed: return .wait
        case .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering,
            .completing, .awaitingBind, .binding, .resuming, .bound:
            return end(StreamError(.badFormat, "A stream has one header."))
        }
    }

    /// Checks the header and opens our side, whatever comes of it: an error too follows a header (RFC 6120 §4.9.1.2).
    private mutating func open(
        _ read: () throws(StreamError) -> StreamHeader, _ environment: some ClientStreamEnvironment,
        _ next: (StreamHeader) throws(StreamError) -> (State, StreamFeatures)
    ) -> Action {
        let id = environment.streamID()
        do throws(StreamError) {
            let header = try read()
            guard environment.serves(header.domain) else { throw StreamError(.hostUnknown) }
            let (next, features) = try next(header)
            state = next
            return .open(ServerStreamHeader(from: header.domain, to: header.from, id: id), features)
        } catch {
            state = .closing
            return .close(error, ServerStreamHeader(from: environment.defaultDomain, id: id))
        }
    }

    private static func negotiation(
        _ header: StreamHeader, _ security: Security, _ certification: ClientCertification, _ environment: some ClientStreamEnvironment
    ) -> (State, StreamFeatures) {
        let policy = environment.policy
        let mechanisms = policy.offer(isSecure: security.isSecure, bindings: security.bindings, certification)
        let bindings = mechanisms.contains { $0.bindsChannel } ? security.bindings : []
        let tokens = policy.tokenOffer(isSecure: security.isSecure, bindings: bindings, certification)
        let startTLS: StreamFeatures.StartTLS =
            security.isSecure || !environment.canStartTLS(for: header.domain) ? .absent : policy.allowsPlaintext ? .offered : .required
        let offersRegistration = !mechanisms.isEmpty && certification.allowsPasswords && environment.takesRegistrations(at: header.domain)
        let negotiation = Negotiation(
            domain: header.domain, security: security, startTLS: startTLS, mechanisms: mechanisms, tokens: tokens,
            certified: certification.account, offersRegistration: offersRegistration, from: header.from, attemptsLeft: policy.attemptsMax)
        var inline = environment.inlineOffer(at: header.domain)
        inline.tokens = tokens
        let features = StreamFeatures.negotiation(
            startTLS: startTLS, mechanisms: mechanisms, bindings: bindings.map(\.kind), offersRegistration: offersRegistration, inline: inline)
        return (.negotiating(negotiation), features)
    }

    /// An element directly under the header. Asks for nothing that takes time; see ``isWaiting``.
    public mutating func received(_ element: FlatElement, _ environment: some ClientStreamEnvironment) -> Action {
        if element.isNamed("error", .streams) { return receivedError() }
        switch state {
        case .negotiating(let negotiation): return receive(element, negotiation, environment)
        case .authenticating(let attempt, let negotiation): return receive(element, attempt, negotiation)
        case .awaitingBind(let account):
            if element.root.isIn(.streamManagement) { return receiveManagement(element, account) }
            if element.root.isIn(.sasl2) { return end(Self.repeated) }
            // Without a session there is nothing to hold back; a client cannot rely on more (XEP-0352 §5).
            return ClientStateIndication(element) == nil ? receiveBind(element, account) : .wait
        case .bound: return receivedBound(element)
        case .startingTLS, .lookingUp, .concluding, .registering, .completing, .binding, .resuming:
            return end(StreamError(.policyViolation, "An answer is to come first."))
        case .awaitingHeader, .authenticated: return end(StreamError(.badFormat, "A stream begins with its header."), environment)
        case .closing, .closed: return .wait
        }
    }

    /// A peer that reports an error has ended its stream (RFC 6120 §4.9.1.1).
    private mutating func receivedError() -> Action {
        isEnding ? .wait : end(nil)
    }

    private mutating func receive(
        _ element: FlatElement, _ negotiation: Negotiation, _ environment: some ClientStreamEnvironment
    ) -> Action {
        if element.isNamed("starttls", .startTLS) { return startTLS(negotiation) }
        if let profile = SASLProfile(of: element) { return receive(element, profile, negotiation, environment) }
        if let question = Self.registrationRequest(element, negotiation) {
            state = .registering(question, negotiation)
            return .register(domain: negotiation.domain, token: negotiation.token)
        }
        return end(StreamError(.notAuthorized))
    }

    private mutating func startTLS(_ negotiation: Negotiation) -> Action {
        switch negotiation.startTLS {
        case .absent:
            state = .closing
            return .refuseTLS
        case .offered, .required:
            state = .startingTLS(domain: negotiation.domain)
            return .proceed(domain: negotiation.domain)
        }
    }

    /// The end of the client's stream.
    public mutating func peerClosed() -> Action {
        defer { state = .closed }
        switch state {
        case .closing: return .finish(sendsEnd: false)
        case .closed: return .wait
        // A header that is empty (`<stream:stream …/>`) is answered before it is closed.
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering,
            .completing, .authenticated, .awaitingBind,
            .binding, .resuming, .bound:
            return .finish(sendsEnd: true)
        }
    }

    /// Bytes that are no XMPP.
    public mutating func failed(_ error: XMLError, _ environment: some ClientStreamEnvironment) -> Action {
        end(StreamError(reporting: error), environment)
    }
}

// MARK: From the server

extension ClientStreamMachine {
    /// The handshake is done.
    public mutating func secured(_ bindings: [ChannelBinding], version: NegotiatedTLS? = nil) -> Action {
        switch state {
        case .startingTLS(let domain):
            state = .awaitingHeader(.tls(bindings, version: version), domain: domain)
            return .wait
        case .awaitingHeader, .negotiating, .authenticating, .lookingUp, .concluding, .registering,
            .completing, .authenticated, .awaitingBind, .binding,
            .resuming, .bound, .closing, .closed:
            return .wait
        }
    }

    /// The server ends the stream: it stops, an administrator says so, a deadline has passed.
    public mutating func end(_ error: StreamError?, _ environment: some ClientStreamEnvironment) -> Action {
        switch state {
        case .awaitingHeader, .authenticated:
            state = .closing
            return .close(error, ServerStreamHeader(from: environment.defaultDomain, id: environment.streamID()))
        case .startingTLS:
            // Nothing of ours can be read between `<proceed/>` and the end of the handshake.
            state = .closed
            return .finish(sendsEnd: false)
        case .negotiating, .authenticating, .lookingUp, .concluding, .registering,
            .completing, .awaitingBind, .binding, .resuming, .bound: return end(error)
        case .closing, .closed: return .wait
        }
    }

    /// The connection is gone, or will be now.
    public mutating func transportLost() { state = .closed }

    /// Our header has been sent.
    private mutating func end(_ error: StreamError?) -> Action {
        state = .closing
        return .close(error, nil)
    }
}

// MARK: SASL (RFC 6120 §6)

extension ClientStreamMachine {
    private mutating func receive(
        _ element: FlatElement, _ profile: SASLProfile, _ negotiation: Negotiation, _ environment: some ClientStreamEnvironment
    ) -> Action {
        if element.isNamed("auth", .sasl) || element.isNamed("authenticate", .sasl2) {
            return authenticate(element, profile, negotiation, environment)
        }
        if element.isNamed("abort", profile.namespace) || element.isNamed("response", profile.namespace) {
            return fail(.malformedRequest("No exchange is under way."), profile, negotiation)
        }
        return end(StreamError(.notAuthorized))
    }

    private mutating func authenticate(
        _ element: FlatElement, _ profile: SASLProfile, _ negotiation: Negotiation, _ environment: some ClientStreamEnvironment
    ) -> Action {
        guard let mechanism = SASLMechanism(name: element.attribute("mechanism") ?? ""), negotiation.offers(mechanism, profile) else {
            let needsTLS = negotiation.mechanisms.isEmpty && negotiation.startTLS == .required
            return fail(needsTLS ? .encryptionRequired : .invalidMechanism, profile, negotiation)
        }
        let bindsChannel = negotiation.mechanisms.contains { $0.bindsChannel }
        let offer = SASLOffer(
            domain: negotiation.domain, mechanisms: negotiation.mechanisms, bindings: bindsChannel ? negotiation.security.bindings : [],
            tls: negotiation.security.version, nonce: environment.nonce(), certified: negotiation.certified)
        let exchange = SASLServerExchange(mechanism, offer: offer)
        do throws(SASLFailure) {
            switch profile {
            case .rfc6120:
                let payload = try profile.payload(element.text)
                return step(Attempt(mechanism: mechanism, exchange: exchange, wish: .newHeader), payload, negotiation)
            case .sasl2:
                let request = try AuthenticationRequest(element, mechanism, negotiation.tokens)
                return step(Attempt(mechanism: mechanism, exchange: exchange, wish: .inline(request)), request.initialResponse, negotiation)
            }
        } catch {
            return fail(error, profile, negotiation)
        }
    }

    /// During an exchange nothing is taken but what belongs to it: of XEP-0388 everything else ends the stream (§2.4).
    private mutating func receive(_ element: FlatElement, _ attempt: Attempt, _ negotiation: Negotiation) -> Action {
        let profile = attempt.profile
        if element.isNamed("abort", profile.namespace) { return fail(.aborted, profile, negotiation) }
        if profile == .rfc6120, element.isNamed("auth", .sasl) { return fail(.malformedRequest("An exchange is under way."), profile, negotiation) }
        guard element.isNamed("response", profile.namespace) else { return end(StreamError(.notAuthorized)) }
        do throws(SASLFailure) {
            return step(attempt, try profile.payload(element.text), negotiation)
        } catch {
            return fail(error, profile, negotiation)
        }
    }

    private mutating func step(_ attempt: Attempt, _ payload: [UInt8]?, _ negotiation: Negotiation) -> Action {
        var attempt = attempt
        return perform(attempt.exchange.step(payload), attempt, negotiation)
    }

    /// What the account source found out. Nobody may wait for it any more: the stream may have ended.
    public mutating func answered(_ answer: SASLAnswer) -> Action {
        switch state {
        case .lookingUp(var attempt, let negotiation):
            return perform(attempt.exchange.provide(answer), attempt, negotiation)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .concluding, .registering,
            .completing, .authenticated, .awaitingBind, .binding,
            .resuming, .bound, .closing, .closed:
            return .wait
        }
    }

    private mutating func perform(_ step: SASLStep, _ attempt: Attempt, _ negotiation: Negotiation) -> Action {
        switch step {
        case .challenge(let message):
            state = .authenticating(attempt, negotiation)
            return .challenge(message, attempt.profile)
        case .lookUp(let identity, let question):
            // With RFC 6120 the second header says it, and is held to it.
            if attempt.profile == .sasl2, let from = negotiation.from, from != identity.account {
                return fail(.invalidAuthzid("The stream is from another account."), .sasl2, negotiation)
            }
            state = .lookingUp(attempt, negotiation)
            if case .hashedTokens(let mechanism) = question, let agent = attempt.userAgent { return .lookUpTokens(mechanism, identity, agent) }
            return .lookUp(attempt.mechanism, identity, question)
        case .consult(let consultation):
            state = .lookingUp(attempt, negotiation)
            return .consult(attempt.mechanism, consultation)
        case .success(let identity, let additionalData):
            return succeed(identity.account, additionalData, attempt, negotiation)
        case .failure(let failure):
            return fail(failure, attempt.profile, negotiation)
        }
    }

    private mutating func succeed(_ account: BareJID, _ additionalData: [UInt8]?, _ attempt: Attempt, _ negotiation: Negotiation) -> Action {
        switch attempt.wish {
        case .newHeader:
            state = .authenticated(account)
            return .succeed(account, additionalData: additionalData)
        case .inline(let request):
            // Whoever needs a second step (`<continue/>`, §2.6.3) would be asked for it here.
            let completion = Completion(account: account, additionalData: additionalData, request: request)
            guard let agent = request.userAgent, request.tokens != FASTRequest() else { return admit(completion) }
            state = .concluding(completion, negotiation)
            return .conclude(TokenLogin(account: account, userAgent: agent, accepted: attempt.exchange.acceptedToken, request: request.tokens))
        }
    }

    private mutating func admit(_ completion: Completion) -> Action {
        state = .completing(completion, .admitting)
        return .admit(completion.account, completion.request.userAgent)
    }

    /// What came of the log-in for the client's tokens: one that it is given, if it is; or why it is refused all the same (XEP-0484).
    public mutating func concluded(_ outcome: Result<IssuedToken?, SASLFailure>) -> Action {
        guard case .concluding(var completion, let negotiation) = state else { return .wait }
        switch outcome {
        case .success(let token):
            completion.token = token
            return admit(completion)
        case .failure(let failure): return fail(failure, .sasl2, negotiation)
        }
    }

    private mutating func fail(_ failure: SASLFailure, _ profile: SASLProfile, _ negotiation: Negotiation) -> Action {
        var negotiation = negotiation
        negotiation.attemptsLeft -= 1
        guard negotiation.attemptsLeft > 0 else {
            state = .closing
            return .failFinally(failure, StreamError(.policyViolation, "Too many failed authentications."), profile)
        }
        state = .negotiating(negotiation)
        return .fail(failure, profile)
    }
}

// MARK: What was asked for inside a log-in (XEP-0388 §2.6.1, XEP-0386, XEP-0198 §9)

extension ClientStreamMachine {
    /// After `<success/>` no other authentication is possible (XEP-0388 §4.8).
    private static let repeated = StreamError(.policyViolation, "The client has logged in.")

    /// The log-in was noted, and goes on: an earlier stream comes first, then a resource.
    public mutating func admitted() -> Action {
        guard case .completing(var completion, .admitting) = state else { return .wait }
        switch completion.request.resumption {
        case .resume(let previous, let handled):
            state = .completing(completion, .resuming)
            return .resume(completion.account, previous: previous, handled: handled)
        case .malformed:
            completion.refusal = .failed(.badRequest, handled: nil)
            return bindInline(completion)
        case nil: return bindInline(completion)
        }
    }

    private mutating func bindInline(_ completion: Completion) -> Action {
        guard let bind = completion.request.bind else { return complete(completion) }
        state = .completing(completion, .binding)
        return .bindInline(completion.account, bind)
    }

    /// Without a session: none was asked for, or none could be had, which the missing `<bound/>` says. A resource can be bound as RFC 6120 has it.
    private mutating func complete(_ completion: Completion) -> Action {
        state = .awaitingBind(completion.account)
        return .complete(completion.success(completion.refusal))
    }

    private mutating func complete(
        _ completion: Completion, _ resumption: StreamManagementAnswer?, _ address: FullJID, _ session: InlineSuccess.Session
    ) -> Action {
        state = .bound(address)
        return .complete(completion.success(resumption, session))
    }
}

// MARK: Registration (XEP-0077)

extension ClientStreamMachine {
    /// A request that may come before authentication.
    private static func registrationRequest(_ element: FlatElement, _ negotiation: Negotiation) -> StrangersQuestion? {
        guard negotiation.offersRegistration, element.isNamed("iq", .client), let child = element.root.firstChild,
            child.isNamed("query", .register) || child.isNamed("preauth", .preAuthentication), let id = element.attribute("id"), !id.isEmpty,
            element.attribute("to") == nil || element.attribute("to") == negotiation.domain
        else { return nil }
        guard IQType(of: element.root) == .get || IQType(of: element.root) == .set else { return nil }
        return StrangersQuestion(id: id, to: element.attribute("to"))
    }

    /// What came of a request before authentication. What is refused counts as a failed authentication does.
    public mutating func registered(_ answer: RegistrationAnswer) -> Action {
        guard case .registering(let question, var negotiation) = state else { return .wait }
        switch answer {
        case .form, .registered: break
        case .admitted(let token): negotiation.token = token
        case .refused: negotiation.attemptsLeft -= 1
        }
        guard negotiation.attemptsLeft > 0 else { return end(StreamError(.policyViolation, "Too many refused requests.")) }
        state = .negotiating(negotiation)
        return .answerStranger(id: question.id, from: question.to, answer)
    }
}

// MARK: Resource binding (RFC 6120 §7)

extension ClientStreamMachine {
    private mutating func receiveBind(_ element: FlatElement, _ account: BareJID) -> Action {
        guard element.isNamed("iq", .client), let request = element.firstChild("bind", .bind) else {
            return end(StreamError(.notAuthorized, "A resource is to be bound first."))
        }
        let id = element.attribute("id") ?? ""
        guard IQType(of: element.root) == .set, !id.isEmpty else { return .answer(id: id, .badRequest("not a request to bind")) }
        state = .binding(account, id: id)
        let resource = request.firstChild("resource", .bind)?.text ?? ""
        return .bind(account, resource: resource.isEmpty ? nil : resource)
    }

    /// A session has begun. If the answer is ``Action/wait`` the stream ended meanwhile, and so must the session.
    ///
    /// - Parameter content: what `<bound/>` says of it, where it was asked for inside the log-in.
    public mutating func bound(_ address: FullJID, _ content: ByteBuffer = ByteBuffer()) -> Action {
        switch state {
        case .completing(let completion, .binding): return complete(completion, completion.refusal, address, .bound(address, content))
        case .binding(_, let id):
            state = .bound(address)
            return .confirmBind(address, id: id)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering,
            .completing, .authenticated, .awaitingBind,
            .resuming, .bound, .closing, .closed:
            return .wait
        }
    }

    /// The resource cannot be had; the client may ask for another (RFC 6120 §7.7.2).
    public mutating func refusedBind(_ error: StanzaError) -> Action {
        switch state {
        case .completing(let completion, .binding): return complete(completion)
        case .binding(let account, let id):
            state = .awaitingBind(account)
            return .answer(id: id, error)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering,
            .completing, .authenticated, .awaitingBind,
            .resuming, .bound, .closing, .closed:
            return .wait
        }
    }

    /// What ``received(_:_:)`` does once a session has begun, without its detours: a stanza passes here.
    ///
    /// Stanzas are for the session, except the two requests that are about the stream.
    public mutating func receivedBound(_ element: FlatElement) -> Action {
        guard case .bound(let address) = state else { return .wait }
        guard element.root.isIn(.client) else {
            if element.root.isIn(.streamManagement) { return receivedManagement(element) }
            if let indication = ClientStateIndication(element) { return .indicate(indication) }
            if element.root.isIn(.sasl2) { return end(Self.repeated) }
            return end(element.isNamed("error", .streams) ? nil : StreamError(.unsupportedStanzaType))
        }
        guard element.isNamed("iq", .client), let child = element.root.firstChild, let id = element.attribute("id"),
            child.isIn(.legacySession) || child.isIn(.bind), IQType(of: element.root) == .set, Self.isForServer(element, address)
        else { return .deliver }
        return .answer(id: id, child.isNamed("session", .legacySession) ? nil : .notAllowed)
    }

    /// Whether it has no addressee or the server's domain as such.
    private static func isForServer(_ element: FlatElement, _ address: FullJID) -> Bool {
        guard let to = element.attribute("to") else { return true }
        return (try? BareJID(parsing: to)) == address.bare.domain
    }
}

// MARK: Stream management (XEP-0198)

extension ClientStreamMachine {
    /// Before a resource is bound only an earlier stream can be resumed (§3).
    private mutating func receiveManagement(_ element: FlatElement, _ account: BareJID) -> Action {
        switch StreamManagementRequest(element) {
        case .resume(let previous, let handled):
            state = .resuming(account)
            return .resume(account, previous: previous, handled: handled)
        case .enable, .request, .acknowledge: return .managed(.failed(.unexpectedRequest, handled: nil))
        case nil: return .managed(.failed(.badRequest, handled: nil))
        }
    }

    private func receivedManagement(_ element: FlatElement) -> Action {
        switch StreamManagementRequest(element) {
        case .resume: .managed(.failed(.unexpectedRequest, handled: nil))
        case let request?: .manage(request)
        case nil: .managed(.failed(.badRequest, handled: nil))
        }
    }

    /// The session of the earlier stream goes on here. If the answer is ``Action/wait`` the stream ended meanwhile.
    public mutating func resumed(_ address: FullJID, previous: String, handled: UInt32) -> Action {
        switch state {
        case .resuming:
            state = .bound(address)
            return .managed(.resumed(previous: previous, handled: handled))
        case .completing(let completion, .resuming):
            return complete(completion, .resumed(previous: previous, handled: handled), address, .resumed(address))
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering, .completing, .authenticated,
            .awaitingBind, .binding, .bound, .closing, .closed:
            return .wait
        }
    }

    /// The earlier stream is gone; the client may bind a resource (§5).
    public mutating func refusedResumption(_ condition: StanzaError.Condition, handled: UInt32?) -> Action {
        switch state {
        case .resuming(let account):
            state = .awaitingBind(account)
            return .managed(.failed(condition, handled: handled))
        case .completing(var completion, .resuming):
            completion.refusal = .failed(condition, handled: handled)
            return bindInline(completion)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .concluding, .registering, .completing, .authenticated,
            .awaitingBind, .binding, .bound, .closing, .closed:
            return .wait
        }
    }
}
