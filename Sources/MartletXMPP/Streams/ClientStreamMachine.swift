public import MartletXML

/// The life of a client's stream from its first header to its end (RFC 6120 §4.3). Pure: events in, actions out.
///
///     awaitingHeader ─▶ negotiating ─▶ startingTLS ─▶ awaitingHeader (with TLS)
///                           ├─▶ registering, and back
///                           └─▶ lookingUp ⇄ authenticating
///                                   ├─▶ authenticated ─▶ awaitingBind ─▶ binding or resuming ─▶ bound
///                                   └─▶ upgrading or not ─▶ concluding or not ─▶ completing ─▶ bound, or awaitingBind
///
/// and from everywhere to `closing` (our end of the stream was sent) and `closed`. Before TLS nothing is taken but
/// STARTTLS where it is required, before authentication nothing but SASL and, where that is offered, registration, before a bound resource nothing but its
/// request (`reliability.md` rule 9). Whoever runs the machine gives it no element while ``isWaiting``.
///
/// A log-in in the profile of RFC 6120 goes by `authenticated`, with a second header; one of XEP-0388 by `completing`, where everything is done
/// that the client asked for with it. The exchange is the same (``SASLProfile``). Where the client would make up keys that its account lacks (XEP-0480),
/// `upgrading` comes first; where it says something of tokens (XEP-0484), `concluding`: whoever has proved who it is may be refused yet.
public struct ClientStreamMachine: Sendable {
    var state: State
    /// Of which application the password was by which the client has come in, if it was not the account's own (``ApplicationKeys``).
    public internal(set) var application: String?

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

// MARK: What can be asked

extension ClientStreamMachine {
    /// Who is to say something now.
    private enum Turn {
        /// The client: its header.
        case header
        /// The client: an element.
        case client
        /// This side of the connection: an answer.
        case server
        /// Nobody, but for the end of the client's stream.
        case nobody
    }

    private var turn: Turn {
        switch state {
        case .awaitingHeader, .authenticated: .header
        case .negotiating, .authenticating, .upgrading(_, .requested, _), .upgrading(_, .described, _), .awaitingBind, .bound: .client
        case .startingTLS, .lookingUp, .upgrading(_, .seeking, _), .upgrading(_, .writing, _), .concluding, .registering, .completing, .binding, .resuming: .server
        case .closing, .closed: .nobody
        }
    }

    /// An answer is awaited from this side of the connection: nothing of the client is looked at meanwhile.
    public var isWaiting: Bool { turn == .server }

    /// Our end of the stream has been sent, or there is nothing left to send it on.
    public var isEnding: Bool { turn == .nobody }

    /// Whether the client has proved who it is.
    public var isAuthenticated: Bool {
        switch state {
        case .authenticated, .completing, .awaitingBind, .binding, .resuming, .bound: true
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .upgrading, .concluding, .registering, .closing, .closed: false
        }
    }

