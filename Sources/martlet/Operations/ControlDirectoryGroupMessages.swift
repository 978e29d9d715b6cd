/// How it stands with the groups of a directory.
package struct DirectoryGroupsLine: Codable, Hashable, Sendable {
    package var contact: DirectoryLine.Contact
    /// Since when they are lost, in milliseconds since 1970.
    package var lostSince: Int64?
    package var groups: Int
    /// In rosters.
    package var shown: Int
    /// Members who are in groups although the directory says otherwise, until that is confirmed.
    package var heldBack: Int
    /// There is no group of that name whose members have accounts.
    package var lacksAllowGroup: Bool
    /// Why they cannot be followed now.
    package var fault: String?

    package init(contact: DirectoryLine.Contact, groups: Int, shown: Int, heldBack: Int, lacksAllowGroup: Bool) {
        self.contact = contact
        self.groups = groups
        self.shown = shown
        self.heldBack = heldBack
        self.lacksAllowGroup = lacksAllowGroup
    }

    package var isWell: Bool { contact == .live && heldBack == 0 && !lacksAllowGroup }

    /// As `martlet directory status` prints it below the directory's line.
    package func text(_ domain: String) -> String {
        let state =
            switch contact {
            case .live: "followed"
            case .neverLoaded: "not read yet"
            case .lost: "lost" + (lostSince.map { " since \(Timestamp.text($0))" } ?? "")
            }
        let held = heldBack == 0 ? "" : ", \(heldBack) members held back (martlet directory sync \(domain) --confirm)"
        let lack = lacksAllowGroup ? ", the group of allow-group is not among them: nobody new has an account" : ""
        return "  groups  \(state)  \(groups) groups, \(shown) in rosters\(held)\(lack)" + (fault.map { "\n  \($0)" } ?? "")
    }
}

/// A group that somebody is in.
package struct DirectoryGroupLine: Codable, Hashable, Sendable {
    /// Of its entry.
    package var name: String
    /// By which groups he is in it, from this one down; none if he is in it himself.
    package var through: [String]
    /// What rosters call it; `nil` if it is in none.
    package var title: String?
    /// Who sees its members.
    package var seenBy: String
    /// Whether its members have accounts, and nobody else.
    package var allows: Bool

    package init(name: String, through: [String], title: String?, seenBy: String, allows: Bool) {
        self.name = name
        self.through = through
        self.title = title
        self.seenBy = seenBy
        self.allows = allows
    }

    /// As `martlet directory explain` prints it.
    package var text: String {
        let way = through.isEmpty ? "" : " by " + through.joined(separator: ", ")
        let shown = title.map { "\"\($0)\" is seen by \(seenBy)" } ?? "in no roster"
        return "  group  \(name)\(way): \(shown)" + (allows ? "; its members have accounts (allow-group)" : "")
    }
}
