import ArgumentParser
import Foundation
import MartletXMPP

struct ArchiveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "archive", abstract: "Export or purge the archive of an account or a room.",
        discussion: "Works while the server runs and while it does not. Both are written to the audit log.",
        subcommands: [Export.self, Purge.self])

    struct Target: ParsableArguments {
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The account or the room, such as juliet@example.org or garden@conference.example.org.", valueName: "jid"))
        var jid: String
    }

    /// A point in time as a person writes it: a date, which is its beginning in UTC, or a date and time of XEP-0082.
    static func time(_ text: String?) throws(CommandFailure) -> Int64? {
        guard let text else { return nil }
        if let time = DateTime.milliseconds(of: text) ?? DateTime.milliseconds(of: text + "T00:00:00Z") { return time }
        throw CommandFailure(
            .usage, "\(ConfigurationProblem.printable(text)) is not a point in time", hint: "write it like 2026-03-31 or 2026-03-31T12:00:00Z")
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write an archive to standard output, oldest message first.",
            discussion: """
                The output is an element of XEP-0227 (urn:xmpp:pie:0#mam) with a result of XEP-0313 on each line. A message that the server \
                took at the start or the end is in it.
                """)
        @OptionGroup var target: ArchiveCommand.Target
        @Option(help: ArgumentHelp("Only what was exchanged with somebody.", valueName: "jid")) var with: String?
        @Option(help: ArgumentHelp("Only what the server took then or later.", valueName: "time")) var start: String?
        @Option(help: ArgumentHelp("Only what the server took then or before.", valueName: "time")) var end: String?

        func run() async throws {
            var page = ArchiveOrder.Page()
            page.with = with
            page.start = try ArchiveCommand.time(start)
            page.end = try ArchiveCommand.time(end)
            try await AccountCommand.atDesk(try target.options.load()) { desk in
                var isFirst = true
                while case .archive(let lines) = try await desk.ask(.archive(.page(of: target.jid, page))) {
                    if isFirst { Terminal.say("<archive xmlns='urn:xmpp:pie:0#mam'>") }
                    isFirst = false
                    for result in lines.results { Terminal.say(result) }
                    guard !lines.isComplete, let last = lines.last else { break }
                    page.after = last
                }
            }
            Terminal.say("</archive>")
        }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make an archive forget.",
            discussion: "Other people's archives keep what is theirs. What still waits for delivery is delivered. The space on disk is used again.")
        @OptionGroup var target: ArchiveCommand.Target
        @Option(help: ArgumentHelp("Only what is older.", valueName: "time")) var before: String?
        @Flag(help: "Do not ask.") var yes = false

        func run() async throws {
            let time = try ArchiveCommand.time(before)
            if !yes, Terminal.isInteractive {
                let answer = Terminal.ask("Make the archive of \(target.jid) forget everything\(before.map { " before \($0)" } ?? "")? Type yes: ")
                guard answer == "yes" else { throw CommandFailure(.usage, "nothing was forgotten") }
            }
            try await AccountCommand.atDesk(try target.options.load()) { desk in
                _ = try await desk.ask(.archive(.purge(of: target.jid, before: time)))
            }
            Terminal.say("purged the archive of \(target.jid)")
        }
    }
}
