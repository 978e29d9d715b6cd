import MartletDirectory
import MartletLDAP

/// Writes an import to the directory: everything at once where its server has transactions (RFC 5805), else one step after the other, the version last.
struct ConfigurationWriting {
    let service: DirectoryClient.Service

    func write(_ changes: ConfigurationImport) async throws(CommandFailure) {
        if changes.records.count > 1, service.root.extensions.isSuperset(of: [LDAPExtension.startTransaction, LDAPExtension.endTransaction]) {
            try await writeAtOnce(changes.records)
        } else {
            try await writeInOrder(changes.records)
        }
    }

    private func writeAtOnce(_ records: [LDIFRecord]) async throws(CommandFailure) {
        do throws(DirectoryFailure) {
            let identifier = try await service.connection.extended(.startTransaction).value ?? []
            let control = TransactionSpecificationControl(identifier).control(isCritical: true)
            do throws(DirectoryFailure) {
                for record in records { try await write(record, [control]) }
                _ = try await service.connection.extended(EndTransactionRequest(identifier, commits: true).request)
            } catch {
                // The connection goes next, and with it the transaction, if it is there still.
                _ = try? await service.connection.extended(EndTransactionRequest(identifier, commits: false).request)
                throw error
            }
        } catch {
            throw Self.failure(error, "nothing was changed")
        }
    }

    private func writeInOrder(_ records: [LDIFRecord]) async throws(CommandFailure) {
        for (count, record) in records.enumerated() {
            do throws(DirectoryFailure) { try await write(record, []) } catch {
                let done = count == 0 ? "nothing was changed" : "\(count.counted("change")) of \(records.count) was made, and the version was not raised"
                throw Self.failure(error, "\(record.name): \(done)")
            }
        }
    }

    private func write(_ record: LDIFRecord, _ controls: [LDAPControl]) async throws(DirectoryFailure) {
        let (connection, controls) = (service.connection, record.controls + controls)
        switch record.content {
        case .entry(let entry), .add(let entry): try await connection.add(entry, controls: controls)
        case .delete(let name): try await connection.delete(name, controls: controls)
        case .modify(let request): try await connection.modify(request, controls: controls)
        case .modifyDN(let request): try await connection.rename(request, controls: controls)
        }
    }

    /// - Parameter state: what has become of the directory.
    private static func failure(_ why: DirectoryFailure, _ state: String) -> CommandFailure {
        guard case .refused(let result) = why else { return CommandFailure(.temporary, "\(state): \(why)") }
        switch result.code {
        case .assertionFailed:
            return CommandFailure(
                .temporary, "somebody else has changed the configuration in the meantime: \(state)",
                hint: "look at what there is now ('martlet config export'), and import again what you want")
        case .noSuchObject:
            return CommandFailure(.data, "\(state): the entry above it is not there", hint: "the entries above the tree are made by whoever keeps the directory")
        case .insufficientAccessRights:
            return CommandFailure(.noPermission, "\(state): \(why)", hint: "give the account in configuration-directory.log-in the right to write the tree")
        default: return CommandFailure(.unavailable, "\(state): \(why)")
        }
    }
}
