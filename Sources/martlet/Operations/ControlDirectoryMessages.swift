/// What operators ask of directories.
package enum DirectoryOrder: Codable, Hashable, Sendable {
    case status
    /// Accounts that a look at the directory would have taken away go, if that was held back.
    case confirm(domain: String)
    case explain(account: String)
}

/// How it stands with a directory.
package struct DirectoryLine: Codable, Hashable, Sendable {
    package enum Contact: String, Codable, Hashable, Sendable { case neverLoaded = "never-loaded", live, lost }

    package var domain: String
    package var contact: Contact
    /// Since when it is lost, in milliseconds since 1970.
    package var lostSince: Int64?
    package var server: String?
    /// How changes are learnt.
    package var follows: String?
    package var people: Int
    /// Accounts that stay although the directory does not know them, until that is confirmed.
    package var heldBack: Int
    /// People who cannot have an account.
    package var refused: Int
    /// Why it cannot be followed now.
    package var fault: String?
    /// `nil` where there are none.
    package var groups: DirectoryGroupsLine?
    /// Where rosters are in it as well.
    package var rosters: RosterLine?

    package init(domain: String, contact: Contact, people: Int, heldBack: Int, refused: Int) {
        self.domain = domain
        self.contact = contact
        self.people = people
        self.heldBack = heldBack
        self.refused = refused
    }
}

/// How it stands with rosters in a directory.
package struct RosterLine: Codable, Hashable, Sendable {
    /// In the directory.
    package var items: Int
    /// What it was not told yet.
    package var waiting: Int
    /// Items that it did not take.
    package var refused: Int
    /// Items that stay although their entries are gone, until that is confirmed.
    package var heldBack: Int
    /// Entries that are no items.
    package var unusable: Int
    /// Why nothing is heard of them, or written, now.
    package var fault: String?

    package init(items: Int, waiting: Int, refused: Int, heldBack: Int, unusable: Int) {
        self.items = items
        self.waiting = waiting
        self.refused = refused
        self.heldBack = heldBack
        self.unusable = unusable
    }
}

/// What a directory says of an account.
package struct DirectoryExplanation: Codable, Hashable, Sendable {
    package var account: String
    /// The entry's name; `nil` if there is none.
    package var entry: String?
    package var uuid: String?
    /// For which hashes of SCRAM there are keys.
    package var hashes: [String] = []
    /// The groups that its person is in.
    package var groups: [DirectoryGroupLine] = []
    /// Whether it may come in now, or why not.
    package var verdict: String

    package init(account: String, verdict: String) {
        self.account = account
        self.verdict = verdict
    }
}
