public import MartletXML

/// A stream that another server has opened, from its first header to its end (RFC 6120 §4, XEP-0178, XEP-0220). Pure: events in, actions out.
///
///     awaitingHeader ─▶ open ─▶ startingTLS ─▶ awaitingHeader (with TLS)
///          └─▶ looking ─▶ │
///                         └─▶ authenticated ─▶ open
///
/// and from everywhere to `closing` (our end of the stream was sent) and `closed`. While it is open the other server proves for pairs of
/// domains that it speaks for the one to the other, by SASL EXTERNAL or by dialback; stanzas are taken for what was proved.
public struct IncomingPeerMachine: Sendable {
    private enum State: Sendable {
        case awaitingHeader(isSecure: Bool, Expectation?)
        /// It is being looked up whether anything else speaks for the certificate that the other server has shown.
        indirect case looking(Greeting)
        indirect case open(Conversation)
        /// `<proceed/>` has been sent.
        case startingTLS(Expectation)
        /// EXTERNAL has succeeded; the new header is to come.
        indirect case authenticated(Conversation)
        /// The end of our stream has been sent; the other server's is awaited for a bounded time.
        case closing
        case closed
    }

    /// What an earlier header on the connection has said.
    private struct Expectation: Sendable {
        var local: String
        var remote: String?
    }

    /// A header that is good, and has not been answered.
    private struct Greeting: Sendable {
        var header: PeerStreamHeader
        var local: String
        var isSecure: Bool
        var streamID: String
    }

    private struct Conversation: Sendable {
        var local: String
        /// Who the other server says it is; old ones do not say.
        var remote: String?
        let streamID: String
        let isSecure: Bool
        var features: PeerFeatures
        /// What was proved.
        var pairs: Set<DomainPair> = []
        /// What is being asked about.
        var asked: Set<DomainPair> = []
        var attemptsLeft = IncomingPeerMachine.failuresMax
        var isBidirectional = false
        /// Who was authenticated by EXTERNAL.
        var isAuthenticated = false
    }

    /// Authentications that may fail on one stream before it ends.
    public static let failuresMax = 5
    /// Pairs of domains that one stream may be authenticated for.
    public static let pairsMax = 64
    /// Keys of one stream that may be asked about at a time.
    public static let askedMax = 8

    /// What whoever runs the machine is to do. ``write(to:)`` says what goes on the wire; the rest is named here.
    public enum Action: Hashable, Sendable {
        case wait
        case open(PeerStreamHeader, PeerFeatures?)
        /// Look up whether DNS has something to say for what the domain's server has shown, for a bounded time, and come back with
        /// ``IncomingPeerMachine/looked(_:)``. Nothing of the other server is looked at meanwhile.
        case look(domain: String)
        /// Drop every byte that came in clear, then start TLS with the certificate of the domain; if there were any, drop the connection
        /// (CVE-2011-0411).
        case proceed(domain: String)
        /// TLS cannot start now (RFC 6120 §5.4.2.2): the connection closes.
        case refuseTLS
        /// Stanzas of the pair are taken from here; expect a new header.
        case succeed(DomainPair)
        case fail(SASLFailure)
        /// The last attempt failed: the stream ends.
        case failFinally(SASLFailure, StreamError)
        /// Ask whoever is found by the name of `DialbackElement.from` whether the key is its own, on another connection, and come back with
        /// ``IncomingPeerMachine/verified(_:_:)``.
        case verify(DialbackElement, streamID: String)
        /// Stanzas of the pair are taken from here.
        case accept(DomainPair, DialbackElement)
        /// Answers about a key, or about why nothing is said of one.
        case answer(DialbackElement)
        /// The other server may be sent stanzas on this stream, for what it has proved to be (XEP-0288).
        case goBothWays
        /// An answer to what this side has asked.
        case answered(DialbackElement)
        /// What the other server says about the stream (XEP-0198).
        case manage
        /// What was given is a stanza.
        case deliver
        /// Send the header if there is one, the error if there is one, and the end of the stream; wait for the other's for a bounded time.
        case close(StreamError?, PeerStreamHeader?)
        /// Close the connection, after the end of the stream if it has not been sent.
        case finish(sendsEnd: Bool)
    }

    private var state: State

    /// - Parameter isSecure: whether the connection began with TLS (XEP-0368).
    public init(isSecure: Bool) { state = .awaitingHeader(isSecure: isSecure, nil) }
}

