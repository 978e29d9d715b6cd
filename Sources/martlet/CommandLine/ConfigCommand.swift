import ArgumentParser
import MartletNetwork

struct ConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check, show and reload the configuration.",
        subcommands: [Check.self, Show.self, Example.self, Reload.self])

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say what is wrong with the configuration and with the certificates and trust anchors it names.")
        @OptionGroup var options: ConfigurationOption

        func run() async throws {
            let loaded = try options.load(serves: true)
            for warning in loaded.warnings { Terminal.say(warning.description) }
            // Those that the server makes for itself are made when it starts.
            let own = loaded.configuration.domains.compactMap { domain in
                domain.certificate.flatMap { chain in domain.key.map { CertificateFiles(domain: domain.name, chain: chain, key: $0) } }
            }
            do throws(CertificateError) {
                for warning in try CertificateStore().load(own, now: SystemClock().wallSeconds) { Terminal.say("warning: \(warning)") }
            } catch {
                throw CommandFailure(error)
            }
            try FederationAssembly(configuration: loaded.configuration).check()
            let certificates = ClientCertificateAssembly(configuration: loaded.configuration)
            _ = (try certificates.settings(), try certificates.revocationFiles())
            try KerberosAssembly(configuration: loaded.configuration).checkLibrary()
            Terminal.say("\(options.file): good")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print every value with its origin: a default, a line of the file, or a variable.")
        @OptionGroup var options: ConfigurationOption
        @Flag(help: "Leave out the defaults.") var set = false

        func run() async throws {
            for setting in try options.load().settings where !set || setting.origin != .standard { Terminal.say(setting.description) }
        }
    }

    struct Example: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print a file with every key, its meaning and its default.")
        @Option(help: "The domain to put into it.") var domain = "example.org"

        func run() async throws {
            var configuration = ServerConfiguration()
            configuration.domains = [.init(name: domain)]
            Terminal.say(ConfigurationDocuments.exampleFile(for: configuration))
        }
    }

    struct Reload: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let the running server read configuration and certificates anew.",
            discussion: "A file with a mistake changes nothing. Open sessions stay.")
        @OptionGroup var options: ConfigurationOption

        func run() async throws {
            guard case .reloaded(let report) = try ServerReach.ask(.reload, options) else { throw ServerReach.unexpected }
            for change in report.applied { Terminal.say("applied: \(change)") }
            for change in report.needingRestart { Terminal.say("waits for a restart: \(change)") }
            for warning in report.warnings { Terminal.say("warning: \(warning)") }
            Terminal.say(report.applied.isEmpty && report.needingRestart.isEmpty ? "reloaded; nothing had changed but, perhaps, certificates" : "reloaded")
        }
    }
}

/// How commands that need a running server find it.
enum ServerReach {
    /// Asks the running server, whose socket is where the configuration says. A file with a mistake does not say, and is the first thing to mend.
    static func ask(_ order: ControlOrder, _ options: ConfigurationOption) throws(CommandFailure) -> ControlResponse {
        try ControlClient(path: try options.load().configuration.controlSocketPath).askRunning(order)
    }

    static var unexpected: CommandFailure { CommandFailure(.unavailable, "the server answered something else", hint: "is it of the same version?") }
}
