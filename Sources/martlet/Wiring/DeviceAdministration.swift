import MartletCore
import MartletFeatures
import MartletStorage
import MartletXMPP

/// What operators do to the devices of accounts (XEP-0494): the same in a running server and on the data of one that does not run.
struct DeviceAdministration: Sendable {
    let core: ServerCore
    let folder: String

    func answer(_ order: DeviceOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .list(let address): return .devices(try await list(try AccountAddress.parse(address)))
        case .revoke(let address, let id): return .revoked(try await revoke(try device(id), of: try AccountAddress.parse(address), by: by))
        case .name(let address, let id, let name):
            try await self.name(try device(id), of: try AccountAddress.parse(address), name, by: by)
            return .done
        }
    }

    private func list(_ address: BareJID) async throws(CommandFailure) -> [DeviceLine] {
        do throws(StoreError) {
            guard let account = try await core.store.credentials(of: address)?.id else { throw StoreError.constraint("there is no account \(address)") }
            let devices = try await core.store.devices(of: account)
            return AccessingClient.all(devices, connected: core.router.connectedDevices(of: address), at: core.time.wallMilliseconds).map(DeviceLine.init)
        } catch {
            if case .constraint(let why) = error { throw CommandFailure(.noAccount, why) }
            throw CommandFailure(error, in: folder)
        }
    }

    private func revoke(_ device: DeviceID, of address: BareJID, by: String) async throws(CommandFailure) -> DeviceRemainder? {
        let outcome: DeviceRevocation
        do throws(DeviceRefusal) { outcome = try await core.router.revoke(device, of: address, by: by) } catch { throw failure(error) }
        // A server that does not run has its sessions in a file.
        try SavedSessions.remove(from: folder) { $0.address.bare == address && $0.device == device }
        // What was asked for is done; the rest is said.
        return switch outcome {
        case .revoked: nil
        case .passwordRemains: .password
        case .certificateRemains: .certificate
        case .grantRemains: .grant
        }
    }

    private func name(_ device: DeviceID, of address: BareJID, _ name: String?, by: String) async throws(CommandFailure) {
        if let name, name.isEmpty || name.utf8.count > DeviceSighting.textBytesMax {
            throw CommandFailure(.usage, "a name has from 1 to \(DeviceSighting.textBytesMax) bytes")
        }
        if let name, name != ConfigurationProblem.printable(name) || name.contains("\t") {
            throw CommandFailure(.usage, "a name has no control characters, nor any that turn the direction of writing")
        }
        do throws(DeviceRefusal) { try await core.router.name(device, of: address, name, by: by) } catch { throw failure(error) }
    }

    private func device(_ text: String) throws(CommandFailure) -> DeviceID {
        guard let id = DeviceID(text: text) else { throw noDevice }
        return id
    }

    private var noDevice: CommandFailure { CommandFailure(.data, "the account has no such device", hint: "'martlet device list' lists them") }

    private func failure(_ refusal: DeviceRefusal) -> CommandFailure {
        switch refusal {
        case .noAccount(let address): CommandFailure(.noAccount, "there is no account \(address)")
        case .noDevice: noDevice
        case .store(let error): CommandFailure(error, in: folder)
        }
    }
}
