/// Why an authentication failed, as it goes on the wire inside `<failure/>` (RFC 6120 §6.4.5).
public struct SASLFailure: Error, Hashable, Sendable {
    /// The defined conditions (RFC 6120 §6.5). The raw value is the element's name.
    public enum Condition: String, Hashable, Sendable, CaseIterable {
        /// The initiator sent `<abort/>`.
        case aborted
        /// The credentials are right and the account has been disabled.
        case accountDisabled = "account-disabled"
        /// The credentials were right until they expired.
        case credentialsExpired = "credentials-expired"
        /// The mechanism may not be used without TLS.
        case encryptionRequired = "encryption-required"
        /// What came is not base64 as RFC 4648 §4 has it.
        case incorrectEncoding = "incorrect-encoding"
        /// The authorization identity is no address, or not the authenticated one.
        case invalidAuthzid = "invalid-authzid"
        /// The mechanism was not offered.
        case invalidMechanism = "invalid-mechanism"
        /// The mechanism's own grammar or order was broken.
        case malformedRequest = "malformed-request"
        /// The account may not use a mechanism as weak as this.
        case mechanismTooWeak = "mechanism-too-weak"
        /// The credentials are wrong, or the account does not exist: nobody is told which.
        case notAuthorized = "not-authorized"
        /// The server cannot check at present; the same credentials may be right later.
        case temporaryAuthFailure = "temporary-auth-failure"
    }

    public var condition: Condition
    /// For people who look for the fault, in English. Never says anything about an account.
    public var text: String?
    /// What an operator should hear of it. Not told to the peer.
    public var suspicion: Suspicion?

    /// What it looks like if somebody is between a client and the server. Whoever it is about has proved to know the password, so that strangers
    /// cannot raise it: it is an attack, or a client that is broken.
    public enum Suspicion: String, Hashable, Sendable, CaseIterable {
        /// The client is at the end of another TLS connection than the server, or has said something else than what came.
        case otherChannel = "mismatch"
        /// The client could bind, and has not seen that the server can (RFC 5802 §6).
        case strippedOffer = "stripped"
    }

    public init(_ condition: Condition, _ text: String? = nil, suspicion: Suspicion? = nil) {
        self.condition = condition
        self.text = text
        self.suspicion = suspicion
    }
}

extension SASLFailure {
    public static let aborted = SASLFailure(.aborted)
    public static let accountDisabled = SASLFailure(.accountDisabled)
    public static let credentialsExpired = SASLFailure(.credentialsExpired)
    public static let encryptionRequired = SASLFailure(.encryptionRequired)
    public static let incorrectEncoding = SASLFailure(.incorrectEncoding)
    public static let invalidMechanism = SASLFailure(.invalidMechanism)
    public static let mechanismTooWeak = SASLFailure(.mechanismTooWeak)
    public static let notAuthorized = SASLFailure(.notAuthorized)
    public static let temporaryAuthFailure = SASLFailure(.temporaryAuthFailure)

    public static func invalidAuthzid(_ text: String) -> SASLFailure { SASLFailure(.invalidAuthzid, text) }
    public static func malformedRequest(_ text: String) -> SASLFailure { SASLFailure(.malformedRequest, text) }
    static func bindingRefused(_ text: String, suspicion: Suspicion? = nil) -> SASLFailure { SASLFailure(.notAuthorized, text, suspicion: suspicion) }
}
