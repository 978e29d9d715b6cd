package import MartletLDAP

/// What an import changes in the directory. Others may be at it at the same time: only the last step, which raises the version, makes it count, and it takes
/// place only if the version is still the one that was read.
package struct ConfigurationImport: Hashable, Sendable {
    /// Of other entries than the base, in the order in which they are made.
    private let others: [LDIFRecord]
    private let base: String
    private let own: [ModifyRequest.Change]
    /// The one that was read.
    private let before: Int64?
    /// Where there is none yet.
    private let first: Int64

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
        (others, base, self.own) = (changes, name, own)
        (before, first) = (current.version, wanted.version ?? 1)
    }

    /// All changes; the last one raises the version.
    ///
    /// - Parameter hasAssertions: whether the directory knows assertions (RFC 4528) and increments (RFC 4525). Elsewhere the value that was read is taken away by
    ///   name, which fails as well if it is not there any more, but does not say why.
    package func records(hasAssertions: Bool) -> [LDIFRecord] {
        let steps = hasAssertions ? [step] : exchange
        let controls = hasAssertions ? [AssertionControl(assertion).control(isCritical: true)] : []
        return others + [LDIFRecord(.modify(ModifyRequest(base, own + steps)), controls: controls)]
    }

    private var step: ModifyRequest.Change {
        before == nil ? .init(.add, Self.attribute(first)) : .init(.increment, Self.attribute(1))
    }

    private var assertion: LDAPFilter { before.map { .equality(Self.version, Array("\($0)".utf8)) } ?? .not(.present(Self.version)) }

    private var exchange: [ModifyRequest.Change] {
        before.map { [.init(.delete, Self.attribute($0)), .init(.add, Self.attribute($0 + 1))] } ?? [.init(.add, Self.attribute(first))]
    }

    private static func attribute(_ number: Int64) -> LDAPAttribute { LDAPAttribute(version, "\(number)") }

    private static func unversioned(_ tree: ConfigurationTree) -> [LDAPEntry] {
        let wanted = version.lowercased()
        return tree.entries.map { entry in LDAPEntry(entry.name, entry.attributes.filter { $0.description.lowercased() != wanted }) }
    }
}
