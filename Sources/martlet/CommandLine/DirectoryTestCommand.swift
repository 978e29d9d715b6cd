import ArgumentParser
import Logging
import MartletDirectory
import MartletLDAP
import MartletXMPP
import NIOCore
import NIOPosix

extension DirectoryCommand {
    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Try directories as the server would use them: connect, log in, read people, and say what is wrong.",
            discussion: """
                Needs no running server, and changes nothing. Every server of a directory is tried; people are read from the first that can be used. Ends \
                with 1 if something is wrong.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: "The domain; all that are in directories, unless given.") var domain: String?
        @Flag(help: "One JSON object per line.") var json = false

        func run() async throws {
            let configuration = try options.load().configuration
            let entries = configuration.directories.filter { domain == nil || $0.domain == domain }
            guard !entries.isEmpty else {
                throw CommandFailure(.data, domain.map { "\($0) is in no directory" } ?? "no domain is in a directory", hint: "see directories in the configuration")
            }
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            var isWell = true
            for entry in entries { isWell = try await DirectoryTestRun(entry, on: group, asJSON: json).run() && isWell }
            try? await group.shutdownGracefully()
            if !isWell { throw ExitCode(1) }
        }
    }
}

/// The trial of one directory.
private struct DirectoryTestRun {
    private let entry: ServerConfiguration.Directory
    private let trial: DirectoryTrial
    private let addresses: [DirectoryAddress]
    private let isJSON: Bool

    init(_ entry: ServerConfiguration.Directory, on group: MultiThreadedEventLoopGroup, asJSON: Bool) throws(CommandFailure) {
        self.entry = entry
        isJSON = asJSON
        let reach = try DirectoryAssembly.addresses(of: entry, "directories: \(entry.domain)", on: group, log: Logger(label: "directory") { _ in SwiftLogNoOpLogHandler() })
        addresses = reach.addresses
        trial = DirectoryTrial(try Self.question(entry), reach.dial)
    }

    private static func question(_ entry: ServerConfiguration.Directory) throws(CommandFailure) -> DirectoryTrial.Question {
        guard let domain = try? BareJID(parsing: entry.domain), let base = entry.people.base, let filter = try? LDAPFilter(entry.people.filter),
            let rule = try? AddressRule(parsing: entry.people.address.joined(separator: "|"))
        else { throw DirectoryAssembly.unchecked }
        var question = DirectoryTrial.Question(
            domain, base: base, filter: filter, addresses: rule, identity: try DirectoryAssembly.identity(entry), detection: entry.following.detection,
            verifiers: entry.passwords.map(\.verifier))
        question.actsForPeople = !entry.vCard.writable.isEmpty || entry.passwordChange == .proxied
        question.changesPasswords = entry.passwordChange != .off
        return question
    }

    /// - Returns: whether all is well.
    func run() async -> Bool {
        var (isWell, needsPeople) = (true, true)
        for address in addresses {
            let lines = await trial.lines(of: address, readsPeople: needsPeople)
            say(lines, of: address)
            let isGood = !lines.contains { $0.level == .bad }
            if isGood { needsPeople = false }
            isWell = isWell && isGood
        }
        return isWell
    }

    private func say(_ lines: [TrialLine], of address: DirectoryAddress) {
        guard isJSON else {
            Terminal.say("\(entry.domain)  \(address)")
            for line in lines { Terminal.say(line.printed(indent: "  ")) }
            return
        }
        for line in lines { Terminal.say(Terminal.json(Finding(domain: entry.domain, server: "\(address)", level: line.level.rawValue, text: line.text, hint: line.hint))) }
    }

    private struct Finding: Codable {
        let domain: String
        let server: String
        let level: String
        let text: String
        let hint: String?
    }
}

extension TrialLine {
    fileprivate func printed(indent: String) -> String {
        let mark =
            switch level {
            case .good: "ok    "
            case .doubtful: "look  "
            case .bad: "wrong "
            }
        return "\(indent)\(mark) \(text)" + (hint.map { "\n\(indent)       \($0)" } ?? "")
    }
}
