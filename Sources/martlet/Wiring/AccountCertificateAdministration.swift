import MartletCore
import MartletStorage
import MartletXMPP

/// What operators do to the certificates of accounts (XEP-0257): the same in a running server and on the data of one that does not run.
struct AccountCertificateAdministration: Sendable {
    let core: ServerCore
    let folder: String

    /// - Returns: `nil` for what only a running server does.
    func answer(_ order: CertificateOrder, by: String) async throws(CommandFailure) -> ControlResponse? {
        switch order {
        case .list(let address): return .certificates(try await list(try AccountAddress.parse(address)))
        case .revoke(let address, let name):
            try await revoke(name, of: try AccountAddress.parse(address), by: by)
            return .done
        case .renew: return nil
        }
    }

    private func list(_ address: BareJID) async throws(CommandFailure) -> [AccountCertificateLine] {
        let certificates: [AccountCertificate]
        do throws(StoreError) {
            guard let account = try await core.store.credentials(of: address)?.id else { throw StoreError.constraint("there is no account \(address)") }
            certificates = try await core.store.certificates(of: account)
        } catch {
            if case .constraint(let why) = error { throw CommandFailure(.noAccount, why) }
            throw CommandFailure(error, in: folder)
        }
        let users = core.router.certifiedResources(of: address)
        return certificates.map { AccountCertificateLine($0, usedBy: users[$0.fingerprint] ?? []) }
    }

    private func revoke(_ name: String, of address: BareJID, by: String) async throws(CommandFailure) {
        do throws(CertificateRefusal) {
            _ = try await core.router.removeCertificate(named: name, of: address, endsSessions: true, by: by)
        } catch {
            switch error {
            case .noAccount(let address): throw CommandFailure(.noAccount, "there is no account \(address)")
            case .noCertificate: throw CommandFailure(.data, "the account has no such certificate", hint: "'martlet account certificates \(address)' lists them")
            case .store(let error): throw CommandFailure(error, in: folder)
            }
        }
    }
}
