/// The mechanisms of Hashed Token (draft-ietf-kitten-sasl-ht-00, with which XEP-0484 logs in): one message of the client, one of the server.
///
/// Of the family we speak those with SHA-256: whoever speaks another speaks these as well.
public enum HashedTokenMechanism: String, Hashable, Sendable, CaseIterable {
    /// Without channel binding: for clients in browsers, which cannot see their connection.
    case none = "HT-SHA-256-NONE"
    /// Tied to the server's certificate (RFC 5929 §4).
    case serverEndPoint = "HT-SHA-256-ENDP"
    /// Tied to the TLS connection (RFC 9266).
    case exporter = "HT-SHA-256-EXPR"

    /// The registered name, as it stands in `<mechanism/>`.
    public var name: String { rawValue }

    /// By what the client is tied to the connection; `nil` if by nothing.
    public var binding: ChannelBinding.Kind? {
        switch self {
        case .none: nil
        case .serverEndPoint: .tlsServerEndPoint
        case .exporter: .tlsExporter
        }
    }

    var strength: Int {
        switch self {
        case .none: 15
        case .serverEndPoint: 30
        case .exporter: 31
        }
    }

    /// Length of what either side sends to prove that it has the token.
    public static let proofBytes = 32
}

/// What a client has instead of a password. It describes itself without its bytes, so that no log and no failed test shows one.
public struct HashedToken: Hashable, Sendable {
    /// Random bits of a token that is made here.
    public static let randomBits = 256

    /// The token as it stands in `<token token=…/>`: its octets are the key (draft-ietf-kitten-sasl-ht-00 §3).
    public let text: String

    public init(_ text: String) { self.text = text }

    /// What a client sends to prove that it has the token, followed by what ties it to the connection.
    public func initiatorProof(_ binding: [UInt8] = []) -> [UInt8] { proof("Initiator", binding) }

    /// What the server answers.
    public func responderProof(_ binding: [UInt8] = []) -> [UInt8] { proof("Responder", binding) }

    private func proof(_ side: String, _ binding: [UInt8]) -> [UInt8] {
        ScramHash.sha256.authenticationCode(Array(side.utf8) + binding, key: Array(text.utf8))
    }
}

extension HashedToken: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "(token)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Which of a device's two tokens it is: a client that never got its newest can still use the one before (XEP-0484 §5.1).
public enum TokenSlot: Int, Hashable, Sendable, CaseIterable {
    /// Given to the client, and not used yet.
    case new = 0
    /// The one that the client used last.
    case current = 1
}

/// A token that a client may be proving to have.
public struct HashedTokenCandidate: Hashable, Sendable {
    public let token: HashedToken
    public let slot: TokenSlot
    /// What a client hears that has proved to have it and may not come in all the same: the token is too old, or the account disabled.
    public let refusal: SASLFailure?
    /// Its use changes nothing: it has been used before, and its client needs no other yet.
    public let isSettled: Bool

    public init(_ token: HashedToken, _ slot: TokenSlot, refusal: SASLFailure? = nil, isSettled: Bool = false) {
        self.token = token
        self.slot = slot
        self.refusal = refusal
        self.isSettled = isSettled
    }
}

/// The server's side of Hashed Token, as a machine without I/O.
///
/// `authcid NUL HMAC(token, "Initiator" || cb-data)` comes, and `HMAC(token, "Responder" || cb-data)` goes, as additional data of success. No random
/// number is in either, so that what somebody has seen of a connection he can use again: with channel binding not on another connection, and
/// without it for as long as the token lives, unless the client counts (XEP-0484 §3.4). That is why the mechanism is for TLS only.
public struct HashedTokenExchange: Hashable, Sendable {
    private struct Claim: Hashable, Sendable {
        let identity: SASLIdentity
        let proof: [UInt8]
    }

    private let mechanism: HashedTokenMechanism
    private let offer: SASLOffer
    private var exchange = OneMessageExchange<Claim>()
    /// The token that the client has proved to have; `nil` before success.
    public private(set) var accepted: HashedTokenCandidate?

    /// - Parameter offer: of this stream, with the connection's channel bindings.
    public init(_ mechanism: HashedTokenMechanism, offer: SASLOffer) {
        self.mechanism = mechanism
        self.offer = offer
    }

    /// Takes the client's message. `nil` is one without payload: as the first, it asks to be challenged.
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        exchange.step(message) { [mechanism, offer] message throws(SASLFailure) in
            let claim = try Self.claim(message, at: offer.domain)
            _ = try Self.binding(mechanism, offer)
            return (claim, .lookUp(claim.identity, .hashedTokens(mechanism)))
        }
    }

    /// Takes the tokens of the client's device for the mechanism, the new one first (XEP-0484 §5.1). There are none for an account that does not exist.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        var accepted: HashedTokenCandidate?
        defer { if let accepted { self.accepted = accepted } }
        return exchange.provide { [mechanism, offer] claim throws(SASLFailure) in
            switch answer {
            case .hashedTokens(let candidates):
                let binding = try Self.binding(mechanism, offer)
                let candidate = try Self.choice(among: candidates, claim.proof, binding)
                accepted = candidate
                return .success(claim.identity, additionalData: candidate.token.responderProof(binding))
            case .refused(let failure): throw failure
            case .scramKeys, .passwordVerdict, .certificateVerdict, .bearerVerdict, .standing, .gssapi: throw .temporaryAuthFailure
            }
        }
    }

    private static func claim(_ message: [UInt8], at domain: String) throws(SASLFailure) -> Claim {
        guard message.count <= SASLServerExchange.messageBytesMax else { throw .malformedRequest("The message is too long.") }
        guard let end = message.firstIndex(of: 0), let username = String(validating: message[..<end], as: UTF8.self) else {
            throw .malformedRequest("A user name in UTF-8, NUL and a hash are expected.")
        }
        let proof = Array(message[(end + 1)...])
        guard proof.count == HashedTokenMechanism.proofBytes else { throw .malformedRequest("The hash has \(HashedTokenMechanism.proofBytes) bytes.") }
        return Claim(identity: try SASLIdentity(username: username, authzid: nil, domain: domain), proof: proof)
    }

    private static func choice(
        among candidates: [HashedTokenCandidate], _ proof: [UInt8], _ binding: [UInt8]
    ) throws(SASLFailure) -> HashedTokenCandidate {
        guard let candidate = candidates.first(where: { equalInConstantTime($0.token.initiatorProof(binding), proof) }) else { throw .notAuthorized }
        if let refusal = candidate.refusal { throw refusal }
        return candidate
    }

    /// The data of the connection that the client must have had as well.
    private static func binding(_ mechanism: HashedTokenMechanism, _ offer: SASLOffer) throws(SASLFailure) -> [UInt8] {
        guard let kind = mechanism.binding else { return [] }
        guard let binding = offer.bindings.first(where: { $0.kind == kind }) else { throw .bindingRefused("unsupported-channel-binding-type") }
        return binding.data
    }
}
