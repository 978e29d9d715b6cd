import ArgumentParser
import Foundation
import Logging
import MartletNetwork

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Run the server.",
        discussion: "It runs in the foreground until SIGTERM or ctrl-C; a second one ends it at once. SIGHUP reloads configuration and certificates.")

    @OptionGroup var options: ConfigurationOption

    func run() async throws {
        HeapSettings.apply()
        let start = try await ConfigurationStart.load(file: options.file, environment: Terminal.environment)
        let loaded = start.loaded
        try Self.refuseRoot(loaded.configuration)
        let time = SystemClock()
        let logs = try ServerLogs(loaded.configuration.log, time)
        for warning in loaded.warnings { logs.server.warning("the configuration is doubtful", metadata: ["at": "\(warning.summary)"]) }
        do {
            let server = try await Server.open(
                .init(
                    loaded: loaded, followed: start.followed, file: options.file, logs: logs, time: time,
                    notifier: SystemdNotifier(socketName: Terminal.environment["NOTIFY_SOCKET"]), openFiles: OpenFileLimit.raise()))
            try await server.run()
        } catch {
            logs.output.flush()
            throw error
        }
    }

    private static func refuseRoot(_ configuration: ServerConfiguration) throws(CommandFailure) {
        guard geteuid() == 0, !configuration.server.runAsRoot else { return }
        throw CommandFailure(
            .noPermission, "the server does not run as root: no port or file needs it",
            hint: """
                run it as a user of its own that owns \(configuration.server.dataFolder), for instance
                  useradd --system --home-dir \(configuration.server.dataFolder) --shell /usr/sbin/nologin martlet
                  chown -R martlet: \(configuration.server.dataFolder)
                  setpriv --reuid martlet --regid martlet --init-groups martlet serve …
                or, where root is all there is (a container), set server.run-as-root: true
            """)
    }
}
