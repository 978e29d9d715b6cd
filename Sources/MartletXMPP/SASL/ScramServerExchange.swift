/// The server's side of one SCRAM authentication (RFC 5802 §3), as a machine without I/O.
///
///     start ──step──▶ awaitingKeys ──provide──▶ awaitingFinal ──step──▶ over
///       └──step(nil)──▶ awaitingFirst ──step──▶ awaitingKeys
///
/// Channel binding by the letter of §6: `p=` only with a -PLUS mechanism and an offered type, `n` and `y` only without,
/// `y` never when -PLUS was offered, and `c=` byte for byte what the header and the connection say. The last two fail at the
/// end, where it is known whether it was the account's own client that said so; what the failure says is the same for all. Until
/// then a client that says `y` learns what was offered (XEP-0474), and can tell its owner that somebody takes it out.
public struct ScramServerExchange: Hashable, Sendable {
    private enum State: Hashable, Sendable {
        case start
        case awaitingFirst
        case awaitingKeys(SASLIdentity, ScramClientFirst)
        case awaitingFinal(SASLIdentity, Challenge)
        case over
    }

    /// What the client's proof is checked against.
    private struct Challenge: Hashable, Sendable {
        let keys: ScramKeys
        let others: [ApplicationKeys]
        let refusal: SASLFailure?
        /// The client has not seen that channel binding is offered.
        let lacksOffer: Bool
        let nonce: [UInt8]
        let channelBinding: [UInt8]
        /// `client-first-message-bare + "," + server-first-message + ","`, the beginning of AuthMessage.
        let transcript: [UInt8]
    }

    private let hash: ScramHash
    private let isPlus: Bool
    private let offer: SASLOffer
    private var state = State.start
    /// The keys by which the client has proved to know a password of the account's; `nil` before success.
    public private(set) var proved: ProvedKeys?

    /// - Parameters:
    ///   - hash: of the mechanism that the client chose.
    ///   - isPlus: whether it chose the -PLUS variant.
    ///   - offer: what this stream told the client before.
    public init(hash: ScramHash, isPlus: Bool, offer: SASLOffer) {
        self.hash = hash
        self.isPlus = isPlus
        self.offer = offer
    }

