package import MartletCore
import MartletXML
import MartletXMPP

/// What those with the admin role do to the accounts of their domain from a client, by the commands of XEP-0133.
///
/// They do what operators do by `martlet account`, in the same ways and with the same lines in the audit log. What XEP-0133 has besides is
/// left out where it would show what is only the owner's (passwords, which are not kept; rosters; network addresses), and where it is the
/// configuration's (administrators, lists of domains) or the machine's (restart, shutdown).
///
/// Accounts with the admin role are not changed from here: who administers one domain would otherwise take over who administers all.
package struct ServiceAdministration: Feature {
    package static let specification = Specification.xep(
        133, "Service Administration", version: "1.3.1",
        note:
            "accounts, sessions, numbers, lists, announcements, the message of the day and the welcome; without passwords, rosters and addresses of people, "
            + "and without what is configuration")

    /// Accounts that one command is about, at most.
    package static let accountsMax = 100
    /// Accounts that a list shows at most, whatever is asked for.
    package static let listedMax = 1_000
    /// Longest announcement, in bytes, and longest subject of one.
    package static let announcementBytesMax = 16_384

    /// Makes accounts and passwords.
    let registration: InBandRegistration
    /// What the domain says to those who come.
    let greetings: Greetings
    /// What it says to those whose passwords will expire.
    let passwordWarning: PasswordWarning?

    var commands: [ServerCommand] {
        [
            command("add-user", "Add a user", addUser), command("delete-user", "Delete users", deleteUsers),
            command("disable-user", "Disable users", disableUsers), command("reenable-user", "Enable disabled users", enableUsers),
            command("end-user-session", "End sessions of users", endSessions),
            command("change-user-password", "Change a user's password", setPassword),
            command("get-user-lastlogin", "When users were last online", lastLogins), command("user-stats", "A user's sessions", userStatistics),
            number("get-registered-users-num", "Number of registered users", "registeredusersnum") { _ in true },
            number("get-disabled-users-num", "Number of disabled users", "disabledusersnum") { !$0.isEnabled },
            onlineNumber("get-online-users-num", "Number of online users", "onlineusersnum") { _ in true },
            onlineNumber("get-active-users-num", "Number of available users", "activeusersnum") { $0 },
            list("get-registered-users-list", "List of registered users", "registereduserjids") { _ in true },
            list("get-disabled-users-list", "List of disabled users", "disableduserjids") { !$0.isEnabled },
            command("get-online-users-list", "List of online users", onlineList),
            command("announce", "Send an announcement to all who are online", announce),
        ] + greetingCommands
    }

    func command(_ node: String, _ name: String, _ perform: @escaping ServerCommand.Perform) -> ServerCommand {
        ServerCommand("\(Self.formType)#\(node)", name, for: .administrators, perform)
    }

    static let formType = "http://jabber.org/protocol/admin"
}

// MARK: Accounts (§4.1–§4.6)

extension ServiceAdministration {
    private func addUser(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard var fields = try Self.submission(call) else {
            return Self.ask(
                "Add a user", [
                    Self.field("accountjid", .jidSingle, "Address of the account"), Self.field("password", .textPrivate, "Password"),
                    Self.field("password-verify", .textPrivate, "The password again"),
                ])
        }
        let address = try Self.address(try fields.address("accountjid"), call)
        guard let password = try fields.text("password") else { throw .badRequest("a password is needed") }
        // What clients made for older forms do not send is not asked for.
        if let again = try fields.text("password-verify"), again != password { throw .badRequest("the two passwords are not the same") }
        try await registration.make(address, password, by: call.by, call.router, on: call.mailbox)
        return .done(notes: [CommandNote(.info, "\(address) has an account now")])
    }

    private func deleteUsers(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        try await forEachAccount("Delete users", "deleted", call) { account throws(AccountRefusal) in
            try await call.router.delete(account, by: call.by, on: call.mailbox)
        }
    }

