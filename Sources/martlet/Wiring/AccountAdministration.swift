import MartletCore
import MartletStorage
import MartletXMPP

/// What operators do to accounts and rooms: the same in a running server and on the data of one that does not run.
struct AccountAdministration: Sendable {
    let core: ServerCore
    let folder: String
    /// The domains that are hosted.
    let domains: Set<String>
    /// Those of them whose accounts are in a directory.
    let inDirectories: Set<String>
    let rooms: RoomAdministration
    let invitations: InvitationAdministration
    let reports: ReportAdministration
    let portable: PortableAdministration

    init(_ core: ServerCore, _ configuration: ServerConfiguration) {
        self.core = core
        folder = configuration.server.dataFolder
        domains = Set(configuration.domains.map(\.name))
        inDirectories = Set(configuration.directories.map(\.domain))
        rooms = RoomAdministration(core, configuration)
        invitations = InvitationAdministration(core, configuration)
        reports = ReportAdministration(core, configuration)
        portable = PortableAdministration(core, configuration)
    }

    /// Carries out an order about accounts and rooms and what is theirs; `nil` for others.
    func answer(_ order: ControlOrder, by: String) async throws(CommandFailure) -> ControlResponse? {
        switch order {
        case .accounts(let domain, let after): return .accounts(try await list(domain, after))
        case .create(let accounts): try await create(accounts, by: by)
        case .account(.setKeys(let address, let keys)): try await setKeys(of: address, keys, by: by)
        case .account(.setEnabled(let address, let isEnabled)): try await setEnabled(address, isEnabled, by: by)
        case .account(.delete(let address)): try await delete(address, by: by)
        case .portable(let order): return try await portable.answer(order, by: by)
        case .archive(let order): return try await ArchiveAdministration(core: core, folder: folder, rooms: rooms).answer(order, by: by)
        case .room(let order): return try await rooms.answer(order, by: by)
        case .invitation(let order): return try await invitations.answer(order, by: by)
        case .report(let order): return try await reports.answer(order, by: by)
        case .applicationPassword(let order): return try await ApplicationPasswordAdministration(core: core, folder: folder).answer(order, by: by)
        case .device(let order): return try await DeviceAdministration(core: core, folder: folder).answer(order, by: by)
        case .certificate(let order): return try await AccountCertificateAdministration(core: core, folder: folder).answer(order, by: by)
        case .upload(let order): return try await UploadAdministration(core: core, folder: folder).answer(order, by: by)
        case .status, .sessions, .closeSessions, .logLevel, .reload, .configuration, .federation, .components, .directory, .login: return nil
        }
        return .done
    }

    private func list(_ domain: String?, _ after: String?) async throws(CommandFailure) -> [AccountLine] {
        let after = try after.map(address)
        do throws(StoreError) {
            return try await core.store.accounts(domain: domain, after: after, limit: ControlProtocol.accountsMax).map {
                AccountLine(
                    address: $0.address.description, isEnabled: $0.isEnabled, isAdmin: $0.isAdmin, created: $0.created, lastActivity: $0.lastActivity,
                    passwordExpires: core.passwordLifetime.end(ofPasswordSetAt: $0.passwordSet),
                    isPasswordExpired: core.passwordLifetime.isOver(passwordSetAt: $0.passwordSet))
            }
        } catch {
            throw CommandFailure(error, in: folder)
        }
    }

    private func create(_ accounts: [NewAccount], by: String) async throws(CommandFailure) {
        guard accounts.count <= ControlProtocol.accountsMax else { throw CommandFailure(.usage, "more than \(ControlProtocol.accountsMax) accounts at once") }
        var creations: [AccountCreation] = []
        for account in accounts { creations.append(AccountCreation(try ours(account.address), try keys(account.keys), isAdmin: account.isAdmin)) }
        do throws(AccountRefusal) { try await core.router.createAccounts(creations, by: by, on: core.mailbox) } catch { throw failure(error) }
    }

