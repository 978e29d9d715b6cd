/// What the mechanisms have in common in which the client speaks first, and once: PLAIN, EXTERNAL and Hashed Token.
///
///     start ──step──▶ awaitingAnswer ──provide──▶ over
///       └──step(nil)──▶ awaitingMessage ──step──▶ awaitingAnswer
///
/// A client that sent no initial response is asked for it, once, by an empty challenge (RFC 4422 §3). A failure ends the exchange, wherever it comes from.
struct OneMessageExchange<Claim: Hashable & Sendable>: Hashable, Sendable {
    private enum State: Hashable, Sendable {
        case start
        case awaitingMessage
        /// What the client says has been read, and somebody is asked about it.
        case awaitingAnswer(Claim)
        case over
    }

    private var state = State.start

    /// Takes the client's message. `nil` is one without payload: as the first, it asks to be challenged.
    ///
    /// - Parameter read: what the message claims, and what is to be asked about that.
    mutating func step(_ message: [UInt8]?, _ read: ([UInt8]) throws(SASLFailure) -> (Claim, SASLStep)) -> SASLStep {
        perform { exchange throws(SASLFailure) in
            switch exchange.state {
            case .start:
                guard message == nil else { break }
                exchange.state = .awaitingMessage
                return .challenge([])
            case .awaitingMessage: break
            case .awaitingAnswer, .over: throw .malformedRequest("No response is expected now.")
            }
            let (claim, question) = try read(message ?? [])
            exchange.state = .awaitingAnswer(claim)
            return question
        }
    }

    /// Takes what was found out about the claim.
    ///
    /// - Parameter decide: what comes of it. Nothing can be given or asked after that.
    mutating func provide(_ decide: (Claim) throws(SASLFailure) -> SASLStep) -> SASLStep {
        perform { exchange throws(SASLFailure) in
            guard case .awaitingAnswer(let claim) = exchange.state else { throw .temporaryAuthFailure }
            exchange.state = .over
            return try decide(claim)
        }
    }

    private mutating func perform(_ step: (inout Self) throws(SASLFailure) -> SASLStep) -> SASLStep {
        do throws(SASLFailure) {
            return try step(&self)
        } catch {
            state = .over
            return .failure(error)
        }
    }
}
