import ArgumentParser
import Foundation

/// The one executable: `martlet serve` runs the server, all else is for whoever looks after it.
@main
struct Martlet: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "An XMPP server.",
        discussion: "Set it up with 'martlet init', run it with 'martlet serve', add people with 'martlet account add'.",
        version: "martlet \(MartletVersion.current)",
        subcommands: [
            ServeCommand.self, InitCommand.self, AccountCommand.self, InviteCommand.self, RoomCommand.self, ArchiveCommand.self, UploadsCommand.self, ReportCommand.self,
            ConfigCommand.self, CertificateCommand.self, StatusCommand.self,
            SessionCommand.self, DeviceCommand.self, AuthCommand.self, FederationCommand.self, ComponentCommand.self, DoctorCommand.self, LogCommand.self, BackupCommand.self,
            VerifyCommand.self,
            RestoreCommand.self, DirectoryCommand.self, FeaturesCommand.self,
        ])

    /// Ends the process with a status of `sysexits.h` and says on standard error what is wrong.
    static func main() async {
        do {
            var command = try parseAsRoot()
            if var waiting = command as? any AsyncParsableCommand { try await waiting.run() } else { try command.run() }
        } catch let failure as CommandFailure {
            Terminal.complain("martlet: \(failure)")
            Foundation.exit(failure.status.rawValue)
        } catch {
            Self.exit(withError: error)
        }
    }
}

/// Which configuration a command works with.
struct ConfigurationOption: ParsableArguments {
    static let standardFile = "/etc/martlet/martlet.yaml"

    @Option(
        name: [.short, .customLong("config")], help: ArgumentHelp("The configuration file; by default $MARTLET_CONFIG, then \(standardFile).", valueName: "file"),
        completion: .file())
    var config: String?

    /// As an absolute path.
    var file: String { FilePath.resolve(config ?? Terminal.environment["MARTLET_CONFIG"] ?? Self.standardFile, against: Terminal.folder) }

    /// The file, with what a directory said last, if it says parts of the configuration.
    ///
    /// - Parameter serves: whether certificates, secrets and the like are needed as well. A server whose secret is gone can be asked all the same.
    func load(serves: Bool = false) throws(CommandFailure) -> LoadedConfiguration {
        let bootstrap = try bootstrap()
        return try load(serves: serves, tree: try KeptTrees(dataFolder: bootstrap.server.dataFolder).latest(bootstrap.configurationDirectory))
    }

    func load(serves: Bool = false, tree: ConfigurationTree?) throws(CommandFailure) -> LoadedConfiguration {
        do throws(ConfigurationFailure) {
            return try ConfigurationLoader.standard.load(file: file, environment: Terminal.environment, readsOthers: serves, tree: tree)
        } catch {
            throw CommandFailure(error)
        }
    }

    /// What has to be known before a directory can be asked.
    func bootstrap() throws(CommandFailure) -> ServerConfiguration {
        do throws(ConfigurationFailure) {
            return try ConfigurationLoader.standard.bootstrap(file: file, environment: Terminal.environment)
        } catch {
            throw CommandFailure(error)
        }
    }
}
