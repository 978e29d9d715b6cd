public import MartletXML

/// A stream that this server opens to another, from its header to its end (RFC 6120 §4, XEP-0178, XEP-0220). Pure: events in, actions out.
///
///     awaitingHeader ─▶ awaitingFeatures ─▶ startingTLS ─▶ awaitingHeader (with TLS)
///                             ├─▶ authenticating ─▶ awaitingHeader (authenticated) ─▶ ready
///                             ├─▶ awaitingResult ─▶ ready
///                             └─▶ asking
public struct OutgoingPeerMachine: Sendable {
    /// What the stream is for.
    public enum Purpose: Hashable, Sendable {
        /// Sending stanzas of ``DomainPair/local`` to ``DomainPair/remote``.
        case stanzas
        /// Asking whether keys are the other server's (XEP-0220 §2.1.2).
        case verification
    }

    private enum State: Sendable {
        case awaitingHeader(Phase)
        case awaitingFeatures(Phase, streamID: String)
        /// `<starttls/>` has been sent.
        case awaitingProceed
        case startingTLS
        /// EXTERNAL has been asked for; `dialback`: what is left if it is refused.
        case authenticating(streamID: String, dialback: Bool)
        /// A key has been sent.
        case awaitingResult
        case ready
        /// Keys may be asked about, and nothing else is done.
        case asking
        case closing
        case closed
    }

    private struct Phase: Sendable {
        var isSecure: Bool
        var isAuthenticated = false
    }

    /// What whoever runs the machine is to do. ``write(to:)`` says what goes on the wire; the rest is named here.
    public enum Action: Hashable, Sendable {
        case wait
        case open(PeerStreamHeader)
        case startTLS
        /// The other server is ready for the handshake.
        case handshake
        /// By EXTERNAL; `isBidirectional`: having asked for a stream for both directions.
        case authenticate(as: String, isBidirectional: Bool)
        /// The other server knows who we are: expect its new header, having sent our own.
        case restart(PeerStreamHeader)
        /// Make a key for the stream and send it.
        case sendKey(streamID: String, isBidirectional: Bool)
        /// Stanzas may be sent. `isManaged`: the other server offers stream management.
        case begin(Method, isManaged: Bool)
        /// Keys may be asked about.
        case ask
        /// An answer to what was asked.
        case answered(DialbackElement)
        /// Answers a request that has come on a stream for both directions.
        case answer(DialbackElement)
        /// What the other server says about the stream (XEP-0198).
        case manage
        /// What was given is a stanza, on a stream for both directions.
        case deliver
        /// The stream has come to nothing, or to its end: send the end of it if `sendsEnd`, and close.
        case fail(PeerFailure, sendsEnd: Bool)
    }

    /// How this server has shown who it is.
    public enum Method: String, Hashable, Sendable { case certificate, dialback }

    public let pair: DomainPair
    public let purpose: Purpose
    public private(set) var isBidirectional = false
    /// What the other server takes (XEP-0478), as it has said last; `nil` if it says nothing of that.
    public private(set) var limits: PeerFeatures.Limits?
    private var state: State

    /// - Parameter isSecure: whether the connection began with TLS (XEP-0368).
    public init(_ pair: DomainPair, _ purpose: Purpose, isSecure: Bool) {
        self.pair = pair
        self.purpose = purpose
        state = .awaitingHeader(Phase(isSecure: isSecure))
    }
}

/// Why a stream to another server came to nothing.
public enum PeerFailure: Error, Hashable, Sendable {
    /// It does not offer TLS, and that is required.
    case noTLS
    case tlsRefused
    /// Its certificate is not good for its domain: why.
    case certificate(String)
    /// It takes neither our certificate nor keys.
    case noAuthentication
    /// It does not take our certificate.
    case refused(SASLFailure.Condition?)
    /// It has asked and was told that the key is none of ours.
    case invalidKey
    /// It could not find out.
    case dialback(StanzaError.Condition)
    /// It has ended the stream.
    case ended(StreamError?)
    /// What it says is no XMPP, or not what is to come now.
    case confused(StreamError)
}

/// What the machine asks of the server around it, and by what it decides.
public protocol OutgoingPeerEnvironment {
    var policy: PeerPolicy { get }
    /// Whether there is a certificate of ours to show.
    var hasCertificate: Bool { get }
    /// Whether what the other server has shown is good for its domain.
    var certificate: CertificateVerdict { get }
}