    private func disableUsers(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        try await forEachAccount("Disable users", "disabled", call) { account throws(AccountRefusal) in
            try await call.router.setEnabled(account, false, by: call.by, on: call.mailbox)
        }
    }

    private func enableUsers(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        try await forEachAccount("Enable disabled users", "enabled", call) { account throws(AccountRefusal) in
            try await call.router.setEnabled(account, true, by: call.by, on: call.mailbox)
        }
    }

    private func setPassword(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard var fields = try Self.submission(call) else {
            return Self.ask(
                "Change a user's password",
                [Self.field("accountjid", .jidSingle, "Address of the account"), Self.field("password", .textPrivate, "New password")])
        }
        let account = try Self.address(try fields.address("accountjid"), call)
        guard let password = try fields.text("password") else { throw .badRequest("a password is needed") }
        try await checkMayChange(account, call)
        try await registration.setPassword(of: account, password, by: call.by, call.router, on: call.mailbox)
        return .done(notes: [CommandNote(.info, "the password of \(account) was changed, and its sessions have ended")])
    }

    /// Does it to one account after the other. What cannot be done is told, and the rest is done.
    private func forEachAccount(
        _ title: String, _ deed: String, _ call: ServerCommand.Call, _ act: (BareJID) async throws(AccountRefusal) -> Void
    ) async throws(StanzaError) -> CommandStep {
        guard let accounts = try Self.accounts(call) else { return Self.ask(title, [Self.field("accountjids", .jidMulti, "Addresses of the accounts")]) }
        var notes: [CommandNote] = []
        for account in accounts.map(\.bare) {
            do throws(StanzaError) {
                try await checkMayChange(account, call)
                do throws(AccountRefusal) { try await act(account) } catch { throw error.stanzaError }
                notes.append(CommandNote(.info, "\(account) is \(deed)"))
            } catch {
                notes.append(CommandNote(.error, "\(account) is not \(deed): \(error.text ?? error.condition.rawValue)"))
            }
        }
        return .done(notes: notes)
    }

    /// Nobody changes an administrator's account, his own included, from here.
    private func checkMayChange(_ account: BareJID, _ call: ServerCommand.Call) async throws(StanzaError) {
        let identity: StoredIdentity?
        do throws(StoreError) { identity = try await call.router.store.credentials(of: account) } catch { throw StanzaError(refusal: error) }
        guard let identity else { throw .itemNotFound("there is no such account") }
        guard !call.host.policy.isAdministrator(account, isMarked: identity.isAdmin) else {
            call.host.policy.refused(call.actor.bare, "change of \(account)", needing: nil)
            throw StanzaError(.notAllowed, text: "accounts with the admin role are changed on the server itself only")
        }
    }
}

// MARK: Sessions (§4.5, §4.9, §4.10)

extension ServiceAdministration {
    private func endSessions(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard let addresses = try Self.accounts(call) else {
            return Self.ask("End sessions of users", [Self.field("accountjids", .jidMulti, "Addresses of accounts, or of single sessions")])
        }
        var count = 0
        for session in call.router.allSessions() where addresses.contains(where: { $0 == .full(session.address) || $0 == .bare(session.address.bare) }) {
            session.ref.mailbox.postAndWake(.end(session.ref, StreamError(.policyViolation, "closed by an administrator")))
            call.router.audit.record(.sessionClosed(session.address, by: call.by))
            count += 1
        }
        return .done(notes: [CommandNote(.info, "sessions that are told to end: \(count)")])
    }

    private func lastLogins(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard let accounts = try Self.accounts(call) else {
            return Self.ask("When users were last online", [Self.field("accountjids", .jidMulti, "Addresses of the accounts")])
        }
        var times: [String] = []
        for account in accounts { times.append(try await lastLogin(of: account.bare, call)) }
        return Self.result([
            DataForm.Field("accountjids", .jidMulti, "Addresses of the accounts", accounts.map(\.bare.description)),
            DataForm.Field("lastlogin", .textMulti, "Last online", times),
        ])
    }

