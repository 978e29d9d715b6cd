package import Logging
package import MartletCore
package import MartletLDAP
package import MartletXMPP
import NIOCore
import Synchronization

/// Changes passwords of people in their directories (RFC 3062), and knows until when they are good, as far as the directories say it.
///
/// It is made before there are directories: a domain is added when its directory is followed. A lock, because any loop may ask; it is held for a look only.
package final class PasswordBook: Sendable {
    /// As whom a password is changed.
    package enum Way: Hashable, Sendable {
        /// The server itself, which may change everybody's.
        case asService
        /// Whose it is, for whom the server asks (RFC 4370).
        case proxied
    }

    package struct Directory: Sendable {
        let people: PeopleDirectory
        /// `nil` where nobody changes his password here.
        let way: Way?
        let passwords: any DirectoryPasswords
        let router: Router
        let mailbox: LoopMailbox
        let log: Logger

        /// - Parameter mailbox: of any loop.
        package init(
            _ people: PeopleDirectory, _ way: Way?, _ passwords: any DirectoryPasswords, _ router: Router, on mailbox: LoopMailbox, log: Logger
        ) {
            (self.people, self.way, self.passwords, self.router, self.mailbox, self.log) = (people, way, passwords, router, mailbox, log)
        }
    }

    /// A session that goes on though its account's password changes: it has changed it.
    private struct Survivor {
        let session: FullJID
        let until: Int64
    }

    private struct State {
        var directories: [BareJID: Directory] = [:]
        var survivors: [BareJID: Survivor] = [:]
        /// Of those that have an end soon, in milliseconds since 1970.
        var ends: [BareJID: Int64] = [:]
    }

    /// How long it may take until the directory's feed knows of a change that was made here, in milliseconds: polls are 15 seconds apart.
    private static let newsMilliseconds: Int64 = 60_000
    static let name = "directory"

    private let state = Mutex(State())
    private let time: any TimeSource

    package init(time: any TimeSource) { self.time = time }

    package func add(_ domain: BareJID, _ directory: Directory) { state.withLock { $0.directories[domain] = directory } }

    /// The session of an account that has just changed its password, if one has.
    func survivor(of account: BareJID) -> FullJID? {
        let now = time.wallMilliseconds
        return state.withLock { state in
            guard let survivor = state.survivors[account] else { return nil }
            if survivor.until > now { return survivor.session }
            state.survivors[account] = nil
            return nil
        }
    }

    private func spare(_ session: FullJID, of account: BareJID) {
        let now = time.wallMilliseconds
        state.withLock { state in
            state.survivors = state.survivors.filter { $0.value.until > now }
            state.survivors[account] = Survivor(session: session, until: now + Self.newsMilliseconds)
        }
    }
}

// MARK: Changing

extension PasswordBook: PasswordChanging {
    package func setPassword(
        _ password: PreparedPassword, replacing old: PreparedPassword?, of account: BareJID, sparing session: FullJID
    ) async throws(StanzaError) {
        guard let directory = state.withLock({ $0.directories[account.domain] }), let way = directory.way else { throw .notAllowed }
        guard case .person(let person) = directory.people.person(account) else { throw .resourceConstraint("the directory cannot be asked now: try again") }
        // Before it is changed: the feed may know of it at once.
        spare(session, of: account)
        do throws(PasswordRefusal) {
            try await directory.passwords.setPassword(password, replacing: old, at: person.name, way)
        } catch {
            state.withLock { $0.survivors[account] = nil }
            directory.log.noteIfOperatorsAffair(error.failure, account)
            throw error.stanzaError
        }
        state.withLock { $0.ends[account] = nil }
        // Where the server sees no passwords, no feed tells of it.
        do throws(AccountRefusal) {
            try await directory.router.setCredentials(of: account, [], sparing: session, by: account.description, on: directory.mailbox)
        } catch { throw error.stanzaError }
    }
}

