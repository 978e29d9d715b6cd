public import ArgumentParser
public import MartletLDAP

struct DirectoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "directory", abstract: "See how it stands with directories (LDAP), and prepare one.",
        subcommands: [Test.self, Status.self, Explain.self, Sync.self, PrintSchema.self])

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say of each directory whether it is followed, from which server, and how many people have accounts, and how many groups there are.",
            discussion: "Asks the running server. Ends with 1 if one cannot be followed, accounts or contacts are held back, or rosters cannot be written there.")
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            guard case .directories(let lines) = try ServerReach.ask(.directory(.status), options) else { throw ServerReach.unexpected }
            for line in lines { Terminal.say(line, asJSON: json, else: line.text) }
            if lines.contains(where: { !$0.isWell }) { throw ExitCode(1) }
        }
    }

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say from which entry an account is, whether its person may come in, and in which groups that puts him.",
            discussion: "Asks the running server.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The account's address.") var account: String
        @Flag(help: "One JSON object.") var json = false

        func run() async throws {
            guard case .directoryEntry(let entry) = try ServerReach.ask(.directory(.explain(account: account)), options) else { throw ServerReach.unexpected }
            Terminal.say(entry, asJSON: json, else: entry.text)
        }
    }

    struct Sync: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let go the accounts, members of groups, and contacts that a directory does not know any more, where that was held back as they are many.",
            discussion: "Asks the running server. See first what is held back: martlet directory status.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The domain.") var domain: String
        @Flag(help: "Needed, since sessions end and people are kept out.") var confirm = false

        func validate() throws { if !confirm { throw ValidationError("say --confirm if the accounts that are held back are to go") } }

        func run() async throws { _ = try ServerReach.ask(.directory(.confirm(domain: domain)), options) }
    }

    struct PrintSchema: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "schema", abstract: "Print the attributes and object classes that this server adds to a directory.",
            discussion: """
                slapd: a file for 'include' in OpenLDAP's slapd.conf. olc: an entry for 'ldapadd', where OpenLDAP keeps its configuration as a \
                directory (cn=config). 389: changes for 'ldapmodify' to 389 Directory Server.
                """)
        @Option(help: "One of slapd, olc, 389.") var format = SchemaText.Format.slapd

        func run() async throws { print(SchemaText.text(format), terminator: "") }
    }
}

extension SchemaText.Format: ExpressibleByArgument {}

extension DirectoryLine {
    /// Whether it is as it should be.
    package var isWell: Bool { contact == .live && heldBack == 0 && groups?.isWell ?? true && rosters?.isWell ?? true }

    /// As `martlet directory status` prints it.
    package var text: String {
        let state =
            switch contact {
            case .live: "followed"
            case .neverLoaded: "not read yet: nobody can log in"
            case .lost: "lost" + (lostSince.map { " since \(Timestamp.text($0))" } ?? "")
            }
        let parts = [server.map { "at \($0)" }, follows.map { "by \($0)" }, "\(people) people"].compactMap(\.self)
        let held = heldBack == 0 ? "" : ", \(heldBack) accounts held back (martlet directory sync \(domain) --confirm)"
        let kept = refused == 0 ? "" : ", \(refused) without an account (see the log)"
        return "\(domain)  \(state)  \(parts.joined(separator: ", "))\(held)\(kept)" + (fault.map { "\n  \($0)" } ?? "")
            + (groups.map { "\n" + $0.text(domain) } ?? "") + (rosters.map { "\n  \($0.text(domain))" } ?? "")
    }
}

extension RosterLine {
    package var isWell: Bool { fault == nil && heldBack == 0 && refused == 0 }

    /// As `martlet directory status` prints it.
    package func text(_ domain: String) -> String {
        let more = [
            refused == 0 ? nil : "\(refused) refused by the directory (see the log)", unusable == 0 ? nil : "\(unusable) entries that are no contacts",
            heldBack == 0 ? nil : "\(heldBack) held back (martlet directory sync \(domain) --confirm)",
        ]
        let parts = ["rosters: \(items) contacts in it", "\(waiting) changes not written yet"] + more.compactMap(\.self)
        return parts.joined(separator: ", ") + (fault.map { "\n    \($0)" } ?? "")
    }
}

extension DirectoryExplanation {
    /// As `martlet directory explain` prints it.
    package var text: String {
        let entryLines = [entry.map { "  entry  \($0)" }, uuid.map { "  UUID   \($0)" }].compactMap(\.self)
        let keys = entry == nil ? [] : ["  SCRAM  \(hashes.isEmpty ? "no keys: the password is checked by a bind" : hashes.joined(separator: ", "))"]
        return (["\(account)  \(verdict)"] + entryLines + keys + groups.map(\.text)).joined(separator: "\n")
    }
}