    private func userStatistics(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard var fields = try Self.submission(call) else {
            return Self.ask("A user's sessions", [Self.field("accountjid", .jidSingle, "Address of the account")])
        }
        let account = try Self.address(try fields.address("accountjid"), call)
        let lastLogin = try await lastLogin(of: account, call)
        let resources = call.router.allSessions().filter { $0.address.bare == account }.map(\.address.resourcepart).sorted()
        return Self.result([
            DataForm.Field("accountjid", .jidSingle, "Address of the account", [account.description]),
            DataForm.Field("onlineresources", .textMulti, "Sessions", resources), .text("lastlogin", "Last online", lastLogin),
        ])
    }

    private func lastLogin(of account: BareJID, _ call: ServerCommand.Call) async throws(StanzaError) -> String {
        let stored: Result<StoredAccount?, StoreError> = await withCheckedContinuation { continuation in
            call.router.store.loadAccount(account) { continuation.resume(returning: $0) }
        }
        switch stored {
        case .failure(let error): throw StanzaError(refusal: error)
        case .success(nil): throw .itemNotFound("there is no account \(account)")
        case .success(let stored?):
            if !call.router.sessions(of: account).isEmpty { return "online" }
            return stored.lastActivity.map { DateTime.text(milliseconds: $0.time) } ?? "never"
        }
    }
}

// MARK: Numbers and lists (§4.13–§4.22)

extension ServiceAdministration {
    private func number(
        _ node: String, _ title: String, _ field: String, _ counts: @escaping @Sendable (AccountSummary) -> Bool
    ) -> ServerCommand {
        command(node, title) { call throws(StanzaError) in
            var count = 0
            try await Self.forEachAccount(call) { account in
                if counts(account) { count += 1 }
                return true
            }
            return Self.result([.text(field, title, String(count))])
        }
    }

    /// - Parameter counts: is given whether somebody of the account's sessions is available.
    private func onlineNumber(_ node: String, _ title: String, _ field: String, _ counts: @escaping @Sendable (Bool) -> Bool) -> ServerCommand {
        command(node, title) { call throws(StanzaError) in
            Self.result([.text(field, title, String(Self.online(call).count { counts($0.isAvailable) }))])
        }
    }

    private func list(
        _ node: String, _ title: String, _ field: String, _ shows: @escaping @Sendable (AccountSummary) -> Bool
    ) -> ServerCommand {
        command(node, title) { call throws(StanzaError) in
            guard let limit = try Self.listLimit(call) else { return Self.askLimit(title) }
            var addresses: [String] = []
            try await Self.forEachAccount(call) { account in
                if shows(account) { addresses.append(account.address.description) }
                return addresses.count < limit
            }
            return Self.result([DataForm.Field(field, .jidMulti, title, addresses)])
        }
    }

    private func onlineList(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard let limit = try Self.listLimit(call) else { return Self.askLimit("List of online users") }
        let addresses = Self.online(call).map(\.account.description).sorted().prefix(limit)
        return Self.result([DataForm.Field("onlineuserjids", .jidMulti, "List of online users", Array(addresses))])
    }

    /// Accounts of the domain in order, until `body` has enough.
    private static func forEachAccount(_ call: ServerCommand.Call, _ body: (AccountSummary) -> Bool) async throws(StanzaError) {
        var last: BareJID?
        do throws(StoreError) {
            while true {
                let page = try await call.router.store.accounts(domain: call.host.domain.domainpart, after: last, limit: pageCount)
                for account in page where !body(account) { return }
                guard page.count == pageCount else { return }
                last = page.last?.address
            }
        } catch { throw StanzaError(refusal: error) }
    }

    private static let pageCount = 500

    private static func online(_ call: ServerCommand.Call) -> [(account: BareJID, isAvailable: Bool)] {
        var isAvailable: [BareJID: Bool] = [:]
        for session in call.router.allSessions() where session.address.bare.domainpart == call.host.domain.domainpart {
            isAvailable[session.address.bare, default: false] = isAvailable[session.address.bare] == true || session.priority != nil
        }
        return isAvailable.map { ($0.key, $0.value) }
    }

