import Testing

import martlet

@Suite("What is told of directories")
struct DirectoryLineTests {
    private var line: DirectoryLine {
        var line = DirectoryLine(domain: "example.org", contact: .live, people: 3, heldBack: 0, refused: 0)
        line.server = "ldaps://ldap.example.org:636"
        return line
    }

    private func rosters(waiting: Int = 0, refused: Int = 0, heldBack: Int = 0, unusable: Int = 0, fault: String? = nil) -> DirectoryLine {
        var line = line
        line.rosters = RosterLine(items: 12, waiting: waiting, refused: refused, heldBack: heldBack, unusable: unusable)
        line.rosters?.fault = fault
        return line
    }

    @Test("of rosters it is said how many contacts are there, and what is not written yet")
    func told() {
        #expect(line.text == "example.org  followed  at ldaps://ldap.example.org:636, 3 people")
        #expect(rosters(waiting: 4).text == line.text + "\n  rosters: 12 contacts in it, 4 changes not written yet")
        let all = rosters(refused: 1, heldBack: 11, unusable: 2, fault: "it could not be reached: no route")
        #expect(all.text == line.text + """

              rosters: 12 contacts in it, 0 changes not written yet, 1 refused by the directory (see the log), 2 entries that are no contacts, \
            11 held back (martlet directory sync example.org --confirm)
                it could not be reached: no route
            """)
    }

    @Test("what has to be looked after is not well")
    func wellness() {
        #expect(line.isWell && rosters(waiting: 4, unusable: 1).isWell)
        #expect(!rosters(refused: 1).isWell && !rosters(heldBack: 1).isWell && !rosters(fault: "x").isWell)
    }
}
