internal import MartletCore
internal import MartletXMPP

/// The table of invitations.
enum InvitationTable {
    static let columns = "key, domainpart, inviter, localpart, makes_accounts, uses, creator, created, expires"

    static let migration: @Sendable (SQLDialect) -> [String] = { d in
        [
            """
            CREATE TABLE invitation (
                key \(d.bytes) PRIMARY KEY NOT NULL, domainpart \(d.text) NOT NULL, inviter \(d.text), localpart \(d.text),
                makes_accounts \(d.integer) NOT NULL, uses \(d.integer) NOT NULL, creator \(d.text) NOT NULL, created \(d.integer) NOT NULL,
                expires \(d.integer) NOT NULL) \(d.clusteredTableOptions)
            """,
            "CREATE INDEX invitation_name ON invitation (domainpart, localpart)",
            "CREATE INDEX invitation_creator ON invitation (creator)",
        ]
    }

    static func read(_ row: any SQLStatement) throws(SQLError) -> StoredInvitation {
        guard let key = InvitationKey(bytes: row.bytes(0)) else { throw SQLError(.corrupt, "the key of an invitation") }
        let inviter: BareJID? = row.isNull(2) ? nil : try row.address(2)
        return StoredInvitation(
            key: key, domain: row.text(1), inviter: inviter, localpart: row.optionalText(3), makesAccounts: row.flag(4), usesLeft: Int(row.integer(5)),
            creator: row.text(6), created: row.integer(7), expires: row.integer(8))
    }
}

/// A reader's statements about invitations.
final class InvitationReads {
    private let one, reserving, all, ofDomain: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        let select = "SELECT \(InvitationTable.columns) FROM invitation"
        one = try connection.prepare("\(select) WHERE key = $1")
        reserving = try connection.prepare("\(select) WHERE domainpart = $1 AND localpart = $2 AND expires > $3 LIMIT 1")
        all = try connection.prepare("\(select) WHERE key > $1 ORDER BY key LIMIT $2")
        ofDomain = try connection.prepare("\(select) WHERE key > $1 AND domainpart = $3 ORDER BY key LIMIT $2")
    }

    func invitation(_ key: InvitationKey) throws(SQLError) -> StoredInvitation? {
        try one.first({ $0.bind(key, at: 1) }, InvitationTable.read)
    }

    func invitation(reserving address: BareJID, now: Int64) throws(SQLError) -> StoredInvitation? {
        guard !address.isDomain else { return nil }
        return try reserving.first({
            $0.bind(partsOf: address, at: 1)
            $0.bind(now, at: 3)
        }, InvitationTable.read)
    }

    func invitations(domain: String?, after: InvitationKey?, limit: Int) throws(SQLError) -> [StoredInvitation] {
        try (domain == nil ? all : ofDomain).rows({
            $0.bind(after?.bytes ?? [], at: 1)
            $0.bind(Int64(max(0, limit)), at: 2)
            if let domain { $0.bind(domain, at: 3) }
        }, InvitationTable.read)
    }
}

/// The writer's statements about invitations. Called within a transaction.
final class InvitationWrites {
    private let connection: any SQLConnection
    private let countOpen, countReserving, insert, takeOne, removeUsedUp, revoke, removeExpired, removeOfInviter: any SQLStatement

    init(_ connection: any SQLConnection) throws(SQLError) {
        self.connection = connection
        countOpen = try connection.prepare("SELECT COUNT(*) FROM invitation WHERE creator = $1 AND domainpart = $2 AND expires > $3")
        countReserving = try connection.prepare("SELECT COUNT(*) FROM invitation WHERE domainpart = $1 AND localpart = $2 AND expires > $3")
        insert = try connection.prepare(
            "INSERT INTO invitation (\(InvitationTable.columns)) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (key) DO NOTHING")
        takeOne = try connection.prepare("UPDATE invitation SET uses = uses - 1 WHERE key = $1")
        removeUsedUp = try connection.prepare("DELETE FROM invitation WHERE key = $1 AND uses < 1")
        revoke = try connection.prepare("DELETE FROM invitation WHERE key = $1")
        removeExpired = try connection.prepare("DELETE FROM invitation WHERE expires <= $1")
        removeOfInviter = try connection.prepare("DELETE FROM invitation WHERE inviter = $1")
    }

    func apply(_ change: InvitationChange) throws(SQLError) {
        switch change {
        case .create(let invitation, let openMax): try create(invitation, openMax)
        case .use(let key):
            try takeOne.run { $0.bind(key, at: 1) }
            guard connection.changes > 0 else { throw SQLError(.constraint, "the invitation is used up") }
            try removeUsedUp.run { $0.bind(key, at: 1) }
        case .revoke(let key): try revoke.run { $0.bind(key, at: 1) }
        case .removeExpired(let now): try removeExpired.run { $0.bind(now, at: 1) }
        }
    }

    /// The inviter's account goes.
    func remove(by inviter: BareJID) throws(SQLError) { try removeOfInviter.run { $0.bind(inviter, at: 1) } }

    private func create(_ invitation: StoredInvitation, _ openMax: Int) throws(SQLError) {
        let open = try countOpen.first({
            $0.bind(invitation.creator, at: 1)
            $0.bind(invitation.domain, at: 2)
            $0.bind(invitation.created, at: 3)
        }) { Int($0.integer(0)) }
        guard open ?? 0 < openMax else { throw SQLError(.constraint, "\(invitation.creator) has \(openMax) invitations") }
        if let localpart = invitation.localpart { try checkIsFree(localpart, at: invitation.domain, now: invitation.created) }
        try insert.run {
            $0.bind(invitation.key, at: 1)
            $0.bind(invitation.domain, at: 2)
            $0.bind(invitation.inviter?.description, at: 3)
            $0.bind(invitation.localpart, at: 4)
            $0.bind(invitation.makesAccounts, at: 5)
            $0.bind(Int64(invitation.usesLeft), at: 6)
            $0.bind(invitation.creator, at: 7)
            $0.bind(invitation.created, at: 8)
            $0.bind(invitation.expires, at: 9)
        }
        guard connection.changes > 0 else { throw SQLError(.constraint, "the invitation exists") }
    }

    private func checkIsFree(_ localpart: String, at domain: String, now: Int64) throws(SQLError) {
        let count = try countReserving.first({
            $0.bind(domain, at: 1)
            $0.bind(localpart, at: 2)
            $0.bind(now, at: 3)
        }) { $0.integer(0) }
        guard count ?? 0 == 0 else { throw SQLError(.constraint, "the name is kept for somebody else: \(localpart)@\(domain)") }
    }
}

extension SQLStatement {
    fileprivate func bind(_ key: InvitationKey, at index: Int) { bind(key.bytes, at: index) }
}
