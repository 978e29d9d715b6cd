package import MartletLDAP

/// What an import changes in the directory. Others may be at it at the same time: only the last step, which raises the version, makes it count, and it takes
/// place only if the version is still the one that was read (RFC 4528).
package struct ConfigurationImport: Hashable, Sendable {
    /// In the order in which they are made; the last one raises the version.
    package let records: [LDIFRecord]

    private static let version = "martletConfigVersion"

    /// - Returns: `nil` if there is nothing to be changed.
    /// - Throws: a ``CommandFailure`` if the new tree has no entry at its base.
    package init?(from current: ConfigurationTree, to wanted: ConfigurationTree) throws(CommandFailure) {
        guard wanted.root != nil else {
            throw CommandFailure(.data, "there is no entry \(wanted.base) in the file", hint: "'martlet config export' prints all that there has to be")
        }
        var changes: [LDIFRecord]
        do throws(LDAPTextError) {
            changes = try LDIFDifference.changes(from: Self.unversioned(current), to: Self.unversioned(wanted))
        } catch {
            throw CommandFailure(.data, "the name of an entry is none: \(error)")
        }
        guard !changes.isEmpty else { return nil }
        let name = current.root?.name ?? wanted.root?.name ?? ""
        var own: [ModifyRequest.Change] = []
        changes.removeAll { record in
            guard case .modify(let request) = record.content, request.name == name else { return false }
            own = request.changes
            return true
        }
        let (step, assertion) = Self.step(from: current.version, first: wanted.version ?? 1)
        records = changes + [LDIFRecord(.modify(ModifyRequest(name, own + [step])), controls: [AssertionControl(assertion).control(isCritical: true)])]
    }

    /// The next version, and what has to hold for it.
    private static func step(from version: Int64?, first: Int64) -> (ModifyRequest.Change, LDAPFilter) {
        guard let version else { return (.init(.add, LDAPAttribute(Self.version, "\(first)")), .not(.present(Self.version))) }
        return (.init(.increment, LDAPAttribute(Self.version, "1")), .equality(Self.version, Array("\(version)".utf8)))
    }

    private static func unversioned(_ tree: ConfigurationTree) -> [LDAPEntry] {
        let wanted = version.lowercased()
        return tree.entries.map { entry in LDAPEntry(entry.name, entry.attributes.filter { $0.description.lowercased() != wanted }) }
    }
}
