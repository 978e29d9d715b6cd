import MartletCore
import MartletStorage
import MartletXMPP

/// What operators do to the passwords that accounts have for applications: the same in a running server and on the data of one that does not run.
struct ApplicationPasswordAdministration: Sendable {
    let core: ServerCore
    let folder: String

    func answer(_ order: ApplicationPasswordOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .list(let address): return .applicationPasswords(try await identity(of: address).applicationPasswords.map(ApplicationPasswordLine.init))
        case .salts(let address): return .keys(try await identity(of: address).credentials.map(\.saltsOnly))
        case .add(let address, let name, let keys): try await add(name, try ScramKeys.parsed(keys), to: try AccountAddress.parse(address), by: by)
        case .revoke(let address, let name): try await revoke(name, of: try AccountAddress.parse(address), by: by)
        }
        return .done
    }

    private func identity(of text: String) async throws(CommandFailure) -> StoredIdentity {
        let address = try AccountAddress.parse(text)
        do throws(AccountRefusal) { return try await core.router.applicationPasswords(of: address) } catch { throw failure(error) }
    }

    private func add(_ text: String, _ keys: [ScramKeys], to address: BareJID, by: String) async throws(CommandFailure) {
        guard let name = StoredApplicationPassword.name(text) else {
            throw CommandFailure(.usage, "a name has from 1 to \(StoredApplicationPassword.nameBytesMax) bytes")
        }
        let password = StoredApplicationPassword(name: name, keys: keys, created: core.time.wallMilliseconds)
        do throws(AccountRefusal) { try await core.router.addApplicationPassword(password, to: address, by: by) } catch { throw failure(error) }
    }

    private func revoke(_ text: String, of address: BareJID, by: String) async throws(CommandFailure) {
        let name = StoredApplicationPassword.name(text) ?? text
        do throws(AccountRefusal) { try await core.router.removeApplicationPassword(name, of: address, by: by) } catch { throw failure(error) }
        // A server that does not run has its sessions in a file.
        try SavedSessions.remove(from: folder) { $0.address.bare == address && $0.application == name }
    }

    private func failure(_ refusal: AccountRefusal) -> CommandFailure {
        refusal.conflict.map { CommandFailure(.data, $0, hint: "'martlet account app-password list' lists them") } ?? CommandFailure(refusal, in: folder)
    }
}

extension ScramKeys {
    /// The same without what checks a password, for whoever makes keys of another one.
    fileprivate var saltsOnly: String {
        let none = [UInt8](repeating: 0, count: hash.byteCount)
        return "\(hash.mechanismName)$\(iterations):\(Base64.encode(salt))$\(Base64.encode(none)):\(Base64.encode(none))"
    }
}
