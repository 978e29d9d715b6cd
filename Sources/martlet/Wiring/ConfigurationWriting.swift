import MartletDirectory
import MartletLDAP

/// Writes an import to the directory: everything at once where its server has transactions (RFC 5805), else one step after the other, the version last.
struct ConfigurationWriting {
    let service: DirectoryClient.Service

    /// `supportedFeatures` of a server that increments values (RFC 4525 §4).
    private static let increments = "1.3.6.1.1.14"

    /// What is to be done, as this server understands it.
    func records(_ changes: ConfigurationImport) -> [LDIFRecord] {
        changes.records(hasAssertions: service.root.controls.contains(LDAPControlType.assertion) && service.root.features.contains(Self.increments))
    }

    func write(_ records: [LDIFRecord]) async throws(CommandFailure) {
        if records.count > 1, service.root.extensions.isSuperset(of: [LDAPExtension.startTransaction, LDAPExtension.endTransaction]) {
            try await writeAtOnce(records)
        } else {
            try await writeInOrder(records)
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
                throw Self.failure(error, "\(record.name): \(done)", isLast: count == records.count - 1)
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

    /// - Parameters:
    ///   - state: what has become of the directory.
    ///   - isLast: whether it was the step that raises the version.
    private static func failure(_ why: DirectoryFailure, _ state: String, isLast: Bool = false) -> CommandFailure {
        guard case .refused(let result) = why else { return CommandFailure(.temporary, "\(state): \(why)") }
        let overtaken = CommandFailure(
            .temporary, "somebody else has changed the configuration in the meantime: \(state)",
            hint: "look at what there is now ('martlet config export'), and import again what you want")
        switch result.code {
        case .assertionFailed: return overtaken
        // The version that was read is not there, or there is one where there was none.
        case .noSuchAttribute, .attributeOrValueExists: return isLast ? overtaken : CommandFailure(.unavailable, "\(state): \(why)")
        case .noSuchObject:
            return CommandFailure(.data, "\(state): the entry above it is not there", hint: "the entries above the tree are made by whoever keeps the directory")
        case .insufficientAccessRights:
            return CommandFailure(.noPermission, "\(state): \(why)", hint: "give the account in configuration-directory.log-in the right to write the tree")
        default: return CommandFailure(.unavailable, "\(state): \(why)")
        }
    }
}