/// What the machine asks of the server around it, and by what it decides.
public protocol IncomingPeerEnvironment {
    /// A domain of ours, for headers that answer a wrong one.
    var defaultDomain: String { get }
    /// What is announced once the other server is authenticated, and limits always.
    var offersManagement: Bool { get }
    var limits: PeerFeatures.Limits { get }
    func serves(_ domain: String) -> Bool
    /// Whether there is a certificate for the domain.
    func canStartTLS(for domain: String) -> Bool
    /// Unguessable, and never the same.
    func streamID() -> String
    func policy(of remote: String) -> PeerPolicy
    /// Whether what the other server has shown is good for a domain.
    func certificate(for remote: String) -> CertificateVerdict
    /// Whether more may be found out about a certificate that is not good for the domain.
    func isWorthLooking(for remote: String) -> Bool
    /// Whether a key is one that this server has made.
    func isOurs(_ request: DialbackElement) -> Bool
}

// MARK: What can be asked

extension IncomingPeerMachine {
    /// An answer is awaited from this side of the connection: nothing of the other server is looked at meanwhile.
    public var isWaiting: Bool {
        switch state {
        case .startingTLS, .looking: true
        case .awaitingHeader, .open, .authenticated, .closing, .closed: false
        }
    }

    public var isEnding: Bool {
        switch state {
        case .closing, .closed: true
        case .awaitingHeader, .looking, .open, .startingTLS, .authenticated: false
        }
    }

    public var isClosed: Bool {
        if case .closed = state { true } else { false }
    }

    /// What the other server has proved on this stream.
    public var pairs: Set<DomainPair> {
        switch state {
        case .open(let conversation), .authenticated(let conversation): conversation.pairs
        case .awaitingHeader, .looking, .startingTLS, .closing, .closed: []
        }
    }

    /// Whether the other server asked to be sent stanzas on this stream.
    public var isBidirectional: Bool {
        switch state {
        case .open(let conversation), .authenticated(let conversation): conversation.isBidirectional
        case .awaitingHeader, .looking, .startingTLS, .closing, .closed: false
        }
    }

    /// Who the other server says it is.
    public var remote: String? {
        switch state {
        case .open(let conversation), .authenticated(let conversation): conversation.remote
        case .awaitingHeader(_, let expectation): expectation?.remote
        case .looking(let greeting): greeting.header.from
        case .startingTLS(let expectation): expectation.remote
        case .closing, .closed: nil
        }
    }
}

// MARK: From the other server

extension IncomingPeerMachine {
    /// The other server's header.
    public mutating func opened(_ element: FlatElement, _ environment: some IncomingPeerEnvironment) -> Action {
        switch state {
        case .awaitingHeader(let isSecure, let expectation): return open(element, isSecure, expectation, environment)
        case .authenticated(let conversation): return openAgain(element, conversation, environment)
        case .closing, .closed: return .wait
        case .looking: return end(StreamError(.badFormat, "A stream has one header."), environment)
        case .open, .startingTLS: return end(StreamError(.badFormat, "A stream has one header."))
        }
    }

    private mutating func open(
        _ element: FlatElement, _ isSecure: Bool, _ expectation: Expectation?, _ environment: some IncomingPeerEnvironment
    ) -> Action {
        let id = environment.streamID()
        do throws(StreamError) {
            let header = try PeerStreamHeader(element)
            let local = try Self.local(header, expectation, environment)
            try Self.check(header.from, expectation, environment)
            let greeting = Greeting(header: header, local: local, isSecure: isSecure, streamID: id)
            guard isSecure, let remote = header.from, case .invalid = environment.certificate(for: remote), environment.isWorthLooking(for: remote)
            else { return open(greeting, environment) }
            state = .looking(greeting)
            return .look(domain: remote)
        } catch {
            state = .closing
            return .close(error, PeerStreamHeader(from: environment.defaultDomain, to: nil, id: id))
        }
    }

    private mutating func open(_ greeting: Greeting, _ environment: some IncomingPeerEnvironment) -> Action {
        let (header, local) = (greeting.header, greeting.local)
        let features = Self.features(local, header.from, greeting.isSecure, environment)
        state = .open(Conversation(local: local, remote: header.from, streamID: greeting.streamID, isSecure: greeting.isSecure, features: features))
        return .open(Self.answer(header, from: local, greeting.streamID), header.speaksXMPP ? features : nil)
    }

    /// Whatever there was to be found out about the certificate is known: the environment says by now whether it is good.
    public mutating func looked(_ environment: some IncomingPeerEnvironment) -> Action {
        if case .looking(let greeting) = state { open(greeting, environment) } else { .wait }
    }

