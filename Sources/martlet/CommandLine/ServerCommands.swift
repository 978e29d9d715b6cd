import ArgumentParser

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Say how the running server is.",
        discussion: "Ends with 0 if it is well, 69 if it does not run, 75 if it is ill.")
    @OptionGroup var options: ConfigurationOption
    @Flag(help: "One JSON object.") var json = false

    func run() async throws {
        guard case .status(let status) = try ServerReach.ask(.status, options) else { throw ServerReach.unexpected }
        Terminal.say(status, asJSON: json, else: Self.text(status))
        if !status.isHealthy { throw ExitCode(ExitStatus.temporary.rawValue) }
    }

    private static func text(_ status: ServerStatus) -> String {
        let lines =
            [
                "martlet \(status.version), process \(status.process), up \(uptime(status.upSeconds)): \(status.health)",
                "sessions       \(status.sessions)", "domains        \(status.domains.joined(separator: ", "))",
            ] + status.listeners.map { "listener       \($0)" }
            + status.certificates.map { "certificate    \($0.domain), until \(Timestamp.text(Int64($0.ends) * 1000).prefix(10))" } + [
                "data           \(status.data) (\(status.store))", "configuration  \(status.configuration)", "log level      \(status.logLevel)",
            ]
        return lines.joined(separator: "\n")
    }

    private static func uptime(_ seconds: Int) -> String {
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60)
        if days > 0 { return "\(days)d \(hours)h" }
        if hours > 0 { return "\(hours)h \(minutes)m" }
        return minutes > 0 ? "\(minutes)m \(seconds % 60)s" : "\(seconds)s"
    }
}

struct SessionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "session", abstract: "List and end client sessions.", subcommands: [List.self, Close.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the sessions, with their priority where they are available, and whether they have lost their connection.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("Only those of an account.", valueName: "jid")) var jid: String?

        func run() async throws {
            guard case .sessions(let sessions) = try ServerReach.ask(.sessions(of: jid), options) else { throw ServerReach.unexpected }
            for session in sessions { Terminal.say(session.text) }
        }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End a session (juliet@example.org/balcony), or all of an account.")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The session or the account.", valueName: "jid")) var jid: String

        func run() async throws {
            guard case .closed(let count) = try ServerReach.ask(.closeSessions(of: jid), options) else { throw ServerReach.unexpected }
            Terminal.say("ended \(count.counted("session"))")
        }
    }
}

struct LogCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "log", abstract: "Change what the running server logs.", subcommands: [Level.self])

    struct Level: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the least important level that is written, until the next start.",
            discussion: "One of \(LogLevel.allCases.map(\.rawValue).joined(separator: ", ")).")
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The level.", valueName: "level")) var level: String

        func run() async throws {
            guard LogLevel(rawValue: level) != nil else {
                throw ValidationError("there is no level \(level); there are \(LogLevel.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            _ = try ServerReach.ask(.logLevel(level), options)
            Terminal.say("log level \(level)")
        }
    }
}
