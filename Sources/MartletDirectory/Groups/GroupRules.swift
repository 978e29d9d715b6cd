package import MartletXMPP

/// How groups of a directory are put into rosters: what an operator says of them, where the directory's own entries cannot say it.
package struct GroupRules: Sendable {
    /// Who sees the members of a group.
    package enum Share: Hashable, Sendable {
        /// Each other.
        case members
        /// All accounts of the directory.
        case everybody
        /// The members of groups with these names, prepared (``NamePreparation``). Nobody, if there are none.
        case groups([[UInt8]])
    }

    /// What is said of one group.
    package struct Rule: Hashable, Sendable {
        package var share: Share
        /// As rosters show it; `nil`: as the directory calls it.
        package var title: String?

        package init(_ share: Share, title: String? = nil) {
            self.share = share
            self.title = title
        }
    }

    /// Whose people are in the groups.
    package var domain: BareJID
    /// What holds for a group that says nothing of this; `nil`: it is in no roster.
    package var others: Share?
    /// By the group's name, prepared. It counts in place of what the entry says.
    package var rules: [[UInt8]: Rule] = [:]

    package init(domain: BareJID, others: Share? = nil, rules: [[UInt8]: Rule] = [:]) {
        self.domain = domain
        self.others = others
        self.rules = rules
    }

    /// - Returns: `nil` if the group is in no roster.
    func rule(of reader: EntryReader, _ prepare: NamePreparation) -> Rule? {
        if let rule = prepare(reader.entry.name).flatMap({ rules[$0] }) { return rule }
        guard let word = reader.text(GroupAttributes.share) else { return others.map { Rule($0) } }
        return Rule(Self.share(word.lowercased(), reader, prepare))
    }

    /// A word that is not known shares with nobody.
    private static func share(_ word: String, _ reader: EntryReader, _ prepare: NamePreparation) -> Share {
        switch word {
        case "members": .members
        case "all": .everybody
        case "groups": .groups(reader.texts(GroupAttributes.visibleTo).compactMap(prepare))
        default: .groups([])
        }
    }
}