    /// Old servers leave out `to`: then it is the first domain that is meant.
    private static func local(
        _ header: PeerStreamHeader, _ expectation: Expectation?, _ environment: some IncomingPeerEnvironment
    ) throws(StreamError) -> String {
        let local = header.to ?? environment.defaultDomain
        guard environment.serves(local) else { throw StreamError(.hostUnknown, "\(local) is not served here.") }
        if let expectation, expectation.local != local {
            throw StreamError(.improperAddressing, "The stream was opened for another domain before.")
        }
        return local
    }

    private static func check(_ remote: String?, _ expectation: Expectation?, _ environment: some IncomingPeerEnvironment) throws(StreamError) {
        guard let remote else { return }
        if environment.serves(remote) { throw StreamError(.invalidFrom, "\(remote) is served here.") }
        if let refusal = environment.policy(of: remote).refusal { throw StreamError(.policyViolation, refusal) }
        if let before = expectation?.remote, before != remote { throw StreamError(.invalidFrom, "The stream was opened by another domain before.") }
    }

    private static func answer(_ header: PeerStreamHeader, from local: String, _ id: String) -> PeerStreamHeader {
        var answer = PeerStreamHeader(from: local, to: header.from, id: id)
        answer.speaksXMPP = header.speaksXMPP
        return answer
    }

    /// What is offered to who is not authenticated.
    private static func features(
        _ local: String, _ remote: String?, _ isSecure: Bool, _ environment: some IncomingPeerEnvironment
    ) -> PeerFeatures {
        var features = PeerFeatures()
        features.limits = environment.limits
        let policy = remote.map { environment.policy(of: $0) }
        if !isSecure, environment.canStartTLS(for: local) {
            features.startTLS = policy?.requiresEncryption ?? true ? .required : .offered
        }
        guard isSecure || policy?.requiresEncryption == false else { return features }
        if isSecure, let remote, environment.certificate(for: remote) == .valid { features.external = true }
        features.dialback = true
        features.bidirectional = policy.map { $0.bidirection != .off } ?? false
        return features
    }

    /// The header after EXTERNAL: of the same two domains (RFC 6120 §6.4.6).
    private mutating func openAgain(_ element: FlatElement, _ before: Conversation, _ environment: some IncomingPeerEnvironment) -> Action {
        let id = environment.streamID()
        do throws(StreamError) {
            let header = try PeerStreamHeader(element)
            guard header.from == nil || header.from == before.remote else {
                throw StreamError(.invalidFrom, "The 'from' is not the authenticated domain.")
            }
            guard header.to == nil || header.to == before.local else {
                throw StreamError(.improperAddressing, "The stream was opened for another domain before.")
            }
            var features = PeerFeatures()
            features.limits = environment.limits
            features.dialback = true
            features.management = environment.offersManagement
            var conversation = Conversation(local: before.local, remote: before.remote, streamID: id, isSecure: true, features: features)
            conversation.pairs = before.pairs
            conversation.isBidirectional = before.isBidirectional
            conversation.isAuthenticated = true
            state = .open(conversation)
            return .open(PeerStreamHeader(from: before.local, to: before.remote, id: id), features)
        } catch {
            state = .closing
            return .close(error, PeerStreamHeader(from: before.local, to: before.remote, id: id))
        }
    }

    /// An element directly under the header.
    public mutating func received(_ element: FlatElement, _ environment: some IncomingPeerEnvironment) -> Action {
        switch state {
        case .open(let conversation): return receive(element, conversation, environment)
        case .awaitingHeader, .authenticated: return end(StreamError(.badFormat, "A stream begins with its header."), environment)
        case .looking: return end(StreamError(.policyViolation, "An answer is to come first."), environment)
        case .startingTLS: return end(StreamError(.policyViolation, "An answer is to come first."))
        case .closing, .closed: return .wait
        }
    }

    private mutating func receive(_ element: FlatElement, _ conversation: Conversation, _ environment: some IncomingPeerEnvironment) -> Action {
        let root = element.root
        if root.isIn(.client) {
            return conversation.pairs.isEmpty ? end(StreamError(.notAuthorized, "Nothing has been proved on this stream.")) : .deliver
        }
        if root.isIn(.dialback) { return dialback(element, conversation, environment) }
        if root.isIn(.streamManagement) {
            return conversation.isAuthenticated ? .manage : end(StreamError(.notAuthorized))
        }
        if root.isNamed("error", .streams) { return end(nil) }
        if root.isNamed("starttls", .startTLS) { return startTLS(conversation) }
        if root.isNamed("bidi", .bidirectional) { return goBothWays(conversation) }
        if root.isNamed("auth", .sasl) { return authenticate(element, conversation, environment) }
        if root.isNamed("abort", .sasl) || root.isNamed("response", .sasl) {
            return fail(.malformedRequest("No exchange is under way."), conversation)
        }
        return end(StreamError(.unsupportedStanzaType))
    }

