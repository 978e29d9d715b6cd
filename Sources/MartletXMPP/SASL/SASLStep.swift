/// What an exchange wants done next.
public enum SASLStep: Hashable, Sendable {
    /// Send this in `<challenge/>` and come back with the response.
    case challenge([UInt8])
    /// Find this out about the account, and come back with ``SASLServerExchange/provide(_:)``. Nothing from the peer is read meanwhile.
    case lookUp(SASLIdentity, SASLQuestion)
    /// Ask whoever knows about what the peer has shown, which says itself who it is, and come back with ``SASLServerExchange/provide(_:)``. Nothing
    /// from the peer is read meanwhile.
    case consult(SASLConsultation)
    /// The peer is who it says. Additional data goes inside `<success/>` (RFC 6120 §6.3.10).
    case success(SASLIdentity, additionalData: [UInt8]?)
    /// Send this. The exchange is over; the peer may start another.
    case failure(SASLFailure)
}

/// What an exchange asks of the account source.
public enum SASLQuestion: Hashable, Sendable {
    /// The keys of the account for this hash; for an account that does not exist, those of ``ScramSimulation``.
    case scramKeys(ScramHash)
    /// Whether this is the account's password. For an account that does not exist: ``ScramKeys/verify(_:)`` with the
    /// keys of ``ScramSimulation``, so that the answer takes as long.
    case passwordVerdict(PreparedPassword)
    /// For which account the certificate stands that the client has shown: asked anew, whatever was found before.
    case certificate
    /// The tokens that the client's device may have for this mechanism (XEP-0484 §5.1); none for an account that does not exist.
    case hashedTokens(HashedTokenMechanism)
    /// Whether the account exists and may come in: who the client is has been shown already.
    case standing
}

/// What an exchange asks of others than the account source, before it is known who the peer is.
public enum SASLConsultation: Hashable, Sendable {
    /// Whose token this is, of the accounts of that domain (RFC 7628).
    case bearerToken(BearerToken, domain: String)
    /// A security context of Kerberos (RFC 4752).
    case gssapi(GSSAPIRequest)
}

/// What was found out.
public enum SASLAnswer: Hashable, Sendable {
    /// The keys, and what to answer a peer that has proved to know the password but may not come in: a disabled account
    /// says so to its owner and to nobody else. The others are those of passwords for applications, each as good as the account's own.
    case scramKeys(ScramKeys, refusal: SASLFailure? = nil, others: [ApplicationKeys] = [])
    /// Whether the password is right, and of which application it is, if it is not the account's own.
    case passwordVerdict(Bool, application: String? = nil)
    /// For which account the certificate stands.
    case certificateVerdict(BareJID)
    /// Whose token it is, or that it is nobody's.
    case bearerVerdict(BearerVerdict)
    /// The new one first.
    case hashedTokens([HashedTokenCandidate])
    /// What keeps the account from coming in; `nil` if nothing does.
    case standing(SASLFailure?)
    case gssapi(GSSAPIAnswer)
    /// It could not be found out, or (after a right password) the account may not come in.
    case refused(SASLFailure)
}
