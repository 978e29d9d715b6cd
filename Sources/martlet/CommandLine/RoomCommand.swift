import ArgumentParser
import Foundation

struct RoomCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "room", abstract: "List, create, change and destroy rooms for many.",
        discussion: """
            Works while the server runs, where occupants see what is done, and while it does not. 'martlet archive' exports and purges the archives \
            of rooms, too. What changes a room, and reading its messages, is written to the audit log.
            """,
        subcommands: [List.self, Info.self, Create.self, Destroy.self, AffiliationCommand.self, History.self])

    struct Target: ParsableArguments {
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The room, such as garden@conference.example.org.", valueName: "address"))
        var address: String
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the rooms, in the order of their addresses.")
        @OptionGroup var options: ConfigurationOption
        @Option(help: "Only those of a domain, which may be the accounts' or the rooms' own.") var domain: String?
        @Flag(help: "Only those that are not in the list that clients see.") var hidden = false
        @Flag(help: "Only those that are.") var `public` = false
        @Option(help: ArgumentHelp("Only those whose name, description or address has these words, or words that begin like them.", valueName: "words"))
        var search: String?
        @Flag(help: "One JSON object per line.") var json = false

        func validate() throws {
            if hidden, `public` { throw ValidationError("--hidden and --public are opposites") }
        }

        func run() async throws {
            var listing = RoomOrder.Listing()
            listing.domain = domain
            listing.isPublic = hidden ? false : `public` ? true : nil
            listing.words = search
            try await AccountCommand.atDesk(try options.load()) { desk in
                while case .rooms(let page) = try await desk.ask(.room(.list(listing))), let last = page.last {
                    for room in page { Terminal.say(room, asJSON: json, else: room.text) }
                    listing.after = last.address
                }
            }
        }
    }

    struct Info: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say how a room is: its configuration, who is in it, and what its archive has.")
        @OptionGroup var target: Target
        @Flag(help: "One JSON object.") var json = false

        func run() async throws {
            try await AccountCommand.atDesk(try target.options.load()) { desk in
                guard case .room(let report) = try await desk.ask(.room(.info(of: target.address))) else { throw ServerReach.unexpected }
                Terminal.say(report, asJSON: json, else: report.text)
            }
        }
    }

    struct Destroy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Destroy a room with its affiliations and its archive.", discussion: "Whoever is in it is told, with the reason and where to go instead.")
        @OptionGroup var target: Target
        @Option(help: "Why, for those who are in it.") var reason: String?
        @Option(help: ArgumentHelp("Another room to go to.", valueName: "address")) var venue: String?
        @Flag(help: "Do not ask.") var yes = false

        func run() async throws {
            if !yes, Terminal.isInteractive {
                let answer = Terminal.ask("Destroy \(target.address) with everything that was said there? Type yes: ")
                guard answer == "yes" else { throw CommandFailure(.usage, "nothing was destroyed") }
            }
            try await AccountCommand.atDesk(try target.options.load()) { desk in
                _ = try await desk.ask(.room(.destroy(target.address, venue: venue, reason: reason)))
            }
            Terminal.say("destroyed \(target.address)")
        }
    }

    struct History: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what was last said in a room, oldest first.",
            discussion: "One line for each message. 'martlet archive export' writes all of them, as they were sent.")
        @OptionGroup var target: Target
        @Option(help: ArgumentHelp("How many messages, at most \(ControlProtocol.messagesMax).", valueName: "count")) var last = 20
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            try await AccountCommand.atDesk(try target.options.load()) { desk in
                guard case .history(let lines) = try await desk.ask(.room(.history(of: target.address, last: last))) else { throw ServerReach.unexpected }
                for line in lines { Terminal.say(line, asJSON: json, else: line.text) }
            }
        }
    }
}

extension RoomReport {
    /// As `martlet room info` prints it.
    package var text: String {
        let title = [
            ("address", address), ("name", name), ("description", description), ("created", Timestamp.text(created)),
            ("type", types.joined(separator: ", ") + (isLocked ? "; not configured yet" : "")),
        ]
        let counts = ["owner", "admin", "member", "outcast"].map { "\(affiliations[$0] ?? 0) \($0)" }.joined(separator: ", ")
        let rest = [("affiliations", counts), ("archive", archive), ("occupants", "\(occupants.count) of \(value("muc#roomconfig_maxusers"))")]
        return (title.filter { !$0.1.isEmpty } + rest).map(Self.line).joined(separator: "\n") + occupants.map { "\n  \($0.text)" }.joined()
    }

    private static func line(_ name: String, _ text: String) -> String {
        name.padding(toLength: 14, withPad: " ", startingAt: 0) + ConfigurationProblem.printable(text)
    }

    private func value(_ field: String) -> String { configuration[field]?.first ?? "" }

    private var archive: String {
        let range = archiveFirst.map { "from \(Timestamp.text($0)) to \(Timestamp.text(archiveLast ?? $0))" } ?? "empty"
        if value("muc#roomconfig_enablearchiving") != "1" { return range + ", takes nothing any more" }
        let days = value("muc#roomconfig_archive_days")
        return days == "0" ? range : range + ", keeps \(days) days"
    }
}

extension RoomReport.Occupant {
    fileprivate var text: String { ConfigurationProblem.printable("\(nickname)  \(role), \(affiliation)  \(addresses.joined(separator: " "))") }
}
