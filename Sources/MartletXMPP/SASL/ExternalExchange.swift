/// The server's side of EXTERNAL (RFC 4422 appendix A, XEP-0178 §3), as a machine without I/O: the client has shown a certificate in the TLS handshake, and
/// says at most as whom it wants to act.
///
/// What was found out about the certificate before is good for offering the mechanism. Whether it is still true is asked anew.
public struct ExternalExchange: Hashable, Sendable {
    private enum State: Hashable, Sendable {
        case start
        case awaitingMessage
        case awaitingVerdict(SASLIdentity)
        case over
    }

    private let account: BareJID?
    private var state = State.start

    /// - Parameter account: for which the certificate stands; `nil` if there is none, and then nobody is let in.
    public init(account: BareJID?) {
        self.account = account
    }

    /// Takes the client's message. `nil` is one without payload: as the first, it asks to be challenged.
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        switch state {
        case .start:
            if let message { return receive(message) }
            state = .awaitingMessage
            return .challenge([])
        case .awaitingMessage:
            return receive(message ?? [])
        case .awaitingVerdict, .over:
            return fail(.malformedRequest("No response is expected now."))
        }
    }

    /// Takes what was found out about the certificate.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        guard case .awaitingVerdict(let identity) = state else { return fail(.temporaryAuthFailure) }
        switch answer {
        case .certificateVerdict(let account) where account == identity.account:
            state = .over
            return .success(identity, additionalData: nil)
        case .certificateVerdict: return fail(.notAuthorized)
        case .refused(let failure): return fail(failure)
        case .scramKeys, .passwordVerdict, .hashedTokens: return fail(.temporaryAuthFailure)
        }
    }

    /// An authorization identity, or nothing (RFC 4422 appendix A.1).
    private mutating func receive(_ message: [UInt8]) -> SASLStep {
        do throws(SASLFailure) {
            guard let account else { throw .notAuthorized }
            guard message.count <= SASLServerExchange.messageBytesMax, let authzid = String(validating: message, as: UTF8.self), !authzid.contains("\0") else {
                throw .malformedRequest("The authorization identity is not UTF-8 without NUL, or too long.")
            }
            let identity = try SASLIdentity(account, authzid: authzid.isEmpty ? nil : authzid)
            state = .awaitingVerdict(identity)
            return .lookUp(identity, .certificate)
        } catch {
            return fail(error)
        }
    }

    private mutating func fail(_ failure: SASLFailure) -> SASLStep {
        state = .over
        return .failure(failure)
    }
}
