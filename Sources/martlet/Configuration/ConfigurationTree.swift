package import MartletLDAP

/// What a directory says of the configuration: an entry and all those below it, which are laid over the file (``ConfigurationLayering``).
package struct ConfigurationTree: Sendable, Hashable {
    /// Attributes that say something, or tell people something.
    package static let attributes = [
        "objectClass", "cn", "martletSetting", "martletEnabled", "martletConfigVersion", "description", "seeAlso", "labeledURI", "member", "owner",
    ]
    private static let classes = ["martletConfigEntry", "martletServer", "martletDomain", "martletPeer", "martletRoom", "martletAlertRule"]
    /// Which entries it is made of. Not every server knows that one class is a kind of another.
    package static let filter = LDAPFilter.or(classes.map { .equality("objectClass", Array($0.utf8)) })

    package let base: DistinguishedName
    /// Whose entries below `cn=nodes` count over all others; nobody's if there is none.
    package let node: String?
    /// Parents before children, with ``attributes`` alone. Others than those at and below the base are left out.
    package let entries: [LDAPEntry]

    package init(_ entries: [LDAPEntry], base: DistinguishedName, node: String? = nil) {
        self.base = base
        self.node = node
        let own = entries.filter { entry in (try? DistinguishedName(entry.name))?.relative(to: base) != nil }
        self.entries = LDIFWriter.sorted(own.map(Self.stripped))
    }

    /// Without what the directory keeps for itself, which a dump of it has as well.
    private static func stripped(_ entry: LDAPEntry) -> LDAPEntry {
        let wanted = Set(attributes.map { $0.lowercased() })
        func isWanted(_ attribute: LDAPAttribute) -> Bool { attribute.description.split(separator: ";").first.map { wanted.contains($0.lowercased()) } ?? false }
        return LDAPEntry(entry.name, entry.attributes.filter { !$0.values.isEmpty && isWanted($0) })
    }

    /// The entry that all others are below.
    package var root: LDAPEntry? { entries.first.flatMap { (try? DistinguishedName($0.name)) == base ? $0 : nil } }

    /// Counts the states of the tree; whoever has finished a change raises it.
    package var version: Int64? { root?.texts("martletConfigVersion").first.flatMap { Int64($0) } }

    /// Why nothing is put into force by it; `nil` if it is whole. Whoever loses the right to see a tree sees none, and a server without its configuration would
    /// shut everybody out.
    package var absence: String? { root == nil ? "there is no entry \(base), or it is not shown to this server" : nil }

    /// As a file, always the same for the same entries.
    package var ldif: String { LDIFWriter.text(entries) }
}

extension LDAPEntry {
    /// The values of an attribute, whatever the case of its name.
    func values(_ description: String) -> [[UInt8]] {
        let wanted = description.lowercased()
        return attributes.filter { $0.description.lowercased() == wanted }.flatMap(\.values)
    }

    /// Those that are UTF-8.
    func texts(_ description: String) -> [String] { values(description).compactMap { String(validating: $0, as: UTF8.self) } }
}

/// An entry of the tree with those below it, by their names.
struct ConfigurationBranch {
    /// Written before a name, it says which place the entry has among its siblings: `{10}operators`.
    private(set) var order = Int.max
    private(set) var name: String
    /// `nil` where only entries below it are there.
    fileprivate(set) var entry: LDAPEntry?
    fileprivate(set) var children: [ConfigurationBranch] = []
    /// Of the entry, for whoever has to find it.
    let place: String

    private init(_ text: String, at name: DistinguishedName) {
        place = name.description
        self.name = text
        guard text.hasPrefix("{"), let end = text.firstIndex(of: "}"), let number = WholeNumber.parse(text[text.index(after: text.startIndex)..<end]) else { return }
        order = number
        self.name = String(text[text.index(after: end)...])
    }

    /// The whole tree; and entries that have no name in the configuration.
    static func root(of tree: ConfigurationTree) -> (root: ConfigurationBranch, unnamed: [LDAPEntry]) {
        var root = ConfigurationBranch("", at: tree.base)
        var unnamed: [LDAPEntry] = []
        for entry in tree.entries {
            guard let relative = (try? DistinguishedName(entry.name))?.relative(to: tree.base) else { continue }
            let steps = relative.relativeNames.reversed().map(\.commonName)
            guard !steps.contains(nil) else {
                unnamed.append(entry)
                continue
            }
            root.put(entry, at: steps.compactMap(\.self)[...], below: tree.base)
        }
        root.sort()
        return (root, unnamed)
    }

    /// - Parameter name: of the entry that this is.
    private mutating func put(_ entry: LDAPEntry, at steps: ArraySlice<String>, below name: DistinguishedName) {
        guard let step = steps.first else {
            self.entry = entry
            return
        }
        let own = name.child(RelativeDistinguishedName("cn", step))
        let new = ConfigurationBranch(step, at: own)
        // Entries come in order: those below one entry are together.
        if children.last?.place.lowercased() != new.place.lowercased() { children.append(new) }
        children[children.endIndex - 1].put(entry, at: steps.dropFirst(), below: own)
    }

    private mutating func sort() {
        children.sort { ($0.order, $0.name) < ($1.order, $1.name) }
        for index in children.indices { children[index].sort() }
    }

    subscript(name: String) -> ConfigurationBranch? { children.first { $0.name.lowercased() == name.lowercased() } }

    /// An entry that is switched off says nothing, and neither do those below it.
    var isEnabled: Bool { entry?.texts("martletEnabled").first?.lowercased() != "false" }

    var origin: ConfigurationOrigin { .directory(place) }
}

extension RelativeDistinguishedName {
    /// The name, if it is a common name and nothing else.
    fileprivate var commonName: String? {
        guard ordered.count == 1, ordered[0].type == "cn", !ordered[0].isEncoded else { return nil }
        return String(validating: ordered[0].value, as: UTF8.self)
    }
}
