/// The account that an exchange is about, after every check of names has passed.
///
/// There is one way to make one, for all mechanisms: the user name prepared as a localpart, or the account of a certificate, and the authorization
/// identity, if any, prepared and equal to that account. So no success can carry somebody else's address.
public struct SASLIdentity: Hashable, Sendable {
    /// The account whose credentials are asked for, and as whom the stream goes on.
    public let account: BareJID

    /// - Parameters:
    ///   - username: as the client sent it: a localpart (RFC 6120 §6.3.7).
    ///   - authzid: as the client sent it: a bare JID (RFC 6120 §6.3.8), or nothing.
    ///   - domain: the domainpart of the stream.
    public init(username: String, authzid: String?, domain: String) throws(SASLFailure) {
        guard !username.isEmpty, let account = try? BareJID(localpart: username, domainpart: domain), !account.isDomain
        else { throw .notAuthorized }
        try self.init(account, authzid: authzid)
    }

    /// - Parameter account: what the client has proved otherwise than by a user name: a certificate stands for it.
    init(_ account: BareJID, authzid: String?) throws(SASLFailure) {
        if let authzid {
            guard let authorized = try? BareJID(parsing: authzid) else {
                throw .invalidAuthzid("The authorization identity is not a bare JID.")
            }
            guard authorized == account else {
                throw .invalidAuthzid("The authorization identity is not the authenticated account.")
            }
        }
        self.account = account
    }
}