    /// Memory that is held for what somebody asks for who has not proved who it is, in bytes.
    public var heldByteCount: Int {
        switch state {
        case .authenticating(let attempt, _), .lookingUp(let attempt, _): attempt.heldByteCount
        case .upgrading(let upgrade, _, _): upgrade.completion.request.bind?.byteCount ?? 0
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
                let login = LoginPolicy(
                    environment.policy,
                    on: LoginConnection(
                        at: header.domain, from: environment.origin, isSecure: security.isSecure, bindings: security.bindings,
                        environment.certification(at: header.domain), bearer: environment.bearerOffer(at: header.domain),
                        kerberos: environment.kerberos(at: header.domain)))
                guard !login.isClosed else { throw StreamError(.policyViolation, login.closure) }
                return Self.negotiation(header, security, login, environment)
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
        case .negotiating, .authenticating, .awaitingBind, .bound, .startingTLS, .lookingUp, .upgrading, .concluding, .registering, .completing, .binding,
            .resuming:
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
        _ header: StreamHeader, _ security: Security, _ login: LoginPolicy, _ environment: some ClientStreamEnvironment
    ) -> (State, StreamFeatures) {
        let policy = environment.policy
        let (mechanisms, bindings, tokens, upgrades) = (login.mechanisms, login.bindings, login.tokens, login.upgrades)
        let startTLS: StreamFeatures.StartTLS =
            security.isSecure || !environment.canStartTLS(for: header.domain) ? .absent : policy.allowsPlaintext ? .offered : .required
        let offersRegistration = login.takesStrangers && environment.takesRegistrations(at: header.domain)
        let negotiation = Negotiation(
            domain: header.domain, security: security, startTLS: startTLS, mechanisms: mechanisms, tokens: tokens, upgrades: upgrades,
            certified: login.connection.certification.certified, offersRegistration: offersRegistration, login: login, from: header.from,
            attemptsLeft: policy.attemptsMax)
        var inline = environment.inlineOffer(at: header.domain)
        inline.tokens = tokens
        inline.upgrades = upgrades
        let features = StreamFeatures.negotiation(
            startTLS: startTLS, mechanisms: mechanisms, bindings: bindings.map(\.kind), offersRegistration: offersRegistration, inline: inline,
            kerberosHost: mechanisms.contains(.gssapi) ? login.connection.kerberos?.hostname : nil)
        return (.negotiating(negotiation), features)
    }

    /// An element directly under the header. Asks for nothing that takes time; see ``isWaiting``.
    public mutating func received(_ element: FlatElement, _ environment: some ClientStreamEnvironment) -> Action {
        if element.isNamed("error", .streams) { return receivedError() }
        switch state {
        case .negotiating(let negotiation): return receive(element, negotiation, environment)
        case .authenticating(let attempt, let negotiation): return receive(element, attempt, negotiation)
        case .upgrading(let upgrade, let step, let negotiation): return receive(element, upgrade, step, negotiation)
        case .awaitingBind(let account):
            if element.root.isIn(.streamManagement) { return receiveManagement(element, account) }
            if element.root.isIn(.sasl2) { return end(Self.repeated) }
            // Without a session there is nothing to hold back; a client cannot rely on more (XEP-0352 §5).
            return ClientStateIndication(element) == nil ? receiveBind(element, account) : .wait
        case .bound: return receivedBound(element)
        case .startingTLS, .lookingUp, .concluding, .registering, .completing, .binding, .resuming:
            return end(Self.early)
        case .awaitingHeader, .authenticated: return end(StreamError(.badFormat, "A stream begins with its header."), environment)
        case .closing, .closed: return .wait
        }
    }

    static let early = StreamError(.policyViolation, "An answer is to come first.")

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
        guard !isClosed else { return .wait }
        // A header that is empty (`<stream:stream …/>`) is answered before it is closed.
        return .finish(sendsEnd: !isEnding)
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
        if case .startingTLS(let domain) = state { state = .awaitingHeader(.tls(bindings, version: version), domain: domain) }
        return .wait
    }

    /// The server ends the stream: it stops, an administrator says so, a deadline has passed.
    public mutating func end(_ error: StreamError?, _ environment: some ClientStreamEnvironment) -> Action {
        if case .startingTLS = state {
            // Nothing of ours can be read between `<proceed/>` and the end of the handshake.
            state = .closed
            return .finish(sendsEnd: false)
        }
        switch turn {
        case .header:
            state = .closing
            return .close(error, ServerStreamHeader(from: environment.defaultDomain, id: environment.streamID()))
        case .client, .server: return end(error)
        case .nobody: return .wait
        }
    }

    /// The connection is gone, or will be now.
    public mutating func transportLost() { state = .closed }

    /// Our header has been sent.
    mutating func end(_ error: StreamError?) -> Action {
        state = .closing
        return .close(error, nil)
    }
}