    /// Takes the client's next message. `nil` is one without payload: as the first, it asks to be challenged.
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        perform { exchange throws(SASLFailure) in
            switch exchange.state {
            case .start:
                if let message { return try exchange.receiveFirst(message) }
                exchange.state = .awaitingFirst
                return .challenge([])
            case .awaitingFirst:
                return try exchange.receiveFirst(message ?? [])
            case .awaitingFinal(let identity, let challenge):
                return try exchange.receiveFinal(message ?? [], identity, challenge)
            case .awaitingKeys, .over:
                throw .malformedRequest("No response is expected now.")
            }
        }
    }

    /// Takes what was found out about the account that ``SASLStep/lookUp(_:_:)`` named.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        perform { exchange throws(SASLFailure) in
            guard case .awaitingKeys(let identity, let first) = exchange.state else { throw .temporaryAuthFailure }
            return switch answer {
            case .scramKeys(let keys, let refusal, let others): try exchange.challenge(identity, first, keys, others, refusal)
            case .refused(let failure): throw failure
            case .passwordVerdict, .certificateVerdict, .bearerVerdict, .hashedTokens, .standing, .gssapi: throw .temporaryAuthFailure
            }
        }
    }

    /// A failure ends the exchange, wherever it comes from.
    private mutating func perform(_ step: (inout Self) throws(SASLFailure) -> SASLStep) -> SASLStep {
        do throws(SASLFailure) {
            return try step(&self)
        } catch {
            state = .over
            return .failure(error)
        }
    }

    private mutating func receiveFirst(_ message: [UInt8]) throws(SASLFailure) -> SASLStep {
        let first = try parsed(message, ScramClientFirst.init(parsing:))
        _ = try binding(for: first.flag)
        let identity = try SASLIdentity(username: first.username, authzid: first.authzid, domain: offer.domain)
        state = .awaitingKeys(identity, first)
        return .lookUp(identity, .scramKeys(hash))
    }

    private mutating func challenge(
        _ identity: SASLIdentity, _ first: ScramClientFirst, _ keys: ScramKeys, _ others: [ApplicationKeys], _ refusal: SASLFailure?
    ) throws(SASLFailure) -> SASLStep {
        guard keys.hash == hash, others.fit(keys) else { throw .temporaryAuthFailure }
        let nonce = first.nonce + offer.nonce.bytes
        let message =
            Array("r=".utf8) + nonce + Array(",s=".utf8) + Base64.encodeToBytes(keys.salt)
            + Array(",i=\(keys.iterations)".utf8) + offer.downgradeProtection(hash)
        state = .awaitingFinal(
            identity,
            Challenge(
                keys: keys, others: others, refusal: refusal, lacksOffer: first.flag == .unadvertised && !offer.bindings.isEmpty, nonce: nonce,
                channelBinding: first.header + (try binding(for: first.flag)),
                transcript: first.bare + [ScramGrammar.comma] + message + [ScramGrammar.comma]))
        return .challenge(message)
    }

    private mutating func receiveFinal(
        _ message: [UInt8], _ identity: SASLIdentity, _ challenge: Challenge
    ) throws(SASLFailure) -> SASLStep {
        let final = try parsed(message, ScramClientFinal.init(parsing:))
        let authMessage = challenge.transcript + final.withoutProof
        let bindsChannel = equalInConstantTime(final.channelBinding, challenge.channelBinding)
        let repeatsNonce = equalInConstantTime(final.nonce, challenge.nonce)
        // Nine codes instead of one are 45 µs of a log-in.
        let isOwnEnough = bindsChannel && repeatsNonce && !challenge.lacksOffer && !offer.isJudged
        let proved = challenge.others.proved(beside: challenge.keys, isOwnEnough: isOwnEnough) { proves(final.proof, authMessage, $0) }
        let isProved = proved != nil
        guard bindsChannel else {
            throw .bindingRefused("channel-bindings-dont-match", suspicion: isProved ? .otherChannel : nil)
        }
        guard !challenge.lacksOffer else {
            throw .bindingRefused("server-does-support-channel-binding", suspicion: isProved ? .strippedOffer : nil)
        }
        guard repeatsNonce else {
            throw .malformedRequest("The nonce is not the one of this exchange.")
        }
        // Made for whoever is refused as well: how long that takes says nothing.
        let signature = hash.authenticationCode(authMessage, key: (proved?.keys ?? challenge.keys).serverKey)
        guard let proved else { throw .notAuthorized }
        if let refusal = challenge.refusal { throw refusal }
        state = .over
        self.proved = proved
        return .success(identity, additionalData: Array("v=".utf8) + Base64.encodeToBytes(signature))
    }

    /// The binding data that the client must repeat, empty for `n` and `y` (RFC 5802 §6).
    private func binding(for flag: ScramBindingFlag) throws(SASLFailure) -> [UInt8] {
        switch (flag, isPlus) {
        case (.unsupported, false), (.unadvertised, false):
            return []
        case (.bound(let name), true):
            guard let binding = offer.bindings.first(where: { $0.kind.name.utf8.elementsEqual(name.utf8) }) else {
                throw .bindingRefused("unsupported-channel-binding-type")
            }
            return binding.data
        case (.unsupported, true), (.unadvertised, true):
            throw .malformedRequest("A -PLUS mechanism needs channel binding.")
        case (.bound, false):
            throw .malformedRequest("Channel binding needs a -PLUS mechanism.")
        }
    }

    /// Whether `proof XOR ClientSignature` is the key that StoredKey is the hash of (RFC 5802 §3).
    private func proves(_ proof: [UInt8], _ authMessage: [UInt8], _ keys: ScramKeys) -> Bool {
        guard proof.count == hash.byteCount else { return false }
        let signature = hash.authenticationCode(authMessage, key: keys.storedKey)
        let clientKey = zip(proof, signature).map { $0 ^ $1 }
        return equalInConstantTime(hash.digest(clientKey), keys.storedKey)
    }
}

/// A message of bounded length, parsed; what is wrong with it in its wire form.
private func parsed<Message>(
    _ bytes: [UInt8], _ parse: ([UInt8]) throws(ScramSyntaxError) -> Message
) throws(SASLFailure) -> Message {
    do throws(ScramSyntaxError) {
        guard bytes.count <= SASLServerExchange.messageBytesMax else { throw .tooLong }
        return try parse(bytes)
    } catch {
        throw SASLFailure(error)
    }
}
