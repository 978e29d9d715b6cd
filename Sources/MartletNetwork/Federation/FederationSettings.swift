package import MartletXML
package import MartletXMPP
package import NIOCore

/// How this server deals with others. One value, made from the configuration.
package struct FederationSettings: Hashable, Sendable {
    /// Stanzas of one stream that are taken in one turn of the loop.
    package var stanzasPerTurnMax = 64
    package var limitsBeforeAuthentication = XMLLimits.unauthenticated
    package var limits = XMLLimits.authenticated
    /// From accepting a connection to its authentication.
    package var negotiationDeadline = TimeAmount.seconds(30)
    /// From the first stanza for a server to a stream to it.
    package var callDeadline = TimeAmount.seconds(60)
    /// For an end of a stream to be answered.
    package var closingDeadline = TimeAmount.seconds(5)
    /// A stream that nothing passed on for so long is closed.
    package var idleTimeout = TimeAmount.minutes(10)
    /// For an acknowledgement that was asked for (XEP-0198): after it the connection counts as broken.
    package var acknowledgementDeadline = TimeAmount.seconds(60)
    /// For how long another server can go on with a stream whose connection is lost (XEP-0198 §5). Later it hears `item-not-found`, and begins anew.
    package var resumableFor = TimeAmount.minutes(10)
    /// Streams that can be gone on with, whether their connections are lost or not; further ones end with their connections.
    package var resumableMax = 10_000
    /// For somebody to say whether a dialback key is his.
    package var verificationDeadline = TimeAmount.seconds(30)
    /// For what DNS and the web say about a certificate of whoever calls, besides what it says itself: part of ``negotiationDeadline``.
    package var inquiryDeadline = TimeAmount.seconds(3)
    /// Stanzas for one pair of domains that may wait, or be unacknowledged; past it, `resource-constraint`.
    package var queueStanzasMax = 10_000
    /// The same in bytes. Messages that the log keeps are left there instead of being refused.
    package var queueBytesMax = 4 << 20
    /// The same of all pairs together.
    package var queueBytesTotalMax = 64 << 20
    /// For how long a message waits for a server that was there before and cannot be reached (`reliability.md` P10); 0: not at all.
    package var keptFor = TimeAmount.hours(24)
    /// Messages for one pair of domains that may wait in the log; past it, `resource-constraint`.
    package var keptStanzasMax = 10_000
    /// The same in bytes.
    package var keptBytesMax = 32 << 20
    /// Calls to other servers that may be under way at a time; further ones wait. Half as many again, and at least one, to servers that are called
    /// for the first time.
    package var callsMax = 64
    /// The same of calls that only ask about dialback keys, and of inquiries about certificates: what strangers can cause. Who is asked about has
    /// not proved anything as long as there is no place.
    package var verificationsMax = 16
    /// Calls of each of these three kinds that may wait; past it, they fail, and what they were for is refused with `resource-constraint`.
    package var callsWaitingMax = 1_024
    /// After a call has failed, nobody is called for that long; each failure doubles it.
    package var restMin = TimeAmount.seconds(2)
    package var restMax = TimeAmount.seconds(60)
    /// After a stream has broken off, before it is looked whether the other server is still there.
    package var checkAfter = TimeAmount.seconds(2)
    /// For how long a server that has vanished is called again and again; after that, only when there is something for it.
    package var watchedFor = TimeAmount.hours(1)
    /// Connections from other servers per address, and those that are not authenticated.
    package var admission = Admission.Limits()
    /// How other servers are called.
    package var tlsProfile = TLSProfile.intermediate
    /// The same for single ones, and those below their domains; and what is asked of them where they call.
    package var tlsProfiles: [String: TLSProfile] = [:]
    /// What is expected of a server that is not named below.
    package var policy = PeerPolicy()
    package var policies: [String: PeerPolicy] = [:]
    /// What the operator says about the certificates of servers; for others, the general authorities are believed.
    package var proofs: [String: PeerProof] = [:] { didSet { trusts = Set(proofs.values.compactMap(\.trust)) } }
    private var trusts: Set<PeerTrust> = []
    /// How it is found out whether certificates are revoked, and the lists that the operator has of them.
    package var revocation = RevocationSettings()
    package var revocationFiles = RevocationFiles()
    /// Whether the web server of a domain may speak for a certificate that nobody else speaks for (POSH, RFC 7711).
    package var asksWebServers = false
    /// Servers that there are no streams with; with `isClosed` there are none with others than those in ``policies`` either.
    package var blocked: Set<String> = []
    package var isClosed = false
    /// Where servers are called whatever DNS says, in this order.
    package var overrides: [BareJID: [DialTarget]] = [:]

    package init() {
        admission.connectionsPerAddressMax = 100
        admission.unauthenticatedMax = 512
        admission.unauthenticatedBytesMax = 32 << 20
    }

    var idleTicks: Int { NetworkLoop.ticks(idleTimeout) }

    /// What is expected of a server, by its domain or one above it.
    package func policy(of remote: String) -> PeerPolicy {
        let names = Self.domains(above: remote)
        if names.contains(where: blocked.contains) { return PeerPolicy(refusal: "This server has no streams with \(remote).") }
        if let own = names.lazy.compactMap({ policies[$0] }).first { return own }
        return isClosed ? PeerPolicy(refusal: "This server has streams only with servers that it knows.") : policy
    }

    /// What is said about a server's certificate, by its domain or one above it.
    package func proof(of remote: String) -> PeerProof? {
        if proofs.isEmpty { return nil }
        return Self.domains(above: remote).lazy.compactMap { proofs[$0] }.first
    }

    /// The authorities that may be asked about a server that is called; those about whichever calls, since it has not said yet who it is.
    func ownTrusts(for remote: String?) -> Set<PeerTrust> {
        if let remote { return proof(of: remote)?.trust.map { [$0] } ?? [] }
        return trusts
    }

    /// What is asked of TLS with a server in particular, by its domain or one above it.
    package func ownTLSProfile(of remote: String) -> TLSProfile? {
        if tlsProfiles.isEmpty { return nil }
        return Self.domains(above: remote).lazy.compactMap { tlsProfiles[$0] }.first
    }

    private static func domains(above domain: String) -> [String] {
        var names = [domain]
        var rest = domain[...]
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            names.append(String(rest))
        }
        return names
    }
}

