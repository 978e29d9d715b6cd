import Crypto
package import MartletCore
package import MartletXMPP
package import NIOCore

/// Who has logged in to the white pages. Pure: time and randomness are parameters. It is kept in memory only, so that a restart ends all of it.
package struct PeopleSessions: Sendable {
    /// Sessions at a time. Past it, the one goes that would end first.
    package static let countMax = 10_000
    /// Sessions of one account at a time.
    package static let perAccountMax = 8
    /// What a browser shows again is that many random bytes.
    package static let tokenBytes = 32

    package struct Session: Hashable, Sendable {
        package let account: BareJID
        /// When it was asked about the account.
        package let moment: CredentialMoment
        package let until: NIODeadline
        /// What a form of the session's has in it, which nobody else can know (CSRF).
        package let formToken: String
    }

    /// By the digests of their tokens: what is compared tells nobody how near he came.
    private var sessions: [SHA256.Digest: Session] = [:]

    package init() {}

    package var count: Int { sessions.count }

    package mutating func begin(
        _ token: String, _ account: BareJID, at moment: CredentialMoment, form formToken: String, until end: NIODeadline, now: NIODeadline
    ) {
        if sessions.count >= Self.countMax { sessions = sessions.filter { $0.value.until > now } }
        let own = sessions.filter { $0.value.account == account }
        if own.count >= Self.perAccountMax {
            endFirst(of: own)
        } else if sessions.count >= Self.countMax {
            endFirst(of: sessions)
        }
        sessions[Self.digest(token)] = Session(account: account, moment: moment, until: end, formToken: formToken)
    }

    private mutating func endFirst(of some: [SHA256.Digest: Session]) {
        if let first = some.min(by: { $0.value.until < $1.value.until })?.key { sessions[first] = nil }
    }

    package func session(_ token: String, now: NIODeadline) -> Session? {
        sessions[Self.digest(token)].flatMap { $0.until > now ? $0 : nil }
    }

    package mutating func end(_ token: String) { sessions[Self.digest(token)] = nil }

    private static func digest(_ token: String) -> SHA256.Digest { SHA256.hash(data: Array(token.utf8)) }
}
