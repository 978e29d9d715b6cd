package import MartletXMPP

/// Names an invitation without letting anybody use it: the SHA-256 of its token, of which nothing else is kept.
package struct InvitationKey: Hashable, Sendable, Comparable {
    package let bytes: [UInt8]
    package static let byteCount = 32

    /// `nil` if these cannot be of a digest.
    package init?(bytes: [UInt8]) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    /// Of the token in a link.
    package init(token: String) { bytes = ScramHash.sha256.digest(Array(token.utf8)) }

    package static func < (a: Self, b: Self) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
}

/// Lets whoever has its token make an account, become somebody's contact, or both (XEP-0401, XEP-0445, XEP-0379).
package struct StoredInvitation: Hashable, Sendable {
    package var key: InvitationKey
    /// The domain of ours that it is for.
    package var domain: String
    /// Whose contact one becomes.
    package var inviter: BareJID?
    /// The localpart that the account will have; nobody else gets it meanwhile.
    package var localpart: String?
    /// Whether one may make an account.
    package var makesAccounts: Bool
    /// How often it can still be used, 1 at least.
    package var usesLeft: Int
    /// Who made it, for lists.
    package var creator: String
    /// Milliseconds since 1970.
    package var created: Int64
    package var expires: Int64

    package init(
        key: InvitationKey, domain: String, inviter: BareJID? = nil, localpart: String? = nil, makesAccounts: Bool, usesLeft: Int = 1, creator: String,
        created: Int64, expires: Int64
    ) {
        self.key = key
        self.domain = domain
        self.inviter = inviter
        self.localpart = localpart
        self.makesAccounts = makesAccounts
        self.usesLeft = usesLeft
        self.creator = creator
        self.created = created
        self.expires = expires
    }
}

package enum InvitationChange: Hashable, Sendable {
    /// Refused with ``StoreError/constraint(_:)`` if its creator has `openMax` that have not expired, or if the localpart is taken or kept
    /// for somebody else.
    case create(StoredInvitation, openMax: Int)
    /// Refused with ``StoreError/constraint(_:)`` if there is none, or no longer: what is written with it is not done then. The last use
    /// removes it.
    case use(InvitationKey)
    /// Nothing happens if there is none.
    case revoke(InvitationKey)
    /// Those whose time is over.
    case removeExpired(now: Int64)
}

/// Which invitations there are. Those of an inviter go with his account.
package protocol InvitationStore: Sendable {
    /// Also one that has expired; `nil` if there is none.
    func invitation(_ key: InvitationKey) async throws(StoreError) -> StoredInvitation?
    /// The one that keeps a localpart for somebody, and has not expired.
    func invitation(reserving address: BareJID, now: Int64) async throws(StoreError) -> StoredInvitation?
    /// In the order of their keys, after `after`; at most `limit`.
    func invitations(domain: String?, after: InvitationKey?, limit: Int) async throws(StoreError) -> [StoredInvitation]
}

extension Store {
    /// Whether those who stand behind an invitation still may: whoever has made it, and whoever one becomes the contact of. One of an account
    /// that is disabled is as good as none for as long as that lasts; else whoever was put out could let himself in again. Operators, and administrators
    /// who have their accounts elsewhere, are not among the accounts.
    package func isUpheld(_ invitation: StoredInvitation) async throws(StoreError) -> Bool {
        let creator = (try? BareJID(parsing: invitation.creator)).flatMap { $0.isDomain ? nil : $0 }
        for account in Set([creator, invitation.inviter].compactMap(\.self)) {
            guard try await credentials(of: account)?.isEnabled ?? (account.domainpart != invitation.domain) else { return false }
        }
        return true
    }
}

/// The same as plain values.
package struct InvitationContents: Sendable {
    package private(set) var all: [InvitationKey: StoredInvitation] = [:]

    package init() {}

    package func reserving(_ address: BareJID, now: Int64) -> StoredInvitation? {
        all.values.first { $0.domain == address.domainpart && $0.localpart == address.localpart && $0.expires > now && !address.isDomain }
    }

    package func page(domain: String?, after: InvitationKey?, limit: Int) -> [StoredInvitation] {
        let rest = all.values.filter { invitation in (domain == nil || invitation.domain == domain) && after.map { $0 < invitation.key } ?? true }
        return Array(rest.sorted { $0.key < $1.key }.prefix(limit))
    }

    mutating func apply(_ change: InvitationChange) throws(StoreError) {
        switch change {
        case .create(let invitation, let openMax):
            let open = all.values.count { $0.creator == invitation.creator && $0.domain == invitation.domain && $0.expires > invitation.created }
            guard open < openMax else { throw .constraint("\(invitation.creator) has \(openMax) invitations") }
            guard all[invitation.key] == nil else { throw .constraint("the invitation exists") }
            if let localpart = invitation.localpart, let address = try? BareJID(localpart: localpart, domainpart: invitation.domain),
                reserving(address, now: invitation.created) != nil
            { throw .constraint("the name is kept for somebody else: \(address)") }
            all[invitation.key] = invitation
        case .use(let key):
            guard let invitation = all[key] else { throw .constraint("the invitation is used up") }
            if invitation.usesLeft > 1 { all[key]?.usesLeft -= 1 } else { all[key] = nil }
        case .revoke(let key): all[key] = nil
        case .removeExpired(let now): all = all.filter { $0.value.expires > now }
        }
    }

    mutating func remove(by inviter: BareJID) { all = all.filter { $0.value.inviter != inviter } }
}