// MARK: What can be asked

extension OutgoingPeerMachine {
    /// Nothing of the other server is looked at before the handshake.
    public var isWaiting: Bool {
        if case .startingTLS = state { true } else { false }
    }

    public var isEnding: Bool {
        switch state {
        case .closing, .closed: true
        default: false
        }
    }

    /// Whether keys may be asked about on this stream (XEP-0220 §2.1.2).
    public var canAsk: Bool {
        switch state {
        case .awaitingResult, .ready, .asking: true
        default: false
        }
    }

    /// Our header: the first thing on a connection, and again after every step that makes another stream of it.
    public var header: PeerStreamHeader { PeerStreamHeader(from: pair.local, to: pair.remote) }
}

// MARK: From the other server

extension OutgoingPeerMachine {
    public mutating func opened(_ element: FlatElement, _ environment: some OutgoingPeerEnvironment) -> Action {
        guard case .awaitingHeader(let phase) = state else { return fail(.confused(StreamError(.badFormat, "A stream has one header."))) }
        do throws(StreamError) {
            let header = try PeerStreamHeader(element)
            if let from = header.from, from != pair.remote { throw StreamError(.invalidFrom, "\(pair.remote) was called, and \(from) answers.") }
            guard let id = header.id, !id.isEmpty else { throw StreamError(.badFormat, "The stream has no id.") }
            guard header.speaksXMPP else { return choose(PeerFeatures(legacy: true), phase, id, environment) }
            state = .awaitingFeatures(phase, streamID: id)
            return .wait
        } catch {
            return fail(.confused(error))
        }
    }

    /// An element directly under the header.
    public mutating func received(_ element: FlatElement, _ environment: some OutgoingPeerEnvironment) -> Action {
        let root = element.root
        if root.isNamed("error", .streams) { return fail(.ended(StreamError(received: element))) }
        switch state {
        case .awaitingFeatures(let phase, let id):
            guard root.isNamed("features", .streams) else { return confused("Features were to come.") }
            return choose(PeerFeatures(element), phase, id, environment)
        case .awaitingProceed:
            guard root.isNamed("proceed", .startTLS) else { return fail(.tlsRefused) }
            state = .startingTLS
            return .handshake
        case .authenticating(let id, let dialback): return authenticated(element, id, dialback: dialback)
        case .awaitingResult, .ready, .asking: return talk(element)
        case .awaitingHeader, .startingTLS: return confused("A header was to come.")
        case .closing, .closed: return .wait
        }
    }

    private mutating func choose(
        _ features: PeerFeatures, _ phase: Phase, _ id: String, _ environment: some OutgoingPeerEnvironment
    ) -> Action {
        let policy = environment.policy
        limits = features.limits
        if !phase.isSecure {
            if features.startTLS != .absent {
                state = .awaitingProceed
                return .startTLS
            }
            if policy.requiresEncryption { return fail(.noTLS) }
        }
        if phase.isAuthenticated { return begin(.certificate, isManaged: features.management) }
        if policy.authentication == .certificate {
            switch environment.certificate {
            case .valid: break
            case .absent: return fail(.certificate("it shows no certificate"))
            case .invalid(let reason): return fail(.certificate(reason))
            }
        }
        if purpose == .verification {
            state = .asking
            return .ask
        }
        isBidirectional = features.bidirectional && policy.bidirection == .ask
        if features.external, environment.hasCertificate, phase.isSecure {
            state = .authenticating(streamID: id, dialback: features.dialback)
            return .authenticate(as: pair.local, isBidirectional: isBidirectional)
        }
        // Some who do dialback do not say so (§2.4.1).
        state = .awaitingResult
        return .sendKey(streamID: id, isBidirectional: isBidirectional)
    }

    private mutating func authenticated(_ element: FlatElement, _ id: String, dialback: Bool) -> Action {
        if element.isNamed("success", .sasl) {
            state = .awaitingHeader(Phase(isSecure: true, isAuthenticated: true))
            return .restart(header)
        }
        guard element.isNamed("failure", .sasl) else { return confused("An answer to EXTERNAL was to come.") }
        if dialback {
            state = .awaitingResult
            return .sendKey(streamID: id, isBidirectional: false)
        }
        let condition = element.children.lazy.compactMap { SASLFailure.Condition(rawValue: String($0.localName)) }.first
        return fail(.refused(condition))
    }