/// What the operator says about another server's certificate. It comes before what DNS says, and that before the general authorities.
package struct PeerProof: Hashable, Sendable {
    /// Most servers with authorities of their own. What somebody shows who calls is followed to all of them.
    package static let trustsMax = 16

    /// SHA-256 of the public keys that it may show (of `subjectPublicKeyInfo`, RFC 7469 §2.4); where there are some, nothing else counts.
    package var pins: Set<[UInt8]>
    /// Who is believed about it in place of the general authorities.
    package var trust: PeerTrust?

    package init(pins: Set<[UInt8]> = [], trust: PeerTrust? = nil) {
        self.pins = pins
        self.trust = trust
    }

    /// Whether what others say is of no interest.
    var isDecisive: Bool { !pins.isEmpty || trust != nil }
}

/// Why there is no stream to another server.
package enum PeerCallFailure: Error, Hashable, Sendable, CustomStringConvertible {
    case refused(String)
    case lookup(ServiceLookupError)
    case dial(DialError)
    /// It could not be found out which certificates DNS allows at the target.
    case unproved(DialTarget, DNSError)
    case stream(PeerFailure)
    case network(String)
    case timedOut
    case tooManyCalls

    package var description: String {
        switch self {
        case .refused(let why): why
        case .lookup(let error): error.description
        case .dial(let error): error.failures.isEmpty ? "it could not be reached" : error.failures.map(\.description).joined(separator: "; ")
        case .unproved(let target, let error): "\(target): its TLSA records cannot be looked up, and without them it is not believed: \(error)"
        case .stream(let failure): failure.explanation
        case .network(let why): "the connection broke: \(why)"
        case .timedOut: "there was no stream in time"
        case .tooManyCalls: "too many servers are being called already"
        }
    }

    /// Whether it will most likely be the same when the server is called again: then nothing waits for that.
    package var isFinal: Bool {
        switch self {
        case .refused: true
        case .lookup(let error): error.stanzaError == .remoteServerNotFound
        case .dial(let error): error.stanzaError == .remoteServerNotFound
        case .stream(let failure): failure.isFinal
        case .unproved, .network, .timedOut, .tooManyCalls: false
        }
    }

    /// For whoever has written to the domain (RFC 6120 §8.3.3, XEP-0220 §2.1.1).
    package var stanzaError: StanzaError {
        switch self {
        case .refused(let why): StanzaError(.notAllowed, text: why)
        case .lookup(let error): StanzaError(error.stanzaError, text: description)
        case .dial(let error): StanzaError(error.stanzaError, text: "the server cannot be reached")
        // The domain is not served where it is said to be.
        case .stream(.ended(let error?)) where error.condition == .hostUnknown || error.condition == .hostGone:
            StanzaError(.remoteServerNotFound, text: description)
        case .stream(.invalidKey): StanzaError(.internalServerError, text: description)
        case .unproved, .stream, .network, .timedOut: StanzaError(.remoteServerTimeout, text: description)
        case .tooManyCalls: StanzaError(.resourceConstraint, .wait)
        }
    }
}

extension PeerFailure {
    fileprivate var isFinal: Bool {
        switch self {
        case .noTLS, .tlsRefused, .certificate, .noAuthentication, .refused, .invalidKey, .confused: true
        case .dialback(let condition): condition == .notAuthorized || condition == .itemNotFound
        case .ended(let error): error.map { [.hostUnknown, .hostGone, .policyViolation].contains($0.condition) } ?? false
        }
    }

    /// For the operator, and for whoever has written to the other server.
    var explanation: String {
        switch self {
        case .noTLS: "it does not offer TLS, which is required here"
        case .tlsRefused: "it refuses TLS, although it offers it"
        case .certificate(let why): why
        case .noAuthentication: "it takes neither our certificate nor dialback keys"
        case .refused(let condition): "it does not accept our certificate" + (condition.map { " (\($0.rawValue))" } ?? "")
        case .invalidKey: "it was told that our dialback key is not ours: is another server in charge of our domain's DNS records?"
        case .dialback(.notAuthorized): "it wants a certificate that is valid for our domain"
        case .dialback(let condition): "it could not verify our dialback key (\(condition.rawValue)): it has to be able to reach us"
        case .ended(let error): "it ended the stream" + (error.map { " with \($0.condition.rawValue)" + ($0.text.map { ": \($0)" } ?? "") } ?? "")
        case .confused(let error): "what it says is not understood" + (error.text.map { ": \($0)" } ?? "")
        }
    }
}