    private func setKeys(of text: String, _ keys: [String], by: String) async throws(CommandFailure) {
        let (address, keys) = (try address(text), try self.keys(keys))
        try checkOurs(address)
        do throws(AccountRefusal) { try await core.router.setCredentials(of: address, keys, by: by, on: core.mailbox) } catch { throw failure(error) }
        // A server that does not run has its sessions in a file.
        try SavedSessions.remove(from: folder) { $0.address.bare == address }
    }

    private func setEnabled(_ text: String, _ isEnabled: Bool, by: String) async throws(CommandFailure) {
        let address = try address(text)
        do throws(AccountRefusal) { try await core.router.setEnabled(address, isEnabled, by: by, on: core.mailbox) } catch { throw failure(error) }
    }

    private func delete(_ text: String, by: String) async throws(CommandFailure) {
        let address = try address(text)
        let number = try? await core.store.credentials(of: address)?.id
        do throws(AccountRefusal) { try await core.router.delete(address, by: by, on: core.mailbox) } catch { throw failure(error) }
        // Behind a command that works on the data of a server that does not run, nobody is left to go on with it.
        if let number { await core.uploads.removal(of: number) }
    }

    // MARK: Steps

    private func failure(_ refusal: AccountRefusal) -> CommandFailure { CommandFailure(refusal, in: folder) }

    private func address(_ text: String) throws(CommandFailure) -> BareJID { try AccountAddress.parse(text) }

    private func hosted(_ text: String) throws(CommandFailure) -> BareJID {
        try AccountAddress.hosted(text, domains)
    }

    /// An address at which accounts are made here.
    private func ours(_ text: String) throws(CommandFailure) -> BareJID {
        let address = try hosted(text)
        try checkOurs(address)
        return address
    }

    private func checkOurs(_ address: BareJID) throws(CommandFailure) {
        guard inDirectories.contains(address.domainpart) else { return }
        throw CommandFailure(
            .usage, "the accounts of \(address.domainpart) and their passwords are in a directory", hint: "add or change the entry there; the account follows")
    }

    private func keys(_ texts: [String]) throws(CommandFailure) -> [ScramKeys] {
        let keys = try ScramKeys.parsed(texts)
        guard !keys.isEmpty, Set(keys.map(\.hash)).count == keys.count else { throw CommandFailure(.data, "an account needs keys, one of each hash") }
        return keys
    }
}

extension ScramKeys {
    static func parsed(_ texts: [String]) throws(CommandFailure) -> [ScramKeys] {
        var keys: [ScramKeys] = []
        for text in texts {
            do throws(ScramKeysError) { keys.append(try ScramKeys(parsing: text)) } catch { throw CommandFailure(.data, "not SCRAM keys: \(error)") }
        }
        return keys
    }
}

extension CommandFailure {
    init(_ refusal: AccountRefusal, in folder: String) {
        switch refusal {
        case .noAccount(let address): self.init(.noAccount, "there is no account \(address)")
        case .store(let error): self.init(error, in: folder)
        }
    }
}

/// Addresses as people write them.
enum AccountAddress {
    static func parse(_ text: String) throws(CommandFailure) -> BareJID {
        guard let address = try? BareJID(parsing: text), !address.isDomain else {
            throw CommandFailure(.data, "\(printable(text)) is not an address of an account", hint: "write it like juliet@example.org")
        }
        return address
    }

    static func hosted(_ text: String, _ domains: Set<String>) throws(CommandFailure) -> BareJID {
        let address = try parse(text)
        guard domains.contains(address.domainpart) else {
            throw CommandFailure(
                .data, "this server does not host \(address.domainpart)",
                hint: NearestName.nearest(to: address.domainpart, among: domains.sorted()).map { "did you mean \($0)?" }
                    ?? "its domains: \(domains.sorted().prefix(10).joined(separator: ", "))")
        }
        return address
    }

    private static func printable(_ text: String) -> String { ConfigurationProblem.printable(text.prefix(200)) }
}
