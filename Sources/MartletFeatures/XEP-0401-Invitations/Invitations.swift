package import MartletCore
package import MartletXMPP

/// Who may invite, and how.
package struct InvitationSettings: Hashable, Sendable {
    /// Whether accounts may; administrators may always.
    package var accountsInvite = false
    /// For how long an invitation is good, in milliseconds.
    package var lifetime: Int64 = 7 * 86_400_000
    /// Invitations of one account that have not been used and not expired.
    package var openMax = 10
    /// Where the page of an invitation is, without a slash at its end; `nil`: there is none.
    package var url: String?
    package init() {}

    /// The same of an administrator, and of the operator: enough for everybody of a school, and a bound.
    package static let administratorsOpenMax = 10_000
}

/// An invitation with its token, which is told once: to whoever has made it.
package struct Invitation: Hashable, Sendable {
    package let stored: StoredInvitation
    package let token: String
    package let link: InvitationLink

    /// - Parameter now: in milliseconds since 1970.
    package init(
        at domain: BareJID, inviter: BareJID? = nil, localpart: String? = nil, makesAccounts: Bool, uses: Int = 1, by creator: String,
        _ settings: InvitationSettings, now: Int64, _ random: any RandomSource
    ) {
        token = random.token()
        stored = StoredInvitation(
            key: InvitationKey(token: token), domain: domain.domainpart, inviter: inviter, localpart: localpart, makesAccounts: makesAccounts,
            usesLeft: uses, creator: creator, created: now, expires: now + settings.lifetime)
        link = InvitationLink(stored, token, settings)
    }
}

/// What is sent to whoever is invited.
package struct InvitationLink: Hashable, Sendable {
    /// For a client (RFC 5122, XEP-0379 §3.2, XEP-0445 §2).
    package let uri: String
    /// The page that tells what to do with it (XEP-0401 §4.1); `nil` if there is none.
    package let page: String?

    package init(_ invitation: StoredInvitation, _ token: String, _ settings: InvitationSettings) {
        let isContact = invitation.inviter != nil && invitation.localpart == nil
        let name = isContact ? invitation.inviter?.localpart : invitation.localpart
        let domain = isContact ? invitation.inviter?.domainpart ?? invitation.domain : invitation.domain
        // What an address may not have in a URI (RFC 5122 §2.2) is written as the bytes that it is.
        let address = name.map { PercentEncoding.encoded($0) + "@" } ?? ""
        let action = isContact ? "roster;preauth=\(token)\(invitation.makesAccounts ? ";ibr=y" : "")" : "register;preauth=\(token)"
        uri = "xmpp:\(address)\(domain)?\(action)"
        page = settings.url.map { "\($0)/invite/\(token)" }
    }
}
