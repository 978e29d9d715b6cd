/// The server's side of EXTERNAL (RFC 4422 appendix A, XEP-0178 §3), as a machine without I/O: the client has shown a certificate in the TLS handshake, and
/// says at most as whom it wants to act.
///
/// What was found out about the certificate before is good for offering the mechanism. Whether it is still true is asked anew.
public struct ExternalExchange: Hashable, Sendable {
    private let certified: CertifiedAccount?
    private var exchange = OneMessageExchange<SASLIdentity>()

    /// - Parameter certified: for whom the certificate stands; `nil` if for nobody, and then nobody is let in.
    public init(_ certified: CertifiedAccount?) {
        self.certified = certified
    }

    public init(account: BareJID?) { self.init(account.map { .account($0) }) }

    /// Takes the client's message. `nil` is one without payload: as the first, it asks to be challenged.
    public mutating func step(_ message: [UInt8]?) -> SASLStep {
        exchange.step(message) { [certified] message throws(SASLFailure) in
            guard let certified else { throw .notAuthorized }
            let identity = try Self.identity(certified, Self.authzid(message))
            return (identity, .lookUp(identity, .certificate))
        }
    }

    /// Takes what was found out about the certificate.
    public mutating func provide(_ answer: SASLAnswer) -> SASLStep {
        exchange.provide { identity throws(SASLFailure) in
            switch answer {
            case .certificateVerdict(let account) where account == identity.account: return .success(identity, additionalData: nil)
            case .certificateVerdict: throw .notAuthorized
            case .refused(let failure): throw failure
            case .scramKeys, .bearerVerdict, .passwordVerdict, .hashedTokens, .standing, .gssapi: throw .temporaryAuthFailure
            }
        }
    }

    /// An authorization identity, or nothing (RFC 4422 appendix A.1).
    private static func authzid(_ message: [UInt8]) throws(SASLFailure) -> String? {
        guard message.count <= SASLServerExchange.messageBytesMax, let authzid = String(validating: message, as: UTF8.self), !authzid.contains("\0") else {
            throw .malformedRequest("The authorization identity is not UTF-8 without NUL, or too long.")
        }
        return authzid.isEmpty ? nil : authzid
    }

    /// Whether the certificate stands for an account that the client has to name is found out when it is asked about, whatever the account is.
    private static func identity(_ certified: CertifiedAccount, _ authzid: String?) throws(SASLFailure) -> SASLIdentity {
        switch certified {
        case .account(let account): return try SASLIdentity(account, authzid: authzid)
        case .several:
            guard let authzid, let account = try? BareJID(parsing: authzid), !account.isDomain else {
                throw .invalidAuthzid("The certificate stands for several accounts: which one is meant?")
            }
            return try SASLIdentity(account, authzid: authzid)
        }
    }
}

/// For whom a client's certificate stands.
public enum CertifiedAccount: Hashable, Sendable {
    case account(BareJID)
    /// For several accounts of the stream's domain, of which the client has to name one (XEP-0178 §3).
    case several
}
