package import MartletCore
import MartletXML
import MartletXMPP

/// Passwords that an account has beside its own, each for one application (``StoredApplicationPassword``), made, listed and taken away by its owner from a
/// client, by commands of his domain (XEP-0050).
///
/// The server makes them and tells each once. Who has come in by one neither sees these commands nor may use them; nor may a component in an account's name.
package struct ApplicationPasswords: Sendable {
    let derivation: any KeyDerivation
    let random: any RandomSource

    package init(_ derivation: any KeyDerivation, _ random: any RandomSource = SystemRandom()) {
        self.derivation = derivation
        self.random = random
    }

    var commands: [ServerCommand] {
        [
            command("add", "Make a password for an application", add), command("list", "List passwords for applications", list),
            command("revoke", "Revoke a password for an application", revoke),
        ]
    }

    private func command(_ action: String, _ name: String, _ perform: @escaping ServerCommand.Perform) -> ServerCommand {
        ServerCommand("\(Namespace.applicationPasswords.name)#\(action)", name, for: .owners, perform)
    }

    // MARK: The commands

    private func add(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard call.router.certificate(of: call.actor) == nil else { throw .forbidden("not for whoever has come in by a certificate that can be revoked") }
        guard !call.router.hasGrant(call.actor) else { throw .byGrant }
        guard let name = try Self.name(call) else { return Self.ask("Make a password for an application", [Self.nameField]) }
        let password: String
        do throws(AccountRefusal) { password = try await make(name, for: call.actor.bare, now: call.now, by: call.by, call.router) } catch { throw error.ofCommand }
        return .done(
            DataForm(.result, type: Namespace.applicationPasswords.name, fields: [.text("name", "Application", name), .text("password", "Password", password)]),
            notes: [CommandNote(.info, "the password is shown only now; a new password of the account ends it")])
    }

    private func list(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        let passwords = try await passwords(call)
        let lines = passwords.map(Self.line)
        return .done(
            DataForm(.result, type: Namespace.applicationPasswords.name, fields: [DataForm.Field("passwords", .textMulti, "Passwords for applications", lines)]))
    }

    private func revoke(_ call: ServerCommand.Call) async throws(StanzaError) -> CommandStep {
        guard let name = try Self.name(call) else {
            let names = try await passwords(call).map(\.name)
            guard let first = names.first else { return .done(notes: [CommandNote(.info, "there are no passwords for applications")]) }
            return Self.ask("Revoke a password for an application", [.choice("name", "Application", first, names.map { ($0, $0) })])
        }
        do throws(AccountRefusal) { try await call.router.removeApplicationPassword(name, of: call.actor.bare, by: call.by) } catch { throw error.ofCommand }
        return .done(notes: [CommandNote(.info, "\(name) has no password any more, and its sessions have ended")])
    }

    // MARK: Steps

    /// Makes one, with the salts of the account's own keys.
    private func make(
        _ name: String, for account: BareJID, now: Int64, by: String, _ router: Router
    ) async throws(AccountRefusal) -> String {
        let own = try await router.applicationPasswords(of: account).credentials
        let text = ApplicationPasswordText.make(random)
        guard let password = PreparedPassword(text), let keys = await derivation.keys(of: password, like: own) else {
            throw .store(.unavailable("too many passwords are being set: try again"))
        }
        try await router.addApplicationPassword(StoredApplicationPassword(name: name, keys: keys, created: now), to: account, by: by)
        return text
    }

    private func passwords(_ call: ServerCommand.Call) async throws(StanzaError) -> [StoredApplicationPassword] {
        do throws(AccountRefusal) { return try await call.router.applicationPasswords(of: call.actor.bare).applicationPasswords } catch { throw error.stanzaError }
    }

    private static func line(_ password: StoredApplicationPassword) -> String {
        let used = password.lastUsed.map { "last used on \(DateTime.text(milliseconds: $0).prefix(10))" } ?? "never used"
        return "\(password.name): made on \(DateTime.text(milliseconds: password.created).prefix(10)), \(used)"
    }

    /// `nil` at the beginning.
    private static func name(_ call: ServerCommand.Call) throws(StanzaError) -> String? {
        guard let answer = call.answers.first else { return nil }
        var fields = try FormSubmission(answer, type: Namespace.applicationPasswords.name)
        guard let name = StoredApplicationPassword.name(try fields.text("name") ?? "") else {
            throw .badRequest("a name has from 1 to \(StoredApplicationPassword.nameBytesMax) bytes")
        }
        return name
    }

    private static let nameField: DataForm.Field = {
        var field = DataForm.Field("name", .textSingle, "Application, such as: mail program on the laptop", [])
        field.isRequired = true
        return field
    }()

    private static func ask(_ title: String, _ fields: [DataForm.Field]) -> CommandStep {
        var form = DataForm(.form, type: Namespace.applicationPasswords.name, fields: fields)
        form.title = title
        return .ask(form, isLast: true)
    }
}

extension StanzaError {
    /// What owners decide is not for applications.
    static var byGrant: StanzaError { .forbidden("not for whoever has come in by a token of an authorization server") }
    static var byApplication: StanzaError { .forbidden("not for whoever has come in by the password of an application") }
}

extension AccountRefusal {
    fileprivate var ofCommand: StanzaError { conflict.map { StanzaError(.conflict, .cancel, text: $0) } ?? stanzaError }
}
