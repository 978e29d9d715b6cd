import MartletCore
import MartletStorage
import MartletXMPP

/// What operators do to uploaded files: the same in a running server and on the data of one that does not run. What they delete is audited.
struct UploadAdministration: Sendable {
    let core: ServerCore
    let folder: String

    func answer(_ order: UploadOrder, by: String) async throws(CommandFailure) -> ControlResponse {
        switch order {
        case .list(let account, let after): return .uploads(try await list(account, after).map(line))
        case .show(let name): return .uploads([line(try await upload(name))])
        case .delete(let names): return .deleted(try await delete(names, by: by))
        case .deleteAll(let account): return .deleted(try await deleteAll(of: account, by: by))
        }
    }

    private func list(_ account: String?, _ after: String) async throws(CommandFailure) -> [StoredUpload] {
        var owner: AccountID?
        if let account { owner = try await number(of: account) }
        do throws(StoreError) {
            return try await core.store.uploads(of: owner, after: after, limit: ControlProtocol.uploadsMax)
        } catch {
            throw CommandFailure(error, in: folder)
        }
    }

    private func number(of account: String) async throws(CommandFailure) -> AccountID {
        let address = try AccountAddress.parse(account)
        do throws(StoreError) {
            if let identity = try await core.store.credentials(of: address) { return identity.id }
        } catch {
            throw CommandFailure(error, in: folder)
        }
        throw CommandFailure(.noAccount, "there is no account \(address)")
    }

    private func upload(_ name: String) async throws(CommandFailure) -> StoredUpload {
        do throws(StoreError) {
            if let upload = try await core.store.upload(named: name) { return upload }
        } catch {
            throw CommandFailure(error, in: folder)
        }
        throw CommandFailure(.noAccount, "there is no upload \(ConfigurationProblem.printable(name.prefix(100)))", hint: "'martlet uploads list' lists them")
    }

    private func line(_ upload: StoredUpload) -> UploadLine {
        var line = UploadLine(
            name: upload.name, account: upload.owner.description, fileName: upload.fileName, type: upload.type ?? MediaType.unknown, bytes: upload.bytes,
            purpose: upload.purpose.name, created: upload.created)
        switch upload.state {
        case .open(_, let ends): line.ends = ends
        case .kept(let since, let sha256):
            line.kept = since
            line.ends = core.uploads.settings.end(of: upload)
            line.sha256 = sha256.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        return line
    }

    // MARK: Deleting

    private func delete(_ names: [String], by: String) async throws(CommandFailure) -> Int {
        guard names.count <= ControlProtocol.uploadsMax else { throw CommandFailure(.usage, "more than \(ControlProtocol.uploadsMax) uploads at once") }
        var uploads: [StoredUpload] = []
        for name in names { uploads.append(try await upload(name)) }
        try await remove(uploads)
        for (owner, own) in Dictionary(grouping: uploads, by: \.owner) {
            core.router.audit.record(.uploadsDeleted(of: owner, names: own.map(\.name), by: by))
        }
        return uploads.count
    }

    private func deleteAll(of account: String, by: String) async throws(CommandFailure) -> Int {
        let address = try AccountAddress.parse(account)
        var names: [String] = []
        while case let page = try await list(account, ""), !page.isEmpty {
            try await remove(page)
            names += page.map(\.name)
        }
        core.router.audit.record(.uploadsDeleted(of: address, names: names, by: by))
        return names.count
    }

    private func remove(_ uploads: [StoredUpload]) async throws(CommandFailure) {
        do throws(UploadFault) { try await core.uploads.remove(uploads) } catch { throw CommandFailure(error, in: folder) }
    }
}

extension CommandFailure {
    init(_ fault: UploadFault, in folder: String) {
        switch fault {
        case .store(let error): self.init(error, in: folder)
        case .files(.missing): self.init(.io, "an uploaded file is not there")
        case .files(.full): self.init(.io, "no space left on the device")
        case .files(.failed(let why)): self.init(.io, why)
        }
    }
}