    private mutating func startTLS(_ conversation: Conversation) -> Action {
        guard conversation.features.startTLS != .absent else {
            state = .closing
            return .refuseTLS
        }
        state = .startingTLS(Expectation(local: conversation.local, remote: conversation.remote))
        return .proceed(domain: conversation.local)
    }

    /// Before authentication only (XEP-0288 §2.2).
    private mutating func goBothWays(_ conversation: Conversation) -> Action {
        guard conversation.features.bidirectional, conversation.pairs.isEmpty else {
            return end(StreamError(.policyViolation, "This stream is for one direction."))
        }
        var conversation = conversation
        conversation.isBidirectional = true
        state = .open(conversation)
        return .goBothWays
    }

    /// The end of the other server's stream.
    public mutating func peerClosed() -> Action {
        defer { state = .closed }
        switch state {
        case .closing: return .finish(sendsEnd: false)
        case .closed: return .wait
        case .awaitingHeader, .looking, .open, .startingTLS, .authenticated: return .finish(sendsEnd: true)
        }
    }

    /// Bytes that are no XMPP.
    public mutating func failed(_ error: XMLError, _ environment: some IncomingPeerEnvironment) -> Action {
        end(StreamError(reporting: error), environment)
    }
}

// MARK: SASL EXTERNAL (RFC 6120 §6, XEP-0178 §3)

extension IncomingPeerMachine {
    private mutating func authenticate(
        _ element: FlatElement, _ conversation: Conversation, _ environment: some IncomingPeerEnvironment
    ) -> Action {
        guard element.root.attributeEquals("mechanism", "EXTERNAL"), conversation.features.external, let remote = conversation.remote else {
            let needsTLS = !conversation.isSecure && conversation.features.startTLS == .required
            return fail(needsTLS ? .encryptionRequired : .invalidMechanism, conversation)
        }
        do throws(SASLFailure) {
            try Self.checkIdentity(element.text, remote)
        } catch {
            return fail(error, conversation)
        }
        // Looked at anew: it may have expired since the features were written.
        guard environment.certificate(for: remote) == .valid else { return fail(.notAuthorized, conversation) }
        var conversation = conversation
        let pair = DomainPair(remote: remote, local: conversation.local)
        conversation.pairs = [pair]
        state = .authenticated(conversation)
        return .succeed(pair)
    }

    /// Who it wants to be, if it says so, is who the header says that it is.
    private static func checkIdentity(_ text: String, _ remote: String) throws(SASLFailure) {
        guard let payload = try SASLPayload.decode(text.utf8), !payload.isEmpty else { return }
        let name = String(decoding: payload, as: UTF8.self)
        guard let address = try? BareJID(parsing: name), address.isDomain, address.domainpart == remote else {
            throw .invalidAuthzid("The identity is not that of the stream.")
        }
    }

    private mutating func fail(_ failure: SASLFailure, _ conversation: Conversation) -> Action {
        var conversation = conversation
        conversation.attemptsLeft -= 1
        guard conversation.attemptsLeft > 0 else {
            state = .closing
            return .failFinally(failure, Self.tooManyFailures)
        }
        state = .open(conversation)
        return .fail(failure)
    }

    private static let tooManyFailures = StreamError(.policyViolation, "Too many failed authentications.")
}

// MARK: Dialback (XEP-0220)

extension IncomingPeerMachine {
    private mutating func dialback(
        _ element: FlatElement, _ conversation: Conversation, _ environment: some IncomingPeerEnvironment
    ) -> Action {
        let said: DialbackElement
        do throws(StreamError) {
            guard let read = try DialbackElement(element) else { return end(StreamError(.badFormat, "This makes no sense as dialback.")) }
            said = read
        } catch {
            return end(error)
        }
        if said.outcome != nil { return .answered(said) }
        switch said.kind {
        case .verify: return .answer(said.answer(verdict(on: said, environment)))
        case .result: return authorize(said, conversation, environment)
        }
    }

    /// Somebody asks whether a key is this server's.
    private func verdict(on request: DialbackElement, _ environment: some IncomingPeerEnvironment) -> DialbackElement.Outcome {
        guard environment.serves(request.to) else { return .error(.itemNotFound) }
        return environment.isOurs(request) ? .valid : .invalid
    }