    private static func askLimit(_ title: String) -> CommandStep {
        let options = ["25", "50", "100", "200", "none"].map { ($0, $0 == "none" ? "At most \(listedMax)" : $0) }
        return ask(title, [.choice("max_items", "Maximum number of items to show", "25", options)])
    }

    /// `nil` at the beginning.
    private static func listLimit(_ call: ServerCommand.Call) throws(StanzaError) -> Int? {
        guard var fields = try submission(call) else { return nil }
        return try fields.number("max_items", 1...listedMax, "none") ?? 25
    }
}

// MARK: Announcements (§4.23)

extension ServiceAdministration {
    /// To every session that is available; nobody gets it later.
    private func announce(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard var fields = try Self.submission(call) else {
            return Self.ask(
                "Send an announcement", [DataForm.Field("subject", .textSingle, "Subject", []), Self.field("announcement", .textMulti, "Announcement")])
        }
        let subject = try fields.text("subject", bytesMax: Self.announcementBytesMax)
        let text = try fields.texts("announcement").joined(separator: "\n")
        guard !text.isEmpty else { throw .badRequest("an announcement has a text") }
        guard text.utf8.count <= Self.announcementBytesMax else { throw .notAcceptable("an announcement may have \(Self.announcementBytesMax) bytes") }
        let domain = JID.bare(call.host.domain)
        let message = StanzaBuilder.message(.headline, from: domain, to: nil) { writer in
            if let subject, !subject.isEmpty { writer.element("subject", .client, text: subject) }
            writer.element("body", .client, text: text)
        }
        let count = call.router.announce(SharedStanza(message, kind: .message(.headline), from: domain), at: call.host.domain)
        call.router.audit.record(.announced(call.host.domain, sessions: count, by: call.by))
        return .done(notes: [CommandNote(.info, "sessions that it goes to: \(count)")])
    }
}

// MARK: Forms

extension ServiceAdministration {
    static func ask(_ title: String, _ fields: [DataForm.Field]) -> CommandStep {
        var form = DataForm(.form, type: formType, fields: fields)
        form.title = title
        return .ask(form, isLast: true)
    }

    private static func result(_ fields: [DataForm.Field]) -> CommandStep {
        .done(DataForm(.result, type: formType, fields: fields))
    }

    /// One that has to be filled in.
    static func field(_ name: String, _ kind: DataForm.Field.Kind, _ label: String) -> DataForm.Field {
        var field = DataForm.Field(name, kind, label, [])
        field.isRequired = true
        return field
    }

    /// `nil` at the beginning.
    static func submission(_ call: ServerCommand.Call) throws(StanzaError) -> FormSubmission? {
        guard let answer = call.answers.first else { return nil }
        return try FormSubmission(answer, type: formType)
    }

    /// The addresses in `accountjids`; `nil` at the beginning.
    private static func accounts(_ call: ServerCommand.Call) throws(StanzaError) -> [JID]? {
        guard var fields = try submission(call) else { return nil }
        let texts = try fields.texts("accountjids")
        guard !texts.isEmpty else { throw .badRequest("whose accounts?") }
        guard texts.count <= accountsMax else { throw .notAcceptable("at most \(accountsMax) accounts at once") }
        var addresses: [JID] = []
        for text in texts {
            let address = try? JID(text)
            _ = try Self.address(address, call)
            if let address { addresses.append(address) }
        }
        return addresses
    }

    /// The bare address of an account that is, or would be, at the domain.
    private static func address(_ address: JID?, _ call: ServerCommand.Call) throws(StanzaError) -> BareJID {
        guard let account = address?.bare else { throw .badRequest("whose account?") }
        guard !account.isDomain, account.domainpart == call.host.domain.domainpart else {
            throw StanzaError(.notAllowed, text: "only accounts at \(call.host.domain)")
        }
        return account
    }
}
