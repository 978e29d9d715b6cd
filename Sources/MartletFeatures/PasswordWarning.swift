package import MartletCore
import MartletXML
import MartletXMPP
import Synchronization

/// Tells people that their passwords are about to expire, while they can do something about it: whoever comes online, once a day, in a message of his
/// domain's that is for the day.
///
/// Until when a password is good its account source says (``PasswordExpiry``), which may have to ask others: whoever comes does not wait for it, and is told
/// when it is known. He is told first, and that he was is written then: after a crash he may be told once more.
package final class PasswordWarning: Sendable {
    package struct Settings: Sendable {
        package var expiry: any PasswordExpiry
        /// How long before the end, in milliseconds; 0: nobody is told.
        package var notice: Int64
        /// Whether people change their passwords themselves.
        package var changesPasswords: Bool

        package init(_ expiry: any PasswordExpiry, notice: Int64, changesPasswords: Bool) {
            self.expiry = expiry
            self.notice = notice
            self.changesPasswords = changesPasswords
        }
    }

    private static let dayMilliseconds: Int64 = 86_400_000

    private let settings: Settings
    /// Of those who are being told.
    private let ends = Mutex<[BareJID: Int64]>([:])

    init(_ settings: Settings) { self.settings = settings }

    /// Under the lock of the account's shard.
    func greeting(for home: AccountHome, _ router: Router, _ context: LoopContext) -> Greeting {
        guard settings.notice > 0, settings.expiry.isPossible else { return Greeting() }
        let today = context.wallMilliseconds / Self.dayMilliseconds
        var record = GreetingRecord(home.documents[.greetings])
        guard record.warned != today else { return Greeting() }
        let account = home.address
        guard let end = ends.withLock({ $0[account] }) else {
            ask(about: account, router, on: context.mailbox)
            return Greeting()
        }
        record.warned = today
        home.documents[.greetings] = record.document
        return Greeting(messages: [message(end, to: account)], writes: [.document(home.id, .greetings, record.document)])
    }

    private func ask(about account: BareJID, _ router: Router, on mailbox: LoopMailbox) {
        // It waits for the disk, or for a directory.
        Task(executorPreference: router.executor) { [self] in
            guard let end = await settings.expiry.passwordEnd(of: account) else { return }
            mailbox.run { [self] context in
                guard isNear(end, context.wallMilliseconds) else { return }
                ends.withLock { $0[account] = end }
                router.greet([account], context)
                ends.withLock { $0[account] = nil }
            }
        }
    }

    /// Of what has ended already nobody is warned: whoever proves the password is told (RFC 6120 §6.5.3).
    private func isNear(_ end: Int64, _ now: Int64) -> Bool { end > now && end - now <= settings.notice }

    private func message(_ end: Int64, to account: BareJID) -> EncodedStanza {
        let advice = settings.changesPasswords ? "Change it in your client before then." : "Ask whoever runs \(account.domainpart) for a new one before then."
        let text = "Your password expires on \(DateTime.text(milliseconds: end).prefix(10)). \(advice)"
        return StanzaBuilder.message(.headline, from: .bare(account.domain), to: .bare(account)) { $0.element("body", .client, text: text) }
    }
}