    private mutating func begin(_ method: Method, isManaged: Bool) -> Action {
        state = .ready
        return .begin(method, isManaged: isManaged)
    }

    private mutating func talk(_ element: FlatElement) -> Action {
        let root = element.root
        if root.isIn(.client) {
            guard isBidirectional, case .ready = state else { return confused("This stream is for one direction.") }
            return .deliver
        }
        if root.isIn(.streamManagement) {
            guard case .ready = state else { return confused("Nothing counts yet.") }
            return .manage
        }
        guard root.isIn(.dialback) else { return confused("This is nothing that servers say to one another.") }
        do throws(StreamError) {
            guard let said = try DialbackElement(element) else { return confused("This makes no sense as dialback.") }
            return dialback(said)
        } catch {
            return fail(.confused(error))
        }
    }

    /// What was not asked on this stream was not answered (XEP-0220 §3.1).
    private mutating func dialback(_ said: DialbackElement) -> Action {
        guard let outcome = said.outcome else {
            // Who was called does not become another domain on the way back (XEP-0288 §2.2).
            return said.kind == .result && isBidirectional ? .answer(said.answer(.error(.notAllowed))) : confused("Nothing is proved this way round.")
        }
        guard said.kind == .result else { return .answered(said) }
        guard case .awaitingResult = state, said.from == pair.remote, said.to == pair.local else { return .wait }
        switch outcome {
        case .valid: return begin(.dialback, isManaged: false)
        case .invalid: return fail(.invalidKey)
        case .error(let condition): return fail(.dialback(condition))
        }
    }

    private mutating func confused(_ text: String) -> Action { fail(.confused(StreamError(.badFormat, text))) }

    /// The end of the other server's stream.
    public mutating func peerClosed() -> Action {
        switch state {
        case .closing, .closed:
            state = .closed
            return .fail(.ended(nil), sendsEnd: false)
        default: return fail(.ended(nil))
        }
    }

    /// Bytes that are no XMPP.
    public mutating func failed(_ error: XMLError) -> Action { fail(.confused(StreamError(reporting: error))) }
}

// MARK: From this server

extension OutgoingPeerMachine {
    /// The handshake is done.
    public mutating func secured() -> Action {
        guard case .startingTLS = state else { return .wait }
        state = .awaitingHeader(Phase(isSecure: true))
        return .open(header)
    }

    /// This server ends the stream.
    public mutating func end() -> Action { fail(.ended(nil)) }

    /// The connection is gone, or will be now.
    public mutating func transportLost() { state = .closed }

    private mutating func fail(_ failure: PeerFailure) -> Action {
        switch state {
        case .closing, .closed: return .wait
        // Nothing of ours can be read between `<proceed/>` and the end of the handshake.
        case .startingTLS:
            state = .closed
            return .fail(failure, sendsEnd: false)
        default:
            state = .closing
            return .fail(failure, sendsEnd: true)
        }
    }
}

extension PeerFeatures {
    /// Of a server that sends none: it knows dialback only.
    fileprivate init(legacy: Bool) {
        self.init()
        dialback = legacy
    }
}

extension OutgoingPeerMachine.Action {
    /// Writes what the action puts on the wire; nothing for those that only say what to do.
    public func write(to writer: inout XMLWriter) {
        switch self {
        case .wait, .handshake, .ask, .answered, .manage, .deliver, .begin: break
        case .open(let header), .restart(let header): header.write(to: &writer)
        case .startTLS: writer.element("starttls", .startTLS)
        case .authenticate(let domain, let isBidirectional):
            if isBidirectional { writer.element("bidi", .bidirectional) }
            writer.element("auth", .sasl, ["mechanism": "EXTERNAL"], text: Base64.encode(domain.utf8))
        case .sendKey(_, let isBidirectional):
            if isBidirectional { writer.element("bidi", .bidirectional) }
        case .answer(let answer): answer.write(to: &writer)
        case .fail(let failure, let sendsEnd):
            if case .confused(let error) = failure { error.write(to: &writer) }
            if sendsEnd { writer.streamEnd() }
        }
    }
}