    /// §2.2.1. Who has a certificate for the domain needs no key: then nobody is asked.
    private mutating func authorize(
        _ request: DialbackElement, _ conversation: Conversation, _ environment: some IncomingPeerEnvironment
    ) -> Action {
        let pair = DomainPair(remote: request.from, local: request.to)
        if let error = refusal(of: pair, conversation, environment) { return .answer(request.answer(.error(error))) }
        var conversation = conversation
        if conversation.isSecure, environment.certificate(for: pair.remote) == .valid {
            conversation.pairs.insert(pair)
            state = .open(conversation)
            return .accept(pair, request.answer(.valid))
        }
        guard environment.policy(of: pair.remote).authentication == .dialback else { return .answer(request.answer(.error(.notAuthorized))) }
        guard !conversation.asked.contains(pair) else { return .wait }
        guard conversation.asked.count < Self.askedMax else { return .answer(request.answer(.error(.resourceConstraint))) }
        conversation.asked.insert(pair)
        state = .open(conversation)
        return .verify(request, streamID: conversation.streamID)
    }

    private func refusal(
        of pair: DomainPair, _ conversation: Conversation, _ environment: some IncomingPeerEnvironment
    ) -> StanzaError.Condition? {
        guard environment.serves(pair.local) else { return .itemNotFound }
        let policy = environment.policy(of: pair.remote)
        if environment.serves(pair.remote) || policy.refusal != nil { return .forbidden }
        if policy.requiresEncryption, !conversation.isSecure { return .policyViolation }
        return conversation.pairs.count < Self.pairsMax ? nil : .resourceConstraint
    }

    /// Whoever is found by the name of the domain has said what the key is, or could not be asked.
    public mutating func verified(_ request: DialbackElement, _ outcome: DialbackElement.Outcome) -> Action {
        guard case .open(var conversation) = state else { return .wait }
        let pair = DomainPair(remote: request.from, local: request.to)
        guard conversation.asked.remove(pair) != nil else { return .wait }
        switch outcome {
        case .valid:
            conversation.pairs.insert(pair)
            state = .open(conversation)
            return .accept(pair, request.answer(.valid))
        case .invalid, .error:
            conversation.attemptsLeft -= 1
            guard conversation.attemptsLeft > 0 else { return end(Self.tooManyFailures) }
            state = .open(conversation)
            return .answer(request.answer(outcome))
        }
    }
}

// MARK: From this server

extension IncomingPeerMachine {
    /// The handshake is done.
    public mutating func secured() {
        if case .startingTLS(let expectation) = state { state = .awaitingHeader(isSecure: true, expectation) }
    }

    /// This server ends the stream: it stops, an operator says so, a deadline has passed.
    public mutating func end(_ error: StreamError?, _ environment: some IncomingPeerEnvironment) -> Action {
        switch state {
        case .awaitingHeader, .authenticated:
            state = .closing
            return .close(error, PeerStreamHeader(from: environment.defaultDomain, to: nil, id: environment.streamID()))
        case .looking(let greeting):
            state = .closing
            return .close(error, Self.answer(greeting.header, from: greeting.local, greeting.streamID))
        case .startingTLS:
            // Nothing of ours can be read between `<proceed/>` and the end of the handshake.
            state = .closed
            return .finish(sendsEnd: false)
        case .open: return end(error)
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

extension IncomingPeerMachine.Action {
    /// Writes what the action puts on the wire; nothing for those that only say what to do.
    public func write(to writer: inout XMLWriter) {
        switch self {
        case .wait, .look, .verify, .goBothWays, .answered, .manage, .deliver: break
        case .open(let header, let features):
            header.write(to: &writer)
            features?.write(to: &writer)
        case .proceed: writer.element("proceed", .startTLS)
        case .refuseTLS:
            writer.element("failure", .startTLS)
            writer.streamEnd()
        case .succeed: writer.element("success", .sasl)
        case .fail(let failure): failure.write(to: &writer)
        case .failFinally(let failure, let error):
            failure.write(to: &writer)
            error.write(to: &writer)
            writer.streamEnd()
        case .accept(_, let answer), .answer(let answer): answer.write(to: &writer)
        case .close(let error, let header):
            header?.write(to: &writer)
            error?.write(to: &writer)
            writer.streamEnd()
        case .finish(let sendsEnd):
            if sendsEnd { writer.streamEnd() }
        }
    }
}
