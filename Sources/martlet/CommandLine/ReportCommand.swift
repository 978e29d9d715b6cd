import ArgumentParser
import Foundation

struct ReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Look at what accounts have reported as they blocked somebody (XEP-0377), and at block lists of others.",
        discussion: "Works while the server runs and while it does not. What is deleted is written to the audit log.",
        subcommands: [List.self, Show.self, Delete.self, BlockLists.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List reports, the latest first.",
            discussion: "One line for each: its number, when it came, the reason, whom it is about, who made it, and what he says.")
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            var last: Int64?
            try await AccountCommand.atDesk(try options.load()) { desk in
                while case .reports(let page) = try await desk.ask(.report(.list(before: last))), let end = page.last {
                    for line in page { Terminal.say(line, asJSON: json, else: line.text) }
                    last = end.id
                }
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say all that is in a report.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "Its number, as the list shows it.") var number: Int64
        @Flag(help: "One JSON object.") var json = false

        func run() async throws {
            try await AccountCommand.atDesk(try options.load()) { desk in
                guard case .reports(let found) = try await desk.ask(.report(.show(number))), let line = found.first else { throw ServerReach.unexpected }
                Terminal.say(line, asJSON: json, else: line.lines)
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete reports that are dealt with.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "Their numbers, as the list shows them.") var numbers: [Int64]

        func run() async throws {
            try await AccountCommand.atDesk(try options.load()) { desk in
                guard case .deleted(let count) = try await desk.ask(.report(.delete(numbers))) else { throw ServerReach.unexpected }
                Terminal.say("deleted \(count.counted("report"))")
            }
        }
    }

    struct BlockLists: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "blocklists", abstract: "Say how the block lists are doing that the server goes by.",
            discussion: "One line for each: who shares it and under which name, whether it is followed, how many are on it, and when it was fetched.")
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            try await AccountCommand.atDesk(try options.load()) { desk in
                guard case .blockLists(let lists) = try await desk.ask(.report(.blockLists)) else { throw ServerReach.unexpected }
                for line in lists { Terminal.say(line, asJSON: json, else: line.text) }
            }
        }
    }
}
