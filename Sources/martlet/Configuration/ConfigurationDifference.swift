/// What a reload would change.
package struct ConfigurationDifference: Sendable, Hashable {
    /// One value that differs.
    package struct Change: Sendable, Hashable, CustomStringConvertible {
        /// Entries of lists are named by what tells them apart: `domains[example.org].certificate`.
        package let path: String
        /// As it would stand in the file; nil when it is not set, or its entry is not there.
        package let old: String?
        package let new: String?
        package let needsRestart: Bool

        package var description: String {
            "\(path): \(old ?? "(not set)") -> \(new ?? "(not set)")\(needsRestart ? " (needs a restart)" : "")"
        }
    }

    /// In the order of the schema.
    package let changes: [Change]

    package init(from old: ServerConfiguration, to new: ServerConfiguration) {
        let root = ConfigurationSchema.root
        changes = Self.changes(root.keys, root.show(old), root.show(new), at: "")
    }

    package var isEmpty: Bool { changes.isEmpty }
    package var needsRestart: Bool { changes.contains(where: \.needsRestart) }

    private static func changes(
        _ keys: [ConfigurationKey], _ old: [ShownField], _ new: [ShownField], at path: String
    ) -> [Change] {
        // Both were shown by one schema, so that keys and fields correspond.
        zip(keys, zip(old, new)).flatMap { key, values in
            changes(key, values.0.value, values.1.value, at: path.isEmpty ? key.name : "\(path).\(key.name)")
        }
    }

    private static func changes(_ key: ConfigurationKey, _ old: ShownValue, _ new: ShownValue, at path: String) -> [Change] {
        switch (key.form, old, new) {
        case (.section(let keys), .section(let old), .section(let new)):
            return changes(keys, old, new, at: path)
        case (.entries(let keys, let change), .entries(let old), .entries(let new)):
            return changes(keys, old, new, at: path, change)
        case (.value(_, let change), _, _), (.list(_, let change), _, _):
            guard old != new else { return [] }
            return [Change(path: path, old: old.text, new: new.text, needsRestart: change == .restart)]
        case (.section, _, _), (.entries, _, _):
            return []
        }
    }

    /// Entries that are in both are compared; others count as one change each.
    private static func changes(
        _ keys: [ConfigurationKey], _ old: [ShownEntry], _ new: [ShownEntry], at path: String, _ change: ConfigurationChange
    ) -> [Change] {
        let oldByName = Dictionary(old.map { ($0.identity, $0) }, uniquingKeysWith: { first, _ in first })
        let newNames = Set(new.map(\.identity))
        let removed = old.filter { !newNames.contains($0.identity) }.map {
            Change(path: "\(path)[\($0.identity)]", old: "(present)", new: nil, needsRestart: change == .restart)
        }
        return removed + new.flatMap { entry in
            let entryPath = "\(path)[\(entry.identity)]"
            guard let before = oldByName[entry.identity] else {
                return [Change(path: entryPath, old: nil, new: "(present)", needsRestart: change == .restart)]
            }
            return changes(keys, before.fields, entry.fields, at: entryPath)
        }
    }
}

extension ServerConfiguration {
    /// This configuration with the values of `running` where only a restart changes them.
    package func keepingWhatNeedsRestart(of running: ServerConfiguration) -> ServerConfiguration {
        var result = self
        ConfigurationSchema.root.keepWhatNeedsRestart(of: running, in: &result)
        return result
    }
}

extension ShownValue {
    fileprivate var text: String? {
        switch self {
        case .scalar(let text): YAMLText.scalar(text)
        case .list(let texts): YAMLText.list(texts)
        case .unset, .section, .entries: nil
        }
    }
}
