package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

extension Namespace {
    /// Of the stream feature.
    fileprivate static let registerFeature: Namespace = "http://jabber.org/features/iq-register"
    fileprivate static let tokenFeature: Namespace = "urn:xmpp:ibr-token:0"
    /// Of the form for another password.
    fileprivate static let changePassword: Namespace = "jabber:iq:register:changepassword"
}

/// Who gets an account without an operator, and what accounts may do to themselves.
package struct RegistrationSettings: Sendable {
    package enum Offer: String, Hashable, Sendable {
        case closed
        /// Whoever has an invitation (XEP-0445).
        case invited
        case open
    }

    /// Who may have an account made before log-in.
    package var offer = Offer.closed
    package var changesPasswords = true
    package var removesAccounts = false
    /// Whether the accounts of the domain, and their passwords, are in a directory: then nobody makes one here, administrators included.
    package var accountsAreElsewhere = false
    /// Where passwords are changed that are elsewhere, if people may.
    package var passwordsElsewhere: (any PasswordChanging)?
    /// Localparts that nobody registers, as they are after PRECIS (RFC 7622 §3.3). Operators may.
    package var reservedNames: Set<String> = []
    package var keys = KeyPolicy()
    package var passwords = PasswordRules()
    package init() {}
}

/// Accounts that people make for themselves, and what they do to their own: a new password, their end.
///
/// Before log-in a client has the form and makes an account (``RegisteringStage``); whoever does not is as far as before. After it
/// `jabber:iq:register` is about the account that asks, whether it is sent to that or to its domain.
package struct InBandRegistration: IQResponder, RegisteringStage {
    package static let specification = Specification.xep(
        77, "In-Band Registration", version: "2.4", note: "registration before log-in where the operator allows it; a new password ends the account's other sessions")

    package let settings: RegistrationSettings
    let invitations: InvitationSettings
    private let derivation: any KeyDerivation
    private let time: any TimeSource

    package init(_ settings: RegistrationSettings, _ invitations: InvitationSettings = .init(), _ derivation: any KeyDerivation, time: any TimeSource) {
        self.settings = settings
        self.invitations = invitations
        self.derivation = derivation
        self.time = time
    }

    package var disco: DiscoFeatures {
        settings.takesAnything ? .everywhere(.register) : DiscoFeatures()
    }

    package var routes: [IQRoute] {
        guard settings.takesAnything else { return [] }
        return [IQRoute.Scope.ownAccount, .host].flatMap { scope in
            [
                IQRoute.immediate(.get, "query", .register, at: scope) { request, host throws(StanzaError) in try current(request, host) },
                .held(.set, "query", .register, at: scope) { held, context in change(held, context) },
            ]
        }
    }

    // MARK: After log-in

    /// §3.1. The password is nobody's to tell: it is not kept.
    private func current(_ request: IQRequest, _ host: Host) throws(StanzaError) -> IQReply {
        let account = try Self.account(of: request, host)
        return IQReply { writer in
            writer.element("query", .register) { writer in
                writer.element("registered", .register)
                writer.element("username", .register, text: account.localpart)
                writer.element("password", .register)
            }
        }
    }

    /// The account that asks. Nobody has another one here.
    private static func account(of request: IQRequest, _ host: Host) throws(StanzaError) -> BareJID {
        let account = request.actor.bare
        guard account.domainpart == host.domain.domainpart, !account.isDomain else { throw .notAllowed }
        return account
    }

    private func change(_ held: HeldRequest, _ context: LoopContext) {
        do throws(StanzaError) {
            guard let host = held.request.host else { throw .serviceUnavailable }
            guard held.isByAccount else { throw .notAllowed }
            let account = try Self.account(of: held.request, host)
            guard !held.request.isByApplication else {
                host.policy.refused(account, "jabber:iq:register set by the password of an application", needing: nil)
                throw .byApplication
            }
            guard !held.router.hasGrant(held.request.actor) else { throw .byGrant }
            if held.request.child.hasChild("remove", .register) {
                try remove(account, held, context)
            } else {
                try setPassword(of: account, held, context)
            }
        } catch {
            held.refuse(error, context)
        }
    }

    /// §3.2.
    private func remove(_ account: BareJID, _ held: HeldRequest, _ context: LoopContext) throws(StanzaError) {
        guard settings.removesAccounts else { throw .notAllowed }
        // What a certificate lets in is taken back with it (XEP-0257 §2.4): nothing that lasts is to come of it.
        guard held.router.certificate(of: held.request.actor) == nil else { throw StanzaError(.notAuthorized) }
        guard held.request.child.children.allSatisfy({ $0.isNamed("remove", .register) }) else { throw .badRequest("nothing goes with <remove/>") }
        let audit = held.router.audit
        held.deleteAccount(context) { audit.record(.accountDeleted(account, by: account.description)) }
    }

    /// §3.3. The session that has set it goes on.
    private func setPassword(of account: BareJID, _ held: HeldRequest, _ context: LoopContext) throws(StanzaError) {
        guard settings.changesPasswords else { throw .notAllowed }
        let wish = try RegistrationWish(held.request.child)
        guard let name = wish.name, let text = wish.password else { throw .badRequest("a name and a password are needed") }
        guard (try? BareJID(localpart: name, domainpart: account.domainpart)) == account else { throw .notAllowed }
        guard case .full(let session) = held.request.actor else { throw .notAllowed }
        // Whoever has a certificate of the account's own need not know the password, and is not to make it his own (XEP-0257 §5.2).
        guard held.router.certificate(of: held.request.actor) == nil else { throw StanzaError(.notAuthorized) }
        let mailbox = context.mailbox
        held.answer(context) { router async throws(StanzaError) in
            if let elsewhere = settings.passwordsElsewhere {
                let password = try password(text, for: account)
                try await elsewhere.setPassword(password, replacing: wish.oldPassword.flatMap { PreparedPassword($0) }, of: account, sparing: session)
                return .empty
            }
            try await setPassword(of: account, text, sparing: session, by: account.description, router, on: mailbox)
            return .empty
        }
    }

    // MARK: Before log-in

    package var takesStrangers: Bool { settings.offer != .closed }

    package func writeOffer(to writer: inout XMLWriter) {
        writer.element("register", .registerFeature)
        writer.element("register", .tokenFeature)
    }

    package func answer(_ request: StrangersRequest, _ router: Router, on mailbox: LoopMailbox) async -> RegistrationAnswer {
        do throws(StanzaError) {
            if let preauth = request.element.firstChild("preauth", .preAuthentication) { return try await admit(preauth, request, router) }
            guard let query = request.element.firstChild("query", .register) else { throw .serviceUnavailable }
            return try await request.kind == .set ? register(query, request, router, on: mailbox) : form(for: request, router)
        } catch {
            return .refused(error)
        }
    }

    private func form(for request: StrangersRequest, _ router: Router) async throws(StanzaError) -> RegistrationAnswer {
        let name = try await invitation(for: request, router)?.localpart
        if let name, let address = try? BareJID(localpart: name, domainpart: request.domain.domainpart) {
            try Self.check(address, request.ways, from: request.remoteAddress, router)
        }
        return .form(Self.form(name: name))
    }

    private func register(
        _ query: ElementView, _ request: StrangersRequest, _ router: Router, on mailbox: LoopMailbox
    ) async throws(StanzaError) -> RegistrationAnswer {
        guard !query.hasChild("remove", .register) else { throw StanzaError(.unexpectedRequest) }
        let wish = try RegistrationWish(query)
        guard let name = wish.name, let password = wish.password else { throw .notAcceptable("a name and a password are needed") }
        let invitation = try await invitation(for: request, router)
        try await register(name, password, by: invitation, at: request.domain, request.ways, from: request.remoteAddress, router, on: mailbox)
        return .registered
    }

    // MARK: Invitations (XEP-0445)

    /// A token is looked at once for its time: whoever fills in the form meanwhile is not too late (§4).
    private func admit(_ preauth: ElementView, _ request: StrangersRequest, _ router: Router) async throws(StanzaError) -> RegistrationAnswer {
        let invalid = StanzaError.itemNotFound("The provided token is invalid or expired")
        guard request.kind == .set, let token = preauth.attribute("token") else { throw .badRequest("a token is needed") }
        guard let invitation = try await invitation(token, at: request.domain, router), invitation.makesAccounts, isGood(invitation) else { throw invalid }
        return .admitted(token: token)
    }

    /// By which somebody is let in who has been admitted; `nil` where everybody is.
    private func invitation(for request: StrangersRequest, _ router: Router) async throws(StanzaError) -> StoredInvitation? {
        if let token = request.token, let invitation = try await invitation(token, at: request.domain, router) { return invitation }
        guard settings.offer == .open else { throw StanzaError(.notAllowed, text: "an invitation is needed") }
        return nil
    }

    private func invitation(_ token: String, at domain: BareJID, _ router: Router) async throws(StanzaError) -> StoredInvitation? {
        do throws(StoreError) {
            guard let invitation = try await router.store.invitation(InvitationKey(token: token)), invitation.domain == domain.domainpart,
                try await router.store.isUpheld(invitation)
            else { return nil }
            return invitation
        } catch { throw StanzaError(refusal: error) }
    }

    private func isGood(_ invitation: StoredInvitation) -> Bool { invitation.expires > time.wallMilliseconds }

    package func offer(of token: String, _ router: Router) async throws(StoreError) -> InvitationOffer? {
        guard let invitation = try await router.store.invitation(InvitationKey(token: token)), isGood(invitation),
            try await router.store.isUpheld(invitation), let domain = try? BareJID(parsing: invitation.domain)
        else { return nil }
        return InvitationOffer(
            domain: domain, inviter: invitation.inviter, localpart: invitation.localpart, makesAccounts: invitation.makesAccounts && takesStrangers,
            uri: InvitationLink(invitation, token, invitations).uri)
    }

    package func register(
        _ name: String, _ password: String, by token: String, at domain: BareJID, _ ways: WaysIn, from remoteAddress: String, _ router: Router,
        on mailbox: LoopMailbox
    ) async -> RegistrationAnswer {
        do throws(StanzaError) {
            guard takesStrangers, let invitation = try await invitation(token, at: domain, router), invitation.makesAccounts, isGood(invitation) else {
                throw .itemNotFound("the invitation is used up, or too old")
            }
            try await register(name, password, by: invitation, at: domain, ways, from: remoteAddress, router, on: mailbox)
            return .registered
        } catch {
            return .refused(error)
        }
    }

    // MARK: A new account

    /// Makes an account for a stranger: on the disk when it returns.
    private func register(
        _ name: String, _ text: String, by invitation: StoredInvitation?, at domain: BareJID, _ ways: WaysIn, from remoteAddress: String, _ router: Router,
        on mailbox: LoopMailbox
    ) async throws(StanzaError) {
        guard let address = try? BareJID(localpart: name, domainpart: domain.domainpart), let localpart = address.localpart else {
            throw .notAcceptable("this cannot be a name")
        }
        if let kept = invitation?.localpart, kept != localpart { throw .notAcceptable("the invitation is for \(kept)") }
        try Self.check(address, ways, from: remoteAddress, router)
        guard try await isOpen(address, to: invitation, router.store) else { throw Self.taken }
        let by = invitation.map { "invitation of \($0.creator), from \(remoteAddress)" } ?? "registration from \(remoteAddress)"
        try await make(address, text, using: invitation, by: by, router, on: mailbox)
        guard let inviter = invitation?.inviter else { return }
        mailbox.run { context in router.introduce(address, to: inviter, context) }
    }

    /// No account is made whose password could not be used. That is said whether there is such an account or not.
    private static func check(_ address: BareJID, _ ways: WaysIn, from remoteAddress: String, _ router: Router) throws(StanzaError) {
        guard !ways.takePassword(of: address) else { return }
        router.audit.record(.refused(Refusal(actor: remoteAddress, action: "register \(address)", reason: "no password lets it in")))
        throw StanzaError(.notAllowed, text: "nobody logs in to this account with a password: ask the operator for it")
    }

    /// A name that is kept for somebody looks like one that is taken.
    private func isOpen(_ address: BareJID, to invitation: StoredInvitation?, _ store: any Store) async throws(StanzaError) -> Bool {
        guard let localpart = address.localpart else { return false }
        if invitation?.localpart == localpart { return true }
        guard !settings.reservedNames.contains(localpart) else { return false }
        do throws(StoreError) {
            return try await store.invitation(reserving: address, now: time.wallMilliseconds) == nil
        } catch { throw StanzaError(refusal: error) }
    }

    // MARK: For whoever may

    /// Makes an account.
    ///
    /// - Parameter invitation: is used up with it, both or neither.
    func make(
        _ address: BareJID, _ text: String, using invitation: StoredInvitation? = nil, by: String, _ router: Router, on mailbox: LoopMailbox
    ) async throws(StanzaError) {
        guard !settings.accountsAreElsewhere else { throw Self.elsewhere }
        let password = try password(text, for: address)
        guard try await isFree(address, in: router.store) else { throw Self.taken }
        let keys = try await keys(of: password)
        let use = invitation.map { [Write.invitation(.use($0.key))] } ?? []
        do throws(AccountRefusal) {
            try await router.createAccounts([AccountCreation(address, keys)], with: use, by: by, on: mailbox)
        } catch {
            // Two have used the last of an invitation at the same time.
            if error.isConflict, !use.isEmpty, try await isFree(address, in: router.store) { throw .itemNotFound("the invitation is used up") }
            throw error.stanzaError
        }
    }

    /// - Parameter session: goes on, where the others end.
    func setPassword(
        of account: BareJID, _ text: String, sparing session: FullJID? = nil, by: String, _ router: Router, on mailbox: LoopMailbox
    ) async throws(StanzaError) {
        guard !settings.accountsAreElsewhere else { throw Self.elsewhere }
        let keys = try await keys(of: try password(text, for: account))
        do throws(AccountRefusal) {
            try await router.setCredentials(of: account, keys, sparing: session, by: by, on: mailbox)
        } catch { throw error.stanzaError }
    }

    /// Before anything is done that costs more. What counts is whether the store takes the account.
    private func isFree(_ address: BareJID, in store: any Store) async throws(StanzaError) -> Bool {
        do throws(StoreError) { return try await store.credentials(of: address) == nil } catch { throw StanzaError(refusal: error) }
    }

    private static let elsewhere = StanzaError(.notAllowed, text: "the accounts of this domain and their passwords are in a directory")
    private static let taken = StanzaError(.conflict, .cancel, text: "the name is taken")

    // MARK: Parts

    /// The same rules as for operators' passwords.
    private func password(_ text: String, for account: BareJID) throws(StanzaError) -> PreparedPassword {
        do throws(PasswordRules.Fault) { return try settings.passwords.checked(text, for: account) } catch { throw .notAcceptable(error.text) }
    }

    private func keys(of password: PreparedPassword) async throws(StanzaError) -> [ScramKeys] {
        guard let keys = await derivation.keys(of: password, settings.keys) else {
            throw .resourceConstraint("too many passwords are being set: try again")
        }
        return keys
    }

    /// §3.1, for clients that know forms (§4) and for those that do not.
    ///
    /// - Parameter name: the only one that will be taken.
    static func form(name: String?) -> ByteBuffer {
        let (values, text) = (name.map { [$0] } ?? [], name == nil ? instructions : "Choose a password.")
        var (username, password) = (DataForm.Field("username", .textSingle, "Name", values), DataForm.Field("password", .textPrivate, "Password", []))
        username.isRequired = true
        password.isRequired = true
        var form = DataForm(.form, type: Namespace.register.name, fields: [username, password])
        form.title = "A new account"
        form.instructions = [text]
        var writer = XMLWriter()
        writer.element("query", .register) { writer in
            writer.element("instructions", .register, text: text)
            writer.element("username", .register, text: name)
            writer.element("password", .register)
            form.write(to: &writer)
        }
        return writer.buffer
    }

    private static let instructions = "Choose a name and a password."
}

extension RegistrationSettings {
    fileprivate var takesAnything: Bool { offer != .closed || changesPasswords || removesAccounts }
}

/// What a client submits: by a form, or by elements (§4).
private struct RegistrationWish {
    var name: String?
    var password: String?
    /// §3.3, where more is wanted than a new one.
    var oldPassword: String?

    init(_ query: ElementView) throws(StanzaError) {
        if let x = query.firstChild("x", .dataForms) {
            let form = try DataForm(x)
            let changesPassword = form.type == Namespace.changePassword.name
            var fields = try FormSubmission(form, type: changesPassword ? Namespace.changePassword.name : Namespace.register.name)
            (name, password) = (try fields.text("username"), try fields.text("password"))
            if changesPassword { oldPassword = try fields.text("old_password") }
        } else {
            (name, password) = (query.firstChild("username", .register)?.text, query.firstChild("password", .register)?.text)
        }
        if name?.isEmpty == true { name = nil }
        if password?.isEmpty == true { password = nil }
    }
}