/// Why a directory has not changed a password.
package struct PasswordRefusal: Error, Hashable, Sendable {
    package let failure: DirectoryFailure
    /// What its password policy says.
    package let fault: PasswordPolicyResponseControl.Fault?

    package init(_ failure: DirectoryFailure, _ fault: PasswordPolicyResponseControl.Fault? = nil) { (self.failure, self.fault) = (failure, fault) }

    var stanzaError: StanzaError {
        switch fault {
        case .passwordTooShort: return .notAcceptable("the directory wants a longer password")
        case .insufficientPasswordQuality: return .notAcceptable("the directory wants a password that is harder to guess")
        case .passwordInHistory: return .notAcceptable("the directory wants a password that was not used before")
        case .passwordTooYoung: return StanzaError(.notAllowed, text: "the password was changed a short time ago: the directory does not change it again yet")
        case .passwordModNotAllowed: return StanzaError(.notAllowed, text: "the directory lets nobody change this password")
        case .mustSupplyOldPassword: return Self.oldPassword
        default: break
        }
        guard case .refused(let result) = failure, result.code == .invalidCredentials else { return StanzaError(failure, about: "password") }
        return Self.oldPassword
    }

    /// XEP-0077 §3.3.
    private static let oldPassword = StanzaError(.notAuthorized, .modify, text: "the directory wants the old password as well (old_password)")
}

/// Sets passwords of entries.
package protocol DirectoryPasswords: Sendable {
    func setPassword(
        _ password: PreparedPassword, replacing old: PreparedPassword?, at name: String, _ way: PasswordBook.Way
    ) async throws(PasswordRefusal)
}

extension DirectoryClient: DirectoryPasswords {
    package func setPassword(
        _ password: PreparedPassword, replacing old: PreparedPassword?, at name: String, _ way: PasswordBook.Way
    ) async throws(PasswordRefusal) {
        let request = PasswordModifyRequest(identity: name, oldPassword: old?.bytes, newPassword: password.bytes).request
        var controls = [LDAPControl.passwordPolicy]
        if way == .proxied { controls.append(ProxiedAuthorizationControl(.name(name)).control(isCritical: true)) }
        let message: LDAPMessage
        do throws(DirectoryFailure) {
            message = try await service().connection.answer(to: .extendedRequest(request), controls: controls)
        } catch { throw PasswordRefusal(error) }
        guard let result = message.operation.result, result.code != .success else { return }
        let policy = try? message.controls.first(of: PasswordPolicyResponseControl.self)
        // OpenLDAP's way to say that the old password is wrong.
        let isOldWrong = old != nil && result.code == .unwillingToPerform
        throw PasswordRefusal(.refused(result), policy?.fault ?? (isOldWrong ? .mustSupplyOldPassword : nil))
    }
}

// MARK: Until when they are good

extension PasswordBook: PasswordExpiry {
    package var isPossible: Bool { state.withLock { !$0.ends.isEmpty } }

    package func passwordEnd(of account: BareJID) async -> Int64? { state.withLock { $0.ends[account] } }

    /// A directory has taken a password.
    ///
    /// - Parameter advice: what it has said besides.
    func taken(of account: BareJID, _ advice: BindVerdict.Advice) {
        let end = advice.expiresIn.map { time.wallMilliseconds + Int64($0) * 1_000 }
        state.withLock { $0.ends[account] = end }
    }
}

/// Binds whose answers are heard for what they say of the password's end.
package struct AdvisedBinding: DirectoryBinding {
    private let pool: BindPool
    private let people: PeopleDirectory
    private let book: PasswordBook

    package init(_ pool: BindPool, _ people: PeopleDirectory, _ book: PasswordBook) {
        self.pool = pool
        self.people = people
        self.book = book
    }

    package func bind(as name: String, _ password: PreparedPassword) async -> AccountVerdict {
        let verdict = await pool.verify(password, of: name)
        if case .accepted(let advice) = verdict, let account = people.address(ofEntryNamed: name) { book.taken(of: account, advice) }
        return verdict.accountVerdict
    }
}
