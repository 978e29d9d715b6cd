package import MartletLDAP

/// Writes a configuration as the entries of a tree: the other way round than ``ConfigurationLayering`` reads them. Defaults are left out, and so is what a
/// directory may not say (``MachineKeys``).
package struct ConfigurationTreeWriting {
    private var entries: [LDAPEntry] = []
    private var written: Set<DistinguishedName>

    private init(base: DistinguishedName) { written = [base] }

    package static func tree(of configuration: ServerConfiguration, base: DistinguishedName) -> ConfigurationTree {
        var writing = ConfigurationTreeWriting(base: base)
        let settings = writing.settings(ConfigurationSchema.keys, ConfigurationSchema.root.show(configuration), at: "", below: base)
        writing.append(base, "martletServer", settings)
        return ConfigurationTree(writing.entries, base: base)
    }

    /// Adds the entries below one, and returns the settings of its own.
    ///
    /// - Parameters:
    ///   - path: of the mapping in the schema.
    ///   - prefix: of the mapping's keys in the entry.
    private mutating func settings(
        _ keys: [ConfigurationKey], _ fields: [ShownField], at path: String, prefix: String = "", below name: DistinguishedName, except identity: String? = nil
    ) -> [String] {
        var settings: [String] = []
        // Both are of one schema, so that keys and fields correspond.
        for (key, field) in zip(keys, fields) where key.name != identity {
            let keyPath = path.isEmpty ? key.name : "\(path).\(key.name)"
            guard MachineKeys.refusal(of: keyPath) == nil else { continue }
            switch (key.form, field.value) {
            case (.section(let inner), .section(let fields)):
                settings += self.settings(inner, fields, at: keyPath, prefix: "\(prefix)\(key.name).", below: name.child(key.name))
            case (.entries(let inner, _), .entries(let items)):
                if field.value != key.standard { addItems(items, inner, at: keyPath, below: name.child(key.name)) }
            case (_, .scalar(let text)):
                if field.value != key.standard { settings.append("\(prefix)\(key.name)=\(text)") }
            case (_, .list(let texts)):
                if field.value != key.standard { settings.append("\(prefix)\(key.name)=\(ConfigurationSource.text(ofItems: texts))") }
            case (_, .unset), (_, .section), (_, .entries): break
            }
        }
        return settings
    }

    private mutating func addItems(_ items: [ShownEntry], _ keys: [ConfigurationKey], at path: String, below name: DistinguishedName) {
        addContainer(name)
        let named = ConfigurationLayering.names[path]
        let identity = named ?? (keys.contains { $0.name == "name" } ? "name" : nil)
        let names = items.map(\.identity)
        // Without a number they would be in the order of their names, which have to be told apart by others, and would be taken for numbers themselves.
        let isNumbered = named == nil || names != names.sorted() || Set(names.map { $0.lowercased() }).count < names.count || names.contains { $0.hasPrefix("{") }
        for (index, item) in items.enumerated() {
            let own = name.child(isNumbered ? "{\(10 * (index + 1))}\(item.identity)" : item.identity)
            // What is below it has it already.
            written.insert(own)
            append(own, Self.classes[path] ?? "martletConfigEntry", settings(keys, item.fields, at: path, below: own, except: identity))
        }
    }

    private static let classes = ["domains": "martletDomain", "peers": "martletPeer"]

    /// An entry that only holds others, with those above it that there are not yet.
    private mutating func addContainer(_ name: DistinguishedName) {
        guard written.insert(name).inserted else { return }
        if let parent = name.parent { addContainer(parent) }
        append(name, "martletConfigEntry", [])
    }

    private mutating func append(_ name: DistinguishedName, _ objectClass: String, _ settings: [String]) {
        guard let own = name.relativeName?.ordered.first else { return }
        let values = settings.isEmpty ? [] : [LDAPAttribute("martletSetting", strings: settings)]
        entries.append(LDAPEntry(name.description, [LDAPAttribute("objectClass", objectClass), LDAPAttribute(own.type, [own.value])] + values))
    }
}

extension DistinguishedName {
    fileprivate func child(_ name: String) -> DistinguishedName { child(RelativeDistinguishedName("cn", name)) }
}
