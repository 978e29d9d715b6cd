public import MartletXML
public import NIOCore

/// The life of a client's stream from its first header to its end (RFC 6120 §4.3). Pure: events in, actions out.
///
///     awaitingHeader ─▶ negotiating ─▶ startingTLS ─▶ awaitingHeader (with TLS)
///                           ├─▶ registering, and back
///                           └─▶ lookingUp ⇄ authenticating ─▶ authenticated ─▶ awaitingBind ─▶ binding or resuming ─▶ bound
///
/// and from everywhere to `closing` (our end of the stream was sent) and `closed`. Before TLS nothing is taken but
/// STARTTLS where it is required, before authentication nothing but SASL and, where that is offered, registration, before a bound resource nothing but its
/// request (`reliability.md` rule 9). Whoever runs the machine gives it no element while ``isWaiting``.
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
        /// The client has no account yet, and has asked for one (XEP-0077).
        indirect case registering(StrangersQuestion, Negotiation)
        /// Logged in; the new header is to come.
        case authenticated(BareJID)
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
        let offersRegistration: Bool
        var attemptsLeft: Int
        /// What has let a stranger in (XEP-0445).
        var token: String?
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
    }

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
        case challenge([UInt8])
        /// What was given is a request of somebody who has no account: answer it, and come back with ``ClientStreamMachine/registered(_:)``.
        case register(domain: String, token: String?)
        /// Answers a request of such a client, in the name to which it was sent.
        case answerStranger(id: String, from: String?, RegistrationAnswer)
        /// Expect a new header; the limits of an authenticated stream hold from here.
        case succeed(BareJID, additionalData: [UInt8]?)
        case fail(SASLFailure)
        /// The last attempt failed: the stream ends.
        case failFinally(SASLFailure, StreamError)
        /// Bind a resource and come back with ``ClientStreamMachine/bound(_:)`` or ``ClientStreamMachine/refusedBind(_:)``.
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
}

extension ClientStreamEnvironment {
    public func takesRegistrations(at domain: String) -> Bool { false }
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
    /// Whether passwords may be proved in clear: for tests on loopback, and behind proxies that end TLS.
    public var allowsPlaintext: Bool
    /// Authentications that may fail on one stream before it ends.
    public var attemptsMax: Int

    public init(
        mechanisms: [SASLMechanism] = [.scram(.sha512), .scram(.sha256), .scram(.sha1), .plain], offersChannelBinding: Bool = true,
        allowsPlaintext: Bool = false, attemptsMax: Int = 5
    ) {
        self.mechanisms = mechanisms
        self.offersChannelBinding = offersChannelBinding
        self.allowsPlaintext = allowsPlaintext
        self.attemptsMax = attemptsMax
    }

    /// What is offered on a connection with these channel bindings, the strongest first.
    func offer(isSecure: Bool, bindings: [ChannelBinding]) -> [SASLMechanism] {
        guard isSecure || allowsPlaintext else { return [] }
        let bindsChannel = offersChannelBinding && !bindings.isEmpty
        let plus = mechanisms.compactMap { mechanism -> SASLMechanism? in
            switch mechanism {
            case .scram(let hash): bindsChannel ? .scramPlus(hash) : nil
            case .scramPlus, .plain: nil
            }
        }
        return (plus + mechanisms.filter { !$0.bindsChannel }).sorted(by: >)
    }
}

// MARK: What can be asked

extension ClientStreamMachine {
    /// An answer is awaited from this side of the connection: nothing of the client is looked at meanwhile.
    public var isWaiting: Bool {
        switch state {
        case .startingTLS, .lookingUp, .registering, .binding, .resuming: true
        case .awaitingHeader, .negotiating, .authenticating, .authenticated, .awaitingBind, .bound, .closing, .closed: false
        }
    }

