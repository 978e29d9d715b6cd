import ArgumentParser
import Foundation

struct UploadsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "uploads", abstract: "List, show and delete files that accounts have uploaded (XEP-0363).",
        discussion: "Works while the server runs and while it does not. What is deleted is written to the audit log.",
        subcommands: [List.self, Show.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List files, with slots whose files have not come yet, oldest first.",
            discussion: "One line for each: the server's name for it, the account, the size, since when it is there, and what the account calls it.")
        @OptionGroup var options: ConfigurationOption
        @Option(help: ArgumentHelp("Only those of an account.", valueName: "jid")) var account: String?
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            var lines: [UploadLine] = []
            try await AccountCommand.atDesk(try options.load()) { desk in
                while case .uploads(let page) = try await desk.ask(.upload(.list(of: account, after: lines.last?.name ?? ""))), !page.isEmpty {
                    lines += page
                }
            }
            for line in lines.sorted(by: UploadLine.isEarlier) { Terminal.say(line, asJSON: json, else: line.text) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say what is known of a file.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The server's name for it, as in its URL.") var name: String
        @Flag(help: "One JSON object.") var json = false

        func run() async throws {
            try await AccountCommand.atDesk(try options.load()) { desk in
                guard case .uploads(let found) = try await desk.ask(.upload(.show(name))), let line = found.first else { throw ServerReach.unexpected }
                Terminal.say(line, asJSON: json, else: line.lines)
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete files, or all that an account has uploaded.", discussion: "Whoever has their addresses gets them no more.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The server's names for them, as in their URLs.") var names: [String] = []
        @Option(help: ArgumentHelp("Everything that an account has uploaded.", valueName: "jid")) var account: String?
        @Flag(help: "Do not ask.") var yes = false

        func validate() throws {
            if names.isEmpty == (account == nil) { throw ValidationError("say which: names of files, or --account") }
        }

        func run() async throws {
            if !yes, Terminal.isInteractive {
                let what = account.map { "all files of \($0)" } ?? (names.count == 1 ? "the file" : "\(names.count) files")
                guard Terminal.ask("Delete \(what)? Type yes: ") == "yes" else { throw CommandFailure(.usage, "nothing was deleted") }
            }
            try await AccountCommand.atDesk(try options.load()) { desk in
                let order = account.map { UploadOrder.deleteAll(of: $0) } ?? .delete(names)
                guard case .deleted(let count) = try await desk.ask(.upload(order)) else { throw ServerReach.unexpected }
                Terminal.say("deleted \(count.counted("upload"))")
            }
        }
    }
}
