import ArgumentParser

extension RoomCommand {
    struct AffiliationCommand: AsyncParsableCommand {
        /// What is done with affiliations.
        enum Deed: String, ExpressibleByArgument, CaseIterable { case list, set }

        /// From the highest down; who has none is in no list.
        private static let names = ["owner", "admin", "member", "outcast"]

        static let configuration = CommandConfiguration(
            commandName: "affiliation", abstract: "List or set who is owner, administrator, member or outcast of a room.",
            usage: """
                martlet room affiliation <address> [list] [--affiliation <name>] [--json]
                martlet room affiliation <address> set <jid> <affiliation> [--reason <text>] [--nickname <name>]
                """,
            discussion: """
                Accounts can be owner, admin, member, outcast or none; sessions and whole domains can be banned (outcast). Whoever is in the room \
                sees the change. The last owner stays one.
                """)
        @OptionGroup var target: Target
        @Argument(help: "What to do: list or set.") var deed = Deed.list
        @Argument(help: ArgumentHelp("Whose affiliation to set.", valueName: "jid")) var jid: String?
        @Argument(help: ArgumentHelp("owner, admin, member, outcast or none.", valueName: "affiliation")) var new: String?
        @Option(name: .customLong("affiliation"), help: ArgumentHelp("List only the owners, admins, members or outcasts.", valueName: "name"))
        var listed: String?
        @Flag(help: "List one JSON object per line.") var json = false
        @Option(help: ArgumentHelp("Why it is set.", valueName: "text")) var reason: String?
        @Option(help: ArgumentHelp("A nickname that nobody else is to have in the room.", valueName: "name")) var nickname: String?

        func validate() throws {
            switch deed {
            case .list:
                if jid != nil || reason != nil || nickname != nil { throw ValidationError("a list takes none of that") }
            case .set:
                if jid == nil || new == nil { throw ValidationError("set takes an address and an affiliation, such as: set juliet@example.org member") }
                if listed != nil || json { throw ValidationError("--affiliation and --json are for lists") }
            }
        }

        func run() async throws {
            try await AccountCommand.atDesk(try target.options.load()) { desk in
                guard let jid, let new else {
                    for name in listed.map({ [$0] }) ?? Self.names { try await list(name, desk) }
                    return
                }
                let change = NewAffiliation(room: target.address, jid: jid, affiliation: new, reason: reason, nickname: nickname)
                _ = try await desk.ask(.room(.setAffiliation(change)))
                Terminal.say(new == "none" ? "\(jid) has no affiliation with \(target.address)" : "\(jid) is \(new) of \(target.address)")
            }
        }

        private func list(_ name: String, _ desk: AccountDesk) async throws {
            var after: String?
            while case .affiliations(let page) = try await desk.ask(.room(.affiliations(of: target.address, affiliation: name, after: after))),
                let last = page.last
            {
                for line in page { Terminal.say(line, asJSON: json, else: line.text) }
                after = last.jid
            }
        }
    }
}