    /// Whether the client has proved who it is.
    public var isAuthenticated: Bool {
        switch state {
        case .authenticated, .awaitingBind, .binding, .resuming, .bound: true
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .registering, .closing, .closed: false
        }
    }

    /// Our end of the stream has been sent, or there is nothing left to send it on.
    public var isEnding: Bool {
        switch state {
        case .closing, .closed: true
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .registering, .authenticated, .awaitingBind, .binding, .resuming,
            .bound:
            false
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
                return Self.negotiation(header, security, environment)
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
        case .negotiating, .startingTLS, .authenticating, .lookingUp, .registering, .awaitingBind, .binding, .resuming, .bound:
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
        _ header: StreamHeader, _ security: Security, _ environment: some ClientStreamEnvironment
    ) -> (State, StreamFeatures) {
        let policy = environment.policy
        let mechanisms = policy.offer(isSecure: security.isSecure, bindings: security.bindings)
        let startTLS: StreamFeatures.StartTLS =
            security.isSecure || !environment.canStartTLS(for: header.domain) ? .absent : policy.allowsPlaintext ? .offered : .required
        let offersRegistration = !mechanisms.isEmpty && environment.takesRegistrations(at: header.domain)
        let negotiation = Negotiation(
            domain: header.domain, security: security, startTLS: startTLS, mechanisms: mechanisms, offersRegistration: offersRegistration,
            attemptsLeft: policy.attemptsMax)
        let bindings = mechanisms.contains { $0.bindsChannel } ? security.bindings.map(\.kind) : []
        return (.negotiating(negotiation), .negotiation(startTLS: startTLS, mechanisms: mechanisms, bindings: bindings, offersRegistration: offersRegistration))
    }

    /// An element directly under the header. Asks for nothing that takes time; see ``isWaiting``.
    public mutating func received(_ element: FlatElement, _ environment: some ClientStreamEnvironment) -> Action {
        if element.isNamed("error", .streams) { return receivedError() }
        switch state {
        case .negotiating(let negotiation): return receive(element, negotiation, environment)
        case .authenticating(let attempt, let negotiation): return receive(element, attempt, negotiation)
        case .awaitingBind(let account):
            if element.root.isIn(.streamManagement) { return receiveManagement(element, account) }
            // Without a session there is nothing to hold back; a client cannot rely on more (XEP-0352 §5).
            return ClientStateIndication(element) == nil ? receiveBind(element, account) : .wait
        case .bound: return receivedBound(element)
        case .startingTLS, .lookingUp, .registering, .binding, .resuming: return end(StreamError(.policyViolation, "An answer is to come first."))
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
        if element.isNamed("auth", .sasl) { return authenticate(element, negotiation, environment) }
        if element.isNamed("abort", .sasl) || element.isNamed("response", .sasl) {
            return fail(.malformedRequest("No exchange is under way."), negotiation)
        }
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
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .registering, .authenticated, .awaitingBind, .binding, .resuming, .bound:
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
        case .awaitingHeader, .negotiating, .authenticating, .lookingUp, .registering, .authenticated, .awaitingBind, .binding, .resuming, .bound, .closing, .closed:
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
        case .negotiating, .authenticating, .lookingUp, .registering, .awaitingBind, .binding, .resuming, .bound: return end(error)
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
    private mutating func authenticate(
        _ element: FlatElement, _ negotiation: Negotiation, _ environment: some ClientStreamEnvironment
    ) -> Action {
        guard let mechanism = SASLMechanism(name: element.attribute("mechanism") ?? ""), negotiation.mechanisms.contains(mechanism) else {
            let needsTLS = negotiation.mechanisms.isEmpty && negotiation.startTLS == .required
            return fail(needsTLS ? .encryptionRequired : .invalidMechanism, negotiation)
        }
        let bindsChannel = negotiation.mechanisms.contains { $0.bindsChannel }
        let offer = SASLOffer(
            domain: negotiation.domain, mechanisms: negotiation.mechanisms, bindings: bindsChannel ? negotiation.security.bindings : [],
            tls: negotiation.security.version, nonce: environment.nonce())
        let exchange = SASLServerExchange(mechanism, offer: offer)
        return step(Attempt(mechanism: mechanism, exchange: exchange), element, negotiation)
    }

    private mutating func receive(_ element: FlatElement, _ attempt: Attempt, _ negotiation: Negotiation) -> Action {
        if element.isNamed("response", .sasl) { return step(attempt, element, negotiation) }
        if element.isNamed("abort", .sasl) { return fail(.aborted, negotiation) }
        if element.isNamed("auth", .sasl) { return fail(.malformedRequest("An exchange is under way."), negotiation) }
        return end(StreamError(.notAuthorized))
    }

    private mutating func step(_ attempt: Attempt, _ element: FlatElement, _ negotiation: Negotiation) -> Action {
        var attempt = attempt
        do throws(SASLFailure) {
            let payload = try SASLPayload.decode(element.text.utf8)
            return perform(attempt.exchange.step(payload), attempt, negotiation)
        } catch {
            return fail(error, negotiation)
        }
    }

    /// What the account source found out. Nobody may wait for it any more: the stream may have ended.
    public mutating func answered(_ answer: SASLAnswer) -> Action {
        switch state {
        case .lookingUp(var attempt, let negotiation):
            return perform(attempt.exchange.provide(answer), attempt, negotiation)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .registering, .authenticated, .awaitingBind, .binding, .resuming, .bound, .closing, .closed:
            return .wait
        }
    }

    private mutating func perform(_ step: SASLStep, _ attempt: Attempt, _ negotiation: Negotiation) -> Action {
        switch step {
        case .challenge(let message):
            state = .authenticating(attempt, negotiation)
            return .challenge(message)
        case .lookUp(let identity, let question):
            state = .lookingUp(attempt, negotiation)
            return .lookUp(attempt.mechanism, identity, question)
        case .success(let identity, let additionalData):
            state = .authenticated(identity.account)
            return .succeed(identity.account, additionalData: additionalData)
        case .failure(let failure):
            return fail(failure, negotiation)
        }
    }

    private mutating func fail(_ failure: SASLFailure, _ negotiation: Negotiation) -> Action {
        var negotiation = negotiation
        negotiation.attemptsLeft -= 1
        guard negotiation.attemptsLeft > 0 else {
            state = .closing
            return .failFinally(failure, StreamError(.policyViolation, "Too many failed authentications."))
        }
        state = .negotiating(negotiation)
        return .fail(failure)
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
    public mutating func bound(_ address: FullJID) -> Action {
        switch state {
        case .binding(_, let id):
            state = .bound(address)
            return .confirmBind(address, id: id)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .registering, .authenticated, .awaitingBind, .resuming, .bound, .closing, .closed:
            return .wait
        }
    }

    /// The resource cannot be had; the client may ask for another (RFC 6120 §7.7.2).
    public mutating func refusedBind(_ error: StanzaError) -> Action {
        switch state {
        case .binding(let account, let id):
            state = .awaitingBind(account)
            return .answer(id: id, error)
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .registering, .authenticated, .awaitingBind, .resuming, .bound, .closing, .closed:
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
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .registering, .authenticated, .awaitingBind, .binding, .bound, .closing,
            .closed:
            return .wait
        }
    }

    /// The earlier stream is gone; the client may bind a resource (§5).
    public mutating func refusedResumption(_ condition: StanzaError.Condition, handled: UInt32?) -> Action {
        switch state {
        case .resuming(let account):
            state = .awaitingBind(account)
            return .managed(.failed(condition, handled: handled))
        case .awaitingHeader, .negotiating, .startingTLS, .authenticating, .lookingUp, .registering, .authenticated, .awaitingBind, .binding, .bound, .closing,
            .closed:
            return .wait
        }
    }
}
